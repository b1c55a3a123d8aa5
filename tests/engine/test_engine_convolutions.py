"""What operands of a convolution must be gathered from: the engine derives it from the table `convolutions`."""

from __future__ import annotations

import numpy as np
import pytest
from support import mutants_windows
from support.machines import machine

import minisim as ms
from minisim import EngineConfig
from minisim.errors import ScheduleError
from minisim.hwmodel.isa import NONE, VectorOp


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
    """Images of 5 x 4 pixels, of which the output has more than there are: six phases; two groups of 34 channels."""
    g = ms.Graph()
    x = g.input("x", (2, 5, 4, 68))
    w = g.weight("w", shape=(5, 6, 34, 10))
    g.output(g.conv_transpose2d(x, w, strides=(2, 3), dilations=(1, 2), pads=(1, 0, -1, 2), groups=2), "y")
    return ms.compile_graph(g, machine(tile__k=40, tile__m=9), numerics=False)


@pytest.fixture(scope="module")
def folds() -> ms.Schedule:
    """Windows that overlap and that do not, in steps of a few taps; channels in two columns of tiles, the last of which
    is narrow; weights; and neighbouring channels."""
    g = ms.Graph()
    x = g.max_pool(g.input("x", (2, 9, 8, 40)), (3, 2), strides=(2, 1), pads=(1, 0, 1, 1))
    y = g.conv2d(x, g.weight("w", shape=(3, 3, 1, 40)), pads=1, groups=40)
    y = g.relu(g.add(y, g.weight("b", shape=(40,))))
    g.output(g.channel_sum(y, 2, 1), "y")
    return ms.compile_graph(g, machine(tile__n=32, tile__m=16, sram__bytes="12KiB"), numerics=False)


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
    assert [int(row[name]) for name in names] == [2, 6, 7, 3, 7, 3, 2, 2, 1, 1, 2, 1, 0, 34, 2, 5, 32, 0, 6, 0]
    text = next(line for line in schedule.lines() if line.startswith("convolution 0: "))
    assert "conv[0, 0] of x[0, 0] with w.k[0, 0], images=2 height=6" in text
    load(schedule)


def test_what_a_fold_is(folds: ms.Schedule) -> None:
    """Of each cut of a chain there is a row: its last one has all taps."""
    table, names = folds.convolutions, folds.tensor_names
    assert (folds.vectors["acc"] != NONE).any()
    of = {names[row["y"]]: row for row in table}
    pool, depthwise, sums = (row for name, row in of.items() if "partial" not in name)
    assert (pool["filters"], names[depthwise["filters"]], sums["filters"]) == (NONE, "w.k", NONE)
    assert [int(row["taps"]) for row in (pool, depthwise, sums)] == [6, 9, 4]
    assert [int(row["along_channels"]) for row in (pool, depthwise, sums)] == [0, 0, 1]
    partial = [int(row["taps"]) for name, row in of.items() if "partial" in name]
    assert partial and all(0 < taps < 9 for taps in partial)
    text = next(line for line in folds.lines() if line.startswith("convolution 0: "))
    assert " of x[0, 0], images=2 height=9" in text
    load(folds)


@pytest.mark.parametrize("kind", ["schedule", "transposed", "folds"])
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
    of_folds = ("exchange_partials", "fold_other_taps")
    whole = ("exchange_operands", "exchange_filters", *of_folds)  # of which a small image has no two that fit
    none = {"schedule": of_folds, "transposed": whole, "folds": ()}
    assert silent > (0 if kind == "folds" else 3) or mutation.__name__ in none[kind]


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
        ("pad_top", -1, "padding must not be below 0"),
        ("pad_left", 1, "matmuls["),
        ("stride_lines", 1, "matmuls["),
        ("dilation_columns", 1, "matmuls["),
        ("channels", 33, "matmuls["),
        ("block", 31, "matmuls["),
        ("transposed", 1, "matmuls["),
        ("transposed", 2, "transposed must be 0 or 1, not 2"),
        ("filters", 0, "filters has no such part: its shape is (84, 68)"),
        ("filters", NONE, "filters may be NONE where each channel is a group"),
        ("taps", 0, "taps must be from 1 to 6, those of the kernel, not 0"),
        ("taps", 7, "taps must be from 1 to 6, those of the kernel, not 7"),
        ("taps", 5, "c must be no part of what folds make"),
        ("along_channels", 2, "along_channels must be 0 or 1, not 2"),
        ("along_channels", 1, "c must be no part of what folds make"),
    ],
)
def test_a_row_that_is_not_so(schedule: ms.Schedule, field: str, value: int, text: str) -> None:
    table = schedule.convolutions.copy()
    table[field] = value
    with pytest.raises(ScheduleError) as e:
        load(schedule.replace(convolutions=table))
    assert text in str(e.value)


