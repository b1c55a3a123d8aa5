"""Whatever is given for one argument of the package's face, it is taken or refused, and never called a bug of ours."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minisim as ms
from minisim.errors import MinisimError

SPEC = "gemm:8x8x8"


class Unfriendly:
    """An object whose own methods fail."""

    def __repr__(self) -> str:
        raise RuntimeError("no")

    __str__ = __repr__


WRONG: list[Any] = [7, 2.5, None, "", "text", b"bytes", [], [1], (), {}, {1: 2}, set(), True, 10**400, float("nan"),
                    object(), Unfriendly(), Unfriendly, len, lambda: 3, lambda a, b: 3, np.ones(3), np.ones(0),
                    np.array(["a"]), np.float32(1), "\ud800", [[1], [1, 2]], -1, 10**6, 2**70, 1j, "x" * 10**5,
                    [None]]  # fmt: skip


def graph() -> ms.Graph:
    g = ms.Graph("g")
    g.output(g.relu(g.input("x", (4, 4))), "y")
    return g


SCHEDULE = ms.compile_graph(SPEC)

CALLS: dict[str, tuple[Callable[[], Any], dict[str, Any]]] = {
    "run": (lambda: ms.run, {"graph": SPEC}),
    "compile_graph": (lambda: ms.compile_graph, {"graph": SPEC}),
    "load_model": (lambda: ms.load_model, {"spec": SPEC}),
    "simulate": (lambda: ms.simulate, {"schedule": SCHEDULE}),
    "Graph.fresh_name": (lambda: graph().fresh_name, {"stem": "a"}),
    "Graph.evaluate": (lambda: graph().evaluate, {"inputs": {"x": np.ones((4, 4))}}),
    "Machine.digest": (lambda: ms.Machine().digest, {}),
    "Machine.check": (lambda: ms.Machine.check, {"data": {}}),
    "Machine.of": (lambda: ms.Machine.of, {"machine": None}),
    "Machine.load": (lambda: ms.Machine.load, {"source": "npu_32x32"}),
    "Machine.replace": (lambda: ms.Machine().replace, {}),
    "Machine.with_overrides": (lambda: ms.Machine().with_overrides, {"overrides": {}}),
    "Runtime": (lambda: ms.Runtime, {"graph": SPEC}),
    "Runtime.set": (lambda: ms.Runtime(SPEC).set, {"name": "a", "values": np.ones((8, 8))}),
    "Runtime.get": (lambda: ms.Runtime(SPEC).get, {"name": "c"}),
    "Runtime.dtype": (lambda: ms.Runtime(SPEC).dtype, {"name": "c"}),
    "Schedule.save": (lambda: SCHEDULE.save, {"path": "s.npz"}),
    "Schedule.load": (lambda: ms.Schedule.load, {"path": "s.npz"}),
    "Schedule.describe": (lambda: SCHEDULE.describe, {"i": 0}),
    "Schedule.title": (lambda: SCHEDULE.title, {"i": 0}),
    "Schedule.tile_name": (lambda: SCHEDULE.tile_name, {"tile": 0}),
    "Schedule.lane_name": (lambda: SCHEDULE.lane_name, {"lane": 0}),
}
"""Of each function how to get it, and arguments that are right."""

SHOWN = {("Machine.check", "path"), ("Machine.with_overrides", "option")}
"""Arguments that only messages show: anything will do."""


def parameters(name: str) -> list[inspect.Parameter]:
    return list(inspect.signature(CALLS[name][0]()).parameters.values())


CASES = [pytest.param(name, p, id=f"{name}-{p.name}") for name in CALLS for p in parameters(name)]


@pytest.mark.parametrize(("name", "parameter"), CASES)
def test_any_object_as_any_argument(
    name: str, parameter: inspect.Parameter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    get, right = CALLS[name]
    refused, own = 0, list[str]()
    for value in WRONG:
        try:
            if parameter.kind == parameter.VAR_POSITIONAL:
                get()(value)
            else:
                get()(**{**right, parameter.name: value})
        except MinisimError:
            refused += 1
        except RuntimeError as e:  # an object of the caller's own
            own.append(str(e))
    assert bool(refused) != ((name, parameter.name) in SHOWN)
    assert set(own) <= {"no"}


def test_what_means_true_or_false_is_taken() -> None:
    for yes, no in ((True, False), (1, 0), (np.True_, np.False_)):
        assert ms.run(SPEC, numerics=yes).outputs and not ms.run(SPEC, numerics=no).outputs  # type: ignore[arg-type]
