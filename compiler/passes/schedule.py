"""Scheduling: the naive program becomes one for a machine with an SRAM.

The uOps are walked once, in order. A LOAD of a tile that is already in SRAM is dropped; another gets an
address, if need be that of the tile whose next use is farthest away (Belady 1966: the compiler knows the
future, so it can). A tile whose content exists nowhere else is stored before its place is given away. A
tile is freed after its last use. Finished intermediates stay in SRAM for their consumers.

Order between the queues comes out of the same walk: whoever takes a place waits for all who used it
before, and whoever reads a tile waits for the operation that wrote it (see `wait` in isa.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from minisim.compiler.emitter import Emitter
from minisim.compiler.program import Program
from minisim.compiler.sram import Clock, Sram
from minisim.errors import CapacityError
from minisim.hwmodel import isa
from minisim.hwmodel.config import Machine
from minisim.hwmodel.isa import NONE, Opcode, Queue

NEVER = 2**62
"""The next use of a tile that is not used again."""


@dataclass(frozen=True)
class Allocate:
    """Program -> Schedule."""

    machine: Machine
    name: str = "schedule"

    def apply(self, program: Program) -> isa.Schedule:
        sizes = tile_sizes(program)
        needed, layer = bytes_needed(program, sizes)
        if needed > self.machine.sram.bytes:
            raise CapacityError(
                f"sram.bytes: layer {layer!r} needs at least {needed} bytes for the operands of one "
                f"operation, not {self.machine.sram.bytes}"
            )
        return Scheduler(program, self.machine, sizes).run()


def tile_sizes(program: Program) -> npt.NDArray[np.int64]:
    """Bytes that each tile takes in SRAM, alignment included."""
    item = isa.item_sizes()[program.tensors["dtype"][program.tiles["tensor"]]]
    size = program.tiles["rows"].astype(np.int64) * program.tiles["cols"] * item
    return np.asarray(-(-size // isa.ALIGNMENT) * isa.ALIGNMENT)


def bytes_needed(program: Program, sizes: npt.NDArray[np.int64]) -> tuple[int, str]:
    """The least SRAM that can run `program`, and the layer that needs it."""
    padded = np.append(sizes, 0)  # the last entry stands for NONE

    def total(table: isa.Table, operands: Sequence[str]) -> npt.NDArray[np.int64]:
        return sum((padded[np.minimum(table[name], len(sizes))] for name in operands), np.zeros(len(table), np.int64))

    need = np.zeros(len(program.uops), dtype=np.int64)
    opcode, ref = program.uops["opcode"], program.uops["ref"]
    executes, vectors = opcode == Opcode.EXECUTE, opcode == Opcode.VECTOR
    need[executes] = total(program.matmuls, ("a", "b", "c", "bias", "residual"))[ref[executes]]
    need[vectors] = total(program.vectors, ("src0", "src1", "dst"))[ref[vectors]]
    if not len(need):
        return 0, ""
    worst = int(np.argmax(need))
    return int(need[worst]), program.layer_names[program.uops["layer"][worst]]


def next_uses(program: Program) -> npt.NDArray[np.int64]:
    """For each uOp, the next uOp that touches the same tile (LOAD and STORE: theirs; else the one written).

    NEVER before a LOAD that fetches the tile anew (`fetch`): it does not stay in SRAM until then.
    """
    opcode, tile = program.uops["opcode"], program.uops["ref"].astype(np.int64)
    executes, vectors = opcode == Opcode.EXECUTE, opcode == Opcode.VECTOR
    tile[executes] = program.matmuls["c"][tile[executes]]
    tile[vectors] = program.vectors["dst"][tile[vectors]]
    order = np.argsort(tile, kind="stable")
    following = np.full(len(tile), NEVER, dtype=np.int64)
    same = tile[order][1:] == tile[order][:-1]
    loads, fetch = opcode[order] == Opcode.LOAD, program.uops["fetch"][order]
    same &= ~(loads[1:] & loads[:-1] & (fetch[1:] != fetch[:-1]))
    following[order[:-1][same]] = order[1:][same]
    return following


class Scheduler:
    """The walk. Lists are indexed by tile; `NONE` as an address means not in SRAM."""

    def __init__(self, program: Program, machine: Machine, sizes: npt.NDArray[np.int64]) -> None:
        n = len(program.tiles)
        self.program = program
        self.emit = Emitter(program)
        self.sram = Sram(machine.sram.bytes)
        self.size: list[int] = sizes.tolist()
        self.final: list[int] = program.tiles["final"].tolist()
        self.address = [NONE] * n
        self.version = [0] * n
        self.dirty = [False] * n  # the content is nowhere but in SRAM
        self.writer: list[tuple[int, int]] = [(0, 0)] * n  # queue and count of the operation that wrote it
        self.touched: list[Clock] = [[]] * n  # counts of the last accesses, per queue
        self.stored = [0] * n  # count of the store that last wrote it to DRAM
        self.stamp = [0] * n  # candidates with an older stamp are void
        self.next_use = [NEVER] * n
        self.candidates: list[tuple[int, int, int]] = []  # heap of (-next use, tile, stamp)
        self.operands: list[int] = []  # of the uOp to come: they must not be evicted
        self.now = 0

        tensor = program.tiles["tensor"]
        storage = program.tensors["storage"]
        self.storage: list[int] = storage[tensor].tolist()
        self.storage_stored = [0] * len(program.tensors)
        self.may_stay: list[bool] = (program.resident_ok[tensor] & machine.compiler.keep_on_chip).tolist()
        self.keep = machine.compiler.keep_on_chip
        self.layers = program.layers.copy()
        self.ahead: list[int] = program.ahead.tolist()
        self.horizon: list[int] = program.horizon.tolist()

    def run(self) -> isa.Schedule:
        uops = self.program.uops
        following = next_uses(self.program).tolist()
        opcodes, refs = uops["opcode"].tolist(), uops["ref"].tolist()
        bounds = np.searchsorted(uops["layer"], np.arange(len(self.layers) + 1)).tolist()
        for layer, (begin, end) in enumerate(pairwise(bounds)):
            self.emit.layer = layer
            self.peak, self.eliminated = self.sram.size - self.sram.free_bytes, 0
            for now in range(begin, end):
                self.now = now
                self._step(opcodes[now], refs[now], following[now])
            self.layers["sram_peak"][layer] = self.peak
            self.layers["loads_eliminated"][layer] = self.eliminated
        live = self.sram.size - self.sram.free_bytes
        return self.emit.finish(self.layers, self.sram.size, live)

    def _step(self, opcode: int, ref: int, next_use: int) -> None:
        if opcode == Opcode.LOAD:
            self._need(ref, next_use)
        elif opcode == Opcode.EXECUTE:
            self._execute(ref, next_use)
        elif opcode == Opcode.VECTOR:
            self._vector(ref, next_use)
        else:
            self._finish(ref, next_use)

    # -- uOps --------------------------------------------------------------------------------------

    def _need(self, tile: int, next_use: int) -> None:
        """An operand of the operation to come."""
        if self.address[tile] == NONE:
            self._load(tile)
        else:
            self.eliminated += 1
        self.stamp[tile] += 1
        self.next_use[tile] = next_use
        self.operands.append(tile)

    def _execute(self, row: int, next_use: int) -> None:
        a, b, c, bias, residual, step = self.emit.matmul_operands(row)
        wait = [0] * len(Queue)
        self._place_target(c, step, wait)
        for tile in self.operands:
            self._wait_for_writer(tile, wait)
        address = self.address
        count = self.emit.execute(
            row,
            wait,
            address[a],
            address[b],
            address[c],
            NONE if bias == NONE else address[bias],
            NONE if residual == NONE else address[residual],
        )
        self._wrote(c, step + 1, Queue.MATRIX, count)
        self._release_operands(Queue.MATRIX, count)
        self._used(c, next_use)
        while self.sram.free_bytes < self.ahead[self.emit.layer]:
            if not self._evict(self.now + self.horizon[self.emit.layer]):
                break

    def _vector(self, row: int, next_use: int) -> None:
        src0, src1, dst = self.emit.vector_operands(row)
        wait = [0] * len(Queue)
        self._place_target(dst, 0, wait)
        for tile in self.operands:
            self._wait_for_writer(tile, wait)
        address = self.address
        count = self.emit.vector(row, wait, address[src0], NONE if src1 == NONE else address[src1], address[dst])
        self._wrote(dst, 1, Queue.VECTOR, count)
        self._release_operands(Queue.VECTOR, count)
        self._used(dst, next_use)

    def _finish(self, tile: int, next_use: int) -> None:
        """A complete tile: store it, or keep it for its consumers (it is stored if it must make room)."""
        if not self.may_stay[tile]:
            self._store(tile)
        self._used(tile, next_use if self.keep else NEVER)

    # -- moving tiles ------------------------------------------------------------------------------

    def _load(self, tile: int) -> None:
        wait = self._place(tile)
        wait[Queue.STORE] = max(wait[Queue.STORE], self.stored[tile])
        if self.version[tile] == self.final[tile] == 0:  # another view of what a producer stored
            wait[Queue.STORE] = max(wait[Queue.STORE], self.storage_stored[self.storage[tile]])
        count = self.emit.transfer(Opcode.LOAD, tile, self.version[tile], self.address[tile], wait)
        self.writer[tile] = (Queue.LOAD, count)
        self.touched[tile][Queue.LOAD] = count

    def _store(self, tile: int) -> None:
        wait = [0] * len(Queue)
        self._wait_for_writer(tile, wait)
        count = self.emit.transfer(Opcode.STORE, tile, self.version[tile], self.address[tile], wait)
        self.touched[tile][Queue.STORE] = count
        self.stored[tile] = self.storage_stored[self.storage[tile]] = count
        self.dirty[tile] = False

    def _place_target(self, tile: int, step: int, wait: Clock) -> None:
        """Make sure that the tile which the operation writes has a place, and its earlier sums are there."""
        if self.address[tile] != NONE:
            self.stamp[tile] += 1  # the matrix unit wrote it, and accumulates in order by itself
        elif step:
            self._load(tile)
            self._wait_for_writer(tile, wait)
        else:
            wait[:] = self._place(tile)

    def _place(self, tile: int) -> Clock:
        """Give `tile` an address, evicting others; return what must have retired before it is written."""
        size = self.size[tile]
        while (found := self.sram.allocate(size)) is None:
            if not self._evict():
                self._clear()
        self.address[tile], clock = found
        self.touched[tile] = list(clock)
        self.peak = max(self.peak, self.sram.size - self.sram.free_bytes)
        return list(clock)

    def _evict(self, beyond: int = 0) -> bool:
        """Remove the tile whose next use is farthest; False if none is used later than `beyond`."""
        while self.candidates and -self.candidates[0][0] > beyond:
            _, tile, stamp = heappop(self.candidates)
            if stamp == self.stamp[tile]:
                self._remove(tile)
                return True
        return False

    def _clear(self) -> None:
        """Last resort against fragmentation: move the operands to the start of an empty SRAM."""
        operands = list(dict.fromkeys(self.operands))
        for tile in operands:
            self._remove(tile)
        self.sram.merge()
        for tile in operands:
            self._load(tile)

    def _remove(self, tile: int) -> None:
        if self.dirty[tile]:
            self._store(tile)
        self._free(tile)

    def _free(self, tile: int) -> None:
        self.sram.free(self.address[tile], self.size[tile], self.touched[tile])
        self.address[tile] = NONE
        self.stamp[tile] += 1

    # -- bookkeeping -------------------------------------------------------------------------------

    def _wait_for_writer(self, tile: int, wait: Clock) -> None:
        queue, count = self.writer[tile]
        if wait[queue] < count:
            wait[queue] = count

    def _wrote(self, tile: int, version: int, queue: int, count: int) -> None:
        self.version[tile] = version
        self.dirty[tile] = True
        self.writer[tile] = (queue, count)
        self.touched[tile][queue] = count

    def _release_operands(self, queue: int, count: int) -> None:
        for tile in dict.fromkeys(self.operands):
            self.touched[tile][queue] = count
            self._used(tile, self.next_use[tile])
        self.operands.clear()

    def _used(self, tile: int, next_use: int) -> None:
        """Free the tile after its last use, or make it a candidate for eviction."""
        if next_use == NEVER:
            self._free(tile)
            return
        self.next_use[tile] = next_use
        self.stamp[tile] += 1
        # an eviction of a dirty tile costs two transfers, so it counts as half as far away
        distance = next_use - self.now
        far = self.now + (distance // 2 if self.dirty[tile] else distance)
        heappush(self.candidates, (-far, tile, self.stamp[tile]))
        if len(self.candidates) > 4 * len(self.operands) + 65536:
            self._forget_void_candidates()

    def _forget_void_candidates(self) -> None:
        self.candidates = [c for c in self.candidates if c[2] == self.stamp[c[1]]]
        heapify(self.candidates)
