"""Is every timing gate of the banked DRAM tight, is no run faster than its peak, and does it meet DRAMsim3?"""

from __future__ import annotations

import math
import sys
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support.fidelity import benchmark
from support.machines import machines

from minisim.compiler.frontend import load_model
from minisim.compiler.pipeline import compile_graph
from minisim.errors import CapacityError, ConfigError
from minisim.hwmodel.banked import AddressMap, BankedDram, Memory, lines
from minisim.hwmodel.config import Machine
from minisim.hwmodel.cost import costs, roofline
from minisim.hwmodel.dram_channel import ROW_HITS, Channel
from minisim.hwmodel.dram_presets import PRESETS, DramPart
from minisim.hwmodel.isa import Opcode
from minisim.hwmodel.simulate import simulate

# -- one channel, cycle by cycle -----------------------------------------------------------------------------------

NUMBERS = {
    "CL": st.integers(8, 40), "CWL": st.integers(1, 8), "tRCD": st.integers(5, 40), "tRP": st.integers(5, 40),
    "tRAS": st.integers(20, 80), "tCCD_S": st.integers(1, 9), "tCCD_L": st.integers(9, 14),
    "tRRD_S": st.integers(2, 6), "tRRD_L": st.integers(6, 12), "tFAW": st.integers(10, 90),
    "tWTR_S": st.integers(0, 9), "tWTR_L": st.integers(9, 20), "tWR": st.integers(0, 40), "tRTP": st.integers(1, 40),
    "tRPRE": st.integers(0, 4), "tRTRS": st.integers(0, 4), "tRFC": st.integers(100, 500),
    "burst_cycles": st.integers(1, 9),
}  # fmt: skip
QUIET = "ranks=2 groups=4 banks=4 tREFI=1000000"  # no refresh within the tests that are not about it
parts = st.fixed_dictionaries(NUMBERS).map(
    lambda numbers: PRESETS["ddr4-3200"].override(f"{QUIET} {' '.join(f'{k}={v}' for k, v in numbers.items())}")
)


class Bench:
    """A channel, ticked every cycle: requests go in, the cycles of their column commands come out."""

    def __init__(self, part: DramPart) -> None:
        self.part, self.channel, self.now, self.asked = part, Channel(part), 0, 0
        self.columns: dict[int, int] = {}
        self.order: list[int] = []

    def bank(self, rank: int = 0, group: int = 0, bank: int = 0) -> int:
        return (rank * self.part.groups + group) * self.part.banks + bank

    def ask(self, bank: int = 0, row: int = 0, write: bool = False) -> int:
        self.channel.flushing = True
        self.channel.push(bank, row, self.asked, write, self.now)
        self.asked += 1
        return self.asked - 1

    def run(self, until: int | None = None) -> None:
        """To cycle `until`, or until every request is served."""
        while self.now < until if until is not None else len(self.columns) < self.asked:
            for _, number, _ in self.channel.tick(self.now):
                self.columns[number] = self.now
                self.order.append(number)
            self.now += 1

    def open(self, *banks: int) -> None:
        """Row 0 of each bank, and then time enough that nothing of it is felt."""
        for bank in banks:
            self.ask(bank)
        self.run()
        self.run(self.now + 2000)

    def gap(self, first: tuple[int, bool], second: tuple[int, bool]) -> int:
        """Cycles between the column commands of two requests, (bank, write) each, to open rows."""
        self.open(first[0], second[0])
        a = self.ask(first[0], write=first[1])
        self.run()
        b = self.ask(second[0], write=second[1])
        self.run()
        return self.columns[b] - self.columns[a]


@given(parts)
def test_a_closed_bank_is_activated_first(part: DramPart) -> None:
    bench = Bench(part)
    bench.ask()
    bench.run()
    assert bench.columns[0] == 1 + part.tRCD  # one cycle from the queue to the bank


@given(parts)
def test_row_hits_are_a_long_column_gap_apart(part: DramPart) -> None:
    bench = Bench(part)
    assert bench.gap((0, False), (0, False)) == max(part.burst_cycles, part.tCCD_L, 2)


@given(parts)
def test_bank_groups_shorten_the_column_gap(part: DramPart) -> None:
    bench = Bench(part)
    banks = [bench.bank(group=0), bench.bank(group=1), bench.bank(group=1, bank=1)]
    bench.open(*banks)
    asked = [bench.ask(bank) for bank in banks]
    bench.run()
    short, long = (bench.columns[b] - bench.columns[a] for a, b in pairwise(asked))
    assert short == max(part.burst_cycles, part.tCCD_S)
    assert long == max(part.burst_cycles, part.tCCD_L)


