"""Nodes: several outputs, operands that are absent, typed attributes; and what Split makes of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import minisim as ms
from minisim.compiler.attributes import NO_ATTRIBUTES, MatMulAttributes, ReshapeAttributes, SplitAttributes
from minisim.compiler.graph import Window
from minisim.compiler.pipeline import compile_graph, computed_graph
from minisim.compiler.semantics import SEMANTICS
from minisim.errors import MemoryLimitError, ModelError, ShapeError
from minisim.hwmodel.isa import Opcode, Role

RNG = np.random.default_rng(0)
MACHINE = ms.Machine.load("npu_32x32").replace("compiler.effort=0")


def graph() -> tuple[ms.Graph, ms.Tensor]:
    g = ms.Graph("g")
    return g, g.input("x", (64, 48))


# -- nodes -----------------------------------------------------------------------------------------------------------


def test_a_node_of_several_outputs() -> None:
    g, x = graph()
    a, b = g.split(x, (16, 32), name="s")
    (node,) = g.nodes
    assert (node.name, node.inputs, node.outputs) == ("s", ("x",), ("s.0", "s.1"))
    assert ((a.name, a.shape), (b.name, b.shape)) == (("s.0", (64, 16)), ("s.1", (64, 32)))
    assert node.attributes == SplitAttributes(axis=-1, sizes=(16, 32))
    assert list(g.lines())[2] == "  s.0 [64, 16], s.1 [64, 32] = Split(x) axis=-1 sizes=(16, 32)"


def test_a_number_of_pieces_may_be_numpys() -> None:
    g, x = graph()
    assert [piece.shape for piece in g.split(x, np.int64(3))] == [(64, 16)] * 3


def test_no_other_node_takes_the_name_of_one_with_several_outputs() -> None:
    g, x = graph()
    g.split(x, 2, name="s")
    assert g.relu(x, name="s").name == "s_1"
    assert g.split(x, 2, name="s")[1].name == "s_2.1"


def test_outputs_keep_clear_of_names_that_are_taken() -> None:
    g, x = graph()
    g.input("s.1", (1,))
    assert [piece.name for piece in g.split(x, 2, name="s")] == ["s.0", "s.1_1"]


def test_an_absent_operand_is_none_in_the_node_and_a_dash_in_the_dump() -> None:
    g, x = graph()
    r = g.input("r", (64, 8))
    g.output(g.relu((x @ g.weight("w", RNG.standard_normal((48, 8)))) + r), "y")
    computed = computed_graph(g, MACHINE)
    (node,) = computed.nodes
    assert (node.inputs, node.present, node.operand(2)) == (("x", "w", None, "r"), ("x", "w", "r"), None)
    assert list(computed.lines())[4] == "  relu [64, 8] = FusedMatMulResidualReLU(x, w, -, r) activation=ReLU"
    assert ms.run(g, MACHINE).max_abs_error < 1e-5


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda g, x: g.append("MatMul", [None, x], MatMulAttributes()), "its operand 1 must not be left out"),
        (lambda g, x: g.append("LayerNorm", [x, None, x, x]), "its operand 2 must not be left out"),
        (lambda g, x: g.append("Add", [x, None]), "must have 2 operands, not 1"),
        (lambda g, x: g.append("Relu", []), "must have 1 operands, not 0"),
        (lambda g, x: g.append("Relu", [None]), "must have 1 operands, not 0"),
        (lambda g, x: g.append("Reshape", [x]), "attributes must be ReshapeAttributes, not Attributes()"),
        (lambda g, x: g.append("MatMul", [x, x], ReshapeAttributes((1,))), "attributes must be MatMulAttributes, not"),
        (lambda g, x: g.append("Relu", [x], {}), "attributes must be Attributes, not {}"),
    ],
)
def test_a_node_that_cannot_be(wrong: Callable[[ms.Graph, ms.Tensor], object], said: str) -> None:
    g, x = graph()
    with pytest.raises(ModelError) as error:
        wrong(g, x)
    assert f"): {said}" in str(error.value)
    assert not g.nodes


def test_add_node_is_for_one_output() -> None:
    g, x = graph()
    with pytest.raises(
        ModelError, match=r"test_nodes.py:\d+: a Split of 2 outputs is added by append, not by add_node"
    ):
        g.add_node("Split", [x], SplitAttributes(1, (16, 32)))
    assert g.add_node("Split", [x], SplitAttributes(1, (48,))).window == Window("x", 0, 0)


def test_the_text_of_attributes_has_what_is_not_at_its_default() -> None:
    assert MatMulAttributes().text() == NO_ATTRIBUTES.text() == ""
    assert MatMulAttributes(transpose_b=True, scale=0.5).text() == " scale=0.5 transpose_b=True"
    assert ReshapeAttributes((2, -1)).text() == " shape=(2, -1)"


def test_which_operators_are_views() -> None:
    assert {name for name, operator in SEMANTICS.items() if operator.is_view} == {"Append", "Reshape", "Split"}


# -- Split: shapes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "axis", "windows"),
    [
        ((6, 4), 1, [(0, 0), (0, 1)]),
        ((6, 4), -2, [(0, 0), (1, 0)]),
        ((4,), 0, [(0, 0), (0, 1)]),
        ((2, 3, 5), 2, [(0, 0), (0, 1)]),
        ((2, 3, 5), 0, [(0, 0), (3, 0)]),
        ((1, 3, 5), 1, [(0, 0), (1, 0)]),
    ],
)
def test_pieces_are_rectangles(shape: tuple[int, ...], axis: int, windows: list[tuple[int, int]]) -> None:
    g = ms.Graph()
    x = g.input("x", shape)
    pieces = g.split(x, (1, shape[axis] - 1), axis=axis)
    assert [piece.window for piece in pieces] == [Window("x", *at) for at in windows]
    values = np.arange(np.prod(shape), dtype=np.float64).reshape(shape)
    found, expected = g.evaluate({"x": values}), np.split(values, [1], axis=axis)
    for piece, array in zip(pieces, expected, strict=True):
        np.testing.assert_array_equal(found[piece.name], array)


def test_a_piece_of_a_piece_is_a_rectangle_of_the_whole() -> None:
    g, x = graph()
    _, right = g.split(x, (16, 32))
    _, below = g.split(right, (50, 14), axis=0)
    assert g.reshape(below, (7, 2, 32)).window == below.window == Window("x", 50, 16)


@pytest.mark.parametrize(
    ("wrong", "kind", "said"),
    [
        (lambda g, x: g.split(x, (16, 16)), ShapeError,
         "node 'split' (Split of x (64, 48)): sizes (16, 16) must add up to 48, the length of axis 1, not to 32"),
        (lambda g, x: g.split(x, (0, 48)), ShapeError,
         "node 'split' (Split of x (64, 48)): sizes must be at least one, each of at least 1, not (0, 48)"),
        (lambda g, x: g.split(x, ()), ShapeError,
         "node 'split' (Split of x (64, 48)): sizes must be at least one, each of at least 1, not ()"),
        (lambda g, x: g.split(x, 5), ShapeError, "axis -1 of x (64, 48) has no 5 equal pieces"),
        (lambda g, x: g.split(x, 0), ShapeError, "axis -1 of x (64, 48) has no 0 equal pieces"),
        (lambda g, x: g.split(x, 2, axis=2), ShapeError,
         "node 'split' (Split of x (64, 48)): axis must lie in [-2, 1], not 2"),
        (lambda g, x: g.split(x, 2, axis=0.5), ModelError, "axis must be a sequence of integers, not (0.5,)"),
        (lambda g, x: g.split(x, "ab"), ModelError, "sizes must be a sequence of integers, not 'ab'"),
        (lambda g, x: g.split(3, 2), ModelError, "an operand must be a tensor of the graph, not int"),
        (lambda g, x: g.split(g.input("s", ()), 2), ShapeError,
         "node 'split' (Split of s ()): a scalar has no axis to split"),
    ],
)  # fmt: skip
def test_a_split_that_cannot_be(
    wrong: Callable[[ms.Graph, ms.Tensor], object], kind: type[ModelError], said: str
) -> None:
    g, x = graph()
    with pytest.raises(kind) as error:
        wrong(g, x)
    assert str(error.value).partition(": ")[2] == said


# -- Split: on a machine ---------------------------------------------------------------------------------------------


def heads(width: int, sizes: tuple[int, ...]) -> ms.Graph:
    """relu of each piece of a product that is `width` wide."""
    g, x = graph()
    product = g.matmul(x, g.weight("w", RNG.standard_normal((48, width))), name="product")
    for i, piece in enumerate(g.split(product, sizes)):
        g.output(g.relu(piece), f"y{i}")
    return g


def loads_of(schedule: ms.Schedule, tensor: str) -> int:
    loads = schedule.stream["row"][schedule.stream["opcode"] == Opcode.LOAD]
    tiles = schedule.tiles["tensor"][schedule.transfers["tile"][loads]]
    return int((tiles == schedule.tensor_names.index(tensor)).sum())


@pytest.mark.parametrize(
    ("sizes", "loads"),
    [((32, 64), 0), ((32, 32, 32), 0), ((64, 32), 0), ((32, 65), 0), ((40, 56), 8), ((64, 33, 7), 6)],
)
def test_pieces_that_are_whole_tiles_of_their_producer_stay_in_sram(sizes: tuple[int, ...], loads: int) -> None:
    """Tiles are 32 x 32. Other pieces are cut into tiles of their own, which are loaded."""
    found = ms.run(heads(sum(sizes), sizes), MACHINE)
    assert loads_of(found.schedule, "product") == loads
    assert found.max_abs_error < 1e-5


@pytest.mark.parametrize(("sizes", "loads"), [((32, 32), 0), ((17, 47), 6)])
def test_pieces_of_rows(sizes: tuple[int, ...], loads: int) -> None:
    """Of 64 x 96, three tiles wide: 17 rows are one row of tiles, and 47 one of taller ones."""
    g, x = graph()
    product = g.matmul(x, g.weight("w", RNG.standard_normal((48, 96))), name="product")
    for i, piece in enumerate(g.split(product, sizes, axis=0)):
        g.output(g.relu(piece), f"y{i}")
    found = ms.run(g, MACHINE)
    assert loads_of(found.schedule, "product") == loads
    assert found.max_abs_error < 1e-5


@pytest.mark.parametrize("cores", [1, 3])
@pytest.mark.parametrize("sram", ["256KiB", "32KiB"])
@pytest.mark.parametrize("sizes", [(32, 65), (1, 96), (50, 47)])
def test_pieces_are_computed_exactly(cores: int, sram: str, sizes: tuple[int, ...]) -> None:
    on = MACHINE.replace(f"cores.count={cores}", f"sram.bytes={sram}")
    g = heads(97, sizes)
    assert ms.run(g, on).max_abs_error < 1e-5
    alone = ms.run(heads(97, (97,)), on.replace("compiler.keep_on_chip=false"))
    assert loads_of(alone.schedule, "product") == 8


def test_a_window_has_no_place_and_its_tensor_is_the_output() -> None:
    """Both pieces are outputs as they are: they lie in the product, which is stored, and are read from there."""
    g, x = graph()
    pieces = g.split(g.matmul(x, g.weight("w", RNG.standard_normal((48, 40))), name="product"), (8, 32))
    rows = g.split(x, (10, 54), axis=0)
    for i, piece in enumerate((*pieces, *rows)):
        g.output(piece, f"y{i}")
    values = RNG.standard_normal((64, 48)).astype(np.float32)
    result = ms.run(g, MACHINE, inputs={"x": values})
    assert result.schedule.tensor_names == ("x", "w", "product")
    assert Role(result.schedule.tensors["role"][2]) == Role.OUTPUT
    assert result.max_abs_error < 1e-5
    np.testing.assert_array_equal(result.outputs["y2"], values[:10])
    np.testing.assert_array_equal(result.outputs["y3"], values[10:])


def test_pieces_of_integers_keep_the_scale() -> None:
    g, x = graph()
    for i, piece in enumerate(g.split(g.relu(x @ g.weight("w", RNG.standard_normal((48, 40)))), (8, 32))):
        g.output(piece, f"y{i}")
    on = MACHINE.replace("matrix.dtype=int8", "matrix.int8_rate=1")
    scales = {t.scale for t in computed_graph(g, on).tensors.values() if t.name in ("relu", "split.0", "split.1")}
    assert len(scales) == 1
    assert None not in scales
    largest = max(np.abs(array).max() for array in ms.run(g, on).outputs.values())
    assert 0 < ms.run(g, on).max_abs_error < 0.05 * largest


def test_the_dma_sees_rows_that_lie_apart() -> None:
    """A piece that is 8 of 1024 columns wide takes a burst for each of its rows."""

    def cycles(wide: int) -> int:
        g = ms.Graph()
        piece, *_ = g.split(g.input("x", (512, wide)), (8, wide - 8)) if wide > 8 else (g.input("x", (512, 8)),)
        g.output(g.relu(piece), "y")
        return ms.run(
            g, MACHINE.replace("dram.model=banked", "dram.preset=ddr4-3200", "tile.m=512"), numerics=False
        ).cycles

    assert cycles(1024) > cycles(8)


def test_equal_models_give_equal_schedules() -> None:
    g, x = graph()
    g.output(g.relu(x), "y")
    with_a_piece, x = graph()
    with_a_piece.split(x, 2)
    with_a_piece.output(with_a_piece.relu(x), "y")
    assert compile_graph(with_a_piece, MACHINE).digest() == compile_graph(g, MACHINE).digest()


def test_a_second_bias_is_not_taken_for_the_first() -> None:
    g, x = graph()
    biased = (x @ g.weight("w", RNG.standard_normal((48, 8)))) + g.weight("b", RNG.standard_normal(8))
    g.output(biased + g.weight("c", RNG.standard_normal(8)), "y")
    assert [node.title for node in computed_graph(g, MACHINE).nodes] == ["FusedMatMulBias", "Add"]
    assert ms.run(g, MACHINE).max_abs_error < 1e-5


def test_pieces_take_no_memory_of_their_own() -> None:
    """Twice 12 KiB of float32 for the input, and as much for each output that is computed; SRAM is 256 KiB."""
    g, x = graph()
    for i, piece in enumerate(g.split(x, 2)):
        g.output(piece, f"y{i}")
    assert ms.run(g, MACHINE, memory_limit=(256 + 2 * 12) * 1024).max_abs_error == 0
    with pytest.raises(MemoryLimitError):
        ms.run(g, MACHINE, memory_limit=(256 + 2 * 12) * 1024 - 1)
