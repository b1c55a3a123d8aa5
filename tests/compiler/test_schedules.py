"""What holds for the schedule of every graph on every machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support.accesses import Checker, Residency, residencies
from support.graphs import example, gemm, graphs, inputs_of
from support.machines import AMPLE, key, least_sram, machine, machines, machines_for, with_sram
from support.paths import EXAMPLES

import minisim as ms
from minisim.compiler.passes.fuse import Fuse
from minisim.compiler.pipeline import compile_undispatched
from minisim.errors import CapacityError
from minisim.hwmodel.isa import ALIGNMENT, NONE, Opcode, Table


@st.composite
def compiled(draw: st.DrawFn) -> tuple[ms.Graph, ms.Machine, ms.Schedule]:
    graph = draw(graphs())
    machine = draw(machines_for(graph))
    return graph, machine, ms.compile_graph(graph, machine)


# -- memory -----------------------------------------------------------------------------------------


@given(compiled())
def test_it_verifies_and_leaves_nothing_behind(case: tuple[ms.Graph, ms.Machine, ms.Schedule]) -> None:
    _, machine, schedule = case
    schedule.verify()
    assert (schedule.sram_bytes, schedule.accumulator_bytes) == (machine.sram.bytes, machine.accumulator.bytes)
    assert schedule.sram_final_live_bytes == 0


@given(compiled())
def test_tiles_that_live_at_the_same_time_lie_apart(case: tuple[ms.Graph, ms.Machine, ms.Schedule]) -> None:
    graph, machine, _ = case
    schedule = compile_undispatched(graph, machine)  # lifetimes are intervals of the program before dispatch
    stays = residencies(schedule)
    begin, end = _bytes(schedule, stays)
    first, last = (np.array([getattr(stay, name) for stay in stays], dtype=int) for name in ("first", "last"))
    meet = (first[:, None] <= last) & (first <= last[:, None]) & (begin[:, None] < end) & (begin < end[:, None])
    assert not np.any(np.triu(meet, k=1))
    tensor = schedule.tiles["tensor"][[stay.tile for stay in stays]]
    apart = np.isin(tensor, np.unique(schedule.tiles["tensor"][_sums(schedule)])) & (machine.accumulator.bytes > 0)
    assert np.all(np.where(apart, begin, 0) >= np.where(apart, schedule.sram_bytes, 0))
    assert np.all(end <= np.where(apart, schedule.sram_bytes + schedule.accumulator_bytes, schedule.sram_bytes))


@pytest.mark.parametrize(
    ("shape", "tile", "sram", "accumulator"),
    [
        ((66, 277, 136), (16, 32, 40), "64KiB", 2 * 2560),
        ((204, 270, 317), (40, 16, 32), "64KiB", 2 * 5120),
        ((193, 170, 381), (40, 24, 16), "16KiB", 4 * 2560),
    ],
)
def test_ragged_sums_are_not_spilled_from_their_own_memory(
    shape: tuple[int, int, int], tile: tuple[int, int, int], sram: str, accumulator: int
) -> None:
    """Ragged tiles between whole ones: were they packed, what becomes free would lie in pieces too small."""
    edges = dict(zip(("tile__m", "tile__k", "tile__n"), tile, strict=True))
    on = machine(sram__bytes=sram, accumulator__bytes=accumulator, **edges)
    schedule = ms.compile_graph(ms.load_model("gemm:{}x{}x{}".format(*shape), "int8"), on)
    assert len(_sums(schedule)) > 10
    assert not np.isin(schedule.transfers["tile"], _sums(schedule)).any()


@given(compiled())
def test_the_peak_covers_what_is_live(case: tuple[ms.Graph, ms.Machine, ms.Schedule]) -> None:
    graph, machine, _ = case
    schedule = compile_undispatched(graph, machine)
    stays = residencies(schedule)
    begin, end = _bytes(schedule, stays)
    live = np.zeros(len(schedule), dtype=np.int64)
    for stay, size in zip(stays, np.where(begin < schedule.sram_bytes, end - begin, 0), strict=True):
        live[stay.first : stay.last + 1] += size
    for layer, peak in enumerate(schedule.layers["sram_peak"].tolist()):
        assert live[schedule.stream["layer"] == layer].max(initial=0) <= peak <= schedule.sram_bytes


def test_the_peak_covers_what_a_layer_finds_when_it_begins() -> None:
    """The third layer makes room before it places anything: until then, both products are live."""
    g = ms.Graph()
    column, row = g.input("column", (32, 1)), g.weight("row", np.ones((1, 32), np.float32))
    products = [g.matmul(column, row), g.matmul(column, row)]
    g.output(g.relu(g.input("z", (8, 16))))
    for product in products:
        g.output(g.mul(product, 2.0))
    schedule = ms.compile_graph(g, machine(compiler__order="mnk", sram__bytes=2 * 4096 + 256))
    assert schedule.layers["sram_peak"][2] >= 2 * 4096


def _sums(schedule: ms.Schedule) -> np.ndarray:
    """The tiles of partial sums."""
    acc = schedule.matmuls["acc"]
    return np.unique(acc[acc != NONE])


def _bytes(schedule: ms.Schedule, stays: list[Residency]) -> tuple[np.ndarray, np.ndarray]:
    """Where each stay begins and ends in SRAM."""
    begin = np.array([stay.address for stay in stays], dtype=np.int64)
    return begin, begin + schedule.tile_bytes()[np.array([stay.tile for stay in stays], dtype=int)]


@settings(max_examples=40)
@given(st.data(), graphs())
def test_the_least_sram_is_enough_and_one_granule_less_is_not(data: st.DataObject, graph: ms.Graph) -> None:
    base = data.draw(machines())
    least = least_sram(graph, base)
    assume(least > ALIGNMENT)
    with pytest.raises(CapacityError, match=rf"sram\.bytes: layer '.+' needs at least {least} bytes"):
        ms.compile_graph(graph, with_sram(base, least - ALIGNMENT))
    inputs = inputs_of(graph)
    tight, ample = (ms.run(graph, with_sram(base, size), inputs=inputs) for size in (least, AMPLE))
    assert tight.output_sha256 == ample.output_sha256


# -- loads ------------------------------------------------------------------------------------------


@given(compiled())
def test_every_load_is_emitted_or_eliminated(case: tuple[ms.Graph, ms.Machine, ms.Schedule]) -> None:
    """There are more loads than asked for only where sums are spilled, or operands moved together."""
    _, _, schedule = case
    emitted, eliminated, asked = _loads(schedule)
    assert emitted + eliminated >= asked
    assert np.all(schedule.layers["loads_eliminated"] <= schedule.layers["loads"])


@given(graphs(), machines())
def test_in_an_ample_sram_no_tile_is_loaded_twice(graph: ms.Graph, machine: ms.Machine) -> None:
    assume(machine.compiler.order != "blocked")  # counters remember nothing
    schedule = ms.compile_graph(graph, machine)
    emitted, eliminated, asked = _loads(schedule)
    assert emitted + eliminated == asked
    assert np.bincount(_loaded(schedule)["tile"], minlength=1).max() <= 1


@given(st.sampled_from([(64, 96, 64), (96, 32, 128), (128, 128, 32)]), st.integers(3, 9), st.booleans())
def test_reloads_of_spilled_sums_are_all_the_others(size: tuple[int, int, int], tiles: int, auto: bool) -> None:
    """Tiles of one size: nothing is fragmented, so that operands never have to be moved together."""
    m, k, n = size
    graph = ms.Graph()
    graph.output(graph.input("x", (m, k)) @ graph.weight("w", np.ones((k, n), np.float32)))
    options = {"compiler__order": "auto" if auto else "mnk", "sram__bytes": 4096 * tiles}
    schedule = ms.compile_graph(graph, machine(**options))
    emitted, eliminated, asked = _loads(schedule)
    loads = _loaded(schedule)
    spilled = int((loads["version"] != schedule.tiles["final"][loads["tile"]]).sum())
    assert emitted + eliminated == asked + spilled


def _loads(schedule: ms.Schedule) -> tuple[int, int, int]:
    layers = schedule.layers
    return schedule.counts()[Opcode.LOAD], int(layers["loads_eliminated"].sum()), int(layers["loads"].sum())


def _loaded(schedule: ms.Schedule) -> Table:
    """The rows of `transfers` of all loads, in program order."""
    rows: Table = schedule.transfers[schedule.stream["row"][schedule.stream["opcode"] == Opcode.LOAD]]
    return rows


# -- order ------------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(compiled())
def test_waits_keep_conflicting_accesses_apart(case: tuple[ms.Graph, ms.Machine, ms.Schedule]) -> None:
    """By the engine's hazard tracker, and by a check of all pairs that knows nothing of it."""
    graph, machine, schedule = case
    result = ms.run(graph, machine, schedule=schedule)
    result.times.verify(schedule)
    assert Checker.of(schedule).violations(schedule, result.times) == []


