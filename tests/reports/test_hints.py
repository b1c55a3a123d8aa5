"""Hints: what a user would be told wrongly."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings

from minisim.hwmodel.cost import roofline
from minisim.hwmodel.isa import Opcode, Queue
from minisim.hwmodel.timeline import WAITED_FOR
from minisim.reports import RunRecord, units
from minisim.reports.hints import FAR, Hint, hints

from .conftest import Record, records

BANKED = ["dram.model=banked", "dram.preset=ddr4-3200", "dma.bytes_per_cycle=256"]


def with_text(record: RunRecord, part: str) -> Hint | None:
    return next((hint for hint in hints(record) if part in hint.text), None)


def test_nobody_is_told_to_double_the_bandwidth_of_a_banked_dram(record: Record) -> None:
    """Its bandwidth is its part's: the key has no effect there."""
    banked, ideal = record("softmax:256x256", "npu_32x32", *BANKED), record("softmax:256x256")
    assert banked.work.bound(banked.machine).bound_by == ideal.work.bound(ideal.machine).bound_by == "dram"
    assert with_text(ideal, "dram.bandwidth") and any("dram.bandwidth" in t for h in hints(ideal) for t in h.tries)
    assert len(hints(banked)) >= 1 and not with_text(banked, "dram.bandwidth")
    assert not any("dram.bandwidth" in settings for hint in hints(banked) for settings in hint.tries)


def test_nobody_is_told_a_value_that_a_key_cannot_have(record: Record) -> None:
    wide = ("dram.bandwidth=10TB/s", "dma.bytes_per_cycle=4096", "matrix.rows=1", "matrix.cols=4096")
    r = record("gemm:8x64x4096", "npu_32x32", *wide, "matrix.fp32_rate=1/64", "sram.bytes=4MiB")
    assert r.work.bound(r.machine).bound_by == "matrix"
    assert not with_text(r, "set the bound") and not with_text(r, "sets the bound") and not with_text(r, "8192")


def test_the_unit_that_limits_after_the_change_may_be_the_same(record: Record) -> None:
    still = record("gemm:8x256x256", "npu_32x32", "dma.bytes_per_cycle=1")
    then = record("gemm:512x512x512", "npu_32x32", "sram.bytes=64KiB", "dma.bytes_per_cycle=16")
    for r in (still, then):
        assert r.work.bound(r.machine).bound_by == "load"
    assert with_text(still, "load is still the limit.")
    assert with_text(then, "dram is then the limit.")


@settings(max_examples=60, deadline=None)
@given(records())
def test_a_run_far_from_its_bound_is_told_that_it_is_the_schedule(record: RunRecord) -> None:
    bound = math.ceil(record.work.bound(record.machine).cycles)
    hint = with_text(record, "the schedule, that is")
    assert (hint is not None) == (record.timeline.cycles > FAR * bound > 0)
    if hint:
        assert f"takes {record.timeline.cycles / bound:.2f} times its bound" in hint.text
        assert hint.cycles == record.timeline.cycles - bound


# -- several cores ---------------------------------------------------------------------------------------------


def test_dispatch_is_counted_on_the_core_that_has_most_of_it(record: Record) -> None:
    """Each core dispatches its own operations: neither their sum nor another core's is what was waited for."""
    fast = ("dram.bandwidth=1TB/s", "dma.bytes_per_cycle=256", "control.issue_cycles=120")
    r = record("gemm:160x512x512", "npu_32x32", "cores.count=3", *fast)
    counts = np.bincount(r.schedule.stream["core"]).tolist()
    assert len(set(counts)) > 1, "the test needs cores with different work"
    hint = with_text(r, "cycles for dispatch")
    assert hint and f"{max(counts):,} operations take {120 * max(counts):,}" in hint.text
    assert {"control.issue_cycles": "60"} in hint.tries


