"""One point of a sweep, computed: in this process, or in one that was given the models first.

A point that no machine of this size can compute, or that fails, is an outcome with its reason, and stops no other.
"""

from __future__ import annotations

import json
import pickle
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from minisim.compiler.example_inputs import example_inputs
from minisim.compiler.graph import Graph
from minisim.compiler.mapping import Edges
from minisim.compiler.memory import check_numerics
from minisim.compiler.pipeline import compile_graph, compile_tiled, schedule_key, tiled_graph
from minisim.compiler.room import with_room
from minisim.errors import CapacityError, MemoryLimitError, MinisimError, UnsupportedError, described, one_line
from minisim.hwmodel.config import Machine
from minisim.hwmodel.isa import Schedule
from minisim.run import run

KEPT = 1_000_000
"""Operations of schedules that a process keeps for further points, beside the last one."""

OK, INFEASIBLE, FAILED = "ok", "infeasible", "failed"


class How(NamedTuple):
    """How points are run: what of `run`'s arguments all points of a sweep share.

    Attributes:
        seed: of the inputs that are drawn; 0 draws those of `minisim run`.
    """

    numerics: bool
    max_operations: int
    memory_limit: int
    mapping: Mapping[str, Edges]
    seed: int = 0

    def counts(self) -> dict[str, object]:
        """What of it a result depends on."""
        values = {"seed": self.seed, "memory_limit": self.memory_limit} if self.numerics else {}
        mapping = sorted((layer, tuple(edges)) for layer, edges in self.mapping.items())
        rest = {"max_operations": self.max_operations, "mapping": mapping, "timing": "native"}
        return {"numerics": self.numerics, **values, **rest}


class Task(NamedTuple):
    """A point that is computed: what its result is kept under, the digest of its model, and its machine."""

    key: str
    model: str
    machine: Machine


class Outcome(NamedTuple):
    """What came of a task.

    Attributes:
        status: `OK`, `INFEASIBLE`: no machine like this computes the model; or `FAILED`.
        columns: of an OK one, the columns of `summary.csv` as a JSON object; else "".
        shared: whether its schedule was one that another point had.
    """

    key: str
    status: str
    reason: str
    columns: str
    shared: bool = False

    def row(self) -> dict[str, Any]:
        """The columns, by name."""
        found: dict[str, Any] = json.loads(self.columns) if self.columns else {}
        return found


class Computer:
    """Computes tasks of models that it was given, whole or packed; of these one lies unpacked."""

    def __init__(self, models: Mapping[str, Graph | bytes]) -> None:
        self._models = dict(models)
        self._last: tuple[str, _Compiled] | None = None

    def compute(self, task: Task, how: How) -> Outcome:
        """The outcome of a task, whatever happens."""
        if self._last is None or self._last[0] != task.model:
            given = self._models[task.model]
            self._last = task.model, _Compiled(pickle.loads(given) if isinstance(given, bytes) else given)
        return _computed(self._last[1], task, how)


class _Compiled:
    """A model, and the last schedules of it before dispatch by their keys: points of one key share them."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._known: dict[str, Schedule] = {}

    def schedule(self, machine: Machine, how: How) -> tuple[Schedule, bool]:
        """The schedule for a machine, and whether another machine's was taken as far as it goes."""
        found, is_known = with_room(machine, how.mapping, lambda on: self._undispatched(on, how))
        return compile_graph(self.graph, machine, undispatched=found), is_known

    def _undispatched(self, machine: Machine, how: How) -> tuple[Schedule, bool]:
        tiled = tiled_graph(self.graph, machine, how.max_operations, how.numerics, how.mapping)
        key = schedule_key(tiled, machine)
        known = self._known.pop(key, None)
        found = known or compile_tiled(tiled, machine)
        self._known[key] = found  # the last one used is the last one
        while len(self._known) > 1 and sum(map(len, self._known.values())) > KEPT:
            del self._known[next(iter(self._known))]
        return found, known is not None


def _computed(compiled: _Compiled, task: Task, how: How) -> Outcome:
    from minisim.reports import summary

    graph, machine = compiled.graph, task.machine
    try:
        if how.numerics:
            check_numerics(graph, machine, how.memory_limit)
        began = time.perf_counter()
        schedule, shared = compiled.schedule(machine, how)
        compile_s = time.perf_counter() - began
        inputs = example_inputs(graph, how.seed) if how.numerics and how.seed else None
        result = run(
            graph,
            machine,
            inputs=inputs,
            numerics=how.numerics,
            schedule=schedule,
            memory_limit=how.memory_limit,
        )
        record = replace(result.record(), wall_compile_s=compile_s)
        columns = {str(k): v for k, v in summary(record).iloc[0].to_dict().items()}
    except (CapacityError, MemoryLimitError, UnsupportedError) as e:  # no machine of this size, or of this type
        return Outcome(task.key, INFEASIBLE, str(e), "")
    except Exception as e:
        return Outcome(task.key, FAILED, _reason(e), "")
    return Outcome(task.key, OK, "", json.dumps(columns, default=_plain), shared)


def _plain(value: Any) -> Any:
    """A number of numpy's as one of Python's."""
    return value.item()


def _reason(error: Exception) -> str:
    """One line: a mistake's message as it is, anything else with its type, as the bug that it is."""
    if isinstance(error, MemoryError):
        return "out of memory"
    return one_line(error) if isinstance(error, MinisimError) else f"a bug in minisim: {described(error)}"


_computer: Computer | None = None


def hold(models: Mapping[str, bytes]) -> None:
    """Give this process the models, once."""
    global _computer
    _computer = Computer(models)


def compute(task: Task, how: How) -> Outcome:
    """The outcome of a task, in a process that holds its model."""
    assert _computer is not None
    return _computer.compute(task, how)
