"""How long an operation occupies its unit: pure functions over whole columns.

Every unit is a pipeline of two stages, with four numbers per operation, in cycles:

    setup     first stage, hidden behind the second stage of the operation before
    busy      second stage: one operation at a time
    hold      the part of `busy` for which the first stage is not free for the next operation
    latency   from the end of `busy` to retirement, overlapping with whatever follows

    unit     setup                    busy                          latency
    matrix   shift an operand in      stream the other one          drain the array, epilogue
    vector   start-up                 elements / lanes x passes     pipeline depth
    DMA      decode the descriptor    the port, or DRAM if slower   DRAM latency

The event model adds only what depends on the order of events: queues, waits, and the shared DRAM. The
compiler uses the same functions, so that an estimate and a simulation cannot disagree.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from minisim.hwmodel import isa
from minisim.hwmodel.array import block_cycles, drain_cycles, sram_bytes
from minisim.hwmodel.config import Machine

__all__ = ["Costs", "Roofline", "costs", "drain_cycles", "dram_cycles", "matmul_cycles", "roofline", "vector_cycles"]

Cycles = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Costs:
    """Columns over the operations of a schedule, int64, in program order.

    Attributes:
        setup, busy, hold, latency: cycles, see the module's table. For a transfer, `busy` is the port's time.
        dram: cycles that a transfer occupies the DRAM; 0 for other operations.
        bytes: that a transfer moves; 0 for other operations.
    """

    setup: Cycles
    busy: Cycles
    hold: Cycles
    latency: Cycles
    dram: Cycles
    bytes: Cycles


def costs(schedule: isa.Schedule, machine: Machine) -> Costs:
    """The costs of all operations of `schedule`."""
    n = len(schedule)
    columns = Costs(*(np.zeros(n, dtype=np.int64) for _ in range(6)))
    opcode, row = schedule.stream["opcode"], schedule.stream["row"]

    moves = opcode <= isa.Opcode.STORE
    size = schedule.tile_bytes()[schedule.transfers["tile"][row[moves]]]
    columns.bytes[moves] = size
    columns.setup[moves] = machine.dma.setup_cycles
    columns.busy[moves] = -(-size // machine.dma.bytes_per_cycle)
    columns.dram[moves] = dram_cycles(size, machine)
    columns.latency[moves] = machine.dram_latency_cycles

    executes = opcode == isa.Opcode.EXECUTE
    x = schedule.matmuls[row[executes]]
    setup, busy, hold = matmul_cycles(x["m"], x["k"], x["n"], x["step"], machine)
    columns.setup[executes], columns.busy[executes], columns.hold[executes] = setup, busy, hold
    columns.latency[executes] = drain_cycles(machine) + np.where(has_epilogue(x), machine.matrix.epilogue_cycles, 0)

    elementwise = opcode == isa.Opcode.VECTOR
    v = schedule.vectors[row[elementwise]]
    columns.setup[elementwise] = machine.vector.setup_cycles
    columns.busy[elementwise] = np.maximum(
        vector_cycles(v["op"], v["rows"].astype(np.int64) * v["cols"], machine),
        _vector_port_cycles(schedule, v, machine),
    )
    columns.latency[elementwise] = machine.vector.latency_cycles
    return columns


def matmul_cycles(
    m: npt.ArrayLike, k: npt.ArrayLike, n: npt.ArrayLike, step: npt.ArrayLike, machine: Machine
) -> tuple[Cycles, Cycles, Cycles]:
    """Setup, busy and hold cycles of m x k x n blocks: the array's, or its SRAM ports' if those are slower."""
    setup, busy, hold = block_cycles(m, k, n, machine)
    waits = np.maximum(port_cycles(*sram_bytes(m, k, n, step, machine), machine) - busy, 0)
    return setup, busy + waits, hold + waits


def port_cycles(read: Cycles, written: Cycles, machine: Machine) -> Cycles:
    """Cycles that the SRAM's ports need for these bytes; a port of width 0 is as wide as it has to be."""
    needed = np.zeros_like(read)
    for size, width in ((read, machine.sram.read_bytes_per_cycle), (written, machine.sram.write_bytes_per_cycle)):
        if width:
            needed = np.maximum(needed, -(-size // width))
    return needed


def _vector_port_cycles(schedule: isa.Schedule, v: isa.Table, machine: Machine) -> Cycles:
    sizes = np.append(schedule.tile_bytes(), 0)  # the last one is that of NONE
    first, second, result = (sizes[np.minimum(v[name], len(sizes) - 1)] for name in isa.VECTOR_OPERANDS)
    return port_cycles(first + second, result, machine)


def has_epilogue(matmuls: isa.Table) -> npt.NDArray[np.bool_]:
    """Whether the operation passes the epilogue stage."""
    works = (matmuls["bias"] != isa.NONE) | (matmuls["residual"] != isa.NONE) | (matmuls["activation"] != 0)
    return np.asarray(works & (matmuls["last"] != 0))


def vector_cycles(op: npt.ArrayLike, elements: npt.ArrayLike, machine: Machine) -> Cycles:
    """Busy cycles of a vector operation: ceil(elements / lanes) passes, times the operation's cost."""
    passes = np.full(len(isa.VectorOp), machine.vector.simple_cost, dtype=np.int64)
    passes[isa.VectorOp.SIGMOID] = machine.vector.sigmoid_cost
    elements = np.asarray(elements, dtype=np.int64)
    return np.asarray(-(-elements // machine.vector.lanes) * passes[np.asarray(op)])


def dram_cycles(size: npt.ArrayLike, machine: Machine) -> Cycles:
    """Cycles of the DRAM's full bandwidth that `size` bytes take, rounded up."""
    return ceil_divide(np.asarray(size, dtype=np.int64), machine.dram_bytes_per_cycle)


def ceil_divide(size: Cycles, rate: Fraction) -> Cycles:
    """ceil(size / rate), exactly."""
    if int(size.max(initial=0)) * rate.denominator >= 2**63:  # beyond int64: exact, but slow
        exact = [-int(-(Fraction(s) / rate) // 1) for s in size.reshape(-1).tolist()]
        return np.array(exact, dtype=np.int64).reshape(size.shape)
    return -(-size * rate.denominator // rate.numerator)


@dataclass(frozen=True)
class Roofline:
    """Cycles below which no run of a schedule can end: each resource, working all the time.

    Attributes:
        matrix: MACs / (rows x cols).
        load_port, store_port: bytes of that direction / DMA width.
        dram: all bytes / DRAM bandwidth.
    """

    matrix: Fraction
    vector: Fraction
    load_port: Fraction
    store_port: Fraction
    dram: Fraction

    def by_unit(self) -> dict[str, Fraction]:
        """The least cycles that each unit needs, by name; the first of equals is the one to blame."""
        return {
            "load": self.load_port,
            "store": self.store_port,
            "dram": self.dram,
            "matrix": self.matrix,
            "vector": self.vector,
        }

    @property
    def cycles(self) -> Fraction:
        return max(self.by_unit().values())

    @property
    def bound_by(self) -> str:
        """The unit that sets the bound: "matrix", "vector", "load", "store" or "dram"."""
        units = self.by_unit()
        return max(units, key=units.__getitem__)


def roofline(macs: int, vector_cycles: int, read_bytes: int, write_bytes: int, machine: Machine) -> Roofline:
    """The bound for this much work: MACs, lane cycles, and bytes each way."""
    return Roofline(
        matrix=Fraction(macs, machine.matrix.rows * machine.matrix.cols),
        vector=Fraction(vector_cycles),
        load_port=Fraction(read_bytes, machine.dma.bytes_per_cycle),
        store_port=Fraction(write_bytes, machine.dma.bytes_per_cycle),
        dram=Fraction(read_bytes + write_bytes) / machine.dram_bytes_per_cycle,
    )
