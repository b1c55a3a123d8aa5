"""What steps of k cost on an array, found out once: tilings of a layer, and points of a sweep, ask for the same ones.

The cycles of a block depend on its sizes and its type, on the array, and on the ports and banks of its memories: not on
how large these are, nor on what is behind them (`computing`).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from minisim.compiler.geometry import steps
from minisim.hwmodel import cost
from minisim.hwmodel.config import Machine
from minisim.hwmodel.isa import DType

KNOWN = 1 << 14
"""Sizes of blocks that are remembered for an array."""


class StepCycles:
    """The matrix unit's cycles for blocks of convolutions, on machines that compute like `machine`."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self.of = lru_cache(maxsize=KNOWN)(self._of)

    def _of(self, m: int, k: int, n: int, channels: int, taps: int, dtype: DType) -> tuple[int, ...]:
        """Cycles for each step of at most `k` of a whole tile of m x n, one after the other (`geometry.steps`)."""
        depth = steps(channels, taps, k)
        sizes, of_taps = (np.array([getattr(step, name) for step in depth]) for name in ("size", "taps"))
        setup, busy, hold = cost.matmul_cycles(m, sizes, n, 1, self._machine, dtype=dtype, taps=of_taps)
        return tuple(np.maximum(busy, hold + setup).tolist())


@lru_cache(maxsize=64)
def step_cycles(machine: Machine) -> StepCycles:
    """Those of an array: one object for all machines that compute alike."""
    return _known(computing(machine))


def computing(machine: Machine) -> Machine:
    """`machine` with the keys that the cycles of a block depend on (`cost.matmul_cycles`), and all others as they are
    by default."""
    plain = Machine()
    sections = {name: getattr(machine, name) for name in ("matrix", "sparsity")}
    memories = {name: getattr(machine, name).model_copy(update={"bytes": getattr(plain, name).bytes})
                for name in ("sram", "accumulator")}  # fmt: skip
    if machine.accumulator.bytes:  # that there is one counts
        memories["accumulator"] = memories["accumulator"].model_copy(update={"bytes": 1})
    return plain.model_copy(update=sections | memories)


_known = lru_cache(maxsize=16)(StepCycles)