@settings(max_examples=40)
@given(st.data(), compiled())
def test_waits_suffice_on_other_machines_too(
    data: st.DataObject, case: tuple[ms.Graph, ms.Machine, ms.Schedule]
) -> None:
    """A schedule compiled for one machine is right on one of other speeds, queues and bandwidths."""
    graph, machine, schedule = case
    result = ms.run(graph, data.draw(machines()), schedule=schedule)
    assert result.output_sha256 == ms.run(graph, machine).output_sha256
    assert Checker.of(schedule).violations(schedule, result.times) == []


def test_the_check_of_all_pairs_sees_a_missing_wait() -> None:
    """It can object: without waits, accesses do overlap."""
    graph, base = gemm(70, 50, 90), machine(sram__bytes=4096 * 4)
    schedule = ms.compile_graph(graph, base)
    stream = schedule.stream.copy()
    stream["wait"] = 0
    reckless = schedule.replace(stream=stream)
    timeline = ms.simulate(reckless, base)
    assert len(Checker.of(schedule).violations(reckless, timeline)) > 10


# -- values -----------------------------------------------------------------------------------------


QUOTIENTS = {"Div", "Reciprocal", "Pow", "Tan"}


@given(st.data(), graphs())
def test_results_are_near_those_in_double_precision(data: st.DataObject, graph: ms.Graph) -> None:
    inputs = inputs_of(graph)
    largest = max(float(np.abs(value).max()) for value in graph.evaluate(inputs).values())
    assume(largest < 1e15)  # no overflow in single precision
    result = ms.run(graph, data.draw(machines_for(graph)), inputs=inputs)
    assert result.max_abs_error is not None
    scale = max(1.0, largest)
    if any(node.op in QUOTIENTS for node in graph.nodes):
        scale *= max(1.0, scale / 30)  # a large quotient has a small divisor, and as large a share of its error
    assert result.max_abs_error <= 1e-5 * scale


