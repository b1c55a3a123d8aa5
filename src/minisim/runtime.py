"""Numerics alone: a compiled model as a function of its inputs, without timing."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from minisim._engine import Engine, EngineConfig, EngineStats
from minisim.compiler.graph import Graph, view_2d
from minisim.compiler.pipeline import compile_graph
from minisim.errors import UsageError, did_you_mean
from minisim.hwmodel.config import Machine
from minisim.hwmodel.isa import Schedule

Array = npt.NDArray[np.float32]


class Runtime:
    """A graph's tensors in an engine's DRAM, and its schedule ready to execute.

        runtime = Runtime(graph)
        runtime.set("x", x)
        runtime.execute()
        y = runtime.get("y")

    Args:
        graph: the model; its weights are registered at once.
        machine: to compile for. The results do not depend on it.
        schedule: of `graph`, if it has been compiled already.
        kernel: of the engine: "auto", or "reference" for the scalar definition.
    """

    def __init__(
        self,
        graph: Graph,
        machine: Machine | None = None,
        schedule: Schedule | None = None,
        kernel: str = "auto",
    ) -> None:
        self.graph = graph
        self.schedule = schedule or compile_graph(graph, machine or Machine())
        self.engine = Engine(EngineConfig(self.schedule.sram_bytes, kernel=kernel, cores=self.schedule.cores))
        self.engine.load_schedule(self.schedule)
        self._index = {name: i for i, name in enumerate(self.schedule.tensor_names)}
        for tensor in graph.tensors.values():
            if tensor.is_weight and tensor.data is not None:
                self._put(tensor.name, tensor.data)

    def set(self, name: str, values: npt.ArrayLike) -> None:
        """Give input `name` its values, of its shape; they are converted to float32.

        Raises:
            UsageError: there is no such input, or the shape is another.
        """
        if name not in self.graph.inputs:
            raise UsageError(f"{name!r} is not an input of {self.graph.name!r}{did_you_mean(name, self.graph.inputs)}")
        array = np.asarray(values, dtype=np.float32)
        shape = self.graph.tensors[name].shape
        if array.shape != shape:
            raise UsageError(f"input {name!r} must have shape {shape}, not {array.shape}")
        self._put(name, array)

    def execute(self) -> None:
        """Run the schedule in program order; may be called again after other inputs were set.

        Raises:
            ScheduleHazard: an input was not set, or the schedule is wrong.
        """
        self.engine.reset()
        self.engine.run()

    def get(self, name: str) -> Array:
        """A copy of an output, in its shape.

        Raises:
            UsageError: there is no such output.
        """
        outputs = self.graph.outputs
        if name not in outputs:
            raise UsageError(f"{name!r} is not an output of {self.graph.name!r}{did_you_mean(name, outputs)}")
        tensor = self.graph.tensors[outputs[name]]
        if tensor.is_weight and tensor.data is not None:
            return np.array(tensor.data, dtype=np.float32)
        values = self.engine.tensor(self._index[tensor.name])
        return np.asarray(values, dtype=np.float32).reshape(tensor.shape)

    def outputs(self) -> dict[str, Array]:
        """All outputs by their public names."""
        return {name: self.get(name) for name in self.graph.outputs}

    @property
    def stats(self) -> EngineStats:
        """What the engine has done since the last `execute` began."""
        return self.engine.stats

    def _put(self, name: str, values: npt.NDArray[Any]) -> None:
        if name in self._index:  # fusion and folding may have left no use of it
            shape = view_2d(self.graph.tensors[name].shape)
            self.engine.set_tensor(self._index[name], values.reshape(shape))


def example_inputs(graph: Graph, seed: int = 0) -> dict[str, Array]:
    """Values for all inputs: the model's own where it gives some, else normal of the order 0.1.

    They depend on the seed, the input's name and its shape alone.
    """
    inputs: dict[str, Array] = {}
    for name in graph.inputs:
        tensor = graph.tensors[name]
        if tensor.data is not None:
            inputs[name] = np.asarray(tensor.data, dtype=np.float32)
        else:
            rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
            inputs[name] = (0.1 * rng.standard_normal(tensor.shape)).astype(np.float32)
    return inputs


def largest_difference(outputs: Mapping[str, Array], expected: Mapping[str, npt.NDArray[Any]]) -> float:
    """The largest absolute difference over all outputs; two NaNs, or two equal infinities, do not differ."""
    worst = 0.0
    for name, array in outputs.items():
        a, b = array.astype(np.float64), np.asarray(expected[name], dtype=np.float64)
        with np.errstate(invalid="ignore"):
            difference = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))
        largest = float(np.max(difference, initial=0.0))
        worst = largest if np.isnan(largest) else max(worst, largest)
        if np.isnan(worst):
            break
    return worst
