"""Data types and the accumulator memory: rates by theory, ports by type, prices by type, and what is refused."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.machines import machine

import minisim as ms
from minisim.errors import ConfigError, UnsupportedError
from minisim.hwmodel.array import block_cycles, drain_cycles, folds, port_bytes, rates
from minisim.hwmodel.config import Machine
from minisim.hwmodel.cost import matmul_cycles, roofline
from minisim.hwmodel.energy import accesses, breakdown, leakage_watts, sram_prices
from minisim.hwmodel.isa import DType, Queue

DATAFLOWS = ["ws", "os", "is"]
TYPES = {"fp32": DType.FP32, "bf16": DType.BF16, "int8": DType.INT8}
RATES = ["1", "2", "3", "8", "1/2", "1/5"]

sizes = st.integers(1, 200)
edges = st.integers(1, 33)


def typed(dtype: str, rate: str, **settings: Any) -> Machine:
    return machine(**{"matrix__dtype": dtype, f"matrix__{dtype}_rate": rate, **settings})


# -- rates ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("dataflow", DATAFLOWS)
def test_a_full_array_does_exactly_its_rate(dataflow: str, dtype: str, rate: str) -> None:
    """Blocks that fill every fold and stream for longer than they shift: MACs / (R x C x rate), to the cycle."""
    rows, cols, r = 8, 16, Fraction(rate)
    on = typed(dtype, rate, matrix__rows=rows, matrix__cols=cols, matrix__dataflow=dataflow)
    m, k, n = 3 * 16 * 8, 5 * 8 * max(1, int(r)), 7 * 16
    _, busy, _ = block_cycles(m, k, n, on)
    assert busy == Fraction(m * k * n) / (rows * cols * r)
    assert roofline(m * k * n / r, 0, 0, 0, on).cycles == busy


@given(sizes, sizes, sizes, edges, edges, st.sampled_from(DATAFLOWS), st.sampled_from(sorted(TYPES)),
       st.sampled_from(RATES), st.sampled_from(["full", "drain", "none"]))  # fmt: skip
def test_no_block_is_faster_than_its_rate(
    m: int, k: int, n: int, rows: int, cols: int, dataflow: str, dtype: str, rate: str, overlap: str
) -> None:
    on = typed(dtype, rate, matrix__rows=rows, matrix__cols=cols, matrix__dataflow=dataflow, matrix__overlap=overlap)
    _, busy, _ = (int(x) for x in block_cycles(m, k, n, on))
    assert busy * rows * cols * Fraction(rate) >= m * k * n


@given(sizes, sizes, sizes, st.sampled_from(DATAFLOWS), st.integers(2, 9))
def test_packing_is_a_shorter_k(m: int, k: int, n: int, dataflow: str, packed: int) -> None:
    """p steps of k in one: what an array of rate 1 takes for ceil(k / p) of them."""
    plain = machine(matrix__rows=7, matrix__cols=5, matrix__dataflow=dataflow)
    dense = plain.with_overrides({"matrix.int8_rate": packed})
    found = [int(x) for x in block_cycles(m, k, n, dense, DType.INT8)]
    assert found == [int(x) for x in block_cycles(m, -(-k // packed), n, plain, DType.FP32)]
    assert drain_cycles(dense) == drain_cycles(plain)


@given(sizes, sizes, sizes, st.sampled_from(DATAFLOWS), st.integers(2, 9))
def test_passes_stretch_the_stream_alone(m: int, k: int, n: int, dataflow: str, passes: int) -> None:
    plain = machine(matrix__rows=7, matrix__cols=5, matrix__dataflow=dataflow)
    slow = plain.with_overrides({"matrix.fp32_rate": f"1/{passes}"})
    of_plain, of_slow = (folds(m, k, n, on.matrix) for on in (plain, slow))
    assert of_slow.stream == passes * of_plain.stream
    assert of_slow._replace(stream=of_plain.stream) == of_plain


def test_columns_may_mix_types() -> None:
    on = machine(matrix__bf16_rate=2, matrix__int8_rate="1/4")
    codes = np.array(list(TYPES.values()))
    assert [x.tolist() for x in rates(codes, on.matrix)] == [[1, 2, 1], [1, 1, 4]]
    mixed = block_cycles(64, 128, 96, on, codes)
    alone = [block_cycles(64, 128, 96, on, code) for code in codes]
    for i, column in enumerate(mixed):
        assert column.tolist() == [int(found[i]) for found in alone]


def test_a_type_that_the_array_does_not_have() -> None:
    on = machine(matrix__int8_rate=0)
    with pytest.raises(UnsupportedError, match=r"the array has no int8 \(matrix\.int8_rate is 0\)"):
        block_cycles(1, 1, 1, on, DType.INT8)
    with pytest.raises(UnsupportedError, match="the array has no int8"):
        ms.simulate(ms.compile_graph(ms.load_model("gemm:8x8x8", "int8"), machine()), on)


# -- ports ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dataflow", "passes"),
    # of A, B and C: m x k x n = 24 x 40 x 20 on 8 rows and 16 columns
    [("ws", (2, 1, 5)), ("is", (1, 2, 5)), ("os", (2, 3, 1))],
)
@pytest.mark.parametrize(("dtype", "item", "result"), [("fp32", 4, 4), ("bf16", 2, 2), ("int8", 1, 1), ("int8", 1, 4)])
@pytest.mark.parametrize("step", [0, 3])
def test_bytes_through_the_ports(
    dataflow: str, passes: tuple[int, int, int], dtype: str, item: int, result: int, step: int
) -> None:
    """Operands by their type, sums by the accumulator's 4 bytes, the result by its own."""
    m, k, n = 24, 40, 20
    a, b, c = passes
    on = typed(dtype, "1", matrix__rows=8, matrix__cols=16, matrix__dataflow=dataflow)
    found = port_bytes(m, k, n, on, step=step, result=result)
    assert found.read == item * (m * k * a + k * n * b)
    assert (found.written, found.sums_written) == (result * m * n, 4 * m * n * (c - 1))
    assert found.sums_read == 4 * m * n * (c - 1 + (step > 0))
    left = port_bytes(m, k, n, on, step=step, result=0)
    assert (left.written, left.sums_written) == (0, 4 * m * n * c)


