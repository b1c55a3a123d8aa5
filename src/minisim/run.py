"""One run: compile a model, time it, compute it in lockstep, check the result.

result = ms.run("resnet50", "edge_8x8", numerics=False)
result                                  the verdict
result.account                          where each cycle went, by layer: a DataFrame, as all tables of a run are
result.plot()                           the same as a picture
faster = result.what_if(dram_bandwidth="12.8GB/s")
result.compare(faster)                  what became of it
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from minisim.compiler.dtypes import NAME
from minisim.compiler.example_inputs import index_inputs
from minisim.compiler.frontend import ModelLike, as_graph
from minisim.compiler.graph import Graph
from minisim.compiler.lookups import timed_with, with_indices
from minisim.compiler.mapping import Edges, check_mapping
from minisim.compiler.memory import MEMORY_LIMIT, check_numerics
from minisim.compiler.passes.tile import MAX_OPERATIONS
from minisim.compiler.pipeline import ON_STAGE, Stage, compile_graph, values_graph
from minisim.difference import Difference, difference
from minisim.errors import UsageError, shortened, shown, truth, whole
from minisim.hwmodel.config import Machine, MachineLike, split_override
from minisim.hwmodel.config import keys as machine_keys
from minisim.hwmodel.isa import Schedule
from minisim.hwmodel.state import Observer
from minisim.hwmodel.timeline import Timeline
from minisim.hwmodel.timing import check_observers, check_timing, simulate
from minisim.lockstep import in_lockstep
from minisim.runtime import Array, Runtime, check_schedule, example_inputs
from minisim.weightless import without_weights

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from minisim.reports import RunRecord
    from minisim.reports.compare import Comparison


@dataclass(frozen=True, repr=False)
class Result:
    """What a run gives.

    Attributes:
        outputs: arrays by public name, in the model's types; empty without numerics.
        difference: from a plain numpy evaluation of the model as it was given: floats in double precision, so
            that it includes what casting or quantising them for the machine costs; integers exactly. None if
            they were not compared.
        times: when every operation did what, as the event model has it.
        wall_compile_s, wall_simulate_s: seconds; the latter includes the numerics, which run in lockstep.
        mapping: edges of tiles that were given.
    """

    graph: Graph
    machine: Machine
    schedule: Schedule
    times: Timeline
    outputs: Mapping[str, Array]
    difference: Difference | None
    timing: str
    wall_compile_s: float
    wall_simulate_s: float
    mapping: Mapping[str, Edges] = field(default_factory=dict)

    def __repr__(self) -> str:
        from minisim.reports.notebook import verdict

        outputs = ", ".join(f"{name} {array.dtype}{list(array.shape)}" for name, array in self.outputs.items())
        error = "" if self.difference is None else f"; {self.difference.error_text()}"
        return (
            f"<Result of {shortened(self.graph.name)!r} on {shortened(self.machine.name)!r}:\n"
            f"  {verdict(self.record())},\n"
            f"  outputs {shortened(outputs, 80) or 'not computed'}{error}>"
        )

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        from minisim.reports.notebook import run_html

        return run_html(self.record())

    def __getstate__(self) -> dict[str, Any]:
        """For pickle: without tables, which are made anew, and without the values of weights, which nothing asks for
        that is done with a result."""
        return {**{each.name: getattr(self, each.name) for each in fields(self)}, "graph": without_weights(self.graph)}

    @property
    def cycles(self) -> int:
        return self.times.cycles

    @property
    def max_abs_error(self) -> float | None:
        """The largest absolute difference of an element of the outputs; None if they were not compared."""
        return None if self.difference is None else self.difference.largest

    @property
    def output_sha256(self) -> str:
        """A hash of names, shapes and bits of all outputs: equal exactly if the results are. "" without numerics."""
        return outputs_sha256(self.outputs) if self.outputs else ""

    def record(self) -> RunRecord:
        """What the reports are made from: one for all that ask, so that none works out anew what another one did."""
        return self._record

    @cached_property
    def _record(self) -> RunRecord:
        from minisim.reports import RunRecord  # with pandas: not for those who only want the cycles

        return RunRecord(
            schedule=self.schedule,
            timeline=self.times,
            machine=self.machine,
            model=self.graph.name,
            config=self.machine.name,
            timing=self.timing,
            wall_compile_s=self.wall_compile_s,
            wall_simulate_s=self.wall_simulate_s,
            output_sha256=self.output_sha256,
            difference=self.difference,
            given=tuple(f"{name} {value.dtype}{list(value.shape)}" for name, value in self.graph.given.items()),
        )

    @cached_property
    def summary(self) -> pd.DataFrame:
        """One row: what the run took and what bound it; the columns of summary.csv (docs/reports.md has all)."""
        from minisim.reports import summary

        return summary(self.record())

    @cached_property
    def layers(self) -> pd.DataFrame:
        """A row per layer: cycles by stall, work, traffic and bound, as in layers.csv."""
        from minisim.reports import layers

        return layers(self.record()).copy()

    @cached_property
    def units(self) -> pd.DataFrame:
        """A row per unit: busy, stalled and idle cycles, as in units.csv."""
        from minisim.reports import units

        return units(self.record()).copy()

    @cached_property
    def energy(self) -> pd.DataFrame:
        """A row per layer and one for the run: picojoules by component, as in energy.csv."""
        from minisim.reports import energy

        return energy(self.record())

    @cached_property
    def account(self) -> pd.DataFrame:
        """A row per layer and one for the run: every cycle by its cause, as in account.csv."""
        from minisim.reports import Account

        return Account.of(self.record()).table()

    @cached_property
    def timeline(self) -> pd.DataFrame:
        """A row per operation: when it was issued, started, began, was done and retired, as in timeline.csv."""
        from minisim.reports import timeline

        return timeline(self.record())

    def plot(self, what: str = "account", ax: Axes | None = None) -> Axes:
        """Draw the run with matplotlib (extra `[plot]`).

        Args:
            what: "account", where the cycles of each layer went, or "timeline", what each unit did when.
            ax: the axes to draw on; default: new ones.
        """
        from minisim.reports.plot import plot_run

        return plot_run(self.record(), what, ax)

    def what_if(self, *overrides: str, **keys: Any) -> Result:
        """The same model on a machine with some keys changed: compiled for it, and timed.

        Args:
            overrides: as `--set` takes them: ``result.what_if("sram.bytes=1MiB")``.
            keys: the same by name, with _ for the dot: ``result.what_if(sram_bytes="1MiB", vector_lanes=64)``.

        Raises:
            ConfigError: there is no such key, or no such machine.
        """
        changed = dict(split_override(text, "what_if") for text in overrides)
        names = {key.replace(".", "_"): key for key in machine_keys()}
        changed |= {names.get(name, name): value for name, value in keys.items()}
        machine = self.machine.with_overrides(changed, "what_if")
        return run(self.graph, machine, timing=self.timing, numerics=False, mapping=self.mapping)

    def compare(self, other: Result) -> Comparison:
        """Where cycles and energy went from this run to another one."""
        from minisim.reports.compare import Comparison
        from minisim.reports.side import Side

        if not isinstance(other, Result):
            raise UsageError(f"a result is compared with a result, not with {shown(other)}; ms.compare takes others")
        return Comparison(Side.of(self.record()), Side.of(other.record()))


def run(
    graph: ModelLike,
    machine: MachineLike = None,
    *,
    inputs: Mapping[str, npt.ArrayLike] | None = None,
    timing: str = "native",
    numerics: bool = True,
    check: bool = True,
    observers: Sequence[Observer] = (),
    schedule: Schedule | None = None,
    on_stage: Stage | None = None,
    max_operations: int = MAX_OPERATIONS,
    memory_limit: int = MEMORY_LIMIT,
    mapping: Mapping[str, Edges] | None = None,
) -> Result:
    """Compile `graph` for `machine`, time it and compute it.

    Args:
        graph: a Graph, or what names one: the path of a .py or .onnx file, a built-in shape ("gemm:512x512x512").
        machine: a Machine, or what names one: a preset, the path of a machine file, a mapping of keys to values;
            default: the reference machine.
        inputs: arrays by name; what is missing is drawn as `example_inputs` says. Time depends on those alone that say
            which rows of a table are looked up. Of an ONNX file that is read here
            one that is int64 is bound: shapes, axes, pads and indices are.
        timing: the timing core: "native", or "simpy", which defines it and takes longer for the same cycles.
        numerics: also compute, in lockstep.
        check: with numerics, also compare the outputs with numpy.
        observers: told of every step of every operation.
        schedule: the schedule of `graph` for `machine`, if it has been compiled already.
        on_stage: called after every stage of the compiler.
        max_operations: the most that may be compiled, as for `compile_graph`.
        memory_limit: bytes that values may take, of the model's constants and, with numerics, of all tensors.
        mapping: edges of tiles by layer, as for `compile_graph`.

    Raises:
        MinisimError: a subclass of it for every mistake of the user's.
    """
    check_timing(timing)
    if inputs is not None and not isinstance(inputs, Mapping):
        raise UsageError(f"inputs must be a mapping of names to arrays, not {shown(inputs)}")
    if on_stage is not None and not callable(on_stage):
        raise UsageError(f"{ON_STAGE}, not {shown(on_stage)}")
    numerics, check = truth("numerics", numerics), truth("check", check)
    memory_limit, mapping = whole("memory_limit", memory_limit), check_mapping(mapping)
    check_observers(observers)
    check_schedule(schedule)
    machine = Machine.of(machine)
    graph = as_graph(graph, NAME[machine.dtype], numerics, memory_limit, inputs)
    if numerics:
        check_numerics(graph if check else values_graph(graph, machine), machine, memory_limit)
    began = time.perf_counter()
    if schedule is None:
        schedule = compile_graph(
            graph, machine, on_stage, max_operations=max_operations, numerics=numerics, mapping=mapping
        )
    drawn = example_inputs(graph) if numerics else index_inputs(graph)
    values: dict[str, Any] = {**drawn, **(inputs or {})}
    schedule, graph = timed_with(schedule, graph, values), with_indices(graph, values)
    compiled = time.perf_counter()
    if not numerics:
        timeline = simulate(schedule, machine, observers, timing=timing)
        walls = (compiled - began, time.perf_counter() - compiled)
        return Result(graph, machine, schedule, timeline, {}, None, timing, *walls, mapping)

    runtime = Runtime(graph, machine, schedule)
    for name, array in values.items():
        runtime.set(name, array)
    timeline = in_lockstep(schedule, machine, runtime.engine, observers, timing)
    walls = (compiled - began, time.perf_counter() - compiled)

    outputs = runtime.outputs()
    if not check:
        return Result(graph, machine, schedule, timeline, outputs, None, timing, *walls, mapping)
    del runtime  # and with it the engine's memory
    plain = graph.evaluate({name: np.asarray(array) for name, array in values.items()}, outputs_only=True)
    expected = {public: plain[name] for public, name in graph.outputs.items()}
    computed = {public: outputs[public] for public in expected}  # of others there is nothing to compare
    apart = difference(computed, expected) if computed else None
    return Result(graph, machine, schedule, timeline, outputs, apart, timing, *walls, mapping)


def outputs_sha256(outputs: Mapping[str, Array]) -> str:
    """A hash of names, shapes and bits."""
    h = hashlib.sha256()
    for name, array in outputs.items():
        h.update(f"{name} {array.shape} {array.dtype.str}\n".encode())
        h.update(np.ascontiguousarray(array).tobytes())
    return h.hexdigest()
