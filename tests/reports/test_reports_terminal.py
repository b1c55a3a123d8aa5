"""The summary fits its terminal, is readable without colour, and says only what is so."""

from __future__ import annotations

import io
import math
import re
from fractions import Fraction

import pytest
from hypothesis import given, settings
from rich.console import Console

from minisim.difference import Difference
from minisim.hwmodel.array import folds
from minisim.hwmodel.config import keys
from minisim.hwmodel.cost import roofline
from minisim.reports import Account, RunRecord, print_summary
from minisim.reports.account import GROUPS
from minisim.reports.explain import print_account
from minisim.reports.hints import array_fill, doubled, hints, least_traffic, work_on

from .conftest import Record, records

FOUND = Difference(1e-6, -2.25, 3.5, 127.6, 512 * 512)


def printed(record: RunRecord, width: int, encoding: str = "utf-8") -> str:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    print_summary(record, Console(file=file, width=width, no_color=True, force_terminal=False))
    file.flush()
    return file.buffer.getvalue().decode(encoding)  # type: ignore[attr-defined]


def texts(record: RunRecord) -> list[str]:
    return [hint.text for hint in hints(record)]


@settings(max_examples=50, deadline=None)
@given(records())
def test_any_run_fits_any_width(record: RunRecord) -> None:
    for width in (60, 80, 120):
        text = printed(record, width)
        assert max(len(line) for line in text.splitlines()) <= width
        assert "Where the time went" in text
        assert f"{record.timeline.cycles:,}" in text


def test_the_sections_come_in_order(record: Record) -> None:
    text = printed(record("gemm:512x512x512", difference=FOUND, output_sha256="0123456789abcdef"), 80)
    heads = [line for line in text.splitlines() if line and not line.startswith(" ")]
    time, energy = "Where the time went (on its critical path)", "Where the energy went"
    assert heads == ["gemm on npu_32x32", "What bound it", time, energy, "What to try"]
    lines = [line.rstrip() for line in text.splitlines()]
    assert "  outputs     in [-2.25, 3.5], sha256 0123456789ab" in lines
    assert "  checked     largest error 1e-06, SQNR 128 dB, against numpy" in lines


def test_the_shares_of_the_energy_are_its_components(record: Record) -> None:
    r = record("gemm:512x512x512")
    text = printed(r, 120)
    shares = dict(re.findall(r"(\w+) (\d+\.\d)%", text.split("Where the energy went")[1].split("What to try")[0]))
    parts = r.energy.by_component()
    assert shares == {name: f"{100 * fj / r.energy.total:.1f}" for name, fj in parts.items() if shares.get(name)}
    assert sum(map(float, shares.values())) == pytest.approx(100, abs=0.5)
    assert list(shares) == sorted(shares, key=lambda name: -parts[name])
    watts = r.energy.total / 1e15 / (r.timeline.cycles / 1e9)
    assert f"energy      {r.energy.total / 1e12:.4g} mJ ({watts:.4g} W on average)" in text


def test_a_machine_without_prices_does_not_speak_of_energy(record: Record) -> None:
    zero = {"leakage": "0mW", "idle": "0mW", "percent": "0"}
    free = [f"{key}={zero.get(key.rpartition('_')[2], '0pJ')}" for key in keys() if key.startswith("energy.")]
    assert "energy" not in printed(record("gemm:32x32x32", "npu_32x32", *free), 80)


def test_terminals_without_blocks_get_number_signs(record: Record) -> None:
    text = printed(record(), 80, "ascii")
    assert "###" in text


def test_names_are_not_taken_for_markup(record: Record) -> None:
    assert "[bold]x[/] on npu_32x32" in printed(record(model="[bold]x[/]"), 80)


def test_the_bars_are_in_proportion(record: Record) -> None:
    r = record("gemm:512x512x512", "npu_32x32", "sram.bytes=20KiB")
    account, cycles = Account.of(r), r.timeline.cycles
    bar = next(line for line in printed(r, 120).splitlines() if line.startswith("  c ")).split("%")[-1]
    width = len(re.findall("[█mwe]", bar))
    assert width >= 40
    for group, sign in {"computing": "█", "moving data": "m", "waiting": "w"}.items():
        expected = width * sum(account.total()[cause] for cause in GROUPS[group]) / cycles
        assert abs(bar.count(sign) - expected) <= 1 and bar.count(sign)


def test_a_run_and_its_explanation_give_the_same_account(record: Record) -> None:
    """One question, one answer: `run` says of every group of causes what `explain` says."""
    for spec in ("softmax:256x256", "gemm:256x256x256"):
        r = record(spec)
        file = io.StringIO()
        print_account(Account.of(r), [], Console(file=file, width=100))
        explained = dict(
            re.findall(r"── (computing|moving data|waiting|ends of the run) +[\d,]+ +([\d.]+)%", file.getvalue())
        )
        said = dict(re.findall(r"[█mwe] (computing|moving data|waiting|ends of the run) ([\d.]+)%", printed(r, 100)))
        assert len(said) >= 3 and said.items() <= explained.items()


