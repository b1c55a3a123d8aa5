"""BF16, FP16 and integers through the binding: numbers to the bit, sums in acc, refusals by name."""

from __future__ import annotations

from functools import cache
from itertools import count
from typing import Any

import numpy as np
import pytest
from support.oracle import NAN, exact_matmul, int8_matmul, reduce_rows, requantise, round_bf16, round_fp16

import minisim as ms
from minisim import _engine
from minisim._engine import Engine, EngineConfig, SchedExecute, SchedLoad, SchedStore, SchedVector, Tile
from minisim.compiler.pipeline import compile_graph
from minisim.errors import ScheduleError, ScheduleHazard, UsageError
from minisim.hwmodel import isa
from minisim.hwmodel.isa import Activation, DType, Role, VectorOp
from minisim.runtime import Runtime

KERNELS = _engine.kernels()
F32 = np.float32
SRAM, ACCUMULATORS = 2**20, 2**16
SPECIAL = np.array([0, -0.0, np.inf, -np.inf, np.nan, 1e-40, -1e-39, 2.0**-126, 3.3895e38, -3.3e38, 1e-20], F32)


def bits(x):
    return np.ascontiguousarray(x).view({4: np.uint32, 2: np.uint16, 1: np.uint8}[x.dtype.itemsize])


def same(x, y):
    assert x.dtype == y.dtype
    np.testing.assert_array_equal(bits(x), bits(y))


class Product:
    """y = a x b on an engine, by hand: a (m, k), b (k, n), cut along k into `steps`.

    Args:
        dtype, result: of the operands (or a pair of types), and of y.
        memory: where the sums live between steps: None in y itself, else "scratchpad" or "accumulators".
        spill: send the sums to DRAM and back after each step but the last.
        epilogue: bias, residual (arrays, or pairs of array and type), activation, scale.
    """

    def __init__(self, a, b, dtype, result, *, kernel="auto", steps=1, memory=None, spill=False, **epilogue):
        self.engine = Engine(EngineConfig(SRAM, kernel=kernel, accumulator_bytes=ACCUMULATORS))
        self.places = count(0, 2**15)
        of_a, of_b = dtype if isinstance(dtype, tuple) else (dtype, dtype)
        sums = isa.ACCUMULATOR[of_a]
        m, n = a.shape[0], b.shape[1]
        cuts = np.linspace(0, a.shape[1], steps + 1).astype(int).tolist()
        x, w = self.supplied(a, of_a), self.supplied(b, of_b)
        self.y = self.engine.add_tensor(m, n, Role.OUTPUT, result)
        c = self.tile(self.y, 0, 0, m, n)
        acc = None
        if memory:
            s = self.engine.add_tensor(m, n, Role.INTERMEDIATE, sums)
            acc = Tile(s, 0, 0, m, n, SRAM if memory == "accumulators" else next(self.places))
        extras = {k: self.whole(v, sums) for k, v in epilogue.items() if k in ("bias", "residual") and v is not None}
        extras |= {k: v for k, v in epilogue.items() if k in ("activation", "scale")}
        for step in range(steps):
            begin, end = cuts[step : step + 2]
            left, right = self.tile(x, 0, begin, m, end - begin), self.tile(w, begin, 0, end - begin, n)
            last = extras if step == steps - 1 else {}
            self.dispatch(SchedLoad(left), SchedLoad(right))
            self.dispatch(SchedExecute(left, right, c, step=step, steps=steps, acc=acc, **last))
            if spill and step < steps - 1:
                held = acc or c
                self.dispatch(SchedStore(held, version=step + 1), SchedLoad(held, version=step + 1))
        self.dispatch(SchedStore(c))

    def supplied(self, values, dtype) -> int:
        tensor = self.engine.add_tensor(*values.shape, Role.INPUT, dtype)
        self.engine.set_tensor(tensor, values)
        return tensor

    def whole(self, values, dtype) -> Tile:
        values, dtype = values if isinstance(values, tuple) else (values, dtype)
        tile = self.tile(self.supplied(values, dtype), 0, 0, *values.shape)
        self.dispatch(SchedLoad(tile))
        return tile

    def tile(self, tensor, row, col, rows, cols) -> Tile:
        return Tile(tensor, row, col, rows, cols, next(self.places))

    def dispatch(self, *ops) -> None:
        for op in ops:
            self.engine.dispatch(op)

    @property
    def values(self):
        return self.engine.tensor(self.y)


