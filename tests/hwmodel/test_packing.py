"""Weights of 4 bits: what they stand for, how they lie in memory, what they take, and that no bit depends on who
unpacks them."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.machines import key, machine, machines
from support.oracle import bits, round_bf16, round_fp16

import minisim as ms
from minisim.compiler.blocked import Blocked, blocked, in_blocks
from minisim.compiler.dtypes import round_bfloat16
from minisim.compiler.ops.epilogue import MatMulTypes
from minisim.compiler.passes.pack import stored
from minisim.compiler.pipeline import computed_graph
from minisim.errors import CapacityError, ModelError, ScheduleError, UsageError
from minisim.hwmodel.array import port_bytes
from minisim.hwmodel.cost import costs
from minisim.hwmodel.energy import accesses, operation_energy
from minisim.hwmodel.isa import ALIGNMENT, Opcode
from minisim.hwmodel.packing import UNPACKERS
from minisim.hwmodel.sparsity import moved_bytes, rectangles
from minisim.hwmodel.timing import simulate
from minisim.reports.hints import least_traffic
from minisim.reports.run_file.flow import traffic
from minisim.runtime import Runtime

Array = npt.NDArray[Any]


def weight(k: int, n: int, block: int, *, scales: str = "float16", zeros: bool = False, across: bool = False,
           seed: int = 0) -> Blocked:  # fmt: skip
    rng = np.random.default_rng(seed)
    of = (rng.standard_normal((-(-k // block), n)) * 0.1).astype(scales)
    points = rng.integers(0, 16, of.shape) if zeros else None
    return blocked(rng.integers(0, 16, (k, n)), of, points, block=block, across=across)


def gemm(w: Blocked, rows: int = 5) -> ms.Graph:
    g, across = ms.Graph("gemm"), w.form.across
    x = g.input("x", (rows, w.shape[1] if across else w.shape[0]))
    g.output(g.matmul(x, g.weight("w", w), transpose_b=across, name="y"))
    return g


def dense(w: Blocked) -> Array:
    """(k, n) in float32, one weight after the other."""
    parts = w.parts()
    found = np.zeros(parts.q.shape, np.float32)
    for (k, n), q in np.ndenumerate(parts.q):
        zero = 8 if parts.zeros is None else int(parts.zeros[k // w.form.block, n])
        found[k, n] = np.float32(int(q) - zero) * np.float32(parts.scales[k // w.form.block, n])
    return found


CASES = st.builds(
    weight, st.integers(1, 90), st.integers(1, 70), st.sampled_from([2, 3, 7, 16, 32, 64, 128]),
    scales=st.sampled_from(["float16", "float32"]), zeros=st.booleans(), across=st.booleans(), seed=st.integers(0, 9),
)  # fmt: skip


# -- values and bytes -----------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(CASES)
def test_what_weights_stand_for(w: Blocked) -> None:
    exact = dense(w).T if w.form.across else dense(w)
    assert np.array_equal(bits(w.array()), bits(exact))
    assert np.array_equal(bits(w.as_type("bfloat16").array()), bits(round_bf16(exact)))
    assert np.array_equal(w.as_type("float16").array().view(np.uint16), round_fp16(exact).view(np.uint16))
    assert np.array_equal(bits(w.turned().array()), bits(exact.T))


@settings(max_examples=40, deadline=None)
@given(CASES)
def test_how_blocks_lie_in_memory(w: Blocked) -> None:
    """Byte by byte, as packing.py says."""
    parts, form = w.parts(), w.form
    (k, n), found = parts.q.shape, w.blocks()
    for block in range(-(-k // form.block)):
        for col in range(n):
            mine = parts.q[block * form.block : (block + 1) * form.block, col].tolist()
            mine += [0] * (form.block + form.block % 2 - len(mine))
            expected = bytes(low | high << 4 for low, high in zip(mine[::2], mine[1::2], strict=True))
            expected += struct.pack("<e" if form.scales == "float16" else "<f", parts.scales[block, col])
            expected += b"" if parts.zeros is None else bytes([parts.zeros[block, col]])
            row, at = (col, block) if form.across else (block, col)
            assert found[row, at * len(expected) : (at + 1) * len(expected)].tobytes() == expected
    assert found.nbytes == form.packed("dma").bytes(*w.shape)
    assert np.array_equal(w.turned().blocks(), w.turned().turned().turned().blocks())


def test_scales_in_bfloat16() -> None:
    w = weight(40, 8, 16, scales="float32")
    parts = w.parts()._replace(scales=round_bfloat16(w.parts().scales))
    half = Blocked(w.shape, lambda: parts, w.form._replace(scales="bfloat16"))  # type: ignore[arg-type]
    for by in UNPACKERS:
        runtime = Runtime(graph := gemm(half), machine(unpack__by=by))
        runtime.set("x", np.eye(5, 40, dtype=np.float32))
        runtime.execute()
        assert np.array_equal(bits(runtime.get("y")), bits(half.array()[:5])), graph


def test_the_nearest_blocks_of_floats() -> None:
    floats = np.random.default_rng(0).standard_normal((70, 6)).astype(np.float32)
    floats[32:64, 2] = 0
    parts = in_blocks(lambda: floats, 32)
    found = blocked(parts.q, parts.scales, block=32).array()
    steps = np.repeat(parts.scales.astype(np.float32), 32, axis=0)[:70]
    assert np.all(np.abs(found - floats) <= steps * 0.5001) and np.all(parts.q >= 1)
    assert np.array_equal(found[32:64, 2], np.zeros(32)) and parts.scales.dtype == np.float16


# -- bits -----------------------------------------------------------------------------------------------


@settings(max_examples=8, deadline=None)
@given(CASES, machines(), st.sampled_from(["fp32", "bf16", "fp16"]), st.sampled_from([1, 5, 40]))
def test_no_bit_depends_on_who_unpacks(w: Blocked, on: ms.Machine, dtype: str, rows: int) -> None:
    """Those of a model that has the numbers as floats; on every machine, and both timing cores agree on the cycles."""
    g = ms.Graph("floats")
    g.output(g.input("x", (rows, len(dense(w)))) @ g.weight("w", dense(w)), "y")
    x = {"x": np.random.default_rng(1).standard_normal((rows, len(dense(w)))).astype(np.float32)}
    found = {}
    for by in UNPACKERS:
        try:
            of = on.with_overrides({"unpack.by": by, "matrix.dtype": dtype, f"matrix.{dtype}_rate": 1})
            result = ms.run(gemm(w, rows) if by != "none" else g, of, inputs=x)
        except CapacityError:
            continue
        found[by] = next(iter(result.outputs.values()))
        slow = simulate(result.schedule, of, timing="simpy")
        assert np.array_equal(slow.end, result.times.end)
    assert len({each.tobytes() for each in found.values()}) <= 1


def test_other_uses_of_a_weight_are_of_floats() -> None:
    """A matmul whose k runs the other way, a first operand, an addition, an output."""

    def packed(build: Any, on: ms.Machine) -> bool:
        g, w = ms.Graph("g"), weight(32, 32, 16)
        x = g.input("x", (8, 32))
        build(g, x, g.weight("w", w))
        result = ms.run(g, on)
        assert result.max_abs_error < 1e-4
        return bool(result.schedule.tensors["packs"].any())

    for by in ("dma", "array"):
        on = machine(unpack__by=by)
        assert packed(lambda g, x, w: g.output(x @ w), on)
        assert packed(lambda g, x, w: g.output(g.relu(x @ w) @ w), on)
        assert not packed(lambda g, x, w: g.output(g.matmul(x, w, transpose_b=True)), on)
        assert not packed(lambda g, x, w: g.output(g.matmul(w, x, transpose_b=True)), on)
        assert not packed(lambda g, x, w: g.output(g.add(x @ w, g.slice(w, [0], [8], [0]))), on)
        assert not packed(lambda g, x, w: g.output(x @ w), machine(unpack__by="none"))
    int8 = ms.compile_graph(gemm(weight(32, 32, 16)), machine(matrix__dtype="int8"))
    assert not int8.tensors["packs"].any()
    sparse = machine(sparsity__pattern="2:4", sparsity__prune=True)
    assert not ms.compile_graph(gemm(weight(32, 32, 16)), sparse).tensors["keeps"].any()


# -- costs ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["dma", "array"])
def test_bytes_of_a_tile_have_one_truth(by: str) -> None:
    """Of 70 x 33 weights in blocks of 32 (18 bytes with their scale): tiles of 32 x 32 have a row of blocks each."""
    graph, on = gemm(weight(70, 33, 32)), machine(unpack__by=by)
    runtime = Runtime(graph, on)
    runtime.set("x", np.ones((5, 70), np.float32))
    runtime.execute()
    schedule, stats = runtime.schedule, runtime.stats
    b = schedule.tensor_names.index("w")
    mine = np.flatnonzero(schedule.tiles["tensor"] == b)
    expected = {(32, 32): 32 * 18, (32, 1): 18, (6, 32): 32 * 18, (6, 1): 18}
    in_dram, in_sram, places = moved_bytes(schedule), schedule.tile_bytes(), rectangles(schedule)
    for tile in mine:
        t = schedule.tiles[tile]
        size = expected[int(t["rows"]), int(t["cols"])]
        assert in_dram[tile] == size
        assert in_sram[tile] == (size if by == "array" else 4 * t["rows"] * t["cols"])
        assert places.address[tile] == int(schedule.tensors["address"][b]) + int(
            t["row"] // 32 * schedule.tensors["pitch"][b] + t["col"] * 18
        )
    loads = schedule.stream["opcode"] == Opcode.LOAD
    tiles = schedule.transfers["tile"][schedule.stream["row"][loads]]
    assert np.array_equal(costs(schedule, on).bytes[loads], in_dram[tiles])
    written = accesses(schedule).sram_write[loads]
    assert np.array_equal(written, in_sram[tiles])
    assert schedule.tensors["pitch"][b] == -(-33 * 18 // ALIGNMENT) * ALIGNMENT
    assert stats.dram_read_bytes == int(in_dram[tiles].sum())
    assert stats.sram_read_bytes == int(accesses(schedule).sram_read.sum())


def test_a_tile_that_cuts_a_block_takes_all_of_it() -> None:
    on = machine(tile__k=20, unpack__by="array")
    schedule = ms.compile_graph(gemm(weight(64, 8, 32)), on)
    mine = schedule.tiles["tensor"] == schedule.tensor_names.index("w")
    rows, sizes = schedule.tiles["row"][mine].tolist(), schedule.tile_bytes()[mine].tolist()
    assert dict(zip(rows, sizes, strict=True)) == {0: 144, 20: 288, 40: 144, 60: 144}


@pytest.mark.parametrize(("rate", "cycles"), [(0, 36), (64, 36), (32, 36), (31, 72), (8, 144), (1, 1152)])
def test_the_rate_of_the_dma(rate: int, cycles: int) -> None:
    """32 x 32 weights with their scales are 576 bytes: 36 beats of 16 bytes, in each of which 32 weights may be."""
    schedule = ms.compile_graph(gemm(weight(32, 32, 32), 32), machine())
    (load,) = np.flatnonzero((schedule.stream["opcode"] == Opcode.LOAD) & (costs(schedule, machine()).bytes == 576))
    for bursts in ({}, {"dma.max_burst_beats": 4}):
        on = machine(unpack__weights_per_cycle=rate, dram__latency="0ns").with_overrides(bursts)
        assert costs(schedule, on).busy[load] == cycles
        assert costs(schedule, on.with_overrides({"unpack.by": "array"})).busy[load] == cycles  # the schedule says who
        native, slow = (simulate(schedule, on, timing=core) for core in ("native", "simpy"))
        assert np.array_equal(native.end, slow.end) and native.done[load] - native.begin[load] >= cycles
    by_array = ms.compile_graph(gemm(weight(32, 32, 32), 32), machine(unpack__by="array"))
    at_rate = costs(by_array, machine(unpack__by="array", unpack__weights_per_cycle=rate))
    assert at_rate.busy[load] == 36


def test_ports_of_the_sram_carry_what_lies_there() -> None:
    """The array reads packed weights as often as others, in fewer bytes."""
    on = machine(sram__read_bytes_per_cycle=8)
    sizes = (32, 32, 32)
    wide = port_bytes(*sizes, on)
    packed = port_bytes(*sizes, on, packed=576)
    assert (int(wide.b), int(packed.b), int(packed.a)) == (4096, 576, int(wide.a))
    for dataflow, passes in (("ws", 1), ("os", 2), ("is", 2)):
        of = machine(matrix__dataflow=dataflow)
        assert int(port_bytes(64, 32, 32, of, packed=576).b) == passes * 576
    (dma, array) = (costs(ms.compile_graph(gemm(weight(32, 32, 32), 32), m), m).busy.max()
                    for m in (on, on.with_overrides({"unpack.by": "array"})))  # fmt: skip
    assert dma - array == (4096 - 576) // 8


@pytest.mark.parametrize("by", ["dma", "array"])
def test_the_price_of_unpacking(by: str) -> None:
    graph = gemm(weight(70, 33, 32))
    on = machine(unpack__by=by, energy__unpack="5pJ")
    free = on.with_overrides({"energy.unpack": "0pJ"})
    schedule = ms.compile_graph(graph, on)
    paid, unpaid = (operation_energy(schedule, m) for m in (on, free))
    part = {"dma": "dma", "array": "mac"}[by]
    assert sum(int((paid[name] - unpaid[name]).sum()) for name in paid) == 70 * 33 * 5000
    assert int((paid[part] - unpaid[part]).sum()) == 70 * 33 * 5000


def test_what_sizes_a_sram_needs() -> None:
    """Where the array unpacks, weights of 4 bits have room where floats have none."""
    small = {"sram__bytes": 2560, "tile__m": 1, "tile__k": 32, "tile__n": 32}
    graph = gemm(weight(64, 32, 32), 1)
    with pytest.raises(CapacityError):
        ms.compile_graph(graph, machine(unpack__by="dma", **small))
    assert ms.run(graph, machine(unpack__by="array", **small)).cycles


@pytest.mark.parametrize(("by", "size"), [("dma", 4096), ("array", 576), ("none", 4096)])
def test_panels_and_shares_reckon_with_what_lies_in_sram(by: str, size: int) -> None:
    graph = computed_graph(gemm(weight(64, 64, 32)), machine(unpack__by=by))
    (node,) = graph.nodes
    assert MatMulTypes.of(node, graph).footprint(node.inputs, 32, 32, 32).b == size
    assert graph.tensors["w"].tile_bytes(32, 32) == size
    if by == "array":  # an edge of 40 begins anywhere in its first block: it may have a part of three
        assert graph.tensors["w"].tile_bytes(40, 32) == 3 * 576


def test_edges_are_decided_for_each_form() -> None:
    keys = {key(gemm(weight(64, 64, block)), machine(unpack__by=by)) for block in (16, 32) for by in UNPACKERS}
    assert len(keys) == 5  # without an unpacker the blocks do not matter


# -- mistakes -------------------------------------------------------------------------------------------


def changed(schedule: ms.Schedule, **values: int) -> ms.Schedule:
    tensors, b = schedule.tensors.copy(), schedule.tensor_names.index("w")
    for name, value in values.items():
        tensors[name][b] = value
    return schedule.replace(tensors=tensors)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"unpacker": 0}, "somebody must unpack a packed weight"),
        ({"unpacker": 3}, "unpacker must be below 3, not 3"),
        ({"block_bytes": 17}, r"block_bytes must be 18 \(a packed weight\), not 17"),
        ({"scales": 2}, "a packed weight, and its scales, must be FP32 or BF16 or FP16"),
        ({"zeros": 2}, "zeros must be below 2"),
        ({"role": 0}, "role must be 1"),
        ({"keeps": 1, "block": 2}, r"keeps must be 0 \(a packed weight\)"),
        ({"pitch": 64}, "pitch must be at least 594 bytes"),
        ({"packs": 0}, r"block_bytes must be 0 \(no packed weight\)"),
    ],
)
def test_what_the_engine_refuses(values: dict[str, int], message: str) -> None:
    schedule = ms.compile_graph(gemm(weight(70, 33, 32)), machine())
    with pytest.raises(ScheduleError, match=message):
        ms.Engine(ms.EngineConfig(schedule.sram_bytes)).load_schedule(changed(schedule, **values))


def test_a_schedule_of_other_blocks_is_not_taken() -> None:
    graph, on = gemm(weight(64, 32, 32)), machine()
    for other in (weight(64, 32, 16), weight(64, 32, 32, zeros=True), weight(64, 32, 32, scales="float32")):
        with pytest.raises(UsageError, match="it has another tensor 'w'"):
            Runtime(graph, on, ms.compile_graph(gemm(other), on))
    with pytest.raises(UsageError, match="it has another tensor 'w'"):
        Runtime(graph, on, ms.compile_graph(graph, machine(unpack__by="none")))


def test_packed_tiles_are_loaded_and_multiplied_alone() -> None:
    schedule = ms.compile_graph(gemm(weight(32, 32, 32), 32), machine(unpack__by="array"))
    b = int(np.flatnonzero(schedule.tiles["tensor"] == schedule.tensor_names.index("w"))[0])
    matmuls = schedule.matmuls.copy()
    matmuls["a"] = b
    with pytest.raises(ScheduleError, match="a must not be packed: the array unpacks its second operand alone"):
        Runtime(gemm(weight(32, 32, 32), 32), machine(unpack__by="array"), schedule.replace(matmuls=matmuls))
    transfers = schedule.transfers.copy()
    transfers["tile"][schedule.stream["row"][schedule.stream["opcode"] == Opcode.STORE]] = b
    transfers["version"] = 0
    with pytest.raises(ScheduleError, match="nothing packs what is stored"):
        Runtime(gemm(weight(32, 32, 32), 32), machine(unpack__by="array"), schedule.replace(transfers=transfers))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("weights=int3", "weights must be float or int4, not 'int3'"),
        ("weights=int4,weights=float", "weights is given twice"),
        ("block=64", "block says how many weights of 4 bits share a scale: weights=int4"),
        ("weights=int4,block=1", "block must be from 2 to"),
    ],
)
def test_mistakes_in_a_transformers_name(spec: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        ms.load_model(f"gpt2:small,layers=1,{spec}")


def test_a_transformer_of_four_bits() -> None:
    """Its bytes of weights fall as its blocks say: 4.5 bits of 32 in bf16's place are 16 / 4.5 times fewer."""
    sizes = "layers=1,hidden=64,heads=2,ffn=128,vocab=256,prefill=3"
    outputs, moved = {}, {}
    for weights, by in (("float", "dma"), ("int4", "dma"), ("int4", "array"), ("int4", "none")):
        on = machine(matrix__dtype="bf16", unpack__by=by)
        result = ms.run(f"llama:7b,{sizes},weights={weights}", on)
        outputs[weights, by] = result.outputs["logits"].tobytes()
        schedule = result.schedule
        mine = np.unique(schedule.transfers["tile"])
        of = [name.endswith(".w") for name in schedule.tensor_names]
        mine = mine[np.array(of)[schedule.tiles["tensor"][mine]]]
        moved[weights, by] = int(moved_bytes(schedule)[mine].sum())
    assert outputs["int4", "dma"] == outputs["int4", "array"] == outputs["int4", "none"] != outputs["float", "dma"]
    assert moved["float", "dma"] == moved["int4", "none"]
    assert moved["float", "dma"] * 9 == moved["int4", "dma"] * 32 == moved["int4", "array"] * 32


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"unpack.by": "dma"}, "in 27,000 bytes with their scales, where float32 would take 164,400; the DMA unpacks"),
        ({"unpack.by": "array", "matrix.dtype": "bf16"}, "where bfloat16 would take 82,200; the array unpacks them"),
        ({"unpack.by": "none"}, "1 weights of 4 bits lie in DRAM as numbers: unpack.by is 'none'"),
        ({"matrix.dtype": "int8"}, "1 weights of 4 bits lie in DRAM as numbers: they are quantised to int8"),
    ],
)
def test_what_is_told_of_them(keys: dict[str, str], told: str) -> None:
    graph, on = gemm(weight(137, 300, 32)), machine().with_overrides(keys)
    assert told in " ".join(stored(graph, on, computed_graph(graph, on, numerics=False)))
    g = ms.Graph("sum")
    g.output(g.add(g.input("x", (32, 32)), g.weight("w", weight(32, 32, 32))))
    said = list(stored(g, machine(), computed_graph(g, machine())))
    assert said == ["1 weights of 4 bits lie in DRAM as numbers: other operators than matmuls along k read them"]


def test_bytes_of_a_whole_tensor_in_reports() -> None:
    schedule = ms.compile_graph(gemm(weight(137, 300, 32)), machine())
    assert least_traffic(schedule) == (5 * 300 * 18 + 5 * 137 * 4, 5 * 300 * 4)
    result = ms.run(gemm(weight(137, 300, 32)), machine(), numerics=False)
    (mine,) = (row for row in traffic(result.record())["tensors"] if row[0] == "w")
    assert mine[2] == 5 * 300 * 18
