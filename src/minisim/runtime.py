"""Numerics alone: a compiled model as a function of its inputs, without timing."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from minisim._engine import Engine, EngineConfig, EngineStats
from minisim.compiler.arguments import input_array
from minisim.compiler.blocked import Blocked
from minisim.compiler.dtypes import FLOATS8, NAME, converted, quantize
from minisim.compiler.example_inputs import example_inputs
from minisim.compiler.float8 import from_bits, to_bits
from minisim.compiler.frontend import ModelLike, as_graph
from minisim.compiler.graph import Tensor, view_2d
from minisim.compiler.pipeline import compile_graph, computed_graph
from minisim.errors import IndexRangeError, UsageError, did_you_mean, shown
from minisim.hwmodel.config import Machine, MachineLike
from minisim.hwmodel.isa import DType, Schedule
from minisim.lockstep import with_node

__all__ = ["Array", "Runtime", "example_inputs"]

Array = npt.NDArray[Any]


class Runtime:
    """A graph's tensors in an engine's DRAM, and its schedule ready to execute.

        runtime = Runtime(graph)
        runtime.set("x", x)
        runtime.execute()
        y = runtime.get("y")

    Values go in and come out in the model's types (bfloat16 as float32 arrays). Where the machine computes a
    float32 model in another type, inputs are rounded or quantised on their way in, and int8 outputs are given as
    the floats that they stand for.

    Args:
        graph: the model (a Graph, or what `load_model` takes); its weights are registered at once.
        machine: to compile for, and what `schedule` was compiled for (what `Machine.of` takes). The results depend on
            its matrix.dtype alone.
        schedule: the schedule of `graph`, if it has been compiled already.
        kernel: the engine's kernel: "auto", or "reference" for the scalar definition.
    """

    def __init__(
        self,
        graph: ModelLike,
        machine: MachineLike = None,
        schedule: Schedule | None = None,
        kernel: str = "auto",
    ) -> None:
        check_schedule(schedule)
        if not isinstance(kernel, str) or not kernel.isascii():
            raise UsageError(f"kernel must be a text such as 'auto', not {shown(kernel)}")
        machine = Machine.of(machine)
        self.graph = as_graph(graph, NAME[machine.dtype])
        self.computed = computed_graph(self.graph, machine)
        self.schedule = compile_graph(self.graph, machine) if schedule is None else schedule
        self._index = {name: i for i, name in enumerate(self.schedule.tensor_names)}
        self._check_schedule()
        self._states: dict[str, Array] = {}  # what was given of each: a run writes the rest anew
        s = self.schedule
        self.engine = Engine(
            EngineConfig(s.sram_bytes, kernel=kernel, accumulator_bytes=s.accumulator_bytes, cores=s.cores)
        )
        self.engine.load_schedule(self.schedule)
        for tensor in self.computed.tensors.values():
            if tensor.packed and isinstance(tensor.values, Blocked) and tensor.name in self._index:
                self.engine.set_tensor(self._index[tensor.name], tensor.values.blocks())
            elif tensor.is_weight and tensor.data is not None:
                self._put(tensor, tensor.data)

    def _check_schedule(self) -> None:
        """Whether the schedule has the tensors of the model, in their shapes and packed alike: types are its own
        (`dtype`)."""
        for tensor in self.computed.tensors.values():
            if tensor.window is not None:
                continue  # a rectangle of another, which has the place
            if tensor.name in self._index:
                row = self.schedule.tensors[self._index[tensor.name]]
                if (row["rows"], row["cols"]) == view_2d(tensor.shape) and _is_so_packed(row, tensor):
                    continue
            elif tensor.name not in self.computed.outputs.values():
                continue  # fusion and folding may have left no use of it
            raise UsageError(
                f"the schedule is not of {self.graph.name!r}: it has another tensor {tensor.name!r}, or none"
            )

    def dtype(self, name: str) -> DType:
        """The type of a tensor of the model as it lies in memory; one that no operation uses any more is FP32.

        Raises:
            UsageError: there is no such tensor.
        """
        known = [*self.graph.tensors, *self.computed.tensors]
        if not isinstance(name, str) or not (name in self._index or name in known):
            raise UsageError(f"{shown(name)} is not a tensor of {self.graph.name!r}{did_you_mean(name, known)}")
        index = self._index.get(name)
        return DType.FP32 if index is None else DType(self.schedule.tensors["dtype"][index])

    def set(self, name: str, values: npt.ArrayLike) -> None:
        """Give input `name` its values, of its shape. Of a state the rows that it holds are taken.

        Floats are rounded to the input's type, to nearest, ties to even. Integer types take what is an integer in
        their range, whatever the array's dtype.

        Raises:
            UsageError: there is no such input, the shape is another, or the type has no such value.
        """
        if isinstance(name, str) and name in self.graph.bound:
            if not np.array_equal(self.graph.bound[name], values):
                raise UsageError(f"input {shown(name)} was bound to other values when {self.graph.name!r} was read")
            return
        if not isinstance(name, str) or name not in self.graph.inputs:
            near = did_you_mean(name, self.graph.inputs)
            raise UsageError(f"{shown(name)} is not an input of {self.graph.name!r}{near}")
        tensor = self.graph.tensors[name]
        array = input_array(name, values, tensor.shape)
        computed = self.computed.tensors.get(name, tensor)
        if computed.scale is not None and tensor.scale is None:
            array = quantize(array, computed.scale)
        self._put(tensor, array if tensor.held is None else array[: tensor.held])

    def execute(self) -> None:
        """Run the schedule in program order; may be called again after other inputs were set.

        Raises:
            ScheduleHazard: an input was not set, or the schedule is wrong.
            IndexRangeError: a row is looked up that its table does not have.
        """
        self.engine.reset()
        for name, rows in self._states.items():
            self.engine.set_tensor(self._index[name], rows)
        try:
            self.engine.run()
        except IndexRangeError as e:
            raise with_node(e, self.schedule) from None

    def state(self, name: str) -> Array:
        """A copy of the rows that state `name` holds after the run, in the type in which they lie in memory, as numpy
        has it (bfloat16 and floats of 8 bits as float32).

        Raises:
            UsageError: there is no such state.
        """
        states = [node.present[0] for node in self.graph.nodes if node.op == "Append"]
        if name not in states:
            raise UsageError(f"{shown(name)} is not a state of {self.graph.name!r}{did_you_mean(name, states)}")
        (node,) = (node for node in self.graph.nodes if node.op == "Append" and node.present[0] == name)
        return self._lies_at(self.computed.tensors[name])[: self.graph.tensors[node.output].shape[0]]

    def get(self, name: str) -> Array:
        """A copy of an output, in its shape.

        Raises:
            UsageError: there is no such output.
        """
        outputs = self.graph.outputs
        if isinstance(name, str) and name in self.graph.given:
            return np.array(self.graph.given[name])
        if not isinstance(name, str) or name not in outputs:
            raise UsageError(f"{shown(name)} is not an output of {self.graph.name!r}{did_you_mean(name, outputs)}")
        tensor = self.graph.tensors[outputs[name]]
        if tensor.is_weight and tensor.data is not None:
            return np.array(tensor.data)
        computed = self.computed.tensors[tensor.name]
        values = self._lies_at(computed).reshape(tensor.shape)
        if computed.scale is not None and tensor.scale is None:
            return np.asarray((values * np.float64(computed.scale)).astype(np.float32))
        if name in self.graph.wide:
            return values.astype(np.int64)
        narrow = values.dtype == np.float16 and tensor.dtype == "float32"  # numpy has no other narrow float
        return values.astype(np.float32) if narrow else values

    def _lies_at(self, tensor: Tensor) -> Array:
        """The values of a computed tensor, as rows and columns."""
        if tensor.window is None:
            found = self.engine.tensor(self._index[tensor.name])
        else:
            root, row, col = tensor.window
            rows, cols = view_2d(tensor.shape)
            found = self.engine.tensor(self._index[root])[row : row + rows, col : col + cols]
        return from_bits(found, tensor.dtype) if tensor.dtype in FLOATS8 else found

    def outputs(self) -> dict[str, Array]:
        """All outputs by their public names."""
        return {name: self.get(name) for name in (*self.graph.outputs, *self.graph.given)}

    @property
    def stats(self) -> EngineStats:
        """What the engine has done since the last `execute` began."""
        return self.engine.stats

    def _put(self, tensor: Tensor, values: Array) -> None:
        """Convert `values` to the type in which the tensor lies in memory, and write them there."""
        if tensor.name not in self._index:  # fusion and folding may have left no use of it
            return
        code = self.dtype(tensor.name)
        try:
            array = converted(values, NAME[code])
        except ValueError as e:
            raise UsageError(
                f"{'weight' if tensor.is_weight else 'input'} {tensor.name!r} is {code.name}: {e}"
            ) from None
        if NAME[code] in FLOATS8:
            array = to_bits(array, NAME[code], saturate=False)
        if tensor.held is not None:
            self._states[tensor.name] = array
        shape = view_2d(tensor.shape) if tensor.held is None else array.shape
        self.engine.set_tensor(self._index[tensor.name], array.reshape(shape))


def check_schedule(schedule: Schedule | None) -> None:
    """Raise a UsageError if it is something else."""
    if schedule is not None and not isinstance(schedule, Schedule):
        raise UsageError(f"schedule must be a Schedule, such as compile_graph returns, not {shown(schedule)}")


def _is_so_packed(row: np.void, tensor: Tensor) -> bool:
    """Whether a row of the table of tensors packs the tensor as it is packed."""
    if not tensor.packed:
        return bool(row["packs"] == 0)
    expected = row.copy()
    tensor.packed.put(expected)
    return bool(row == expected)