WAYS: list[dict[str, Any]] = [
    {"steps": 1},
    {"steps": 1, "memory": "accumulators"},
    {"steps": 3, "memory": "scratchpad"},
    {"steps": 3, "memory": "accumulators"},
    {"steps": 3, "memory": "accumulators", "spill": True},
]
each_way = pytest.mark.parametrize("way", WAYS, ids=lambda way: "-".join(str(v) for v in way.values()))
each_kernel = pytest.mark.parametrize("kernel", KERNELS)


# -- bf16 ------------------------------------------------------------------------------------------------


def bf16s(rng, *shape, special=0.0):
    """Values that are bf16 already, as float32."""
    values = rng.standard_normal(shape).astype(F32)
    chosen = rng.random(shape) < special
    values[chosen] = rng.choice(SPECIAL, int(chosen.sum()))
    return round_bf16(values)


@cache
def chains(m, k, n, special):
    """Operands, and the exact chains of their product: those take a while."""
    rng = np.random.default_rng(m * k * n)
    a, b = bf16s(rng, m, k, special=special), bf16s(rng, k, n, special=special)
    with np.errstate(all="ignore"):
        return a, b, exact_matmul(a, b)


@each_kernel
@each_way
@pytest.mark.parametrize("result", [DType.BF16, DType.FP32])
@pytest.mark.parametrize("special", [0.0, 0.02])
def test_a_bf16_matmul_is_one_chain_in_fp32_rounded_once(kernel, way, result, special):
    a, b, chain = chains(5, 23, 19, special)
    found = Product(a, b, DType.BF16, result, kernel=kernel, **way).values
    expected = np.where(np.isnan(chain), NAN, chain)
    same(found, round_bf16(chain) if result == DType.BF16 else expected)


@each_kernel
@pytest.mark.parametrize("added", [DType.BF16, DType.FP32])
@pytest.mark.parametrize("activation", Activation)
def test_a_bf16_epilogue_rounds_once_at_the_end(kernel, added, activation):
    rng = np.random.default_rng(6)
    a, b, chain = chains(7, 20, 33, 0.0)
    bias, residual = rng.standard_normal((1, 33)).astype(F32), rng.standard_normal((7, 33)).astype(F32)
    if added == DType.BF16:
        bias, residual = round_bf16(bias), round_bf16(residual)
    expected = chain + bias + residual
    if activation == Activation.RELU:
        expected = np.where(expected <= 0, F32(0), expected)
    if activation == Activation.SIGMOID:
        expected = _engine.sigmoid(expected, "reference")
    extras = {"bias": (bias, added), "residual": (residual, added), "activation": activation}
    found = Product(a, b, DType.BF16, DType.BF16, kernel=kernel, steps=2, memory="accumulators", **extras).values
    same(found, round_bf16(expected))


def test_setting_a_bf16_tensor_rounds_to_nearest_even():
    rng = np.random.default_rng(7)
    patterns = np.concatenate([rng.integers(0, 2**32, 4000), np.arange(0x3F800000, 0x3F840000, 64)])
    ties = (rng.integers(0, 2**16, 500) << 16) + 0x8000
    values = np.concatenate([patterns, ties, [0x7F7F8000, 0x7F7F7FFF, 0xFF800000]]).astype(np.uint32).view(F32)
    engine = Engine(EngineConfig(64))
    tensor = engine.add_tensor(1, len(values), Role.INPUT, DType.BF16)
    engine.set_tensor(tensor, values[None])
    same(engine.tensor(tensor)[0], round_bf16(values))
    view = engine.tensor_view(tensor)
    assert view.dtype == np.uint16
    np.testing.assert_array_equal(view[0], bits(round_bf16(values)) >> 16)


