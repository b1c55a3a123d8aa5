"""What a user would be told wrongly, or not at all: truths without which some mutant survived (docs/mutation.md)."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from rich.console import Console
from support.golden import Golden

import minisim as ms
from minisim import cli, what_if
from minisim.compiler.panels import Budget, Pace, choose, walk_panels
from minisim.difference import number
from minisim.errors import ModelError, OutputError, UsageError, shortened
from minisim.hwmodel.cost import matmul_cycles
from minisim.hwmodel.dram_presets import PRESETS
from minisim.hwmodel.effects import no_effect
from minisim.progress import SlowProgress
from minisim.reports import print_summary, print_sweep
from minisim.reports.hints import Hint, hints
from minisim.stopped import stops_told
from minisim.streams import _Stream
from minisim.sweeps import told
from minisim.sweeps.grid import Point
from minisim.sweeps.rows import point_rows

# -- machines --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "matter"),
    [
        ("4KiB", "8"),
        ("8KiB", "8"),
        ("8256", "8 32"),
        ("32704", "8 32"),
        ("32KiB", "32"),
        ("32832", "32 1024"),
        ("1048512", "32 1024"),
        ("1MiB", "1024"),
        ("2MiB", "1024"),
    ],
)
def test_an_sram_has_the_prices_of_the_sizes_beside_its_own(size: str, matter: str) -> None:
    """Of an SRAM between two sizes that have a price both matter, at one that one: the others are told as idle."""
    machine = ms.Machine().replace(f"sram.bytes={size}")
    keys = {"8": "energy.sram_8kib", "32": "energy.sram_32kib", "1024": "energy.sram_1mib"}
    assert " ".join(kib for kib, key in keys.items() if no_effect(machine, key) is None) == matter


def test_an_operand_that_nobody_calls_transposed_is_not() -> None:
    """Where banks conflict, a transposed operand costs others: the default is the plain one."""
    machine = ms.Machine().replace("sram.banks=16", "sram.bank_bytes_per_cycle=4", "matrix.dataflow=ws")
    busy = {
        given: matmul_cycles(64, 32, 32, 0, machine, **({} if given is None else {"b_transposed": given}))[1]
        for given in (None, 0, 1)
    }
    assert busy[None] == busy[0] != busy[1]


def test_the_most_that_a_number_of_a_dram_may_be_is_told_in_full() -> None:
    with pytest.raises(ValueError, match=r"^tRFC must be 0 to 1048576$"):
        replace(PRESETS["ddr4-3200"], tRFC=2**20 + 1)


def test_blocks_are_two_tiles_high_and_latencies_at_least_none() -> None:
    assert ms.Machine().compiler.block_m == 2
    with pytest.raises(ms.MinisimError, match=r"matrix.multiplier_latency: must be at least 0, not -1"):
        ms.Machine().replace("matrix.multiplier_latency=-1")


def test_panels_of_a_quarter_of_the_memory_are_candidates() -> None:
    """11 x 1 x 15 tiles of 4 KiB in 48 KiB: without them the next best loads 258,048 bytes, a quarter more."""
    budget = Budget(sram=12 * 4096, a=4096, b=4096, c=4096, fixed=0, sums=4096)
    pace = Pace(execute=64, load=1 / 16, store=1 / 64, dram=1 / 100, turnaround=50)
    assert choose(11, 1, 15, budget, pace).load_bytes(1) == 204_800


@pytest.mark.parametrize("grid", [(0, 1, 1), (1, 0, 1), (1, 1, 0)])
def test_panels_are_of_grids_that_have_tiles(grid: tuple[int, int, int]) -> None:
    pace = Pace(execute=64, load=1 / 16, store=1 / 64, dram=1 / 100, turnaround=50)
    with pytest.raises(UsageError, match=r"^a grid must have tiles$"):
        choose(*grid, Budget(sram=4096, a=1, b=1, c=1, fixed=0, sums=1), pace)


@pytest.mark.parametrize(("a", "b"), [(0, 1), (1, 0)])
def test_panels_are_of_tiles_that_have_bytes(a: int, b: int) -> None:
    pace = Pace(execute=64, load=1 / 16, store=1 / 64, dram=1 / 100, turnaround=50)
    with pytest.raises(UsageError, match=r"^tiles of a and b must have bytes$"):
        choose(1, 1, 1, Budget(sram=4096, a=a, b=b, c=1, fixed=0, sums=1), pace)


GRIDS = [(7, 8, 5), (3, 4, 11), (1, 2, 9)]
"""Rows, depth and columns, in tiles."""


def test_the_panels_of_some_grids(golden: Golden) -> None:
    """Which panels, in which order, how ramped, and what that is reckoned to load and to take."""
    lines = []
    for grid, tiles, room in product(GRIDS, (6, 17), ((512, 512, 0), (64, 256, 0), (256, 32, 8))):
        a, b, apart = room
        budget = Budget(sram=tiles * 512, a=a, b=b, c=512, fixed=64, sums=512, apart=apart * 512)
        for pace in (Pace(64, 1 / 16, 1 / 16, 1 / 100, 50), Pace(8, 1 / 64, 1 / 16, 1 / 20, 900)):
            if not budget.fits(1, 1):
                continue
            rows, depth, cols = grid
            plan = choose(rows, depth, cols, budget, pace)
            m, n, k = walk_panels(plan, depth)
            order = int((np.arange(len(m)) * (m * 10007 + n * 101 + k) % 65537).sum())
            lines.append(
                f"{rows}x{depth}x{cols} in {tiles} of {a}+{b}+{apart} at {pace.execute}: {len(plan.panels)} panels, "
                f"{plan.budget.ahead} ahead of {plan.budget.sram}, at most {max(p.shape for p in plan.panels)}, "
                f"first {tuple(plan.panels[0])}, ramped {plan.ramped}, loads {plan.load_bytes(depth)}, "
                f"{plan.cycles(depth, plan.load_bytes(depth), pace):.6g} cycles, order {order}"
            )
    golden.check("panels.txt", "\n".join(lines) + "\n")


# -- models ----------------------------------------------------------------------------------------------------


def test_a_model_that_cannot_be_read_is_told_with_the_systems_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m.py"
    path.write_text("")

    def refuse(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(ModelError, match=rf"^model '{path}': cannot be read \(Permission denied\)$"):
        ms.load_model(path)


# -- the screen ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command", ["run gemm:8x8x8", "explain gemm:8x8x8", "sweep gemm:8x8x8 --param tile.m=8 --jobs 1"]
)
def test_progress_is_no_part_of_the_output(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is piped into a file or another program has no bar in it."""
    consoles: list[Console] = []

    class Watched(SlowProgress):
        def __init__(self, console: Console, what: str) -> None:
            consoles.append(console)
            super().__init__(console, what)

    monkeypatch.chdir(tmp_path)
    for module in (cli, told):
        monkeypatch.setattr(module, "SlowProgress", Watched)
    assert (
        CliRunner().invoke(cli.main, [*command.split(), "--jobs", "1"][: None if "sweep" in command else -2]).exit_code
        == 0
    )
    assert consoles and all(console.stderr for console in consoles)


