"""The banked DRAM model against DRAMsim3: access patterns, truth, ours and the error.

    python benchmarks/fidelity/dram.py [--config DDR4] [--requests 8192] [FILE.csv ...]

The rows are benchmarks/fidelity/data/dram_patterns.csv and dram_single_tile.csv, or those of other files of their
form: facts, measured on DRAMsim3 with its shipped configurations, or with another address mapping, which then stands
in a column `mapping` or in the configuration's name (DDR4_8Gb_x8_3200_rorababgchco.ini). A row of a configuration, a
pattern or a request size that is not known is refused, and so is a column: it would be replayed as something else.
The rows are replayed through the model that times schedules (`minisim.hwmodel.banked.Memory`) with the presets as
they ship; no number is fitted to a row. Bandwidth is compared as a share of the peak, because the truth's clock is
rounded (0.63 ns for 0.625 ns).
"""

from __future__ import annotations

import argparse
import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from minisim._engine import DramMemory
from minisim.hwmodel.dram_presets import PRESETS, DramPart

DATA = Path(__file__).parent / "data"
PRESET_OF = {
    "DDR4_8Gb_x8_3200.ini": "ddr4-3200",
    "LPDDR4_8Gb_x16_2400.ini": "lpddr4-2400",
    "HBM2_8Gb_x128.ini": "hbm2",
}
PATTERNS = ("seq", "seqw", "tiles", "tile1", "strided", "random", "randp", "copy")
Addresses = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Row:
    """One measurement: a pattern (see `addresses`) and the share of peak bandwidth that it reached."""

    config: str
    pattern: str
    outstanding: int
    p1: int
    p2: int
    requests: int
    percent: float
    mapping: str = ""

    @property
    def part(self) -> DramPart:
        """The preset that stands for the configuration, with the row's address mapping if it has one."""
        part = PRESETS[PRESET_OF[self.config]]
        return part.override(f"mapping={self.mapping}") if self.mapping else part


COLUMNS = {"config", "pattern", "outstanding", "p1", "p2", "tile_edge_fp32", "row_pitch_bytes", "req_bytes", "nreq",
           "dram_cycles", "tck_ns", "gbps", "peak_gbps", "pct_peak", "mean_lat_cyc", "max_lat_cyc",
           "mapping"}  # fmt: skip
IN_A_NAME = re.compile(r"^(?P<stem>.+?)[_.+:-](?P<mapping>(?:ro|ch|ra|ba|bg|co){6})(?P<end>\.ini)$")


def rows(file: str | Path) -> list[Row]:
    """The measurements of a file in `DATA`, or of one elsewhere.

    Raises:
        ValueError: a row is not of a known configuration, mapping, pattern or request size, or a column is not known.
    """
    with (DATA / file).open(encoding="utf-8") as f:
        table = csv.DictReader(f)
        if unknown := set(table.fieldnames or ()) - COLUMNS:
            raise ValueError(f"{file}: column {min(unknown)!r} is not known: {', '.join(sorted(COLUMNS))}")
        return [_row(r, f"{file}, line {table.line_num}") for r in table]


def _row(r: dict[str, str], place: str) -> Row:
    config, mapping = r["config"], r.get("mapping") or ""
    if config not in PRESET_OF and (named := IN_A_NAME.match(config)):
        config, mapping = named["stem"] + named["end"], named["mapping"]
    for what, value, known in (("configuration", config, PRESET_OF), ("pattern", r["pattern"], PATTERNS)):
        if value not in known:
            raise ValueError(f"{place}: {what} {value!r} is not known: {', '.join(known)}")
    row = Row(
        config=config,
        pattern=r["pattern"],
        outstanding=int(r["outstanding"]),
        p1=int(r.get("p1") or r["tile_edge_fp32"]),
        p2=int(r.get("p2") or r["row_pitch_bytes"]),
        requests=int(r["nreq"]),
        percent=float(r["pct_peak"]),
        mapping=mapping,
    )
    try:
        burst = row.part.burst_bytes
    except ValueError as e:
        raise ValueError(f"{place}: mapping {mapping!r}: {e.args[0]}") from None
    if int(r["req_bytes"]) != burst:
        raise ValueError(f"{place}: requests are bursts of {burst} bytes, not {r['req_bytes']}")
    return row