def test_waits_of_several_cores_are_told_as_those_of_one(record: Record) -> None:
    r = record("gemm:256x512x256", "npu_32x32", "cores.count=4", "dma.max_outstanding=1", "dram.latency=300ns")
    table = units(r).set_index("unit")
    each = [int(table.loc[f"c{core}.load", "cycles_stall_outstanding"]) for core in range(4)]
    hint = with_text(r, "transfers in flight, while")
    assert hint and len(set(each)) > 1
    assert f"stood still for {sum(each) // 4:,} cycles with dma.max_outstanding = 1" in hint.text


# -- what the hints are made from ------------------------------------------------------------------------------


@pytest.mark.parametrize("shared", [True, False])
def test_a_port_that_both_directions_share_passes_the_bytes_of_both(shared: bool, record: Record) -> None:
    overrides = [f"dma.shared={str(shared).lower()}", "dma.channels=2", "dma.beat_cycles=3", "cores.count=2"]
    machine = record("gemm:32x32x32", "npu_32x32", *overrides).machine
    pace = Fraction(machine.dma.bytes_per_cycle * 2 * 2, 3)
    bound = roofline(0, 0, 4800, 1600, machine)
    assert (bound.load_port, bound.store_port) == ((6400 / pace,) * 2 if shared else (4800 / pace, 1600 / pace))
    r = record("softmax:64x64", "npu_32x32", *overrides[:1], "dram.bandwidth=1TB/s", "vector.lanes=4096")
    moved = r.work.bytes if shared else r.work.read_bytes
    assert r.work.bound(r.machine).cycles == Fraction(moved, r.machine.dma.bytes_per_cycle) <= r.timeline.cycles


def last_waits(record: RunRecord) -> int:
    """Check that `waited_for` names the wait that ended last; how many operations had waited for several."""
    schedule, t, several = record.schedule, record.timeline, 0
    lanes = schedule.lane_ops()
    for op in np.flatnonzero((t.waited_for >= 1) & (t.waited_for <= len(Queue))).tolist():
        own = int(schedule.stream["core"][op]) * len(Queue)
        wait = schedule.stream["wait"][op].tolist()
        ends = {q: int(t.end[lanes[own + q][n - 1]]) for q, n in enumerate(wait) if n}
        late = {q: end for q, end in ends.items() if end > t.issue[op]}
        named = int(t.waited_for[op]) - 1
        assert ends[named] == max(ends.values()), (op, ends, WAITED_FOR[named + 1])
        several += len(set(late.values())) > 1 and schedule.stream["opcode"][op] >= Opcode.EXECUTE
    return several


def test_what_was_waited_for_is_the_last_wait(record: Record) -> None:
    """The account, units.csv and the trace blame it: blaming the first would blame what came in time."""
    cases = ["gemm:64x64x96", "softmax:64x64", "gemm:128x128x128"]
    assert sum(last_waits(record(spec, "npu_32x32", "sram.bytes=24KiB")) for spec in cases) >= 5


@settings(max_examples=60, deadline=None)
@given(records())
def test_what_was_waited_for_is_the_last_wait_on_any_machine(record: RunRecord) -> None:
    last_waits(record)


def test_a_full_queue_is_no_fault_where_the_array_is_the_limit(record: Record) -> None:
    """It is full because its unit has work all the time, as it should be; where it has not, it is told."""
    keys = [
        "dma.bytes_per_cycle=1024",
        "dram.bandwidth=10TB/s",
        "matrix.rows=8",
        "matrix.cols=8",
        "control.launch_cycles=9000",
    ]
    r = record("gemm:128x256x256", "npu_32x32", *keys)
    bound, stood = r.work.bound(r.machine), int(r.timeline.issue.max()) - len(r.schedule) - 9000
    assert bound.bound_by == "matrix" and 0.9 < bound.cycles / r.timeline.cycles < 0.95 and stood > 10_000
    hint = with_text(r, "cycles for dispatch")
    assert hint and "the launch takes 9,000" in hint.text and "queue" not in hint.text
    other = with_text(record("gemm:160x512x512", "npu_32x32", "control.issue_cycles=120", "dma.bytes_per_cycle=256",
                             "dram.bandwidth=1TB/s"), "cycles for dispatch")  # fmt: skip
    assert other and "behind a full queue (control.queue_depth = 16)" in other.text
