"""Schedules, hand-built operations and hazards through the binding."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from minisim import _engine
from minisim._engine import Engine, EngineConfig, SchedExecute, SchedLoad, SchedStore, SchedVector, Tile, matmul
from minisim.errors import ScheduleError, ScheduleHazard, UsageError
from minisim.hwmodel import isa
from minisim.hwmodel.isa import NONE, Activation, Opcode, Role, VectorOp

F32 = np.float32


def gemm(m, k, n, edge=32):
    """Tables of y = relu(x w + bias) in tiles, all operands in SRAM at once, and its SRAM size."""
    shapes = {"x": (m, k), "w": (k, n), "bias": (1, n), "y": (m, n)}
    roles = [Role.INPUT, Role.WEIGHT, Role.WEIGHT, Role.OUTPUT]
    tensors = np.zeros(4, isa.TENSOR_DTYPE)
    tiles, stream, transfers, matmuls = [], [], [], []
    where: dict[int, int] = {}
    used = 0
    for i, (rows, cols) in enumerate(shapes.values()):
        columns = ["address", "rows", "cols", "pitch", "storage", "role"]
        tensors[columns][i] = (i << 32, rows, cols, isa.align(4 * cols), 10 + i, roles[i])

    def tile(tensor, i, j):
        nonlocal used
        rows, cols = list(shapes.values())[tensor]
        r, c = edge * i, edge * j
        entry = (tensor, r, c, min(edge, rows - r), min(edge, cols - c), k_steps if tensor == 3 else 0, 0, 0, 0)
        if entry not in tiles:
            tiles.append(entry)
            where[len(tiles) - 1] = used
            used += isa.align(4 * entry[3] * entry[4])
        return tiles.index(entry)

    def emit(opcode, table, row):
        stream.append((opcode, isa.QUEUE_OF[opcode], 0, 0, len(table), (0,) * 4, isa.NONE))
        table.append(row)

    def load(t):
        if t not in loaded:
            loaded.add(t)
            emit(Opcode.LOAD, transfers, (t, 0, where[t], NONE, NONE))

    k_steps = -(-k // edge)
    loaded: set[int] = set()
    for i in range(-(-m // edge)):
        for j in range(-(-n // edge)):
            c = tile(3, i, j)
            for p in range(k_steps):
                a, b, last = tile(0, i, p), tile(1, p, j), p == k_steps - 1
                bias = tile(2, 0, j) if last else NONE
                for t in (a, b) + ((bias,) if last else ()):
                    load(t)
                sram = (where[a], where[b], where[c], where[bias] if last else NONE, NONE, NONE)
                size = (tiles[a][3], tiles[a][4], tiles[b][4])
                flags = (last, Activation.RELU if last else 0, 0, 0, 0, (0,) * 3)
                emit(Opcode.EXECUTE, matmuls, (a, b, c, bias, NONE, NONE, *sram, NONE, *size, 1, p, 0.0, *flags))
            emit(Opcode.STORE, transfers, (c, k_steps, where[c], NONE, NONE))
    tables = {
        "stream": np.array(stream, isa.STREAM_DTYPE),
        "transfers": np.array(transfers, isa.TRANSFER_DTYPE),
        "matmuls": np.array(matmuls, isa.MATMUL_DTYPE),
        "vectors": np.zeros(0, isa.VECTOR_DTYPE),
        "tiles": np.array(tiles, isa.TILE_DTYPE),
        "tensors": tensors,
    }
    return tables, used


def supplied(engine, m, k, n, seed=0):
    rng = np.random.default_rng(seed)
    x, w, bias = (rng.standard_normal(shape).astype(F32) for shape in ((m, k), (k, n), (1, n)))
    for i, values in enumerate((x, w, bias)):
        engine.set_tensor(i, values)
    return x, w, bias


def in_order(n):
    """The events of `n` operations, one after the other, and their cycles."""
    return np.arange(2 * n, dtype=np.uint32), np.arange(2 * n, dtype=np.int64)


@pytest.mark.parametrize("kernel", ["reference", "fast"])
@pytest.mark.parametrize("shape", [(64, 96, 64), (33, 70, 41), (1, 5, 100)])
def test_run_gives_the_bits_of_one_chain(shape, kernel):
    tables, used = gemm(*shape)
    engine = Engine(EngineConfig(used, kernel=kernel))
    engine.load(**tables)
    x, w, bias = supplied(engine, *shape)
    engine.run()
    expected = matmul(x, w, "reference", bias=bias, activation=Activation.RELU)
    assert engine.finished
    np.testing.assert_array_equal(engine.tensor(3), expected)
    stats = engine.stats
    assert stats.macs == shape[0] * shape[1] * shape[2]
    assert stats.loads + stats.stores + stats.executes == len(tables["stream"])
    assert stats.dram_read_bytes == x.nbytes + w.nbytes + bias.nbytes
    assert stats.dram_write_bytes == expected.nbytes
    assert stats.sram_write_bytes >= stats.dram_read_bytes
    last = tables["matmuls"]["c_sram"].max()
    assert last < stats.sram_peak_bytes <= used


@pytest.mark.parametrize("batch", [1, 7, 10_000])
def test_replay_in_batches(batch):
    shape = (64, 64, 32)
    tables, used = gemm(*shape)
    engine = Engine(EngineConfig(used))
    engine.load(**tables)
    x, w, bias = supplied(engine, *shape)
    events, cycles = in_order(len(tables["stream"]))
    for i in range(0, len(events), batch):
        assert not engine.finished
        engine.replay(events[i : i + batch], cycles[i : i + batch])
    assert engine.finished
    np.testing.assert_array_equal(engine.tensor(3), matmul(x, w, bias=bias, activation=Activation.RELU))


def test_results_appear_at_retirement():
    tables, used = gemm(8, 8, 8)
    engine = Engine(EngineConfig(used))
    engine.load(**tables)
    supplied(engine, 8, 8, 8)
    events, cycles = in_order(len(tables["stream"]))
    engine.replay(events[:-1], cycles[:-1])
    assert np.isnan(engine.tensor(3)).all()
    engine.replay(events[-1:], cycles[-1:])
    assert not np.isnan(engine.tensor(3)).any()


def test_reset_repeats_the_run():
    tables, used = gemm(40, 40, 40)
    engine = Engine(EngineConfig(used))
    engine.load(**tables)
    supplied(engine, 40, 40, 40)
    engine.run()
    first, stats = engine.tensor(3), repr(engine.stats)
    with pytest.raises(UsageError, match="has not started"):
        engine.run()
    engine.reset()
    assert np.isnan(engine.tensor(3)).all() and not engine.finished
    assert repr(engine.stats).startswith("EngineStats(loads=0")
    engine.run()
    np.testing.assert_array_equal(engine.tensor(3), first)
    assert repr(engine.stats) == stats


def test_load_schedule():
    tables, used = gemm(32, 64, 32)
    layers = np.zeros(1, isa.LAYER_DTYPE)
    schedule = isa.Schedule(**tables, layers=layers, tensor_names=("x", "w", "bias", "y"),
                            layer_names=("gemm",), layer_ops=("MatMul",), sram_bytes=used)  # fmt: skip
    engine = Engine(EngineConfig(schedule.sram_bytes))
    engine.load_schedule(schedule)
    x, w, bias = supplied(engine, 32, 64, 32)
    del schedule, tables, layers
    engine.run()
    np.testing.assert_array_equal(engine.tensor(3), matmul(x, w, bias=bias, activation=Activation.RELU))


def test_tables_that_may_change_are_copied():
    tables, used = gemm(32, 32, 32)
    engine = Engine(EngineConfig(used))
    engine.load(**tables)
    supplied(engine, 32, 32, 32)
    tables["matmuls"]["a"] = 10**9
    tables["stream"]["row"] = 10**9
    engine.run()
    assert engine.finished


def test_a_refused_schedule_leaves_the_engine_as_it_was():
    tables, used = gemm(32, 32, 32)
    engine = Engine(EngineConfig(used))
    engine.load(**tables)
    supplied(engine, 32, 32, 32)
    bad = tables["tiles"].copy()
    bad["tensor"][2] = 77
    with pytest.raises(ScheduleError, match=r"tiles\[2\]: tensor must be below 4, not 77"):
        engine.load(**{**tables, "tiles": bad})
    engine.run()
    assert engine.finished


def test_rows_that_lie_in_no_page_are_not_moved():
    tables, used = gemm(32, 32, 32)
    moved = tables["tiles"].copy()
    moved["moved"][1] = 64
    with pytest.raises(ScheduleError, match=r"tiles\[1\]: moved must be 0: its tensor has no pages"):
        Engine(EngineConfig(used)).load(**{**tables, "tiles": moved})


# -- tensors ------------------------------------------------------------------------------------------


def test_set_tensor_takes_any_strides():
    engine = Engine(EngineConfig(64))
    t = engine.add_tensor(3, 5, Role.INPUT)
    base = np.arange(60, dtype=F32).reshape(6, 10)
    for values in (base[:3, :5], base[::2, ::-2], base.T[:3, :5], base[::-2, 3:8]):
        engine.set_tensor(t, values)
        np.testing.assert_array_equal(engine.tensor(t), values)
    for wrong in (base, base[0, :5], base[:3, :5].astype(float)):
        with pytest.raises(UsageError, match=r"shape \(3, 5\)|two dimensions|dtype float32"):
            engine.set_tensor(t, wrong)
    with pytest.raises(UsageError, match="tensor must be below 1, not 1"):
        engine.tensor(1)


def test_tensor_view_is_in_place_read_only_and_outlives_the_engine():
    engine = Engine(EngineConfig(64))
    t = engine.add_tensor(3, 5, Role.INPUT)
    view, copy = engine.tensor_view(t), engine.tensor(t)
    assert view.strides == (64, 4) and copy.strides == (20, 4)
    values = np.arange(15, dtype=F32).reshape(3, 5)
    engine.set_tensor(t, values)
    assert np.isnan(copy).all()
    with pytest.raises(ValueError, match="read-only"):
        view[0, 0] = 1
    del engine
    np.testing.assert_array_equal(view, values)


# -- hand-built operations ------------------------------------------------------------------------------


@pytest.fixture
def hand():
    """An engine with x (4, 6), w (6, 5) set and y (4, 5) to compute, and their tiles."""
    engine = Engine(EngineConfig(1024))
    shapes = ((4, 6, Role.INPUT), (6, 5, Role.WEIGHT), (4, 5, Role.OUTPUT))
    x, w, y = (engine.add_tensor(*shape) for shape in shapes)
    rng = np.random.default_rng(3)
    engine.set_tensor(x, rng.standard_normal((4, 6)).astype(F32))
    engine.set_tensor(w, rng.standard_normal((6, 5)).astype(F32))
    a, b, c = Tile(x, 0, 0, 4, 6, 0x000), Tile(w, 0, 0, 6, 5, 0x080), Tile(y, 0, 0, 4, 5, 0x100)
    return engine, a, b, c


def dispatch(engine, *ops):
    for op in ops:
        engine.dispatch(op)


def test_hand_built_product(hand):
    engine, a, b, c = hand
    execute = SchedExecute(a, b, c, activation=Activation.SIGMOID)
    dispatch(engine, SchedLoad(a), SchedLoad(b), execute, SchedStore(c))
    expected = matmul(engine.tensor(0), engine.tensor(1), "reference", activation=Activation.SIGMOID)
    np.testing.assert_array_equal(engine.tensor(2), expected)
    assert engine.finished and engine.stats.executes == 1


def test_hand_built_steps_with_transposes_bias_and_residual(hand):
    engine, _, _, c = hand
    x, w = engine.tensor(0), engine.tensor(1)
    r = engine.add_tensor(4, 5, Role.INPUT)
    engine.set_tensor(r, np.full((4, 5), 0.25, F32))
    at = engine.add_tensor(6, 4, Role.INPUT)
    engine.set_tensor(at, x.T)
    bt = engine.add_tensor(5, 6, Role.INPUT)
    engine.set_tensor(bt, w.T)
    halves = [(Tile(at, 3 * i, 0, 3, 4, 0x200), Tile(bt, 0, 3 * i, 5, 3, 0x280)) for i in range(2)]
    bias, residual = Tile(1, 0, 0, 1, 5, 0x300), Tile(r, 0, 0, 4, 5, 0x380)
    dispatch(engine, SchedLoad(bias), SchedLoad(residual))
    for step, (a, b) in enumerate(halves):
        last = {"bias": bias, "residual": residual} if step == 1 else {}
        flags = {"a_transposed": True, "b_transposed": True}
        dispatch(engine, SchedLoad(a), SchedLoad(b), SchedExecute(a, b, c, step=step, steps=2, **flags, **last))
    dispatch(engine, SchedStore(c))
    expected = matmul(x, w, "reference", bias=w[0], residual=engine.tensor(r))
    np.testing.assert_array_equal(engine.tensor(2), expected)


@pytest.mark.parametrize(
    "op",
    [op for op in VectorOp if op.is_elementwise and "c" not in op.kinds + op.result and "FP32" in op.types],
)
@pytest.mark.parametrize("shape", [(4, 5), (1, 5), (4, 1), (1, 1)])
def test_hand_built_vector_operations(hand, op, shape):
    engine, *_, c = hand
    s = engine.add_tensor(4, 5, Role.INPUT)
    values = np.linspace(-2, 2, 20, dtype=F32).reshape(4, 5)
    engine.set_tensor(s, values)
    src0, src1 = Tile(s, 0, 0, 4, 5, 0x200), Tile(s, 0, 0, *shape, 0x300)
    sources = [src0, src1, 0.5][: op.sources]  # the third one is a number
    for src in (src0, src1)[: op.sources]:
        engine.dispatch(SchedLoad(src))
    dispatch(engine, SchedVector(op, c, *sources), SchedStore(c))
    y = np.broadcast_to(values[: shape[0], : shape[1]], values.shape)
    expected = _engine.vector(op, [values, y, np.full_like(values, 0.5)][: op.sources], "reference")
    np.testing.assert_array_equal(engine.tensor(2), expected)


@pytest.mark.parametrize("op", [op for op in VectorOp if op.is_reduction])
def test_hand_built_reductions(hand, op):
    engine, *_, c = hand
    s, y = engine.add_tensor(4, 7, Role.INPUT), engine.add_tensor(4, 1, Role.OUTPUT)
    values = np.linspace(-2, 2, 28, dtype=F32).reshape(4, 7)
    engine.set_tensor(s, values)
    source, column = Tile(s, 0, 0, 4, 7, 0x200), Tile(y, 0, 0, 4, 1, 0x300)
    dispatch(engine, SchedLoad(source), SchedVector(op, column, source), SchedStore(column))
    exact = values.astype(np.float64)
    expected = exact.sum(axis=1) if op == VectorOp.REDUCE_SUM else exact.max(axis=1)
    np.testing.assert_allclose(engine.tensor(y)[:, 0], expected, rtol=0, atol=1e-6)
    with pytest.raises(ScheduleError, match=r"cols must be 1 \(a reduction makes a column\) or 32 \(.*\), not 5"):
        engine.dispatch(SchedVector(op, c, source))


def test_hand_built_operations_are_checked(hand):
    engine, a, b, c = hand
    with pytest.raises(ScheduleError, match="b must be a tile of shape"):
        engine.dispatch(SchedExecute(a, a, c))
    dispatch(engine, SchedLoad(a))
    with pytest.raises(ScheduleHazard, match=r"EXECUTE \(op 1\) reads SRAM \[0x80, 0xf8\) that nothing wrote") as e:
        engine.dispatch(SchedExecute(a, b, c))
    assert (e.value.op, e.value.other, e.value.cycle) == (1, -1, 1)
    with pytest.raises(ScheduleError, match=r"needs reset\(\)"):
        engine.dispatch(SchedLoad(b))
    engine.reset()
    dispatch(engine, SchedLoad(a), SchedLoad(b), SchedExecute(a, b, c))
    assert engine.stats.loads == 2


def test_hand_built_and_loaded_do_not_mix(hand):
    engine, a, *_ = hand
    tables, _ = gemm(4, 4, 4)
    engine.load(**tables)
    for work in (lambda: engine.dispatch(SchedLoad(a)), lambda: engine.add_tensor(1, 1, Role.INPUT)):
        with pytest.raises(UsageError, match="has loaded a schedule"):
            work()


def test_a_tensor_that_no_memory_can_hold_leaves_the_engine_as_it_was(hand):
    engine, a, b, c = hand
    with pytest.raises(MemoryError):
        engine.add_tensor(2**32 - 1, 2**28, Role.INTERMEDIATE)
    with pytest.raises(ScheduleError, match=r"tensors\[3\]: a tensor must end at or below address 2\^62, not take 429"):
        engine.add_tensor(2**32 - 1, 2**30 - 16, Role.INTERMEDIATE)
    with pytest.raises(UsageError, match="tensor must be below 3, not 3"):
        engine.tensor(3)
    engine.reset()
    assert engine.add_tensor(9, 33, Role.INPUT) == 3
    dispatch(engine, SchedLoad(a), SchedLoad(b), SchedExecute(a, b, c), SchedStore(c))
    assert engine.tensor(3).shape == (9, 33)
    np.testing.assert_array_equal(engine.tensor(2), matmul(engine.tensor(0), engine.tensor(1)))


# -- hazards and impossible events ------------------------------------------------------------------------


def test_a_missing_wait_is_a_hazard_even_where_the_numbers_are_right():
    tables, used = gemm(8, 8, 8)  # LOAD x, LOAD w, LOAD bias, EXECUTE, STORE
    engine = Engine(EngineConfig(used))
    engine.load(**tables)
    supplied(engine, 8, 8, 8)
    events = np.array([0, 1, 2, 6], np.uint32)  # op 3, EXECUTE, starts while op 1 is in flight
    with pytest.raises(ScheduleHazard) as e:
        engine.replay(events, np.array([0, 50, 50, 77], np.int64))
    assert (e.value.op, e.value.other, e.value.cycle) == (3, 1, 77)
    assert "read-after-write hazard at cycle 77: EXECUTE (op 3) reads SRAM" in str(e.value)
    assert "which LOAD (op 1), still in flight, writes" in str(e.value)

    unchecked = Engine(EngineConfig(used, check_hazards=False))
    unchecked.load(**tables)
    supplied(unchecked, 8, 8, 8)
    unchecked.replay(np.array([0, 1, 2, 6, 3, 4, 5, 7], np.uint32), np.arange(8))
    assert unchecked.stats.executes == 1


def test_impossible_events():
    tables, used = gemm(8, 8, 8)
    engine = Engine(EngineConfig(used))
    engine.load(**tables)
    supplied(engine, 8, 8, 8)
    for events, message in (
        ([10], "of operation 5, but the stream has 5"),
        ([1], "nothing of its queue is in flight"),
        ([2], r"LOAD \(op 1\) started out of order"),
        ([0, 2, 3], r"LOAD \(op 1\) retired out of order"),
    ):
        with pytest.raises(ScheduleError, match=message):
            engine.replay(np.array(events, np.uint32), np.zeros(len(events), np.int64))
        engine.reset()
    with pytest.raises(UsageError, match="events must be a packed column of uint32"):
        engine.replay(np.zeros(1, np.int64), np.zeros(1, np.int64))
    with pytest.raises(UsageError, match="must have one length, not 2 and 1"):
        engine.replay(np.zeros(2, np.uint32), np.zeros(1, np.int64))
    with pytest.raises(UsageError, match="packed column"):
        engine.replay(np.zeros(4, np.uint32)[::2], np.zeros(2, np.int64))


def test_bad_configurations():
    with pytest.raises(UsageError, match=r"kernel must be one of 'auto', 'fast', 'reference'.* not 'quick'"):
        Engine(EngineConfig(64, kernel="quick"))
    with pytest.raises(UsageError, match="sram_bytes must be from 1 to 4294967296, not 0"):
        Engine(EngineConfig(0))


def test_an_sram_too_small_is_refused():
    tables, _ = gemm(32, 32, 32)
    with pytest.raises(ScheduleError, match="does not fit: 4096 bytes at address 4096 of an SRAM of 8128"):
        Engine(EngineConfig(2 * 4096 - 64)).load(**tables)


# -- threads ------------------------------------------------------------------------------------------------


def test_the_gil_is_released_while_the_engine_works():
    tables, used = gemm(256, 256, 256)
    engine = Engine(EngineConfig(used, kernel="reference"))
    engine.load(**tables)
    supplied(engine, 256, 256, 256)
    moments = []
    worker = threading.Thread(target=lambda: (engine.run(), moments.append(time.perf_counter())))
    worker.start()
    ticks = []
    while worker.is_alive():  # with the GIL held, none of this would run before the end
        ticks.append(time.perf_counter())
        time.sleep(0.0002)
    worker.join()
    assert sum(t < moments[0] for t in ticks) >= 5


def test_callers_wait_in_line():
    tables, used = gemm(128, 128, 128)
    engine = Engine(EngineConfig(used, kernel="reference"))
    engine.load(**tables)
    x, w, bias = supplied(engine, 128, 128, 128)
    worker = threading.Thread(target=engine.run)
    worker.start()
    while worker.is_alive() and engine.stats.stores == 0:  # waits for the whole run, if it has begun
        pass
    assert engine.finished
    worker.join()
    np.testing.assert_array_equal(engine.tensor(3), matmul(x, w, bias=bias, activation=Activation.RELU))
