"""The memory in C++ against its definition in Python: the same cycles, request for request."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.pairs import differing

import minisim as ms
from minisim._engine import DramMemory
from minisim.errors import UsageError
from minisim.hwmodel import banked as definition
from minisim.hwmodel.banked import UNLIMITED, AddressMap, Memory, Turn, lines
from minisim.hwmodel.dram_presets import PRESETS, DramPart
from minisim.hwmodel.timeline import Timeline

POWERS = {"channels": 8, "ranks": 4, "groups": 4, "banks": 8, "rows": 8, "page_bursts": 32, "burst_bytes": 128}
"""Upper ends of what must be a power of two; few rows, so that addresses wrap around and rows conflict."""
CYCLES = {
    "CL": 40, "CWL": 40, "tRCD": 40, "tRP": 40, "tRAS": 80, "tCCD_S": 9, "tCCD_L": 14, "tRRD_S": 8, "tRRD_L": 12,
    "tFAW": 90, "tWTR_S": 12, "tWTR_L": 20, "tWR": 40, "tRTP": 40, "tRPRE": 4, "tRTRS": 4, "tRFC": 200,
}  # fmt: skip
COUNTS = {"burst_cycles": 9, "queue": 40, "write_batch": 40, "bank_queue": 9, "commands": 3}


@st.composite
def parts(draw: st.DrawFn) -> DramPart:
    """Any part that a machine file may describe, refreshed often."""
    numbers = {name: 2 ** draw(st.integers(0, most.bit_length() - 1)) for name, most in POWERS.items()}
    numbers |= {name: draw(st.integers(0, most)) for name, most in CYCLES.items()}
    numbers |= {name: draw(st.integers(1, most)) for name, most in COUNTS.items()}
    rest = sum(numbers[name] for name in ("tRFC", "tRAS", "tRP", "tRCD", "tFAW"))
    numbers["tREFI"] = 2 * numbers["ranks"] * max(rest, 1) + draw(st.integers(0, 300))
    mapping = "".join(draw(st.permutations(["ro", "ch", "ra", "ba", "bg", "co"])))
    return DramPart(MHz=1000, mapping=mapping, **numbers)


@dataclass(frozen=True)
class Requests:
    """One call of `run`: requests to a few places or to any, idle time before them or none."""

    count: int
    places: int
    written: float
    seed: int
    idle: int
    not_before: int
    outstanding: int

    def columns(self, part: DramPart) -> tuple[npt.NDArray[np.int64], list[bool]]:
        """Addresses, and which are written. Few places make row hits, conflicts and full queues of one bank."""
        random = np.random.default_rng(self.seed)
        where = random.integers(0, 2 * AddressMap(part).capacity, self.places)
        return where[random.integers(0, self.places, self.count)], (random.random(self.count) < self.written).tolist()


requests = st.builds(
    Requests,
    count=st.integers(0, 150),
    places=st.sampled_from([1, 2, 3, 5, 8, 100]),
    written=st.sampled_from([0, 0.1, 0.5, 1]),
    seed=st.integers(0, 2**32),
    idle=st.sampled_from([0, 1, 7, 500, 10**6]),
    not_before=st.integers(0, 50),
    outstanding=st.sampled_from([1, 2, 3, 8, 40, UNLIMITED]),
)


@given(parts(), st.lists(requests, min_size=1, max_size=4))
@settings(deadline=None)
def test_runs_of_any_requests(part: DramPart, runs: list[Requests]) -> None:
    """Banks, buses and refreshes are carried from run to run, so a difference anywhere shows in the next."""
    one, other, now = Memory(part), DramMemory(part), 0
    for x in runs:
        now += x.idle
        addresses, writes = x.columns(part)
        served = one.run(addresses, writes, now, now + x.not_before, x.outstanding)
        twin = other.run(addresses, writes, now, now + x.not_before, x.outstanding)
        assert (twin.issued, twin.returned) == (served.issued, served.returned)
        now = max(now, served.issued)


@pytest.mark.parametrize("hits", range(1, 12))
def test_row_hits_overtake_as_often(hits: int) -> None:
    """One request for another row amid `hits` to the open one: how many pass it decides how often rows are opened."""
    part = PRESETS["ddr4-3200"].override("tRTP=1 tRAS=22 bank_queue=16")  # it can be closed before the next hit
    row = AddressMap(part).capacity // part.rows
    addresses = np.array([0, row] + [0] * (hits - 1), dtype=np.int64)
    writes = [False] * len(addresses)
    served, twin = Memory(part).run(addresses, writes, 0), DramMemory(part).run(addresses, writes, 0)
    assert (twin.issued, twin.returned) == (served.issued, served.returned)


@pytest.mark.parametrize("activates", range(1, 13))
def test_the_window_of_four_activates(activates: int) -> None:
    """Every bank of a rank once."""
    part = PRESETS["ddr4-3200"].override("ranks=1 tFAW=90")
    addresses = np.arange(activates, dtype=np.int64) * part.page_bursts * part.burst_bytes
    writes = [False] * len(addresses)
    served, twin = Memory(part).run(addresses, writes, 0), DramMemory(part).run(addresses, writes, 0)
    assert (twin.issued, twin.returned) == (served.issued, served.returned)


rectangles = st.tuples(
    st.integers(0, 5000),
    st.integers(0, 700),
    st.integers(1, 12),
    st.integers(1, 400),
    st.booleans(),
    st.integers(0, 60),
)


rates = st.sampled_from([Fraction(1), Fraction(8, 5), Fraction(3, 4), Fraction(1600, 700)])


@given(
    st.one_of(parts(), st.sampled_from(sorted(PRESETS)).map(PRESETS.__getitem__)),
    rates,
    st.lists(rectangles, min_size=1),
    st.booleans(),
)
@settings(deadline=None)
def test_transfers_of_any_rectangles(
    part: DramPart, rate: Fraction, transfers: list[tuple[int, int, int, int, bool, int]], side_by_side: bool
) -> None:
    one, other, now = Memory(part, rate), DramMemory(part, rate), 0
    for first, gap, rows, width, write, idle in transfers:
        since, now = now, now + idle
        turn = one.transfer(first, width + gap, rows, width, write, now, since)
        assert same(other.transfer(first, width + gap, rows, width, write, now, since), turn)
        now = now if side_by_side else turn.end


@given(
    st.one_of(parts(), st.sampled_from(sorted(PRESETS)).map(PRESETS.__getitem__)),
    rates,
    st.lists(rectangles, min_size=1, max_size=4),
    st.lists(st.tuples(st.integers(0, 9), st.sampled_from([0, 0, 0, 1, 400])), min_size=20, max_size=60),
    st.integers(1, 3),
)
@settings(deadline=None, max_examples=40)
def test_transfers_that_come_again(
    part: DramPart,
    rate: Fraction,
    transfers: list[tuple[int, int, int, int, bool, int]],
    order: list[tuple[int, int]],
    pages: int,
) -> None:
    """A few rectangles over and over, in other rows of the same banks now and then: the twin repeats what it can."""
    one, other, now, ends = Memory(part, rate), DramMemory(part, rate), 0, [0, 0]
    row = AddressMap(part).capacity // part.rows * pages
    for i, (which, idle) in enumerate(order):
        first, gap, rows, width, write, before = transfers[which % len(transfers)]
        now = max(now, ends[i % 2]) + idle  # two ports, whose transfers wait while another's are served
        since = max(ends[i % 2], now - before)
        turn = one.transfer(first + which // 3 * row, width + gap, rows, width, write, now, since)
        assert same(other.transfer(first + which // 3 * row, width + gap, rows, width, write, now, since), turn)
        ends[i % 2] = turn.end


@given(st.sampled_from(["ddr4-3200", "lpddr4-2400"]).map(PRESETS.__getitem__), st.lists(rectangles, min_size=1))
@settings(deadline=None)
def test_on_one_channel_a_transfer_is_a_run_of_its_bursts(
    part: DramPart, transfers: list[tuple[int, int, int, int, bool, int]]
) -> None:
    """So what is held against DRAMsim3 (`run`) is what runs are timed by."""
    one, other, now = Memory(part), Memory(part), 0
    for first, gap, rows, width, write, idle in transfers:
        now += idle
        asked = lines(first, width + gap, rows, width, part.burst_bytes)
        end = one.transfer(first, width + gap, rows, width, write, now).end
        assert other.run(asked, [write] * len(asked), now, now).issued == end
        now = end


lines_of = st.lists(st.integers(0, 300), max_size=6)


@given(
    parts(),
    rates,
    st.sampled_from([16, 64, 256]),
    st.lists(st.tuples(lines_of, lines_of, st.integers(0, 60)).filter(lambda each: bool(each[0] or each[1]))),
)
@settings(deadline=None)
def test_lines_of_a_cache(
    part: DramPart, rate: Fraction, size: int, asked: list[tuple[list[int], list[int], int]]
) -> None:
    one, other, now = Memory(part, rate), DramMemory(part, rate), 0
    for reads, writes, idle in asked:
        now += idle
        addresses = ([size * line for line in reads], [size * line for line in writes])
        assert same(other.lines(*addresses, size, now, now), one.lines(*addresses, size, now, now))


def same(turn: object, of: Turn) -> bool:
    return all(getattr(turn, name) == getattr(of, name) for name in Turn._fields)


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_a_run_of_the_machine(preset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole timeline, with loads and stores that meet in the memory."""
    keys = {"dram.model": "banked", "dram.preset": preset, "clock.frequency": "700MHz", "sram.bytes": "32KiB"}
    machine = ms.Machine().with_overrides({**keys, "tile.m": 24, "tile.n": 17})
    schedule = ms.compile_graph(ms.load_model("gemm:150x90x130"), machine)

    def timeline(memory: object) -> Timeline:
        monkeypatch.setattr(definition.BankedDram.__init__, "__defaults__", (memory,))
        return ms.simulate(schedule, machine, timing="simpy")

    assert not differing(timeline(Memory), timeline(DramMemory))


