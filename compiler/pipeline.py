"""The whole compiler on one page.

    import -> [attend] -> fuse -> [sparse] -> [pack] -> [cast | quantize] -> phases -> [depthwise] -> [place]
           -> tile -> slice -> lower -> schedule -> dispatch

tile also decides which core computes what (`shares.py`); lower writes that into the uOps, and from there on each
operation has its core. slice decides which layers are walked together, strip by strip (`slicing.py`), and
whether all that is better done as on a poorer machine (`nest.py`).

attend comes first, because what attention means is said by the model alone, whatever is fused into what; a machine
that quantises float models computes its products in integers, each by itself, so there is none. fuse comes next,
because inside a fused operation all is in the type of its sums: what cast rounds and quantize scales is what enters and
leaves a unit. sparse follows where a machine has sparsity, and pack where a model has weights of 4 bits, both before
the weights are rounded or scaled. One of the two follows if the machine computes float models in bf16, fp16 or int8;
before tile, because a tile's bytes depend on its type. phases and depthwise come behind both: the bits are the same.
The phases of a depthwise convolution are depthwise, too, so they come first. place follows where a model has states:
it says where tensors lie, whatever made them. fuse comes before tile also because a
fused epilogue needs SRAM beside the panels; tile before lower, because the uOps are emitted in the order of the walk;
schedule before dispatch, because it fixes addresses and waits, and after that operations may only move past those of
other queues that they do not wait for.
Passes know nothing of the tool around them: verifying and dumping happen in the callback between them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from minisim.compiler.dtypes import NAME
from minisim.compiler.example_inputs import index_inputs
from minisim.compiler.frontend import ModelLike, as_graph
from minisim.compiler.graph import Graph
from minisim.compiler.lookups import indices_of
from minisim.compiler.mapping import Edges, check_mapping
from minisim.compiler.passes.attend import Attend
from minisim.compiler.passes.base import IR, Pass
from minisim.compiler.passes.cast import Cast
from minisim.compiler.passes.depthwise import Depthwise
from minisim.compiler.passes.dispatch import Dispatch
from minisim.compiler.passes.fuse import Fuse
from minisim.compiler.passes.lower import Lower
from minisim.compiler.passes.nest import Nest
from minisim.compiler.passes.pack import Pack, is_blocked
from minisim.compiler.passes.phases import Phases
from minisim.compiler.passes.place import Place, has_states
from minisim.compiler.passes.quantize import Quantize
from minisim.compiler.passes.schedule import Allocate
from minisim.compiler.passes.sparse import Sparse
from minisim.compiler.passes.tile import MAX_OPERATIONS, Tile
from minisim.compiler.room import with_room
from minisim.compiler.tiling import TiledGraph
from minisim.compiler.untimed import untimed
from minisim.errors import UsageError, one_line, printable, shown, truth, whole
from minisim.hwmodel.config import Machine, MachineLike
from minisim.hwmodel.isa import DType, Schedule

Stage = Callable[[int, str, IR], None]
"""Called after each stage with its number, its name and the IR."""

ON_STAGE = "on_stage must be a function of number, name and IR"
"""What is said where it is something else."""

Step = tuple[int, Pass]
"""A pass, and the number of its stage: the same for all machines. 0 is the import."""


def conversions(machine: Machine, numerics: bool) -> tuple[Pass, ...]:
    """What makes a float model one of the machine's type."""
    channels = machine.compiler.weight_scales == "channel"
    found: dict[DType, tuple[Pass, ...]] = {
        DType.FP32: (),
        DType.BF16: (Cast("bfloat16"),),
        DType.FP16: (Cast("float16"),),
        DType.INT8: (Quantize(numerics, channels),),
    }
    return found[machine.dtype]


def graph_passes(
    machine: Machine, numerics: bool = True, states: bool = False, blocked: bool = False
) -> tuple[Step, ...]:
    """The passes from the user's graph, which may have `states` and `blocked` weights, to the one that is computed."""
    steps: tuple[Step, ...] = () if machine.dtype == DType.INT8 else ((5, Attend()),)
    steps = (*steps, (10, Fuse()))
    steps = (*steps, (12, Sparse(machine))) if machine.sparsity.numbers else steps
    steps = (*steps, (13, Pack(machine))) if blocked else steps
    steps = (*steps, *((15, step) for step in conversions(machine, numerics)), (16, Phases()))
    steps = (*steps, (17, Depthwise())) if machine.vector.depthwise else steps
    return (*steps, (18, Place())) if states else steps


def values_graph(graph: Graph, machine: Machine) -> Graph:
    """`graph` with the values that a machine computes one by one: scores that stay on chip are none."""
    return Attend().apply(graph) if machine.dtype != DType.INT8 and machine.compiler.slices else graph


def deciding_passes(
    machine: Machine, max_operations: int = MAX_OPERATIONS, mapping: Mapping[str, Edges] | None = None
) -> tuple[Step, ...]:
    """Those that decide how the graph is walked: most of the time of a compilation."""
    given = max_operations, mapping or {}
    return ((20, Tile(machine, *given)), (25, Nest(machine, *given)))


def making_passes(machine: Machine) -> tuple[Step, ...]:
    """Those that make a schedule of it."""
    return ((30, Lower(machine)), (40, Allocate(machine, in_place=True)))


