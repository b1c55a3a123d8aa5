"""The array against RTL, against SCALE-Sim's formulas, and its timing gates."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fidelity import benchmark

import minisim as ms
from minisim.hwmodel.array import block_cycles, drain_cycles, port_bytes
from minisim.hwmodel.cost import matmul_cycles
from minisim.hwmodel.energy import leakage_watts
from minisim.hwmodel.isa import Queue

DATAFLOWS = ["ws", "os", "is"]


arrays = benchmark("arrays")
CASES = [*arrays.output_stationary(), *arrays.weight_stationary()]


def test_there_are_as_many_cases_as_were_measured() -> None:
    assert len(CASES) == 64 + 32


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_rtl_to_the_cycle(case: object) -> None:
    assert case.ours() == case.truth  # type: ignore[attr-defined]


def machine(rows: int, cols: int, dataflow: str, **settings: object) -> ms.Machine:
    keys = {f"matrix.{key}": value for key, value in settings.items()}
    return ms.Machine().with_overrides({"matrix.rows": rows, "matrix.cols": cols, "matrix.dataflow": dataflow, **keys})


def scalesim(m: int, k: int, n: int, rows: int, cols: int, dataflow: str) -> int:
    """The formulas as published, reported cycles plus one."""
    if dataflow == "os":
        return math.ceil(m / rows) * math.ceil(n / cols) * (k + rows + cols - 2)
    if dataflow == "ws":
        return math.ceil(k / rows) * math.ceil(n / cols) * (m + 2 * rows + cols - 2)
    return math.ceil(k / rows) * math.ceil(m / cols) * (n + 2 * rows + cols - 2)


@pytest.mark.parametrize("dataflow", DATAFLOWS)
@pytest.mark.parametrize(("rows", "cols"), [(8, 8), (16, 4), (4, 32), (32, 32), (128, 128), (7, 13)])
def test_scalesim_mode_is_exact_on_a_thousand_gemms(rows: int, cols: int, dataflow: str) -> None:
    rng = np.random.default_rng(rows * 1000 + cols)
    m, k, n = rng.integers(1, 2000, size=(3, 1000))
    setup, busy, hold = block_cycles(m, k, n, machine(rows, cols, dataflow, model="scalesim"))
    expected = [
        scalesim(*shape, rows, cols, dataflow) for shape in zip(m.tolist(), k.tolist(), n.tolist(), strict=True)
    ]
    assert busy.tolist() == expected
    assert hold.tolist() == expected  # nothing of the next operation is hidden
    assert not setup.any()


@pytest.mark.parametrize("dataflow", DATAFLOWS)
def test_scalesim_mode_in_a_run(dataflow: str) -> None:
    """One tile that covers the GEMM: the matrix unit is busy for exactly SCALE-Sim's cycles."""
    m, k, n = 100, 60, 70
    scale = machine(16, 8, dataflow, model="scalesim").with_overrides(
        {"tile.m": m, "tile.k": k, "tile.n": n, "sram.bytes": "1MiB"}
    )
    result = ms.run(ms.load_model(f"gemm:{m}x{k}x{n}"), scale)
    assert result.times.busy(result.schedule, Queue.MATRIX) == scalesim(m, k, n, 16, 8, dataflow)


@pytest.mark.parametrize(("dataflow", "overlap"), list(itertools.product(DATAFLOWS, ["full", "drain", "none"])))
def test_the_event_model_agrees_with_the_formula(dataflow: str, overlap: str) -> None:
    """Two blocks in a row: the second begins when the first no longer holds the array."""
    m, k, n = 24, 40, 20
    there = machine(8, 16, dataflow, overlap=overlap, gap_cycles=3, multiplier_latency=2, adder_latency=4)
    there = there.with_overrides({"tile.m": m, "tile.k": k, "tile.n": n, "dma.bytes_per_cycle": 4096})
    result = ms.run(ms.load_model(f"gemm:{m}x{2 * k}x{n}"), there)
    executes = result.schedule.stream["queue"] == Queue.MATRIX
    first, second = result.times.start[executes]
    setup, busy, hold = (int(x) for x in block_cycles(m, k, n, there))
    period = max(hold + setup, busy)
    waited = result.times.waited_for[executes][1]
    assert waited or second - first == setup + hold
    assert np.diff(result.times.begin[executes])[0] >= period
    assert result.times.end[executes][0] == first + setup + busy + drain_cycles(there)
    assert result.max_abs_error is not None
    assert result.max_abs_error < 1e-5


