"""The loop nest of counters: the order is the nest's, and every step fetches what it needs, once."""

from __future__ import annotations

from collections import Counter
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.machines import machine

import minisim as ms
from minisim.compiler.blocks import BlockPlan
from minisim.errors import ConfigError
from minisim.hwmodel.isa import Opcode, Schedule

edges = st.integers(1, 4)
counts = st.integers(1, 6)
EDGE = 8


def nest(plan: BlockPlan, rows: int, cols: int, depth: int) -> list[tuple[int, int, int]]:
    """The module's table, as loops."""

    def blocks(size: int, edge: int) -> list[range]:
        return [range(i, min(size, i + edge)) for i in range(0, size, edge)]

    of_m, of_n = blocks(rows, plan.m), blocks(cols, plan.n)
    if plan.keeps_a:
        return [(m, n, k) for ns, ms_, k in product(of_n, of_m, range(depth)) for m in ms_ for n in ns]
    return [(m, n, k) for ms_, ns, k in product(of_m, of_n, range(depth)) for n in ns for m in ms_]


@given(edges, edges, st.booleans(), counts, counts, counts)
def test_the_walk_is_the_loop_nest(m: int, n: int, keeps_a: bool, rows: int, cols: int, depth: int) -> None:
    plan = BlockPlan(m, n, keeps_a)
    walk = plan.walk(rows, cols, depth)
    assert list(zip(*(x.tolist() for x in walk), strict=True)) == nest(plan, rows, cols, depth)
    step = plan.step(*walk)
    assert step.tolist() == sorted(step.tolist())
    seen = {s: (a // m, b // n, k) for s, a, b, k in zip(step.tolist(), *(x.tolist() for x in walk), strict=True)}
    assert len(set(seen.values())) == len(seen) == step[-1] + 1 == -(-rows // m) * -(-cols // n) * depth


def loads(schedule: Schedule) -> Counter[str]:
    """How many tiles of each tensor are loaded."""
    of = schedule.stream["row"][schedule.stream["opcode"] == Opcode.LOAD]
    tensors = schedule.tiles["tensor"][schedule.transfers["tile"][of]]
    return Counter(schedule.tensor_names[i] for i in tensors.tolist())


def compiled(
    dataflow: str, m: int, n: int, size: tuple[int, int, int], sram: str = "256KiB", cores: int = 1
) -> Schedule:
    rows, depth, cols = (EDGE * count for count in size)
    graph = ms.Graph()
    x, w = graph.input("x", (rows, depth)), graph.weight("w", np.zeros((depth, cols)))
    graph.output(x @ w + graph.weight("b", np.zeros(cols)))
    keys = {"compiler__order": "blocked", "compiler__block_m": m, "compiler__block_n": n, "cores__count": cores}
    tiles = {f"tile__{edge}": EDGE for edge in "mkn"}
    base = machine(matrix__dataflow=dataflow, compiler__keep_on_chip=False, sram__bytes=sram, **keys, **tiles)
    return ms.compile_graph(graph, base)


@given(st.sampled_from(["ws", "os", "is"]), edges, edges, st.tuples(counts, counts, counts))
def test_a_step_loads_its_operands_and_a_row_of_blocks_its_biases(
    dataflow: str, m: int, n: int, size: tuple[int, int, int]
) -> None:
    """However much room there is: control does not know what lies on the chip."""
    rows, depth, cols = size
    blocks_m, blocks_n = -(-rows // m), -(-cols // n)
    found = loads(compiled(dataflow, m, n, size))
    assert found["x"] == rows * blocks_n * depth
    assert found["w"] == cols * blocks_m * depth
    assert found["b"] == (cols if dataflow == "is" else cols * blocks_m)


@given(st.sampled_from(["ws", "os", "is"]), edges, edges, st.tuples(counts, counts, counts), st.integers(2, 4))
def test_each_core_walks_the_blocks_of_its_own_share(
    dataflow: str, m: int, n: int, size: tuple[int, int, int], cores: int
) -> None:
    rows, depth, cols = size
    schedule = compiled(dataflow, m, n, size, cores=cores)
    rectangles = shares(schedule)
    assert sum(height * width for height, width in rectangles) == rows * cols
    found = loads(schedule)
    assert found["x"] == sum(height * -(-width // n) * depth for height, width in rectangles)
    assert found["w"] == sum(width * -(-height // m) * depth for height, width in rectangles)
    assert found["b"] == sum(width * (1 if dataflow == "is" else -(-height // m)) for height, width in rectangles)


def shares(schedule: Schedule) -> list[tuple[int, int]]:
    """Rows and columns of the output tiles that each core at work stores."""
    at = np.flatnonzero(schedule.stream["opcode"] == Opcode.STORE)
    tiles = schedule.tiles[schedule.transfers["tile"][schedule.stream["row"][at]]]
    found = []
    for core in np.unique(schedule.stream["core"][at]):
        mine = tiles[schedule.stream["core"][at] == core]
        found.append((len(np.unique(mine["row"])), len(np.unique(mine["col"]))))
    return found


def test_operands_of_a_step_share_a_small_sram() -> None:
    """A step of 2 x 2 tiles keeps two tiles of the streamed side and one of the other: no tile comes twice."""
    tile = 4 * EDGE * EDGE
    size = (2, 4, 2)
    assert loads(compiled("ws", 2, 2, size, f"{4 * tile + 3 * tile + 64}")) == loads(compiled("ws", 2, 2, size))


def test_blocked_keeps_nothing_on_chip_and_says_so() -> None:
    with pytest.raises(ConfigError, match=r"compiler.keep_on_chip: must be false where compiler.order is 'blocked'"):
        machine(compiler__order="blocked")
