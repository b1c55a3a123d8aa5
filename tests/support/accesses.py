"""Who touches which bytes when: an independent, brute-force check of a schedule.

It shares nothing with the engine's tracker but the operand tables. Memory accesses are listed as rows, and
every pair of rows is compared: bytes, program order, time. Quadratic, so for small schedules.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from minisim import Schedule, Timeline
from minisim.hwmodel.isa import NONE, VECTOR_OPERANDS, Opcode, Table, item_sizes

Mask = npt.NDArray[np.bool_]


class Access(NamedTuple):
    """One operation's access to one tile in one memory.

    Attributes:
        address: in SRAM; -1 for DRAM, where the tile says it all.
        accumulates: it continues the sums that are there (or, without writing, takes them over), or the stack.
    """

    op: int
    table: str
    row: int
    field: str
    tile: int
    address: int
    writes: bool
    accumulates: bool = False

    @property
    def places(self) -> bool:
        """Whether it begins a new content in SRAM."""
        return self.writes and self.address >= 0 and not self.accumulates


def accesses(schedule: Schedule) -> Iterator[Access]:
    """All accesses, in program order; an operation's reads come before its write."""
    opcodes, rows = schedule.stream["opcode"].tolist(), schedule.stream["row"].tolist()
    for op, (opcode, row) in enumerate(zip(opcodes, rows, strict=True)):
        match opcode:
            case Opcode.LOAD | Opcode.STORE:
                x = schedule.transfers[row]
                in_sram = (op, "transfers", row, "sram", int(x["tile"]), int(x["sram"]), opcode == Opcode.LOAD)
                in_dram = (op, "transfers", row, "sram", int(x["tile"]), -1, opcode == Opcode.STORE)
                yield from _operand(op, "transfers", row, x, "list", writes=False)
                pair = [Access(*in_dram), Access(*in_sram)]
                yield from pair if opcode == Opcode.LOAD else reversed(pair)
            case Opcode.EXECUTE:
                x = schedule.matmuls[row]
                for name in ("a", "b", "bias", "residual"):
                    yield from _operand(op, "matmuls", row, x, name, writes=False)
                yield from _pieces(schedule, op, int(x["a_pieces"]))
                further = bool(x["step"])
                if x["acc"] == NONE:
                    goes_on = further or _is_behind_others(schedule, int(x["c"]))
                    yield from _operand(op, "matmuls", row, x, "c", writes=True, accumulates=goes_on)
                elif not x["last"]:
                    yield from _operand(op, "matmuls", row, x, "acc", writes=True, accumulates=further)
                else:
                    if further:
                        yield from _operand(op, "matmuls", row, x, "acc", writes=False, accumulates=True)
                    behind = _is_behind_others(schedule, int(x["c"]))
                    yield from _operand(op, "matmuls", row, x, "c", writes=True, accumulates=behind)
            case Opcode.VECTOR:
                yield from _pieces(schedule, op, int(schedule.vectors[row]["src0_pieces"]))
                for name in VECTOR_OPERANDS:
                    yield from _operand(op, "vectors", row, schedule.vectors[row], name, writes=name == "dst")


def _is_behind_others(schedule: Schedule, tile: int) -> bool:
    """Whether a tile lies in a stack, and is not the first one there."""
    t = schedule.tiles[tile]
    return bool(t["stack"]) and t["row"] > schedule.tiles[tile - t["stack"]]["row"]


def _pieces(schedule: Schedule, op: int, piece: int) -> Iterator[Access]:
    while piece != NONE:
        found = schedule.pieces[piece]
        yield Access(op, "pieces", piece, "sram", int(found["tile"]), int(found["sram"]), False)
        piece = piece + 1 if found["more"] else NONE


def _operand(
    op: int, table: str, row: int, x: np.void, name: str, *, writes: bool, accumulates: bool = False
) -> Iterator[Access]:
    if x[name] != NONE:
        field = f"{name}_sram"
        yield Access(op, table, row, field, int(x[name]), int(x[field]), writes, accumulates)


