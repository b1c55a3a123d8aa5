"""The small NPU: its preset meets the RTL, and computes what the RTL computes."""

from __future__ import annotations

import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.fidelity import benchmark

import minisim as ms
from minisim.compiler.dtypes import requantize
from minisim.hwmodel.config import Machine
from minisim.hwmodel.cost import costs
from minisim.hwmodel.isa import Opcode

fidelity = benchmark("npu")


def test_the_machine_meets_the_rtl() -> None:
    cases = list(fidelity.cases())
    assert len(cases) == 36
    errors = [abs(case.error) for case in cases]
    assert statistics.fmean(errors) < 0.025
    assert max(errors) < 0.1
    assert statistics.fmean(abs(case.roofline / case.truth - 1) for case in cases) > 0.5


@pytest.mark.parametrize("way", [Opcode.LOAD, Opcode.STORE])
@given(rows=st.integers(1, 4), cols=st.integers(1, 4))
def test_a_transfer_takes_the_bus_as_the_rtl_does(way: Opcode, rows: int, cols: int) -> None:
    """A row is a burst: 2 cycles to its first word and 2 for each word; stores go word by word, 3 more for each."""
    machine = Machine.load(fidelity.PRESET)
    graph = ms.Graph()
    lhs, rhs = graph.input("lhs", (rows, 4), dtype="int8"), graph.weight("rhs", np.zeros((4, cols)), "int8")
    graph.output(graph.matmul(lhs, rhs, scale=1.0))
    schedule = ms.compile_graph(graph, machine)
    mine = np.flatnonzero(schedule.stream["opcode"] == way)
    words = 1  # of a row of at most 4 bytes
    expected = [rows * (2 + 2 * words), 4 * (2 + 2 * words)] if way == Opcode.LOAD else [rows * words * (2 + 2 + 3)]
    assert costs(schedule, machine).busy[mine].tolist() == expected


@settings(deadline=None, max_examples=25)
@given(
    st.sampled_from(["ws", "is"]),
    st.sampled_from(["int8", "int16"]),
    st.tuples(*[st.integers(1, 20)] * 3),
    st.integers(1, 2),
    st.integers(1, 4),
)
def test_it_computes_exactly(dataflow: str, dtype: str, size: tuple[int, int, int], m: int, n: int) -> None:
    rows, depth, cols = size
    rng = np.random.default_rng(rows * 1000 + depth * 100 + cols)
    limits = np.iinfo(dtype)
    lhs = rng.integers(limits.min, limits.max, (rows, depth), dtype=dtype, endpoint=True)
    rhs = rng.integers(-128, 127, (depth, cols), dtype=np.int8, endpoint=True)
    bias = rng.integers(-1000, 1000, cols, dtype=np.int32)
    scale = 1.0 / (limits.max * 16)
    graph = ms.Graph()
    product = graph.matmul(
        graph.input("lhs", lhs.shape, dtype=dtype), graph.weight("rhs", rhs, "int8"),
        bias=graph.weight("bias", bias, "int32"), scale=scale,
    )  # fmt: skip
    graph.output(product, "dst")
    blocks = {"matrix.dataflow": dataflow, "compiler.block_m": m, "compiler.block_n": n}
    runtime = ms.Runtime(graph, Machine.load(fidelity.PRESET).with_overrides(blocks))
    runtime.set("lhs", lhs)
    runtime.execute()
    sums = lhs.astype(np.int64) @ rhs.astype(np.int64) + bias
    assert np.array_equal(runtime.get("dst"), requantize(sums, scale))
