"""The vector unit on integers, and its conversions, through the engine: against whole numbers of any size."""

from __future__ import annotations

from itertools import count

import numpy as np
import pytest
from support.oracle import INTEGERS, converted, integer_operation, quantised, round_bf16

from minisim import _engine
from minisim._engine import Engine, EngineConfig, SchedLoad, SchedStore, SchedVector, Tile
from minisim.compiler.dtypes import CODE, FLOATS8, HELD_AS, NAME
from minisim.errors import ScheduleError
from minisim.hwmodel.isa import DType, Role, VectorOp
from minisim.hwmodel.vector_ops import INTEGERS as TYPES

INTEGER_TYPES = [DType[name] for name in TYPES]

PLAIN = [dtype for name, dtype in CODE.items() if name not in FLOATS8]


def computed(op, sources, dtype, kernel="auto"):
    """What the engine makes of `sources`: arrays beside the types of their tensors, or numbers."""
    engine, places = Engine(EngineConfig(2**20, kernel=kernel)), count(0, 2**18)
    arrays = [source[0] for source in sources if isinstance(source, tuple)]
    rows, cols = np.broadcast_shapes(*(x.shape for x in arrays))
    cols = 1 if op.is_reduction else cols
    out = engine.add_tensor(rows, cols, Role.OUTPUT, dtype)
    operands = []
    for source in sources:
        if isinstance(source, tuple):
            values, of = source
            tensor = engine.add_tensor(*values.shape, Role.INPUT, of)
            engine.set_tensor(tensor, values)
            operands.append(Tile(tensor, 0, 0, *values.shape, next(places)))
            engine.dispatch(SchedLoad(operands[-1]))
        else:
            operands.append(source)
    dst = Tile(out, 0, 0, rows, cols, next(places))
    engine.dispatch(SchedVector(op, dst, *operands))
    engine.dispatch(SchedStore(dst))
    return engine.tensor(out)


def edges(dtype):
    """Integers where something happens: the ends, zero and its neighbours, powers of two."""
    limits = np.iinfo(HELD_AS[NAME[dtype]])
    some = [limits.min, limits.min + 1, -7, -2, -1, 0, 1, 2, 3, 5, 100, limits.max // 2 + 1, limits.max - 1, limits.max]
    return np.array(sorted({x for x in some if limits.min <= x <= limits.max}), HELD_AS[NAME[dtype]])


@pytest.mark.parametrize("dtype", INTEGER_TYPES)
@pytest.mark.parametrize("op", INTEGERS)
def test_operations_wrap_around(op, dtype):
    """Every edge meets every other; and rows of more than a block, of which one is repeated."""
    rng, some = np.random.default_rng(op), edges(dtype)
    x, y = (np.array(grid.reshape(1, -1)) for grid in np.meshgrid(some, some))
    drawn = rng.choice(some, (2, 300)), rng.choice(some, (1, 300)), rng.choice(some, (2, 1))
    for values in ((x, y, np.roll(x, 3)), drawn):
        if op == VectorOp.POW:  # of a power of 2^31 digits nobody can wait for the end
            values = (values[0], np.clip(values[1], *((0, 40) if dtype == DType.UINT8 else (-3, 40))), values[2])
        sources = [(v, dtype) for v in values][: op.sources]
        if op == VectorOp.SELECT:
            sources[0] = (values[0] > 0, DType.BOOL)
        result = DType.BOOL if op.result == "c" else dtype
        expected = integer_operation(op, [v for v, _ in sources], HELD_AS[NAME[dtype]])
        np.testing.assert_array_equal(computed(op, sources, result), expected, strict=True)


def test_the_table_gives_integers_to_operations_that_are_tested_here():
    reductions = {VectorOp.REDUCE_SUM, VectorOp.REDUCE_MAX}
    others = reductions | {op for op in VectorOp if op.is_move or op.is_fold or op.is_conversion}
    for dtype in INTEGER_TYPES:
        assert {op for op in VectorOp if dtype.name in op.types} - others == INTEGERS.keys()


@pytest.mark.parametrize("dtype", INTEGER_TYPES)
def test_reductions(dtype):
    x = np.random.default_rng(1).choice(edges(dtype), (5, 700))
    total = computed(VectorOp.REDUCE_SUM, [(x, dtype)], dtype)
    np.testing.assert_array_equal(total, x.sum(1, keepdims=True, dtype=np.int64).astype(x.dtype), strict=True)
    for values in (x, np.full_like(x, np.iinfo(x.dtype).min)):
        greatest = computed(VectorOp.REDUCE_MAX, [(values, dtype)], dtype)
        np.testing.assert_array_equal(greatest, values.max(1, keepdims=True), strict=True)


def test_numbers_among_the_operands_must_be_the_types_own():
    x = np.array([[-128, 127, 5]], np.int8)
    assert computed(VectorOp.ADD, [(x, DType.INT8), 127], DType.INT8).tolist() == [[-1, -2, -124]]
    for wrong in (0.5, 128, -129, float("nan"), float("inf")):
        with pytest.raises(ScheduleError, match="imm1 must be a number of INT8, not"):
            computed(VectorOp.ADD, [(x, DType.INT8), wrong], DType.INT8)


# -- conversions -----------------------------------------------------------------------------------------


def some_floats(dtype):
    rng = np.random.default_rng(2)
    ties = np.arange(-20, 20) / 2
    ends = np.array([s * 2.0**e + d for s in (-1, 1) for e in (7, 8, 15, 16, 31) for d in (-1, -0.5, 0, 0.5, 1)])
    special = [0.0, -0.0, np.nan, np.inf, -np.inf, 1e-40, 6e-8, 3e-8, 65504, 65520, 65519.99, 3e38, 1e10, -1e10]
    drawn = rng.standard_normal(300) * 10.0 ** rng.integers(-6, 10, 300)
    with np.errstate(all="ignore"):
        values = np.concatenate([ties, ends, special, drawn]).astype(np.float32)[None]
        return round_bf16(values) if dtype == DType.BF16 else values.astype(HELD_AS[NAME[dtype]])


def some(dtype):
    if dtype == DType.BOOL:
        return np.array([[False, True]])
    if dtype.name not in TYPES:
        return some_floats(dtype)
    limits = np.iinfo(HELD_AS[NAME[dtype]])
    drawn = np.random.default_rng(3).integers(limits.min, limits.max, 300, endpoint=True)
    near = 2**24 + np.arange(-3, 4)  # where float32 begins to round
    return np.concatenate([edges(dtype), drawn, near[near <= limits.max]]).astype(HELD_AS[NAME[dtype]])[None]


def same(found, expected):
    """To the bit, NaNs included."""
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found.view(f"u{found.itemsize}"), expected.view(f"u{found.itemsize}"))