@each_kernel
@pytest.mark.parametrize("op", [op for op in VectorOp if {*op.kinds, op.result} == {"x"} and "BF16" in op.types])
@pytest.mark.parametrize("dtype", [DType.BF16, DType.FP16])
def test_vector_operations_on_16_bits_round_once(kernel, op, dtype):
    rng, rounded = np.random.default_rng(8), round_bf16 if dtype == DType.BF16 else round_fp16
    x, y = (rounded(bf16s(rng, 6, cols, special=0.05)) for cols in (300, 1))
    engine = Engine(EngineConfig(SRAM, kernel=kernel))
    tensors = [engine.add_tensor(*v.shape, Role.INPUT, dtype) for v in (x, y)]
    cols = 1 if op.is_reduction else 300
    out = engine.add_tensor(6, cols, Role.OUTPUT, dtype)
    src0, src1, dst = (
        Tile(tensors[0], 0, 0, 6, 300, 0),
        Tile(tensors[1], 0, 0, 6, 1, 4096),
        Tile(out, 0, 0, 6, cols, 8192),
    )
    for tensor, values, tile in zip(tensors, (x, y), (src0, src1), strict=True):
        engine.set_tensor(tensor, values)
        engine.dispatch(SchedLoad(tile))
    engine.dispatch(SchedVector(op, dst, *[src0, src1, 0.5][: op.sources]))
    engine.dispatch(SchedStore(dst))
    x, y = x.astype(F32), y.astype(F32)
    if op.is_reduction:
        expected = reduce_rows(x, adds=op == VectorOp.REDUCE_SUM)
    else:
        expected = _engine.vector(op, [x, np.broadcast_to(y, x.shape), np.full_like(x, 0.5)][: op.sources], "reference")
    same(engine.tensor(out), rounded(expected))


# -- fp16 ------------------------------------------------------------------------------------------------


@each_kernel
@each_way
@pytest.mark.parametrize("result", [DType.FP16, DType.FP32])
def test_an_fp16_matmul_is_one_chain_in_fp32_rounded_once(kernel, way, result):
    rng = np.random.default_rng(13)
    a, b = (round_fp16(3 * rng.standard_normal(shape)) for shape in ((5, 23), (23, 19)))
    a[0, 0], a[1, :2], b[0, 0] = np.inf, 2.0**-24, 60000
    with np.errstate(all="ignore"):
        chain = exact_matmul(a.astype(F32), b.astype(F32))
    found = Product(a, b, DType.FP16, result, kernel=kernel, **way).values
    same(found, round_fp16(chain) if result == DType.FP16 else np.where(np.isnan(chain), NAN, chain))


# -- int8 ------------------------------------------------------------------------------------------------


def int8s(rng, *shape):
    values = rng.integers(-128, 128, shape)
    return np.where(rng.random(shape) < 0.1, -128, values).astype(np.int8)


def of_bytes(rng, dtype, *shape):
    return int8s(rng, *shape) if dtype == DType.INT8 else rng.integers(0, 256, shape, dtype=np.uint8)


BYTES = [(a, b) for a, b in isa.PAIRS if {a, b} <= {DType.INT8, DType.UINT8}]


