"""A run held against ONNX Runtime: per output, and on request per border of fused operations, how far it is off.

    check_onnxruntime("model.onnx", "npu_32x32").lines()

ONNX Runtime is another implementation of the same model, not its definition: it rounds its sums in other orders, its
tanh is off by up to 4 units in the last place, its softmax by 21. So values are held to a tolerance, and ours to the
bit only by our own definitions (docs/vector.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from minisim.compiler.dtypes import NAME
from minisim.compiler.example_inputs import example_inputs
from minisim.compiler.frontend.bound import Values, check_values, wide_inputs
from minisim.compiler.frontend.dims import Dims, check_dims
from minisim.compiler.frontend.turned import Turned
from minisim.compiler.graph import Graph
from minisim.compiler.pipeline import computed_graph
from minisim.difference import number
from minisim.errors import MissingExtraError, UsageError, described, shown, truth
from minisim.hwmodel.config import Machine, MachineLike
from minisim.runtime import Runtime

if TYPE_CHECKING:
    import onnx

Array = npt.NDArray[Any]

RTOL, ATOL = 1e-3, 1e-5
"""How far a float32 value may be off: so much of itself, and so much of the largest value of its tensor."""


@dataclass(frozen=True)
class Compared:
    """One value of the model beside that of another implementation.

    Attributes:
        name: its name in the model.
        operation: of a border, the operation that ends there, as the machine executes it; "" of an output.
        largest: the largest absolute difference of an element; NaN or infinite where one side alone is.
        first: the first element in row-major order that is beyond the tolerance; None if none is.
        found, expected: that element, here and there.
        other_shape: that there, if it is another one: then no elements are compared, and `largest` is NaN.
    """

    name: str
    shape: tuple[int, ...]
    operation: str
    largest: float
    first: tuple[int, ...] | None = None
    found: float = 0.0
    expected: float = 0.0
    other_shape: tuple[int, ...] | None = None

    @property
    def deviates(self) -> bool:
        return self.first is not None or self.other_shape is not None

    def __str__(self) -> str:
        kind = f"border {shown(self.name)} ({self.operation})" if self.operation else f"output {shown(self.name)}"
        if self.other_shape is not None:
            return f"{kind} {list(self.shape)}: there it has shape {list(self.other_shape)}"
        text = f"{kind} {list(self.shape)}: largest difference {number(self.largest)}"
        if self.first is None:
            return f"{text}, within tolerance"
        where = f"first beyond tolerance at {list(self.first)}"
        return f"{text}, {where}: {number(self.found)}, not {number(self.expected)}"


@dataclass(frozen=True)
class OnnxCheck:
    """What `check_onnxruntime`, or `check_torch`, found, in the order in which the model computes it; the outputs last.

    Attributes:
        version: that of the other one.
        dtype: what the machine computes in. Only of float32 there is a tolerance: in another type the differences
            are what that costs, and nothing `deviates` but a shape.
        other: what it was held against.
    """

    values: tuple[Compared, ...]
    version: str
    dtype: str = "float32"
    other: str = "ONNX Runtime"

    @property
    def deviates(self) -> bool:
        """Whether a value is beyond the tolerance, or has another shape."""
        if self.dtype != "float32":
            return any(value.other_shape is not None for value in self.values)
        return any(value.deviates for value in self.values)

    def lines(self) -> Iterator[str]:
        """The findings for people."""
        if self.dtype != "float32":
            yield f"against {self.other} {self.version}, which computes in float32 and not in {self.dtype}:"
            yield from (f"  {replace(value, first=None)}".removesuffix(", within tolerance") for value in self.values)
            return
        off = sum(value.deviates for value in self.values)
        verdict = f"{off} of {len(self.values)} values deviate" if off else "all values are within tolerance"
        tolerance = f"rtol {RTOL:g}, atol {ATOL:g} x a tensor's largest value"
        yield f"against {self.other} {self.version}: {verdict} ({tolerance})"
        yield from (f"  {value}" for value in self.values)


def check_onnxruntime(
    model: str | PathLike[str],
    machine: MachineLike = None,
    *,
    inputs: Mapping[str, npt.ArrayLike] | None = None,
    dims: Dims | None = None,
    values: Values | None = None,
    borders: bool = False,
    outputs: Mapping[str, Array] | None = None,
) -> OnnxCheck:
    """Compute an ONNX model here and with ONNX Runtime, on the same inputs, and compare.

    Args:
        model: the path of the file.
        machine: as for `run`.
        inputs: arrays by name; what is missing is drawn as for `run`.
        dims: sizes of the dimensions that the file leaves open, as for `load_model`.
        values: of inputs that are bound, likewise; inputs that are int64 are bound, too.
        borders: also compare what passes between fused operations. The model is then computed once more, with all of
            that as outputs.
        outputs: what a run of the model on these inputs gave, if there was one: it is not computed again.

    Raises:
        MissingExtraError: the package onnxruntime, or onnx, is not installed.
        UsageError: the model is no ONNX file, or ONNX Runtime cannot compute it.
        MinisimError: as `run` does.
    """
    borders = truth("borders", borders)
    if not isinstance(model, (str, PathLike)) or Path(model).suffix.lower() != ".onnx":
        raise UsageError(f"only an ONNX file can be checked against ONNX Runtime, not {shown(model)}")
    try:
        import onnxruntime
    except ModuleNotFoundError:
        raise MissingExtraError.of("onnxruntime", "onnxruntime", "a check against ONNX Runtime") from None
    from minisim.compiler.frontend.onnx_file import load_onnx_named  # late: it imports onnx, which is optional

    machine, dims = Machine.of(machine), check_dims({} if dims is None else dims)
    bound = check_values({} if values is None else values)
    graph, names, proto = load_onnx_named(Path(model), dims, bound, wide_inputs(inputs))
    arrays = {name: np.asarray(array) for name, array in (inputs or {}).items()}
    given = {**example_inputs(graph), **arrays, **graph.bound}
    operations: dict[str, str] = {}  # by the value's name, in the order of the nodes
    if borders:
        operations = _borders(graph, computed_graph(graph, machine), names)
    if borders or outputs is None:
        outputs = _computed(graph, machine, given, {value: names[value] for value in operations})
    compared = [*operations, *graph.outputs, *graph.given]
    expected = _by_onnxruntime(onnxruntime, Path(model), proto, graph, given, operations)
    found = [compare(name, outputs[name], expected[name], operations.get(name, "")) for name in compared]
    return OnnxCheck(tuple(found), str(onnxruntime.__version__), NAME[machine.dtype])


def compare(name: str, found: Array, expected: Array, operation: str = "") -> Compared:
    """`found` against `expected`; two NaNs, and two equal infinities, do not differ."""
    if found.shape != expected.shape:
        return Compared(name, found.shape, operation, float("nan"), other_shape=expected.shape)
    a, b = found.astype(np.float64), expected.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        apart = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))
        scale = float(np.max(np.abs(b), initial=0.0, where=np.isfinite(b)))
        beyond = ~(apart <= RTOL * np.where(np.isfinite(b), np.abs(b), 0.0) + ATOL * scale)  # NaN is beyond
    largest = float(np.max(apart, initial=0.0))
    at = int(np.argmax(beyond)) if beyond.any() else -1
    if at < 0:
        return Compared(name, found.shape, operation, largest)
    first = tuple(int(i) for i in np.unravel_index(at, found.shape))
    return Compared(name, found.shape, operation, largest, first, float(a[first]), float(b[first]))


def _borders(graph: Graph, computed: Graph, names: Mapping[str, Turned]) -> dict[str, str]:
    """The values of the model that an executed operation ends with, and that are no outputs, with that operation.

    Args:
        names: what each value of the model is of the graph's tensors.
    """
    values = {of.source: value for value, of in [*names.items()][::-1]}  # of several names the first
    found = {
        values[output]: node.title
        for node in computed.nodes
        for output in node.outputs
        if output in values and output not in graph.outputs.values()
    }
    return {value: title for value, title in found.items() if value not in graph.outputs}


def _computed(
    graph: Graph, machine: Machine, inputs: Mapping[str, Array], more: Mapping[str, Turned]
) -> Mapping[str, Array]:
    """The outputs, and as if they were outputs the tensors of `more`, by their names there, in the model's order."""
    outputs = dict(graph.outputs)
    for value, of in more.items():
        graph.output(graph.tensors[of.source], value)
    try:
        runtime = Runtime(graph, machine)
        for name, array in inputs.items():
            runtime.set(name, array)
        runtime.execute()
        found = runtime.outputs()
        return {name: x.transpose(more[name].perm) if name in more else x for name, x in found.items()}
    finally:
        graph.outputs = outputs


