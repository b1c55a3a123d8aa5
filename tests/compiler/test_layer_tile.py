"""`matrix.model = "scalesim"`: tiles follow the layer, and the array's cycles are SCALE-Sim's whatever the SRAM."""

from __future__ import annotations

from math import ceil

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import minisim as ms
from minisim.errors import CapacityError
from minisim.hwmodel.isa import Opcode, Queue


def scalesim(rows: int, cols: int, dataflow: str = "ws", **overrides: object) -> ms.Machine:
    keys = {"matrix.model": "scalesim", "matrix.rows": rows, "matrix.cols": cols, "matrix.dataflow": dataflow}
    return ms.Machine().with_overrides(keys | {key.replace("__", "."): value for key, value in overrides.items()})


def array_cycles(model: str, machine: ms.Machine) -> tuple[int, int]:
    """Cycles for which the array is busy, and on how many operations."""
    result = ms.run(ms.load_model(model), machine, numerics=False)
    executes = int((result.schedule.stream["opcode"] == Opcode.EXECUTE).sum())
    return result.times.busy(result.schedule, Queue.MATRIX), executes


def formula(m: int, k: int, n: int, rows: int, cols: int, dataflow: str) -> int:
    """Samajdar et al., ISPASS 2020: folds, each of the streamed dimension's length and the array's edges."""
    match dataflow:
        case "ws":
            return ceil(k / rows) * ceil(n / cols) * (m + 2 * rows + cols - 2)
        case "is":
            return ceil(k / rows) * ceil(m / cols) * (n + 2 * rows + cols - 2)
    return ceil(m / rows) * ceil(n / cols) * (k + rows + cols - 2)


@pytest.mark.parametrize(
    ("model", "cycles"), [("gemm:4500x64x64", 4690), ("gemm:256x256x256", 16 * (128 + 64 + 256 - 2))]
)
def test_a_layer_is_one_operation_however_long(model: str, cycles: int) -> None:
    assert array_cycles(model, scalesim(64, 64, sram__bytes="16MiB")) == (cycles, 1)


def test_what_the_sram_cannot_hold_is_cut_at_folds() -> None:
    assert array_cycles("gemm:256x256x256", scalesim(64, 64)) == (7136, 8)
    with pytest.raises(CapacityError, match="at least 2320384 bytes"):
        array_cycles("gemm:4500x64x64", scalesim(64, 64))


@settings(max_examples=60)
@given(st.data())
def test_the_sum_over_folds_is_the_formulas_whatever_the_sram(data: st.DataObject) -> None:
    m, k, n = (data.draw(st.integers(1, 300)) for _ in range(3))
    rows, cols = (data.draw(st.sampled_from([4, 16, 24, 64])) for _ in range(2))
    dataflow = data.draw(st.sampled_from(["ws", "os", "is"]))
    sram = data.draw(st.sampled_from([16, 32, 64, 128, 2048])) * 1024
    try:
        busy, executes = array_cycles(f"gemm:{m}x{k}x{n}", scalesim(rows, cols, dataflow, sram__bytes=sram))
    except CapacityError:
        assume(False)
    assert busy == formula(m, k, n, rows, cols, dataflow)
    assert executes == 1 or sram < 2048 * 1024


def test_an_edge_that_is_written_counts() -> None:
    """Three tiles of 100, 100 and 56 rows stream apart, each with the array's edges."""
    folds = 4 * 4
    busy, executes = array_cycles("gemm:256x256x256", scalesim(64, 64, sram__bytes="16MiB", tile__m=100))
    assert (busy, executes) == (folds * (256 + 3 * (128 + 64 - 2)), 3)


def test_other_operators_do_not_take_tiles_of_whole_layers() -> None:
    result = ms.run(ms.load_model("softmax:256x64"), scalesim(64, 64), numerics=False)
    assert result.schedule.tiles["rows"].max() == 64
