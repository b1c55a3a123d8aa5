"""A cache in pages: the bits of one that lies as a whole, each page a transfer of its own, somewhere in DRAM."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.machines import machine

import minisim as ms
from minisim.compiler.decoders import Text, TransformerDecoder
from minisim.compiler.paging import places_of_pages
from minisim.compiler.transformers import built, transformer
from minisim.decode import decode
from minisim.errors import ModelError
from minisim.hwmodel.isa import Opcode, Queue, Role, Schedule
from minisim.hwmodel.native import simulate_native
from minisim.hwmodel.simulate import simulate
from minisim.hwmodel.sparsity import rectangles

SMALL = "layers=1,hidden=32,heads=4,ffn=24,vocab=8"
MODELS = (f"gpt2:small,{SMALL}", f"llama3:8b,kv_heads=2,{SMALL}")


def step(past: int, page: int, on: ms.Machine, layers: int = 1, batch: int = 1, capacity: int = 0) -> Schedule:
    """The program of one token."""
    model = transformer(f"llama3:8b,kv_heads=2,layers={layers},hidden=32,heads=4,ffn=24,vocab=8")
    return ms.compile_graph(built(model, 1, past, capacity or past + 9, batch, page), on)


def of_state(schedule: Schedule, opcode: Opcode) -> np.ndarray:
    """The tiles of states that such operations move."""
    stream = schedule.stream
    tiles = schedule.transfers["tile"][stream["row"][stream["opcode"] == opcode]]
    return np.asarray(tiles[schedule.tensors["role"][schedule.tiles["tensor"][tiles]] == Role.STATE])


@settings(max_examples=4)
@given(st.data())
def test_bits_are_those_of_a_cache_that_lies_as_a_whole(data: st.DataObject) -> None:
    """Whatever the page, from one token to more than there are; a prefill in chunks, several sequences, few bytes of
    SRAM."""
    draw = data.draw
    model = TransformerDecoder(transformer(draw(st.sampled_from(MODELS))))
    keys: dict[str, Any] = {
        "compiler__effort": 0,
        "cores__count": draw(st.sampled_from([1, 2])),
        "matrix__dtype": draw(st.sampled_from(["fp32", "bf16"])),
        "sram__bytes": draw(st.sampled_from([24 << 10, 1 << 20])),
    }
    how = draw(st.sampled_from([1, 5, 9])), 1, draw(st.sampled_from([1, 2])), draw(st.sampled_from([0, 0, 4]))
    same_as_whole(model, machine(**keys), Text(*how, page=draw(st.sampled_from([1, 2, 3, 5, 16, 64]))))


@pytest.mark.parametrize("page", [16, 300])
def test_blocks_of_keys_in_pages(page: int) -> None:
    model = TransformerDecoder(transformer(MODELS[1]))
    same_as_whole(model, machine(sram__bytes=256 << 10), Text(270, 1, chunk=150, page=page))


def same_as_whole(model: TransformerDecoder, on: ms.Machine, text: Text) -> None:
    whole, found = decode(model, on, replace(text, page=0), check=False), decode(model, on, text, check=False)
    for mine, other in zip(found.outputs, whole.outputs, strict=True):
        np.testing.assert_array_equal(mine.view(np.uint32), other.view(np.uint32))
    for mine_, other_ in zip(found.steps, whole.steps, strict=True):
        assert (mine_.kv_written_bytes, mine_.weight_bytes) == (other_.kv_written_bytes, other_.weight_bytes)
        assert mine_.kv_transfers >= other_.kv_transfers


@pytest.mark.parametrize("page", [1, 3, 16, 40, 1000])
def test_each_page_is_a_transfer(page: int) -> None:
    """For each head of keys and of values so many as its tiles of 32 rows have pages; of a new row one."""
    past, kv_heads, layers = 37, 2, 2
    on = machine(sram__bytes=1 << 20)
    schedule = step(past, page, on, layers)
    assert len(of_state(schedule, Opcode.LOAD)) == layers * 2 * kv_heads * sum(
        row % page == 0 or row % 32 == 0 for row in range(past + 1)
    )
    stored = of_state(schedule, Opcode.STORE)
    assert len(stored) == len(of_state(step(past, 0, on, layers), Opcode.STORE))
    first, last = (schedule.tiles["row"][stored] + more for more in (0, schedule.tiles["rows"][stored] - 1))
    assert (first // page == last // page).all() and (first == past).all()


@pytest.mark.parametrize(("page", "padding"), [(1, "none"), (3, "none"), (16, "none"), (5, "tile")])
def test_pages_lie_apart(page: int, padding: str) -> None:
    """Each row of each state has bytes of its own in DRAM, none of which is another tensor's; and pages are elsewhere
    than they would be as a whole."""
    schedule = step(37, page, machine(dram__padding=padding) if padding == "tile" else machine(), layers=2)
    tensors, taken = schedule.tensors, []
    places = places_of_pages(tensors)
    assert sorted(places) == np.flatnonzero(tensors["role"] == Role.STATE).tolist()
    for i, t in enumerate(tensors):
        begins = places[i] if i in places else [int(t["address"])]
        size = int(t["pitch"]) * (page if i in places else int(t["rows"]))
        taken += [] if int(t["storage"]) != i else [(int(begin), int(begin) + size) for begin in begins]
    taken.sort()
    assert all(end <= begin for (_, end), (begin, _) in pairwise(taken))
    at = rectangles(schedule)
    tiles = np.union1d(of_state(schedule, Opcode.LOAD), of_state(schedule, Opcode.STORE))
    for tile in tiles.tolist():
        t = schedule.tiles[tile]
        where = places[int(t["tensor"])][int(t["row"]) // page]
        inside = int(t["row"]) % page * int(tensors["pitch"][t["tensor"]]) + 4 * int(t["col"])
        assert at.address[tile] == where + inside
    assert schedule.tiles["moved"][tiles].any()


def test_all_programs_find_the_pages_where_they_are() -> None:
    """In the same order of the pool, which begins where the program's other tensors end."""
    found = (places_of_pages(step(past, 4, machine(), layers=2, capacity=60).tensors) for past in (37, 50))
    first, second = (np.argsort(np.concatenate(list(places.values()))).tolist() for places in found)
    assert first == second != sorted(first)


