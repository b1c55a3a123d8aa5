"""What operands of a convolution must be gathered from: the engine derives it from the table `convolutions`."""

from __future__ import annotations

import numpy as np
import pytest
from support import mutants_windows
from support.machines import machine

import minisim as ms
from minisim import EngineConfig
from minisim.errors import ScheduleError


@pytest.fixture(scope="module")
def schedule() -> ms.Schedule:
    """Images of 6 x 7 pixels; two groups of 34 channels, so two blocks each, one of them of two; padding; strides."""
    g = ms.Graph()
    x = g.input("x", (2, 6, 7, 68))
    w = g.weight("w", shape=(3, 2, 34, 10))
    g.output(g.conv2d(x, w, strides=(2, 1), dilations=(1, 2), pads=(1, 0, 1, 2), groups=2), "y")
    return ms.compile_graph(g, machine(tile__k=40, tile__m=9), numerics=False)


@pytest.fixture(scope="module")
def transposed() -> ms.Schedule:
    """Images of 5 x 4 pixels, of which the output has more than there are; two groups of 34 channels."""
    g = ms.Graph()
    x = g.input("x", (2, 5, 4, 68))
    w = g.weight("w", shape=(3, 2, 34, 10))
    g.output(g.conv_transpose2d(x, w, strides=(2, 3), dilations=(1, 2), pads=(1, 0, -1, 2), groups=2), "y")
    return ms.compile_graph(g, machine(tile__k=40, tile__m=9), numerics=False)


def load(schedule: ms.Schedule) -> None:
    ms.Engine(EngineConfig(schedule.sram_bytes)).load_schedule(schedule)


def refuses(schedule: ms.Schedule) -> bool:
    try:
        load(schedule)
    except ScheduleError:
        return True
    return False


def test_what_a_convolution_is(schedule: ms.Schedule) -> None:
    (row,) = schedule.convolutions
    names = [name for name in row.dtype.names if not name.endswith(("_row", "_col"))][3:]
    assert [int(row[name]) for name in names] == [2, 6, 7, 3, 7, 3, 2, 2, 1, 1, 2, 1, 0, 34, 2, 5, 32, 0]
    text = next(line for line in schedule.lines() if line.startswith("convolution 0: "))
    assert "conv[0, 0] of x[0, 0] with w.k[0, 0], images=2 height=6" in text
    load(schedule)


@pytest.mark.parametrize("kind", ["schedule", "transposed"])
@pytest.mark.parametrize("mutation", mutants_windows.WINDOW_MUTATIONS, ids=lambda f: f.__name__)
def test_another_operand_is_refused_and_without_the_row_it_would_not_be(
    mutation: object, kind: str, request: pytest.FixtureRequest
) -> None:
    """Some in-bounds change of each kind; all that passes is what changes nothing."""
    assert callable(mutation)
    schedule = request.getfixturevalue(kind)
    load(schedule)
    rng = np.random.default_rng(5)
    silent = 0
    for _ in range(40):
        mutant = mutation(schedule, rng)
        if mutant is None:
            continue
        if refuses(mutant.replace(convolutions=mutant.convolutions[:0])):
            continue  # beyond a tile, or an operand
        silent += refuses(mutant)
    whole = ("exchange_operands", "exchange_filters")  # of which a small image has no two that fit
    assert silent > 3 or (kind == "transposed" and mutation.__name__ in whole)


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("x", 99, "convolutions[0]: x must be below"),
        ("block", 33, "block must be from 1 to 32, not 33"),
        ("groups", 0, "sizes, steps and counts must be from 1 to 2147483647"),
        ("height", 2**31, "sizes, steps and counts must be from 1 to 2147483647"),
        ("height", 2**31 - 1, "x has no such part: its shape is (84, 68)"),
        ("kernel_lines", 4, "filters has no such part: its shape is (204, 10)"),
        ("filters_each", 6, "no such part"),
        ("y_row", 1, "y has no such part: its shape is (42, 10)"),
        ("pad_top", 2**31, "padding must be at most 2147483647"),
        ("pad_left", 1, "matmuls["),
        ("stride_lines", 1, "matmuls["),
        ("dilation_columns", 1, "matmuls["),
        ("channels", 33, "matmuls["),
        ("block", 31, "matmuls["),
        ("transposed", 1, "matmuls["),
        ("transposed", 2, "transposed must be 0 or 1, not 2"),
        ("filters", 0, "filters has no such part: its shape is (84, 68)"),
    ],
)
def test_a_row_that_is_not_so(schedule: ms.Schedule, field: str, value: int, text: str) -> None:
    table = schedule.convolutions.copy()
    table[field] = value
    with pytest.raises(ScheduleError) as e:
        load(schedule.replace(convolutions=table))
    assert text in str(e.value)
