"""Slices: layers that are walked together move less, need no more room than they say, and compute the same."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.machines import key, least_sram, lowered, machine

import minisim as ms
from minisim import Graph, Machine
from minisim.compiler.passes.slice import ROOM, Slice, in_rows
from minisim.compiler.passes.tile import Tile
from minisim.compiler.pipeline import computed_graph
from minisim.compiler.program import Program
from minisim.compiler.slicing import NOBODY, Operations, interleaved
from minisim.compiler.tiling import TiledGraph
from minisim.hwmodel.isa import Opcode
from minisim.reports.tables import layers


def chain(
    size: int = 56, channels: int = 32, depth: int = 3, kernel: int = 3, images: int = 1, stride: int = 1
) -> Graph:
    """Convolutions with ReLU, each reading the one before it; the second is `stride` apart."""
    g = Graph("chain")
    x = g.input("x", (images, size, size, channels))
    for i in range(depth):
        w = g.weight(f"w{i}", shape=(kernel, kernel, channels, channels))
        step = stride if i == 1 else 1
        x = g.relu(g.conv2d(x, w, strides=step, pads=kernel // 2, name=f"conv{i}"))
    g.output(x)
    return g


def residual() -> Graph:
    """What goes around two convolutions is added to them; beside them is a convolution that reads the input alone."""
    g = Graph("residual")
    x = g.input("x", (1, 40, 40, 32))
    y = g.relu(g.conv2d(x, g.weight("w0", shape=(3, 3, 32, 32)), pads=1, name="conv0"))
    y = g.conv2d(y, g.weight("w1", shape=(3, 3, 32, 32)), pads=1, name="conv1")
    side = g.conv2d(x, g.weight("w2", shape=(1, 1, 32, 32)), name="side")
    g.output(g.sigmoid(g.add(g.add(y, side), x)))
    return g


def slices_of(schedule: ms.Schedule) -> list[list[int]]:
    """The layers of each slice of more than one layer."""
    first = schedule.layers["slice"]
    return [np.flatnonzero(first == i).tolist() for i in np.unique(first) if (first == i).sum() > 1]


def moved(schedule: ms.Schedule) -> dict[str, int]:
    """Bytes to and from DRAM, by tensor."""
    found: dict[str, int] = {}
    tiles = schedule.transfers["tile"]
    for tile, size in zip(tiles.tolist(), schedule.tile_bytes()[tiles].tolist(), strict=True):
        name = schedule.tensor_names[schedule.tiles["tensor"][tile]]
        found[name] = found.get(name, 0) + size
    return found


def test_a_chain_moves_each_tensor_once_and_what_is_between_never() -> None:
    """Each of the two tensors between is 392 KiB, more than the SRAM."""
    graph = chain()
    schedule = ms.compile_graph(graph, machine(sram__bytes=256 * 1024))
    assert slices_of(schedule) == [[0, 1, 2]]
    image, filters = 56 * 56 * 32 * 4, 9 * 32 * 32 * 4
    weights = {name: filters for name in schedule.tensor_names if name.startswith("w")}
    assert moved(schedule) == {"x": image, **weights, graph.outputs["relu_2"]: image}


def test_layer_by_layer_it_would_move_more_and_take_longer() -> None:
    graph = chain()
    sliced, plain = (
        ms.run(graph, machine(sram__bytes=256 * 1024, compiler__slices=on), numerics=False) for on in (True, False)
    )
    assert slices_of(sliced.schedule) and not slices_of(plain.schedule)
    assert sum(moved(sliced.schedule).values()) < 0.8 * sum(moved(plain.schedule).values())
    assert sliced.cycles < plain.cycles


@pytest.mark.parametrize(
    "overrides",
    [
        {"compiler__slices": False},
        {"compiler__keep_on_chip": False},
        {"compiler__order": "mnk"},
        {"sram__bytes": 4 * 2**20},  # all stays anyway
        {"sram__bytes": 96 * 1024},  # the weights of two layers leave no room for what is between
    ],
)
def test_there_is_none(overrides: dict[str, object]) -> None:
    assert not slices_of(ms.compile_graph(chain(), machine(**{"sram__bytes": 256 * 1024, **overrides})))


def test_machines_that_slice_otherwise_have_other_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether a slice is worth it may depend on what no other pass reads, as the speed of the DRAM."""

    def slices(self: Slice, plain: Program, _: Program) -> list[range]:
        return [range(len(plain.layers))] if self.machine.dram.bandwidth < 10**9 else []

    graph = chain(size=8, kernel=1)
    slow, fast = (machine(dram__bandwidth=rate, compiler__order="auto") for rate in ("0.5GB/s", "50GB/s"))
    rows = {name: in_rows(tiling) for name, tiling in Tile(slow).apply(computed_graph(graph, slow)).tilings.items()}
    monkeypatch.setattr(Tile, "apply", lambda _, computed: TiledGraph(computed, rows))  # alike on both
    assert key(graph, slow) == key(graph, fast)
    monkeypatch.setattr(Slice, "_slices", slices)
    assert key(graph, slow) != key(graph, fast)


