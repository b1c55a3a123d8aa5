"""A schedule under construction: operations are appended in program order, column by column."""

from __future__ import annotations

from array import array

import numpy as np

from minisim.compiler.program import Program
from minisim.compiler.sram import Clock
from minisim.hwmodel import isa
from minisim.hwmodel.isa import QUEUE_OF, Opcode, Queue

_MATMUL_ADDRESSES = ("a_sram", "b_sram", "c_sram", "bias_sram", "residual_sram", "acc_sram")
_VECTOR_ADDRESSES = ("src0_sram", "src1_sram", "dst_sram")


class Emitter:
    """Appends operations of `program`; each method returns how many its queue then holds."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.layer = 0
        self.count = [0] * len(Queue)
        self._stream = {name: array("I") for name in ("opcode", "layer", "row")}
        self._wait = array("I")
        self._transfers = {name: array("I") for name in ("tile", "version", "sram")}
        self._matmul_addresses = array("I")
        self._vector_addresses = array("I")
        names = ("a", "b", "c", "bias", "residual", "acc", "step", "last")
        self._matmuls = list(zip(*(program.matmuls[name].tolist() for name in names), strict=True))
        self._vectors = list(zip(*(program.vectors[name].tolist() for name in ("src0", "src1", "dst")), strict=True))

    def matmul_operands(self, row: int) -> tuple[int, int, int, int, int, int, int, int]:
        """Tiles a, b, c, bias, residual, acc, then the step, and whether it is the last."""
        return self._matmuls[row]

    def vector_operands(self, row: int) -> tuple[int, int, int]:
        """Tiles src0, src1, dst."""
        return self._vectors[row]

    def transfer(self, opcode: Opcode, tile: int, version: int, address: int, wait: Clock) -> int:
        rows = self._transfers["tile"]
        rows.append(tile)
        self._transfers["version"].append(version)
        self._transfers["sram"].append(address)
        return self._append(opcode, len(rows) - 1, wait)

    def execute(self, row: int, wait: Clock, *addresses: int) -> int:
        self._matmul_addresses.extend(addresses)
        return self._append(Opcode.EXECUTE, row, wait)

    def vector(self, row: int, wait: Clock, *addresses: int) -> int:
        self._vector_addresses.extend(addresses)
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
        stream["wait"] = np.array(self._wait, dtype=np.uint32).reshape(-1, len(Queue))
        transfers = np.zeros(len(self._transfers["tile"]), dtype=isa.TRANSFER_DTYPE)
        for name, column in self._transfers.items():
            transfers[name] = column
        return isa.Schedule(
            stream=stream,
            transfers=transfers,
            matmuls=_addressed(p.matmuls, _MATMUL_ADDRESSES, self._matmul_addresses),
            vectors=_addressed(p.vectors, _VECTOR_ADDRESSES, self._vector_addresses),
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
        )


def _addressed(table: isa.Table, names: tuple[str, ...], addresses: array[int]) -> isa.Table:
    filled = table.copy()
    columns = np.array(addresses, dtype=np.uint32).reshape(-1, len(names))
    for i, name in enumerate(names):
        filled[name] = columns[:, i]
    return filled
