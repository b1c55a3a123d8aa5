"""Models of PyTorch: a module with example inputs, or a program that torch.export has saved, by way of ONNX.

    model.py     def model(): return module, inputs
    model.pt2    what torch.export.save has written

`inputs` are a tensor, a tuple of the module's arguments, or a mapping of its keyword arguments. A run computes with
their values, unless it is given others; integers of 64 bits among them are bound (bound.py). The module is traced by
torch.export in inference (its method ``eval``), and exported to ONNX, whose importers there are: so this file knows
no operator of torch's. Nodes are called by the modules' paths (torch_names.py).

The package torch is imported where a model needs it, and nowhere else.
"""

from __future__ import annotations

import importlib
import io
import logging
import sysconfig
import tempfile
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from minisim.compiler.dtypes import converted
from minisim.compiler.frontend.bound import Array
from minisim.compiler.frontend.dims import Dims
from minisim.compiler.frontend.torch_names import innermost_line
from minisim.compiler.graph import Graph
from minisim.compiler.memory import MEMORY_LIMIT
from minisim.errors import MinisimError, MissingExtraError, ModelError, UnsupportedError, described, shown

OPSET = 23
"""The oldest that has Attention and RMSNormalization, so that these come as one node each."""

INPUTS = "a tensor, a tuple of the module's arguments, or a mapping of its keyword arguments"


def is_torch(value: object) -> bool:
    """Whether it is of a class of torch's, or derived from one; without importing torch."""
    return any(str(base.__module__).split(".")[0] == "torch" for base in type(value).__mro__)


def from_torch(
    module: object,
    inputs: object,
    *,
    name: str = "",
    numerics: bool = True,
    memory_limit: int = MEMORY_LIMIT,
) -> Graph:
    """Return the graph of a torch.nn.Module.

    Args:
        module: is traced in inference: its method ``eval`` is called.
        inputs: of which it is traced, with their sizes: a tensor, a tuple of the module's arguments, or a mapping of
            its keyword arguments. A run computes with these values if it is given no others.
        name: of the graph; default: that of the module's class.
        numerics: False for a model that is only timed.
        memory_limit: bytes that its constants may take together.

    Raises:
        MissingExtraError: the package torch, onnxscript or onnx is not installed.
        ModelError: `module` or `inputs` are something else.
        UnsupportedError: names what torch cannot trace or export, or what minisim does not implement.
    """
    name = name or type(module).__name__
    return TorchModel.traced(module, inputs, name, name).graph(numerics=numerics, memory_limit=memory_limit)