def test_a_descriptor_more_costs_what_it_takes_to_decode() -> None:
    """Where the load channel's decoder is what holds everything up, cycles grow by its set-up for each page more."""
    setup = 5000
    on = machine(sram__bytes=1 << 20, dma__setup_cycles=setup)
    cycles, loads = [], []
    for page in (0, 4, 1):
        schedule = step(37, page, on)
        cycles.append(simulate_native(schedule, on).cycles)
        loads.append(int((schedule.stream["queue"] == Queue.LOAD).sum()))
    for i in (1, 2):
        assert abs((cycles[i] - cycles[0]) / (setup * (loads[i] - loads[0])) - 1) < 0.01


def test_pages_open_rows_of_the_dram() -> None:
    """Neighbouring rows lie in one row of a bank; pages of a token seldom do, and that is more than a DRAM costs that
    knows no rows."""
    more = []
    for model in ("ideal", "banked"):
        on = machine(sram__bytes=1 << 20, dram__model=model, dma__setup_cycles=1, dma__max_outstanding=1)
        whole, apart = (simulate_native(step(255, page, on, batch=4), on).cycles for page in (0, 1))
        more.append(apart - whole)
    assert 0 < more[0] < more[1]


@pytest.mark.parametrize("keys", [{}, {"dram__model": "banked", "cores__count": 2}])
def test_both_event_models_time_pages_alike(keys: dict[str, Any]) -> None:
    on = machine(sram__bytes=48 << 10, **keys)
    schedule = step(70, 7, on)
    mine, other = simulate_native(schedule, on), simulate(schedule, on)
    assert mine.cycles == other.cycles and np.array_equal(mine.end, other.end)


@pytest.mark.parametrize("page", [-1, 65536])
def test_pages_that_cannot_be(page: int) -> None:
    g = ms.Graph("state")
    with pytest.raises(ModelError, match="page must be from 0 to 65535 rows"):
        g.state("s", (8, 4), 3, page=page)
