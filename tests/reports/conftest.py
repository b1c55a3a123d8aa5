"""What the tests of the reports share: records of real runs, and random machines and graphs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume
from hypothesis import strategies as st

from minisim.compiler.frontend import load_model
from minisim.compiler.graph import Graph
from minisim.compiler.pipeline import compile_graph
from minisim.errors import CapacityError
from minisim.hwmodel.config import Machine
from minisim.hwmodel.simulate import simulate
from minisim.reports import RunRecord

Record = Callable[..., RunRecord]


def run_record(graph: Graph, machine: Machine, **fields: Any) -> RunRecord:
    """Compile and time `graph`; discards the hypothesis example if the SRAM is too small."""
    try:
        schedule = compile_graph(graph, machine)
    except CapacityError:
        assume(False)
    names = {"model": graph.name, "config": machine.name, "timing": "simpy"}
    walls = {"wall_compile_s": 0.25, "wall_simulate_s": 0.5}
    return RunRecord(schedule, simulate(schedule, machine), machine, **{**names, **walls, **fields})


@pytest.fixture(scope="session")
def record() -> Record:
    """A record of a built-in shape on a preset: record("gemm:64x64x64", "edge_8x8", "tile.m=8").
    Tiles have the array's edges, if nothing else is said."""

    def make(spec: str = "gemm:96x64x80", preset: str = "npu_32x32", *overrides: str, **fields: Any) -> RunRecord:
        return run_record(load_model(spec), Machine.load(preset, ("compiler.effort=0", *overrides)), **fields)

    return make


@st.composite
def machines(draw: st.DrawFn) -> Machine:
    """Small machines of all proportions, so that every unit is the bottleneck of some."""

    def of(*values: Any) -> Any:
        return draw(st.sampled_from(values))

    return Machine.check({
        "name": "random",
        "cores": {"count": of(1, 1, 1, 2, 3)},
        "clock": {"frequency": of("1GHz", "940MHz", "3GHz")},
        "tile": {"m": of(1, 4, 8), "k": of(2, 8), "n": of(4, 8)},
        "matrix": {"rows": of(2, 4, 16), "cols": of(2, 8), "arrays": of(1, 1, 2, 3), "epilogue_cycles": of(1, 8)},
        "vector": {"lanes": of(1, 4, 32), "setup_cycles": of(0, 4), "latency_cycles": of(1, 20)},
        "sram": {"bytes": of("1KiB", "2KiB", "16KiB")},
        "dma": {"bytes_per_cycle": of(1, 16, 64), "setup_cycles": of(0, 8), "max_outstanding": of(1, 2, 16)},
        "dram": {"bandwidth": of("0.7GB/s", "6.4GB/s", "100GB/s"), "latency": of("0ns", "60ns")},
        "control": {"queue_depth": of(1, 2, 16), "issue_cycles": of(1, 5), "launch_cycles": of(0, 0, 70)},
        "compiler": {"order": of("auto", "mnk"), "keep_on_chip": draw(st.booleans())},
    })  # fmt: skip


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Chains of one to four layers, fused and not, on the matrix and the vector unit."""
    sizes = st.integers(1, 24)
    g = Graph("random")
    x = g.input("x", (draw(sizes), draw(sizes)))
    for i, kind in enumerate(
        draw(st.lists(st.sampled_from(["matmul", "relu", "sigmoid", "add"]), min_size=1, max_size=4))
    ):
        if kind == "matmul":
            x = x @ g.weight(f"w{i}", np.zeros((x.shape[-1], draw(sizes)), np.float32))
        elif kind == "add":
            x = g.add(x, g.weight(f"b{i}", np.zeros(x.shape, np.float32)))
        else:
            x = g.relu(x) if kind == "relu" else g.sigmoid(x)
    g.output(x, "y")
    return g


@st.composite
def records(draw: st.DrawFn) -> RunRecord:
    """A random graph on a random machine."""
    return run_record(draw(graphs()), draw(machines()))