@each_kernel
@each_way
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("types", BYTES)
@pytest.mark.parametrize("result", [DType.INT8, DType.UINT8, DType.INT32])
def test_a_matmul_of_bytes_is_exact_and_requantised_once(kernel, way, relu, types, result):
    rng = np.random.default_rng(9)
    a, b = of_bytes(rng, types[0], 9, 50), of_bytes(rng, types[1], 50, 37)
    bias = rng.integers(-(2**15), 2**15, (1, 37)).astype(np.int32)
    scale = {} if result == DType.INT32 else {"scale": 0.003}
    extras = {"bias": bias, "activation": Activation.RELU if relu else 0, **scale}
    found = Product(a, b, types, result, kernel=kernel, **way, **extras).values
    sums = int8_matmul(a, b, bias, relu=relu)
    same(found, sums if result == DType.INT32 else requantise(sums, 0.003, isa.NUMPY_DTYPE[result]))
    if types == (DType.INT8, DType.INT8) and result == DType.INT8 and not relu:
        assert found.min() == -128 and found.max() == 127  # some saturate


@each_kernel
def test_int8_sums_wrap_around_in_int32(kernel):
    a, b = np.full((1, 3000), -128, np.int8), np.full((3000, 2), -128, np.int8)
    bias = np.array([[2**31 - 1 - 3000 * 2**14, 2**31 - 3000 * 2**14]], np.int32)
    found = Product(a, b, DType.INT8, DType.INT32, kernel=kernel, steps=2, memory="accumulators", bias=bias).values
    same(found, np.array([[2**31 - 1, -(2**31)]], np.int32))
    same(found, int8_matmul(a, b, bias))


@each_kernel
@pytest.mark.parametrize("scale", [0.5, 0.25, 1.0, 0.1, 1e-9, 1e38])
def test_requantising_rounds_ties_to_even(kernel, scale):
    bias = np.concatenate([np.arange(-600, 600), [2**31 - 1, -(2**31), 2**24 + 1, 2**25 + 2]]).astype(np.int32)[None]
    zero = np.zeros((1, 1), np.int8)
    found = Product(
        zero, np.zeros((1, bias.size), np.int8), DType.INT8, DType.INT8, kernel=kernel, bias=bias, scale=scale
    )
    same(found.values, requantise(bias, scale))
    if scale == 0.5:
        assert found.values[0, 600:607].tolist() == [0, 0, 1, 2, 2, 2, 3]


# -- memories and hazards --------------------------------------------------------------------------------


def test_bytes_are_counted_by_type_and_memory():
    rng = np.random.default_rng(10)
    a, b = int8s(rng, 8, 32), int8s(rng, 32, 16)
    stats = Product(a, b, DType.INT8, DType.INT8, steps=2, memory="accumulators", scale=1.0).engine.stats
    operands, sums, result = 8 * 32 + 32 * 16, 4 * 8 * 16, 8 * 16
    assert (stats.dram_read_bytes, stats.dram_write_bytes) == (operands, result)
    assert stats.sram_read_bytes == operands + sums + result
    assert stats.sram_write_bytes == operands + sums + result
    assert stats.accumulator_read_bytes == stats.accumulator_write_bytes == stats.accumulator_peak_bytes == sums


def test_sums_that_nothing_wrote_are_a_hazard():
    engine = Engine(EngineConfig(SRAM, accumulator_bytes=ACCUMULATORS))
    x, y = engine.add_tensor(4, 4, Role.INPUT, DType.INT8), engine.add_tensor(4, 4, Role.OUTPUT, DType.INT8)
    s = engine.add_tensor(4, 4, Role.INTERMEDIATE, DType.INT32)
    engine.set_tensor(x, np.ones((4, 4), np.int8))
    a, c, acc = Tile(x, 0, 0, 4, 4, 0), Tile(y, 0, 0, 4, 4, 64), Tile(s, 0, 0, 4, 4, SRAM)
    engine.dispatch(SchedLoad(a))
    with pytest.raises(ScheduleHazard, match=r"reads accumulator memory \[0x100000, 0x100040\) that nothing wrote"):
        engine.dispatch(SchedExecute(a, a, c, step=1, steps=2, acc=acc, scale=1.0))


