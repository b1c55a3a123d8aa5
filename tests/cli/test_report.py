"""--report and minisim report: which pages are written, what is simulated for them, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import minisim as ms
from minisim.reports.hints import hints
from minisim.what_if import what_ifs_of, what_ifs_within

GEMM = ("gemm:32x32x32", "--no-numerics", "--set", "compiler.effort=0")


def read() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path("out/run.json").read_text("utf-8"))
    return found


def test_a_run_with_a_page(minisim: Any) -> None:
    text = minisim("run", *GEMM, "--report").output
    assert "out/report.html" in text
    file = read()
    assert file["command"] == ["minisim", "run", *GEMM, "--report"]
    ran = {name: cycles for name, _, cycles, _ in file["what_if"] if cycles}
    assert {"twice the DMA width", "twice the DRAM bandwidth", "twice the array's rows"} <= ran.keys()
    other = minisim("run", *GEMM, "--set", "dma.bytes_per_cycle=32", "--out", "other").output
    assert f"{ran['twice the DMA width']:,} cycles" in other
    page = Path("out/report.html").read_bytes()
    assert "page: out/report.html" in minisim("report", "out").output
    assert Path("out/report.html").read_bytes() == page


def test_a_run_without_one(minisim: Any) -> None:
    """It leaves run.json all the same, with what its hints measured."""
    minisim("run", *GEMM)
    assert not Path("out/report.html").exists()
    assert 0 < len(read()["what_if"]) < 5
    minisim("run", *GEMM, "--report", "--no-what-if")
    assert not any(cycles for _, _, cycles, _ in read()["what_if"])
    assert "Other machines were not simulated" in Path("out/report.html").read_text("utf-8")


def test_pages_of_a_sweep_and_of_a_decoding(minisim: Any) -> None:
    minisim("sweep", *GEMM, "--param", "sram.bytes=16KiB,64KiB", "--jobs", "1", "--report")
    model = "qwen2:0.5b,layers=1,hidden=64,heads=2,kv_heads=1,ffn=64,vocab=64"
    minisim("run", model, "--no-numerics", "--prefill", "4", "--decode", "2", "--report")
    told = minisim("report", "out").output
    assert told == "page: out/sweep.html\npage: out/decode.html\n"
    assert "tokens/s" in Path("out/decode.html").read_text("utf-8")
    minisim("sweep", *GEMM, "--param", "sram.bytes=16KiB,64KiB", "--jobs", "1")
    assert not Path("out/sweep.html").exists(), "a page that is not of this sweep"


def test_what_has_no_page_is_refused(minisim: Any) -> None:
    for folder in ("nowhere", "."):
        told = minisim("report", folder, code=2).stderr
        assert told.startswith(f"minisim: error: {folder}: must be a folder with summary.csv, sweep.csv, decode.csv")
    Path("summary.csv").write_text("model\nm\n")
    assert "has no layers.csv; minisim run --out . writes it" in minisim("report", ".", code=2).stderr


@pytest.mark.parametrize("seconds", [0.0, 1e9])
def test_what_ifs_take_the_time_that_there_is(seconds: float) -> None:
    result = ms.run("gemm:48x40x56", ms.Machine().replace("compiler.effort=0"), numerics=False)
    found = hints(result.record())
    progress: list[tuple[int, int]] = []
    others = what_ifs_within(result, found, seconds=seconds, jobs=1, progress=lambda *step: progress.append(step))
    settings = [tuple(w.settings.items()) for w in others]
    assert len(set(settings)) == len(settings) > 10
    assert [each in settings for hint in found for each in map(items, hint.tries)] == [True] * sum(
        len(hint.tries) for hint in found
    )
    if seconds:
        assert progress[-1] == (len(others), len(others))
        assert all(w.cycles or "no machine has that" in w.reason for w in others)
    else:
        assert not progress and all(w.reason == "not simulated: no time was left (about 1 s)" for w in others)


def items(settings: Any) -> tuple[tuple[str, str], ...]:
    return tuple(settings.items())


def test_what_a_hint_tries_has_a_name() -> None:
    result = ms.run("gemm:64x64x64", numerics=False)

    def names(*settings: dict[str, str]) -> Sequence[str]:
        tried = [hint for hint in hints(result.record())[:1] for _ in settings]
        return [w.name for hint, each in zip(tried, settings, strict=True)
                for w in what_ifs_of(result, [type(hint)(1, "", (each,))])]  # fmt: skip

    assert names({"sram.bytes": "512KiB"}, {"sram.bytes": "1MiB"}, {"sram.bytes": "3MiB"}, {"a": "1", "b": "2"}) == [
        "twice the SRAM", "four times the SRAM", "sram.bytes = 3MiB", "a = 1, b = 2"]  # fmt: skip
