"""The estimates by which the compiler chooses, on cases small enough to count by hand.

What panels and splits are chosen is pinned by `test_pinned.py`; here is why: bytes, cycles and places, in numbers of
tiles of 4096 bytes (32 x 32 floats).
"""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.machines import machine

import minisim as ms
from minisim._engine import best_panels, chained_panels
from minisim.compiler.graph import Node
from minisim.compiler.ops import OPERATORS
from minisim.compiler.panels import Budget, Pace, Panel, PanelPlan, Panels, choose, walk_panels
from minisim.compiler.passes.fuse import Fuse
from minisim.compiler.passes.tile import Tile
from minisim.compiler.shares import POLICIES, Estimate, Placement, Splitter, best_of, cuts
from minisim.compiler.tiling import Read, Share, Tiling

T = 4096
TILES = Budget(sram=16 * T, a=T, b=T, c=T, fixed=0, sums=T)

# -- panels ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "keeps_a", "spare"),
    [
        ((1, 1), True, 16 - 1 - 2),
        ((2, 2), True, 16 - 4 - 3),
        ((3, 4), True, 0),  # 12 sums, 3 of A that stay for the step, and one of B at a time
        ((4, 3), False, 0),
        ((4, 4), True, 16 - 16 - 6),  # of A four, of B two: the fourth row of A enters later (SKEW)
        ((2, 7), True, 16 - 14 - 3),
        ((7, 2), False, 16 - 14 - 3),
    ],
)
def test_a_panel_needs_its_sums_and_the_tiles_of_a_step(shape: tuple[int, int], keeps_a: bool, spare: int) -> None:
    assert TILES.keeps_a(*shape) is keeps_a
    assert TILES.spare(*shape) == spare * T
    assert TILES.fits(*shape) is (spare >= 0)
    beside = replace(TILES, fixed=T, ahead=2 * T)
    assert beside.spare(*shape) == (spare - 3) * T
    apart = replace(TILES, apart=12 * T, sums=2 * T)
    assert apart.spare(*shape) == (spare + shape[0] * shape[1]) * T
    assert apart.fits(*shape) is (shape[0] * shape[1] <= 6 and apart.spare(*shape) >= 0)


def test_the_bytes_of_sums_have_a_limit_of_their_own() -> None:
    assert replace(TILES, most=4 * T).fits(2, 2) and not replace(TILES, most=4 * T - 1).fits(2, 2)
    assert (TILES.for_sums, replace(TILES, apart=5 * T).for_sums) == (16 * T, 5 * T)


def plan(*panels: tuple[int, int, int, int], budget: Budget = TILES, ramped: bool = False) -> PanelPlan:
    return PanelPlan(Panels(Panel(*p) for p in panels), budget, ramped)


