"""Every level of the compiler as text, compared exactly: `--update-golden` rewrites, git shows what changed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.golden import Golden
from support.graphs import example, gemm, small_mlp
from support.machines import machine

from minisim import Graph, Machine, compile_graph, load_model
from minisim.compiler.pipeline import dump_to

PLAIN = machine(compiler__order="mnk")
TIGHT = machine(compiler__order="mnk", tile__m=24, tile__k=16, tile__n=40, sram__bytes=9984)
"""Unequal ragged tiles, and so little SRAM that tiles are evicted."""

SMALL_INT8 = machine(matrix__dtype="int8", sram__bytes="6KiB", accumulator__bytes="8KiB", compiler__effort=0)
"""Room for the sums of two output tiles."""

FAST = {"dram__latency": "5ns", "dma__bytes_per_cycle": 256, "dram__bandwidth": "1000GB/s"}
"""So that more cores pay for a few tiles."""


def few_rows() -> Graph:
    """One row of tiles: cores share the columns, and each loads what both computed."""
    g = Graph("few_rows")
    h = g.relu(g.input("x", (16, 128)) @ g.weight("w1", np.ones((128, 160), np.float32)))
    g.output(h @ g.weight("w2", np.ones((160, 70), np.float32)), "y")
    return g


CASES: dict[str, tuple[Graph, Machine]] = {
    "mlp-mnk": (example("mlp"), PLAIN),
    "mlp-mnk-off-chip": (example("mlp"), machine(compiler__order="mnk", compiler__keep_on_chip=False)),
    "mlp-auto": (example("mlp"), machine()),
    "small-mlp-mnk": (small_mlp(), PLAIN),
    "small-mlp-auto": (small_mlp(), machine()),
    "residual-block-mnk": (example("residual_block"), PLAIN),
    "gemm-ragged-mnk": (gemm(50, 45, 70), TIGHT),
    "gemm-thin-last-rows": (gemm(36, 45, 40), machine(sram__bytes="256KiB", compiler__effort=0)),
    "gemm-int8-accumulator": (load_model("gemm:70x80x50", "int8"), SMALL_INT8),
    "small-mlp-quantized": (small_mlp(), machine(matrix__dtype="int8")),
    "small-mlp-bf16": (small_mlp(), machine(matrix__dtype="bf16")),
    "few-rows-2-cores": (few_rows(), machine(cores__count=2, **FAST)),
}


@pytest.mark.parametrize("name", CASES)
def test_dump(name: str, golden: Golden, tmp_path: Path) -> None:
    graph, machine = CASES[name]
    compile_graph(graph, machine, dump_to(tmp_path))
    golden.check_folder(name, tmp_path)
