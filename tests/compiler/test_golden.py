"""Every level of the compiler as text, compared exactly: `--update-golden` rewrites, git shows what changed."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.golden import Golden
from support.graphs import example, gemm, small_mlp
from support.machines import machine

from minisim import Graph, Machine, compile_graph, load_model
from minisim.compiler.pipeline import dump_to

PLAIN = machine(compiler__order="mnk")
TIGHT = machine(compiler__order="mnk", tile__m=24, tile__k=16, tile__n=40, sram__bytes=9984)
"""Unequal ragged tiles, and so little SRAM that tiles are evicted."""

SMALL_INT8 = machine(matrix__dtype="int8", sram__bytes="6KiB", accumulator__bytes="8KiB")
"""Room for the sums of two output tiles."""

CASES: dict[str, tuple[Graph, Machine]] = {
    "mlp-mnk": (example("mlp"), PLAIN),
    "mlp-mnk-off-chip": (example("mlp"), machine(compiler__order="mnk", compiler__keep_on_chip=False)),
    "mlp-auto": (example("mlp"), machine()),
    "small-mlp-mnk": (small_mlp(), PLAIN),
    "small-mlp-auto": (small_mlp(), machine()),
    "residual-block-mnk": (example("residual_block"), PLAIN),
    "gemm-ragged-mnk": (gemm(50, 45, 70), TIGHT),
    "gemm-int8-accumulator": (load_model("gemm:70x80x50", "int8"), SMALL_INT8),
    "small-mlp-quantized": (small_mlp(), machine(matrix__dtype="int8")),
    "small-mlp-bf16": (small_mlp(), machine(matrix__dtype="bf16")),
}


@pytest.mark.parametrize("name", CASES)
def test_dump(name: str, golden: Golden, tmp_path: Path) -> None:
    graph, machine = CASES[name]
    compile_graph(graph, machine, dump_to(tmp_path))
    golden.check_folder(name, tmp_path)
