"""How long an operation occupies its unit: pure functions over whole columns.

Every unit is a pipeline of two stages, with four numbers per operation, in cycles:

    setup     first stage, hidden behind the second stage of the operation before
    busy      second stage: one operation at a time
    hold      the part of `busy` for which the first stage is not free for the next operation
    latency   from the end of `busy` to retirement, overlapping with whatever follows

    unit     setup                    busy                          latency
    matrix   shift an operand in      stream the other one          drain the array, epilogue
    vector   start-up                 elements / lanes x passes     pipeline depth, a reduction's tree
    DMA      decode the descriptor    the port, or DRAM if slower   DRAM latency, but for what busy has of it;
                                                                    completion

The event model adds only what depends on the order of events: queues, waits, the shared DRAM, and under bursts
the request slots that earlier transfers still hold (`port.py`): there `busy` is a transfer's in a stream of
transfers like it, for estimates, and the run's own is found burst by burst. The compiler uses the same functions,
so that an estimate and a simulation cannot disagree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from fractions import Fraction
from itertools import product

import numpy as np
import numpy.typing as npt

from minisim.hwmodel import isa, packing
from minisim.hwmodel.array import accumulator_sizes, block_cycles, drain_cycles, port_bytes
from minisim.hwmodel.banks import bank_cycles, matmul_bank_cycles, walk_bytes
from minisim.hwmodel.bursts import BurstRules, Rectangles, slot_cycles, spans
from minisim.hwmodel.config import Machine
from minisim.hwmodel.descriptors import apart, descriptors
from minisim.hwmodel.sections import Accumulator, Sram
from minisim.hwmodel.sparsity import Kept, kept_macs, kept_steps
from minisim.hwmodel.sparsity import rectangles as rectangles
from minisim.hwmodel.vector import operation_cycles, tree_cycles, vector_cycles

__all__ = [
    "Costs",
    "Roofline",
    "accumulator_sizes",
    "costs",
    "drain_cycles",
    "dram_cycles",
    "matmul_cycles",
    "roofline",
    "vector_cycles",
]

Cycles = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Costs:
    """Columns over the operations of a schedule, int64, in program order.

    Attributes:
        setup, busy, hold, latency: cycles, see the module's table. For a transfer, `busy` is the port's time.
        dram: cycles that a transfer occupies the DRAM; 0 for other operations.
        lag: the part of a transfer's `busy` in which its port waits for the DRAM's answer to the last burst,
            which therefore ends at least so long after the DRAM's service; 0 for other operations.
        bytes: that a transfer moves; 0 for other operations.
        descriptors: that are decoded for it; 0 for a transfer that shares the one before, and for other operations.
        macs: multiply-accumulates of a matrix operation, of a compressed B with what it keeps; 0 for others.
    """

    setup: Cycles
    busy: Cycles
    hold: Cycles
    latency: Cycles
    dram: Cycles
    lag: Cycles
    bytes: Cycles
    descriptors: Cycles
    macs: Cycles

    @property
    def alone(self) -> Cycles:
        """Cycles for which each operation would hold its unit's second stage if it were alone on the machine."""
        return np.asarray(np.maximum(self.busy, self.dram + self.lag))