def test_progress_counts_from_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minisim.progress.EVERY", 2)
    progress = SlowProgress(Console(file=io.StringIO()), "a run")
    told: list[int] = []
    monkeypatch.setattr(progress._progress, "update", lambda task, completed: told.append(completed))
    for op in range(5):
        progress.on_retire(op, 0)
    assert told == [2, 4]


@pytest.mark.parametrize(("width", "bar"), [(36, 0), (38, 0), (39, 1), (41, 3)])
def test_where_no_bar_has_room_there_is_none(width: int, bar: int) -> None:
    """A bar of one character would be a tenth of the time to one reader and all of it to another."""
    graph = ms.Graph("g")
    graph.output(graph.relu(graph.input("x", (64, 64)), name="a_layer_with_a_long_name"), "y")
    file = io.StringIO()
    print_summary(ms.run(graph).record(), Console(file=file, width=width))
    (row,) = re.findall(r"(?m)^  a_layer_with_a_long_name +[\d,]+ *(.*?) *$", file.getvalue())
    assert len(row) == bar


@pytest.mark.parametrize("lenient", [True, False])
def test_a_full_disk_is_told_of_standard_output_and_passed_over_on_standard_error(lenient: bool) -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

    output = _Stream(Full(), lenient)
    if lenient:
        assert output.write("text") == 4
    else:
        with pytest.raises(OutputError, match="No space left on device"):
            output.write("text")
    assert isinstance(output.failure, OutputError)


def test_what_was_shown_of_progress_is_wiped_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """The screen has the answer alone at the end."""
    file = io.StringIO()
    monkeypatch.setattr("minisim.progress.PATIENCE_S", 0)
    with SlowProgress(Console(file=file, force_terminal=True, color_system=None, width=60), "a run") as progress:
        progress._timer.join()
        progress.advance("a run", 1, 4)
    assert "a run" in file.getvalue()
    assert file.getvalue().endswith("\x1b[1A\x1b[2K")  # one line up, and that line empty


