"""The whole compiler on one page.

    import -> fuse -> tile -> lower -> schedule -> dispatch

tile also decides which core computes what (`split.py`); lower writes that into the uOps, and from there on each
operation has its core.

fuse comes before tile, because a fused epilogue needs SRAM beside the panels; tile before lower, because
the uOps are emitted in the order of the walk; schedule before dispatch, because it fixes addresses and
waits, and after that operations may only move past those of other queues that they do not wait for.

Passes know nothing of the tool around them: verifying and dumping happen in the callback between them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

from minisim.compiler.graph import Graph
from minisim.compiler.passes.base import IR, Pass
from minisim.compiler.passes.dispatch import Dispatch
from minisim.compiler.passes.fuse import Fuse
from minisim.compiler.passes.lower import Lower
from minisim.compiler.passes.schedule import Allocate
from minisim.compiler.passes.tile import Tile
from minisim.hwmodel.config import Machine
from minisim.hwmodel.isa import Schedule

Stage = Callable[[int, str, IR], None]
"""Called after each stage with its number (0, 10, 20, ...), its name and the IR."""


def passes(machine: Machine) -> tuple[Pass, ...]:
    return (Fuse(), Tile(machine), Lower(machine), Allocate(machine), Dispatch(machine))


def compile_graph(
    graph: Graph, machine: Machine, on_stage: Stage | None = None, undispatched: Schedule | None = None
) -> Schedule:
    """Compile `graph` for `machine`.

    Args:
        undispatched: the result of `compile_undispatched` for a machine of the same `schedule_key`, to
            save all but the last pass.

    Raises:
        ModelError: the graph is not well formed.
        CapacityError: the SRAM is too small for one operation's operands.
    """
    if undispatched is not None:
        return Dispatch(machine).apply(undispatched)
    schedule = _through(passes(machine), graph, on_stage)
    assert isinstance(schedule, Schedule)
    return schedule


def compile_undispatched(graph: Graph, machine: Machine) -> Schedule:
    """What many machines have in common (see `schedule_key`); raises as `compile_graph` does."""
    schedule = _through(passes(machine)[:-1], graph, None)
    assert isinstance(schedule, Schedule)
    return schedule


def _through(steps: Sequence[Pass], ir: IR, on_stage: Stage | None) -> IR:
    """Apply `steps` one after the other; verify and show the IR before the first and after each."""
    for i, step in enumerate([None, *steps]):
        ir = step.apply(ir) if step else ir
        ir.verify()
        if on_stage:
            on_stage(10 * i, step.name if step else "import", ir)
    return ir


def schedule_key(graph: Graph, machine: Machine) -> str:
    """Equal keys, equal schedules before dispatch: machines with one key need one compilation of `graph`.

    What the passes after `tile` read is the tiled graph, the SRAM's size, the data type, whether to keep
    tiles on chip, the tile's edges (which pad the tensors in DRAM), and how many cores there are.
    """
    tiled = Tile(machine).apply(Fuse().apply(graph))
    machine_key = (
        machine.sram.bytes,
        machine.matrix.dtype,
        machine.compiler.keep_on_chip,
        machine.tile,
        machine.cores.count,
    )
    return hashlib.sha256(repr((machine_key, sorted(tiled.tilings.items()))).encode()).hexdigest()


def dump_to(folder: Path) -> Stage:
    """A callback that writes every stage to ``folder/NN-name.txt``."""
    folder.mkdir(parents=True, exist_ok=True)

    def dump(number: int, name: str, ir: IR) -> None:
        text = "\n".join(ir.lines()) + "\n"
        (folder / f"{number:02d}-{name}.txt").write_text(text, encoding="utf-8")

    return dump