def test_a_panel_finds_what_the_one_before_it_could_keep() -> None:
    """Two panels of 2 x 2, side by side: rows of A are needed again, of which each has 3 tiles of k."""
    side_by_side = (0, 2, 0, 2), (0, 2, 2, 4)
    assert plan(side_by_side[0]).load_bytes(3) == 12 * T
    assert plan(*side_by_side).load_bytes(3) == (12 + 6) * T  # 9 spare tiles hold the 6
    four_spare = replace(TILES, sram=11 * T)
    assert plan(*side_by_side, budget=four_spare).load_bytes(3) == (12 + 6 + 2) * T
    none = replace(TILES, sram=7 * T)
    assert plan(*side_by_side, budget=none).load_bytes(3) == 24 * T
    one_above_the_other = (0, 2, 0, 2), (2, 4, 0, 2)
    narrow = replace(TILES, b=T // 2)
    assert plan(*one_above_the_other, budget=narrow).load_bytes(3) == (6 + 3 + 6) * T


def test_what_is_needed_soonest_is_kept() -> None:
    """With room for one row of three tiles: of the row of A needed next, or of the column of B needed after that."""
    walk = (0, 1, 0, 1), (0, 1, 1, 2), (1, 2, 0, 1)
    room_for_three = replace(TILES, sram=6 * T)
    assert room_for_three.spare(1, 1) == 3 * T
    # 3 + 3; then A is there: 3; then neither is, but what room is left from the second panel on
    assert plan(*walk, budget=room_for_three).load_bytes(3) == (6 + 3 + 6) * T
    assert plan(*walk, budget=replace(TILES, sram=9 * T)).load_bytes(3) == (6 + 3 + 3) * T


PACE = Pace(execute=0.0, load=0.0, store=0.0, dram=0.0, turnaround=0.0)
AHEAD = replace(TILES, ahead=2 * T)


@pytest.mark.parametrize(
    ("pace", "cycles"),
    [
        ({"execute": 10.0}, 4 * 3 * 10),  # four output tiles of three steps
        ({"load": 0.5}, 20 * T * 0.5),
        ({"dram": 0.5}, (20 + 4) * T * 0.5),
        ({"turnaround": 100.0}, 1.8 * 20 * T * 100 / (2 * T)),
        # stores alone: each panel's two tiles, after the last execute; nothing loads meanwhile that would hide them
        ({"store": 0.5}, 4 * T * 0.5 + 2 * 2 * T * 0.5),
        ({"store": 0.5, "execute": T * 0.4}, 4 * 3 * T * 0.4 + 2 * 2 * T * 0.1),
        # what was loaded ahead hides the first panel's, but not the last one's
        ({"store": 0.5, "load": 0.3}, 20 * T * 0.3 + (2 * T * 0.5 - 2 * T * 0.3) + 2 * T * 0.5),
        ({"store": 0.5, "execute": T * 0.6}, 4 * 3 * T * 0.6),
    ],
)
def test_cycles_of_panels_are_those_of_the_busiest(pace: dict[str, float], cycles: float) -> None:
    two = plan((0, 1, 0, 2), (1, 2, 0, 2), budget=AHEAD)
    assert two.cycles(3, 20 * T, replace(PACE, **pace)) == pytest.approx(cycles)


def test_without_places_kept_free_a_step_still_has_two_operands() -> None:
    uneven = plan((0, 1, 0, 1), budget=replace(TILES, b=3 * T))
    assert uneven.cycles(1, 10 * T, replace(PACE, turnaround=100.0)) == pytest.approx(1.8 * 10 * 100 / (0.9 * 3))


def test_the_horizon_is_two_steps_of_the_largest_panel() -> None:
    """In uOps: of each output tile a step loads two operands and executes, and it loads the sides."""
    assert plan((0, 2, 0, 3), (2, 3, 0, 1)).horizon == 2 * (3 * 6 + 2 + 3)


def walked(depth: int, panel: tuple[int, int, int, int], budget: Budget = TILES, ramped: bool = False) -> str:
    m, n, k = walk_panels(plan(panel, budget=budget, ramped=ramped), depth)
    return " ".join(f"{m}{n}{k}" for m, n, k in zip(m.tolist(), n.tolist(), k.tolist(), strict=True))


def test_a_panel_streams_the_longer_side_and_enters_in_threes() -> None:
    assert walked(2, (0, 2, 0, 3)) == "000 100 010 110 020 120 001 101 011 111 021 121"
    assert walked(2, (0, 3, 0, 2)) == "000 010 100 110 200 210 001 011 101 111 201 211"
    # of four rows that are kept the last comes one column later
    assert walked(1, (0, 4, 0, 4)) == "000 100 200 010 110 210 300 020 120 220 310 030 130 230 320 330"


def test_a_ramped_panel_finishes_its_tiles_one_after_the_other() -> None:
    """At its start and its end k is walked for one column after the other: for two steps, or more if there is room."""
    no_room = replace(TILES, sram=4 * T)
    assert walked(6, (0, 1, 0, 2), no_room, ramped=True) == "000 001 010 011 002 012 003 013 004 005 014 015"
    assert walked(6, (0, 1, 0, 2), ramped=True) == "000 001 002 010 011 012 003 004 005 013 014 015"
    assert walked(3, (0, 1, 0, 2), ramped=True) == "000 010 001 011 002 012"


def test_panels_that_share_more_come_next_and_of_equals_the_nearest() -> None:
    here, far_in_its_rows, beside = Panel(0, 2, 0, 2), Panel(0, 2, 10, 12), Panel(2, 3, 0, 1)
    assert chained(here, beside, far_in_its_rows) == [here, far_in_its_rows, beside]
    near, far = Panel(0, 2, 2, 4), Panel(0, 2, 8, 10)
    assert chained(here, far, near) == [here, near, far]


def chained(*panels: Panel) -> list[Panel]:
    return list(Panels(chained_panels(Panels(panels).rows)))


@given(
    rows=st.integers(1, 80), cols=st.integers(1, 80), depth=st.integers(1, 4), tiles=st.integers(3, 300),
    a=st.integers(1, 8), b=st.integers(1, 8), apart=st.sampled_from([0, 0, 5, 60]), pace=st.sampled_from([8.0, 64.0]),
)  # fmt: skip
@settings(max_examples=30)
def test_panels_cover_a_grid_once_and_fit(
    rows: int, cols: int, depth: int, tiles: int, a: int, b: int, apart: int, pace: float
) -> None:
    """Also of grids that are cut into parts first; a panel of one tile need not fit, for there is none smaller."""
    budget = Budget(sram=tiles * T, a=a * T // 4, b=b * T // 4, c=T, fixed=0, sums=T, apart=apart * T)
    plan = choose(rows, depth, cols, budget, Pace(pace, 1 / 16, 1 / 64, 1 / 30, 300))
    covered = np.zeros((rows, cols), dtype=int)
    for panel in plan.panels:
        covered[panel.m0 : panel.m1, panel.n0 : panel.n1] += 1
        assert budget.fits(*panel.shape) or panel.shape == (1, 1)
    assert (covered == 1).all()
    m, n, k = walk_panels(plan, depth)
    assert sorted(zip(m.tolist(), n.tolist(), k.tolist(), strict=True)) == list(np.ndindex(rows, cols, depth))
    for tile in {(0, 0), (rows - 1, cols - 1), (rows // 2, cols // 2)}:
        assert k[(m == tile[0]) & (n == tile[1])].tolist() == list(range(depth))


def test_what_the_search_takes_does_not_grow_with_the_grid() -> None:
    """Only the writing down of panels does: a grid of 130,816 rows of tiles took 75 seconds when all were costed."""
    budget, pace = Budget(sram=64 * T, a=T, b=T, c=T, fixed=0, sums=T), Pace(32, 1 / 16, 1 / 16, 1 / 25, 300)

    def seconds(rows: int) -> float:
        found = []
        for _ in range(3):
            began = time.process_time()
            best_panels(rows, 1, 2, budget, pace)
            found.append(time.process_time() - began)
        return min(found)

    assert seconds(130_816) < 40 * seconds(64)


def test_cores_that_share_the_dram_each_have_a_part_of_it() -> None:
    pace = Pace(execute=10, load=0.5, store=0.25, dram=0.1, turnaround=7)
    assert pace.among(1) is pace
    assert pace.among(4) == Pace(10, 0.5, 0.4, 0.4, 7)
    assert pace.among(6) == Pace(10, pytest.approx(0.6), pytest.approx(0.6), pytest.approx(0.6), 7)  # type: ignore[arg-type]


# -- what operators say of themselves ----------------------------------------------------------------------------


def only(graph: ms.Graph, on: ms.Machine, op: str) -> tuple[Node, ms.Graph, Tiling]:
    tiled = Tile(on.replace("compiler.effort=0")).apply(Fuse().apply(graph))  # on tiles as the array has them
    (node,) = (node for node in tiled.graph.nodes if node.op == op)
    return node, tiled.graph, tiled.tilings[node.name]


def graph_of(op: str) -> ms.Graph:
    g = ms.Graph()
    x, column = g.input("x", (64, 96)), g.input("column", (64, 1))
    row, weights = g.input("row", (96,)), g.weight("w", np.zeros((40, 96)))
    made = {
        "Relu": lambda: g.relu(x),
        "Mul": lambda: g.mul(x, column),
        "Sub": lambda: g.sub(x, row),
        "LayerNorm": lambda: g.layer_norm(x, row),
        "MatMul": lambda: g.matmul(x, weights, transpose_b=True) + g.weight("b", np.zeros(40)),
    }
    g.output(made[op](), "y")
    return g


READS = {
    "Relu": [("x", ("m", 32), ("n", 32))],
    "Mul": [("x", ("m", 32), ("n", 32)), ("column", ("m", 32), ("", 1))],
    "Sub": [("x", ("m", 32), ("n", 32)), ("row", ("", 1), ("n", 32))],
    "MatMul": [("x", ("m", 32), ("k", 32)), ("w", ("n", 32), ("k", 32)), ("b", ("", 1), ("n", 32))],
}


@pytest.mark.parametrize("op", READS)
def test_an_operator_says_which_tiles_it_reads(op: str) -> None:
    node, graph, tiling = only(graph_of(op), machine(), op)
    assert list(OPERATORS[op].reads(node, graph, tiling)) == [Read(*read) for read in READS[op]]


def test_rows_are_read_whole_and_one_row_once() -> None:
    node, graph, tiling = only(graph_of("LayerNorm"), machine(), "LayerNorm")
    rows, scale = OPERATORS["LayerNorm"].reads(node, graph, tiling)[:2]
    assert (rows.rows, rows.cols) == (("m", tiling.m), ("", 96))
    assert (scale.tensor, scale.rows, scale.cols) == ("row", ("", 1), ("", 96))


def test_the_pace_of_an_operator_on_tiles() -> None:
    """npu_32x32: 32 lanes, a port of 16 bytes a cycle, 25.6 bytes of DRAM, 60 cycles of latency."""
    node, graph, tiling = only(graph_of("Relu"), machine(), "Relu")
    assert OPERATORS["Relu"].pace(node, graph, tiling, machine()) == Pace(
        execute=32, load=1 / 16, store=1 / 16, dram=1 / 25.6, turnaround=8 + 60 + 32 + 8
    )
    wide = machine(vector__lanes=1024, dma__bytes_per_cycle=64)
    assert OPERATORS["Relu"].pace(node, graph, tiling, wide) == Pace(
        execute=4, load=1 / 25.6, store=1 / 25.6, dram=1 / 25.6, turnaround=8 + 60 + 1 + 8
    )


def test_the_pace_of_a_matmul() -> None:
    """A place is taken for a load of the larger operand, then 32 cycles of shifting in, 32 rows, and the drain."""
    node, graph, tiling = only(graph_of("MatMul"), machine(), "MatMul")
    load, drain = 8 + 4 * 32 * 32 / 16 + 60, 31 + 31 + 1
    assert OPERATORS["MatMul"].pace(node, graph, tiling, machine()) == Pace(
        execute=32, load=1 / 16, store=1 / 16, dram=1 / 25.6, turnaround=load + 32 + 32 + drain
    )
    few = machine(tile__m=2)
    found = OPERATORS["MatMul"].pace(node, graph, replace(tiling, m=2), few)
    assert found.turnaround == load + 32 + 32 + drain and found.execute == 32  # B is loaded, two rows or not


# -- the split ---------------------------------------------------------------------------------------------------

SPLIT_PACE = Pace(execute=100.0, load=0.5, store=0.25, dram=0.0625, turnaround=1000.0)


def two_matmuls() -> ms.Graph:
    """h = x w, y = h u, of 64 x 64: grids of 2 x 2 x 2 tiles."""
    g = ms.Graph()
    h = g.matmul(g.input("x", (64, 64)), g.weight("w", np.zeros((64, 64))), name="h")
    g.output(g.matmul(h, g.weight("u", np.zeros((64, 64))), name="y"), "y")
    return g


def splitter(on: ms.Machine, graph: ms.Graph | None = None) -> Splitter:
    graph = graph or two_matmuls()
    return Splitter(graph, on, Tile(machine()).apply(graph).tilings)


def estimate(s: Splitter, name: str, cut: tuple[int, int]) -> Estimate:
    node = next(node for node in s.graph.nodes if node.name == name)
    tiling = s.tilings[name]
    reads = OPERATORS[node.op].reads(node, s.graph, tiling)
    return s.estimate(node, tiling, reads, SPLIT_PACE, s._shares(tiling, reads, cut))


def cycles(executes: float, moves: float, tiles: int, sram: int = 64 * T) -> float:
    """Of a core that moves so many tiles: it computes, or waits for places (a tile holds one of half the SRAM's for a
    turnaround); and a tenth of what is shorter, computing or moving, is not hidden."""
    computes = max(executes * 100.0, tiles * T * 1000.0 / (sram / 2))
    return max(computes, moves) + 0.1 * min(computes, moves)


@pytest.mark.parametrize(
    ("cut", "loads", "executes", "cores"),
    [((1, 1), 4 + 4, 8, 1), ((2, 1), 2 + 4, 4, 2), ((1, 2), 4 + 2, 4, 2), ((2, 2), 2 + 2, 2, 4)],
)
def test_the_estimate_of_a_cut(cut: tuple[int, int], loads: int, executes: int, cores: int) -> None:
    """Each core's loads in tiles; the output of the last node is stored, the other's stays."""
    s = splitter(machine(cores__count=4))
    moved = cores * loads * T
    moves = max(loads * T * 0.5, moved * 0.0625)
    assert estimate(s, "h", cut) == Estimate(pytest.approx(cycles(executes, moves, loads)), moved, cores)
    moves, stored = max(loads * T * 0.5, (moved + 4 * T) * 0.0625), 4 // cores
    assert estimate(s, "y", cut) == Estimate(
        pytest.approx(cycles(executes, moves, loads + stored)), moved + 4 * T, cores
    )


def test_a_small_sram_has_few_places_to_wait_in() -> None:
    s = splitter(machine(cores__count=4, sram__bytes=12 * T))
    assert estimate(s, "h", (1, 1)).cycles == pytest.approx(cycles(8, 8 * T * 0.5, 8, sram=12 * T))
    assert cycles(0, 0, 8, sram=12 * T) > 1300  # more than the 800 of computing


def placed(s: Splitter, core: list[list[int]]) -> Splitter:
    s.placed["h"] = Placement((32, 32), np.array(core))
    return s


def test_what_a_core_has_it_does_not_load_and_what_another_has_travels() -> None:
    on = machine(cores__count=2)
    by_rows = placed(splitter(on), [[0, 0], [1, 1]])
    stays, moved = estimate(by_rows, "y", (2, 1)), 2 * 4 * T + 4 * T  # B, and the result
    moves = max(4 * T * 0.5, moved * 0.0625)
    assert stays == Estimate(pytest.approx(cycles(4, moves, 4 + 2)), moved, 2)
    by_columns = placed(splitter(on), [[0, 1], [0, 1]])  # each core lacks a tile of its row: it is stored, and loaded
    crossing, moved = estimate(by_columns, "y", (2, 1)), 2 * (4 + 1) * T + 4 * T + 2 * T
    moves = max(5 * T * 0.5, moved * 0.0625)
    assert crossing == Estimate(pytest.approx(cycles(4, moves, 5 + 2) + 2 * 1000), moved, 2)
    elsewhere = estimate(placed(splitter(on), [[1, 1], [1, 1]]), "y", (1, 1))
    assert elsewhere.bytes == (4 + 4) * T  # core 1 has it, so core 1 computes: B and the result


def test_more_than_half_the_sram_is_not_expected_to_stay() -> None:
    """The four tiles of h, which this core has: half of eight. Beside them u is loaded, and the result stored."""
    for size, loaded in ((8 * T, 4), (8 * T - 64, 4 + 4)):
        s = placed(splitter(machine(cores__count=2, sram__bytes=size)), [[0, 0], [0, 0]])
        assert estimate(s, "y", (1, 1)).bytes == (loaded + 4) * T


def test_operands_that_do_not_fit_are_loaded_for_each_panel() -> None:
    """64 x 64 x 64 needs 4 + 4 tiles of operands and 4 of sums; with less, panels as square as may be."""
    for tiles, panel in ((12, None), (11, (2, 2)), (5, (2, 2)), (3, (1, 2)), (2, (1, 2)), (1, (1, 1))):
        s = splitter(machine(cores__count=2, sram__bytes=tiles * T))
        times = (1, 1) if panel is None else (2 // panel[1], 2 // panel[0])
        assert estimate(s, "h", (1, 1)).bytes == 4 * T * times[0] + 4 * T * times[1], tiles
    apart = splitter(machine(cores__count=2, sram__bytes=8 * T, accumulator__bytes=T))
    assert estimate(apart, "h", (1, 1)).bytes == 8 * T


def test_panels_of_a_tall_output_read_the_narrow_side_again() -> None:
    """8 x 2 output tiles of two steps: 16 tiles of A, 4 of B, 16 of sums. If not all fit, panels are 4 x 2."""
    g = ms.Graph()
    g.output(g.matmul(g.input("x", (256, 64)), g.weight("w", np.zeros((64, 64))), name="h"), "y")
    for tiles, of_b in ((36, 4), (35, 2 * 4), (20, 2 * 4)):
        s = splitter(machine(cores__count=2, sram__bytes=tiles * T), g)
        assert estimate(s, "h", (1, 1)).bytes == (16 + of_b + 16) * T, tiles


def test_estimates_that_are_about_as_fast_are_told_apart_by_bytes_then_cores() -> None:
    fast, frugal, few = Estimate(100.0, 50, 4), Estimate(101.9, 40, 4), Estimate(100.0, 50, 2)
    assert best_of([fast, frugal, few]) == 1
    assert best_of([fast, few]) == 1 and best_of([few, fast]) == 0 and best_of([fast, fast]) == 0
    assert best_of([fast, Estimate(102.1, 1, 1)]) == 0 and best_of([fast, Estimate(102.0, 1, 1)]) == 1
    assert fast.plus(few) == Estimate(200.0, 100, 6)


def test_the_cuts_for_a_number_of_cores() -> None:
    tiling = Tiling(32, 32, 32, 3, 1, 4, panels=None)
    assert cuts(tiling, 1, POLICIES["free"]) == [(1, 1)]
    assert cuts(tiling, 2, POLICIES["free"]) == [(1, 1), (1, 2), (2, 1)]
    eight = [(1, 1), (1, 4), (2, 4), (2, 1), (3, 2), (3, 1), (2, 2), (1, 2)]  # and of four, and of two
    assert cuts(tiling, 8, POLICIES["free"]) == eight
    assert cuts(tiling, 8, POLICIES["rows"]) == [(1, 1), (2, 1), (3, 1)]
    assert cuts(tiling, 8, POLICIES["columns"]) == [(1, 1), (1, 4), (1, 2)]


def test_rectangles_are_as_even_as_tiles_allow() -> None:
    s = splitter(machine(cores__count=4))
    shares = s._shares(Tiling(32, 32, 32, 5, 1, 7, panels=None), (), (2, 2))
    assert shares == (Share(0, 0, 2, 0, 4), Share(1, 0, 2, 4, 7), Share(2, 2, 5, 0, 4), Share(3, 2, 5, 4, 7))
