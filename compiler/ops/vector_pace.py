"""How fast a core is at an operation of the vector unit that takes a tile and leaves one."""

from __future__ import annotations

from minisim.compiler.graph import Graph, Node
from minisim.compiler.panels import Pace
from minisim.compiler.tiling import Tiling
from minisim.hwmodel import cost, isa
from minisim.hwmodel.config import Machine


def vector_pace(busy: int, node: Node, graph: Graph, tiling: Tiling, machine: Machine) -> Pace:
    """The pace at a node whose tiles keep the vector unit `busy` for so many cycles each."""
    dram = float(1 / machine.memory_bytes_per_cycle)
    row = tiling.n * isa.ITEMSIZE[graph.tensors[node.output].code]
    load, store = (max(cost.port_pace(tiling.m, row, machine, way), dram) for way in (True, False))
    turnaround = machine.dma.setup_cycles + machine.dram_latency_cycles + busy + machine.vector.latency_cycles
    return Pace(max(busy, machine.vector.setup_cycles), load, store, dram, turnaround)
