"""What is moved: every element to its place, read once and written once, and what need not be moved is not."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.machines import machine

import minisim as ms
from minisim.compiler.attributes import Run
from minisim.compiler.boxes import Along, Piece, boxes_of, edges_of, is_there, merged, tiles_of
from minisim.compiler.movement_methods import runs_of
from minisim.compiler.ops.move import movements
from minisim.errors import ModelError, ShapeError
from minisim.hwmodel.cost import costs
from minisim.hwmodel.isa import NONE, Opcode, VectorOp

Array = npt.NDArray[Any]
Build = Callable[[ms.Graph, ms.Tensor], ms.Tensor]
X = np.random.default_rng(0).standard_normal((3, 4, 10, 6)).astype(np.float32)

MOVED: list[tuple[str, Build, Array]] = [
    ("transpose", lambda g, x: g.transpose(x), X.T),
    ("rows", lambda g, x: g.transpose(x, (2, 0, 1, 3)), X.transpose(2, 0, 1, 3)),
    ("to channels last", lambda g, x: g.transpose(x, (0, -2, -1, 1)), X.transpose(0, 2, 3, 1)),
    ("concat", lambda g, x: g.concat([x, x], 1), np.concatenate([X, X], 1)),
    ("columns", lambda g, x: g.concat([x, x, x]), np.concatenate([X] * 3, -1)),
    ("steps", lambda g, x: g.slice(x, [1, -2], [100, -9], [0, 2], [1, -3]), X[1:, :, -2:-9:-3]),
    ("every other", lambda g, x: g.slice(x, [1], [6], [3], [2]), X[..., 1:6:2]),
    ("pad", lambda g, x: g.pad(x, [(0, 0), (2, 0), (0, 1), (1, 3)], value=-2),
     np.pad(X, [(0, 0), (2, 0), (0, 1), (1, 3)], constant_values=-2)),
    ("edge", lambda g, x: g.pad(x, [(0, 0), (0, 0), (2, 1), (1, 3)], mode="edge"),
     np.pad(X, [(0, 0), (0, 0), (2, 1), (1, 3)], "edge")),
    ("reflect", lambda g, x: g.pad(x, [(0, 0), (0, 0), (2, 1), (12, 3)], mode="reflect"),
     np.pad(X, [(0, 0), (0, 0), (2, 1), (12, 3)], "reflect")),
    ("wrap", lambda g, x: g.pad(x, [(4, 0), (0, 0), (2, 1), (1, 3)], mode="wrap"),
     np.pad(X, [(4, 0), (0, 0), (2, 1), (1, 3)], "wrap")),
    ("crop", lambda g, x: g.pad(x, [(0, 0), (0, 0), (-2, -1), (0, 3)]), np.pad(X[:, :, 2:-1], [(0, 0)] * 3 + [(0, 3)])),
    ("expand", lambda g, x: g.expand(x, (2, 3, 4, 10, 6)), np.broadcast_to(X, (2, *X.shape))),
    ("gather", lambda g, x: g.take(x, [None, [3, 0, 0, -1], None, None]), X[:, [3, 0, 0, -1]]),
    ("middle", lambda g, x: g.concat(g.split(x, (1, 2, 1), axis=1)[::-1], 1), X[:, [3, 1, 2, 0]]),
    ("piece", lambda g, x: g.reshape(g.split(x, (2, 4))[1], (-1, 5)), X[..., 2:].reshape(-1, 5)),
    ("turned piece", lambda g, x: g.transpose(g.split(x, (2, 4))[1]), X[..., 2:].T),
    ("late piece", lambda g, x: g.transpose(g.split(x, (1, 2), axis=0)[1], (1, 0, 2, 3)), X[1:].transpose(1, 0, 2, 3)),
]  # fmt: skip


@pytest.mark.parametrize(("build", "expected"), [pytest.param(*each[1:], id=each[0]) for each in MOVED])
@pytest.mark.parametrize("cores", [1, 3])
def test_every_element_comes_to_its_place(build: Build, expected: Array, cores: int) -> None:
    g = ms.Graph("g")
    y = g.output(build(g, g.input("x", X.shape)), "y")
    result = ms.run(g, machine(cores__count=cores), inputs={"x": X})
    assert y.shape == expected.shape and result.max_abs_error == 0
    assert np.array_equal(result.outputs["y"], expected)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8", "int16", "int32", "bool"])
def test_of_every_type(dtype: str) -> None:
    g = ms.Graph("g")
    x = g.input("x", (5, 7), dtype=dtype)
    g.output(g.pad(g.transpose(x), [(1, 0), (0, 2)], value=1), "y")
    given = np.arange(35).reshape(5, 7) % 2 if dtype == "bool" else np.arange(35).reshape(5, 7) - 17
    result = ms.run(g, machine(), inputs={"x": given.astype(bool) if dtype == "bool" else given})
    expected = np.pad(given.T, [(1, 0), (0, 2)], constant_values=1)
    assert result.outputs["y"].astype(float).tolist() == expected.astype(float).tolist()


def test_bits_are_moved_whatever_they_mean() -> None:
    odd = np.array([0x7FC01234, 0xFF800001, 0x80000000, 0x00000001, 0x7F800000, 0xFFFFFFFF], np.uint32).view(np.float32)
    g = ms.Graph("g")
    g.output(g.transpose(g.input("x", (2, 3))), "y")
    found = ms.run(g, machine(), inputs={"x": odd.reshape(2, 3)}, check=False).outputs["y"]
    assert found.view(np.uint32).tolist() == odd.view(np.uint32).reshape(2, 3).T.tolist()


def test_each_element_is_read_once_and_written_once() -> None:
    g = ms.Graph("g")
    g.output(g.transpose(g.input("x", (130, 200))), "y")
    s = ms.compile_graph(g, machine())
    for opcode in (Opcode.LOAD, Opcode.STORE):
        tiles = s.transfers["tile"][s.stream["row"][s.stream["opcode"] == opcode]]
        assert int(s.tile_bytes()[tiles].sum()) == 4 * 130 * 200
    assert set(s.vectors["op"].tolist()) == {VectorOp.TRANSPOSE}


@pytest.mark.parametrize(
    "build",
    [
        lambda g, x: g.transpose(g.reshape(x, (12, 1, 60)), (1, 0, 2)),
        lambda g, x: g.slice(x, [1], [5], [3]),
        lambda g, x: g.slice(x, [1], [2], [0]),
        lambda g, x: g.slice(x, [0], [100], [1]),
        lambda g, x: g.expand(x, (1, 1)),
    ],
)
def test_what_can_be_a_view_is_one(build: Build) -> None:
    g = ms.Graph("g")
    build(g, g.input("x", X.shape))
    assert {node.op for node in g.nodes} <= {"Reshape", "Split"}


def test_turning_in_sram_walks_down_columns() -> None:
    """32 x 32 of 4 bytes, 128 from row to row, on 16 banks of 8: all in one bank; in 17 they are spread."""
    cycles = []
    for banks in (16, 17):
        g = ms.Graph("g")
        g.output(g.transpose(g.input("x", (32, 32))), "y")
        on = machine(sram__banks=banks, sram__bank_bytes_per_cycle=8)
        schedule = ms.compile_graph(g, on)
        vectors = schedule.stream["opcode"] == Opcode.VECTOR
        cycles.append(costs(schedule, on).busy[vectors].tolist())
    assert cycles == [[(1024 * 128 + 4096) // 128], [-(-(1024 * 8 + 4096) // 136)]]


# -- axes that are not the last -------------------------------------------------------------------------


@pytest.mark.parametrize("axes", [0, 1, [0, 2], [1, -1], [0, 1, 2, 3]])
def test_reductions_along_any_axes(axes: int | list[int]) -> None:
    g = ms.Graph("g")
    x = g.input("x", X.shape)
    g.output(g.reduce_max(x, axes, keepdims=False), "max")
    g.output(g.reduce_sum(x, axes), "sum")
    g.output(g.softmax(x, axes), "softmax")
    result = ms.run(g, machine(), inputs={"x": X})
    along = tuple(axes) if isinstance(axes, list) else axes
    assert np.array_equal(result.outputs["max"], X.max(along))
    np.testing.assert_allclose(result.outputs["sum"], X.sum(along, keepdims=True), atol=1e-5)
    e = np.exp(X - X.max(along, keepdims=True))
    np.testing.assert_allclose(result.outputs["softmax"], e / e.sum(along, keepdims=True), atol=1e-6)


# -- the parts ------------------------------------------------------------------------------------------


def test_runs() -> None:
    assert runs_of([0, 1, 2, 5, 5, 5, 4]) == (Run(0, 1, 3), Run(5, 0, 3), Run(4, 1, 1))
    assert runs_of([None, None, 1, 3, 5, None]) == (Run(None, 0, 2), Run(1, 2, 3), Run(None, 0, 1))
    assert [str(run) for run in runs_of([None, 1, 3, 5, 7, 7, 9])] == ["fill*1", "1:8:2", "7:10:2"]


def test_axes_that_follow_each_other_are_one() -> None:
    assert merged([Along(2, 12, 12), Along(3, 4, 4), Along(4, 1, 1)]) == [Along(24, 1, 1)]
    assert merged([Along(4, 1, 6), Along(2, 12, 3), Along(3, 4, 1)]) == [Along(4, 1, 6), Along(6, 4, 1)]
    assert merged([Along(1, 5, 5), Along(2, 0, 3), Along(3, 0, 1)]) == [Along(6, 0, 1)]


@st.composite
def pieces(draw: st.DrawFn) -> tuple[Piece, int, int]:
    """A part of a tensor, its axes in any order, some repeated; and the sizes of both buffers."""
    sizes = draw(st.lists(st.integers(1, 5), min_size=1, max_size=4))
    chosen = []
    for i, d in enumerate(sizes):
        step = draw(st.integers(0, 2))
        count = draw(st.integers(1, 3 if step == 0 else (d - 1) // step + 1))
        first = draw(st.integers(0, d - 1 - step * (count - 1)))
        chosen.append((i, first, step * math.prod(sizes[i + 1 :]), count))
    order = draw(st.permutations(chosen))
    wide = [count + draw(st.integers(0, 2)) for *_, count in order]
    axes = tuple(Along(count, step, math.prod(wide[j + 1 :])) for j, (_, _, step, count) in enumerate(order))
    source = sum(first * math.prod(sizes[i + 1 :]) for i, first, *_ in chosen)
    return Piece(draw(st.sampled_from([0, 0, 0, None])), source, 0, axes), math.prod(sizes), math.prod(wide)


@given(pieces(), st.integers(1, 4), st.integers(1, 4))
def test_tiles_of_a_piece_are_all_of_it_and_lie_in_their_views(drawn: tuple[Piece, int, int], m: int, n: int) -> None:
    piece, source_size, target_size = drawn
    boxes = boxes_of(piece, source_size, target_size)
    found: dict[int, int] = {}
    height, width = edges_of(boxes, m, n)
    tiles = tiles_of(boxes, height, width)
    for source, target, rows, cols in zip(*(column.tolist() for column in tiles), strict=True):
        assert rows * cols <= m * n
        pitch = boxes.target_pitch
        assert rows == 1 or (target % pitch + cols <= pitch and target // pitch + rows <= target_size // pitch)
        down, along = (cols, rows) if boxes.turned else (rows, cols)  # of what is loaded
        down, along = down if boxes.source_rows > 1 else 1, along if boxes.source_cols > 1 else 1
        pitch = boxes.source_pitch
        assert (
            piece.operand is None
            or down == 1
            or (source % pitch + along <= pitch and source // pitch + down <= source_size // pitch)
        )
        for i in range(rows):
            for j in range(cols):
                a, b = (j, i) if boxes.turned else (i, j)
                at = target + i * boxes.target_pitch + j
                assert at not in found
                found[at] = source + a * pitch * (boxes.source_rows > 1) + b * (boxes.source_cols > 1)
    index = np.indices([axis.size for axis in piece.axes]).reshape(len(piece.axes), -1)
    targets = np.array([axis.target for axis in piece.axes]) @ index
    sources = piece.source + np.array([axis.source for axis in piece.axes]) @ index
    assert sorted(found) == sorted(targets.tolist())
    if piece.operand is not None:
        assert found == dict(zip(targets.tolist(), sources.tolist(), strict=True))


# -- mistakes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda g, x: g.transpose(x, (0, 1)), r"perm must have each axis of x \(3, 4, 10, 6\) once, not be \(0, 1\)"),
        (lambda g, x: g.concat([]), "a concat must have one tensor or more"),
        (lambda g, x: g.concat([x, g.input("y", (3, 4, 9, 6))], 0), "shapes must be equal but for axis 0"),
        (lambda g, x: g.slice(x, [5], [2]), r"nothing is left of x \(3, 4, 10, 6\)"),
        (lambda g, x: g.slice(x, [0], [2], [4]), r"an axis of \(3, 4, 10, 6\) must lie in \[-4, 3\], not 4"),
        (lambda g, x: g.slice(x, [0], [2], [0], [0]), "a step that is not 0"),
        (lambda g, x: g.pad(x, [(1, 1)]), "pads must be two numbers for each axis"),
        (lambda g, x: g.pad(x, [(0, 0)] * 4, mode="mirror"), "mode must be one of constant, edge, reflect, wrap"),
        (lambda g, x: g.expand(x, (2, 2)), r"x \(3, 4, 10, 6\) cannot be expanded to \(2, 2\)"),
        (lambda g, x: g.take(x, [None] * 3), "indices must be of 4 axes, not 3"),
        (lambda g, x: g.take(x, [[3], None, None, None]), r"an index must lie in \[-3, 2\], not 3"),
        (lambda g, x: g.take(x, [[], None, None, None]), "an axis would have no elements"),
    ],
)
def test_what_cannot_be_moved_so(build: Build, message: str) -> None:
    g = ms.Graph("g")
    with pytest.raises((ModelError, ShapeError), match=message):
        build(g, g.input("x", X.shape))


def test_explain_says_what_is_moved_and_what_is_a_view() -> None:
    g = ms.Graph("g")
    x = g.input("x", X.shape)
    g.output(g.slice(g.transpose(x, name="turned"), [0], [2], [3], name="left"), "y")
    assert list(movements(g)) == [
        "views, which move nothing: left (Split)",
        "moved, read and written: turned (Transpose, 2.812 KiB)",
    ]


def test_a_rectangle_lies_in_a_view_if_none_of_its_rows_goes_on_in_the_next() -> None:
    """Rows of 4 elements; a single row is in any buffer."""
    assert is_there(np.array([2, 4]), 2, 2, 4, 100)
    assert not is_there(np.array([2, 3]), 2, 2, 4, 100)
    assert is_there(np.array([3]), 1, 2, 4, 100)
    assert is_there(np.array([2]), 25, 2, 4, 100) and not is_there(np.array([2]), 25, 2, 4, 99)


@pytest.mark.parametrize(
    ("dtype", "value"),
    [("int8", 128), ("int8", 0.5), ("int8", float("nan")), ("int32", 2**24 + 1), ("int32", 2**31), ("bool", 2),
     ("float32", 1e300)],
)  # fmt: skip
def test_a_fill_that_the_type_or_an_immediate_does_not_have_is_refused(dtype: str, value: float) -> None:
    """An immediate is a float32: whole numbers beyond 2^24 would come out as their neighbours."""
    g = ms.Graph("m")
    x = g.input("x", (3, 5), dtype=dtype)
    with pytest.raises(ms.MinisimError, match=f"is no number of {dtype} that an operation can have"):
        g.pad(x, [(1, 0), (0, 2)], value=value)


@pytest.mark.parametrize(("dtype", "value"), [("int8", -128), ("int32", 2**24), ("int32", -(2**31)), ("bool", 1)])
def test_the_last_fill_that_a_type_has(dtype: str, value: int) -> None:
    g = ms.Graph("m")
    g.output(g.pad(g.input("x", (3, 5), dtype=dtype), [(1, 0), (0, 2)], value=value), "y")
    result = ms.run(g)
    assert (result.outputs["y"][0] == value).all() and result.difference is not None and result.difference.largest == 0
    fills = np.flatnonzero(result.schedule.vectors["src0"] == NONE)
    for wrong in (0.5, 2.0**31, float("nan")):  # a schedule from elsewhere
        vectors = result.schedule.vectors.copy()
        vectors["imm0"][fills[0]] = wrong
        with pytest.raises(ms.MinisimError, match="imm0 must be a number of"):
            ms.Runtime(g).engine.load_schedule(result.schedule.replace(vectors=vectors))