@given(parts, st.booleans())
def test_a_conflict_waits_to_close_and_to_open(part: DramPart, write: bool) -> None:
    """Precharge once the row has been open for tRAS and its last data is safe; then tRP, then tRCD."""
    bench = Bench(part)
    bench.ask(row=0, write=write)
    bench.ask(row=1, write=write)
    bench.run()
    first, second = bench.columns[0], bench.columns[1]
    activated = first - part.tRCD
    safe = first + (part.CWL + part.burst_cycles + part.tWR if write else part.tRTP)
    assert second == max(activated + part.tRAS, safe) + part.tRP + part.tRCD


@given(parts)
def test_a_fifth_activate_waits_for_the_window(part: DramPart) -> None:
    bench = Bench(part)
    banks = [bench.bank(group=group) for group in range(4)] + [bench.bank(group=0, bank=1)]
    for bank in banks:
        bench.ask(bank)
    activated: list[int] = []
    original = bench.channel._give_activate

    def note(bank: int, row: int, now: int) -> None:
        activated.append(now)
        original(bank, row, now)

    bench.channel._give_activate = note  # type: ignore[method-assign]
    bench.run()
    assert activated[1] == activated[0] + part.tRRD_S
    assert activated[4] >= activated[0] + part.tFAW
    alone = max(activated[0] + part.tFAW, activated[3] + part.tRRD_S, activated[0] + part.tRRD_L)
    assert alone <= activated[4] <= alone + 1  # one cycle if a column command has the bus


@given(parts, st.booleans())
def test_a_read_behind_a_write_waits_for_the_turnaround(part: DramPart, same_group: bool) -> None:
    bench = Bench(part)
    gap = bench.gap((0, True), (bench.bank(group=0 if same_group else 1, bank=1), False))
    turnaround = part.tWTR_L if same_group else part.tWTR_S
    assert gap == max(part.CWL + part.burst_cycles + turnaround, 2)


@given(parts)
def test_a_write_behind_a_read_waits_for_the_bus(part: DramPart) -> None:
    bench = Bench(part)
    gap = bench.gap((0, False), (bench.bank(group=1), True))
    assert gap == part.CL + part.burst_cycles - part.CWL + part.tRPRE


@given(parts)
def test_ranks_hand_over_the_bus(part: DramPart) -> None:
    bench = Bench(part)
    assert bench.gap((0, False), (bench.bank(rank=1), False)) == max(part.burst_cycles + part.tRTRS, 2)


@given(parts, st.integers(0, 1))
def test_a_refresh_holds_its_rank_alone(part: DramPart, rank: int) -> None:
    part = part.override("tREFI=20000")
    due = part.tREFI // part.ranks  # rank 0's turn
    bench = Bench(part)
    bench.run(until=due)
    bench.ask(bench.bank(rank=rank))
    bench.run()
    assert bench.columns[0] == due + (part.tRFC if rank == 0 else 1) + part.tRCD


@given(parts)
def test_a_refresh_closes_open_rows_first(part: DramPart) -> None:
    part = part.override("tREFI=20000")
    due = part.tREFI // part.ranks
    bench = Bench(part)
    bench.run(until=due - 2)
    bench.ask()  # activated one cycle before the refresh is due
    bench.run()
    assert bench.columns[0] == due - 1 + part.tRAS + part.tRP + part.tRFC + part.tRCD


def test_hits_overtake_but_not_for_ever() -> None:
    """A request for another row lets ROW_HITS column commands pass, and then closes the row."""
    bench = Bench(PRESETS["ddr4-3200"].override("tRTP=4 tRAS=40"))  # it can be closed before the next hit
    bench.ask(row=0)
    other = bench.ask(row=1)
    for _ in range(ROW_HITS + 2):
        bench.ask(row=0)
    bench.run()
    assert bench.order.index(other) == ROW_HITS


# -- addresses -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", PRESETS)
def test_every_burst_has_a_place_of_its_own(preset: str) -> None:
    part = PRESETS[preset].override("rows=4")
    where = np.arange(0, AddressMap(part).capacity, part.burst_bytes)
    channel, bank, row = AddressMap(part).locate(where)
    _, counts = np.unique(np.stack([channel, bank, row]), axis=1, return_counts=True)
    assert len(counts) == part.channels * part.ranks * part.groups * part.banks * part.rows
    assert (counts == part.page_bursts).all()
    again = AddressMap(part).locate(where + AddressMap(part).capacity)
    assert all(np.array_equal(a, b) for a, b in zip(again, (channel, bank, row), strict=True))