@pytest.mark.parametrize(
    ("dataflow", "passes"),
    # of A, B and C: m x k x n = 24 x 40 x 20 on 8 rows and 16 columns
    [("ws", (2, 1, 5)), ("is", (1, 2, 5)), ("os", (2, 3, 1))],
)
def test_sram_ports_bind_when_they_are_narrower_than_the_array_needs(dataflow: str, passes: tuple[int, ...]) -> None:
    m, k, n = 24, 40, 20
    a, b, c = passes
    read = 4 * (m * k * a + k * n * b + m * n * (c - 1))  # the first step clears: it does not read its sums
    written = 4 * m * n * c
    there = machine(8, 16, dataflow)
    _, busy, hold = block_cycles(m, k, n, there)
    for key, size in (("read", read), ("write", written)):
        wide, narrow = size // int(busy) + 1, max(1, size // int(busy) // 3)
        for width in (wide, narrow):
            ported = there.with_overrides({f"sram.{key}_bytes_per_cycle": width})
            _, ported_busy, ported_hold = matmul_cycles(m, k, n, 0, ported)
            assert ported_busy == max(busy, math.ceil(size / width))
            assert ported_busy - ported_hold == busy - hold


@given(
    st.integers(1, 300),
    st.integers(1, 300),
    st.integers(1, 300),
    st.integers(1, 40),
    st.integers(1, 40),
    st.sampled_from(DATAFLOWS),
)
def test_no_array_is_faster_than_its_multipliers_and_overlap_only_helps(
    m: int, k: int, n: int, rows: int, cols: int, dataflow: str
) -> None:
    total = {}
    for overlap in ("full", "drain", "none"):
        setup, busy, _ = block_cycles(m, k, n, machine(rows, cols, dataflow, overlap=overlap))
        assert busy * rows * cols >= m * k * n
        total[overlap] = int(setup + busy)
    assert total["full"] <= total["drain"] <= total["none"]


# -- several arrays per core ---------------------------------------------------------------------------------


def dealt(m: int, k: int, n: int, there: ms.Machine, packed: int = 1, passes: int = 1) -> int:
    """Cycles from the first shift to the last stream of the busiest array, fold by fold.

    Of all ways to split it is the one with the shortest period, and then with the fewest parts. A column of folds (or a
    part of its stream) goes to one array; os deals its folds one by one. `packed` steps of k are one, and a step
    takes `passes` cycles.
    """
    x, k = there.matrix, math.ceil(k / packed)
    if x.dataflow == "os":
        folds = [k * passes] * (math.ceil(m / x.rows) * math.ceil(n / x.cols))
        return max(sum(folds[i :: x.arrays]) for i in range(x.arrays))
    across, stream = (n, m) if x.dataflow == "ws" else (m, n)
    columns, heights = math.ceil(across / x.cols), [min(x.rows, k - at) for at in range(0, k, x.rows)]
    ways = []
    for parts in range(1, x.arrays + 1):
        groups = x.arrays // parts
        most = max(len(range(g, columns, groups)) for g in range(groups))
        longest = math.ceil(stream / parts) * passes
        fold_by_fold = most * heights
        if x.overlap == "full":
            period = sum(max(longest, height) for height in fold_by_fold)
            total = fold_by_fold[0] + sum(max(longest, height) for height in fold_by_fold[1:]) + longest
        else:
            period = total = sum(height + longest for height in fold_by_fold)
        ways.append((period, parts, total))
    return min(ways)[2]