def typed(graph: ms.Graph, machine: ms.Machine, types: dict[str, DType], **columns: Any) -> isa.Schedule:
    """A schedule of fp32 as one of other types: what was aligned still is, and everything is smaller or as large."""
    schedule = compile_graph(graph, machine)
    tensors, matmuls = schedule.tensors.copy(), schedule.matmuls.copy()
    public = {name: public for public, name in graph.outputs.items()}
    tensors["dtype"] = [types[public.get(name, name)] for name in schedule.tensor_names]
    matmuls["dtype"] = types["x"]
    for name, values in columns.items():
        matmuls[name] = values
    return schedule.replace(tensors=tensors, matmuls=matmuls)


def through_accumulators(schedule: isa.Schedule, dtype: DType, result: DType, scale: float = 0.0) -> isa.Schedule:
    """The same schedule with its sums behind the scratchpad, a slot for each tile of c."""
    tensors, tiles, matmuls = schedule.tensors.copy(), schedule.tiles.copy(), schedule.matmuls.copy()
    (y,) = np.flatnonzero(tensors["role"] == Role.OUTPUT)
    sums = tensors[y : y + 1].copy()
    sums["dtype"], sums["role"] = isa.ACCUMULATOR[dtype], Role.INTERMEDIATE
    sums["storage"], sums["address"] = len(tensors), 2**30
    mine = np.flatnonzero(tiles["tensor"] == y)
    copies = tiles[mine].copy()
    copies["tensor"] = len(tensors)
    tiles["final"][mine] = 1
    where = {int(c): len(tiles) + i for i, c in enumerate(mine)}
    matmuls["acc"] = [where[c] for c in matmuls["c"].tolist()]
    matmuls["acc_sram"] = schedule.sram_bytes + 4096 * (matmuls["acc"] - len(tiles))
    matmuls["scale"] = np.where(matmuls["last"], scale, 0)
    transfers = schedule.transfers.copy()
    transfers["version"] = np.minimum(transfers["version"], tiles["final"][transfers["tile"]])
    tensors["dtype"][y] = result
    return schedule.replace(
        tensors=np.concatenate([tensors, sums]),
        tiles=np.concatenate([tiles, copies]),
        matmuls=matmuls,
        transfers=transfers,
        tensor_names=(*schedule.tensor_names, "sums"),
        accumulator_bytes=4096 * len(mine),
    )


def gemm(m: int, k: int, n: int) -> ms.Graph:
    graph = ms.Graph("gemm")
    graph.output(graph.input("x", (m, k)) @ graph.input("w", (k, n)), "y")
    return graph


INT8_TYPES = {"x": DType.INT8, "w": DType.INT8, "y": DType.INT8}


def test_a_missing_wait_on_acc_is_caught():
    """Steps start while those before are in flight: right within a sum, and wrong where two sums share a place."""
    graph = gemm(32, 96, 64)
    schedule = through_accumulators(
        typed(graph, ms.Machine().replace("compiler.effort=0"), INT8_TYPES), DType.INT8, DType.INT8, 1.0
    )
    slots = schedule.matmuls["acc_sram"].copy()
    assert len(np.unique(slots)) == 2
    one = schedule.matmuls.copy()
    one["acc_sram"] = slots.min()  # both tiles of c take turns at one slot
    for table, fails in ((schedule.matmuls, False), (one, True)):
        runtime = Runtime(graph, schedule=schedule.replace(matmuls=table))
        for name, shape in (("x", (32, 96)), ("w", (96, 64))):
            runtime.set(name, np.ones(shape))
        loads = np.flatnonzero(schedule.stream["opcode"] == isa.Opcode.LOAD)
        executes = np.flatnonzero(schedule.stream["opcode"] == isa.Opcode.EXECUTE)
        events = [e for op in loads for e in (2 * op, 2 * op + 1)] + [2 * op for op in executes]
        arrays = np.array(events, np.uint32), np.arange(len(events))
        if not fails:
            runtime.engine.replay(*arrays)
            continue
        with pytest.raises(ScheduleHazard, match="accumulator memory"):
            runtime.engine.replay(*arrays)


