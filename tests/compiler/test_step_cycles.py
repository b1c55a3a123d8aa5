"""The cycles of blocks are found out once for all machines that compute alike (`step_cycles.py`)."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given, settings
from support.machines import machines

import minisim as ms
from minisim.compiler.step_cycles import computing, step_cycles
from minisim.hwmodel import cost
from minisim.hwmodel.isa import DType


@settings(deadline=None, max_examples=50)
@given(machines(), st.integers(1, 200), st.integers(1, 64), st.integers(1, 200), st.sampled_from([1, 4, 9]))
def test_the_cycles_of_a_block_depend_on_what_is_kept_alone(
    machine: ms.Machine, m: int, channels: int, n: int, taps: int
) -> None:
    sizes = channels * taps
    types = [x for x in (DType.FP32, DType.INT8, DType.BF16) if machine.matrix.rate(x)]
    for dtype in types:
        setup, busy, hold = cost.matmul_cycles(m, sizes, n, 1, machine, dtype=dtype, taps=taps)
        found = step_cycles(machine).of(m, sizes, n, channels, taps, dtype)
        assert found == (max(int(busy), int(hold + setup)),)
    others = machine.replace("dram.bandwidth=1GB/s", "dma.bytes_per_cycle=128")
    assert step_cycles(others) is step_cycles(machine)
    assert computing(machine) != computing(machine.replace("matrix.rows=3"))
