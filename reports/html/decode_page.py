"""The page of a decoding: tokens a second, what a token takes as the cache grows, and every program."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minisim.reports.html.folder import Row, number, read_json
from minisim.reports.html.page import page
from minisim.reports.html.tables_section import Cell, Line, machine_keys
from minisim.reports.html.words import of_bytes, scaled, times, whole
from minisim.reports.read import read_rows

SCRIPTS = ("decode.js",)

HEADS = (("Token", "n"), ("Phase", ""), ("Tokens", "n"), ("Time", "n"), ("Tokens/s", "n"), ("× bound", "n"),
         ("Weights", "n"), ("Cache read", "n"), ("DRAM", "n"), ("Operations", "n"))  # fmt: skip

BYTES = ("weight_bytes", "kv_read_bytes", "dram_bytes")

MOST = 3_000
"""Programs in the table; decode.csv has all."""


@dataclass(frozen=True)
class DecodeFolder:
    """decode.csv, a row a program, and decode.json."""

    rows: list[Row]
    file: dict[str, Any]

    def of(self, phase: str) -> list[Row]:
        """The programs of a phase."""
        return [row for row in self.rows if row["phase"] == phase]


def read_decode(folder: Path) -> DecodeFolder:
    """Raises UsageError: a file is not there, or is not what this version writes."""
    return DecodeFolder(read_rows(folder / "decode.csv"), read_json(folder / "decode.json"))


def decode_page(decoding: DecodeFolder) -> str:
    """The page as HTML."""
    file = decoding.file
    return page(
        "decode.html",
        SCRIPTS,
        _data(decoding),
        title=f"{file['model']} on {file['config']}, decoded",
        model=file["model"],
        config=file["config"],
        pieces=list(_sentence(decoding)),
        facts=_facts(decoding),
        heads=HEADS,
        lines=[_line(i, row) for i, row in enumerate(decoding.rows[:MOST])],
        left_out=max(0, len(decoding.rows) - MOST),
        keys=machine_keys(file["machine"]),
        command=shlex.join(file["command"]),
    )


def _sum(rows: Sequence[Row], column: str) -> float:
    return sum(number(row[column]) for row in rows)


def _sentence(decoding: DecodeFolder) -> Iterator[tuple[str, bool]]:
    decoded, before = decoding.of("decode"), decoding.of("prefill")
    if decoded:
        seconds = _sum(decoded, "time_us") / 1e6
        yield f"{scaled(_sum(decoded, 'tokens') / seconds)} tokens/s", True
        over = _sum(decoded, "cycles") / _sum(decoded, "bound_cycles")
        yield " when decoding, ", False
        yield f"{times(over)} the bound", True
        weights, cache = _sum(decoded, "weight_bytes"), _sum(decoded, "kv_read_bytes")
        heavier = "weights" if weights >= cache else "the cache of keys and values"
        yield f" that the DRAM sets: a token reads {of_bytes(weights / len(decoded))} of weights and ", False
        yield f"{of_bytes(cache / len(decoded))} of keys and values, so {heavier} decide", False
        first, last = number(decoded[0]["time_us"]), number(decoded[-1]["time_us"])
        yield f"; the last token takes {times(last / first)} the first one's time. ", False
    if before:
        seconds = _sum(before, "time_us") / 1e6
        yield f"The prefill of {whole(_sum(before, 'tokens'))} tokens takes {scaled(seconds, 's')}.", False


def _facts(decoding: DecodeFolder) -> list[tuple[str, str, str]]:
    decoded, before = decoding.of("decode"), decoding.of("prefill")
    found = []
    if before:
        seconds = _sum(before, "time_us") / 1e6
        found.append(
            ("first token after", scaled(seconds, "s"), f"{scaled(_sum(before, 'tokens') / seconds)} tokens/s")
        )
    if decoded:
        each = _sum(decoded, "time_us") / 1e6 / len(decoded)
        found.append(("each token", scaled(each, "s"), f"mean of {len(decoded)}"))
        found.append(("DRAM a token", of_bytes(_sum(decoded, "dram_bytes") / len(decoded)), "read and written"))
    found.append(("all programs", scaled(_sum(decoding.rows, "time_us") / 1e6, "s"),
                  f"{whole(_sum(decoding.rows, 'cycles'))} cycles"))  # fmt: skip
    return found


def _line(i: int, row: Row) -> Line:
    def cell(text: str, column: str) -> Cell:
        return Cell(text, number(row[column]))

    return Line(i, [cell(row["position"], "position"), Cell(row["phase"], row["phase"]), cell(row["tokens"], "tokens"),
                    cell(scaled(number(row["time_us"]) / 1e6, "s"), "time_us"),
                    cell(scaled(number(row["tokens_per_s"])), "tokens_per_s"),
                    cell(times(number(row["cycles_over_bound"])), "cycles_over_bound"),
                    *(cell(of_bytes(number(row[name])), name) for name in BYTES),
                    cell(whole(number(row["operations"])), "operations")])  # fmt: skip


def _data(decoding: DecodeFolder) -> dict[str, Any]:
    """Columns of the decoded tokens; of a decoding without any those of the prefill."""
    rows = decoding.of("decode") or decoding.rows
    hertz = decoding.file["hertz"]
    return {
        "kind": "decode",
        "position": [int(row["position"]) for row in rows],
        "seconds": [number(row["time_us"]) / 1e6 for row in rows],
        "bound": [number(row["bound_cycles"]) / hertz for row in rows],
        "weights": [number(row["weight_bytes"]) for row in rows],
        "cache": [number(row["kv_read_bytes"]) + number(row["kv_written_bytes"]) for row in rows],
    }
