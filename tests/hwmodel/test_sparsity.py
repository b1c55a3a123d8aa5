"""N:M weights: what is compressed, what that takes in bytes, cycles and energy, and that no bit depends on it."""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support.graphs import graphs
from support.machines import key, machine
from support.oracle import bits

import minisim as ms
from minisim.compiler.passes.excerpt import Excerpt
from minisim.compiler.pipeline import computed_graph
from minisim.errors import CapacityError, ConfigError, UnsupportedError
from minisim.hwmodel.array import port_bytes
from minisim.hwmodel.banks import matmul_bank_cycles
from minisim.hwmodel.cost import costs, matmul_cycles
from minisim.hwmodel.energy import accesses, operation_energy
from minisim.hwmodel.isa import Opcode
from minisim.hwmodel.sparsity import rectangles
from minisim.reports.path import critical_path

Array = npt.NDArray[Any]
RNG = np.random.default_rng(0)
PRUNED = {"sparsity__pattern": "2:4", "sparsity__prune": True}


def by_hand(weight: Array, values: int, block: int) -> Array:
    """The largest `values` of each block of each column, one after the other; of equals the first."""
    found = np.zeros_like(weight)
    for col in range(weight.shape[1]):
        for first in range(0, len(weight), block):
            steps = list(range(first, min(first + block, len(weight))))
            for step in sorted(steps, key=lambda i: (-abs(float(weight[i, col])), i))[:values]:
                found[step, col] = weight[step, col]
    return found


def gemm(w: Array, rows: int = 16, dtype: str = "float32") -> ms.Graph:
    g = ms.Graph("gemm")
    g.output(g.input("x", (rows, w.shape[0]), dtype=dtype) @ g.weight("w", w, dtype), "y")
    return g


def loaded(graph: ms.Graph, on: ms.Machine) -> int:
    """Bytes that the loads of a run move."""
    schedule = ms.compile_graph(graph, on)
    loads = schedule.stream["opcode"] == Opcode.LOAD
    return int(accesses(schedule).dram_read[loads].sum())


def compressed(graph: ms.Graph, on: ms.Machine) -> list[tuple[int, ...]]:
    """Of each compressed tensor N, M, bits and whether k runs across."""
    tensors = ms.compile_graph(graph, on).tensors
    return [
        tuple(int(row[name]) for name in ("keeps", "block", "metadata_bits", "across"))
        for row in tensors
        if row["keeps"]
    ]


# -- what is compressed ---------------------------------------------------------------------------------


def test_weights_that_have_the_pattern_and_others() -> None:
    w = by_hand(RNG.standard_normal((64, 24)), 2, 4)
    on = machine(sparsity__pattern="2:4")
    assert compressed(gemm(w), on) == [(2, 4, 2, 0)]
    assert compressed(gemm(by_hand(w, 1, 4)), on) == [(1, 4, 2, 0)]
    assert compressed(gemm(np.zeros((64, 24))), on) == [(1, 4, 2, 0)]
    assert not compressed(gemm(w), machine())
    w[8:11, 5] = 1  # three of a block
    assert not compressed(gemm(w), on)
    dense, sparse = ms.run(gemm(w), machine()), ms.run(gemm(w), on)
    assert np.array_equal(dense.times.end, sparse.times.end)


def test_of_which_operands() -> None:
    on = machine(sparsity__pattern="1:2")
    w = by_hand(RNG.standard_normal((32, 32)), 1, 2)

    def found(build: Any) -> list[tuple[int, ...]]:
        g = ms.Graph("g")
        x = g.input("x", (8, 32))
        g.output(build(g, x, g.weight("w", w)), "y")
        return compressed(g, on)

    assert found(lambda g, x, w: g.matmul(x, w)) == [(1, 2, 1, 0)]
    assert found(lambda g, x, w: g.matmul(x, w, transpose_b=True)) == []  # the other way round it is none
    assert found(lambda g, x, w: g.matmul(x, g.weight("v", w.data.T.copy()), transpose_b=True)) == [(1, 2, 1, 1)]
    assert found(lambda g, x, w: g.matmul(w, x, transpose_b=True)) == []
    both = found(lambda g, x, w: g.matmul(g.matmul(x, w), g.matmul(w, x, transpose_b=True)))
    assert both == []  # it is also read otherwise
    assert found(lambda g, x, w: g.matmul(g.matmul(x, w), w)) == [(1, 2, 1, 0)]
    assert found(lambda g, x, w: g.matmul(x, g.matmul(w, w))) == []


