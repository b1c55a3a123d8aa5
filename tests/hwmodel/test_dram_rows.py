"""How a tensor's rows lie in DRAM, and which bursts a tile of it therefore costs: docs/adr/0013-dram-rows.md."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.graphs import gemm, graphs, inputs_of, values
from support.machines import key, machine

import minisim as ms
from minisim.compiler.pipeline import compile_graph
from minisim.hwmodel import isa
from minisim.hwmodel.banked import BankedDram, Turn, lines
from minisim.hwmodel.bursts import BurstRules, Descriptor
from minisim.hwmodel.cost import rectangles
from minisim.hwmodel.dram_presets import DramPart

BURST = 64

WIDTHS = st.one_of(
    st.sampled_from([1, 2, 3, 4, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129]), st.integers(1, 300)
)


class Asked:
    """In place of a memory: writes down which bursts it was asked for, a transfer an entry."""

    def __init__(self, part: DramPart) -> None:
        self.bursts: list[list[int]] = []
        self.size = part.burst_bytes

    def transfer(self, first: int, pitch: int, rows: int, width: int, write: bool, now: int, since: int) -> Turn:
        self.bursts.append((lines(first, pitch, rows, width, self.size) // self.size).tolist())
        return Turn(now, now, now + 1)

    def lines(self, reads: Sequence[int], writes: Sequence[int], size: int, now: int, since: int) -> Turn:
        raise NotImplementedError


def one_matmul(rows: int, cols: int, inner: int, dtype: str) -> ms.Graph:
    g = ms.Graph("rows")
    data = np.random.default_rng(0).integers(-9, 9, (inner, cols))
    w = g.weight("w", data.astype(np.int8), "int8") if dtype == "int8" else g.weight("w", data.astype(np.float32))
    x = g.input("x", (rows, inner), dtype="int8") if dtype == "int8" else g.input("x", (rows, inner))
    g.output(g.matmul(x, w), "y")
    return g


def bytes_of(schedule: ms.Schedule, tile: int) -> list[list[int]]:
    """Of each row of a tile the addresses of its bytes, element by element: the definition."""
    t = schedule.tiles[tile]
    tensor = schedule.tensors[t["tensor"]]
    item = int(isa.item_sizes()[tensor["dtype"]])
    return [
        [
            int(tensor["address"]) + row * int(tensor["pitch"]) + col * item + byte
            for col in range(int(t["col"]), int(t["col"]) + int(t["cols"]))
            for byte in range(item)
        ]
        for row in range(int(t["row"]), int(t["row"]) + int(t["rows"]))
    ]


def runs(rows: list[list[int]]) -> list[list[int]]:
    """Rows that follow each other without a gap are one run."""
    found: list[list[int]] = []
    for row in rows:
        if found and found[-1][-1] + 1 == row[0]:
            found[-1] += row
        else:
            found.append(list(row))
    return found


@st.composite
def schedules(draw: st.DrawFn) -> tuple[ms.Schedule, ms.Machine]:
    edge = st.sampled_from([4, 8, 16, 24, 32])
    dtype = draw(st.sampled_from(["fp32", "bf16", "int8"]))
    m = machine(
        tile__m=draw(edge), tile__k=draw(edge), tile__n=draw(edge), matrix__dtype=dtype,
        dram__model="banked", dram__preset=draw(st.sampled_from(["ddr4-3200", "hbm2", "lpddr5-6400"])),
        dram__padding=draw(st.sampled_from(["row", "tile"])),
    )  # fmt: skip
    graph = one_matmul(draw(st.integers(1, 40)), draw(WIDTHS), draw(WIDTHS), "int8" if dtype == "int8" else "fp32")
    return compile_graph(graph, m), m


@settings(max_examples=30, deadline=None)
@given(schedules())
def test_a_transfer_asks_the_dram_for_the_bursts_that_its_bytes_lie_in(case: tuple[ms.Schedule, ms.Machine]) -> None:
    schedule, m = case
    memory: list[Asked] = []

    def made(part: DramPart, rate: Fraction) -> Asked:
        memory.append(Asked(part))
        return memory[0]

    dram = BankedDram(schedule, m, made)
    moves = np.flatnonzero(schedule.stream["opcode"] <= isa.Opcode.STORE).tolist()
    for i, op in enumerate(moves):
        dram.serve(op, i)
    tiles = schedule.transfers["tile"][schedule.stream["row"][moves]].tolist()
    assert len(memory[0].bursts) == len(tiles) > 0
    for tile, asked in zip(tiles, memory[0].bursts, strict=True):
        touched = {byte // memory[0].size for row in bytes_of(schedule, tile) for byte in row}
        assert asked == sorted(touched)


@settings(max_examples=30, deadline=None)
@given(schedules(), st.sampled_from([1, 8, 16, 64]))
def test_a_transfer_s_beats_are_those_under_each_run_of_its_rows(
    case: tuple[ms.Schedule, ms.Machine], width: int
) -> None:
    schedule, _ = case
    rules = BurstRules(width=width, latency=0, max_beats=1)
    columns = rectangles(schedule)
    for tile in range(len(schedule.tiles)):
        found = list(rules.split(Descriptor(*(int(column[tile]) for column in columns))))
        rows = bytes_of(schedule, tile)
        assert sum(burst.size for burst in found) == sum(map(len, rows))
        assert sum(burst.beats for burst in found) == sum(len({b // width for b in run}) for run in runs(rows))


@settings(max_examples=30, deadline=None)
@given(schedules())
def test_pitches_follow_the_rule_and_tensors_do_not_overlap(case: tuple[ms.Schedule, ms.Machine]) -> None:
    schedule, m = case
    t = schedule.tensors
    data = t["cols"] * isa.item_sizes()[t["dtype"]]
    if m.dram.padding == "row":
        assert t["pitch"].tolist() == [size if size <= BURST else -(-size // BURST) * BURST for size in data.tolist()]
    else:
        assert np.all(t["pitch"] % BURST == 0)
        assert np.all(t["pitch"] >= data)
    ends = t["address"] + t["rows"].astype(np.uint64) * t["pitch"]
    assert np.all(t["address"] % BURST == 0)
    assert np.all(t["address"][1:] >= ends[:-1])


@settings(max_examples=25, deadline=None)
@given(graphs(), st.sampled_from([4, 8, 24]), st.sampled_from([1, 3]), st.booleans())
def test_results_have_the_same_bits_however_rows_are_padded(
    graph: ms.Graph, edge: int, cores: int, banked: bool
) -> None:
    inputs = inputs_of(graph)
    m = machine(tile__m=edge, tile__k=edge, tile__n=edge, cores__count=cores)
    m = m.with_overrides({"dram.model": "banked" if banked else "ideal", "compiler.keep_on_chip": False})
    row, tile = (ms.run(graph, m.with_overrides({"dram.padding": p}), inputs=inputs) for p in ("row", "tile"))
    assert row.output_sha256 == tile.output_sha256


def banked(padding: str, **keys: object) -> ms.Machine:
    return machine(dram__model="banked", dram__padding=padding, dma__bytes_per_cycle=64, **keys)


@pytest.mark.parametrize(
    ("shape", "least"),
    [("gemm:32x2048x4", 0.63), ("gemm:1x4096x4", 0.29), ("gemm:2048x4x32", 0.69), ("gemm:64x512x3", 0.71)],
)
def test_narrow_operands_take_a_share_of_the_cycles_that_tile_padding_takes(shape: str, least: float) -> None:
    graph = ms.load_model(shape)
    row, tile = (ms.run(graph, banked(padding), numerics=False).cycles for padding in ("row", "tile"))
    assert row <= least * tile


@pytest.mark.parametrize("cols", [1, 3, 4])
def test_a_packed_operand_costs_its_bytes_and_a_padded_one_a_burst_a_row(cols: int) -> None:
    """What an RTL engine reads of a [K, 4] operand of int8: 64 / 4 rows a burst."""
    for padding, bursts in (("row", -(-256 * cols // 64)), ("tile", 256)):
        m = machine(
            dram__padding=padding, dram__model="banked", matrix__dtype="int8", tile__k=256, tile__n=64, tile__m=4
        )
        schedule = compile_graph(one_matmul(4, cols, 256, "int8"), m)
        w = int(np.flatnonzero(schedule.tiles["tensor"] == schedule.tensor_names.index("w"))[0])
        assert len({byte // 64 for row in bytes_of(schedule, w) for byte in row}) == bursts


def test_two_cores_that_store_into_one_burst_are_no_hazard() -> None:
    """Rows of 12 bytes, 30 rows a core: the cores' bytes meet inside a burst."""
    g = ms.Graph("narrow")
    g.output(g.input("x", (60, 40)) @ g.weight("w", values(np.random.default_rng(0), (40, 3))), "y")
    inputs = inputs_of(g)
    m = machine(cores__count=2, tile__m=5, matrix__rows=4, matrix__cols=4, dram__bandwidth="1000GB/s")
    found, plain = (ms.run(g, each, inputs=inputs) for each in (m, machine()))
    stores = found.schedule.stream[found.schedule.stream["opcode"] == isa.Opcode.STORE]
    tiles = found.schedule.transfers["tile"][stores["row"]].tolist()
    of_burst: dict[int, set[int]] = {}
    for tile, core in zip(tiles, stores["core"].tolist(), strict=True):
        for row in bytes_of(found.schedule, tile):
            for byte in row:
                of_burst.setdefault(byte // BURST, set()).add(core)
    assert any(len(cores) > 1 for cores in of_burst.values())
    assert found.output_sha256 == plain.output_sha256


def test_machines_that_pad_differently_share_no_schedule() -> None:
    graph = gemm(8, 8, 4)
    assert key(graph, machine()) != key(graph, machine(dram__padding="tile"))
