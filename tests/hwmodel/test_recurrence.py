"""When operations could start: the twin against its definition, and what it says of the order of the stream."""

from __future__ import annotations

import numpy as np
import pytest
from support.pairs import pair

import minisim as ms
from minisim._engine import expected_starts as starts
from minisim.compiler.pipeline import compile_undispatched
from minisim.errors import ScheduleError, UsageError
from minisim.hwmodel.classes import class_costs
from minisim.hwmodel.recurrence import definition, expected_starts


@pytest.mark.parametrize("chunk", range(4))
def test_the_twin_is_its_definition(chunk: int) -> None:
    """On machines of every kind; the native event model's own pairs, dispatched or not."""
    syncs = shared = planes = 0
    for seed in range(7000 + 40 * chunk, 7000 + 40 * (chunk + 1)):
        schedule, machine = pair(seed)
        found = expected_starts(schedule, machine)
        assert np.array_equal(found, definition(schedule, machine)), f"pair({seed})"
        syncs += schedule.cores > 1
        shared += machine.dma.shared
        planes += machine.dma.dimensions == 3
    assert min(syncs, shared, planes) > 4


def test_nothing_starts_before_what_it_waits_for() -> None:
    """Nor does a run with endless queues and no dispatch start anything earlier, one core's DRAM being no limit."""
    machine = ms.Machine().replace("control.queue_depth=1000000", "dram.bandwidth=1000GB/s", "control.issue_cycles=1")
    schedule = compile_undispatched(ms.load_model("gemm:96x200x80"), machine)
    found = expected_starts(schedule, machine)
    timeline = ms.simulate(schedule, machine)
    assert (found <= timeline.start).all()
    loads = np.flatnonzero(schedule.stream["queue"] == 0)
    assert (np.diff(found[loads]) >= 0).all()


def test_what_makes_no_sense_is_refused() -> None:
    machine = ms.Machine()
    schedule = ms.compile_graph("gemm:64x64x64", machine)
    found, sharing = class_costs(schedule, machine), np.ones(1, dtype=np.int64)
    stream = schedule.stream.copy()
    stream["wait"][0] = [0, 0, 1, 0]  # for an execute, and none has been
    with pytest.raises(ScheduleError, match="operation 0 waits for one behind it"):
        expected_starts(schedule.replace(stream=stream), machine)
    with pytest.raises(UsageError, match="a number for each layer"):
        starts(schedule, found.costs, found.of, sharing[:0], False)
    with pytest.raises(UsageError, match="a row of costs for each"):
        starts(schedule, found.costs, found.of[1:], sharing, False)
    with pytest.raises(UsageError, match="six numbers"):
        starts(schedule, found.costs[1:], found.of, sharing, False)
