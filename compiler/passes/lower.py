"""Lowering: each operator emits its uOps on virtual tiles."""

from __future__ import annotations

from dataclasses import dataclass

from minisim.compiler.ops import OPERATORS
from minisim.compiler.program import Program, ProgramBuilder
from minisim.compiler.tiling import TiledGraph
from minisim.hwmodel.config import Machine


@dataclass(frozen=True)
class Lower:
    """TiledGraph -> Program."""

    machine: Machine
    name: str = "lower"

    def apply(self, tiled: TiledGraph) -> Program:
        program = ProgramBuilder(tiled.graph, self.machine)
        executed = [node for node in tiled.graph.nodes if node.name in tiled.tilings]
        for node in executed:
            OPERATORS[node.op].lower(node, tiled.graph, tiled.tilings[node.name], program)
        return program.finish()