# -- refused by name -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("types", "extras", "message"),
    [
        ((DType.FP32, DType.BF16), {}, r"c must be FP32 \(by the operation's dtype\), not BF16"),
        ((DType.BF16, DType.INT8), {}, "c must be FP32 or BF16"),
        ((DType.INT8, DType.FP32), {}, "c must be INT8 or INT32 or UINT8"),
        ((DType.INT8, DType.INT8), {}, r"scale must be positive and finite \(c is INT8\), not 0.0"),
        ((DType.INT8, DType.INT32), {"scale": 1.0}, "scale must be 0"),
        ((DType.INT8, DType.INT32), {"activation": Activation.SIGMOID}, "an INT8 matmul has no sigmoid"),
        ((DType.INT8, DType.INT32), {"residual": np.zeros((4, 4), np.int32)}, "an INT8 matmul adds no residual"),
        ((DType.INT8, DType.INT32), {"bias": (np.zeros((1, 4), F32), DType.FP32)}, "bias must be INT32"),
        ((DType.BF16, DType.BF16), {"steps": 2}, r"c must be FP32 \(the sums of its steps live in it\), not BF16"),
    ],
)
def test_combinations_that_are_refused(types, extras, message):
    values = np.ones((4, 4), np.int8 if types[0] == DType.INT8 else F32)
    with pytest.raises(ScheduleError, match=message):
        Product(values, values, *types, **extras)


@pytest.mark.parametrize("a", DType)
@pytest.mark.parametrize("b", DType)
def test_the_array_multiplies_the_pairs_of_the_table_alone(a, b):
    engine, places = Engine(EngineConfig(1024)), count(0, 64)
    sums = isa.ACCUMULATOR.get(a, DType.FP32)
    tensors = [engine.add_tensor(2, 2, Role.INPUT, dtype) for dtype in (a, b)]
    x, w, y = (Tile(t, 0, 0, 2, 2, next(places)) for t in (*tensors, engine.add_tensor(2, 2, Role.OUTPUT, sums)))
    for tensor, dtype in zip(tensors, (a, b), strict=True):
        outside = np.float32 if dtype == DType.BF16 else isa.NUMPY_DTYPE[dtype]
        engine.set_tensor(tensor, np.eye(2).astype(outside))
    engine.dispatch(SchedLoad(x))
    engine.dispatch(SchedLoad(w))
    if (a, b) not in isa.PAIRS:
        with pytest.raises(ScheduleError, match=r"a matmul multiplies FP32 or BF16 or .*, not|b must be"):
            engine.dispatch(SchedExecute(x, w, y))
        return
    engine.dispatch(SchedExecute(x, w, y))
    engine.dispatch(SchedStore(y))
    assert engine.tensor(y.tensor).tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize("op", [VectorOp.EXP, VectorOp.SIGMOID, VectorOp.FLOOR])
@pytest.mark.parametrize("dtype", [DType.INT8, DType.INT32])
def test_integers_have_no_functions_of_floats(op, dtype):
    engine = Engine(EngineConfig(1024))
    x, y = engine.add_tensor(2, 2, Role.INPUT, dtype), engine.add_tensor(2, 2, Role.OUTPUT, dtype)
    engine.set_tensor(x, np.array([[-1, 2], [-128, 127]], isa.NUMPY_DTYPE[dtype]))
    src, dst = Tile(x, 0, 0, 2, 2, 0), Tile(y, 0, 0, 2, 2, 64)
    engine.dispatch(SchedLoad(src))
    with pytest.raises(ScheduleError, match=f"{op.name} takes FP32 or BF16 or FP16, not {dtype.name}"):
        engine.dispatch(SchedVector(op, dst, src))
    engine.dispatch(SchedVector(VectorOp.RELU, dst, src))
    engine.dispatch(SchedStore(dst))
    assert engine.tensor(y).tolist() == [[0, 2], [0, 127]]


