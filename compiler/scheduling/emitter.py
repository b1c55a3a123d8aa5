"""A schedule under construction: operations are appended in program order, column by column."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np

from minisim.compiler.program import Program
from minisim.compiler.scheduling.arena import Clock
from minisim.compiler.scheduling.copies import Copies
from minisim.hwmodel import isa
from minisim.hwmodel.isa import NONE, QUEUE_OF, Opcode, Queue

_MATMUL_ADDRESSES = ("a_sram", "b_sram", "c_sram", "bias_sram", "residual_sram", "acc_sram")
_VECTOR_ADDRESSES = tuple(f"{name}_sram" for name in isa.VECTOR_OPERANDS)


Sync = tuple[int, int]
"""A core, and how many of its stores must have retired."""


class Emitter:
    """Appends operations of `program` on core `core`; each method returns how many its queue there then holds."""

    def __init__(self, program: Program, copies: Copies) -> None:
        self.program = program
        self.layer = 0
        self._all_counts = [[0] * len(Queue) for _ in range(program.cores)]
        self._stream = {name: array("I") for name in ("opcode", "layer", "row")}
        self._turns: list[tuple[int, int]] = []  # first operation and core of each stretch of one core
        self._syncs: list[tuple[int, int, int, int]] = []
        self._syncing: list[tuple[int, int]] = []  # operation and first sync of those that have any
        self.turn_to(0)
        self._wait = array("I")
        self._transfers = {name: array("I") for name in ("tile", "version", "sram")}
        self._matmul_addresses = array("I")
        self._vector_addresses = array("I")
        self._piece_addresses = array("I")
        operands = [copies.matmuls[name].tolist() for name in isa.MATMUL_OPERANDS]
        steps = [program.matmuls[name].tolist() for name in ("step", "last")]
        self._matmuls = list(zip(*operands, *steps, strict=True))
        self._pieces = _copies_of_pieces(program, program.matmuls, copies)
        self._pieces_of_vectors = _copies_of_pieces(program, program.vectors, copies)
        self._vectors = list(zip(*(copies.vectors[name].tolist() for name in isa.VECTOR_OPERANDS), strict=True))

    def turn_to(self, core: int) -> None:
        """Turn to `core`, whose operations come next."""
        self.core, self.count = core, self._all_counts[core]
        self._turns.append((len(self._stream["opcode"]), core))

    def matmul_operands(self, row: int) -> tuple[int, int, int, int, int, int, int, int]:
        """The copies of a, b, c, bias, residual, acc, then the step, and whether it is the last."""
        return self._matmuls[row]

    def pieces(self, row: int) -> Sequence[int]:
        """The copies of the pieces of a; none if it is a tile."""
        return self._pieces.get(row, ())

    def vector_operands(self, row: int) -> tuple[int, int, int, int, int]:
        """The copies of src0, src1, src2, acc, dst."""
        return self._vectors[row]

    def vector_pieces(self, row: int) -> Sequence[int]:
        """The copies of the pieces of src0; none if it is a tile."""
        return self._pieces_of_vectors.get(row, ())

    def transfer(
        self, opcode: Opcode, tile: int, version: int, address: int, wait: Clock, syncs: Sequence[Sync] = ()
    ) -> int:
        rows = self._transfers["tile"]
        rows.append(tile)
        self._transfers["version"].append(version)
        self._transfers["sram"].append(address)
        if syncs:
            self._syncing.append((len(self._stream["opcode"]), len(self._syncs)))
        for i, (core, count) in enumerate(syncs, 1):
            self._syncs.append((core, Queue.STORE, i < len(syncs), count))
        return self._append(opcode, len(rows) - 1, wait)

    def execute(self, row: int, wait: Clock, pieces: Iterable[int], *addresses: int) -> int:
        """Appends an EXECUTE with its operands, and the pieces of a, at these addresses."""
        self._matmul_addresses.extend(addresses)
        self._piece_addresses.extend(pieces)
        return self._append(Opcode.EXECUTE, row, wait)

    def vector(self, row: int, wait: Clock, pieces: Iterable[int], *addresses: int) -> int:
        self._vector_addresses.extend(addresses)
        self._piece_addresses.extend(pieces)
        return self._append(Opcode.VECTOR, row, wait)

    def _append(self, opcode: Opcode, row: int, wait: Clock) -> int:
        queue = QUEUE_OF[opcode]
        self._stream["opcode"].append(opcode)
        self._stream["layer"].append(self.layer)
        self._stream["row"].append(row)
        self._wait.extend(wait)
        self.count[queue] += 1
        return self.count[queue]

    def finish(self, layers: isa.Table, sram_bytes: int, accumulator_bytes: int, live_bytes: int) -> isa.Schedule:
        """The schedule. Compute operations were appended in the order of their tables' rows."""
        p = self.program
        stream = np.zeros(len(self._stream["opcode"]), dtype=isa.STREAM_DTYPE)
        for name, column in self._stream.items():
            stream[name] = column
        stream["queue"] = np.array([QUEUE_OF[op] for op in Opcode], dtype=np.uint8)[stream["opcode"]]
        for (begin, core), (end, _) in pairwise([*self._turns, (len(stream), 0)]):
            stream["core"][begin:end] = core
        stream["sync"] = NONE
        for op, row in self._syncing:
            stream["sync"][op] = row
        stream["wait"] = np.array(self._wait, dtype=np.uint32).reshape(-1, len(Queue))
        transfers = np.zeros(len(self._transfers["tile"]), dtype=isa.TRANSFER_DTYPE)
        for name, column in self._transfers.items():
            transfers[name] = column
        return isa.Schedule(
            stream=stream,
            transfers=transfers,
            matmuls=_addressed(p.matmuls, _MATMUL_ADDRESSES, self._matmul_addresses),
            vectors=_addressed(p.vectors, _VECTOR_ADDRESSES, self._vector_addresses),
            pieces=_addressed(p.pieces, ("sram",), self._piece_addresses),
            windows=p.windows.copy(),
            convolutions=p.convolutions.copy(),
            tiles=p.tiles.copy(),
            tensors=p.tensors.copy(),
            layers=layers,
            tensor_names=p.tensor_names,
            layer_names=p.layer_names,
            layer_ops=p.layer_ops,
            sram_bytes=sram_bytes,
            sram_final_live_bytes=live_bytes,
            model_name=p.name,
            accumulator_bytes=accumulator_bytes,
            syncs=np.array(self._syncs, dtype=isa.SYNC_DTYPE),
            cores=p.cores,
        )


def _copies_of_pieces(program: Program, table: isa.Table, copies: Copies) -> dict[int, list[int]]:
    """Of each row of `table` whose first operand is made of pieces, their copies."""
    owner, pieces = isa.pieces_of(program.pieces, table)
    found: dict[int, list[int]] = {}
    for row, copy in zip(owner.tolist(), copies.pieces[pieces].tolist(), strict=True):
        found.setdefault(row, []).append(copy)
    return found


def _addressed(table: isa.Table, names: tuple[str, ...], addresses: array[int]) -> isa.Table:
    filled = table.copy()
    columns = np.array(addresses, dtype=np.uint32).reshape(-1, len(names))
    for i, name in enumerate(names):
        filled[name] = columns[:, i]
    return filled