# -- pairs of accesses ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Checker:
    """Finds pairs of accesses that the schedule should have kept in order.

    Args:
        tiles_overlap: whether two tiles share bytes of DRAM, for each pair: `overlaps_in_dram(schedule)`.
    """

    tiles_overlap: Mask

    @classmethod
    def of(cls, schedule: Schedule) -> Checker:
        """For `schedule`, and for all with the same tiles and tensors."""
        return cls(overlaps_in_dram(schedule))

    def violations(self, schedule: Schedule, timeline: Timeline) -> list[tuple[int, int]]:
        """Pairs of operations that touch the same bytes, at least one writing, of which the later one in
        the program started before the earlier one had retired.

        Steps of one accumulation are exempt: one pipeline adds them up, in order.
        """
        rows = list(accesses(schedule))
        op, tile, address = (_column(rows, name, np.int64) for name in ("op", "tile", "address"))
        writes, accumulates = (_column(rows, name, np.bool_) for name in ("writes", "accumulates"))
        matmul = np.array([a.table == "matmuls" for a in rows], dtype=bool)
        bytes_, core = schedule.tile_bytes()[tile], schedule.stream["core"][op]
        earlier, later = np.nonzero(
            (op[:, None] < op)
            & (writes[:, None] | writes)
            & (timeline.end[op][:, None] > timeline.start[op])
            & ((address[:, None] < 0) == (address < 0))
            & ((address < 0) | (core[:, None] == core))  # an SRAM is its core's own
        )
        in_dram = address[earlier] < 0
        in_sram = (address[earlier] < address[later] + bytes_[later]) & (
            address[later] < address[earlier] + bytes_[earlier]
        )
        shared = np.where(in_dram, self.tiles_overlap[tile[earlier], tile[later]], in_sram)
        one_sum = (
            (matmul & writes)[earlier]
            & accumulates[later]
            & (tile[earlier] == tile[later])
            & (address[earlier] == address[later])
        )
        bad = shared & ~one_sum
        return sorted(set(zip(op[earlier[bad]].tolist(), op[later[bad]].tolist(), strict=True)))


def _column(rows: list[Access], name: str, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    return np.array([getattr(access, name) for access in rows], dtype=dtype)


def overlaps_in_dram(schedule: Schedule) -> Mask:
    """For each pair of tiles, whether they share an element of DRAM, views included."""
    count = len(schedule.tiles)
    overlap = np.zeros((count, count), dtype=bool)
    storage_of = schedule.tensors["storage"][schedule.tiles["tensor"]]
    for storage in np.unique(storage_of):
        members = np.flatnonzero(storage_of == storage)
        covers = np.packbits([_elements(schedule, int(tile)) for tile in members], axis=1)
        overlap[np.ix_(members, members)] = np.stack([(covers & mine).any(axis=1) for mine in covers])
    return overlap


def _elements(schedule: Schedule, tile: int) -> Mask:
    """Which elements of its storage the tile covers. Views share a type."""
    t = schedule.tiles[tile]
    tensors = schedule.tensors
    mine = tensors[t["tensor"]]
    views = tensors[tensors["storage"] == mine["storage"]]
    item = int(item_sizes()[mine["dtype"]])
    rows = np.where(views["indices"] > 0, views["choices"], views["rows"]).astype(np.int64)
    size = int((rows * views["pitch"]).max()) // item
    covered = np.zeros(size, dtype=bool)
    if mine["indices"]:  # a row of the table, whichever
        covered[:] = True
        return covered
    pitch = int(mine["pitch"]) // item
    for row in range(int(t["row"]), int(t["row"] + t["rows"])):
        start = row * pitch + int(t["col"])
        covered[start : start + int(t["cols"])] = True
    return covered


# -- residencies ------------------------------------------------------------------------------------


@dataclass
class Residency:
    """A tile's stay in SRAM at one address: the accesses from the one that placed it to the last.

    Those to tiles in a stack are accesses to the stack, whose first tile lies where it does.
    """

    accesses: list[Access]

    @property
    def tile(self) -> int:
        return self.accesses[0].tile

    @property
    def address(self) -> int:
        return self.accesses[0].address

    @property
    def first(self) -> int:
        return self.accesses[0].op

    @property
    def last(self) -> int:
        return self.accesses[-1].op


def residencies(schedule: Schedule) -> list[Residency]:
    """All stays in SRAM, in order of their beginnings.

    Raises:
        KeyError: an operation accesses a tile at an address where nothing has put it.
    """
    found: list[Residency] = []
    current: dict[tuple[int, int, int], Residency] = {}
    cores = schedule.stream["core"].tolist()
    for access in accesses(schedule):
        if access.address < 0:
            continue
        stack = access.tile - int(schedule.tiles["stack"][access.tile])
        above = int(schedule.tiles["row"][access.tile]) - int(schedule.tiles["row"][stack])
        rows = int(schedule.tiles["rows"][access.tile])
        key = cores[access.op], stack, access.address - above * int(schedule.tile_bytes()[access.tile]) // rows
        if access.places:
            current[key] = Residency([])
            found.append(current[key])
        current[key].accesses.append(access)
    return found


def operand_tables(schedule: Schedule) -> dict[str, Table]:
    """Copies of the operand tables, to change."""
    return {name: getattr(schedule, name).copy() for name in ("transfers", "matmuls", "vectors", "pieces")}
