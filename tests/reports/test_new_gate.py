"""A mechanism that the reports have never heard of: its gate says what it is, and the account has it."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
from rich.console import Console
from simpy import Environment
from support.equations import Equations
from support.paths import ROOT

import minisim as ms
from minisim.hwmodel.gates import GATES, Gate, Point, Term
from minisim.hwmodel.isa import Queue
from minisim.hwmodel.simulate import all_units, run, simulate
from minisim.hwmodel.state import State
from minisim.hwmodel.unit import ComputeUnit
from minisim.reports import Account, RunRecord, print_account, print_summary
from minisim.reports.cause import Cause

REST = 7
COOLING = Gate("cooling", Point.START, "done", (Term(REST, "thermal"),))
"""An operation starts no earlier than this many cycles after the one before it in its unit is done."""


class HotUnit(ComputeUnit):
    """A unit that has to cool down after each operation."""

    def _gate(self, op: int, start: int) -> tuple[int, int]:
        if self._last >= 0 and self._free + REST == start:
            return len(GATES), self._last
        return super()._gate(op, start)

    def _work(self, op: int, start: int) -> None:
        super()._work(op, start)
        self._stage_free = max(self._stage_free, self._free + REST)


@pytest.fixture(scope="module")
def record() -> RunRecord:
    """A chain of eight matmuls, whose operands are there long before their turn."""
    machine = ms.Machine().replace("dma.bytes_per_cycle=4096", "dram.bandwidth=4096GB/s", "compiler.order=mnk")
    schedule = ms.compile_graph(ms.load_model("gemm:32x256x32"), machine)
    state = State(schedule, machine, (), Environment(), gates=(*GATES, COOLING))
    units = [
        HotUnit(state, unit.core, Queue.MATRIX, unit.depth) if unit.lane == Queue.MATRIX else unit
        for unit in all_units(state)
    ]
    timeline = run(state, units)
    return RunRecord(schedule, timeline, machine, "gemm", "hot", "simpy", 0.0, 0.0)


def test_its_cycles_are_in_the_account(record: RunRecord) -> None:
    held = int((record.timeline.gate[:, Point.START] == len(GATES)).sum())
    assert held == 7  # of eight
    total = Account.of(record).total()
    assert total["thermal"] == held * REST
    assert sum(total.values()) == record.timeline.cycles
    cool = Account.of(RunRecord(record.schedule, simulate(record.schedule, record.machine), record.machine,
                                "gemm", "cool", "simpy", 0.0, 0.0)).total()  # fmt: skip
    assert "thermal" not in cool and sum(cool.values()) < record.timeline.cycles


def test_it_has_a_column_behind_the_others(record: RunRecord) -> None:
    table = Account.of(record).table()
    causes = [name for name in table.columns if name.startswith("cycles_") and name != "cycles_total"]
    assert causes == [f"cycles_{cause}" for cause in (*Cause, "thermal")]
    assert (table[causes].sum(axis=1) == table["cycles_total"]).all()
    assert table["cycles_thermal"].tolist() == [7 * REST, 7 * REST]


def test_it_has_a_line_among_the_waits_with_the_gates_name(record: RunRecord) -> None:
    account, file = Account.of(record), io.StringIO()
    assert "thermal" in account.groups["waiting"]
    print_account(account, [], Console(file=file, width=100))
    assert re.search(rf"── waiting .*\n(.*\n)?.*── thermal +{7 * REST} .*  cooling *\n", file.getvalue())
    print_summary(record, Console(file=file, width=100))


def test_its_equation_is_checked_like_any_other(record: RunRecord) -> None:
    equations = Equations(record.schedule, record.machine, record.timeline)
    equations.check_equations(Point.START)
    late = record.timeline.done.copy()
    held = np.flatnonzero(record.timeline.gate[:, Point.START] == len(GATES))
    late[record.timeline.holder[held[0], Point.START]] += 1
    equations.points["done"] = late
    with pytest.raises(AssertionError, match="the equation of cooling"):
        equations.check_equations(Point.START)


def test_no_report_knows_it() -> None:
    sources = [path.read_text("utf-8") for path in (ROOT / "reports").rglob("*.py")]
    assert sources and not [text for text in sources if "thermal" in text or "cooling" in text]
