"""One run: compile a model, time it, compute it in lockstep, check the result."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from minisim.compiler.dtypes import NAME
from minisim.compiler.frontend import ModelLike, as_graph
from minisim.compiler.graph import Graph
from minisim.compiler.memory import MEMORY_LIMIT, check_numerics
from minisim.compiler.passes.tile import MAX_OPERATIONS
from minisim.compiler.pipeline import Stage, compile_graph
from minisim.errors import UsageError, shortened, shown
from minisim.hwmodel.config import Machine, MachineLike
from minisim.hwmodel.isa import Schedule
from minisim.hwmodel.simulate import Observer, check_observers, simulate
from minisim.hwmodel.timeline import Timeline
from minisim.lockstep import Lockstep
from minisim.runtime import Array, Runtime, example_inputs, largest_difference

if TYPE_CHECKING:
    from minisim.reports import RunRecord


TIMING_CORES = ("simpy",)


@dataclass(frozen=True, repr=False)
class Result:
    """What a run gives.

    Attributes:
        outputs: arrays by public name, in the model's types; empty without numerics.
        max_abs_error: against a plain numpy evaluation of the model as it was given: floats in double precision, so
            that it includes what casting or quantising them for the machine costs; integers exactly. None if
            they were not compared.
        wall_compile_s, wall_simulate_s: seconds; the latter includes the numerics, which run in lockstep.
    """

    graph: Graph
    machine: Machine
    schedule: Schedule
    timeline: Timeline
    outputs: Mapping[str, Array]
    max_abs_error: float | None
    timing: str
    wall_compile_s: float
    wall_simulate_s: float

    def __repr__(self) -> str:
        outputs = ", ".join(f"{name} {array.dtype}{list(array.shape)}" for name, array in self.outputs.items())
        error = "" if self.max_abs_error is None else f"; largest error {self.max_abs_error:.3g}"
        return (
            f"<Result of {shortened(self.graph.name)!r} on {shortened(self.machine.name)!r}: {self.cycles:,} cycles,\n"
            f"  {len(self.schedule):,} operations, layers: {len(self.schedule.layers):,},\n"
            f"  outputs {shortened(outputs, 80) or 'not computed'}{error}>"
        )

    @property
    def cycles(self) -> int:
        return self.timeline.cycles

    @property
    def output_sha256(self) -> str:
        """A hash of names, shapes and bits of all outputs: equal exactly if the results are. "" without numerics."""
        return outputs_sha256(self.outputs) if self.outputs else ""

    def record(self) -> RunRecord:
        """What the reports are made from."""
        from minisim.reports import RunRecord  # with pandas: not for those who only want the cycles

        return RunRecord(
            schedule=self.schedule,
            timeline=self.timeline,
            machine=self.machine,
            model=self.graph.name,
            config=self.machine.name,
            timing=self.timing,
            wall_compile_s=self.wall_compile_s,
            wall_simulate_s=self.wall_simulate_s,
            output_sha256=self.output_sha256,
            max_abs_error=self.max_abs_error,
        )


def run(
    graph: ModelLike,
    machine: MachineLike = None,
    *,
    inputs: Mapping[str, npt.ArrayLike] | None = None,
    timing: str = "simpy",
    numerics: bool = True,
    check: bool = True,
    observers: Sequence[Observer] = (),
    schedule: Schedule | None = None,
    on_stage: Stage | None = None,
    max_operations: int = MAX_OPERATIONS,
    memory_limit: int = MEMORY_LIMIT,
) -> Result:
    """Compile `graph` for `machine`, time it and compute it.

    Args:
        graph: a Graph, or what names one: the path of a .py or .onnx file, a built-in shape ("gemm:512x512x512").
        machine: a Machine, or what names one: a preset, the path of a machine file, a mapping of keys to values;
            default: the reference machine.
        inputs: arrays by name; what is missing is drawn as `example_inputs` says.
        timing: the timing core; there is one, "simpy".
        numerics: also compute, in lockstep.
        check: with numerics, also compare the outputs with numpy.
        observers: told of every step of every operation.
        schedule: the schedule of `graph` for `machine`, if it has been compiled already.
        on_stage: called after every stage of the compiler.
        max_operations: the most that may be compiled, as for `compile_graph`.
        memory_limit: bytes that values may take, of the model's constants and, with numerics, of all tensors.

    Raises:
        MinisimError: a subclass of it for every mistake of the user's.
    """
    if not isinstance(timing, str) or timing not in TIMING_CORES:
        raise UsageError(f"timing must be {' or '.join(TIMING_CORES)}, not {shown(timing)}")
    if inputs is not None and not isinstance(inputs, Mapping):
        raise UsageError(f"inputs must be a mapping of names to arrays, not {shown(inputs)}")
    if on_stage is not None and not callable(on_stage):
        raise UsageError(f"on_stage must be a function of number, name and IR, not {shown(on_stage)}")
    check_observers(observers)
    machine = Machine.of(machine)
    graph = as_graph(graph, NAME[machine.dtype], numerics, memory_limit)
    if numerics:
        check_numerics(graph, machine, memory_limit)
    began = time.perf_counter()
    if schedule is None:
        schedule = compile_graph(graph, machine, on_stage, max_operations=max_operations, numerics=numerics)
    compiled = time.perf_counter()
    if not numerics:
        timeline = simulate(schedule, machine, observers)
        walls = (compiled - began, time.perf_counter() - compiled)
        return Result(graph, machine, schedule, timeline, {}, None, timing, *walls)

    runtime = Runtime(graph, machine, schedule)
    values = {**example_inputs(graph), **(inputs or {})}
    for name, array in values.items():
        runtime.set(name, array)
    lockstep = Lockstep(schedule, runtime.engine)
    timeline = simulate(schedule, machine, [lockstep, *observers])
    lockstep.finish(timeline.cycles)
    walls = (compiled - began, time.perf_counter() - compiled)

    outputs = runtime.outputs()
    if not check:
        return Result(graph, machine, schedule, timeline, outputs, None, timing, *walls)
    del runtime, lockstep  # and with them the engine's memory
    truth = graph.evaluate({name: np.asarray(array) for name, array in values.items()}, outputs_only=True)
    expected = {public: truth[name] for public, name in graph.outputs.items()}
    return Result(graph, machine, schedule, timeline, outputs, largest_difference(outputs, expected), timing, *walls)


def outputs_sha256(outputs: Mapping[str, Array]) -> str:
    """A hash of names, shapes and bits."""
    h = hashlib.sha256()
    for name, array in outputs.items():
        h.update(f"{name} {array.shape} {array.dtype.str}\n".encode())
        h.update(np.ascontiguousarray(array).tobytes())
    return h.hexdigest()
