"""Who held each point: every gate's equation on every row of random runs, and that a wrong column is seen."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from support.equations import Equations
from support.pairs import pair
from support.paths import ROOT

import minisim as ms
from minisim.hwmodel.config import Machine
from minisim.hwmodel.gates import BY_BURSTS, CODE, GATES, Point
from minisim.hwmodel.isa import Opcode, Schedule
from minisim.hwmodel.native import simulate_native
from minisim.hwmodel.simulate import simulate
from minisim.hwmodel.timeline import Timeline

CHUNKS, SIZE = 8, 20
"""Of runs of the native core; of the same pairs, SimPy's columns are the same (test_native.py)."""

WRITTEN = Counter[str]()


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_every_row_keeps_the_equation_of_its_gate(chunk: int) -> None:
    for seed in range(chunk * SIZE, (chunk + 1) * SIZE):
        schedule, machine = pair(seed)
        timeline = simulate_native(schedule, machine)
        try:
            Equations(schedule, machine, timeline).check()
        except AssertionError as error:
            raise AssertionError(f"pair({seed}): {error}") from error
        WRITTEN.update(GATES[code].name for code in np.unique(timeline.gate).tolist())


def test_an_operand_that_arrives_when_its_reader_is_dispatched_is_what_it_waited_for() -> None:
    """A load takes as long as the control unit needs for one operation: both happen in one cycle."""
    keys = {"dma.bytes_per_cycle": 256, "dram.bandwidth": "400GB/s", "dram.latency": "0ns", "dma.setup_cycles": 3}
    keys |= {"control.issue_cycles": 4, "compiler.order": "mnk", "compiler.keep_on_chip": False}
    machine = ms.Machine().with_overrides(keys | dict.fromkeys(["tile.m", "tile.k", "tile.n"], 8))
    schedule = ms.compile_graph("gemm:40x40x40", machine)
    timeline = simulate(schedule, machine)
    Equations(schedule, machine, timeline).check()
    dispatched = (timeline.issue == timeline.start) & (schedule.stream["opcode"] >= Opcode.EXECUTE)
    assert (dispatched & (timeline.gate[:, Point.START] == CODE["after_load"])).any()


def test_every_gate_is_written_by_some_pair() -> None:
    """Also when it is run alone; a gate that no pair meets would be checked by nobody."""
    for seed in range(40):
        schedule, machine = pair(seed)
        WRITTEN.update(GATES[code].name for code in np.unique(simulate_native(schedule, machine).gate).tolist())
    assert set(WRITTEN) == {gate.name for gate in GATES}


@cache
def some_run() -> tuple[Schedule, Machine, Timeline]:
    schedule, machine = pair(6)
    return schedule, machine, simulate(schedule, machine)


@pytest.mark.parametrize("point", Point)
@pytest.mark.parametrize("column", ["gate", "holder"])
def test_a_wrong_column_is_seen(point: Point, column: str) -> None:
    """Every other gate of the point, and every other holder, in rows all over a run."""
    schedule, machine, timeline = some_run()
    same_point = [code for code, gate in enumerate(GATES) if gate.point == point]
    seen, tried = 0, 0
    for op in range(0, len(schedule), max(1, len(schedule) // 7)):
        values = same_point if column == "gate" else [(op + 1) % len(schedule), max(0, op - 1)]
        for value in values:
            wrong = getattr(timeline, column).copy()
            if wrong[op, point] == value:
                continue
            wrong[op, point] = value
            tried += 1
            with pytest.raises(AssertionError):
                Equations(schedule, machine, replace(timeline, **{column: wrong})).check()
            seen += 1
    assert seen == tried > 0


@pytest.mark.parametrize("point", ["issue", "start", "begin", "done", "end", "dram_begin", "dram_end"])
def test_a_cycle_too_many_is_seen(point: str) -> None:
    schedule, machine, timeline = some_run()
    op = int(np.flatnonzero(schedule.stream["opcode"] <= Opcode.STORE)[3])
    late = getattr(timeline, point).copy()
    late[op] += 1
    with pytest.raises(AssertionError):
        Equations(schedule, machine, replace(timeline, **{point: late})).check()


def test_the_page_has_every_gate_with_its_equation() -> None:
    rows = []
    for code, gate in enumerate(GATES):
        equation = " + ".join([gate.origin.replace("zero", "0"), *(str(term.cycles) for term in gate.terms)])
        rows.append([gate.point.name.lower(), f"`{gate.name}`", "the law of bursts" if code in BY_BURSTS else equation])
    page = (ROOT / "docs/timing.md").read_text("utf-8").split("\n## Gates")[1].split("\n##")[0]
    cells = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("|")]
    assert [[row[0], row[1], row[3]] for row in cells[2:]] == rows
