"""How operands lie under the output that they are broadcast to."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.machines import machine

import minisim as ms
from minisim.compiler.graph import view_2d
from minisim.compiler.slabs import Broadcast
from minisim.errors import ModelError, ShapeError

SIZES = st.integers(1, 3)


def test_all_rows_are_one_slab_where_no_operand_minds() -> None:
    assert Broadcast.of((4, 5, 6), [(4, 5, 6), (6,), (4, 5, 1)]) == Broadcast(20, (False, True, False), ((0,),) * 3)
    assert Broadcast.of((), [()]) == Broadcast(1, (True,), ((0,),))


def test_a_slab_ends_where_an_operand_begins_to_be_repeated() -> None:
    mask = Broadcast.of((2, 3, 4, 4), [(2, 3, 4, 4), (2, 1, 1, 4), (4, 4)])
    assert mask == Broadcast(4, (False, True, False), ((0, 1, 2, 3, 4, 5), (0, 0, 0, 1, 1, 1), (0,) * 6))
    assert Broadcast.of((3, 4, 5), [(3, 1, 5), (4, 5)]) == Broadcast(4, (True, False), ((0, 1, 2), (0, 0, 0)))


def test_a_dimension_of_one_ends_no_slab() -> None:
    assert Broadcast.of((2, 1, 3, 5), [(2, 1, 3, 5), (1, 1, 1, 5)]).slabs == 1


@given(st.data(), st.lists(SIZES, max_size=4), st.integers(1, 3))
def test_each_row_of_the_output_has_the_operands_rows_that_numpy_gives_it(
    data: st.DataObject, shape: list[int], count: int
) -> None:
    operands = [
        tuple(d if data.draw(st.booleans()) else 1 for d in shape[data.draw(st.integers(0, len(shape))) :])
        for _ in range(count)
    ]
    output = np.broadcast_shapes(*operands)
    found = Broadcast.of(output, operands)
    rows = view_2d(output)[0]
    assert found.rows * found.slabs == rows
    for operand, repeated, slabs in zip(operands, found.repeated, found.slab_of, strict=True):
        lead = operand[:-1]
        numbers = np.arange(int(np.prod(lead))).reshape(lead)
        expected = np.broadcast_to(numbers, output[:-1]).reshape(-1)
        for row in range(rows):
            slab, within = divmod(row, found.rows)
            assert expected[row] == (slabs[slab] if repeated else slabs[slab] * found.rows + within)


@pytest.mark.parametrize("cores", [1, 3])
def test_a_mask_is_loaded_and_not_made_as_large_as_what_it_masks(cores: int) -> None:
    g = ms.Graph("masked")
    x, mask = g.input("x", (4, 2, 64, 32)), g.input("mask", (4, 1, 1, 32))
    g.output((x + mask) * g.input("weights", (2, 64, 32)), "y")
    result = ms.run(g, machine(cores__count=cores))
    assert result.max_abs_error is not None and result.max_abs_error < 1e-7
    sizes = dict(zip(result.schedule.tensor_names, result.schedule.tensors["rows"].tolist(), strict=True))
    assert sizes == {"x": 4 * 2 * 64, "mask": 4, "weights": 2 * 64, "add": 4 * 2 * 64, "mul": 4 * 2 * 64}


def test_shapes_that_do_not_broadcast() -> None:
    g = ms.Graph("g")
    with pytest.raises(ShapeError, match=r"shapes \(2, 3, 4\) and \(2, 4\) do not broadcast"):
        g.add(g.input("x", (2, 3, 4)), g.input("y", (2, 4)))


@pytest.mark.parametrize("axes", [-1, [-1], [1, 2], [2, 1], None, [-2, -1]])
def test_reductions_along_the_last_axes(axes: int | list[int] | None) -> None:
    x = np.random.default_rng(0).standard_normal((3, 4, 5)).astype(np.float32)
    numpy_axes = tuple(axes) if isinstance(axes, list) else axes
    for keepdims in (True, False):
        g = ms.Graph("g")
        h = g.input("x", x.shape)
        g.output(g.reduce_sum(h, axes, keepdims=keepdims), "sum")
        g.output(g.reduce_max(h, axes, keepdims=keepdims), "max")
        g.output(g.reduce_mean(h, axes, keepdims=keepdims), "mean")
        found = ms.run(g, inputs={"x": x}).outputs
        for name, function in (("sum", np.sum), ("max", np.max), ("mean", np.mean)):
            expected = function(x, axis=numpy_axes, keepdims=keepdims)
            np.testing.assert_allclose(found[name], expected, rtol=1e-5, atol=1e-6)
            assert found[name].shape == expected.shape


def test_axes_of_one_element_are_no_hindrance() -> None:
    g = ms.Graph("g")
    x = g.input("x", (3, 1, 4, 1))
    assert g.reduce_sum(x, 1).shape == (3, 1, 4, 1)
    assert g.reduce_sum(x, [1, 2], keepdims=False).shape == (3, 1)
    assert g.softmax(x, 2).shape == x.shape
    assert g.layer_norm(x, g.weight("w", np.ones((1, 4, 1))), axes=[1, 2, 3]).shape == x.shape


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        (3, r"an axis of \(3, 4, 5\) must lie in \[-3, 2\], not 3"),
        ([1, -2], r"axes must differ, not \(1, -2\)"),
        ("1", "axes must be a sequence of integers"),
        ([], "axes must be at least one"),
    ],
)
def test_axes_that_are_none(axes: object, message: str) -> None:
    g = ms.Graph("g")
    with pytest.raises(ModelError, match=message):
        g.softmax(g.input("x", (3, 4, 5)), axes)  # type: ignore[arg-type]
