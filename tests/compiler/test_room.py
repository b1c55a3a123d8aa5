"""Where tiles that fill the array have no room, smaller ones are taken (`room.py`); else nothing changes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.graphs import graphs, values
from support.machines import least_sram, with_sram

import minisim as ms
from minisim.compiler.decoders import TransformerDecoder
from minisim.compiler.decoding import TokenPrograms
from minisim.compiler.mapping import ALL
from minisim.compiler.passes.lower import Lower
from minisim.compiler.passes.nest import Nest
from minisim.compiler.passes.schedule import Allocate
from minisim.compiler.passes.slice import Slice
from minisim.compiler.passes.tile import Tile
from minisim.compiler.pipeline import compile_undispatched, computed_graph
from minisim.compiler.room import with_room
from minisim.compiler.transformers.table import transformer
from minisim.errors import CapacityError, NoRoomError
from minisim.hwmodel.isa import align

WIDE = ["matrix.rows=256", "matrix.cols=256"]


def strided() -> ms.Graph:
    """A convolution that reads every second pixel of every second line of what another one makes."""
    g, rng = ms.Graph("strided"), np.random.default_rng(5)
    x = g.input("x", (1, 24, 24, 16))
    first, second = (values(rng, shape) for shape in ((1, 1, 16, 64), (1, 1, 64, 32)))
    g.output(g.conv2d(g.conv2d(x, g.weight("v", first)), g.weight("w", second), strides=2), "y")
    return g


@pytest.mark.parametrize(("kib", "effort"), [(8, 0), (16, 0), (40, 0), (16, 1)])
def test_a_wide_array_with_a_small_memory_has_room(kib: int, effort: int) -> None:
    small = ms.Machine().replace(*WIDE, f"sram.bytes={kib}KiB", f"compiler.effort={effort}")
    large = small.replace("sram.bytes=4MiB")
    found, expected = ms.run(strided(), small), ms.run(strided(), large)
    assert found.output_sha256 == expected.output_sha256
    assert found.cycles > expected.cycles
    assert compile_undispatched(strided(), small).sram_bytes == small.sram.bytes


def test_what_has_no_room_is_refused_before_it_is_sliced(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what is said of it after that; but where there are other plans for the graph, they are asked, too."""
    machine = ms.Machine().replace(
        *WIDE, "sram.bytes=8KiB", "compiler.effort=0", "tile.m=256", "tile.k=64", "tile.n=64"
    )
    tiled = Tile(machine).apply(computed_graph(strided(), machine, numerics=False))
    with pytest.raises(NoRoomError) as told:
        Allocate(machine).apply(Lower(machine).apply(tiled))
    monkeypatch.setattr(Slice, "_slices", lambda *_: [])
    assert Slice(machine).apply(tiled).tilings == tiled.tilings
    for refuses in (Slice(machine, refuses=True), Nest(machine)):
        with pytest.raises(NoRoomError) as found:
            refuses.apply(tiled)
        assert (str(found.value), found.value.needed) == (str(told.value), told.value.needed)


def test_edges_that_are_written_or_given_stay() -> None:
    machine = ms.Machine().replace(*WIDE, "sram.bytes=8KiB", "compiler.effort=0")
    with pytest.raises(NoRoomError, match="operands of one operation"):
        ms.compile_graph(strided(), machine.replace("tile.m=256", "tile.k=64", "tile.n=64"))
    with pytest.raises(NoRoomError, match="operands of one operation"):
        ms.compile_graph(strided(), machine, mapping={ALL: (256, 64, 64)})
    with pytest.raises(NoRoomError, match="operands of one operation"):
        ms.compile_graph(strided(), machine.replace("compiler.order=mnk"))


def test_the_bytes_that_are_wanting_say_how_much_smaller() -> None:
    """So not every half is tried on the way, and the end is told as it is."""
    tried: list[tuple[int, int, int]] = []

    def made(on: ms.Machine) -> tuple[int, int, int]:
        edges = on.tile.m, on.tile.k, on.tile.n
        tried.append(edges)
        needed = 4 * edges[0] * edges[1]
        if needed > 3000:
            raise NoRoomError("no room", needed, 3000)
        return edges

    machine = ms.Machine().replace("matrix.rows=256", "matrix.cols=16")
    assert with_room(machine, (), made) == tried[-1]
    assert tried[0] == (machine.tile.m, machine.tile.k, machine.tile.n) and len(tried) == 2
    assert tried[1] == (16, 16, 8)  # 87 times too much are four halvings; an edge of 16 is not made shorter than 8
    with pytest.raises(NoRoomError, match="no room"):
        with_room(machine, {ALL}, made)
    assert len(tried) == 3


def test_what_has_no_room_on_the_smallest_tiles_is_told() -> None:
    tried = []

    def never(on: ms.Machine) -> None:
        tried.append(on.tile.k)
        raise NoRoomError("no room", 2000, 1000)

    with pytest.raises(NoRoomError, match="no room"):
        with_room(ms.Machine().replace(*WIDE), (), never)
    assert tried == [256, 128, 64, 32, 16, 8]


def test_too_many_operations_are_told_as_the_want_of_room_that_they_come_of() -> None:
    def made(on: ms.Machine) -> None:
        if on.tile.k < 256:
            raise CapacityError("too many operations")
        raise NoRoomError("no room", 1 << 20, 1 << 10)

    with pytest.raises(NoRoomError, match="no room"):
        with_room(ms.Machine().replace(*WIDE), (), made)
    with pytest.raises(CapacityError, match="too many"):
        with_room(ms.Machine(), (), made)


def test_a_token_has_room_too() -> None:
    machine = ms.Machine().replace(*WIDE, "sram.bytes=96KiB", "compiler.effort=0")
    model = TransformerDecoder(transformer("gpt2:small,layers=1,hidden=512,heads=8,vocab=80"))
    programs = TokenPrograms(model, machine, 16)
    assert len(programs.schedule(4)) and programs.edges is not None and max(programs.edges) < 256


@settings(deadline=None, max_examples=40)
@given(graphs(), st.sampled_from([1, 8, 32, 128]), st.sampled_from([8, 32, 128]), st.integers(1, 10))
def test_any_size_of_memory(graph: ms.Graph, rows: int, cols: int, part: int) -> None:
    """Where the usual edges have room, the program is the one of edges that are written so; where they have none, the
    smaller ones give the bits that an ample memory does, or it is told that there is no room at all."""
    keys = [f"matrix.rows={rows}", f"matrix.cols={cols}", "compiler.effort=0"]
    least = least_sram(graph, ms.Machine().replace(*keys))
    machine = with_sram(ms.Machine().replace(*keys), align(least * part // 8))
    tile = machine.tile
    written = machine.replace(f"tile.m={tile.m}", f"tile.k={tile.k}", f"tile.n={tile.n}")
    try:
        expected = ms.compile_graph(graph, written, numerics=False)
    except NoRoomError:
        try:
            found = ms.run(graph, machine, check=False)
        except NoRoomError:
            return
        assert found.output_sha256 == ms.run(graph, machine.replace("sram.bytes=64MiB"), check=False).output_sha256
    else:
        assert ms.compile_graph(graph, machine, numerics=False).digest() == expected.digest()
