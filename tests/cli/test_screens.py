"""What the screen and the files say of some runs, word for word and number for number: tests/golden/screens.

Every figure that a user reads passes through here once: a factor of ten, a wrong unit, the least for the most, a row
too many. The runs are small, and differ in what they have to tell: a bound that is the DRAM or the array, several
layers, cores, no MACs at all, memories of their own for sums, a sweep with a point that does not fit.

A change of wording or of a number is right where it was meant: `--update-golden` rewrites the files, their diff is what
reviewers read. Seconds of real time are masked, and digits that depend on the order in which numpy sums.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from support.golden import Golden
from support.paths import EXAMPLES

import minisim as ms
from minisim.reports import Account, WhatIf, print_account, print_summary, print_sweep

from .conftest import Minisim

MLP = str(EXAMPLES / "mlp.py")

SCREENS = {
    "run-mlp": ("run", "--config", "npu_32x32", MLP, "--out", "out"),
    "run-array-bound": ("run", "gemm:96x256x96", "--set", "dram.bandwidth=999GB/s", "--set", "dma.bytes_per_cycle=512"),
    "run-softmax-on-two-cores": ("run", "softmax:64x200", "--set", "cores.count=2", "--out", "out"),
    "run-gemmini": ("run", "--config", "gemmini_16x16", MLP),
    "run-without-numerics": ("run", "--config", "edge_8x8", "layernorm:20x70", "--no-numerics"),
    "run-reshapes-only": ("run", "RESHAPES"),
    "run-many-layers": ("run", "LAYERS", "--set", "sram.bytes=16KiB", "--set", "control.queue_depth=1"),
    "run-fits-badly": ("run", "gemm:48x20x8", "--set", "tile.m=16", "--set", "sram.bytes=8KiB"),
    "run-tight": ("run", "gemm:100x128x130", "--set", "sram.bytes=12KiB", "--set", "compiler.order=mnk"),
    "run-off-chip": ("run", MLP, "--set", "compiler.keep_on_chip=false", "--set", "dma.max_outstanding=1"),
    "run-counters": ("run", "gemm:20x24x28", "--config", "mini_tflm_4x4", "--set", "accumulator.bytes=1KiB"),
    "run-bf16-bursts": (
        "run", "gemm:64x64x96", "--set", "matrix.dtype=bf16", "--set", "matrix.bf16_rate=4", "--set",
        "dma.max_burst_beats=4", "--set", "dma.outstanding_bursts=2", "--set", "sram.bytes=16KiB",
    ),
    "run-banked-shared": ("run", "gemm:64x64x96", "--set", "dram.model=banked", "--set", "dma.shared=true"),
    "run-slow-vector": ("run", "layernorm:64x48", "--set", "vector.lanes=1", "--set", "vector.latency_cycles=400"),
    "run-waits": ("run", "gemm:96x96x96", "--set", "dram.bandwidth=1GB/s", "--set", "control.issue_cycles=200"),
    "run-l2": (
        "run", "gemm:128x96x64", "--set", "cores.count=2", "--set", "sram.bytes=16KiB", "--set", "l2.bytes=32KiB",
        "--set", "l2.bytes_per_cycle=8", "--set", "noc.core_bytes_per_cycle=6",
    ),
    "explain-mlp": ("explain", "--config", "npu_32x32", MLP, "--out", "out"),
    "explain-latency": ("explain", "gemm:40x40x40", "--no-what-if", "--set", "dram.latency=900ns"),
    "explain-two-cores": ("explain", "gemm:64x128x128", "--set", "cores.count=2", "--set", "dram.model=banked"),
    "explain-small-tiles": ("explain", "gemm:100x40x60", "--set", "tile.m=8", "--set", "tile.k=20", "--no-what-if"),
    "explain-movements": ("explain", "MOVES", "--no-what-if", "--set", "matrix.dtype=int8"),
    "compare": (
        "compare", "npu_32x32", "--model", "LAYERS", "--change", "sram.bytes=16KiB", "--change",
        "control.queue_depth=1", "--out", "out",
    ),
    "sweep": ("sweep", "gemm:64x64x64", "--param", "sram.bytes=8KiB,16KiB,64KiB", "--param", "dma.channels=1,2"),
    "config-show": ("config", "show", "mini_tflm_4x4"),
    "config-list": ("config", "list"),
    "config-keys": ("config", "show", "tpu_v3", "--keys"),
    "config-commented": ("config", "show", "gemmini_16x16", "--commented"),
}  # fmt: skip
"""Of each name the arguments; what they write to out/ is a golden file, too."""

MODELS = {
    "RESHAPES": """
import minisim as ms
def model():
    graph = ms.Graph("reshapes")
    graph.output(graph.reshape(graph.input("x", (4, 6)), (8, 3)), "y")
    return graph
""",
    "MOVES": """
import minisim as ms
def model():
    graph = ms.Graph("moves")
    x = graph.matmul(graph.input("x", (32, 40)), graph.weight("w", shape=(40, 24)))  # no values: none are looked at
    y = graph.transpose(graph.reshape(x, (4, 8, 24)), (1, 0, 2))
    graph.output(graph.softmax(graph.reshape(y, (32, 24))), "y")
    return graph
