"""minisim: how fast would this model run on that accelerator, and why?

    import minisim as ms

    graph = ms.Graph("mlp")
    x = graph.input("x", (128, 128))
    graph.output(graph.relu(x @ graph.weight("w", w)), "y")

    result = ms.run(graph, ms.Machine.load("npu_32x32"))
    result.cycles, result.outputs["y"], result.max_abs_error

A compiler (`minisim.compiler`) turns the graph into a schedule; an event model (`minisim.hwmodel`) times
it, and a C++ engine (`minisim._engine`) executes the very same schedule, in lockstep.
"""

from __future__ import annotations

import minisim_start  # first: from it on, Ctrl-C during imports ends python -m minisim with a line

# isort: split
with minisim_start.uncollected():
    from importlib.metadata import PackageNotFoundError, version

    from minisim._engine import (
        ALIGNMENT,
        TILE_K,
        TILE_M,
        TILE_N,
        Engine,
        EngineConfig,
        EngineStats,
        SchedExecute,
        SchedLoad,
        SchedStore,
        SchedVector,
        Tile,
    )
    from minisim.boundary import guarded, public
    from minisim.compare import compare as _compare
    from minisim.compiler.frontend import load_model as _load_model
    from minisim.compiler.frontend.torch_module import from_torch as _from_torch
    from minisim.compiler.graph import Graph, Tensor
    from minisim.compiler.pipeline import compile_graph as _compile_graph
    from minisim.errors import InternalError, MinisimError, ScheduleHazard
    from minisim.hwmodel.config import Machine
    from minisim.hwmodel.isa import Schedule
    from minisim.hwmodel.state import Observer
    from minisim.hwmodel.timeline import Timeline
    from minisim.hwmodel.timing import simulate as _simulate
    from minisim.onnx_check import OnnxCheck
    from minisim.onnx_check import check_onnxruntime as _check_onnxruntime
    from minisim.run import Result
    from minisim.run import run as _run
    from minisim.runtime import Runtime
    from minisim.sweep import search as _search
    from minisim.sweep import sweep as _sweep
    from minisim.torch_check import check_torch as _check_torch

try:
    __version__ = version("minisim-npu")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0.0.0"

# The face of the package is the boundary for Python: a bug behind it says that it is one (boundary.py).
check_onnxruntime = public(_check_onnxruntime)
check_torch = public(_check_torch)
compare = public(_compare)
compile_graph = public(_compile_graph)
from_torch = public(_from_torch)
load_model = public(_load_model)
run = public(_run)
search = public(_search)
simulate = public(_simulate)
sweep = public(_sweep)
for _face in (Graph, Machine, Result, Runtime, Schedule):
    guarded(_face)

__all__ = [
    "ALIGNMENT",
    "TILE_K",
    "TILE_M",
    "TILE_N",
    "Engine",
    "EngineConfig",
    "EngineStats",
    "Graph",
    "InternalError",
    "Machine",
    "MinisimError",
    "Observer",
    "OnnxCheck",
    "Result",
    "Runtime",
    "SchedExecute",
    "SchedLoad",
    "SchedStore",
    "SchedVector",
    "Schedule",
    "ScheduleHazard",
    "Tensor",
    "Tile",
    "Timeline",
    "check_onnxruntime",
    "check_torch",
    "compare",
    "compile_graph",
    "from_torch",
    "load_model",
    "run",
    "search",
    "simulate",
    "sweep",
]
