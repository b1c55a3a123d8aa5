"""How much memory a run may take for values: one limit, and who is held to it before anything is allocated.

Shapes cost nothing; what costs is arrays: a constant that the ONNX front end computes, and with numerics every tensor,
in the host's arrays, in the engine's DRAM, and in what the values are checked against. The schedule is another matter
(`MAX_OPERATIONS`).
"""

from __future__ import annotations

import math

from minisim.compiler.dtypes import HELD_AS, is_integer
from minisim.compiler.graph import Graph
from minisim.errors import MemoryLimitError
from minisim.hwmodel.config import Machine
from minisim.hwmodel.isa import DType

MEMORY_LIMIT = 4 * 2**30
"""The bytes that values may take where nobody says otherwise."""

WIDE = 8
"""The bytes of an element in the check, and in the calibration of int8: float64 or int64."""


class Budget:
    """The bytes that may still be allocated for values.

    Args:
        limit: bytes in all.
    """

    def __init__(self, limit: int = MEMORY_LIMIT) -> None:
        self.limit = limit
        self.taken = 0
        self._largest = 0, ""  # of what is taken, and for what

    def take(self, size: int, what: str, instead: str = "") -> None:
        """Count `size` bytes for `what`, which are allocated after this.

        Raises:
            MemoryLimitError: all that was counted, and this, would be more than the limit.
        """
        if self.taken + size > self.limit:
            most, largest = self._largest
            before = ""
            if self.taken:
                before = f" beside {in_units(self.taken)}, of which {largest} takes {in_units(most)}: too much together"
            raise MemoryLimitError(
                f"{what} would take {in_units(size)} of memory{before}; the limit is {in_units(self.limit)} "
                f"(--memory-limit, memory_limit){instead}"
            )
        self.taken += size
        self._largest = max(self._largest, (size, what))


def check_numerics(graph: Graph, machine: Machine, limit: int) -> None:
    """Confirm that `graph` can be computed within `limit` bytes.

    Per element: its type in the host's array and in the engine's DRAM; 8 bytes more of what int8 is calibrated on, and
    of what is checked in double precision. Beside them the engine's SRAM.

    Raises:
        MemoryLimitError: it cannot.
    """
    budget, instead = Budget(limit), "; without numerics (--no-numerics) shapes are enough"
    cores = machine.cores.count
    sram = "the SRAM" if cores == 1 else f"the SRAM of {cores} cores"
    budget.take(cores * (machine.sram.bytes + machine.accumulator.bytes), sram, instead)
    calibrated = machine.dtype == DType.INT8
    for tensor in graph.tensors.values():
        if tensor.window is not None:
            continue  # it has no values of its own
        wide = WIDE if tensor.is_weight or (calibrated and not is_integer(tensor.dtype)) else 0
        each = 2 * HELD_AS[tensor.dtype].itemsize + wide
        budget.take(math.prod(tensor.shape) * each, f"tensor {tensor.name!r} {tensor.shape}", instead)


def in_units(size: int) -> str:
    """The bytes for people: ``15.7 GiB``."""
    value, units = float(size), ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"]
    while value >= 1024 and len(units) > 1:
        value, units = value / 1024, units[1:]
    return f"{value:.4g} {units[0]}"
