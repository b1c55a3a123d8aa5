"""Products of many matrices: what is read, in which tiles, and by which core; their bits are test_bits.py's."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from support.graphs import values
from support.machines import machine

import minisim as ms
from minisim.compiler.attributes import MatMulAttributes
from minisim.compiler.ops import OPERATORS
from minisim.compiler.ops.matmul import Product
from minisim.compiler.panels import Budget, Panel, PanelPlan, Panels
from minisim.compiler.passes.fuse import Fuse
from minisim.compiler.passes.tile import Tile
from minisim.compiler.shares import Splitter, row_runs
from minisim.compiler.slabs import slab_of, tiles_apart
from minisim.compiler.tiling import Read, Share, Tiling
from minisim.errors import ModelError, ShapeError
from minisim.hwmodel.isa import Opcode

RNG = np.random.default_rng(0)
PLAIN = MatMulAttributes()
ORDERS = [{}, {"compiler__order": "mnk"}, {"compiler__order": "blocked", "compiler__keep_on_chip": False}]


def product(a: tuple[int, ...], b: tuple[int, ...], **transposed: bool) -> ms.Graph:
    g = ms.Graph("product")
    g.output(g.matmul(g.input("a", a), g.input("b", b), **transposed), "y")
    return g


def tiling(graph: ms.Graph, on: ms.Machine) -> Tiling:
    (found,) = Tile(on).apply(Fuse().apply(graph)).tilings.values()
    return found


def bytes_loaded(result: ms.Result, tensor: str) -> int:
    """From DRAM, of one tensor."""
    s = result.schedule
    loads = s.transfers["tile"][s.stream["row"][s.stream["opcode"] == Opcode.LOAD]]
    return int(s.tile_bytes()[loads[s.tiles["tensor"][loads] == s.tensor_names.index(tensor)]].sum())


def test_which_slab_belongs_to_which() -> None:
    assert slab_of((2, 3), (2, 3)) == (0, 1, 2, 3, 4, 5)
    assert slab_of((2, 3), (3,)) == slab_of((2, 3), (1, 3)) == (0, 1, 2, 0, 1, 2)
    assert slab_of((2, 3), (2, 1)) == (0, 0, 0, 1, 1, 1)
    assert slab_of((2, 3), ()) == (0,) * 6
    assert slab_of((), ()) == (0,)


def test_where_a_slab_ends_a_tile_ends() -> None:
    assert tiles_apart(64, 256, 32) == 0  # the tiles are those of the whole
    assert tiles_apart(40, 120, 32) == 40
    assert tiles_apart(40, 40, 32) == 0  # the only slab


def test_matrices_that_are_multiplied_by_the_same_one_are_one_of_many_rows() -> None:
    assert Product.of((4, 5, 6), (6, 7), PLAIN) == Product(20, 6, 7, (0,), (0,), 20, 6, 6, 7)
    assert Product.of((2, 3, 5, 6), (2, 1, 6, 7), PLAIN) == Product(15, 6, 7, (0, 1), (0, 1), 15, 6, 6, 7)
    assert Product.of((2, 3, 5, 6), (3, 6, 7), PLAIN) == Product(5, 6, 7, (0, 1, 2, 3, 4, 5), (0, 1, 2) * 2, 5, 6, 6, 7)
    assert Product.of((5, 6), (3, 6, 7), PLAIN) == Product(5, 6, 7, (0, 0, 0), (0, 1, 2), 5, 6, 6, 7)
    assert Product.of((6,), (3, 6, 7), PLAIN) == Product(1, 6, 7, (0, 0, 0), (0, 1, 2), 1, 6, 6, 7)
    columns = MatMulAttributes(transpose_a=True, transpose_b=True)  # whose rows do not lie behind each other
    assert Product.of((2, 6, 5), (7, 6), columns) == Product(5, 6, 7, (0, 1), (0, 0), 6, 7, 5, 6)


@pytest.mark.parametrize("keys", ORDERS, ids=["auto", "mnk", "blocked"])
@pytest.mark.parametrize("cores", [1, 2, 5])
def test_no_tile_and_no_panel_reaches_beyond_its_matrix(cores: int, keys: dict[str, object]) -> None:
    found = tiling(product((3, 85, 40), (3, 40, 50)), machine(cores__count=cores, **keys))
    assert (found.m, found.m_tiles, found.slab, found.slab_tiles, found.slabs) == (32, 9, 85, 3, 3)
    m, n, k = found.walk()
    assert len({*zip(m.tolist(), n.tolist(), k.tolist(), strict=True)}) == len(m) == 9 * 2 * 2
    for share in found.shares or [found]:
        for panel in share.panels.panels if share.panels else ():
            first = panel.m0 + getattr(share, "m0", 0)
            last = panel.m1 + getattr(share, "m0", 0) - 1
            assert first // 3 == last // 3


def test_what_is_broadcast_is_loaded_once_where_it_has_room() -> None:
    """4 x 64 x 32 against one matrix, whose rows are not one behind the other: it is transposed."""
    result = ms.run(product((4, 32, 64), (32, 32), transpose_a=True), machine())
    assert bytes_loaded(result, "b") == 4 * 32 * 32
    result = ms.run(product((32, 32), (4, 32, 64)), machine())
    assert (bytes_loaded(result, "a"), bytes_loaded(result, "b")) == (4 * 32 * 32, 4 * 4 * 32 * 64)


def test_blocks_fetch_what_each_product_needs_anew() -> None:
    """A machine without a table of what lies on the chip fetches the matrix that two products share for each."""
    on = machine(compiler__order="blocked", compiler__keep_on_chip=False)
    assert bytes_loaded(ms.run(product((2, 32, 32), (32, 32), transpose_a=True), on), "b") == 2 * 4 * 32 * 32


def test_cores_share_the_products() -> None:
    """Eight products of one tile for four cores: two each, and nothing is loaded twice."""
    on = machine(cores__count=4, dram__bandwidth="1000GB/s", dma__bytes_per_cycle=256, dram__latency="5ns")
    graph = product((8, 32, 128), (8, 128, 32))
    assert [(s.m0, s.m1) for s in tiling(graph, on).shares] == list(pairwise(range(0, 9, 2)))
    result = ms.run(graph, on)
    assert bytes_loaded(result, "a") == bytes_loaded(result, "b") == 4 * 8 * 32 * 128


def test_macs_are_those_of_all_products() -> None:
    for keys in ORDERS:
        schedule = ms.compile_graph(product((2, 1, 40, 50), (3, 50, 33)), machine(**keys))
        assert schedule.layers["macs"].tolist() == [6 * 40 * 50 * 33]
        assert int((schedule.matmuls["m"].astype(int) * schedule.matmuls["k"] * schedule.matmuls["n"]).sum()) == (
            6 * 40 * 50 * 33
        )


def attention(batch: int, heads: int, length: int, depth: int) -> ms.Graph:
    """softmax(Q K^T / sqrt(depth)) V of each head."""
    g = ms.Graph("attention")
    q, k, v = (g.input(name, (batch, heads, length, depth)) for name in "qkv")
    scores = g.matmul(q, k, transpose_b=True) * float(depth**-0.5)
    g.output(g.softmax(scores) @ v, "y")
    return g


@pytest.mark.parametrize("length", [32, 40])
@pytest.mark.parametrize("cores", [1, 3])
def test_attention(length: int, cores: int) -> None:
    q, k, v = (values(RNG, (2, 3, length, 16)) for _ in "qkv")
    result = ms.run(attention(2, 3, length, 16), machine(cores__count=cores), inputs={"q": q, "k": k, "v": v})
    scores = np.einsum("bhid,bhjd->bhij", q, k).astype(np.float64) / 4
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    expected = np.einsum("bhij,bhjd->bhid", weights / weights.sum(axis=-1, keepdims=True), v)
    np.testing.assert_allclose(result.outputs["y"], expected, atol=2e-6)


def test_a_chain_of_batches_stays_on_the_chip() -> None:
    """Scores of one tile are found in SRAM by what reads them."""
    result = ms.run(attention(1, 4, 32, 32), machine(sram__bytes="1MiB"))
    assert {name for name in result.schedule.tensor_names if bytes_loaded(result, name)} == {"q", "k", "v"}


@pytest.mark.parametrize(
    ("a", "b", "transposed", "expected"),
    [
        ((2, 4, 5), (3, 5, 6), {}, "the leading dimensions (2,) and (3,) do not broadcast"),
        ((2, 4, 5), (2, 6, 7), {}, "inner dimensions must be equal, not 5 and 6"),
        ((2, 4, 5), (2, 7, 6), {"transpose_b": True}, "inner dimensions must be equal, not 5 and 6"),
        ((4, 5), (), {}, "an operand of a matmul must have at least one dimension"),
        ((5,), (5, 6), {"transpose_a": True}, "a transposed first operand must have two dimensions or more"),
        ((4, 5), (5,), {"transpose_b": True}, "the second operand of a matmul must have two dimensions or more"),
    ],
)
def test_operands_that_do_not_fit(
    a: tuple[int, ...], b: tuple[int, ...], transposed: dict[str, bool], expected: str
) -> None:
    with pytest.raises(ShapeError) as caught:
        product(a, b, **transposed)
    assert expected in str(caught.value)


def test_a_bias_has_a_value_for_each_column() -> None:
    g = ms.Graph("g")
    x = g.input("x", (2, 4, 5), dtype="int8")
    w = g.weight("w", np.ones((2, 5, 6)), "int8")
    assert g.matmul(x, w, bias=g.weight("b", np.ones(6), "int32")).shape == (2, 4, 6)
    with pytest.raises(ModelError, match="the bias must have 6 values"):
        g.matmul(x, w, bias=g.weight("c", np.ones(5), "int32"))


def test_numpy_s_shapes() -> None:
    for a, b in [((5,), (5,)), ((4, 5), (5,)), ((2, 3, 4, 5), (5,)), ((5,), (2, 3, 5, 6)), ((2, 1, 4, 5), (3, 5, 6))]:
        expected = np.matmul(np.ones(a), np.ones(b)).shape
        graph = product(a, b)
        assert graph.tensors[graph.outputs["y"]].shape == expected, (a, b)


# -- the parts ------------------------------------------------------------------------------------------


def test_panels_are_repeated_and_end_with_a_run() -> None:
    budget = Budget(sram=10**6, a=64, b=64, c=64, fixed=0, sums=64)
    plan = PanelPlan(Panels([Panel(0, 2, 0, 3), Panel(2, 3, 0, 3)]), budget, ramped=False).over(
        [(0, 1), (1, 4), (4, 6)]
    )
    assert list(plan.panels) == [Panel(0, 1, 0, 3), Panel(1, 3, 0, 3), Panel(3, 4, 0, 3), Panel(4, 6, 0, 3)]


def test_the_runs_that_a_share_reads() -> None:
    """Three slabs of 3 rows of tiles; the share has the last row of the first, and the other two."""
    cut, share = Tiling(32, 32, 32, 9, 2, 4, panels=None, slab=85), Share(0, 2, 9, 1, 3)
    a, b = Read("a", ("m", 32), ("k", 32), (0, 1, 2), 85), Read("b", ("k", 32), ("n", 32), (0, 1, 2))
    assert row_runs(cut, a, share) == [(2, 3), (3, 6), (6, 9)]
    assert row_runs(cut, b, share) == [(0, 2), (2, 4), (4, 6)]
    assert row_runs(cut, b._replace(rows=("n", 32)), share) == [(1, 3), (5, 7), (9, 11)]
    assert row_runs(cut, b._replace(slab_of=(0, 0, 0)), share) == [(0, 2)]  # once, for all
    ends = Share(0, 1, 7, 1, 3)  # rows 1 and 2 of the first slab, and row 0 of the last
    assert row_runs(cut, a._replace(slab_of=(1, 0, 1)), ends) == [(3, 6), (0, 3)]
    assert row_runs(cut, Read("c", ("m", 32), ("n", 32)), share) == [(2, 9)]


def test_a_share_of_many_products_loads_each_operand_once_where_one_product_has_room() -> None:
    """8 products of 2 x 2 tiles: together their sums are more than the SRAM, which no panel minds."""
    graph, on = product((8, 64, 32), (8, 32, 64)), machine(cores__count=2, sram__bytes="64KiB")
    tiled = Tile(machine()).apply(graph).tilings
    splitter, (node,) = Splitter(graph, on, tiled), graph.nodes
    cut = tiled[node.name]
    reads, pace = OPERATORS["MatMul"].reads(node, graph, cut), OPERATORS["MatMul"].pace(node, graph, cut, on)
    found = splitter.estimate(node, cut, reads, pace, (Share(0, 0, 8, 0, 2), Share(1, 8, 16, 0, 2)))
    assert found.bytes == 4 * 8 * (64 * 32 + 32 * 64 + 64 * 64)