def test_a_slice_has_room() -> None:
    base = machine(sram__bytes=256 * 1024)
    schedule = ms.compile_graph(chain(), base)
    assert slices_of(schedule)
    assert schedule.layers["sram_peak"].max() <= base.sram.bytes
    program = lowered(chain(), base, base.sram.bytes)
    operations = Operations.of(program)
    assert operations.peak(operations.order(range(3))) <= ROOM * base.sram.bytes
    assert operations.peak(operations.all_of(range(3))) > base.sram.bytes


def test_what_a_peak_is() -> None:
    """Two layers of one tile each: x, w and y; then y, v and z."""
    g = Graph("two")
    y = g.matmul(g.input("x", (32, 32)), g.weight("w", shape=(32, 32)), name="y")
    g.output(g.matmul(y, g.weight("v", shape=(32, 32)), name="z"))
    operations = Operations.of(lowered(g, machine()))
    tile = 32 * 32 * 4
    assert operations.after.tolist() == [NOBODY, NOBODY, 0, NOBODY]
    assert operations.peak(np.arange(2)) == 3 * tile
    between = operations.between(range(2))
    assert between.sum() == 1 and operations.peak(np.arange(2), between) == tile
    assert operations.peak(np.arange(2), np.zeros_like(between)) == 0


@settings(max_examples=12)
@given(
    size=st.integers(4, 20),
    channels=st.sampled_from([3, 8, 17, 33]),
    depth=st.integers(2, 4),
    kernel=st.sampled_from([1, 3, 5]),
    images=st.integers(1, 2),
    stride=st.integers(1, 2),
    tile=st.sampled_from([8, 16, 32]),
    room=st.floats(1.0, 6.0),
    cores=st.sampled_from([1, 1, 2, 3]),
)
def test_the_same_bits_and_every_operation_behind_what_it_reads(
    size: int, channels: int, depth: int, kernel: int, images: int, stride: int, tile: int, room: float, cores: int
) -> None:
    graph = chain(size, channels, depth, kernel, images, stride)
    base = machine(tile__m=tile, tile__k=tile, tile__n=tile, matrix__rows=8, matrix__cols=8, cores__count=cores)
    base = base.with_overrides({"sram.bytes": int(least_sram(graph, base) * room) // 64 * 64 + 4096})
    program = lowered(graph, base, base.sram.bytes)
    operations = Operations.of(program)
    order = operations.order(range(depth))
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    at, bound, behind = operations.reads[0], operations.after != NOBODY, operations.behind != NOBODY
    assert np.all(place[operations.after[bound]] < place[at[bound]])
    for read, storage in zip(at[behind], operations.behind[behind], strict=True):
        assert place[operations.stored == storage].max() < place[read]
    interleaved(program, (range(depth),)).verify()
    plain = ms.run(graph, base.with_overrides({"compiler.slices": False}))
    with pytest.MonkeyPatch.context() as patch:  # whether there is room or not, and whether it is worth it
        patch.setattr(Slice, "_slices", lambda self, plain, _: [range(len(plain.layers))])
        sliced = ms.run(graph, base)
    assert slices_of(sliced.schedule) == [list(range(depth))]
    (name,) = graph.outputs
    assert sliced.outputs[name].tobytes() == plain.outputs[name].tobytes()


def test_of_many_machines_some_slice_and_all_agree() -> None:
    graph = residual()
    found, bits = 0, set()
    for cores in (1, 2, 3):
        for sram in (64, 128, 192):
            base = machine(sram__bytes=sram * 1024, cores__count=cores)
            result = ms.run(graph, base)
            found += bool(slices_of(result.schedule))
            bits.add(b"".join(array.tobytes() for array in result.outputs.values()))
            assert ms.simulate(result.schedule, base, timing="simpy").cycles == result.cycles
    assert len(bits) == 1 and found >= 3


def test_the_rows_of_layers_still_sum_to_the_run() -> None:
    result = ms.run(chain(), machine(sram__bytes=256 * 1024), numerics=False)
    assert slices_of(result.schedule) == [[0, 1, 2]]
    table = layers(result.record())
    assert table["cycles_total"].sum() == result.cycles
    assert (table["cycles_total"] > 0.25 * result.cycles).all()  # each does a third of the work
    causes = [name for name in table if name.startswith("cycles_stall")]
    assert (table["cycles_compute"] + table[causes].sum(axis=1) == table["cycles_total"]).all()


def test_operations_of_a_slice_take_turns() -> None:
    schedule = ms.compile_graph(chain(), machine(sram__bytes=256 * 1024))
    executes = schedule.stream[schedule.stream["opcode"] == Opcode.EXECUTE]["layer"].astype(int)
    assert (np.diff(executes) < 0).sum() > 20
    assert Machine().compiler.slices