def addresses(row: Row, size: int, seed: int = 1) -> tuple[Addresses, list[bool]]:
    """Byte addresses of a row's requests of `size` bytes, and which of them write; a pattern is one of PATTERNS:

    seq, seqw   one after the other
    tiles       p1 x p1 fp32 tiles of a matrix of p2 bytes a row, from left to right, then the next band;
    tile1       one of them
    strided     p1 bytes of every row of p2 bytes, down the rows
    random      anywhere; randp: p1 bytes together, anywhere
    copy        p1 bytes read, then written p2 bytes further on

    Raises:
        ValueError: the pattern is another one.
    """
    i = np.arange(row.requests, dtype=np.int64)
    writes = np.zeros(row.requests, dtype=bool)
    if row.pattern in ("seq", "seqw"):
        found, writes = i * size, writes | (row.pattern == "seqw")
    elif row.pattern in ("tiles", "tile1"):
        found = _tiles(i, row.p1, row.p2, size)
    elif row.pattern == "strided":
        each = max(row.p1 // size, 1)
        found = i // each * row.p2 + i % each * size
    elif row.pattern in ("random", "randp"):
        each = max(row.p1 // size, 1)
        piece = np.random.default_rng(seed).integers(0, SPAN // (each * size), len(i) // each + 1)
        found = piece[i // each] * each * size + i % each * size
    elif row.pattern == "copy":
        each = max(row.p1 // size, 1)
        writes = i // each % 2 == 1
        found = (i // (2 * each) * each + i % each) * size + writes * row.p2
    else:
        raise ValueError(f"pattern {row.pattern!r} is not known: {', '.join(PATTERNS)}")
    return found, writes.tolist()


HEAD = f"{'config':24} {'pattern':8} {'outst':>7} {'p1':>6} {'p2':>9} {'truth':>7} {'ours':>7} {'error':>7}"

SPAN = 2**30
"""Bytes over which the random patterns spread."""


def _tiles(i: Addresses, edge: int, pitch: int, size: int) -> Addresses:
    per_row = max(edge * 4 // size, 1)
    tile, rest = np.divmod(i, per_row * edge)
    across = max(pitch // (per_row * size), 1)
    top, left = tile // across * edge, tile % across * per_row * size
    return np.asarray((top + rest // per_row) * pitch + left + rest % per_row * size)


def replay_pattern(row: Row, part: DramPart, requests: int | None = None) -> float:
    """Percent of the peak bandwidth that `part` reaches on the (first `requests` requests of the) pattern."""
    taken = min(requests or row.requests, row.requests)
    row = Row(**{**vars(row), "requests": taken})
    where, writes = addresses(row, part.burst_bytes)
    served = DramMemory(part).run(where, writes, start=0, outstanding=row.outstanding)
    return 100 * taken * part.burst_cycles / part.channels / served.returned


def replay(file: str | Path, config: str = "", requests: int | None = None) -> Iterator[tuple[Row, float, float]]:
    """Row, our percent of peak, and the error of it in percent of the truth's bandwidth."""
    for row in rows(file):
        if config in row.config:
            ours = replay_pattern(row, row.part, requests)
            yield row, ours, 100 * (ours / row.percent - 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="", help="rows of configurations with this in their name")
    parser.add_argument("--requests", type=int, help="only the first so many requests of each pattern")
    parser.add_argument("files", nargs="*", type=_file, metavar="FILE.csv", help="rows of other files")
    args = parser.parse_args()
    try:
        _print_files(args)
    except (OSError, ValueError) as e:
        parser.error(str(e))


def _file(text: str) -> Path:
    """As it is typed, if it is there; else it is one of DATA."""
    return Path(text).resolve() if Path(text).exists() else Path(text)


def _print_files(args: argparse.Namespace) -> None:
    files = args.files or [Path("dram_patterns.csv"), Path("dram_single_tile.csv")]
    for file in files:
        rows(file)  # before anything is replayed: are all of them known?
    for file in files:
        errors: dict[str, list[float]] = {}
        print(f"{file.name}: percent of peak bandwidth\n{HEAD}")
        requests = args.requests if file.name != "dram_single_tile.csv" else None
        for row, ours, error in replay(file, args.config, requests):
            errors.setdefault(row.config, []).append(abs(error))
            mapping = f"{row.mapping} " if row.mapping else ""
            print(
                f"{row.config:24} {mapping}{row.pattern:8} {row.outstanding:7} {row.p1:6} {row.p2:9} "
                f"{row.percent:7.2f} {ours:7.2f} {error:+6.1f}%",
                flush=True,
            )
        for config, found in errors.items():
            print(f"{config}: {len(found)} rows, mean error {np.mean(found):.1f} %, worst {max(found):.1f} %")


if __name__ == "__main__":
    main()