@given(
    st.integers(1, 200),
    st.integers(1, 100),
    st.integers(1, 200),
    st.integers(1, 9),
    st.integers(1, 40),
    st.integers(1, 40),
    st.sampled_from(DATAFLOWS),
    st.sampled_from(["full", "drain"]),
    st.sampled_from([(1, 1), (4, 1), (1, 3)]),
)
def test_arrays_share_the_folds_of_a_block(
    m: int, k: int, n: int, arrays: int, rows: int, cols: int, dataflow: str, overlap: str, rate: tuple[int, int]
) -> None:
    packed, passes = rate
    there = machine(rows, cols, dataflow, overlap=overlap, arrays=arrays, fp32_rate=f"{packed}/{passes}")
    setup, busy, hold = block_cycles(m, k, n, there)
    assert setup + busy == dealt(m, k, n, there, packed, passes)
    assert 0 <= hold <= busy
    assert busy * arrays * rows * cols * packed >= m * k * n * passes  # no more than all their MACs


@pytest.mark.parametrize("overlap", ["full", "drain", "none"])
@pytest.mark.parametrize("dataflow", DATAFLOWS)
@pytest.mark.parametrize("arrays", [2, 4, 7])
def test_with_a_column_of_folds_for_each_array_it_is_as_one_array_alone(
    dataflow: str, overlap: str, arrays: int
) -> None:
    """Perfect speed-up: m x k x n on each array, side by side along what the dataflow spreads over them."""
    m, k, n = 16, 40, 16
    one = block_cycles(m, k, n, machine(8, 16, dataflow, overlap=overlap, gap_cycles=2))
    wide = (m * arrays, k, n) if dataflow == "is" else (m, k, n * arrays)
    many = block_cycles(*wide, machine(8, 16, dataflow, overlap=overlap, gap_cycles=2, arrays=arrays))
    assert [int(x) for x in many] == [int(x) for x in one]


def test_arrays_left_over_stream_their_part_of_the_rows() -> None:
    """One column of folds and a long stream: each array holds the same weights, and reads them for itself."""
    there = machine(8, 16, "ws", arrays=4)
    m, k, n = 400, 8, 16
    setup, busy, _ = block_cycles(m, k, n, there)
    assert (setup, busy) == (8, m // 4)
    moved = port_bytes(m, k, n, there, result=4)
    assert moved.read == 4 * (m * k + 4 * k * n)
    assert (moved.written, moved.sums_read, moved.sums_written) == (4 * m * n, 0, 0)


def test_arrays_do_not_split_a_stream_shorter_than_the_next_weights_shift() -> None:
    """Four folds along k with 8 rows each: halving a stream of 8 gains nothing, so the weights are read once."""
    there = machine(8, 16, "ws", arrays=2)
    m, k, n = 8, 32, 16
    setup, busy, hold = block_cycles(m, k, n, there)
    assert (setup, busy, hold) == block_cycles(m, k, n, machine(8, 16, "ws"))
    moved = port_bytes(m, k, n, there)
    assert moved.read == 4 * (m * k + k * n)
    assert moved.sums_read == 4 * 3 * m * n


@pytest.mark.parametrize("dataflow", DATAFLOWS)
def test_two_arrays_in_a_run_give_the_same_bits_in_half_the_array_cycles(dataflow: str) -> None:
    model = ms.load_model("gemm:64x64x64")
    fast = {"dma.bytes_per_cycle": 4096, "dram.bandwidth": "4096GB/s", "tile.m": 64, "tile.k": 64, "tile.n": 64}
    one, two = (ms.run(model, machine(16, 16, dataflow, arrays=a).with_overrides(fast)) for a in (1, 2))
    assert one.output_sha256 == two.output_sha256
    assert one.times.busy(one.schedule, Queue.MATRIX) == 2 * two.times.busy(two.schedule, Queue.MATRIX)
    matrix_bound = two.record().work.bound(two.machine).matrix
    assert matrix_bound == math.prod((64, 64, 64)) / (2 * 16 * 16)
    watts = [leakage_watts(run.machine) for run in (one, two)]
    assert watts[1] - watts[0] == one.machine.energy.pe_leakage * 16 * 16