@pytest.mark.parametrize("side", ["read", "write"])
@pytest.mark.parametrize("apart", [False, True])
def test_sums_go_through_the_ports_of_their_memory(side: str, apart: bool) -> None:
    """int8, four folds along k: a port binds as soon as it is one byte too narrow, and only that of its memory."""
    m, k, n = 32, 32, 32
    base = typed("int8", "1", matrix__rows=8, matrix__cols=32, accumulator__bytes="8KiB" if apart else "0")
    moved = port_bytes(m, k, n, base, step=1, result=1)
    operands, sums = (moved.read, moved.sums_read) if side == "read" else (moved.written, moved.sums_written)
    _, busy, hold = (int(x) for x in matmul_cycles(m, k, n, 1, base, result=1))
    needed = {"sram": int(operands) if apart else int(operands + sums), "accumulator": int(sums) if apart else 0}
    for section, size in needed.items():
        enough = -(-size // busy) or 1  # the narrowest port that keeps up
        for width in {enough, max(1, enough - 1)}:
            on = base.with_overrides({f"{section}.{side}_bytes_per_cycle": width})
            _, found, found_hold = (int(x) for x in matmul_cycles(m, k, n, 1, on, result=1))
            assert found == max(busy, math.ceil(size / width))
            assert (found > busy) == (width * busy < size)
            assert found - found_hold == busy - hold


# -- in a run ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "rate"), [("bf16", "2"), ("int8", "4"), ("fp32", "1/2")])
def test_the_array_of_a_run_is_busy_by_its_rate(dtype: str, rate: str) -> None:
    on = typed(dtype, rate, tile__k=128, sram__bytes="1MiB")
    r = Fraction(rate)
    result = ms.run(ms.load_model("gemm:64x512x64"), on)
    executes = result.schedule.stream["queue"] == Queue.MATRIX
    each = int(block_cycles(32, 128, 32, on)[1])
    assert each == Fraction(32 * 128 * 32) / (32 * 32 * r)
    assert result.times.busy(result.schedule, Queue.MATRIX) == each * int(executes.sum()) == 64 * 512 * 64 / 1024 / r


def test_an_epilogue_that_requantises_takes_its_cycles() -> None:
    """The one block of an int8 GEMM retires epilogue_cycles later than that of int32 results."""
    ends = {}
    for scale in (None, 0.01):
        g = ms.Graph()
        w = g.weight("w", np.ones((8, 8)), "int8")
        g.output(g.matmul(g.input("x", (8, 8), dtype="int8"), w, scale=scale))
        timeline = ms.run(g, machine(matrix__epilogue_cycles=50)).times
        ends[scale] = int(timeline.end[2] - timeline.begin[2])
    assert ends[0.01] == ends[None] + 50


# -- energy --------------------------------------------------------------------------------------------------


def test_energy_goes_by_type_and_memory() -> None:
    """One int8 output tile in two steps, sums in the accumulator memory."""
    on = typed("int8", "1", accumulator__bytes="8KiB", sram__bytes="1MiB", tile__k=32)
    schedule = ms.compile_graph(ms.load_model("gemm:32x64x32", "int8"), on)
    found = breakdown(schedule, on, [0]).by_component()
    assert found["mac"] == 32 * 64 * 32 * on.energy.mac_int8
    assert found["epilogue"] == 32 * 32 * on.energy.requantize
    tile, sums = 32 * 32, 4 * 32 * 32
    big, small = sram_prices(on)[0], sram_prices(on, 2**13)[0]
    assert small < big
    assert found["sram_read"] == (4 * tile + tile) * big + sums * small  # operands, the store; the sums once
    assert found["sram_write"] == (4 * tile + tile) * big + sums * small  # loads, the result; the sums once
    moved = accesses(schedule)
    assert (moved.accumulator_read.sum(), moved.accumulator_write.sum()) == (sums, sums)
    assert moved.sram_read.sum() == 5 * tile + sums


def test_a_bias_is_added_in_its_type() -> None:
    for dtype, price in (("bf16", "vector_add"), ("int8", "add_int32")):
        g = ms.Graph()
        product = g.input("x", (8, 8)) @ g.weight("w", np.eye(8))
        g.output(product + g.weight("b", np.ones(8)))
        on = typed(dtype, "1", energy__requantize="0pJ")
        found = breakdown(ms.compile_graph(g, on), on, [0]).by_component()
        assert found["epilogue"] == 64 * getattr(on.energy, price)


def test_the_accumulator_memory_leaks_as_sram_does() -> None:
    on, more = machine(), machine(accumulator__bytes="1MiB")
    assert leakage_watts(more) - leakage_watts(on) == on.energy.sram_leakage


# -- the machine file ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "rate"), [("1/4", Fraction(1, 4)), (2, 2), ("8", 8), ("1", 1), (0, 0)])
def test_a_rate_is_read_and_written_exactly(text: object, rate: Fraction) -> None:
    on = machine(matrix__int8_rate=text)
    assert on.matrix.rate(DType.INT8) == rate
    written = {"matrix": {"int8_rate": on.flat()["matrix.int8_rate"]}, "compiler": {"effort": 0}}
    assert Machine.check(written) == on


@pytest.mark.parametrize("text", ["2/3", "-1", "1/0", "x", 0.5, True, "1/65x", 65, "-1/2"])
def test_what_is_no_rate(text: object) -> None:
    with pytest.raises(ConfigError, match=r"matrix\.bf16_rate: must be (a whole number or 1/n|at)"):
        machine(matrix__bf16_rate=text)


@pytest.mark.parametrize("dtype", TYPES)
def test_a_machine_computes_in_a_type_that_it_has(dtype: str) -> None:
    with pytest.raises(ConfigError, match=f"matrix.{dtype}_rate: must be more than 0 where matrix.dtype is '{dtype}'"):
        typed(dtype, "0")