""",
    "LAYERS": """
import minisim as ms
def model():
    graph = ms.Graph("layers")
    x = graph.input("x", (33, 40))
    for i in range(13):
        x = graph.softmax(x @ graph.weight(f"w{i}", [[0.1] * 40] * 40), name=f"a_layer_with_a_long_name_{i}")
    graph.output(x, "y")
    return graph
""",
}
"""Files that arguments above stand for."""


def masked(text: str) -> str:
    """Without seconds of real time, and paths of this machine."""
    text = text.replace(str(EXAMPLES), "examples")
    text = re.sub(r"\d+\.\d\d s to (compile|simulate)", r"# s to \1", text)
    return re.sub(r"(?m)[ \t]+$", "", text)


def csv_of(path: Path) -> str:
    """A CSV with its columns of real time masked."""
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    for row in rows:
        for i, name in enumerate(header):
            if name.startswith("wall_"):
                row[i] = "#"
            if name in ("max_abs_error", "sqnr_db") and row[i]:
                row[i] = f"{float(row[i]):.3g}"
    return "\n".join(",".join(row) for row in [header, *rows])


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("name", SCREENS)
def test_the_screen_says(
    minisim: Minisim, golden: Golden, monkeypatch: pytest.MonkeyPatch, name: str, width: int
) -> None:
    for word, text in MODELS.items():
        Path(f"{word}.py").write_text(text, encoding="utf-8")
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr("minisim.what_if.SLOW_COMPILE_S", float("inf"))  # on a busy machine, too
    result = minisim(*(f"{word}.py" if word in MODELS else word for word in SCREENS[name]))
    golden.check(f"screens/{name}-{width}.txt", masked(result.output))
    if width == 80 and Path("out").exists():
        tables = [f"{path.name}\n{csv_of(path)}" for path in sorted(Path("out").glob("*.csv"))]
        golden.check(f"screens/{name}-files.txt", "\n\n".join(tables) + "\n")


@pytest.mark.parametrize("command", ["", "run", "explain", "sweep", "search", "compare", "report", "config",
                                     "config show", "config check", "completion"])  # fmt: skip
def test_the_help_says(minisim: Minisim, golden: Golden, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    golden.check(
        f"screens/help-{command.replace(' ', '-') or 'minisim'}.txt", minisim(*command.split(), "--help").output
    )


LONG = "a_layer_with_a_name_that_no_table_has_room_for"


def painted(show: Callable[[Console], None], width: int) -> str:
    """What it prints on a terminal, with its colours as `<31m>`."""
    file = io.StringIO()
    show(Console(file=file, width=width, force_terminal=True, color_system="standard", legacy_windows=False))
    return masked(re.sub(r"\x1b\[([\d;]*m)", r"<\1>", file.getvalue()))


@pytest.mark.parametrize("width", [60, 90])
def test_a_terminal_shows(golden: Golden, width: int) -> None:
    """Colours, and what is cut where there is no room: no line is broken, and no number cut."""
    graph = ms.Graph(LONG)
    x = graph.input("x", (40, 48))
    for i in range(12):
        x = graph.softmax(x @ graph.weight(f"w{i}", np.full((48, 48), 0.1)), name=f"{LONG}_{i}")
    graph.output(x, "y")
    machine = ms.Machine.load("edge_8x8").replace("cores.count=2", "dma.channels=2", "sram.bytes=8KiB")
    result = ms.run(graph, machine, numerics=False)
    account, record = Account.of(result.record()), result.record()
    changes = [WhatIf(f"twice of {LONG}", {"dma.bytes_per_cycle": "16"}, 12_345), WhatIf("more", {"x": "1"}, 0),
               WhatIf(f"another {LONG}", {"sram.bytes": "64"}, None, "no machine has that"),
               WhatIf("as much", {"matrix.rows": "16", "matrix.cols": "16"}, result.cycles)]  # fmt: skip
    ran = {"cycles_total": 1234, "cycles_over_roofline": 1.234, "bound_by": "dram", "dram_read_bytes": 123_456,
           "dram_write_bytes": 1_000_000, "load_reuse_pct": math.nan}  # fmt: skip
    rows = [{"sram.bytes": "8KiB", "tile.m": "8", "status": "infeasible", "reason": f"{LONG}: no"},
            {"sram.bytes": "16KiB", "tile.m": "8", "status": "ok", "reason": "", **ran},
            {"sram.bytes": "32KiB", "tile.m": "8", "status": "ok", "reason": "", **ran},
            {"sram.bytes": "16KiB", "tile.m": "4", "status": "failed", "reason": "it broke"}]  # fmt: skip
    for name, show in (
        ("run", lambda console: print_summary(record, console)),
        ("explain", lambda console: print_account(account, changes, console)),
        ("sweep", lambda console: print_sweep(rows, console)),
    ):
        golden.check(f"screens/terminal-{name}-{width}.txt", painted(show, width))
