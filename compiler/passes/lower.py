"""Lowering: each operator emits its uOps on virtual tiles."""

from __future__ import annotations

from dataclasses import dataclass

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
        lowered = lower(tiled, untimed(self.machine)).finish()
        return interleaved(lowered, tiled.slices) if tiled.slices else lowered
