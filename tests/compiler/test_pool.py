"""Pooling by hand: shapes, counts, bytes and cycles of small layers; what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from support.machines import machine

import minisim as ms
from minisim.compiler.folding import choose
from minisim.compiler.geometry import Geometry
from minisim.errors import ShapeError, UnsupportedError
from minisim.hwmodel import cost
from minisim.hwmodel.energy import accesses
from minisim.hwmodel.isa import Opcode


def image(*shape: int) -> tuple[ms.Graph, ms.Tensor]:
    g = ms.Graph()
    return g, g.input("x", shape)


# -- max 3x3, stride 2, padding 1: 16x16x32 -> 8x8x32 --------------------------------------------------


@pytest.fixture(scope="module")
def by_hand() -> ms.Result:
    g, x = image(1, 16, 16, 32)
    g.output(g.max_pool(x, 3, strides=2, pads=1), "y")
    return ms.run(g, machine(vector__lanes=32, vector__simple_cost=1, sram__bytes="1MiB"))


def test_its_bytes_are_the_compulsory_ones(by_hand: ms.Result) -> None:
    moved = accesses(by_hand.schedule)
    assert moved.dram_read.sum() == 4 * 16 * 16 * 32
    assert moved.dram_write.sum() == 4 * 8 * 8 * 32


def test_the_address_generator_reads_each_tap_but_the_padding(by_hand: ms.Result) -> None:
    """Of 8 x 8 windows of 9, those of the first line lack three taps, those of the first column three more."""
    moved, taps = accesses(by_hand.schedule), (3 * 8 - 1) ** 2
    assert moved.sram_read.sum() == 4 * 32 * taps + 4 * 8 * 8 * 32  # and what is stored


def test_its_cycles_are_the_elements_of_each_tap_over_the_lanes(by_hand: ms.Result) -> None:
    schedule = by_hand.schedule
    there = machine(vector__lanes=32, vector__simple_cost=1, sram__bytes="1MiB")
    busy = cost.costs(schedule, there).busy[schedule.stream["opcode"] == Opcode.VECTOR]
    assert busy.sum() == 9 * 8 * 8 * 32 // 32


def test_narrow_ports_of_the_sram_set_the_pace() -> None:
    """What the address generator reads passes the port: of one operation, all taps but the padding."""
    g, x = image(1, 4, 4, 8)
    g.output(g.max_pool(x, 3, strides=1, pads=1), "y")
    there = machine(vector__lanes=65536, sram__read_bytes_per_cycle=16)
    schedule = ms.compile_graph(g, there)
    busy = cost.costs(schedule, there).busy[schedule.stream["opcode"] == Opcode.VECTOR]
    assert busy.tolist() == [(3 * 4 - 2) ** 2 * 8 * 4 // 16]


def test_its_numbers(by_hand: ms.Result) -> None:
    assert by_hand.outputs["y"].shape == (1, 8, 8, 32)


# -- shapes and counts ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "pad", "ceil", "expected"),
    [
        (7, 2, 2, 0, False, 3),
        (7, 2, 2, 0, True, 4),
        (6, 3, 2, 1, False, 3),
        (6, 3, 2, 1, True, 4),
        (5, 1, 3, 1, True, 2),  # the third window would begin behind the image: it is none
        (5, 7, 1, 3, False, 5),
    ],
)
def test_sizes(size: int, kernel: int, stride: int, pad: int, ceil: bool, expected: int) -> None:
    g, x = image(1, size, size, 2)
    assert g.max_pool(x, kernel, strides=stride, pads=pad, ceil=ceil).shape == (1, expected, expected, 2)
    g, x = image(1, size, 2)
    assert g.max_pool(x, kernel, strides=stride, pads=pad, ceil=ceil).shape == (1, expected, 2)


def test_what_a_mean_is_divided_by() -> None:
    """What lies in the image; with `count_pad` in the padding, too, but not in what rounding up adds."""
    ones = np.ones((1, 4, 4, 1), np.float32)
    for count_pad, expected in ((False, [1, 1, 1]), (True, [4 / 9, 6 / 9, 2 / 6])):
        g, x = image(1, 4, 4, 1)
        g.output(g.average_pool(x, 3, strides=2, pads=1, ceil=True, count_pad=count_pad), "y")
        found = ms.run(g, machine(), inputs={"x": ones}).outputs["y"]
        assert found[0, 0, :, 0] == pytest.approx(expected)


def test_a_mean_of_as_many_everywhere_is_divided_by_a_number() -> None:
    g, x = image(2, 8, 8, 3)
    g.output(g.average_pool(x, 2), "y")
    assert [g.tensors[name].shape for name in g.nodes[0].inputs] == [(2, 8, 8, 3), ()]
    g, x = image(2, 8, 8, 3)
    g.output(g.average_pool(x, 3, pads=1), "y")
    assert [g.tensors[name].shape for name in g.nodes[0].inputs] == [(2, 8, 8, 3), (2, 3, 3, 1)]


def test_what_has_no_meaning_is_refused() -> None:
    g, x = image(1, 8, 8, 6)
    for call, text in (
        (lambda: g.max_pool(x, 9), "the kernel, 9 x 9, does not fit into the padded image"),
        (lambda: g.average_pool(x, 9), "the kernel, 9 x 9, does not fit into the padded image"),
        (lambda: g.max_pool(x, 0), "kernel must be from 1 to 1048576, not"),
        (lambda: g.max_pool(x, (1, 2, 3)), "kernel must be a number or a pair, not"),
        (lambda: g.average_pool(x, 2, pads=-1), "pads must be from 0"),
        (lambda: g.max_pool(g.reshape(x, (8, 48)), 2), "a pooling is of .images, height, width, channels."),
        (lambda: g.global_average_pool(g.reshape(x, (8, 48))), "images must be"),
        (lambda: g.max_pool(g.reshape(x, (1, 64, 6)), (2, 2)), "must have one line"),
    ):
        with pytest.raises(ShapeError, match=text):
            call()
    with pytest.raises(ShapeError, match=r"of i8 \(int8\) a window would have nothing but padding"):
        g.max_pool(g.input("i8", (1, 4, 4, 2), dtype="int8"), 2, pads=2)
    with pytest.raises(UnsupportedError, match="operands must be"):
        g.sum_pool(g.input("i", (1, 4, 4, 2), dtype="int8"), 2)


# -- reductions, and windows across channels -----------------------------------------------------------


def test_a_reduction_over_the_pixels_of_images_is_a_pooling() -> None:
    """Of integers there are maxima alone; over other axes rows are reduced."""
    g, x = image(2, 5, 7, 24)
    assert g.reduce_mean(x, (1, 2)).shape == (2, 1, 1, 24)
    assert g.reduce_sum(x, (-2, 1), keepdims=False).shape == (2, 24)
    assert g.reduce_max(g.input("s", (3, 9, 8)), 1).shape == (3, 1, 8)
    assert [node.op for node in g.nodes] == ["AveragePool", "SumPool", "Reshape", "MaxPool"]
    g, x = image(2, 5, 7, 24)
    g.reduce_mean(x, 1)
    g.reduce_sum(g.input("i", (2, 5, 8), dtype="int32"), 1)
    assert not {"AveragePool", "SumPool"} & {node.op for node in g.nodes}


def test_a_window_across_channels_by_hand() -> None:
    """Three channels, of which the first and the last lack a neighbour: (1 + 2, 1 + 2 + 4, 2 + 4)."""
    g, x = image(1, 1, 2, 3)
    g.output(g.channel_sum(x, 1, 1), "y")
    g.output(g.channel_sum(x, 0, 9), "to_the_end")
    result = ms.run(g, machine(), inputs={"x": np.array([1, 2, 4, 10, 20, 40], np.float32).reshape(1, 1, 2, 3)})
    assert result.outputs["y"].reshape(-1).tolist() == [3, 7, 6, 30, 70, 60]
    assert result.outputs["to_the_end"].reshape(-1).tolist() == [7, 6, 4, 70, 60, 40]
    assert accesses(result.schedule).sram_read.sum() == 4 * 2 * ((2 + 3 + 2) + (3 + 2 + 1) + 2 * 3)
    with pytest.raises(ShapeError, match="a window of channels must have from 1"):
        g.channel_sum(x, -1, 2)
    with pytest.raises(ShapeError, match="size must be at least 1, not 0"):
        g.lrn(x, 0)


def test_an_even_window_has_one_channel_more_behind() -> None:
    """ONNX: from c - floor((size - 1) / 2) to c + ceil((size - 1) / 2)."""
    g, x = image(1, 1, 1, 5)
    g.output(g.lrn(x, 4, alpha=2.0, beta=1.0, bias=3.0), "y")
    values = np.array([1, 2, 3, 4, 5], np.float32)
    found = ms.run(g, machine(), inputs={"x": values.reshape(1, 1, 1, 5)}).outputs["y"].reshape(-1)
    squares = [1 + 4 + 9, 1 + 4 + 9 + 16, 4 + 9 + 16 + 25, 9 + 16 + 25, 16 + 25]
    assert found == pytest.approx([value / (3 + 0.5 * total) for value, total in zip(values, squares, strict=True)])


# -- what one operation takes ---------------------------------------------------------------------------


def test_all_taps_if_they_fit_and_else_whole_tiles_of_them() -> None:
    whole = Geometry(1, 112, 112, (112, 112), (1, 1), (1, 1), (0, 0, 0, 0))

    def needed(height: int, taps: int) -> int:
        return height * taps

    assert choose(whole, 1, 128, needed, 4 * 12544) == (1, 12544)
    assert choose(whole, 1, 128, needed, 10_000) == (1, 4096)
    assert choose(whole, 1, 128, needed, 200) == (1, 64)
    small = Geometry(1, 8, 8, (3, 3), (1, 1), (1, 1), (1, 1, 1, 1))
    assert choose(small, 64, 64, needed, 64 * 18) == (64, 9)
    assert choose(small, 64, 64, needed, 64 * 6) == (32, 9) or choose(small, 64, 64, needed, 64 * 6)[1] < 9