@given(st.integers(0, 500), st.integers(1, 300), st.integers(1, 9), st.integers(0, 200), st.sampled_from([32, 64, 128]))
def test_lines_of_a_rectangle(first: int, width: int, rows: int, gap: int, burst: int) -> None:
    pitch = width + gap
    touched = {(first + r * pitch + byte) // burst * burst for r in range(rows) for byte in range(width)}
    assert lines(first, pitch, rows, width, burst).tolist() == sorted(touched)


# -- transfers -----------------------------------------------------------------------------------------------------


def banked(machine: Machine, preset: str = "ddr4-3200", override: str = "none") -> Machine:
    return machine.with_overrides({"dram.model": "banked", "dram.preset": preset, "dram.override": override})


@given(st.data(), machines(), st.sampled_from(sorted(PRESETS)))
@settings(max_examples=25, deadline=None)
def test_no_run_is_faster_than_the_peak(data: st.DataObject, machine: Machine, preset: str) -> None:
    m, k, n = data.draw(st.tuples(*[st.integers(1, 100)] * 3))
    machine = banked(machine.with_overrides({"sram.bytes": 2**17}), preset)
    try:
        schedule = compile_graph(load_model(f"gemm:{m}x{k}x{n}"), machine)
    except CapacityError:
        assume(False)
    timeline, cost = simulate(schedule, machine), costs(schedule, machine)
    timeline.verify(schedule)
    read, write = (int(cost.bytes[schedule.stream["opcode"] == op].sum()) for op in (Opcode.LOAD, Opcode.STORE))
    assert timeline.cycles >= roofline(m * k * n, 0, read, write, machine).cycles
    moves = schedule.stream["opcode"] <= Opcode.STORE
    assert timeline.dram_busy >= cost.dram.sum() - moves.sum()  # of each its last cycle may be a part of one
    if machine.dram.channels == 1:
        assert (timeline.done - timeline.begin >= cost.dram)[moves].all()
        begin = np.sort(timeline.begin[moves])
        assert (np.diff(begin) >= cost.dram[moves][np.argsort(timeline.begin[moves], kind="stable")][:-1]).all()


def test_equal_runs_have_equal_timelines() -> None:
    machine = banked(Machine())
    schedule = compile_graph(load_model("gemm:200x200x200"), machine)
    one, other = simulate(schedule, machine), simulate(schedule, machine)
    assert np.array_equal(one.end, other.end) and np.array_equal(one.begin, other.begin)


@pytest.mark.parametrize("frequency", ["1GHz", "700MHz", "1.7GHz"])
def test_a_lone_transfer_in_closed_form(frequency: str) -> None:
    """One row of one bank, from idle: activate, then bursts a long gap apart; the clocks meet at whole cycles."""
    machine = banked(Machine().with_overrides({"clock.frequency": frequency, "tile.m": 1, "tile.k": 64}))
    part = machine.dram.part
    schedule = compile_graph(load_model("gemm:1x64x1"), machine)
    rate = Fraction(part.MHz * 10**6) / machine.clock.frequency
    first = int(np.flatnonzero(schedule.stream["opcode"] == Opcode.LOAD)[0])
    size = int(costs(schedule, machine).bytes[first])
    found = BankedDram(schedule, machine).serve(first, 1000)
    bursts = size // part.burst_bytes
    asked = math.ceil(1000 * rate)
    last = asked + 1 + part.tRCD + (bursts - 1) * max(part.tCCD_L, part.burst_cycles)
    assert (found.begin, found.end, found.behind) == (1000, math.ceil((last + part.burst_cycles) / rate), -1)
    assert (found.read, found.written, found.contention) == (size, 0, 0)


def test_work_grows_with_the_bursts_and_not_with_idle_time() -> None:
    def ticks(count: int, start: int) -> int:
        memory = Memory(PRESETS["ddr4-3200"])
        channel, seen = memory.channels[0], [0]
        original = channel.tick

        def counted(now: int) -> list[tuple[int, int, bool]]:
            seen[0] += 1
            return original(now)

        channel.tick = counted  # type: ignore[method-assign]
        memory.run(np.arange(count, dtype=np.int64) * 4096, [False] * count, start)
        return seen[0]

    small, large, late = ticks(1000, 0), ticks(4000, 0), ticks(1000, 10**12)
    assert large < 4.4 * small
    assert late < 1.1 * small


# -- the machine file ----------------------------------------------------------------------------------------------


def test_the_part_sets_peak_and_latency() -> None:
    machine = banked(Machine().with_overrides({"dram.latency": "10ns"}), "hbm2", "channels=4 CL=20")
    assert machine.dram_bytes_per_cycle == 4 * 64 / Fraction(2)
    assert machine.dram_latency_cycles == 10 + 20


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tRCDD=3", "must name keys of a DRAM part, such as 'CL=20 tRFC=400', not 'tRCDD=3'; did you mean 'tRCD'?"),
        ("CL", "must give CL a whole number of at most 7 digits, such as CL=20, not 'CL'"),
        ("channels=3", "channels must be a power of two, not 'channels=3'"),
        ("mapping=rochrabgco", "mapping must name ro, ch, ra, ba, bg and co once each, such as rochrababgco"),
        ("tREFI=100", "tREFI must leave at least half of the time"),
    ],
)
def test_mistakes_in_an_override(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        banked(Machine(), override=text)
    assert f"dram.override: {message}" in str(caught.value)


# -- against DRAMsim3 ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "every", "requests", "mean", "worst"),
    [("dram_patterns.csv", 6, 4096, 3, 15), ("dram_single_tile.csv", 1, None, 1, 10)],
)
def test_bandwidth_is_dramsim3s(file: str, every: int, requests: int | None, mean: float, worst: float) -> None:
    """Percent of the measured bandwidth, on the first requests of every so many rows."""
    dram = benchmark("dram")
    errors = []
    for row in dram.rows(file)[::every]:
        ours = dram.replay_pattern(row, row.part, requests)
        errors.append(abs(100 * (ours / row.percent - 1)))
    assert np.mean(errors) < mean
    assert max(errors) < worst


