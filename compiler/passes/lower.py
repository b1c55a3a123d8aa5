"""Lowering: each operator emits its uOps on virtual tiles."""

from __future__ import annotations

from dataclasses import dataclass, replace

from minisim.compiler.lowered import lower
from minisim.compiler.program import Program
from minisim.compiler.slicing import interleaved
from minisim.compiler.tiling import TiledGraph
from minisim.compiler.untimed import untimed
from minisim.hwmodel.config import Machine


@dataclass(frozen=True)
class Lower:
    """TiledGraph -> Program."""

    machine: Machine
    name: str = "lower"

    def apply(self, tiled: TiledGraph) -> Program:
        for_machine = untimed(self.machine)
        if tiled.at_hand and tiled.at_hand[0][0] == for_machine:
            at_hand: Program = tiled.at_hand.pop()[1]
            return at_hand
        lowered = lower(tiled, for_machine).finish()
        return interleaved(lowered, tiled.slices) if tiled.slices else lowered

    def at_hand(self, tiled: TiledGraph, program: Program) -> TiledGraph:
        """`tiled`, which was lowered to `program` on the way: it is not lowered again, unless it is twice."""
        tiled = replace(tiled)
        tiled.at_hand.append((untimed(self.machine), program))
        return tiled
