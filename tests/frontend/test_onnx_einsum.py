"""Einsum from ONNX: against numpy's, with the bits of the matmul; and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper, save
from support.machines import searching_now_and_then
from support.oracle import bits

import minisim as ms
from minisim.errors import ModelError


def einsum(
    folder: Path, equation: str, *operands: np.ndarray, constant: int = -1
) -> tuple[ms.Graph, dict[str, np.ndarray]]:
    """The model, and what its inputs are fed; the operand number `constant` is one."""
    names = [f"x{i}" for i in range(len(operands))]
    given_ = {name: x for i, (name, x) in enumerate(zip(names, operands, strict=True)) if i != constant}
    fixed = {name: x for name, x in zip(names, operands, strict=True) if name not in given_}
    graph = helper.make_graph(
        [helper.make_node("Einsum", names, ["y"], equation=equation)],
        "g",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, x.shape) for name, x in given_.items()],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(x, name) for name, x in fixed.items()],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8), folder / "m.onnx")
    return ms.load_model(folder / "m.onnx"), given_


@st.composite
def equations(draw: st.DrawFn) -> tuple[str, list[tuple[int, ...]]]:
    """Of one or two operands, whose axes are batches, k, m, n or of one operand alone, in any order."""
    letters = draw(st.permutations("abcdefg"))
    kinds = [draw(st.sampled_from(["batch", "k", "m", "n", "a", "b"])) for _ in range(draw(st.integers(1, 5)))]
    sizes = {letter: draw(st.sampled_from([1, 2, 3, 5])) for letter in letters}
    of = dict(zip(letters, kinds, strict=False))
    first = draw(st.permutations([x for x, kind in of.items() if kind in ("batch", "k", "m", "a")]))
    second = draw(st.permutations([x for x, kind in of.items() if kind in ("batch", "k", "n", "b")]))
    if draw(st.integers(0, 3)) == 0:
        result = draw(st.permutations([x for x in first if of[x] in ("batch", "m")]))
        return "".join(first) + "->" + "".join(result), [tuple(sizes[x] for x in first)]
    result = draw(st.permutations([x for x, kind in of.items() if kind in ("batch", "m", "n")]))
    text = f"{''.join(first)}, {''.join(second)} -> {''.join(result)}"
    return text, [tuple(sizes[x] for x in term) for term in (first, second)]


@settings(max_examples=60)
@given(equations(), st.integers(-1, 1), st.integers(0, 2**32 - 1))
def test_as_numpy_says(
    tmp_path_factory: pytest.TempPathFactory, drawn: tuple[str, list[tuple[int, ...]]], constant: int, seed: int
) -> None:
    equation, shapes = drawn
    rng = np.random.default_rng(seed)
    operands = [rng.integers(-8, 8, shape).astype(np.float32) for shape in shapes]  # sums are exact, in any order
    constant = constant if len(operands) == 2 else -1
    graph, inputs = einsum(tmp_path_factory.mktemp("einsum"), equation, *operands, constant=constant)
    expected = np.einsum(equation.replace(" ", ""), *operands)
    found = ms.run(graph, searching_now_and_then(equation.encode()), inputs=inputs).outputs["y"]
    assert found.shape == expected.shape and np.array_equal(found, expected)


@pytest.mark.parametrize(("constant", "moves"), [(-1, 2), (0, 1), (1, 1)])
def test_a_constant_is_laid_out_before_the_run(tmp_path: Path, constant: int, moves: int) -> None:
    """And one that lies as it should is taken as it is: it has no second copy."""
    rng = np.random.default_rng(0)
    for equation, wanted in (("bqhd,bkhd->bhqk", moves), ("bij,bjk->bik", 0)):
        shapes = [(2, 3, 4, 5), (2, 6, 4, 5)] if "h" in equation else [(2, 3, 4), (2, 4, 5)]
        operands = [rng.integers(-8, 8, shape).astype(np.float32) for shape in shapes]
        graph, inputs = einsum(tmp_path, equation, *operands, constant=constant)
        assert [node.op for node in graph.nodes].count("Transpose") == wanted
        assert "h" in equation or set(graph.tensors) == {"x0", "x1", "y/matmul"}
        assert np.array_equal(ms.run(graph, inputs=inputs).outputs["y"], np.einsum(equation, *operands))


@pytest.mark.parametrize(
    ("equation", "shapes", "moves"),
    [
        ("bij,bjk->bik", [(2, 5, 40), (2, 40, 6)], 0),
        ("bij,bkj->bik", [(2, 5, 40), (2, 6, 40)], 0),
        ("bji,bjk->bik", [(2, 40, 5), (2, 40, 6)], 0),
        ("bhqd,bhkd->bhqk", [(2, 3, 5, 40), (2, 3, 6, 40)], 0),
        ("...ij,...jk", [(2, 5, 40), (2, 40, 6)], 0),
        ("bqhd,bkhd->bhqk", [(2, 5, 3, 40), (2, 6, 3, 40)], 2),
    ],
)
def test_it_has_the_bits_of_the_matmul(
    tmp_path: Path, equation: str, shapes: list[tuple[int, ...]], moves: int
) -> None:
    """And moves nothing where a matmul takes the operands as they lie."""
    rng = np.random.default_rng(0)
    operands = [rng.normal(size=shape).astype(np.float32) for shape in shapes]
    graph, inputs = einsum(tmp_path, equation, *operands)
    ops = [node.op for node in graph.nodes]
    assert ops.count("MatMul") == 1 and ops.count("Transpose") == moves
    a, b = operands
    turns = {"bji,bjk->bik": ("a",), "bij,bkj->bik": ("b",), "bhqd,bhkd->bhqk": ("b",), "bqhd,bkhd->bhqk": ("b",)}
    if moves:
        a, b = (x.transpose(0, 2, 1, 3) for x in operands)
    g = ms.Graph()
    turned = turns.get(equation, ())
    product = g.matmul(
        g.input("a", a.shape), g.input("b", b.shape), transpose_a="a" in turned, transpose_b="b" in turned
    )
    g.output(product, "y")
    expected = ms.run(g, inputs={"a": np.ascontiguousarray(a), "b": np.ascontiguousarray(b)}).outputs["y"]
    assert np.array_equal(bits(ms.run(graph, inputs=inputs).outputs["y"]), bits(expected))


@pytest.mark.parametrize(
    ("equation", "shapes", "text"),
    [
        ("ii->i", [(3, 3)], "a diagonal, an axis that one operand has twice, is not supported: ii->i"),
        ("i,i,i->i", [(3,), (3,), (3,)], "3 operands are not supported, only one or two"),
        ("ij,jk->ik", [(3, 4), (5, 6)], "axis j of ij,jk->ik must have one size, not 4 and 5"),
        ("ij,jk->ik", [(3, 4, 2), (4, 6)], "'ij' of ij,jk->ik does not fit an operand of 3 axes"),
        ("ij->k", [(3, 4)], "the result of ij->k must have each of its axes once, and from an operand"),
        ("ij->ii", [(3, 4)], "the result of ij->ii must have each of its axes once, and from an operand"),
        ("i1->i", [(3, 4)], "'i1->i' is no equation: axes are letters, or '...'"),
        ("ij", [(3, 4), (3, 4)], "ij must have a term for each of 2 operands, not 1"),
    ],
)
def test_what_is_refused(tmp_path: Path, equation: str, shapes: list[tuple[int, ...]], text: str) -> None:
    with pytest.raises(ModelError) as e:
        einsum(tmp_path, equation, *(np.ones(shape, np.float32) for shape in shapes))
    assert text in str(e.value)