@pytest.mark.parametrize("to", PLAIN)
@pytest.mark.parametrize("dtype", PLAIN)
def test_casts(dtype, to):
    x = some(dtype)
    for kernel in _engine.kernels()[:1]:  # all share it
        same(computed(VectorOp.CAST, [(x, dtype)], to, kernel), converted(x, NAME[to]))


def test_each_fp16_is_cast_exactly_both_ways():
    """All 65,536, but that of the NaNs one is left."""
    patterns = np.arange(2**16, dtype=np.uint16).reshape(16, -1)
    x = patterns.view(np.float16)
    wide = computed(VectorOp.CAST, [(x, DType.FP16)], DType.FP32)
    same(wide, np.where(np.isnan(x), np.array(0x7FC00000, np.uint32).view(np.float32), x.astype(np.float32)))
    back = computed(VectorOp.CAST, [(wide, DType.FP32)], DType.FP16)
    np.testing.assert_array_equal(back.view(np.uint16), np.where(np.isnan(x), 0x7E00, patterns))


@pytest.mark.parametrize("to", [dtype for dtype in PLAIN if dtype != DType.BOOL])
@pytest.mark.parametrize("dtype", [dtype for dtype in PLAIN if dtype != DType.BOOL])
def test_rescaling(dtype, to):
    """By a number, and by one for each column, as the scales of channels are."""
    x = some(dtype)[0, :300].reshape(-1, 10) if some(dtype).size >= 300 else some(dtype)
    factors = np.array([0.5, 0.1, 1.0, 3e-8, 255.0, 1e-3, 2.0, 0.25, 1e9, 0.75], np.float32)[None]
    for factor, source in ((np.float32(0.5), 0.5), (factors, (factors, DType.FP32))):
        if np.ndim(factor) and x.shape[1] != 10:
            continue
        same(computed(VectorOp.RESCALE, [(x, dtype), source], to), converted(x, NAME[to], factor))


@pytest.mark.parametrize("to", [DType.INT8, DType.UINT8, DType.INT32, DType.FP32, DType.FP16])
@pytest.mark.parametrize("dtype", [DType.FP32, DType.BF16, DType.INT8, DType.UINT8, DType.INT32])
@pytest.mark.parametrize("op", [VectorOp.QUANTIZE, VectorOp.DEQUANTIZE, VectorOp.REQUANTIZE])
def test_zero_points(op, dtype, to):
    """Scale and zero point as numbers, and one for each column; the ties of halves, of which a zero point is odd."""
    x = some(dtype)[0, :300].reshape(-1, 10)
    scales = np.array([0.5, 0.1, 1.0, 3e-8, 255.0, 1e-3, 2.0, 0.25, 1e9, 0.75], np.float32)[None]
    zeros = np.array([0, 1, -1, 127, 255, -128, 3, 5, 128, 77], np.float32)[None]
    for s, z, sources in (
        (np.float32(0.5), np.float32(3), (0.5, 3)),
        (scales, zeros, ((scales, DType.FP32), (zeros, DType.FP32))),
    ):
        expected = quantised(op.name.capitalize(), x, s, z, NAME[to])
        same(computed(op, [(x, dtype), *sources], to), expected)


def test_conversions_that_are_refused():
    x, factor = np.zeros((2, 2), np.int8), np.ones((1, 2), np.float16)
    with pytest.raises(ScheduleError, match=r"src1 must be FP32 \(by the operation's dtype\), not FP16"):
        computed(VectorOp.RESCALE, [(x, DType.INT8), (factor, DType.FP16)], DType.FP32)
    with pytest.raises(ScheduleError, match=r"dst must be .*, not BOOL"):
        computed(VectorOp.RESCALE, [(x, DType.INT8), 1.0], DType.BOOL)
