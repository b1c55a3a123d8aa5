"""What a stranger might hand to those who explore and report: odd sweeps, damaged folders of a run or a sweep."""

from __future__ import annotations

import json
import random
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from fuzz.messages import FLOATS, INTEGERS, TEXTS, mutate_bytes

from minisim.cli import main

RANGES = [
    "64KiB:4MiB:x2",
    "8:32:+8",
    "8:32:x1",
    "8:32:+0",
    "32:8:+8",
    "1:1e9:+1",
    "8:32",
    ":::",
    "8:32:x-2",
    "1:2:3:4",
    "64KiB:4MiB:x1.0000001",
    "nan:inf:x2",
    "8:32:*2",
    "0:8:x2",
]
EXPRESSIONS = [
    "matrix.rows * matrix.cols == 1024",
    "sram.bytes <= 256KiB",
    "1 / 0 == 1",
    "2 ** 10 ** 10 > 1",
    "matrix.rows",
    "matrix.rows if 1 else 2",
    "__import__('os')",
    "(" * 200 + "1" + ")" * 200,
    "not sram.bytes",
    "sram.byte > 1",
    "matrix.rows << 99999999 > 0",
    "'a' * 99999999 == 'b'",
    "matrix.rows == matrix.rows == 8",
    "dram.bandwidth < 1GB/s or matrix.rows % 0",
]


def odd_sweep(rng: random.Random) -> tuple[list[str], dict[str, bytes]]:
    """A sweep by options, or by a file, or a search; most are planned alone."""
    if rng.random() < 0.5:
        argv = ["sweep", "s.toml"]
        files = {"s.toml": _specification(rng)}
    else:
        values = rng.choice([*RANGES, "8,16", "8,16", "64KiB,128KiB", *TEXTS])
        key = rng.choice(["matrix.rows", "sram.bytes", "dram.bandwidth", "matrix.rows.x", *TEXTS])
        argv = [rng.choice(["sweep", "sweep", "search"]), "gemm:8x8x8", "--param", f"{key}={values}"]
        argv += ["--param", "matrix.cols=8,16"] if rng.random() < 0.5 else []
        argv += ["--link", rng.choice(["matrix.rows,matrix.cols", "a", ",", *TEXTS])] if rng.random() < 0.3 else []
        argv += ["--where", rng.choice([*EXPRESSIONS, *TEXTS])] if rng.random() < 0.5 else []
        files = {}
    if argv[0] == "search":
        odd = rng.choice(["cycles", "cycles,area", "cycles,cycles", "area,tokens", *TEXTS])
        return [
            *argv,
            "--objective",
            odd,
            "--evaluations",
            rng.choice(["1", "2", "0", "-1", "x"]),
            "--no-numerics",
        ], files
    quick = rng.random() < 0.8
    argv += ["--dry-run"] if quick else ["--jobs", "1"]
    argv += ["--resume"] if rng.random() < 0.05 else []
    return argv, files


def _specification(rng: random.Random) -> bytes:
    data: dict[str, Any] = {
        "models": ["gemm:8x8x8"],
        "configs": ["npu_32x32"],
        "effort": 0,
        "numerics": False,
        "where": ["matrix.rows <= 16"],
        "link": [],
        "max_operations": 5000,
        "set": {"dram.latency": "80ns"},
        "param": {"matrix.rows": [8, 16], "sram.bytes": "64KiB,1MiB"},
    }
    for _ in range(rng.choice([0, 1, 1, 2, 4])):
        inside = rng.choice([data, data, data, *(each for each in data.values() if isinstance(each, dict))])
        key = rng.choice([*inside, rng.choice([*TEXTS, "model", "params", "seed", "mapping", "matrix.rows"])])
        match rng.randrange(4):
            case 0:
                inside.pop(key, None)
            case 1:
                inside[key] = rng.choice([*INTEGERS, *FLOATS, *TEXTS, True, [], {}])
            case 2:
                inside[key] = rng.choice(
                    [RANGES, EXPRESSIONS, [["matrix.rows", "sram.bytes"]], [[]], ["gemm:8x8x8"] * 2]
                )
            case _:
                inside[key] = rng.choice([*RANGES, *EXPRESSIONS])
    lines = [f"{json.dumps(key)} = {_value(value)}\n" for key, value in data.items() if not isinstance(value, dict)]
    for key, value in data.items():
        if isinstance(value, dict):
            lines += [f"[{json.dumps(key)}]\n", *(f"{json.dumps(k)} = {_value(v)}\n" for k, v in value.items())]
    text = "".join(lines).encode(errors="replace")
    return mutate_bytes(text, rng) if rng.random() < 0.2 else text


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {_value(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return repr(value) if isinstance(value, float) else json.dumps(value)


def damaged_folder(rng: random.Random) -> tuple[list[str], dict[str, bytes]]:
    """Pages or a comparison of a folder, some files of which were changed or are gone."""
    files = dict(_written(rng.choice(["run", "run", "sweep"])))
    for _ in range(rng.choice([0, 1, 1, 2, 4])):
        if not files:
            break
        name = rng.choice(sorted(files))
        match rng.randrange(4):
            case 0:
                del files[name]
            case 1:
                files[name] = _other_cell(files[name], rng)
            case _:
                files[name] = mutate_bytes(files[name], rng)
    page = ["--out", "c", *(["--report"] if rng.random() < 0.5 else [])]
    return rng.choice([["report", "."], ["compare", ".", ".", *page], ["compare", ".", "summary.csv"]]), files


def _other_cell(data: bytes, rng: random.Random) -> bytes:
    """Another value between two commas or ends of lines."""
    lines = data.split(b"\n")
    at = rng.randrange(len(lines))
    cells = lines[at].split(b",")
    cells[rng.randrange(len(cells))] = str(rng.choice([*INTEGERS, *FLOATS, *TEXTS])).encode(errors="replace")
    lines[at] = b",".join(cells)
    return b"\n".join(lines)


@lru_cache(maxsize=2)
def _written(what: str) -> tuple[tuple[str, bytes], ...]:
    """What a small run, or sweep, leaves."""
    words = ["--param", "sram.bytes=64KiB,128KiB"] if what == "sweep" else ["--no-what-if"]
    with tempfile.TemporaryDirectory() as folder:
        argv = [what, "gemm:64x32x48", "--set", "compiler.effort=0", "--no-numerics", "--out", folder, *words]
        result = CliRunner().invoke(main, [*argv, "--jobs", "1"] if what == "sweep" else argv)
        assert result.exit_code == 0, result.output
        return tuple((path.name, path.read_bytes()) for path in sorted(Path(folder).iterdir()))