def test_tensors_take_the_dtype_that_stands_for_theirs():
    engine = Engine(EngineConfig(64))
    for dtype, outside, other in (
        (DType.FP32, F32, np.float64),
        (DType.BF16, F32, np.uint16),
        (DType.INT8, np.int8, np.int32),
        (DType.INT32, np.int32, np.int64),
        (DType.BOOL, np.bool_, np.int8),
        (DType.FP16, np.float16, np.uint16),
        (DType.UINT8, np.uint8, np.int8),
        (DType.FP8E4M3, np.uint8, np.int8),
        (DType.FP8E5M2, np.uint8, F32),
    ):
        tensor = engine.add_tensor(2, 3, Role.INPUT, dtype)
        assert engine.tensor(tensor).dtype == outside
        assert engine.tensor_view(tensor).dtype == isa.NUMPY_DTYPE[dtype]
        values = np.arange(12).reshape(4, 3)[::2].astype(outside)
        engine.set_tensor(tensor, values)
        np.testing.assert_array_equal(engine.tensor(tensor), values)
        with pytest.raises(
            UsageError, match=f"values must have dtype {np.dtype(outside)} for a tensor of {dtype.name}"
        ):
            engine.set_tensor(tensor, values.astype(other))
    with pytest.raises(ScheduleError, match="dtype must be below 10, not 10"):
        engine.add_tensor(2, 2, Role.INPUT, 10)


def test_memories_that_do_not_go_together():
    with pytest.raises(UsageError, match="sram_bytes must be a multiple of 64 if an accumulator memory follows"):
        Engine(EngineConfig(100, accumulator_bytes=64))
    with pytest.raises(UsageError, match="accumulator_bytes must be at most 64 behind an SRAM of 4294967232"):
        Engine(EngineConfig(2**32 - 64, accumulator_bytes=128))


# -- Runtime ---------------------------------------------------------------------------------------------


def test_runtime_of_a_bf16_schedule():
    graph, types = gemm(40, 20, 33), dict.fromkeys("xwy", DType.BF16)
    rng = np.random.default_rng(11)
    x, w = rng.standard_normal((40, 20)), rng.standard_normal((20, 33))
    expected = round_bf16(exact_matmul(round_bf16(x.astype(F32)), round_bf16(w.astype(F32))))
    plain = typed(graph, ms.Machine(), types)
    for schedule in (plain, through_accumulators(plain, DType.BF16, DType.BF16)):
        runtime = Runtime(graph, schedule=schedule)
        runtime.set("x", x)
        runtime.set("w", w)
        runtime.execute()
        same(runtime.get("y"), expected)


@pytest.mark.parametrize("result", [DType.INT8, DType.INT32])
def test_runtime_of_an_int8_schedule(result):
    graph = gemm(50, 96, 33)
    rng = np.random.default_rng(12)
    x, w = int8s(rng, 50, 96), int8s(rng, 96, 33)
    scale = 0.01 if result == DType.INT8 else 0.0
    schedule = through_accumulators(typed(graph, ms.Machine(), {**INT8_TYPES, "y": result}), DType.INT8, result, scale)
    schedule.verify()
    runtime = Runtime(graph, schedule=schedule)
    runtime.set("x", x.astype(np.float64))  # any dtype whose values are right
    runtime.set("w", w)
    runtime.execute()
    sums = int8_matmul(x, w)
    same(runtime.get("y"), requantise(sums, scale) if result == DType.INT8 else sums)
    assert runtime.dtype("x") == DType.INT8
    for wrong in (0.5, 128, -129, np.nan, np.inf):
        with pytest.raises(
            UsageError, match=f"input 'x' is INT8: a value must be an integer from -128 to 127, not {wrong}"
        ):
            runtime.set("x", np.full((50, 96), wrong))
    with pytest.raises(UsageError, match="must have shape"):
        runtime.set("x", x.T)
