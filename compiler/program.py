"""The lowered program: uOps on virtual tiles, before any of them has a place in SRAM.

    Program = uops, matmuls, vectors, tiles, tensors, layers     (tables of `hwmodel/isa.py`)
    uOp     = LOAD tile | EXECUTE row | VECTOR row | STORE tile

It is the naive program of one accelerator without memory: every operand is loaded before every use and
every finished tile is stored. Scheduling makes it a good one. The operand tables are the instruction
set's own, with the SRAM addresses still `NONE`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from minisim.errors import ScheduleError
from minisim.hwmodel import isa

UOP_DTYPE = np.dtype(
    [("opcode", "u1"), ("reserved", "u1"), ("core", "u2"), ("layer", "u4"), ("ref", "u4"), ("fetch", "u4")]
)
"""`ref` is a tile id for LOAD and STORE, a row of the operand table for EXECUTE and VECTOR. LOADs of a tile with
different `fetch` are different loads: between them the tile does not stay in SRAM."""

Ids = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Program:
    """The lowered program; its tables are those of `hwmodel/isa.py`, but for the uOps.

    Attributes:
        resident_ok: whether each tensor's tiles may stay in SRAM instead of being stored.
        sums: whether each tensor is the partial sums of a matmul (`acc` in isa.py): they live in the accumulator
            memory, if there is one.
        ahead: int64 of shape (layers, cores): bytes of SRAM to keep free so that loads can run ahead of need.
        horizon: likewise, how many of its core's uOps ahead a tile's next use is too near to be evicted for that.
        cores: how many of them the uOps are for.
    """

    name: str
    uops: isa.Table
    matmuls: isa.Table
    vectors: isa.Table
    pieces: isa.Table
    windows: isa.Table
    convolutions: isa.Table
    tiles: isa.Table
    tensors: isa.Table
    layers: isa.Table
    tensor_names: tuple[str, ...]
    layer_names: tuple[str, ...]
    layer_ops: tuple[str, ...]
    resident_ok: npt.NDArray[np.bool_]
    sums: npt.NDArray[np.bool_]
    ahead: npt.NDArray[np.int64]
    horizon: npt.NDArray[np.int64]
    cores: int = 1

    def as_schedule(self) -> isa.Schedule:
        """The same tables without a stream: lends `Schedule`'s text form to dumps. They are views, for a schedule's
        tables are read-only, and scheduling writes addresses to the program's."""
        return isa.Schedule(
            stream=np.zeros(0, dtype=isa.STREAM_DTYPE),
            transfers=np.zeros(0, dtype=isa.TRANSFER_DTYPE),
            matmuls=self.matmuls.view(),
            vectors=self.vectors.view(),
            pieces=self.pieces.view(),
            windows=self.windows,
            convolutions=self.convolutions,
            tiles=self.tiles,
            tensors=self.tensors,
            layers=self.layers,
            tensor_names=self.tensor_names,
            layer_names=self.layer_names,
            layer_ops=self.layer_ops,
            sram_bytes=0,
            model_name=self.name,
        )

    def lines(self) -> Iterator[str]:
        """The text form, for dumps."""
        text = self.as_schedule()
        for i, (opcode, _, core, layer, ref, _) in enumerate(self.uops.tolist()):
            match isa.Opcode(opcode):
                case isa.Opcode.LOAD:
                    what = f"LOAD {text.tile_name(ref)}"
                case isa.Opcode.STORE:
                    what = f"STORE {text.tile_name(ref)}"
                case isa.Opcode.EXECUTE:
                    what = text.describe_matmul(self.matmuls[ref])
                case isa.Opcode.VECTOR:
                    what = text.describe_vector(self.vectors[ref])
            place = f"layer {layer}" if self.cores == 1 else f"layer {layer} core {core}"
            yield f"{i:>6}  {place}  {what}"
        yield from isa.window_lines(self.windows)
        yield from isa.convolution_lines(self.convolutions, self.tensor_names)

    def verify(self) -> None:
        """Check what scheduling relies on.

        Raises:
            ScheduleError: a reference is out of range, or accumulation steps are not ascending.
        """
        opcode, ref = self.uops["opcode"], self.uops["ref"]
        tables = ((isa.Opcode.LOAD, self.tiles), (isa.Opcode.STORE, self.tiles),
                  (isa.Opcode.EXECUTE, self.matmuls), (isa.Opcode.VECTOR, self.vectors))  # fmt: skip
        for code, table in tables:
            if np.any(ref[opcode == code] >= len(table)):
                raise ScheduleError(f"a {code.name} uOp refers beyond its table")
        isa.verify_pieces(self.as_schedule())
        order = np.argsort(self.matmuls["c"], kind="stable")  # where sums have tiles of their own, each c has one
        c, step = self.matmuls["c"][order], self.matmuls["step"][order].astype(np.int64)
        first = np.append(True, c[1:] != c[:-1])[: len(c)]
        expected = np.where(first, 0, np.append(0, step[:-1] + 1)[: len(c)])
        if np.any(step != expected):
            raise ScheduleError("the accumulation steps of a tile must be 0, 1, 2, ... in program order")