HEAD = "config,pattern,outstanding,p1,p2,req_bytes,nreq,pct_peak"
DDR4 = "DDR4_8Gb_x8_3200"


def truth(folder: Path, row: str, head: str = HEAD) -> Path:
    path = folder / "rows.csv"
    path.write_text(f"{head}\n{row}\n")
    return path


@pytest.mark.parametrize(
    ("row", "head", "said"),
    [
        (f"{DDR4}.ini,two,64,256,4096,64,99,50", HEAD, "pattern 'two' is not known: seq, seqw, tiles, tile1, strided"),
        ("DDR5.ini,seq,64,0,0,64,99,50", HEAD, "configuration 'DDR5.ini' is not known: DDR4_8Gb_x8_3200.ini"),
        (f"{DDR4}_rorochrababg.ini,seq,64,0,0,64,99,50", HEAD, "mapping 'rorochrababg': mapping must name ro, ch"),
        (f"{DDR4}.ini,seq,64,0,0,64,99,50,rochrababg", f"{HEAD},mapping", "mapping 'rochrababg': mapping must name"),
        (f"{DDR4}.ini,seq,64,0,0,32,99,50", HEAD, "requests are bursts of 64 bytes, not 32"),
        (f"{DDR4}.ini,seq,64,0,0,64,99,50,2", f"{HEAD},queue", "column 'queue' is not known"),
    ],
)
def test_rows_that_would_be_replayed_as_something_else_are_refused(
    row: str, head: str, said: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"rows\.csv(, line 2)?: ") as caught:
        benchmark("dram").rows(truth(tmp_path, row, head))
    assert said in str(caught.value)


def test_an_unknown_pattern_has_no_addresses() -> None:
    dram = benchmark("dram")
    for pattern in dram.PATTERNS:
        dram.addresses(dram.Row("", pattern, 1, 64, 4096, 9, 1.0), 64)
    with pytest.raises(ValueError, match="pattern 'two' is not known"):
        dram.addresses(dram.Row("", "two", 1, 64, 4096, 9, 1.0), 64)


def test_a_row_has_its_address_mapping(tmp_path: Path) -> None:
    """In a column or in the name; consecutive bursts in one bank group are slower than in turns over the groups."""
    dram = benchmark("dram")
    (plain,) = dram.rows(truth(tmp_path, f"{DDR4}.ini,seq,64,0,0,64,4096,66"))
    (named,) = dram.rows(truth(tmp_path, f"{DDR4}_rorabachcobg.ini,seq,64,0,0,64,4096,66"))
    (column,) = dram.rows(truth(tmp_path, f"{DDR4}.ini,seq,64,0,0,64,4096,66,rorabachcobg", f"{HEAD},mapping"))
    assert named == column and named.part.mapping == "rorabachcobg" and plain.part == PRESETS["ddr4-3200"]
    slow, fast = (dram.replay_pattern(row, row.part) for row in (plain, named))
    assert slow < 70 < 90 < fast


def test_the_script_prints_a_line_a_row_or_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = truth(tmp_path, f"{DDR4}_rorabachcobg.ini,seq,64,0,0,64,4096,66\n{DDR4}.ini,copy,64,256,65536,64,4096,60")
    monkeypatch.setattr(sys, "argv", ["dram.py", str(path)])
    benchmark("dram").main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in lines[2:4]] == [
        [f"{DDR4}.ini", "rorabachcobg", "seq"], [f"{DDR4}.ini", "copy", "64"],
    ] and lines[4].startswith(f"{DDR4}.ini: 2 rows, mean error ")  # fmt: skip
    truth(tmp_path, f"{DDR4}.ini,two,64,256,65536,64,4096,60")
    with pytest.raises(SystemExit) as stopped:
        benchmark("dram").main()
    shown = capsys.readouterr()
    assert (stopped.value.code, shown.out) == (2, "") and "pattern 'two' is not known" in shown.err
