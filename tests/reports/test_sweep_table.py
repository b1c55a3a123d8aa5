"""The table of a sweep: which point it recommends, and that no number is ever cut."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from rich.console import Console

from minisim.reports import print_sweep


def row(cycles: int | None, **params: str) -> dict[str, Any]:
    """A point with its parameters (``sram_bytes`` for sram.bytes); None: it is infeasible."""
    named: dict[str, Any] = {key.replace("_", ".", 1): value for key, value in params.items()}
    if cycles is None:
        return {**named, "status": "infeasible", "reason": "too small"}
    traffic = {"dram_read_bytes": 7_000_000, "dram_write_bytes": 123_456}
    rest = {"cycles_over_roofline": 1.25, "bound_by": "matrix", "load_reuse_pct": 50.0, **traffic}
    return {**named, "status": "ok", "reason": "", "cycles_total": cycles, **rest}


def printed(rows: list[dict[str, Any]], width: int = 120) -> str:
    file = io.StringIO()
    print_sweep(rows, Console(file=file, width=width))
    return file.getvalue()


def starred(rows: list[dict[str, Any]]) -> list[bool]:
    lines = printed(rows).splitlines()[1 : 1 + len(rows)]
    return [" * " in line for line in lines]


def test_the_star_is_on_the_fastest_point() -> None:
    sizes = [(900, "16KiB"), (None, "8KiB"), (300, "64KiB"), (500, "32KiB")]
    assert starred([row(n, sram_bytes=size) for n, size in sizes]) == [False, False, True, False]


@pytest.mark.parametrize(("key", "values", "best"), [
    ("cores_count", ("16", "4", "8"), 1),
    ("sram_bytes", ("1MiB", "64KiB", "128KiB"), 1),
    ("dram_latency", ("20ns", "90ns", "40ns"), 1),
])  # fmt: skip
def test_hardware_that_helps_nobody_is_not_starred(key: str, values: tuple[str, ...], best: int) -> None:
    """Of points that are equally fast the one with the least of it: the others pay for nothing."""
    assert starred([row(100, **{key: value}) for value in values]) == [i == best for i in range(len(values))]


def test_what_has_no_price_is_starred_wherever_it_is_as_fast() -> None:
    assert starred([row(100, tile_m="8"), row(100, tile_m="16"), row(101, tile_m="32")]) == [True, True, False]
    # less of one and more of the other: neither is the cheaper machine
    assert (
        starred([row(9, cores_count="2", sram_bytes="1MiB"), row(9, cores_count="4", sram_bytes="8KiB")]) == [True] * 2
    )


@pytest.mark.parametrize("width", [20, 40, 60, 80, 100, 200])
def test_columns_go_before_numbers_are_cut(width: int) -> None:
    rows = [row(123_456_789, cores_count="16", sram_bytes="128KiB", dma_bytes_per_cycle="1024"),
            row(99_999, cores_count="16", sram_bytes="256KiB", dma_bytes_per_cycle="2048"),
            row(None, cores_count="16", sram_bytes="1KiB", dma_bytes_per_cycle="1024")]  # fmt: skip
    text = printed(rows, width)
    words = re.split(r"[\s=:]+", text)
    for number in ("123,456,789", "99,999", "128KiB", "256KiB", "1024", "2048"):
        assert number in words
    assert "…" not in text
    heads = ["of roofline", "bound by", "DRAM MB", "reuse", "status"]
    shown = [head for head in heads if head in text.splitlines()[0]]
    told = " ".join(text.split())
    assert all(head in told for head in heads)  # those that are left out are named
    assert shown == heads or "no room for" in told
    if "reuse" in shown:
        assert len(re.findall(r"50%", text)) == 2 and "7.12" in text


def test_at_a_wide_terminal_nothing_is_left_out() -> None:
    assert "no room" not in printed([row(100, cores_count="2")], 80)