@pytest.mark.parametrize("memory", [Memory, DramMemory])
def test_a_queue_shorter_than_a_batch_is_drained_when_full(memory: type[Memory] | type[DramMemory]) -> None:
    """Writes of one row: one cycle from queue to bank and a long column gap each, whatever the batch."""
    part = PRESETS["ddr4-3200"].override("queue=4 write_batch=1000")
    served = memory(part).run(np.arange(9, dtype=np.int64) * 256, [True] * 9, 0)
    assert served.issued >= part.tRCD + 8 * part.tCCD_L + part.burst_cycles
    assert served.issued < 9 * (part.tRCD + part.tCCD_L + part.queue)


def broken(**numbers: object) -> object:
    """What looks like a part, with some numbers that `DramPart` would refuse."""
    return type("Part", (), {**vars(PRESETS["ddr4-3200"]), **numbers})()


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"channels": 3}, "channels must be a power of two"),
        ({"CL": -1}, r"CL must be 0 to 2\^20"),
        ({"bank_queue": 0}, "bank_queue must be at least 1"),
        ({"tREFI": 600}, r"tREFI must be 2 x ranks x \(tRFC \+ tRAS \+ tRP \+ tRCD \+ tFAW\), or more"),
        ({"mapping": "rochrababgbg"}, "mapping must name ro, ch, ra, ba, bg and co once each, not 'rochrababgbg'"),
    ],
)
def test_numbers_that_no_part_can_have(numbers: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        DramMemory(broken(**numbers))  # type: ignore[arg-type]


def test_arguments_that_make_no_sense() -> None:
    memory = DramMemory(PRESETS["ddr4-3200"])
    with pytest.raises(UsageError, match="one length, not 2 and 1"):
        memory.run(np.zeros(2, np.int64), [True], 0)
    with pytest.raises(UsageError, match="addresses must be a packed column of int64"):
        memory.run(np.zeros(2, np.int32), [True, True], 0)
    with pytest.raises(UsageError, match="outstanding must be at least 1"):
        memory.run(np.zeros(1, np.int64), [True], 0, outstanding=0)
    with pytest.raises(UsageError, match="a transfer must have"):
        memory.transfer(0, 64, 0, 64, False, 0, 0)
    with pytest.raises(UsageError, match="there must be lines"):
        memory.lines([], [], 64, 0, 0)
    with pytest.raises(UsageError, match="a line must end"):
        memory.lines([0], [-64], 64, 0, 0)
    with pytest.raises(UsageError, match="a clock has"):
        DramMemory(PRESETS["ddr4-3200"], Fraction(0))