@pytest.mark.parametrize("groups", [1, 2])
def test_filters_of_convolutions(groups: int) -> None:
    def conv(w: Array) -> ms.Graph:
        g = ms.Graph("conv")
        g.output(g.conv2d(g.input("x", (1, 7, 7, 8)), g.weight("w", w), pads=1, groups=groups), "y")
        return g

    w = RNG.standard_normal((3, 3, 8 // groups, 16))
    on, dense = machine(**PRUNED), machine()
    assert bool(compressed(conv(w), on)) == (groups == 1)
    channels = w.reshape(9, -1, 16)
    by_tap = np.stack([by_hand(tap, 2, 4) for tap in channels]).reshape(w.shape)
    expected = ms.run(conv(by_tap if groups == 1 else w), dense)
    found = ms.run(conv(w), on)
    np.testing.assert_array_equal(bits(found.outputs["y"]), bits(expected.outputs["y"]))
    assert found.cycles < expected.cycles if groups == 1 else found.cycles == expected.cycles


def test_metadata_may_cost_more_than_is_saved() -> None:
    w = by_hand(RNG.integers(-9, 9, (64, 24)).astype(np.int8), 3, 4)
    assert compressed(gemm(w, dtype="int8"), machine(sparsity__pattern="3:4")) == [(3, 4, 2, 0)]
    assert not compressed(gemm(w, dtype="int8"), machine(sparsity__pattern="3:4", sparsity__metadata_bits=3))
    wide = {"sparsity__pattern": "3:4", "sparsity__metadata_bits": 6}
    assert compressed(gemm(w.astype(np.float32)), machine(**wide)) == [(3, 4, 6, 0)]
    assert not compressed(gemm(w.astype(np.float32)), machine(matrix__dtype="bf16", **wide))


def test_what_is_decided_once_for_equals_is_not_for_a_compressed_one() -> None:
    w = by_hand(RNG.standard_normal((64, 24)), 2, 4)
    sparse, dense = (machine(sparsity__pattern=pattern) for pattern in ("2:4", "1:4"))
    assert key(gemm(w), sparse) != key(gemm(w), dense) == key(gemm(w), machine())
    both = [computed_graph(gemm(w), on) for on in (sparse, dense)]
    assert Excerpt(both[0].nodes, both[0]) != Excerpt(both[1].nodes, both[1])
    assert "2:4 down" in "\n".join(both[0].lines())


# -- no bit depends on it -------------------------------------------------------------------------------


@settings(deadline=None, max_examples=12)
@given(graphs(), st.sampled_from(["ws", "os", "is"]), st.sampled_from([(1, 2), (2, 4), (3, 5)]), st.integers(5, 33))
def test_random_graphs_have_the_bits_of_plain_machines(
    graph: ms.Graph, dataflow: str, pattern: tuple[int, int], edge: int
) -> None:
    values, block = pattern
    said = {"sparsity__pattern": f"{values}:{block}", "sparsity__prune": True}
    one = machine(**said, matrix__dataflow=dataflow, tile__k=edge, tile__m=edge)
    other = machine(**said, tile__k=64, sram__bytes="2MiB")
    try:
        found, expected = ms.run(graph, one), ms.run(graph, other)
    except (CapacityError, UnsupportedError):
        assume(False)
    for name, array in expected.outputs.items():
        np.testing.assert_array_equal(found.outputs[name], array)


@pytest.mark.parametrize("dtype", ["fp32", "bf16", "int8"])
def test_pruning_is_that_of_the_model_itself(dtype: str) -> None:
    w = RNG.standard_normal((50, 24))
    w[4:8] = 0.5  # of equals the first
    on = machine(matrix__dtype=dtype, **PRUNED)
    found = ms.run(gemm(w), on)
    expected = ms.run(gemm(by_hand(w, 2, 4)), machine(matrix__dtype=dtype))
    assert found.output_sha256 == expected.output_sha256
    assert compressed(gemm(w), on) == [(2, 4, 2, 0)]
    assert ms.run(gemm(w), on, numerics=False).cycles == found.cycles < expected.cycles
    assert found.difference and expected.difference
    assert found.difference.largest > 10 * expected.difference.largest  # what pruning costs is told


def test_zeros_are_multiplied_where_it_makes_a_difference() -> None:
    """A product is the dense one: 0 x inf is NaN, and a sum that underflowed to -0 becomes +0."""
    w = by_hand(RNG.standard_normal((8, 4)), 1, 4)
    w[:, 0] = [1e-30, 0, 0, 0, 0, 0, 0, 0]
    x = RNG.standard_normal((3, 8)).astype(np.float32)
    x[0, 1], x[1, 2], x[2] = np.inf, np.nan, [-1e-30, 1, 1, 1, 1, 1, 1, 1]
    outputs = []
    for on in (machine(), machine(sparsity__pattern="1:4")):
        result = ms.run(gemm(w, 3), on, inputs={"x": x})
        outputs.append(bits(result.outputs["y"]))
    np.testing.assert_array_equal(*outputs)
    y = outputs[0].view(np.float32)
    assert np.isnan(y[0, 0]) and np.isnan(y[1, 0]) and y[2, 0] == 0 and not np.signbit(y[2, 0])


# -- bytes, cycles, energy ------------------------------------------------------------------------------


@pytest.mark.parametrize(("k", "edge"), [(64, 32), (64, 30), (50, 7), (49, 7), (3, 32), (4, 3)])
def test_tiles_are_moved_in_whole_blocks(k: int, edge: int) -> None:
    values, block, cols = 2, 4, 24
    w = by_hand(RNG.standard_normal((k, cols)), values, block)
    keys = {"tile__k": edge, "tile__n": cols, "tile__m": 16, "compiler__order": "mnk"}
    expected = 16 * k * 4
    for begin in range(0, k, edge):
        first, last = begin // block, -(-min(begin + edge, k) // block)
        rows = sum(min(values, k - i * block) for i in range(first, last))
        expected += rows * (cols * 4 + math.ceil(cols * 2 / 8))
    assert loaded(gemm(w), machine(sparsity__pattern="2:4", **keys)) == expected
    across = ms.Graph("across")
    across.output(across.matmul(across.input("x", (16, k)), across.weight("w", w.T.copy()), transpose_b=True), "y")
    expected = 16 * k * 4
    for begin in range(0, k, edge):
        first, last = begin // block, -(-min(begin + edge, k) // block)
        kept = sum(min(values, k - i * block) for i in range(first, last))
        expected += cols * (kept * 4 + math.ceil(kept * 2 / 8))
    assert loaded(across, machine(sparsity__pattern="2:4", **keys)) == expected


def test_tiles_lie_behind_each_other() -> None:
    """Their rows are kept values, then metadata to the bit; a byte of it may be of two tiles."""
    w = by_hand(RNG.standard_normal((64, 40)), 2, 4)
    for across in (False, True):
        g = ms.Graph("g")
        weight = g.weight("w", w.T.copy() if across else w)
        g.output(g.matmul(g.input("x", (16, 64)), weight, transpose_b=across), "y")
        edges = {"tile__k": 16, "tile__n": 12, "tile__m": 16}
        schedule = ms.compile_graph(g, machine(sparsity__pattern="2:4", compiler__order="mnk", **edges))
        (tensor,) = np.flatnonzero(schedule.tensors["keeps"])
        base = int(schedule.tensors["address"][tensor])
        found = rectangles(schedule)
        for i in np.flatnonzero(schedule.tiles["tensor"] == tensor):
            row, col, rows, cols = (int(schedule.tiles[i][x]) for x in ("row", "col", "rows", "cols"))
            if across:
                col, cols, width = col // 2, cols // 2, 32
            else:
                row, rows, width = row // 2, rows // 2, 40
            pitch = width * 4 + width * 2 // 8
            expected = (base + row * pitch + col * 4 + col * 2 // 8, cols * 4 + cols * 2 // 8, rows, pitch)
            assert tuple(int(x[i]) for x in found) == expected


@pytest.mark.parametrize(("dataflow", "times_a", "times_b"), [("ws", 3, 1), ("os", 3, 2), ("is", 1, 2)])
def test_ports_pass_all_of_a_and_what_is_kept_of_b(dataflow: str, times_a: int, times_b: int) -> None:
    on = machine(sparsity__pattern="2:4", matrix__rows=8, matrix__cols=8, matrix__dataflow=dataflow,
                 sram__bank_bytes_per_cycle=4, sram__read_bytes_per_cycle=1)  # fmt: skip
    m, k, n, kept = 16, 64, 24, 32
    moved = port_bytes(m, k, n, on, result=4, kept=kept)
    assert (moved.a, moved.b) == (times_a * m * k * 4, times_b * (kept * n * 4 + kept * n * 2 // 8))
    of_ports, of_banks = (port_bytes(m, k, n, on, step=1, result=4, kept=x) for x in (kept, 0))
    assert of_ports.sums_read < of_banks.sums_read or dataflow != "ws"
    assert matmul_cycles(m, k, n, 0, on, kept=kept)[1] >= int(moved.read)
    banks = [int(matmul_bank_cycles(m, k, n, 0, 0, 0, on, kept=x)) for x in (kept, 0)]
    assert banks[0] < banks[1]


def test_taps_that_are_taken_one_by_one_have_equal_parts() -> None:
    keys = {"matrix__packs_taps": False, "matrix__model": "scalesim", "matrix__rows": 5, "matrix__cols": 8}
    one_by_one = machine(sparsity__pattern="2:4", **keys)
    found = [int(matmul_cycles(16, 30, 8, 0, one_by_one, kept=kept, taps=3)[1]) for kept in (15, 16, 0)]
    fold = 16 + 2 * 5 + 8 - 2
    assert found == [3 * 1 * fold, 3 * 2 * fold, 3 * 2 * fold]


def test_the_critical_path_has_the_products_that_are_done() -> None:
    quick = {"dma__bytes_per_cycle": 4096, "dram__bandwidth": "9000GB/s", "dram__latency": "0ns"}
    result = ms.run(gemm(np.eye(64), 1024), machine(sparsity__pattern="2:4", **quick), numerics=False)
    path = critical_path(result.schedule, result.times, result.machine, costs(result.schedule, result.machine))
    assert 0.5 < path.macs.sum() / (1024 * 16 * 64) <= 1


@pytest.mark.parametrize(
    ("dataflow", "steps"),
    [("ws", 64), ("os", 64), ("is", 128)],  # of k = 128
)
def test_cycles_of_each_dataflow(dataflow: str, steps: int) -> None:
    """A block on an array that does one fold after the other: k of the formulas is what is kept."""
    m, k, n, rows, cols = 24, 128, 40, 16, 8
    w = by_hand(RNG.standard_normal((k, n)), 2, 4)
    keys = {"matrix__rows": rows, "matrix__cols": cols, "matrix__dataflow": dataflow, "matrix__model": "scalesim",
            "tile__m": m, "tile__k": k, "tile__n": n}  # fmt: skip
    schedule = ms.compile_graph(gemm(w, m), machine(sparsity__pattern="2:4", **keys))
    timeline = ms.simulate(schedule, machine(sparsity__pattern="2:4", **keys))
    (op,) = np.flatnonzero(schedule.stream["opcode"] == Opcode.EXECUTE)
    folds, stream, shifts = {
        "ws": (-(-steps // rows) * -(-n // cols), m, 2),
        "os": (-(-m // rows) * -(-n // cols), steps, 1),
        "is": (-(-steps // rows) * -(-m // cols), n, 2),
    }[dataflow]
    assert timeline.done[op] - timeline.begin[op] == folds * (stream + shifts * rows + cols - 2)


def test_energy_is_of_the_products_that_are_done() -> None:
    w = by_hand(RNG.standard_normal((64, 32)), 1, 4)
    keys = {"compiler__order": "mnk", "compiler__keep_on_chip": False}
    for dataflow in ("ws", "is"):
        on = machine(sparsity__pattern="2:4", matrix__dataflow=dataflow, **keys)
        sparse, dense = ms.compile_graph(gemm(w), on), ms.compile_graph(gemm(w), machine(**keys))
        assert sparse.layers["macs"].tolist() == [16 * 16 * 32]
        assert 4 * operation_energy(sparse, on)["mac"].sum() == operation_energy(dense, on)["mac"].sum()
        read, all_of_it = (int(accesses(x).sram_read.sum()) for x in (sparse, dense))
        assert all_of_it - read == 64 * 32 * 4 - 16 * (32 * 4 + 8)


def test_against_scalesim_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(__file__).parents[2] / "benchmarks" / "fidelity"
    spec = importlib.util.spec_from_file_location("fidelity_sparsity", folder / "sparsity.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    cases = module.recorded()
    assert [case.__class__(**{**case.__dict__, "cycles": -1}) for case in cases] == module.CASES
    assert [case.ours() for case in cases] == [case.cycles for case in cases]


# -- keys -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pattern", ["4:4", "0:4", "2/4", ":4", "2:", "2:65", "-1:4", "²:4", "2:4:8", 2])
def test_patterns_that_are_none(pattern: object) -> None:
    with pytest.raises(ConfigError, match=r"sparsity.pattern: must be N:M, such as '2:4', with 1 <= N < M <= 64, or"):
        machine(sparsity__pattern=pattern)


def test_bits_name_a_place_of_the_block() -> None:
    found = {p: machine(sparsity__pattern=p).sparsity.bits for p in ("none", "1:2", "2:4", "1:5", "4:8", "1:64")}
    assert found == {"none": 0, "1:2": 1, "2:4": 2, "1:5": 3, "4:8": 3, "1:64": 6}
    assert machine(sparsity__pattern="2:4", sparsity__metadata_bits=5).sparsity.bits == 5