def costs(schedule: isa.Schedule, machine: Machine, decoded: Cycles | None = None) -> Costs:
    """The costs of all operations of `schedule`.

    Args:
        decoded: of each operation how many descriptors are decoded for it, if that is known (`Costs.descriptors`).
    """
    n = len(schedule)
    columns = Costs(*(np.zeros(n, dtype=np.int64) for _ in fields(Costs)))
    opcode, row = schedule.stream["opcode"], schedule.stream["row"]

    moves = opcode <= isa.Opcode.STORE
    moved = rectangles(schedule, schedule.transfers["tile"][row[moves]])
    columns.bytes[moves] = moved.row_bytes * moved.rows
    columns.dram[moves] = dram_cycles(columns.bytes[moves], machine)
    columns.descriptors[:] = descriptors(schedule, rectangles(schedule), machine) if decoded is None else decoded
    columns.setup[columns.descriptors > 0] = machine.dma.setup_cycles
    unpacked = np.zeros(n, dtype=np.bool_)
    unpacked[moves] = packing.by_dma(schedule.tensors)[schedule.tiles["tensor"][schedule.transfers["tile"][row[moves]]]]
    for load, by_dma in ((True, False), (True, True), (False, False)):
        way = (opcode == (isa.Opcode.LOAD if load else isa.Opcode.STORE)) & (unpacked == by_dma)
        tiles = Rectangles(*(column[way[moves]] for column in moved))
        of_way = transfer_cycles(tiles, machine, load, by_dma)
        for column, found in zip((columns.busy, columns.hold, columns.lag, columns.latency), of_way, strict=True):
            column[way] = found

    executes = opcode == isa.Opcode.EXECUTE
    x = schedule.matmuls[row[executes]]
    columns.macs[executes] = kept_macs(schedule, x)
    setup, busy, hold = matmul_cycles(
        x["m"],
        x["k"],
        x["n"],
        x["step"],
        machine,
        a_transposed=x["a_transposed"],
        b_transposed=x["b_transposed"],
        result=result_sizes(schedule, x),
        dtype=x["dtype"],
        taps=x["taps"],
        pitch=_pitch_of_pieces(schedule, x),
        kept=kept_steps(schedule, x),
        packed=packed_bytes(schedule, x),
    )
    columns.setup[executes], columns.busy[executes], columns.hold[executes] = setup, busy, hold
    columns.latency[executes] = drain_cycles(machine) + np.where(has_epilogue(x), machine.matrix.epilogue_cycles, 0)

    of_lanes = opcode == isa.Opcode.VECTOR
    v = schedule.vectors[row[of_lanes]]
    _, cols = schedule.vector_shape(v)
    columns.setup[of_lanes] = machine.vector.setup_cycles
    columns.busy[of_lanes] = np.maximum(
        operation_cycles(schedule, v, machine), _vector_sram_cycles(schedule, v, machine)
    )
    columns.latency[of_lanes] = machine.vector.latency_cycles + np.where(
        v["cols"] == 1,
        tree_cycles(v["op"], cols, machine),
        0,  # a part of a row leaves what is before the tree
    )
    return columns


def burst_rules(machine: Machine, load: bool) -> BurstRules:
    """The DMA's rules for the bursts of a channel; when a descriptor is decoded is the event model's."""
    dma, rows = machine.dma, machine.dma.dimensions == 1
    return BurstRules(
        width=dma.bytes_per_cycle,
        latency=latency_cycles(machine, load) + (0 if load else dma.store_burst_cycles),
        max_beats=dma.max_burst_beats if load else dma.store_burst_beats or dma.max_burst_beats,
        boundary=dma.burst_boundary,
        outstanding=dma.outstanding_bursts,
        request_cycles=dma.request_cycles,
        beat_cycles=dma.beat_cycles,
        unpack_cycles=machine.unpack_cycles,
        burst_gap=dma.burst_gap_cycles,
        realign=load,
        gap=dma.gap_cycles,
        row_decode=dma.setup_cycles if rows else 0,
        row_gap=dma.gap_cycles if rows else 0,
    )


def latency_cycles(machine: Machine, load: bool) -> int:
    """The memory's latency: with an L2 that of a miss, which an operation's costs alone cannot know better."""
    dram = machine.dram_latency_cycles if load else machine.dram_write_latency_cycles
    if not machine.l2.bytes:
        return dram
    return machine.l2_latency_cycles + (dram if load else 0)