def _by_onnxruntime(
    onnxruntime: Any,
    path: Path,
    proto: onnx.ModelProto,
    graph: Graph,
    inputs: Mapping[str, Array],
    more: Sequence[str] | Mapping[str, str],
) -> dict[str, Array]:
    """What ONNX Runtime computes of the outputs and of the values `more`."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # it speaks by exceptions alone
    source: str | bytes = str(path)
    if more:
        import onnx

        with_more = onnx.ModelProto()
        with_more.CopyFrom(proto)
        with_more.graph.output.extend(onnx.ValueInfoProto(name=name) for name in more)
        source = with_more.SerializeToString()
    wanted = [*more, *graph.outputs, *graph.given]
    try:
        session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        wide = {each.name for each in session.get_inputs() if each.type == "tensor(int64)"}  # int32 here
        given = {name: np.asarray(inputs[name]) for name in (*graph.inputs, *graph.bound)}
        found = session.run(wanted, {name: x.astype(np.int64) if name in wide else x for name, x in given.items()})
    except Exception as e:  # its exceptions have no common base
        raise UsageError(
            f"ONNX Runtime {onnxruntime.__version__} cannot compute {str(path)!r}: {described(e)}"
        ) from None
    return dict(zip(wanted, map(np.asarray, found), strict=True))
