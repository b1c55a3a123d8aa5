"""Engines and runtimes that threads share: every pair of calls is safe, or says clearly what was in its way.

The C++ test of the same name does this under ThreadSanitizer; here the binding is in it, with the GIL.
"""

from __future__ import annotations

import itertools
import sys
import threading
import time

import numpy as np
import pytest

import minisim as ms
from minisim._engine import Engine, EngineConfig, SchedLoad, Tile
from minisim.errors import ScheduleError, ScheduleHazard, UsageError
from minisim.hwmodel.isa import Role

F32 = np.float32
SECONDS = 0.01  # for each pair
CLEAR = (UsageError, ScheduleError, ScheduleHazard)


@pytest.fixture(autouse=True)
def quick_turns():
    """Threads take turns at the GIL as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def product(rows):
    """The graph y = x w, with x of (rows, 16), and its schedule on a small machine."""
    graph = ms.Graph("product")
    x = graph.input("x", (rows, 16))
    graph.output(x @ graph.weight("w", np.full((16, 8), 2.0, F32)), "y")
    machine = ms.Machine().with_overrides({"sram.bytes": 16384})
    return graph, machine, ms.compile_graph(graph, machine)


SMALL, LARGE = product(8), product(700)
"""Two programs whose first tensors differ in size by a factor of 87: copying one as the other goes far astray."""


def engines():
    """One for operations built by hand, with a tensor, and one that has loaded the larger program."""
    hand_built, loaded = Engine(EngineConfig(16384)), Engine(EngineConfig(16384))
    hand_built.add_tensor(8, 16, Role.INPUT)
    loaded.load_schedule(LARGE[2])
    return hand_built, loaded


def matrices(schedule):
    return [np.ones((t["rows"], t["cols"]), F32) for t in schedule.tensors]


def set_all(engine, schedule):
    for i, values in enumerate(matrices(schedule)):
        engine.set_tensor(i, values)


def tables(schedule):
    names = ("stream", "transfers", "matmuls", "vectors", "tiles", "tensors", "syncs")
    return {name: getattr(schedule, name) for name in names}


EVENTS = np.array([0, 1], np.uint32), np.array([0, 1], np.int64)
LOAD = SchedLoad(Tile(0, 0, 0, 8, 8, 0))
WIDE, NARROW = np.ones((700, 16), F32), np.ones((8, 16), F32)

ALTERNATELY = itertools.cycle((SMALL[2], LARGE[2]))
"""Of the loads that follow each other, one in two changes the shape of every tensor."""

CALLS = {
    "config": lambda e: e.config,
    "finished": lambda e: e.finished,
    "stats": lambda e: e.stats,
    "repr": repr,
    "load": lambda e: e.load(**tables(next(ALTERNATELY))),
    "load_schedule": lambda e: e.load_schedule(next(ALTERNATELY)),
    "set_tensor": lambda e: e.set_tensor(0, NARROW),
    "set_tensor, wide": lambda e: e.set_tensor(0, WIDE),
    "tensor": lambda e: e.tensor(0).sum(),
    "tensor_view": lambda e: e.tensor_view(0).sum(),
    "replay": lambda e: e.replay(*EVENTS),
    "finish": lambda e: e.finish(9),
    "run": lambda e: e.run(),
    "reset": lambda e: e.reset(),
    "add_tensor": lambda e: e.add_tensor(8, 16, Role.INPUT),
    "dispatch": lambda e: e.dispatch(LOAD),
}


def test_every_call_of_the_engine_is_among_them():
    public = {name for name in vars(Engine) if not name.startswith("_")}
    assert public == {name.split(",")[0] for name in CALLS} - {"repr"}


def together(one, other, subject):
    """Both calls over and over, each in a thread of its own; what they raise that is not clear."""
    surprises = []
    gate = threading.Barrier(2)

    def work(call):
        gate.wait()
        end = time.perf_counter() + SECONDS
        while time.perf_counter() < end:
            try:
                call(subject)
            except CLEAR:
                pass
            except BaseException as e:  # also what pybind11 throws at us
                surprises.append(e)

    threads = [threading.Thread(target=work, args=(call,)) for call in (one, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
        assert not thread.is_alive()
    return surprises


@pytest.mark.parametrize("first", CALLS)
def test_every_pair_of_calls_of_an_engine(first):
    names = list(CALLS)
    for second in names[names.index(first) :]:
        for engine in engines():
            assert together(CALLS[first], CALLS[second], engine) == []
            engine.load_schedule(SMALL[2])  # whatever happened, it can go on
            set_all(engine, SMALL[2])
            engine.run()
            assert (engine.tensor(len(SMALL[2].tensors) - 1) == 16).all()


RUNTIME_CALLS = {
    "set": lambda r: r.set("x", np.ones((8, 16), F32)),
    "execute": lambda r: r.execute(),
    "get": lambda r: r.get("y"),
    "outputs": lambda r: r.outputs(),
    "stats": lambda r: r.stats,
}


@pytest.mark.parametrize(("first", "second"), list(itertools.combinations_with_replacement(RUNTIME_CALLS, 2)))
def test_every_pair_of_calls_of_a_runtime(first, second):
    runtime = ms.Runtime(SMALL[0], SMALL[1], SMALL[2])
    runtime.set("x", np.ones((8, 16), F32))
    assert together(RUNTIME_CALLS[first], RUNTIME_CALLS[second], runtime) == []
    runtime.set("x", np.ones((8, 16), F32))
    runtime.execute()
    assert (runtime.get("y") == 32).all()


def test_runtimes_of_several_threads_are_apart():
    found = []

    def work(value):
        graph, machine, schedule = product(40)
        runtime = ms.Runtime(graph, machine, schedule)
        for _ in range(10):
            runtime.set("x", np.full((40, 16), value, F32))
            runtime.execute()
            found.append((runtime.get("y") == 32 * value).all())

    threads = [threading.Thread(target=work, args=(value,)) for value in (1.0, 2.0, 3.0, 4.0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 40
    assert all(found)


def test_tables_that_are_read_only_views_may_change_all_the_same():
    owned = {name: np.array(table) for name, table in tables(SMALL[2]).items()}
    views = {name: table[:] for name, table in owned.items()}
    for view in views.values():
        view.flags.writeable = False
    engine = Engine(EngineConfig(16384))
    engine.load(**views)
    set_all(engine, SMALL[2])
    for table in owned.values():
        table.view(np.uint8)[:] = 0xFF
    engine.run()
    assert engine.finished