@given(graphs(), st.integers(0, 2**32 - 1))
def test_fusion_changes_no_value(graph: ms.Graph, seed: int) -> None:
    inputs = inputs_of(graph, seed)
    before, after = graph.evaluate(inputs), Fuse().apply(graph).evaluate(inputs)
    for name in graph.outputs.values():
        assert np.array_equal(before[name], after[name], equal_nan=True)


# -- identity ---------------------------------------------------------------------------------------


@given(compiled())
def test_compiling_again_gives_the_same(case: tuple[ms.Graph, ms.Machine, ms.Schedule]) -> None:
    graph, machine, schedule = case
    assert ms.compile_graph(graph, machine).digest() == schedule.digest()


@settings(max_examples=30)
@given(compiled())
def test_saving_and_loading_changes_nothing(case: tuple[ms.Graph, ms.Machine, ms.Schedule]) -> None:
    _, _, schedule = case
    with TemporaryDirectory() as folder:
        path = Path(folder) / "schedule.npz"
        schedule.save(path)
        assert ms.Schedule.load(path).digest() == schedule.digest()


def test_other_processes_compile_the_same() -> None:
    """Whatever the seed of their hashes: no set or dict order leaks into a schedule."""
    path = EXAMPLES / "residual_block.py"
    code = f"import minisim as ms; print(ms.compile_graph(ms.load_model({str(path)!r}), ms.Machine()).digest())"
    digests = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("0", "1", "4711")
    }
    assert digests == {ms.compile_graph(example("residual_block"), ms.Machine()).digest()}


CHANGES: tuple[dict[str, object], ...] = (
    {},
    {"dram.bandwidth": "2GB/s"},
    {"dram.latency": "500ns"},
    {"control.queue_depth": 3},
    {"dma.max_outstanding": 2},
    {"dma.bytes_per_cycle": 4},
    {"dma.setup_cycles": 50},
    {"matrix.rows": 8},
    {"matrix.cols": 4},
    {"vector.lanes": 4},
    {"clock.frequency": "100MHz"},
    {"tile.m": 24},
    {"tile.k": 24},
    {"tile.n": 24},
    {"sram.bytes": "512KiB"},
    {"accumulator.bytes": "64KiB"},
    {"accumulator.bytes": "128KiB"},
    {"compiler.order": "mnk"},
    {"compiler.keep_on_chip": False},
    {"cores.count": 2},
    {"cores.count": 4},
)
"""What two machines may differ in, one by one."""


@settings(max_examples=40)
@given(st.data(), graphs())
def test_machines_of_one_key_share_their_schedule(data: st.DataObject, graph: ms.Graph) -> None:
    """And what is dispatched from a shared one is what each would have compiled by itself."""
    base = machine(sram__bytes=max(least_sram(graph, machine()), least_sram(graph, machine(tile__m=64))) * 2)
    by_key: dict[str, ms.Schedule] = {}
    for change in data.draw(st.lists(st.sampled_from(CHANGES), min_size=3, max_size=8, unique_by=str)):
        other = base.with_overrides(change)
        own = compile_undispatched(graph, other)
        shared = by_key.setdefault(key(graph, other), own)
        assert shared.digest() == own.digest()
        from_shared = ms.compile_graph(graph, other, undispatched=shared)
        assert from_shared.digest() == ms.compile_graph(graph, other).digest()


def test_speed_alone_does_not_change_the_key_of_the_plain_order() -> None:
    """The key is of use: it is the same for machines that differ in what the compiler does not read."""
    graph, base = example("mlp"), machine(compiler__order="mnk")
    keys = {key(graph, base.with_overrides({"dram.bandwidth": f"{rate}GB/s"})) for rate in (1, 10, 100)}
    assert len(keys) == 1
