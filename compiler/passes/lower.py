"""Lowering: each operator emits its uOps on virtual tiles."""

from __future__ import annotations

from dataclasses import dataclass

from minisim.compiler.ops import OPERATORS
from minisim.compiler.program import Program, ProgramBuilder
from minisim.compiler.slicing import interleaved
from minisim.compiler.tiling import TiledGraph
from minisim.hwmodel.config import Machine


@dataclass(frozen=True)
class Lower:
    """TiledGraph -> Program."""

    machine: Machine
    name: str = "lower"

    def apply(self, tiled: TiledGraph) -> Program:
        program = ProgramBuilder(tiled.graph, self.machine)
        for node in tiled.executed():
            OPERATORS[node.op].lower(node, tiled.graph, tiled.tilings[node.name], program)
        lowered = program.finish()
        return interleaved(lowered, tiled.slices) if tiled.slices else lowered