def transfer_cycles(
    tiles: Rectangles, machine: Machine, load: bool, unpacked: bool = False
) -> tuple[Cycles, Cycles, Cycles, Cycles]:
    """Busy, hold, lag and latency cycles of transfers of rectangles, all of them `unpacked` on their way or none; DRAM
    bandwidth comes on top.

    With bursts (`Dma.has_bursts`) a transfer alone takes its span, from first request to last byte. Of that the
    port is busy while data pass and in the gap after them, or longer if its request slots are taken until then
    (`slot_cycles`): so a stream of transfers goes at the pace of whichever is scarcer. `hold` is for the rows after
    the first where each has a descriptor of its own: their decoding is hidden behind the row before, if that is
    no shorter.
    """
    dma, latency, gap = machine.dma, latency_cycles(machine, load), machine.dma.gap_cycles
    rows = apart(tiles) if dma.dimensions == 1 else np.ones_like(tiles.rows)
    if dma.has_bursts:
        rules = burst_rules(machine, load)
        rules = rules.unpacking() if unpacked else rules
        latency = rules.latency
        found = spans(tiles, rules)
        passing = found.cycles - latency
        lag = np.clip(slot_cycles(found, rules) - passing, gap, max(latency, gap))
        return passing + lag, (rows - 1) * dma.setup_cycles, lag, np.full_like(passing, latency + dma.completion_cycles)
    beat = machine.unpack_cycles if unpacked else dma.beat_cycles
    row = -(-(tiles.row_bytes * tiles.rows // rows) // dma.bytes_per_cycle) * beat + gap
    hold = (rows - 1) * np.maximum(row, dma.setup_cycles)
    lag = np.full_like(row, gap)
    return hold + row, hold, lag, np.maximum(latency - lag, 0) + dma.completion_cycles


def port_pace(rows: int, row_bytes: int, machine: Machine, load: bool) -> float:
    """Port cycles per byte in a stream of tiles whose rows lie apart and begin at the width and boundary."""
    dma = machine.dma
    if not (dma.has_bursts or dma.gap_cycles or dma.dimensions == 1):
        return dma.beat_cycles / (dma.bytes_per_cycle * dma.channels)
    period = burst_rules(machine, load).period
    shape = (0, row_bytes, rows, row_bytes // period * period + period)
    busy, hold, _, _ = transfer_cycles(Rectangles(*(np.array([x], dtype=np.int64) for x in shape)), machine, load)
    cycles = max(int(busy[0]), int(hold[0]) + dma.setup_cycles) if dma.dimensions == 1 else int(busy[0])
    return cycles / (rows * row_bytes * dma.channels)


def matmul_cycles(
    m: npt.ArrayLike,
    k: npt.ArrayLike,
    n: npt.ArrayLike,
    step: npt.ArrayLike,
    machine: Machine,
    *,
    a_transposed: npt.ArrayLike = 0,
    b_transposed: npt.ArrayLike = 0,
    result: npt.ArrayLike | None = None,
    dtype: npt.ArrayLike | None = None,
    taps: npt.ArrayLike = 1,
    pitch: npt.ArrayLike = 0,
    kept: npt.ArrayLike = 0,
    packed: npt.ArrayLike = 0,
) -> tuple[Cycles, Cycles, Cycles]:
    """Setup, busy and hold cycles of m x k x n blocks: the array's, or its memories' ports or banks' if slower.

    Args:
        a_transposed, b_transposed: whether the operand is stored (k, m), (n, k).
        result: bytes per element that the block writes as its result, 0 if it leaves sums for another step;
            default: results of the sums' type.
        dtype: of the operands; default: the machine's.
        taps: equal parts of k which the array takes one by one, unless it packs them.
        pitch: elements of SRAM from one row of A to the next; 0: it is packed.
        kept: steps of k that B keeps, if it is compressed (`sparsity.py`), else 0.
        packed: bytes of B, if the array unpacks it (`packing.py`), else 0.
    """
    dtype = machine.dtype if dtype is None else dtype
    setup, busy, hold = block_cycles(m, k, n, machine, dtype, taps, kept)
    result = accumulator_sizes()[np.asarray(dtype)] if result is None else result
    moved = port_bytes(m, k, n, machine, step=step, result=result, dtype=dtype, taps=taps, kept=kept, packed=packed)
    if machine.accumulator.bytes:
        of_sums = port_cycles(moved.sums_read, moved.sums_written, machine.accumulator)
        needed = np.maximum(port_cycles(moved.read, moved.written, machine.sram), of_sums)
    else:
        needed = port_cycles(moved.read + moved.sums_read, moved.written + moved.sums_written, machine.sram)
    if machine.sram.bank_bytes_per_cycle:
        banks = matmul_bank_cycles(
            m,
            k,
            n,
            step,
            a_transposed,
            b_transposed,
            machine,
            result=result,
            dtype=dtype,
            taps=taps,
            pitch=pitch,
            kept=kept,
            packed=packed,
        )
        needed = np.maximum(needed, banks)
    waits = np.maximum(needed - busy, 0)
    return setup, busy + waits, hold + waits


def array_bound(
    sizes: Sequence[int], edges: Sequence[int], machine: Machine, dtype: int, kept: Kept | None = None
) -> int:
    """Cycles below which the array does not compute a matmul of M x K x N in tiles of m x k x n, whatever its memories
    do: each tile's stationary operand is in before it streams, and the tile before it has streamed by then.

    Args:
        kept: how B is compressed. A tile takes no less of it than one that begins with a block.
    """
    parts = [((edge, size // edge), (size % edge, 1)) for size, edge in zip(sizes, edges, strict=True)]
    of_each = [[part for part in pair if all(part)] for pair in parts]
    blocks = [tuple(zip(*corner, strict=True)) for corner in product(*of_each)]
    (m, k, n), times = (
        np.array([block for block, _ in blocks]).T,
        np.array([counts for _, counts in blocks]).prod(axis=1),
    )
    compressed = np.array([kept.of(steps) if kept else 0 for steps in k.tolist()])
    setup, busy, hold = block_cycles(m, k, n, machine, dtype, kept=compressed)
    return int((times * np.maximum(setup + hold, busy)).sum())


def port_cycles(read: Cycles, written: Cycles, memory: Sram | Accumulator) -> Cycles:
    """Cycles that a memory's ports need for these bytes; a port of width 0 is as wide as it has to be."""
    needed = np.zeros_like(read)
    for size, width in ((read, memory.read_bytes_per_cycle), (written, memory.write_bytes_per_cycle)):
        if width:
            needed = np.maximum(needed, -(-size // width))
    return needed


def packed_bytes(schedule: isa.Schedule, matmuls: isa.Table) -> Cycles:
    """The bytes of the B of each matmul in SRAM where the array unpacks it; else 0."""
    packed = packing.on_chip(schedule.tensors)[schedule.tiles["tensor"][matmuls["b"]]]
    found = np.zeros(len(matmuls), dtype=np.int64)
    found[packed] = schedule.tile_bytes(matmuls["b"][packed])
    return found


def _pitch_of_pieces(schedule: isa.Schedule, matmuls: isa.Table) -> Cycles:
    """Elements from one row of A to the next in SRAM where it is made of pieces, by its first window; else 0."""
    found = np.zeros(len(matmuls), dtype=np.int64)
    mine = matmuls["a_pieces"] != isa.NONE
    first = schedule.pieces[matmuls["a_pieces"][mine]]
    found[mine] = schedule.tiles["cols"][first["tile"]]
    found[mine] *= schedule.windows["from_inner"][first["window"]]
    return found


def _vector_sram_cycles(schedule: isa.Schedule, v: isa.Table, machine: Machine) -> Cycles:
    *sources, result = (_bytes_if_any(schedule, v[name]) for name in isa.VECTOR_OPERANDS)
    read = np.asarray(sum(sources)) + isa.elements_read(schedule, v) * isa.item_sizes()[v["dtype"]]
    turned = v["op"] == isa.VectorOp.TRANSPOSE  # it walks down the columns of its source, which has as many as dst rows
    rows, elements = v["rows"].astype(np.int64), v["rows"].astype(np.int64) * v["cols"]
    item = result // np.maximum(elements, 1)
    taken = result + np.where(turned, walk_bytes(elements, rows * item, item, machine.sram), read)
    return np.asarray(np.maximum(port_cycles(read, result, machine.sram), bank_cycles(taken, machine.sram)))


def _bytes_if_any(schedule: isa.Schedule, tiles: npt.NDArray[np.uint32]) -> Cycles:
    """The bytes of tiles in SRAM; 0 of NONE."""
    found = np.zeros(len(tiles), dtype=np.int64)
    there = tiles != isa.NONE
    found[there] = schedule.tile_bytes(tiles[there])
    return found


def result_sizes(schedule: isa.Schedule, matmuls: isa.Table) -> Cycles:
    """Bytes per element of what each of `matmuls` writes as its result; 0 for those that leave sums."""
    item = isa.item_sizes()[schedule.tensors["dtype"][schedule.tiles["tensor"][matmuls["c"]]]]
    return np.asarray(np.where(matmuls["last"] != 0, item, 0))


def has_epilogue(matmuls: isa.Table) -> npt.NDArray[np.bool_]:
    """Whether the operation passes the epilogue stage."""
    works = (matmuls["bias"] != isa.NONE) | (matmuls["residual"] != isa.NONE) | (matmuls["activation"] != 0)
    works |= matmuls["scale"] != 0
    return np.asarray(works & (matmuls["last"] != 0))


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
        matrix: MACs / (arrays x rows x cols x rate of their type), of all cores.
        load_port, store_port: bytes of that direction / DMA width, at its pace, of all channels of all cores; of a
            shared port, bytes of both.
        dram: its bytes / DRAM bandwidth.
        l2: all bytes / width of the L2's port; 0 if there is none.
        noc: all bytes / what the network carries; 0 if it has no limit.
    """

    matrix: Fraction
    vector: Fraction
    load_port: Fraction
    store_port: Fraction
    dram: Fraction
    l2: Fraction = Fraction(0)
    noc: Fraction = Fraction(0)

    def by_unit(self) -> dict[str, Fraction]:
        """The least cycles that each unit needs, by name; the first of equals is the one to blame."""
        return {
            "load": self.load_port,
            "store": self.store_port,
            "dram": self.dram,
            "l2": self.l2,
            "noc": self.noc,
            "matrix": self.matrix,
            "vector": self.vector,
        }

    @property
    def cycles(self) -> Fraction:
        return max(self.by_unit().values())

    @property
    def bound_by(self) -> str:
        """The unit that sets the bound: "matrix", "vector", "load", "store", "dram", "l2" or "noc"."""
        units = self.by_unit()
        return max(units, key=units.__getitem__)


def roofline(
    pe_cycles: int | Fraction,
    vector_cycles: int,
    read_bytes: int,
    write_bytes: int,
    machine: Machine,
    dram_bytes: int | None = None,
) -> Roofline:
    """The bound for this much work: cycles of a processing element, lane cycles, and bytes each way. All cores share it
    evenly, at best; the DRAM has all of it.

    Args:
        pe_cycles: MACs / rate of their type, see `array.rates`: what one processing element would need.
        dram_bytes: that the DRAM moves; default: all that the DMAs do, as without an L2.
    """
    moved = read_bytes + write_bytes
    carried = [machine.noc.bytes_per_cycle, machine.noc.core_bytes_per_cycle * machine.cores.count]
    dma, cores, bytes_moved = machine.dma, machine.cores.count, (read_bytes, write_bytes)
    load, store = (sum(bytes_moved), sum(bytes_moved)) if dma.shared else bytes_moved
    port = Fraction(dma.bytes_per_cycle * dma.channels * cores, dma.beat_cycles)
    return Roofline(
        matrix=Fraction(pe_cycles, machine.matrix.elements * cores),
        vector=Fraction(vector_cycles, cores),
        load_port=load / port,
        store_port=store / port,
        dram=Fraction(moved if dram_bytes is None else dram_bytes) / machine.dram_bytes_per_cycle,
        l2=Fraction(moved, machine.l2.bytes_per_cycle) if machine.l2.bytes else Fraction(0),
        noc=max((Fraction(moved, limit) for limit in carried if limit), default=Fraction(0)),
    )