@pytest.mark.parametrize(
    ("tensor", "field", "value", "text"),
    [
        ("maxpool", "pad_top", 0, "vectors["),
        ("maxpool", "stride_lines", 1, "the pixel that a window takes must be 0 (that of its tap), not 8"),
        ("maxpool", "kernel_columns", 3, "vectors["),
        ("maxpool", "taps", 5, "taps must be at most 5, those that dst is made of"),
        ("relu", "taps", 8, "the taps that acc is made of must be"),
        ("maxpool", "x_col", 1, "no such part"),
        ("relu", "filters_row", 1, "no such part"),
        ("relu", "dilation_columns", 2, "vectors["),
        ("channelsum", "pad_left", 1, "vectors["),
        ("channelsum", "along_channels", 0, "vectors["),
    ],
)
def test_a_fold_that_is_not_so(folds: ms.Schedule, tensor: str, field: str, value: int, text: str) -> None:
    """Of the last cut of its chain alone, or it is another chain."""
    table = folds.convolutions.copy()
    names = [folds.tensor_names[y] for y in table["y"]]
    row = next(i for i, name in enumerate(names) if name.startswith(tensor) and "partial" not in name)
    table[field][row] = value
    with pytest.raises(ScheduleError, match=r"convolutions|vectors") as e:
        load(folds.replace(convolutions=table))
    assert text in str(e.value) or "acc must be of the chain that dst is of" in str(e.value)


@pytest.mark.parametrize(
    ("column", "text"),
    [
        ("src1", "src1"),
        ("acc", "acc must hold the taps before the first of its own"),
    ],
)
def test_a_fold_has_the_weights_and_the_partial_results_of_its_taps(folds: ms.Schedule, column: str, text: str) -> None:
    vectors = folds.vectors.copy()
    row = np.flatnonzero((vectors["acc"] != NONE) & (vectors["src1"] != NONE))[-1]
    if column == "acc":
        vectors["acc"][row] = vectors["acc_sram"][row] = NONE
    else:
        others = np.flatnonzero((vectors["src1"] != NONE) & (vectors["taps"] == vectors["taps"][row]))
        other = next(i for i in others if vectors["src1"][i] != vectors["src1"][row])
        vectors["src1"][row], vectors["src1_sram"][row] = vectors["src1"][other], vectors["src1_sram"][other]
    with pytest.raises(ScheduleError) as e:
        load(folds.replace(vectors=vectors))
    assert text in str(e.value)


def test_bias_and_activation_come_behind_the_last_tap(folds: ms.Schedule) -> None:
    vectors = folds.vectors.copy()
    biased = np.flatnonzero(vectors["src2"] != NONE)
    earlier = np.flatnonzero(np.isin(vectors["dst"], vectors["acc"][biased]))
    assert len(earlier)
    assert not vectors["activation"][earlier].any()
    vectors["activation"][earlier[0]] = 1
    with pytest.raises(ScheduleError, match="bias and activation come behind the last tap"):
        load(folds.replace(vectors=vectors))


def test_only_folds_make_what_folds_make(folds: ms.Schedule) -> None:
    """Each change would give other numbers from what lies in its place."""
    later = np.flatnonzero(folds.vectors["acc"] != NONE)
    first = int(np.flatnonzero(folds.vectors["dst"] == folds.vectors["acc"][later[0]])[0])
    multiplies = folds.vectors["op"][first] == VectorOp.FOLD_FMA
    changes: list[tuple[int, dict[str, int], str]] = [
        (first, {"activation": 1}, "bias and activation come behind the last tap"),
        (first, {"op": VectorOp.RELU, "taps": 0, "src0_pieces": NONE, "src0": int(folds.vectors["dst"][first]),
                 "src1": NONE, "src1_sram": NONE, "src0_sram": int(folds.vectors["dst_sram"][first])},
         "dst must be no part of what convolutions and folds make"),
        (first, {"op": VectorOp.FOLD_SUM, "src1": NONE, "src1_sram": NONE}, "a fold multiplies if, and only if, "),
    ]  # fmt: skip
    assert multiplies
    for row, columns, text in changes:
        vectors = folds.vectors.copy()
        for column, value in columns.items():
            vectors[column][row] = value
        load(folds.replace(vectors=vectors, convolutions=folds.convolutions[:0]))
        with pytest.raises(ScheduleError) as e:
            load(folds.replace(vectors=vectors))
        assert text in str(e.value)


def test_a_fold_of_more_taps_than_there_can_be(folds: ms.Schedule) -> None:
    """Nothing is laid out for all of them."""
    table, vectors = folds.convolutions.copy(), folds.vectors.copy()
    row = int(np.flatnonzero(vectors["op"] == VectorOp.FOLD_SUM)[0])
    of = int(np.flatnonzero(table["along_channels"])[0])
    for field in ("kernel_lines", "kernel_columns", "taps"):
        table[field][of] = 2**31 - 1
    vectors["taps"][row] = 2**31 - 1
    with pytest.raises(ScheduleError, match="rows x taps must be below 2147483648"):
        load(folds.replace(vectors=vectors, convolutions=table))
