"""Scheduling: the naive program becomes one for a machine with an SRAM.

The uOps are walked once, in order. A LOAD of a tile that is already in SRAM is dropped; another gets an
address, if need be that of the tile whose next use is farthest away (Belady 1966: the compiler knows the
future, so it can). A tile whose content exists nowhere else is stored before its place is given away. A
tile is freed after its last use. Finished intermediates stay in SRAM for their consumers.

Partial sums that have tiles of their own (`acc` in isa.py) live in the accumulator memory, if the machine has one:
a second allocator, with addresses behind the scratchpad's. A tile of sums is placed by the first step and freed by
the last. There all tiles of a layer, ragged ones too, take places of one size. Panels have no more tiles than there are
slots, so nothing is spilled; of a program that was cut for other sizes, sums are spilled and reloaded like any tile.

Order between the queues comes out of the same walk: whoever takes a place waits for all who used it
before, and whoever reads a tile waits for the operation that wrote it (see `wait` in isa.py).

Each core has an SRAM of its own, and a copy of each tile it uses. A finished tile that another core reads is
stored, and the other's LOAD waits for that store (see `syncs` in isa.py). That is all that cores have to wait for
of each other: one core writes all versions of a tile, so no other ever reads a partial sum or overwrites anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from minisim.compiler.program import Program
from minisim.compiler.scheduling.arena import Clock
from minisim.compiler.scheduling.capacity import bytes_needed, place_sizes, sums_needed, tile_sizes
from minisim.compiler.scheduling.copies import Copies, crossing
from minisim.compiler.scheduling.emitter import Emitter, Sync
from minisim.compiler.scheduling.memories import ACCUMULATOR, SCRATCHPAD, Memories
from minisim.errors import CapacityError
from minisim.hwmodel import isa
from minisim.hwmodel.config import Machine
from minisim.hwmodel.isa import NONE, Opcode, Queue

SMALL = 4
"""A tile is small if the largest of the program's places is at least so many times as large as its own."""

NEVER = 2**62
"""The next use of a tile that is not used again."""


@dataclass(frozen=True)
class Allocate:
    """Program -> Schedule."""

    machine: Machine
    name: str = "schedule"

    def apply(self, program: Program) -> isa.Schedule:
        sizes, size = tile_sizes(program), self.machine.accumulator.bytes
        needed, layer = bytes_needed(program, sizes, sums_apart=size > 0)
        if needed > self.machine.sram.bytes:
            raise CapacityError(
                f"sram.bytes: layer {layer!r} needs at least {needed} bytes for the operands of one "
                f"operation, not {self.machine.sram.bytes}"
            )
        needed, layer = sums_needed(program)
        if size and needed > size:
            raise CapacityError(
                f"accumulator.bytes: layer {layer!r} needs at least {needed} bytes for the sums of one operation, "
                f"not {size}"
            )
        return Scheduler(program, self.machine, sizes).run()


def places(program: Program) -> npt.NDArray[np.int64]:
    """How many uOps of its core come before each uOp."""
    core = program.uops["core"]
    if program.cores == 1:
        return np.arange(len(core), dtype=np.int64)
    order = np.argsort(core, kind="stable")
    first = np.searchsorted(core[order], core[order])
    place = np.empty(len(core), dtype=np.int64)
    place[order] = np.arange(len(core)) - first
    return place


