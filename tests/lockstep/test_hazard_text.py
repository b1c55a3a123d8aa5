"""What is said of a hazard: the kind, the place and the cycle, and both operations in full."""

from __future__ import annotations

import numpy as np
import pytest

import minisim as ms
from minisim.errors import ScheduleHazard
from minisim.hwmodel.isa import Opcode
from minisim.lockstep import Lockstep, in_lockstep
from minisim.runtime import example_inputs


def hazard(cores: int) -> tuple[ScheduleHazard, ms.Schedule]:
    """Of a run whose first EXECUTE does not wait for its loads."""
    graph, machine = ms.load_model("gemm:64x32x32"), ms.Machine().replace(f"cores.count={cores}")
    schedule = ms.compile_graph(graph, machine)
    stream = schedule.stream.copy()
    execute = int(np.flatnonzero(stream["opcode"] == Opcode.EXECUTE)[0])
    stream["wait"][execute] = 0
    broken = schedule.replace(stream=stream)
    runtime = ms.Runtime(graph, machine, broken)
    runtime.set("a", np.ones((64, 32)))
    lockstep = Lockstep(broken, runtime.engine)
    timeline = ms.simulate(broken, machine, [lockstep])
    with pytest.raises(ScheduleHazard) as caught:
        lockstep.finish(timeline.cycles)
    assert caught.value.op == execute
    return caught.value, broken


@pytest.mark.parametrize("cores", [1, 2])
def test_both_operations_are_spelled_out(cores: int) -> None:
    found, schedule = hazard(cores)
    first, *rest = str(found).splitlines()
    assert f"hazard at cycle {found.cycle}: EXECUTE (op {found.op}" in first and f"LOAD (op {found.other}" in first
    assert found.other >= 0 and len(rest) == 2
    for line, op in zip(rest, (found.op, found.other), strict=True):
        core = f" of core {schedule.stream['core'][op]}" if cores > 1 else ""
        assert line == f"  operation {op}{core}: {schedule.describe(op)}"
    assert rest[0] != rest[1]


def test_a_hazard_late_in_a_long_run_is_the_same_where_the_engine_works_beside_the_loop() -> None:
    """Thousands of steps are handed to the engine in another thread, and the loop is ahead when it finds this one."""
    machine = ms.Machine().replace("tile.m=8", "tile.k=8", "tile.n=8")
    graph = ms.load_model("gemm:128x128x128")
    schedule = ms.compile_graph(graph, machine)
    stream = schedule.stream.copy()
    late = len(stream) // 2
    stream["wait"][late:] = 0
    broken, found = schedule.replace(stream=stream), []
    for timing in ("simpy", "native"):
        runtime = ms.Runtime(graph, machine, broken)
        for name, values in example_inputs(graph).items():
            runtime.set(name, values)
        with pytest.raises(ScheduleHazard) as caught:
            in_lockstep(broken, machine, runtime.engine, [], timing)
        found.append((str(caught.value), caught.value.op, caught.value.other, caught.value.cycle))
    assert found[0] == found[1] and found[0][1] >= late > 2048
