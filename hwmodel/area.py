"""A proxy for the area of a machine's chip, to compare machines with each other: arithmetic and on-chip memory.

The prices are of a 45 nm process. Arithmetic: M. Horowitz, "Computing's energy problem", ISSCC 2014, and the areas
that W. Dally's tutorials give beside its energies: a multiplier and an adder of its sums for each processing element
and step of its rate, an fp32 multiplier and adder for each vector lane. Memory: a 6T cell of 0.346 um^2 (Intel's, 45
nm), of which a macro is taken to be half. Left out: wires, control, the DMA, the network, pads. So ratios of machines
mean something where these are alike; square millimetres do not.
"""

from __future__ import annotations

from minisim.hwmodel.config import Machine
from minisim.hwmodel.isa import PAIRS, DType

MULTIPLIER_UM2 = {DType.INT8: 282, DType.UINT8: 282, DType.INT16: 564, DType.BF16: 1640, DType.FP16: 1640,
                  DType.FP32: 7700}  # fmt: skip
"""Of one multiplier by the type of A. INT16 is multiplied with INT8: as two of those."""

ADDER_UM2 = {DType.INT32: 137, DType.FP32: 4184}
"""Of one adder by the type of the sums."""

BIT_UM2 = 0.346 / 0.5
"""Of a bit of on-chip memory, with what surrounds the cells."""

UM2_PER_MM2 = 1_000_000


def area_mm2(machine: Machine) -> float:
    """Square millimetres of arrays, vector units, scratchpads, accumulator memories and L2, of all cores."""
    sums = next(total for (a, _), total in PAIRS.items() if a == machine.dtype)
    element = (MULTIPLIER_UM2[machine.dtype] + ADDER_UM2[sums]) * float(machine.matrix.rate(machine.dtype) or 1)
    lane = MULTIPLIER_UM2[DType.FP32] + ADDER_UM2[DType.FP32]
    memory = 8 * (machine.sram.bytes + machine.accumulator.bytes) * BIT_UM2
    core = machine.matrix.elements * element + machine.vector.lanes * lane + memory
    return (machine.cores.count * core + 8 * machine.l2.bytes * BIT_UM2) / UM2_PER_MM2