def test_layers_on_the_path_add_up_to_the_run(record: Record) -> None:
    text = printed(record("gemm:96x64x80"), 100)
    assert re.search(r"c +[\d,]+  100.0% ", text)


def test_an_array_without_macs_has_no_line(record: Record) -> None:
    assert "array" not in printed(record("softmax:64x64"), 100)
    assert "array  " in printed(record("gemm:64x64x64"), 100) and "array fill" in printed(record("gemm:64x64x64"), 100)


def test_a_load_bound_run_is_told_what_a_wider_port_would_do(record: Record) -> None:
    r = record("gemm:512x512x512")
    work = r.work
    narrow = roofline(work.macs, 0, work.read_bytes, work.write_bytes, r.machine)
    wide = roofline(work.macs, 0, work.read_bytes, work.write_bytes, doubled(r.machine, ["dma.bytes_per_cycle"]))
    assert narrow.bound_by == "load"
    expected = f"dma.bytes_per_cycle = 32, lowers it from {math.ceil(narrow.cycles):,} to {math.ceil(wide.cycles):,}"
    assert any(expected in text for text in texts(r))


def test_two_units_that_bind_together_are_widened_together(record: Record) -> None:
    text = " ".join(texts(record("gemm:8x512x256", "edge_8x8")))
    assert "load and dram set the bound" in text
    assert "dma.bytes_per_cycle = 16 and dram.bandwidth = 6.4GB/s" in text


@pytest.mark.parametrize("key", ["matrix.cols", "vector.lanes", "dma.bytes_per_cycle", "dram.bandwidth"])
def test_doubled_changes_one_key(key: str, record: Record) -> None:
    machine = record().machine
    before, after = machine.flat(), doubled(machine, [key]).flat()
    assert [k for k in before if before[k] != after[k]] == [key]


def test_twice_the_array_halves_its_bound(record: Record) -> None:
    r = record()
    bigger = doubled(r.machine, ["matrix.cols"])
    assert work_on(r, bigger).bound(bigger).matrix == r.work.bound(r.machine).matrix * Fraction(1, 2)


def test_least_traffic_is_the_tensors_once(record: Record) -> None:
    assert least_traffic(record("gemm:512x256x128").schedule) == (4 * (512 * 256 + 256 * 128), 4 * 512 * 128)


def test_a_shallow_block_is_explained(record: Record) -> None:
    found = " ".join(texts(record("gemm:256x8x256", "npu_32x32", "dram.bandwidth=1TB/s", "dma.bytes_per_cycle=1024")))
    assert "using 25% with blocks m x k x n = 32 x 8 x 32, which fill 25% of it: k fills 8 of 32 rows." in found


@pytest.mark.parametrize(("dataflow", "fill", "why"), [
    ("ws", "12.5%", "k fills 48 of 64 rows and n fills 24 of 144 columns"),
    ("os", "6.25%", "m fills 16 of 64 rows and n fills 24 of 96 columns."),
    ("is", "12.5%", "k fills 48 of 64 rows and m fills 16 of 96 columns and streaming 24 columns"),
])  # fmt: skip
def test_each_dataflow_has_its_own_dimensions_along_the_array(
    dataflow: str, fill: str, why: str, record: Record
) -> None:
    cols = 144 if dataflow == "ws" else 96
    tiles = ["tile.m=16", "tile.k=48", "tile.n=24", "matrix.rows=64", f"matrix.cols={cols}"]
    found = " ".join(texts(record("gemm:160x480x240", "npu_32x32", *tiles, f"matrix.dataflow={dataflow}")))
    assert f"which fill {fill} of it: {why}" in found


@pytest.mark.parametrize("dataflow", ["ws", "os", "is"])
@pytest.mark.parametrize("sizes", [(16, 48, 24), (64, 64, 64), (65, 130, 97), (7, 200, 96)])
def test_the_fill_is_what_folds_leave_of_the_array(dataflow: str, sizes: tuple[int, int, int], record: Record) -> None:
    """Without shifting (whose cycles are no streaming) MACs / (streaming cycles x elements) is the fill."""
    machine = record(
        "gemm:8x8x8", "npu_32x32", "matrix.rows=64", "matrix.cols=96", f"matrix.dataflow={dataflow}"
    ).machine
    block = dict(zip("mkn", sizes, strict=True))
    f = folds(*sizes, machine.matrix)
    streaming = int((f.full + f.rest) * f.stream)
    expected = math.prod(sizes) / (streaming * machine.matrix.elements)
    assert array_fill(block, machine, machine.dtype)[0] == pytest.approx(expected)


def test_stores_at_the_end_are_named(record: Record) -> None:
    r = record("gemm:256x8x256")
    retired = r.timeline.end[r.schedule.stream["opcode"] >= 2].max()
    assert f"After the last computation the run goes on for {r.timeline.cycles - retired:,} cycles" in " ".join(
        texts(r)
    )


@settings(max_examples=60, deadline=None)
@given(records())
def test_hints_are_sorted_and_speak_of_cycles_there_are(record: RunRecord) -> None:
    found = hints(record)
    assert [h.cycles for h in found] == sorted((h.cycles for h in found), reverse=True)
    assert all(0 < h.cycles <= record.timeline.cycles for h in found)
