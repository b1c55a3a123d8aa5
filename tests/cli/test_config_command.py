"""minisim config list, show, check; the version; the help."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import pytest

import minisim as ms
from minisim.cli import main
from minisim.hwmodel.config import Machine, keys, presets
from minisim.hwmodel.reference import WIDTH, range_of


def test_list_has_a_line_for_each_preset(minisim: Any) -> None:
    lines = minisim("config", "list").stdout.splitlines()
    assert [line.split()[0] for line in lines] == presets()
    for line, machine in zip(lines, map(Machine.load, presets()), strict=True):
        matrix = machine.matrix
        arrays = f" {matrix.arrays} x " if matrix.arrays > 1 else " "
        assert f"{arrays}{matrix.rows}x{matrix.cols} {matrix.dtype} " in line
        assert machine.flat()["sram.bytes"] in line and machine.flat()["dram.bandwidth"] in line


@pytest.mark.parametrize("name", presets())
def test_show_prints_a_machine_file_that_loads_as_that_machine(name: str, minisim: Any, folder: Path) -> None:
    (folder / "shown.toml").write_text(minisim("config", "show", name, "--set", "tile.m=48").stdout)
    assert Machine.load("shown.toml") == Machine.load(name, ["tile.m=48"])


def test_show_has_the_edges_in_force_as_comments(minisim: Any) -> None:
    lines = minisim("config", "show", "--set", "matrix.rows=64", "--set", "tile.n=48").stdout.splitlines()
    assert lines[lines.index("[tile]") + 1 :][:3] == [
        "# m = 64  # not written: follows the array", "# k = 64  # not written: follows the array", "n = 48",
    ]  # fmt: skip
    text = minisim("config", "show", "--set", "matrix.model=scalesim").stdout
    assert "# m = 32  # not written: a matmul's follow its layer, others the array\n" in text


def test_show_without_a_name_shows_the_reference_machine(minisim: Any) -> None:
    assert minisim("config", "show").stdout == Machine().to_toml()


@pytest.mark.parametrize("name", presets())
def test_the_commented_form_explains_every_key_and_loads_as_that_machine(name: str, minisim: Any, folder: Path) -> None:
    text = minisim("config", "show", "--commented", name, "--set", "tile.m=48").stdout
    (folder / "start.toml").write_text(text)
    assert Machine.load("start.toml") == Machine.load(name, ["tile.m=48"])
    assert minisim("config", "check", "start.toml").stdout == "start.toml: ok\n"
    assert max(map(len, text.splitlines())) <= WIDTH
    words = " ".join(text.replace("\n# ", " ").split())
    for key, field in keys().items():
        assert f"{field.description} ({range_of(field)})" in words, key


def test_the_commented_form_reads_as_a_file_does(minisim: Any) -> None:
    text = minisim("config", "show", "--commented", "npu_32x32").stdout
    assert text.startswith(
        '# for reports (any text of one line)\nname = "npu_32x32"\n\n[clock]\n\n'
        '# core clock; every cycle count is in its cycles (1MHz to 100000MHz)\nfrequency = "1000MHz"\n'
    )
    assert (
        "\n\n# elements: rows of A and C per tile; not written, it follows the array, or is what the compiler\n"
        "# finds better (compiler.effort) (1 to 4096)\n# m = 32  #" in text in text
    )


def test_show_keys_explains_every_key(minisim: Any) -> None:
    lines = minisim("config", "show", "edge_8x8", "--keys").stdout.splitlines()
    values = Machine.load("edge_8x8").flat()
    assert [line.split()[:2] for line in lines] == [[key, str(values[key])] for key in keys()]
    assert all(line.endswith(field.description) for line, field in zip(lines, keys().values(), strict=True))


def test_check_says_which_files_are_fine(minisim: Any, folder: Path) -> None:
    (folder / "good.toml").write_text("[tile]\nm = 8\n")
    (folder / "bad.toml").write_text("[tile]\nm = 0\n")
    result = minisim("config", "check", "good.toml", "bad.toml", "edge_8x8", code=2)
    assert result.stdout == "good.toml: ok\nedge_8x8: ok\n"
    assert result.stderr == "minisim: error: bad.toml: tile.m: must be at least 1, not 0\n"
    assert minisim("config", "check", "good.toml").stderr == ""


def test_check_tells_of_keys_without_effect(minisim: Any, folder: Path) -> None:
    (folder / "hw.toml").write_text('[matrix]\ngap_cycles = 5\n[dram]\npreset = "hbm2"\n')
    (folder / "all.toml").write_text(minisim("config", "show", "npu_32x32").stdout)
    result = minisim("config", "check", "hw.toml", "all.toml", "tpu_v3")
    assert result.stdout == "hw.toml: ok\nall.toml: ok\ntpu_v3: ok\n"
    assert result.stderr.splitlines() == [
        "minisim: note: hw.toml: matrix.gap_cycles: no effect on this machine, where matrix.overlap is not 'none'",
        "minisim: note: hw.toml: dram.preset: no effect on this machine, where dram.model is 'ideal'",
    ]


DEAD = "minisim: note: dram.preset: no effect on this machine, where dram.model is 'ideal'\n"


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("run gemm:8x8x8 --set dram.preset=hbm2", DEAD),
        ("run gemm:8x8x8 --config hw.toml", DEAD),
        ("run gemm:8x8x8 --config hw.toml --set dram.model=banked", ""),
        ("explain gemm:8x8x8 --no-what-if --set dram.preset=hbm2", DEAD),
        ("sweep gemm:8x8x8 --jobs 1 --param dram.preset=hbm2,ddr4-3200", DEAD),
        ("sweep gemm:8x8x8 --jobs 1 --param dram.preset=hbm2,ddr4-3200 --param dram.model=ideal,banked", ""),
        ("run gemm:8x8x8 --config tpu_v3", ""),  # what a preset writes is not the user's
    ],
)
def test_every_command_tells_of_keys_without_effect(command: str, expected: str, minisim: Any, folder: Path) -> None:
    (folder / "hw.toml").write_text('[dram]\npreset = "hbm2"\n')
    assert minisim(*command.split()).stderr == expected


def test_the_version_is_the_packages(minisim: Any) -> None:
    assert minisim("--version").stdout == f"minisim, version {ms.__version__}\n"


def test_the_version_is_the_installed_one() -> None:
    try:
        installed = version("minisim-npu")
    except ModuleNotFoundError:
        pytest.skip("minisim-npu is not installed: this is a tree of links")
    assert ms.__version__ == installed


def test_help_lists_every_command(minisim: Any) -> None:
    text = minisim("--help").stdout
    assert isinstance(main, click.Group) and set(main.commands) == {
        "run", "explain", "sweep", "search", "compare", "report", "models", "completion", "config"
    }  # fmt: skip
    for name, command in main.commands.items():
        assert f"  {name} " in text and command.get_short_help_str(limit=30).rstrip(".") in text


def commands(group: click.Group, before: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = []
    for name, command in group.commands.items():
        found.append((*before, name))
        if isinstance(command, click.Group):
            found += commands(command, (*before, name))
    return found


@pytest.mark.parametrize("path", commands(main), ids=" ".join)
def test_every_command_and_option_has_its_help(path: tuple[str, ...], minisim: Any) -> None:
    text = minisim(*path, "-h").stdout
    command: click.Command = main
    for name in path:
        assert isinstance(command, click.Group)
        command = command.commands[name]
    assert command.help and "".join(command.help.split(".")[0].split("\n")[0].split()) in "".join(text.split())
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help and parameter.opts[0] in text


def test_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "minisim", "--version"], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == (f"minisim, version {ms.__version__}\n", "")
