"""Cycles and bytes of some eighty runs, pinned: choices that no theory gives, but that a user would see.

Each case is small and stands where a choice is made: several cores, a DMA that loads and stores share, residuals,
transposed operands, an SRAM that holds a few tiles, banked DRAM, narrow types, channels, chains. Its row in
`tests/golden/pinned.csv` is what `minisim run` would tell of it, its block in `tests/golden/pinned_accounts.txt` where
the reports say that its cycles and its energy went, and what they advise.

A row of the first that changes means: this model, on this machine, now takes another time, or moves other bytes. That
is right only where a change was meant to do it, and its commit says so and why; the ratio to the old row is what
reviewers look at first. A refactoring leaves every row as it was. After such a change write them anew, and review the
diff:

    .venv/bin/python -m pytest tests/compiler/test_pinned.py --update-golden
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from support.golden import Golden

import minisim as ms
from minisim.hwmodel.isa import Opcode, Queue
from minisim.reports.account import Account
from minisim.reports.cause import Cause
from minisim.reports.hints import hints
from minisim.reports.tables import layers, units
from minisim.what_if import changes

NAME, ACCOUNTS = "pinned.csv", "pinned_accounts.txt"
COLUMNS = (
    "case", "cycles", "read_bytes", "written_bytes", "loads", "stores", "executes", "vectors", "sram_peak",
    "matrix_busy", "dram_busy", "syncs",
)  # fmt: skip

Keys = dict[str, object]
Model = str | Callable[[], ms.Graph]


def weights(g: ms.Graph, name: str, *shape: int) -> ms.Tensor:
    """Values do not matter here: nothing is computed but the scales of int8."""
    return g.weight(name, np.linspace(-1, 1, int(np.prod(shape)), dtype=np.float32).reshape(shape))


def chain(rows: int, *widths: int, bias: bool = False, relu: bool = True) -> ms.Graph:
    """Matmuls, one behind the other."""
    g = ms.Graph("chain")
    x = g.input("x", (rows, widths[0]))
    for i in range(len(widths) - 1):
        x = x @ weights(g, f"w{i}", widths[i], widths[i + 1])
        x = x + weights(g, f"b{i}", widths[i + 1]) if bias else x
        x = g.relu(x) if relu else x
    g.output(x, "y")
    return g


def residual(rows: int, width: int, layers: int) -> ms.Graph:
    """x + (x w + b), again and again."""
    g = ms.Graph("residual")
    x = g.input("x", (rows, width))
    for i in range(layers):
        x = x + (x @ weights(g, f"w{i}", width, width) + weights(g, f"b{i}", width))
    g.output(x, "y")
    return g


def transposed(m: int, k: int, n: int, a: bool = False, b: bool = False) -> ms.Graph:
    """One matmul with operands that lie transposed."""
    g = ms.Graph("transposed")
    x = g.input("x", (k, m) if a else (m, k))
    w = weights(g, "w", n, k) if b else weights(g, "w", k, n)
    g.output(g.matmul(x, w, transpose_a=a, transpose_b=b), "y")
    return g


def scores(rows: int, width: int) -> ms.Graph:
    """softmax(q k^T) v: what an attention head does, with whole rows between two matmuls."""
    g = ms.Graph("scores")
    x = g.input("x", (rows, width))
    q, k, v = (x @ weights(g, name, width, width) for name in ("wq", "wk", "wv"))
    g.output(g.softmax(g.matmul(q, k, transpose_b=True)) @ v, "y")
    return g


def two_readers(rows: int, width: int) -> ms.Graph:
    """A product that two others read, and a sum of those."""
    g = ms.Graph("two_readers")
    h = g.input("x", (rows, width)) @ weights(g, "w", width, width)
    g.output((h @ weights(g, "u", width, width)) + g.sigmoid(h @ weights(g, "v", width, width)), "y")
    return g


def rows_and_bias(rows: int, width: int) -> ms.Graph:
    """Layer norm between two layers."""
    g = ms.Graph("rows")
    x = g.relu(g.input("x", (rows, width)) @ weights(g, "w0", width, width) + weights(g, "b0", width))
    x = g.layer_norm(x, weights(g, "scale", width), weights(g, "shift", width))
    g.output(x @ weights(g, "w1", width, width), "y")
    return g


def reshaped(rows: int, width: int) -> ms.Graph:
    """A result that is read in another shape: it has to go through DRAM."""
    g = ms.Graph("reshaped")
    x = g.input("x", (rows, width)) @ weights(g, "w0", width, width)
    g.output(g.reshape(x, (rows // 2, 2 * width)) @ weights(g, "w1", 2 * width, width), "y")
    return g


def pointwise(rows: int, width: int) -> ms.Graph:
    """Operations of the vector unit on tiles, with operands that are whole, one row, one column and one number."""
    g = ms.Graph("pointwise")
    x, column = g.input("x", (rows, width)), g.input("column", (rows, 1))
    y = g.maximum(x * column - weights(g, "row", width), 0.25)
    g.output(g.sigmoid(y + x), "y")
    return g


def reductions(rows: int, width: int) -> ms.Graph:
    """Each row divided by its sum, less its mean, and its maximum."""
    g = ms.Graph("reductions")
    x = g.exp(g.input("x", (rows, width)))
    g.output(x / g.reduce_sum(x) - g.reduce_mean(x), "y")
    g.output(g.reduce_max(x), "most")
    return g


SLOW = {"dram.bandwidth": "3.2GB/s"}
FAST = {"dram.bandwidth": "1000GB/s", "dma.bytes_per_cycle": 256, "dram.latency": "5ns"}
BANKED = {"dram.model": "banked"}
SHARED = {"dma.shared": True}
TRIED = {"compiler.effort": 1}
BURSTS = {"dma.max_burst_beats": 4, "dma.outstanding_bursts": 4, "dma.request_cycles": 2, "dma.burst_boundary": "4KiB"}
APART = {"matrix.dtype": "int8", "accumulator.bytes": "8KiB"}

CASES: dict[str, tuple[str, Model, Keys]] = {
    # one core: how the SRAM is used
    "square": ("npu_32x32", "gemm:256x256x256", {"sram.bytes": "64KiB"}),
    "tight": ("npu_32x32", "gemm:160x256x224", {"sram.bytes": 3 * 4096}),
    "tight_and_a_half": ("npu_32x32", "gemm:160x256x224", {"sram.bytes": 6 * 4096 + 2048}),
    "roomy_ragged": ("npu_32x32", "gemm:161x255x223", {"sram.bytes": "48KiB"}),
    "few_rows": ("npu_32x32", "gemm:5x320x256", {"sram.bytes": "32KiB"}),
    "thin_last_row": ("npu_32x32", "gemm:129x256x256", {"sram.bytes": "64KiB"}),
    "few_columns": ("npu_32x32", "gemm:256x256x4", {}),
    "wide_grid": ("edge_8x8", "gemm:640x32x48", {}),
    "deep": ("npu_32x32", "gemm:64x1024x64", SLOW),
    "stores_lag": ("npu_32x32", "gemm:384x64x384", {"sram.bytes": "96KiB", "dma.bytes_per_cycle": 256}),
    "latency": ("npu_32x32", "gemm:192x192x192", {"sram.bytes": "64KiB", "dram.latency": "900ns"}),
    "few_outstanding": ("npu_32x32", "gemm:192x192x192", {"dma.max_outstanding": 1, "control.queue_depth": 2}),
    "slow_control": (
        "npu_32x32", "gemm:96x96x96", {**FAST, "control.issue_cycles": 40, "control.queue_depth": 2},
    ),
    "loops": ("npu_32x32", "gemm:100x128x130", {"compiler.order": "mnk", "sram.bytes": "32KiB"}),
    "loops_tight": ("npu_32x32", "gemm:96x256x96", {"compiler.order": "mnk", "sram.bytes": 3 * 4096, **SLOW}),
    "tiny_npu": ("mini_tflm_4x4", "gemm:20x24x28", {}),
    "tiny_npu_is": ("mini_tflm_4x4", "gemm:20x24x28", {"matrix.dataflow": "is", "compiler.block_m": 3}),
    # the epilogue
    "bias": ("npu_32x32", lambda: chain(192, 256, 256, bias=True), {"sram.bytes": "64KiB"}),
    "residual": ("npu_32x32", lambda: residual(128, 128, 2), {"sram.bytes": "48KiB"}),
    "residual_tight": ("npu_32x32", lambda: residual(96, 96, 2), {"sram.bytes": 4 * 4096 + 128}),
    # operands that lie the other way
    "transposed_b": ("npu_32x32", lambda: transposed(160, 256, 224, b=True), {"sram.bytes": "48KiB"}),
    "transposed_a": ("edge_8x8", lambda: transposed(70, 100, 90, a=True), {"sram.bytes": "8KiB"}),
    "transposed_b_in_banks": (
        "edge_8x8", lambda: transposed(70, 100, 90, b=True), {"sram.banks": 8, "sram.bank_bytes_per_cycle": 4},
    ),
    # chains
    "chain": ("npu_32x32", lambda: chain(128, 256, 256, 128, bias=True), {"sram.bytes": "128KiB"}),
    "chain_spills": ("npu_32x32", lambda: chain(160, 160, 160, 160), {"sram.bytes": "24KiB"}),
    "chain_off_chip": ("npu_32x32", lambda: chain(128, 128, 128), {"compiler.keep_on_chip": False}),
    "two_readers": ("npu_32x32", lambda: two_readers(96, 96), {"sram.bytes": "40KiB"}),
    "scores": ("npu_32x32", lambda: scores(128, 64), {"sram.bytes": "64KiB"}),
    "rows_and_bias": ("npu_32x32", lambda: rows_and_bias(96, 160), {"sram.bytes": "48KiB"}),
    "reshaped": ("npu_32x32", lambda: reshaped(64, 96), {}),
    # whole rows
    "softmax": ("npu_32x32", "softmax:300x384", {"sram.bytes": "64KiB"}),
    "layernorm": ("edge_8x8", "layernorm:50x200", {}),
    "pointwise": ("npu_32x32", lambda: pointwise(100, 130), {"sram.bytes": "48KiB"}),
    "reductions": ("npu_32x32", lambda: reductions(100, 130), {"sram.bytes": "48KiB"}),
    # several cores
    "cores_pointwise": ("npu_32x32", lambda: pointwise(100, 130), {"cores.count": 3, "dma.bytes_per_cycle": 8}),
    "cores_pointwise_fast": ("npu_32x32", lambda: pointwise(200, 330), {"cores.count": 4, **FAST}),
    "cores_pointwise_wide": ("edge_8x8", lambda: pointwise(5, 300), {"cores.count": 4, "vector.lanes": 1}),
    "cores_pointwise_bursts": ("npu_32x32", lambda: pointwise(100, 130), {"cores.count": 2, **FAST, **BURSTS}),
    "cores_rows_bursts": ("npu_32x32", lambda: rows_and_bias(40, 192), {"cores.count": 2, **FAST, **BURSTS}),
    "cores_reductions": ("npu_32x32", lambda: reductions(100, 130), {"cores.count": 4, **FAST}),
    "cores_reductions_slow": ("edge_8x8", lambda: reductions(60, 50), {"cores.count": 2, "vector.lanes": 2}),
    "cores_layernorm": ("npu_32x32", "layernorm:70x300", {"cores.count": 3, "dma.bytes_per_cycle": 4}),
    "cores_softmax_one_row": ("npu_32x32", "softmax:1x900", {"cores.count": 4, **FAST}),
    "cores_few_rows_tight": ("npu_32x32", lambda: chain(20, 300, 200), {"cores.count": 2, "sram.bytes": "16KiB"}),
    "cores_by_rows": ("npu_32x32", lambda: chain(256, 128, 128, 128), {"cores.count": 4, **FAST}),
    "cores_by_columns": ("npu_32x32", lambda: chain(32, 256, 512, 256), {"cores.count": 4, **FAST}),
    "cores_ragged": ("npu_32x32", "gemm:224x256x160", {"cores.count": 3, "sram.bytes": "32KiB"}),
    "cores_too_slow_a_dram": ("npu_32x32", lambda: chain(64, 64, 128, 64), {"cores.count": 8, **SLOW}),
    "cores_residual": ("npu_32x32", lambda: residual(160, 96, 2), {"cores.count": 2, "sram.bytes": "32KiB"}),
    "cores_softmax": ("tpu_like_128x128", "softmax:300x384", {"cores.count": 2, "sram.bytes": "64KiB"}),
    "cores_scores": ("npu_32x32", lambda: scores(96, 64), {"cores.count": 3, "sram.bytes": "64KiB"}),
    "cores_shared_dma": ("edge_8x8", lambda: chain(160, 128, 192), {"cores.count": 2, **SHARED, "sram.bytes": "16KiB"}),
    "cores_columns_shared_dma": ("npu_32x32", lambda: chain(16, 256, 512, 256), {"cores.count": 4, **SHARED, **FAST}),
    "cores_residual_by_columns": ("npu_32x32", lambda: residual(32, 256, 2), {"cores.count": 4, **FAST}),
    "cores_norm": ("npu_32x32", lambda: rows_and_bias(40, 192), {"cores.count": 3, **FAST}),
    "cores_transposed_b": ("npu_32x32", lambda: transposed(32, 256, 224, b=True), {"cores.count": 4}),
    "cores_reshaped": ("npu_32x32", lambda: reshaped(64, 96), {"cores.count": 2, **FAST}),
    "cores_two_readers": ("npu_32x32", lambda: two_readers(32, 192), {"cores.count": 2, "dram.bandwidth": "100GB/s"}),
    "cores_banked": ("gemmini_16x16", "gemm:200x100x200", {"cores.count": 3, **BANKED}),
    # the DMA
    "shared_dma": ("npu_32x32", "gemm:192x64x192", {**SHARED, "sram.bytes": "32KiB"}),
    "shared_dma_chain": ("edge_8x8", lambda: chain(64, 48, 64, 48, bias=True), {**SHARED, "sram.bytes": "4KiB"}),
    "channels": ("npu_32x32", "gemm:128x256x192", {"dma.channels": 3, "dram.bandwidth": "64GB/s"}),
    "rows_as_descriptors": ("npu_32x32", "gemm:100x96x70", {"dma.dimensions": 1, **BURSTS}),
    "rows_without_bursts": ("edge_8x8", "gemm:32x40x36", {"dma.dimensions": 1, "dma.setup_cycles": 9}),
    "runs_as_descriptors": ("npu_32x32", "gemm:128x160x128", {"dma.dimensions": 3, "dma.setup_cycles": 60}),
    "bursts": ("edge_8x8", "gemm:60x90x70", BURSTS),
    # the DRAM
    "banked": ("npu_32x32", "gemm:128x128x192", {**BANKED, "sram.bytes": "48KiB"}),
    "banked_channels": ("edge_8x8", "gemm:32x100x256", {**BANKED, "dma.channels": 2}),
    "banked_hbm": ("npu_32x32", lambda: chain(96, 160, 128), {**BANKED, "dram.preset": "hbm2", "cores.count": 2}),
    "banked_by_rows": (
        "npu_32x32", lambda: pointwise(256, 192), {**BANKED, "dram.preset": "lpddr4-2400", "sram.bytes": "32KiB"},
    ),
    "banked_lpddr5": (
        "npu_32x32", "gemm:96x200x300", {**BANKED, "dram.preset": "lpddr5-6400", "dma.channels": 2, "tile.m": 8},
    ),
    "banked_slow_part": (
        "edge_8x8", "gemm:64x64x64", {**BANKED, "dram.override": "CL=40 tRCD=60 tWR=90 queue=4", "sram.bytes": "8KiB"},
    ),
    # a cache and a network between the cores and it
    "l2": ("npu_32x32", lambda: chain(96, 160, 128), {"l2.bytes": "64KiB", "cores.count": 2, "sram.bytes": "24KiB"}),
    "l2_small_of_banked": (
        "edge_8x8", "gemm:64x90x70",
        {**BANKED, "l2.bytes": "8KiB", "l2.ways": 2, "l2.line_bytes": 128, "cores.count": 2},
    ),
    "noc": (
        "npu_32x32", lambda: residual(96, 96, 2),
        {**FAST, "noc.core_bytes_per_cycle": 24, "noc.bytes_per_cycle": 40, "cores.count": 3, "sram.bytes": "32KiB"},
    ),
    "slow_writes": ("npu_32x32", "gemm:128x64x160", {"dram.write_latency": "700ns", "dma.max_outstanding": 2}),
    # narrow types
    "bf16": ("npu_32x32", lambda: chain(96, 128, 160, bias=True), {"matrix.dtype": "bf16", "sram.bytes": "24KiB"}),
    "int8": ("npu_32x32", lambda: chain(96, 256, 160, bias=True), {"matrix.dtype": "int8", "sram.bytes": "24KiB"}),
    "int8_accumulator": ("npu_32x32", lambda: chain(96, 256, 160, bias=True), {**APART, "sram.bytes": "12KiB"}),
    "int8_cores": ("npu_32x32", lambda: chain(96, 128, 160, 96, bias=True), {**APART, "cores.count": 2}),
    "gemmini": ("gemmini_16x16", lambda: chain(100, 200, 150, 60, bias=True), {}),
    "tpu": ("tpu_v3", "gemm:512x1024x768", {}),
    # tiles of other edges than the array's, which are found by measuring
    "edges_tight": ("npu_32x32", "gemm:160x256x224", {"sram.bytes": 3 * 4096, **TRIED}),
    "edges_ragged": ("npu_32x32", "gemm:161x255x223", {"sram.bytes": "48KiB", **TRIED}),
    "edges_tall": ("npu_32x32", "gemm:3000x70x20", {**BANKED, "sram.bytes": "48KiB", **TRIED}),
    "edges_chain": ("npu_32x32", lambda: chain(83, 300, 100, 200, bias=True), {"sram.bytes": "16KiB", **TRIED}),
    "edges_rows": ("npu_32x32", lambda: rows_and_bias(40, 192), {"sram.bytes": "24KiB", **TRIED}),
    "edges_written": ("npu_32x32", "gemm:160x256x224", {"sram.bytes": 3 * 4096, "tile.m": 32, "tile.k": 32, **TRIED}),
    "edges_limited": ("npu_32x32", "gemm:160x256x224", {"sram.bytes": 3 * 4096, "tile.multiple_n": 24, **TRIED}),
    "edges_cores": ("npu_32x32", "gemm:224x256x160", {"cores.count": 3, "sram.bytes": "32KiB", **TRIED}),
    "edges_int8": ("npu_32x32", lambda: chain(96, 256, 160, bias=True), {**APART, "sram.bytes": "12KiB", **TRIED}),
    "edges_wide_search": ("npu_32x32", lambda: chain(60, 100, 80), {"sram.bytes": "12KiB", "compiler.effort": 2}),
}  # fmt: skip
"""Model and keys of each case. Tiles have the array's edges, but where `compiler.effort` is named: what is pinned of
the others is how these are walked."""


@cache
def run_of(case: str) -> ms.Result:
    """The run of a case, without numerics."""
    preset, model, keys = CASES[case]
    graph = ms.load_model(model) if isinstance(model, str) else model()
    machine = ms.Machine.load(preset).with_overrides({"compiler.effort": 0, **keys})
    return ms.run(graph, machine, numerics=False)


def measured(case: str) -> dict[str, str]:
    """The row of a case, as text."""
    run = run_of(case)
    counts, work = run.schedule.counts(), run.record().work
    values = (
        run.cycles, work.read_bytes, work.write_bytes,
        counts[Opcode.LOAD], counts[Opcode.STORE], counts[Opcode.EXECUTE], counts[Opcode.VECTOR],
        run.schedule.layers["sram_peak"].max(), run.times.busy(run.schedule, Queue.MATRIX), run.times.dram_busy,
        len(run.schedule.syncs),
    )  # fmt: skip
    return dict(zip(COLUMNS, [case, *map(str, values)], strict=True))


def accounted(case: str) -> str:
    """Where the reports say that cycles and energy of a case went, and what they advise: whatever is not zero."""
    record = run_of(case).record()
    account = Account.of(record)
    lines = [
        f"path: {_listed(account.total())}",
        f"latency in: {_listed(account.exposed_latency())}",
        f"contention: {account.meaning(Cause.DRAM_CONTENTION)}",
        f"energy in fJ: {_listed(record.energy.by_component())}",
        *(f"stretch: {s.begin}-{s.end} {s.cause} {100 * s.share:.1f}% of {s.ops} from {s.op} in lane {s.lane}"
          for s in sorted(account.stretches(), key=lambda s: (-s.cycles, s.begin))[:3]),
        *_rows("layer", "name", layers(record).drop(columns="layer_id")),
        *_rows("unit", "unit", units(record)),
        f"may be tried: {'; '.join(f'{name}: {_listed(keys)}' for name, keys in changes(record).items())}",
        *(f"hint: {hint.cycles} {hint.text} {list(map(dict, hint.tries))}" for hint in hints(record)),
    ]  # fmt: skip
    return "\n".join(lines)


def _rows(kind: str, name: str, table: pd.DataFrame) -> list[str]:
    return [f"{kind} {row.pop(name)}: {_listed(row)}" for row in table.to_dict("records")]


def _listed(values: Mapping[Any, object]) -> str:
    """Those that are not 0, in six digits if they are no whole numbers."""
    texts = {name: f"{x:.6g}" if isinstance(x, float) else str(x) for name, x in values.items() if x}
    return ", ".join(f"{str(name).removeprefix('cycles_')} {text}" for name, text in texts.items())


def test_the_files_have_these_cases(golden: Golden) -> None:
    path = golden.folder / NAME
    if golden.update:
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(measured(case) for case in CASES)
        golden.check(NAME, text.getvalue())
        golden.check(ACCOUNTS, "\n\n".join(f"[{case}]\n{accounted(case)}" for case in CASES) + "\n")
    with path.open(encoding="utf-8", newline="") as file:
        assert [row["case"] for row in csv.DictReader(file)] == list(CASES)
    assert list(blocks(golden)) == list(CASES)


@pytest.mark.parametrize("case", CASES)
def test_cycles_and_bytes_are_those_of_the_file(golden: Golden, case: str) -> None:
    with (golden.folder / NAME).open(encoding="utf-8", newline="") as file:
        pinned = next(row for row in csv.DictReader(file) if row["case"] == case)
    assert measured(case) == pinned


@pytest.mark.parametrize("case", CASES)
def test_what_the_reports_say_of_it_is_in_the_file(golden: Golden, case: str) -> None:
    assert accounted(case).splitlines() == blocks(golden)[case]


def blocks(golden: Golden) -> dict[str, list[str]]:
    """The lines of each case."""
    parts = [part.splitlines() for part in (golden.folder / ACCOUNTS).read_text("utf-8").split("\n\n")]
    return {head.strip("[]"): lines for head, *lines in parts}
