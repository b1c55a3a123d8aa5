"""Mappings as a user sees and owns them: told, written, edited, given back."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

import minisim as ms
from minisim.compiler.mapping import ALL, mapping_text, read_mapping
from minisim.compiler.passes.edges import Choice
from minisim.compiler.passes.measure import NEVER, Measured
from minisim.mapping_told import print_mapping

MODEL, SMALL = "gemm:324x56x64", ("--set", "sram.bytes=24KiB")


def cycles() -> int:
    with Path("out/summary.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    return int(row["cycles_total"])


def test_the_choice_is_told_with_its_losers_and_written(minisim: Any) -> None:
    out = minisim("explain", MODEL, *SMALL, "--no-what-if", "--mapping", "--out", "out").stdout
    (edges,) = read_mapping("out/mapping.toml").values()
    line = next(line for line in out.splitlines() if line.lstrip().startswith("c  "))
    assert "x".join(map(str, edges)) in line and "out/mapping.toml" in out
    minisim("run", MODEL, *SMALL, "--no-what-if")
    assert f"{cycles():,}" in line


def test_a_mapping_that_is_edited_is_what_runs(minisim: Any) -> None:
    minisim("explain", MODEL, *SMALL, "--no-what-if", "--mapping", "--out", "out")
    Path("mine.toml").write_text(mapping_text({"c": (32, 32, 32)}))
    minisim("run", MODEL, *SMALL, "--no-what-if", "--set", "compiler.effort=0", "--mapping", "mine.toml")
    usual = cycles()
    minisim("run", MODEL, *SMALL, "--no-what-if", "--set", "compiler.effort=0")
    assert usual == cycles()
    minisim("run", MODEL, *SMALL, "--no-what-if", "--mapping", "mine.toml")
    edited = cycles()
    assert edited < usual  # of those tiles, in smaller panels
    minisim("run", MODEL, *SMALL, "--no-what-if", "--mapping", "out/mapping.toml")
    assert cycles() < 0.55 * usual
    out = minisim("explain", MODEL, *SMALL, "--no-what-if", "--mapping", "mine.toml").stdout
    assert f"{edited:,} cycles" in out and "given" in out


@pytest.mark.parametrize("model", ["gemm:20x30x50", "gemm:129x70x33", "gemm:1x300x40"])
@pytest.mark.parametrize("keys", [(), ("tile.multiple_m=8", "tile.multiple_k=24", "tile.max_n=16")])
def test_what_is_written_is_taken_back_and_takes_the_same(model: str, keys: tuple[str, ...], minisim: Any) -> None:
    """Also where a tile is as large as the array or the layer, whatever divides what may be chosen."""
    sets = [argument for key in ("sram.bytes=16KiB", *keys) for argument in ("--set", key)]
    minisim("explain", model, *sets, "--no-what-if", "--mapping", "--out", "out")
    minisim("run", model, *sets, "--no-what-if")
    chosen = cycles()
    minisim("run", model, *sets, "--no-what-if", "--mapping", "out/mapping.toml")
    assert cycles() == chosen


@pytest.mark.parametrize("sram", ["48KiB", "256KiB"])
def test_what_is_written_of_convolutions_is_taken_back(sram: str, minisim: Any) -> None:
    """Their edges are those of all that is not listed."""
    sets = ("--set", f"sram.bytes={sram}", "--no-what-if")
    out = minisim("explain", "lenet5", *sets, "--mapping", "--out", "out").stdout
    assert "all others" in out and ALL in read_mapping("out/mapping.toml")
    minisim("run", "lenet5", *sets)
    chosen = cycles()
    minisim("run", "lenet5", *sets, "--mapping", "out/mapping.toml")
    assert cycles() == chosen
    Path("mine.toml").write_text(mapping_text({ALL: (8, 8, 8)}))
    minisim("run", "lenet5", *sets, "--mapping", "mine.toml")
    assert cycles() > chosen


def test_scalesims_layers_have_no_tiles_of_all_others(minisim: Any) -> None:
    out = minisim("explain", "lenet5", "--set", "matrix.model=scalesim", "--no-what-if", "--mapping").stdout
    assert "all others" not in out


def test_a_mapping_survives_a_sweep(minisim: Any) -> None:
    """At every point whose machine has such tiles."""
    Path("mine.toml").write_text(mapping_text({"c": (24, 28, 32)}))
    minisim("sweep", MODEL, "--jobs", "1", "--param", "sram.bytes=24KiB,1MiB", "--param", "tile.max_m=16,64",
            "--mapping", "mine.toml")  # fmt: skip
    with Path("out/sweep.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["status"] for row in rows] == ["infeasible", "ok"] * 2
    assert "tile.max_m = 16" in rows[0]["reason"]
    minisim("run", MODEL, *SMALL, "--mapping", "mine.toml")
    assert cycles() == int(rows[1]["cycles_total"])


def test_what_is_said_of_other_machines_is_with_the_same_tiles(minisim: Any) -> None:
    graph, small = ms.load_model(MODEL), ms.Machine().replace("sram.bytes=24KiB")
    Path("mine.toml").write_text(mapping_text({"c": (32, 32, 32)}))
    twice = ms.run(graph, small.replace("dram.bandwidth=51.2GB/s"), numerics=False, mapping={"c": (32, 32, 32)}).cycles
    out = minisim("explain", MODEL, *SMALL, "--mapping", "mine.toml").stdout
    assert "twice the DRAM bandwidth" in out and f"{twice:,}" in out.partition("What if")[2]


def test_the_model_may_stand_behind_the_option(minisim: Any) -> None:
    out = minisim("explain", "--no-what-if", "--mapping", MODEL).stdout
    assert "also tried" in out
    minisim("explain", "--no-what-if", "--mapping", code=2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[tiles]\nC = [8, 8, 8]", "mapping: no layer 'C'"),
        ("[tiles]\nc = [8, 8]", "'c': must be m, k and n of a tile, from 1 to 4096 each, not [8, 8]"),
        ("[tiles]\nc = [8, 0, 8]", "from 1 to 4096 each, not [8, 0, 8]"),
        ("[tiles]\nc = [8, true, 8]", "from 1 to 4096 each"),
        ("[tiles]\nc = [8.0, 8, 8]", "from 1 to 4096 each"),
        ("[tiles]\nc = [8, 5000, 8]", "from 1 to 4096 each"),
        ("tiles = 3", "must map layers to their tiles' edges, not be 3"),
        ("[tile]\nc = [8, 8, 8]", "'tile': a mapping has the table 'tiles'; did you mean 'tiles'?"),
        ("[tiles", "not valid TOML"),
        ("\udcff", "not valid TOML"),
    ],
)
def test_a_mistake_in_a_mapping_is_one_message(text: str, message: str, minisim: Any) -> None:
    Path("bad.toml").write_bytes(text.encode(errors="surrogateescape"))
    for command in (("run",), ("explain",), ("sweep", "--param", "sram.bytes=64KiB")):
        result = minisim(*command, MODEL, "--mapping", "bad.toml", code=2)
        assert message in result.stderr and len(result.stderr.splitlines()) == 1
        assert not Path("out").exists()


def test_only_a_matmuls_tiles_can_be_given() -> None:
    graph = ms.load_model("softmax:20x30")
    with pytest.raises(ms.MinisimError, match=r"a Softmax's tiles cannot be given, only a matmul's"):
        ms.run(graph, numerics=False, mapping={graph.nodes[0].name: (1, 1, 1)})
    with pytest.raises(ms.MinisimError, match=r"matrix.model = 'scalesim' has tiles that follow their layers"):
        ms.run(MODEL, {"matrix.model": "scalesim"}, numerics=False, mapping={"c": (1, 1, 1)})
    with pytest.raises(ms.MinisimError, match=r"k = 28: the machine's tiles have at most .* tile.multiple_k = 24"):
        ms.run(MODEL, {"tile.multiple_k": 24}, numerics=False, mapping={"c": (32, 28, 32)})
    with pytest.raises(ms.MinisimError, match=r"mapping: must map layers"):
        ms.run(MODEL, numerics=False, mapping=[1])  # type: ignore[arg-type]


@pytest.mark.usefixtures("folder")
def test_names_of_layers_come_back_as_they_were() -> None:
    names = ["a b", 'quo"ted', "back\\slash", "line\nbreak", "ümlaut", "\x7f", "\U0001f600", "a.b/c", ""]
    Path("m.toml").write_text(mapping_text(dict.fromkeys(names, (1, 2, 3))), encoding="utf-8")
    assert read_mapping("m.toml") == dict.fromkeys(names, (1, 2, 3))


def test_a_mapping_of_too_many_operations_is_refused_before_any_is_made() -> None:
    with pytest.raises(ms.MinisimError, match=r"at least 8,589,934,592 operations"):
        ms.run("gemm:2048x2048x2048", numerics=False, mapping={"c": (1, 1, 1)})


def test_given_tiles_change_no_bits() -> None:
    graph = ms.Graph()
    x, w = graph.input("x", (50, 40)), graph.weight("w", np.random.default_rng(0).normal(size=(40, 30)))
    graph.output(graph.relu(graph.matmul(x, w, name="c")), "y")
    free, given = ms.run(graph), ms.run(graph, mapping={"c": (7, 9, 11)})
    assert set(given.schedule.tiles["rows"].tolist()) - set(free.schedule.tiles["rows"].tolist())
    assert given.output_sha256 == free.output_sha256


def test_the_table_of_choices() -> None:
    """The best three losers, by cycles; how many more there are; what cannot be there is counted, not told."""
    tried = {(8 * i, 16, 16): Measured(100.0 + i, 1, 1) for i in (5, 4, 3, 2, 1)}
    tried[8, 8, 8] = NEVER
    console = Console(file=io.StringIO(), width=90)
    print_mapping([Choice("a", (8, 16, 16), tried), Choice("b", (8, 8, 8), {})], ["b"], console)
    assert isinstance(console.file, io.StringIO)
    header, a, b, *_ = console.file.getvalue().splitlines()
    assert header.split() == ["layer", "tile", "m", "x", "k", "x", "n", "alone", "also", "tried"]
    assert a.rstrip() == "  a      8x16x16           101  16x16x16 102, 24x16x16 103, 32x16x16 104, 2 more"
    assert b.rstrip() == "  b      8x8x8           given"
