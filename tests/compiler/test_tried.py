"""What was tried for one machine serves for others (`tried.py`, `untimed.py`), and changes nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.graphs import graphs
from support.machines import machines_for

import minisim as ms
from minisim.compiler import lowered
from minisim.compiler.builder import ProgramBuilder
from minisim.compiler.kept import Kept
from minisim.compiler.ops import OPERATORS
from minisim.compiler.passes import choose, edges_alone, tried
from minisim.compiler.passes.schedule import Allocate
from minisim.compiler.passes.tile import Tile
from minisim.compiler.pipeline import computed_graph
from minisim.compiler.tiling import TiledGraph
from minisim.compiler.untimed import untimed
from minisim.errors import CapacityError

OTHER_SPEEDS = [
    {"dram.bandwidth": "3GB/s"},
    {"dram.latency": "333ns", "clock.frequency": "700MHz"},
    {"dma.bytes_per_cycle": 4, "dma.setup_cycles": 3},
    {"vector.lanes": 3, "matrix.overlap": "none"},
]


def forget() -> None:
    tried._KEPT.clear()
    lowered._KEPT.clear()
    for found in (choose._best, edges_alone.tried_alone):
        found.cache_clear()


@pytest.fixture(autouse=True)
def _nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINISIM_CACHE", "off")
    forget()


def digest(graph: ms.Graph, machine: ms.Machine) -> str:
    try:
        return ms.compile_graph(graph, machine, numerics=False).digest()
    except CapacityError as e:
        return str(e)


@settings(deadline=None, max_examples=10)
@given(st.data())
def test_what_was_tried_for_other_speeds_changes_no_schedule(data: st.DataObject) -> None:
    graph = data.draw(graphs())
    machine = data.draw(machines_for(graph)).replace(f"compiler.effort={data.draw(st.integers(0, 1))}")
    others = [machine.with_overrides(dict(speeds)) for speeds in OTHER_SPEEDS]
    expected = []
    for other in others:
        forget()
        expected.append(digest(graph, other))
    assert [digest(graph, other) for other in others] == expected


@settings(deadline=None, max_examples=25)
@given(st.data())
def test_lowering_reads_nothing_of_a_machine_but_what_is_kept_without_its_speed(data: st.DataObject) -> None:
    graph = data.draw(graphs())
    machine = data.draw(machines_for(graph)).replace("compiler.effort=0")
    tiled = Tile(machine).apply(computed_graph(graph, machine, numerics=False))
    assert lowered_on(machine, tiled) == lowered_on(untimed(machine), tiled)


def lowered_on(machine: ms.Machine, tiled: TiledGraph) -> list[str]:
    """The operations of a tiled graph, without any that were kept."""
    program = ProgramBuilder(tiled.graph, machine)
    for node in tiled.executed():
        OPERATORS[node.op].lower(node, tiled.graph, tiled.tilings[node.name], program)
    return list(program.finish().lines())


def test_of_another_speed_little_is_scheduled_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    scheduled: list[str] = []
    apply = Allocate.apply
    monkeypatch.setattr(Allocate, "apply", lambda self, program: scheduled.append(program.name) or apply(self, program))
    counts = []
    for bandwidth in ("12.8GB/s", "12.9GB/s", "13GB/s"):
        scheduled.clear()
        ms.compile_graph("gemm:512x512x512", ms.Machine.load("npu_32x32", [f"dram.bandwidth={bandwidth}"]))
        counts.append(len(scheduled))
    assert counts[0] > 5
    assert max(counts[1:]) <= counts[0] / 2


def test_a_machine_without_its_speed_has_its_sizes() -> None:
    machine = ms.Machine.load("tpu_like_128x128", ["sram.bytes=1MiB", "tile.k=64", "compiler.order=mnk"])
    plain = untimed(machine)
    assert (plain.sram.bytes, plain.tile, plain.compiler.order) == (1 << 20, machine.tile, "mnk")
    assert plain == untimed(machine.replace("dram.bandwidth=1GB/s", "clock.frequency=1MHz"))
    for change in ("sram.bytes=2MiB", "tile.k=32", "compiler.order=auto", "cores.count=2", "matrix.dtype=bf16"):
        assert plain != untimed(machine.replace(change))


def test_what_is_kept_is_what_was_used_last() -> None:
    kept: Kept[str, Bytes] = Kept(room=10, most=6)
    for name, size in (("a", 4), ("b", 4), ("large", 7)):
        kept.put(name, Bytes(size))
    assert kept.get("a") and not kept.get("large")
    kept.put("c", Bytes(5))
    assert (kept.get("b"), len(kept), kept.nbytes()) == (None, 2, 9)
    kept.put("c", Bytes(6))
    assert (len(kept), kept.nbytes()) == (2, 10)
    kept.clear()
    assert (len(kept), kept.nbytes()) == (0, 0)


class Bytes:
    """So many bytes."""

    def __init__(self, size: int) -> None:
        self.data = np.zeros(size, dtype=np.uint8)

    def nbytes(self) -> int:
        return self.data.nbytes