def next_uses(program: Program, copies: Copies, place: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The place, for each uOp, of the next one that touches the same copy (LOAD and STORE: theirs; else the one
    written).

    A last step also reads the sums that it turns into a result: that is a use of theirs, and their end. NEVER before
    a LOAD that fetches the tile anew (`fetch`): it does not stay in SRAM until then.
    """
    opcode = program.uops["opcode"].astype(np.int64)
    executes = np.flatnonzero(opcode == Opcode.EXECUTE)
    rows = copies.refs[executes]
    x = program.matmuls[rows]
    reads_sums = isa.touches(x, "acc") & (x["last"] != 0)
    at = np.concatenate([np.arange(len(opcode)), executes[reads_sums]])
    copy = np.concatenate([copies.written(program), copies.matmuls["acc"][rows[reads_sums]]])
    order = np.lexsort((at, copy))
    following = np.full(len(copy), NEVER, dtype=np.int64)
    same = copy[order][1:] == copy[order][:-1]
    loads, fetch = (program.uops[name][at[order]] for name in ("opcode", "fetch"))
    loads = loads == Opcode.LOAD
    same &= ~(loads[1:] & loads[:-1] & (fetch[1:] != fetch[:-1]))
    following[order[:-1][same]] = place[at[order[1:][same]]]
    return following[: len(opcode)]


def stretches(layer: npt.NDArray[np.uint32]) -> Iterator[tuple[int, int, int]]:
    """The layers of uOps in turn, each with the first uOp of a stretch of its own and the one behind it."""
    edges = np.flatnonzero(np.diff(layer.astype(np.int64), prepend=-1, append=-1)).tolist()
    for begin, end in pairwise(edges):
        yield int(layer[begin]), begin, end


class Scheduler:
    """The walk. Lists are indexed by copy (`copies.py`), those on content in DRAM by `tile_of` it; `NONE` as an address
    means not in SRAM. `memories` and `candidates` are those of the core whose uOp it is (`_switch`)."""

    def __init__(self, program: Program, machine: Machine, sizes: npt.NDArray[np.int64]) -> None:
        self.program = program
        self.copies = Copies.of(program)
        n = len(self.copies.tile)
        self.tile_of: list[int] = self.copies.tile.tolist()
        self.emit = Emitter(program, self.copies)
        self.cores = [Memories.of(machine) for _ in range(program.cores)]
        self.least: list[int] = sizes[self.copies.tile].tolist()  # bytes that each needs
        places = place_sizes(program, sizes)
        self.size: list[int] = places[self.copies.tile].tolist()  # of the place that it takes
        self.small: list[bool] = (SMALL * places <= places.max(initial=0))[self.copies.tile].tolist()
        self.final: list[int] = program.tiles["final"].tolist()
        self.address = [NONE] * n
        self.version = [0] * len(program.tiles)  # the newest there is
        self.dirty = [False] * n  # the content is nowhere but in SRAM
        self.writer: list[tuple[int, int]] = [(0, 0)] * n  # queue and count of the operation that wrote it
        self.touched: list[Clock] = [[]] * n  # counts of the last accesses, per queue
        # core and count of the store that last wrote it to DRAM
        self.stored: list[Sync] = [(0, 0)] * len(program.tiles)
        self.stamp = [0] * n  # candidates with an older stamp are void
        self.next_use = [NEVER] * n
        self.operands: list[int] = []  # of the uOp to come: they must not be evicted
        self.now = 0  # place of the uOp among those of its core
        self.slot = [0] * program.cores  # bytes of a place in each core's accumulator memory

        tensor = program.tiles["tensor"]
        home = (program.sums[tensor] & (machine.accumulator.bytes > 0)).astype(int)
        self.home: list[int] = home[self.copies.tile].tolist()
        storage = program.tensors["storage"]
        self.storage: list[int] = storage[tensor].tolist()
        self.storage_stored: list[dict[int, int]] = [{} for _ in program.tensors]  # by core, count of the last store
        self.synced = [[0] * program.cores for _ in range(program.cores)]  # [reader][writer]: stores it has waited for
        resident = program.resident_ok[tensor] & ~crossing(program) & machine.compiler.keep_on_chip
        self.may_stay: list[bool] = resident[self.copies.tile].tolist()
        self.keep = machine.compiler.keep_on_chip
        self.layers = program.layers.copy()

    def run(self) -> isa.Schedule:
        uops, place = self.program.uops, places(self.program)
        following = next_uses(self.program, self.copies, place).tolist()
        opcodes, refs = uops["opcode"].tolist(), self.copies.refs.tolist()
        cores, place_of = uops["core"].tolist(), place.tolist()
        for layer, begin, end in stretches(uops["layer"]):
            self.emit.layer = layer
            self.peak, self.eliminated = max(core.allocators[SCRATCHPAD].used_bytes for core in self.cores), 0
            self._switch(0)
            for i in range(begin, end):
                self.now = place_of[i]
                if cores[i] != self.emit.core:
                    self._switch(cores[i])
                self._step(opcodes[i], refs[i], following[i])
            self.layers["sram_peak"][layer] = max(self.layers["sram_peak"][layer], self.peak)
            self.layers["loads_eliminated"][layer] += self.eliminated
        live = sum(core.used_bytes for core in self.cores)
        scratchpad, accumulator = self.cores[0].allocators
        return self.emit.finish(self.layers, scratchpad.size, accumulator.size, live)

    def _switch(self, core: int) -> None:
        """Turn to `core`, whose uOps come next."""
        self.emit.turn_to(core)
        self.memories, self.candidates = self.cores[core].allocators, self.cores[core].candidates
        self.ahead: int = int(self.program.ahead[self.emit.layer, core])
        self.horizon: int = int(self.program.horizon[self.emit.layer, core])

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
        """Bring in `tile`, an operand of the operation to come."""
        if self.address[tile] == NONE:
            self._load(tile)
        else:
            self.eliminated += 1
        self.stamp[tile] += 1
        self.next_use[tile] = next_use
        self.operands.append(tile)

    def _execute(self, row: int, next_use: int) -> None:
        a, b, c, bias, residual, acc, step, last = self.emit.matmul_operands(row)
        target, version, sums = c, step + 1, NONE
        if acc != NONE and not last:
            target = acc
        elif acc != NONE:
            version, sums = 1, acc if step else NONE
        wait = [0] * len(Queue)
        if sums != NONE:
            self._hold(sums)
        self._place_target(target, version - 1, wait)
        for tile in self.operands:
            if tile != sums or self.writer[tile][0] != Queue.MATRIX:  # which accumulates in order by itself
                self._wait_for_writer(tile, wait)
        address = self.address
        count = self.emit.execute(
            row,
            wait,
            [address[piece] for piece in self.emit.pieces(row)],
            NONE if a == NONE else address[a],
            address[b],
            address[c] if target == c else NONE,
            NONE if bias == NONE else address[bias],
            NONE if residual == NONE else address[residual],
            NONE if target == c and sums == NONE else address[acc],
        )
        self._wrote(target, version, Queue.MATRIX, count)
        self._release_operands(Queue.MATRIX, count)
        self._used(target, next_use)
        self._make_room_ahead()

    def _make_room_ahead(self) -> None:
        """Evict what is not used soon, so that loads can run ahead of need."""
        while self.memories[SCRATCHPAD].free_bytes < self.ahead:
            if not self._evict(SCRATCHPAD, self.now + self.horizon):
                break

    def _hold(self, sums: int) -> None:
        """Partial sums that the operation to come turns into a result: an operand, for the last time."""
        if self.address[sums] == NONE:
            self._load(sums)
        self.stamp[sums] += 1
        self.next_use[sums] = NEVER
        self.operands.append(sums)

    def _vector(self, row: int, next_use: int) -> None:
        *sources, dst = self.emit.vector_operands(row)
        wait = [0] * len(Queue)
        self._place_target(dst, 0, wait)
        for tile in self.operands:
            self._wait_for_writer(tile, wait)
        address = self.address
        places = [NONE if copy == NONE else address[copy] for copy in sources]
        pieces = [address[piece] for piece in self.emit.vector_pieces(row)]
        count = self.emit.vector(row, wait, pieces, *places, address[dst])
        self._wrote(dst, 1, Queue.VECTOR, count)
        self._release_operands(Queue.VECTOR, count)
        self._used(dst, next_use)
        self._make_room_ahead()

    def _finish(self, tile: int, next_use: int) -> None:
        """A complete tile: store it, or keep it for its consumers (it is stored if it must make room)."""
        if not self.may_stay[tile]:
            self._store(tile)
        self._used(tile, next_use if self.keep else NEVER)

    # -- moving tiles ------------------------------------------------------------------------------

    def _load(self, copy: int) -> None:
        wait = self._place(copy)
        tile = self.tile_of[copy]
        syncs = self._after_stores(tile, wait)
        count = self.emit.transfer(Opcode.LOAD, tile, self.version[tile], self.address[copy], wait, syncs)
        self.writer[copy] = (Queue.LOAD, count)
        self.touched[copy][Queue.LOAD] = count

    def _after_stores(self, tile: int, wait: Clock) -> list[Sync]:
        """Wait for the stores that the content of `tile` in DRAM is the work of; those of other cores are returned.

        Loads start in order, so one that an earlier load of this core has waited for need not be named again.
        """
        stores = [self.stored[tile]]
        if self.version[tile] == self.final[tile] == 0:  # another view of what producers stored
            stores += self.storage_stored[self.storage[tile]].items()
        syncs, own = [], self.emit.core
        for core, count in stores:
            if core == own:
                wait[Queue.STORE] = max(wait[Queue.STORE], count)
            elif self.synced[own][core] < count:
                self.synced[own][core] = count
                syncs.append((core, count))
        return syncs

    def _store(self, copy: int) -> None:
        wait = [0] * len(Queue)
        self._wait_for_writer(copy, wait)
        tile, core = self.tile_of[copy], self.emit.core
        count = self.emit.transfer(Opcode.STORE, tile, self.version[tile], self.address[copy], wait)
        self.touched[copy][Queue.STORE] = count
        self.stored[tile] = core, count
        self.storage_stored[self.storage[tile]][core] = count
        self.dirty[copy] = False

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
        home, core = self.home[tile], self.emit.core
        memory = self.memories[home]
        if home == ACCUMULATOR and self.size[tile] != self.slot[core] and not memory.used_bytes:
            memory.merge()  # a layer of other slots begins
            self.slot[core] = self.size[tile]
        while (found := memory.allocate(self.size[tile], self.small[tile])) is None:
            if not self._evict(home):
                self.size[tile] = self.least[tile]
                self._clear(home)
        self.address[tile], clock = found
        self.touched[tile] = list(clock)
        if home == SCRATCHPAD:
            self.peak = max(self.peak, memory.used_bytes)
        return list(clock)

    def _evict(self, home: int, beyond: int = 0) -> bool:
        """Remove the tile of this memory whose next use is farthest; False if none is used later than `beyond`."""
        tile = self.candidates[home].pop(beyond, self.stamp)
        if tile < 0:
            return False
        self._remove(tile)
        return True

    def _clear(self, home: int) -> None:
        """Last resort against fragmentation: move the operands to the start of an empty memory, side by side."""
        operands = [tile for tile in dict.fromkeys(self.operands) if self.home[tile] == home]
        for tile in operands:
            self._remove(tile)
        self.memories[home].merge()
        for tile in operands:
            self.size[tile] = self.least[tile]
            self._load(tile)

    def _remove(self, tile: int) -> None:
        if self.dirty[tile]:
            self._store(tile)
        self._free(tile)

    def _free(self, tile: int) -> None:
        self.memories[self.home[tile]].free(self.address[tile], self.size[tile], self.touched[tile])
        self.address[tile] = NONE
        self.stamp[tile] += 1

    # -- bookkeeping -------------------------------------------------------------------------------

    def _wait_for_writer(self, tile: int, wait: Clock) -> None:
        queue, count = self.writer[tile]
        if wait[queue] < count:
            wait[queue] = count

    def _wrote(self, tile: int, version: int, queue: int, count: int) -> None:
        self.version[self.tile_of[tile]] = version
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
        self.candidates[self.home[tile]].push(far, tile, self.stamp)