@dataclass(frozen=True)
class TorchModel:
    """A model as torch has it and as ONNX has it.

    Attributes:
        program: the torch.export.ExportedProgram.
        exported: the torch.onnx.ONNXProgram.
        name: of its graph.
        called: what messages call it.
    """

    program: Any
    exported: Any
    name: str
    called: str

    @classmethod
    def traced(cls, module: object, inputs: object, name: str, called: str) -> TorchModel:
        """Raises what `from_torch` raises."""
        if isinstance(inputs, Mapping):
            args: tuple[object, ...] = ()
            kwargs = dict(inputs)
        elif isinstance(inputs, (tuple, list)):
            args, kwargs = tuple(inputs), {}
        elif is_torch(inputs):
            args, kwargs = (inputs,), {}
        else:
            raise ModelError(f"{called}: the module's example inputs must be {INPUTS}, not {shown(inputs)}")
        torch = _imported("torch")
        if not isinstance(module, torch.nn.Module):
            raise ModelError(f"{called}: must be a torch.nn.Module, not {shown(module)}")
        with _quiet():
            try:
                module.eval()
                program = torch.export.export(module, args, kwargs)
            except (MinisimError, MemoryError):
                raise
            except Exception as e:  # also what the module's own code raises
                why = described(e).partition(". (")[0]  # further lines are for those who mend torch
                raise UnsupportedError(f"{called}: torch.export cannot trace it{_at(_line_of(e))}: {why}") from e
        return cls.of(program, name, called)

    @classmethod
    def saved(cls, path: Path) -> TorchModel:
        """Of a file; raises what `from_torch` raises."""
        torch = _imported("torch")
        with _quiet():
            try:
                program = torch.export.load(path)
            except MemoryError:
                raise
            except Exception as e:  # of a damaged file anything
                raise ModelError(
                    f"model {str(path)!r}: torch {torch.__version__} cannot read it: {described(e)}"
                ) from None
        return cls.of(program, path.stem.encode(errors="backslashreplace").decode(), f"model {str(path)!r}")

    @classmethod
    def of(cls, program: Any, name: str, called: str) -> TorchModel:
        """Of a torch.export.ExportedProgram; raises what `from_torch` raises."""
        torch = _imported("torch")
        _imported("onnxscript")
        with _quiet():
            try:
                exported = torch.onnx.export(program, dynamo=True, opset_version=OPSET, verbose=False)
            except MemoryError:
                raise
            except Exception as e:  # of the exporter, or of what is registered with it
                raise UnsupportedError(f"{called}: torch has no way to ONNX for {_unexported(e)}") from e
        return cls(program, exported, name, called)

    def graph(
        self,
        dims: Dims | None = None,
        values: Mapping[str, Array] | None = None,
        offered: Mapping[str, Array] | None = None,
        *,
        numerics: bool = True,
        memory_limit: int = MEMORY_LIMIT,
    ) -> Graph:
        """The graph, whose inputs have the example values. What they leave open is bound as the arguments say, which
        are those of `load_onnx`, and else to their own sizes.

        Raises:
            ModelError, UnsupportedError: as `load_onnx` does.
        """
        from minisim.compiler.frontend.onnx_file import load_onnx_named  # late: it imports onnx, which is optional

        values, examples = dict(values or {}), self.examples()
        sizes = self._sizes(examples) | dict(dims or {})
        fitting = {name: x for name, x in examples.items() if _fits(x.shape, self._dims(name), sizes)}
        with tempfile.TemporaryDirectory() as folder, _quiet():
            path = Path(folder, "model.onnx")
            self.exported.save(path, external_data=True)
            graph, *_ = load_onnx_named(
                path,
                sizes,
                values,
                {**fitting, **(offered or {})},
                numerics=numerics,
                memory_limit=memory_limit,
                called=self.called,
            )
        graph.name = self.name
        for name in graph.inputs:
            tensor = graph.tensors[name]
            if numerics and name in fitting and tensor.shape == fitting[name].shape:
                graph.tensors[name] = replace(tensor, values=converted(fitting[name], tensor.dtype))
        return graph

    def examples(self) -> dict[str, Array]:
        """The example inputs by their names in the graph; none if a saved program has none."""
        if self.program.example_inputs is None:
            return {}
        leaves = _imported("torch.utils._pytree").tree_leaves(self.program.example_inputs)
        return {
            spec.arg.name: _array(leaf)
            for spec, leaf in zip(self._specs(), leaves, strict=True)
            if hasattr(leaf, "detach")
        }

    def outputs(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """What torch computes of these inputs, by the names of the graph's outputs.

        Raises:
            ModelError: torch cannot.
        """
        torch, tree = _imported("torch"), _imported("torch.utils._pytree")
        values = {**self.examples(), **inputs}
        types = {
            node.name: node.meta["val"].dtype
            for node in self.program.graph.nodes
            if node.op == "placeholder" and hasattr(node.meta.get("val"), "dtype")
        }
        leaves = [
            torch.tensor(_plain(values[spec.arg.name])).to(types[spec.arg.name])
            if spec.arg.name in types
            else spec.arg.value
            for spec in self._specs()
        ]
        args, kwargs = tree.tree_unflatten(leaves, self.program.call_spec.in_spec)
        with _quiet(), torch.no_grad():
            try:
                found = self.program.module()(*args, **kwargs)
            except MemoryError:
                raise
            except Exception as e:
                raise ModelError(f"{self.called}: torch cannot compute it: {described(e)}") from None
        tensors = [_array(leaf) for leaf in tree.tree_leaves(found) if hasattr(leaf, "detach")]
        return dict(zip((each.name for each in self.exported.model.graph.outputs), tensors, strict=True))

    def _specs(self) -> Sequence[Any]:
        """torch's descriptions of the arguments, one after the other."""
        specs = self.program.graph_signature.input_specs
        return [spec for spec in specs if spec.kind.name == "USER_INPUT"]

    def _dims(self, name: str) -> Sequence[int | str]:
        """The sizes of an input, by name where they are open."""
        shape = next((x.shape for x in self.exported.model.graph.inputs if x.name == name), None) or ()
        return [dim if isinstance(dim, int) else str(dim.value) for dim in shape]

    def _sizes(self, examples: Mapping[str, Array]) -> dict[str, int]:
        """The sizes that open dimensions have in the examples; of those that are bound as a whole they need none."""
        return {
            dim: size
            for name, x in examples.items()
            for dim, size in zip(self._dims(name), x.shape, strict=False)
            if isinstance(dim, str) and x.dtype != np.int64
        }


def _fits(shape: Sequence[int], dims: Sequence[int | str], sizes: Dims) -> bool:
    """Whether an example can be used where open dimensions have these sizes."""
    pairs = zip(shape, dims, strict=False)  # of one that the graph has not there are no dimensions
    return all(size == (dim if isinstance(dim, int) else sizes.get(dim, size)) for size, dim in pairs)


def _array(tensor: Any) -> Array:
    """The values of a tensor; of bfloat16, which numpy has not, as float32."""
    plain = tensor.detach().cpu()
    return np.asarray((plain.float() if plain.dtype == _imported("torch").bfloat16 else plain).numpy())


def _plain(array: Array) -> Array:
    """As `array`, in a type that torch reads."""
    return array if array.dtype.kind in "biuf" else array.astype(np.float32)


def _imported(name: str) -> Any:
    """A module of torch's, or of what its exporter needs."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as e:
        package = (e.name or name).partition(".")[0]
        raise MissingExtraError.of(package, "torch", "a model of PyTorch's") from None


@contextmanager
def _quiet() -> Iterator[None]:
    """torch speaks by exceptions alone: not by warnings of its own ways, by no log, and not on the output."""
    before, nowhere = logging.root.manager.disable, io.StringIO()
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(nowhere), redirect_stderr(nowhere):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


# -- what torch cannot do ------------------------------------------------------------------------------


def _line_of(error: BaseException) -> str:
    """The innermost line on the way to the error that is neither torch's, nor Python's, nor ours."""
    library, ours = sysconfig.get_path("stdlib"), str(Path(__file__).parents[2])
    frames = traceback.extract_tb(error.__traceback__)
    return innermost_line(
        "".join(traceback.format_list([x for x in frames if not x.filename.startswith((library, ours))]))
    )


def _at(line: str) -> str:
    return f" at {line}" if line else ""


def _unexported(error: BaseException) -> str:
    """``aten.linalg_qr.default of module 'head' at model.py:31: why``."""
    chain = list(_chain(error))
    why = described(chain[-1]).partition(" Failure message:")[0].rstrip(".")
    node = next((found for each in chain for found in _nodes_on_the_way(each)), None)
    if node is None:
        return f"it: {why}"
    modules = [path for path, _ in (node.meta.get("nn_module_stack") or {}).values()]
    of = f" of module {shown(modules[-1])}" if modules and modules[-1] else ""
    return f"{node.target}{of}{_at(innermost_line(node.meta.get('stack_trace') or ''))}: {why}"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, and those that it was raised because of; the first cause last."""
    found: BaseException | None = error
    while found is not None:
        yield found
        found = found.__cause__


def _nodes_on_the_way(error: BaseException) -> Iterator[Any]:
    """The nodes of torch's graph that were being exported where it was raised: its message names them as text alone."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        node = frame.f_locals.get("node")
        if type(node).__module__ == "torch.fx.node":
            yield node