def compile_graph(
    graph: ModelLike,
    machine: MachineLike = None,
    on_stage: Stage | None = None,
    undispatched: Schedule | None = None,
    max_operations: int = MAX_OPERATIONS,
    numerics: bool = True,
    mapping: Mapping[str, Edges] | None = None,
) -> Schedule:
    """Compile `graph` for `machine`.

    Args:
        graph: a Graph, or what `load_model` takes.
        machine: a Machine, or what `Machine.of` takes; default: the reference machine.
        undispatched: the result of `compile_undispatched` for a machine of the same `schedule_key`, to
            save all but the last pass.
        max_operations: operations of the array and the vector unit; more are refused before any of them is made.
        numerics: whether the schedule will be computed with; if not, a float model is not calibrated for int8.
        mapping: by layer the edges m, k and n of its tiles, in elements; of others the compiler chooses them.

    Raises:
        ModelError: the graph is not well formed, or the machine cannot compute it in its type; or the mapping is not
            for both.
        CapacityError: the SRAM, or the accumulator memory, is too small for one operation's operands; or the model
            takes more than `max_operations`.
    """
    machine = Machine.of(machine)
    graph = as_graph(graph, NAME[machine.dtype])
    if on_stage is not None and not callable(on_stage):
        raise UsageError(f"{ON_STAGE}, not {shown(on_stage)}")
    max_operations, numerics = whole("max_operations", max_operations), truth("numerics", numerics)
    if undispatched is not None and not isinstance(undispatched, Schedule):
        raise UsageError(f"undispatched must be a Schedule, not {shown(undispatched)}")
    if undispatched is not None:
        return Dispatch(machine).apply(undispatched)
    mapping = check_mapping(mapping)
    to_computed = graph_passes(machine, numerics, has_states(graph), is_blocked(graph))
    computed = _through(to_computed, _imported(graph, on_stage), on_stage)

    def compiled(on: Machine) -> Schedule:
        deciding = deciding_passes(on, max_operations, mapping)
        schedule = _through((*deciding, *making_passes(on), (50, Dispatch(on))), computed, on_stage)
        assert isinstance(schedule, Schedule)
        return schedule

    return with_room(machine, mapping, compiled)


def compile_undispatched(
    graph: Graph, machine: Machine, max_operations: int = MAX_OPERATIONS, numerics: bool = True
) -> Schedule:
    """What many machines have in common (see `schedule_key`); raises as `compile_graph` does."""
    return with_room(machine, (), lambda on: compile_tiled(tiled_graph(graph, on, max_operations, numerics), on))


def tiled_graph(
    graph: Graph,
    machine: Machine,
    max_operations: int = MAX_OPERATIONS,
    numerics: bool = True,
    mapping: Mapping[str, Edges] | None = None,
) -> TiledGraph:
    """`graph` as the machine walks it: what is decided before anything is made of it; raises as `compile_graph`
    does, but for want of room: that is found out when it is made (`with_room`)."""
    to_computed = graph_passes(machine, numerics, has_states(graph), is_blocked(graph))
    steps = (*to_computed, *deciding_passes(machine, max_operations, mapping))
    found = _through(steps, _imported(graph), None)
    assert isinstance(found, TiledGraph)
    return found


def compile_tiled(tiled: TiledGraph, machine: Machine) -> Schedule:
    """The schedule of a tiled graph before dispatch."""
    schedule = _through(making_passes(machine), tiled, None)
    assert isinstance(schedule, Schedule)
    return schedule


def computed_graph(graph: Graph, machine: Machine, numerics: bool = True) -> Graph:
    """`graph` as the machine computes it: fused, its tensors in the types in which they lie in memory."""
    found = _through(graph_passes(machine, numerics, has_states(graph), is_blocked(graph)), _imported(graph), None)
    assert isinstance(found, Graph)
    return found


def _imported(graph: Graph, on_stage: Stage | None = None) -> Graph:
    """`graph`, verified and shown as what the passes begin with."""
    graph.verify()
    _tell(on_stage, 0, "import", graph)
    return graph


def _through(steps: Sequence[Step], ir: IR, on_stage: Stage | None) -> IR:
    """Apply `steps` one after the other; verify and show the IR after each."""
    for number, step in steps:
        ir = step.apply(ir)
        ir.verify()
        _tell(on_stage, number, step.name, ir)
    return ir


def _tell(on_stage: Stage | None, number: int, name: str, ir: IR) -> None:
    if on_stage is None:
        return
    try:
        on_stage(number, name, ir)
    except TypeError as e:
        if e.__traceback__ is None or e.__traceback__.tb_next is None:  # the call itself failed, not what it called
            raise UsageError(f"{ON_STAGE}, not {shown(on_stage)} ({one_line(e)})") from None
        raise


def schedule_key(tiled: TiledGraph, machine: Machine) -> str:
    """Equal keys, equal schedules before dispatch: machines with one key need one compilation of the graph.

    What the passes after `slice` read is the tiled graph with its slices, which weights are compressed or packed, which
    rows are looked up, and the machine without its speed (`untimed`).
    """
    of, graph_key = tiled.graph.tensors, []
    for node in tiled.executed():
        stored = [(of[name].kept, of[name].packed) for name in node.present]
        graph_key.append((node.name, node.op, tiled.tilings[node.name], stored))
    rows = [(name, x.tobytes()) for name, x in indices_of(tiled.graph, index_inputs(tiled.graph)).items()]
    return hashlib.sha256(repr((untimed(machine).flat(), graph_key, rows, tiled.slices)).encode()).hexdigest()


def dump_to(folder: Path, write: Callable[[Path, bytes], object] = Path.write_bytes) -> Stage:
    """A callback that writes every stage to ``folder/NN-name.txt``, by `write`; the folder is there.

    The stages of an older dump go first: those of a run that fails must not be followed by another's.
    """
    if (folder / "00-import.txt").exists():
        for old in folder.glob("[0-9][0-9]-*.txt"):
            with suppress(OSError):  # then it cannot be written either, which is told
                old.unlink()

    def dump(number: int, name: str, ir: IR) -> None:
        text = "\n".join(map(printable, ir.lines())) + "\n"
        write(folder / f"{number:02d}-{name}.txt", text.encode())

    return dump