@pytest.mark.parametrize(
    ("error", "told", "code"),
    [
        (MemoryError("Unable to allocate 3.00 GiB"), "minisim: out of memory: Unable to allocate 3.00 GiB\n", 71),
        (MemoryError("std::bad_alloc"), "minisim: out of memory\n", 71),
        (MemoryError(), "minisim: out of memory\n", 71),
        (KeyboardInterrupt(), "minisim: interrupted\n", 130),
    ],
)
def test_what_ends_a_command_is_one_line(
    error: BaseException, told: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended, stops_told():
        raise error
    assert ended.value.code == code
    assert capsys.readouterr() == ("", told)


def test_explain_needs_no_memory_for_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for command, code in (("explain --no-what-if", 0), ("run --no-numerics", 0), ("run", 2)):
        done = CliRunner().invoke(cli.main, [*command.split(), "gemm:64x64x64", "--memory-limit", "1KiB"])
        assert done.exit_code == code, command


@pytest.mark.parametrize(
    ("value", "text"),
    [(-0.0, "0"), (999_999_999.0, "999,999,999"), (1e9, "1e+09"), (-1e9, "-1e+09"), (1.5, "1.5"), (math.nan, "nan")],
)
def test_a_value_in_a_few_characters(value: float, text: str) -> None:
    assert number(value) == text


def test_a_text_is_cut_from_the_first_character_too_many() -> None:
    assert shortened("x" * 60) == "x" * 60
    assert shortened("x" * 61) == "x" * 57 + "..."
    line = "a" * 1000 + "b" * 1000
    assert str(ModelError(line)) == line
    assert str(ModelError(f"{line}c")) == "a" * 1000 + "..." + "b" * 996 + "c"


@pytest.mark.parametrize("command", ["run gemm:8x8x8", "explain gemm:8x8x8", "sweep gemm:8x8x8 --param tile.m=8"])
def test_the_path_of_a_report_is_never_broken(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who copies it from a narrow terminal has all of it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "60")
    out = "a_folder_with_a_name " + "of_many_characters" * 4
    done = CliRunner().invoke(cli.main, [*command.split(), "--out", out])
    assert re.search(rf"(?m)^reports: {out}/\w+\.csv(, {out}/\w+\.(csv|json|toml))*$", done.output)


def test_a_dump_goes_into_a_folder_that_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        done = CliRunner().invoke(cli.main, ["run", "gemm:8x8x8", "--no-what-if", "--no-check", "--dump-ir", "ir/deep"])
        assert done.exit_code == 0, done.output


def test_a_result_shows_eighty_characters_of_its_outputs() -> None:
    graph = ms.Graph("g")
    x = graph.input("x", (2, 2))
    for name in ("a" * 40, "b" * 40):
        graph.output(graph.relu(x), name)
    outputs = f"{'a' * 40} float32[2, 2], {'b' * 40} float32[2, 2]"
    assert repr(ms.run(graph)).splitlines()[2] == f"  outputs {outputs[:77]}...; exact>"


# -- hints and sweeps ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("k", "told"), [(15, True), (16, False)])
def test_half_of_an_array_is_not_less_than_half(k: int, told: bool) -> None:
    """16 steps of k on 32 rows, with as many rows that the stream is no shorter than the shift."""
    machine = ms.Machine().replace("tile.m=64", "dram.bandwidth=1000GB/s", "dma.bytes_per_cycle=512")
    found = hints(ms.run(f"gemm:640x{k}x64", machine, numerics=False).record())
    assert any("less than half of the array" in hint.text for hint in found) == told


def test_a_run_of_just_as_many_operations_as_are_measured_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    result = ms.run("gemm:96x64x80", numerics=False)
    hint = Hint(9, "a", ({"dma.bytes_per_cycle": "32"},))
    for most, measured in ((len(result.schedule), True), (len(result.schedule) - 1, False)):
        monkeypatch.setattr(what_if, "MOST_OPERATIONS", most)
        (found,) = what_if.measured(result, [hint], 5)
        assert (found.then is not None) == measured


def titles(show: Callable[[Console], None], first: str) -> dict[str, int]:
    """The heads of the table that begins with the column `first`, each set with the narrowest screen that has it."""
    found: dict[str, int] = {}
    for width in range(64, 29, -1):
        file = io.StringIO()
        show(Console(file=file, width=width))
        heads = next((line for line in file.getvalue().splitlines() if line.strip().startswith(first)), "none")
        found[" ".join(heads.split())] = width
    return found


def test_columns_go_in_the_order_of_what_they_are_worth() -> None:
    ran = {"cycles_total": 1234, "cycles_over_roofline": 1.5, "bound_by": "dram", "dram_read_bytes": 10**6,
           "dram_write_bytes": 10**6, "load_reuse_pct": 50.0}  # fmt: skip
    rows = [{"tile.m": "8", "status": "ok", "reason": "", **ran}]
    assert titles(lambda console: print_sweep(rows, console), "tile.m") == {
        "tile.m cycles of roofline bound by DRAM MB reuse status": 62,
        "tile.m cycles of roofline bound by DRAM MB status": 55,
        "tile.m cycles of roofline bound by status": 46,
        "tile.m cycles of roofline status": 36,
        "tile.m cycles status": 30,
    }
    record = ms.run("gemm:64x64x64", numerics=False).record()
    assert titles(lambda console: print_summary(record, console), "layer") == {
        "layer cycles share array fill": 47,
        "layer cycles share": 35,
        "layer cycles": 30,
    }


def test_a_sweep_computes_and_compares_unless_told_otherwise() -> None:
    points = [Point(0, {}, ms.Machine())]
    (row,), (timed,) = (
        point_rows(ms.load_model("gemm:8x8x8"), points, jobs=1, **more) for more in ({}, {"numerics": False})
    )
    assert row["output_sha256"] and row["max_abs_error"] < 1e-5
    assert not timed["output_sha256"] and math.isnan(timed["max_abs_error"])
