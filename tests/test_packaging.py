"""What is installed is complete: types, presets, the command. A tree of symbolic links is not installed."""

from __future__ import annotations

import os
import re
import subprocess
import sysconfig
import tomllib
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from support.paths import ROOT

import minisim

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
PACKAGE = Path(minisim.__file__).parent

pytestmark = pytest.mark.skipif(
    any(path.is_symlink() for path in (PACKAGE, *PACKAGE.iterdir())), reason="runs from a tree of links"
)


@pytest.fixture
def installed() -> Distribution:
    return distribution("minisim-npu")


def test_the_installed_package_is_the_one_under_test(installed: Distribution) -> None:
    assert Path(str(installed.locate_file("minisim"))).samefile(PACKAGE)


def test_the_version_is_the_projects(installed: Distribution) -> None:
    assert installed.version == PROJECT["version"] == minisim.__version__


@pytest.mark.parametrize("name", ["py.typed", "_engine.pyi"])
def test_types_ship(name: str, installed: Distribution) -> None:
    assert (PACKAGE / name).is_file()
    assert f"minisim/{name}" in {str(path) for path in installed.files or ()}


def test_every_preset_ships() -> None:
    shipped = {path.name for path in (PACKAGE / "configs").glob("*.toml")}
    assert shipped == {path.name for path in (ROOT / "configs").glob("*.toml")} != set()


def test_every_module_ships() -> None:
    rooms = {"": "src/minisim", "compiler": "compiler", "hwmodel": "hwmodel", "reports": "reports"}
    for room, source in rooms.items():
        wanted = {path.relative_to(ROOT / source) for path in (ROOT / source).rglob("*.py")}
        assert all((PACKAGE / room / path).is_file() for path in wanted)


def test_everything_that_pages_are_made_of_ships() -> None:
    for folder, kind in (("templates", "html"), ("css", "css"), ("js", "js")):
        shipped = {path.name for path in (PACKAGE / "reports" / "html" / folder).glob(f"*.{kind}")}
        assert shipped == {path.name for path in (ROOT / "reports" / "html" / folder).iterdir()} != set()


def test_no_sources_of_the_engine_ship() -> None:
    assert not [path for path in PACKAGE.rglob("*") if path.suffix in (".cpp", ".hpp", ".txt")]


def test_the_command_is_installed(installed: Distribution) -> None:
    (script,) = installed.entry_points.select(group="console_scripts")
    assert (script.name, script.value) == ("minisim", "minisim_start:main")
    command = Path(sysconfig.get_path("scripts")) / f"minisim{sysconfig.get_config_var('EXE') or ''}"
    done = subprocess.run([command, "--version"], capture_output=True, text=True, check=True, cwd=os.sep)
    assert done.stdout == f"minisim, version {PROJECT['version']}\n"


def test_it_is_made_of_what_the_project_says(installed: Distribution) -> None:
    required = [line for line in installed.requires or () if "extra" not in line]
    assert sorted(line.replace(" ", "") for line in required) == sorted(PROJECT["dependencies"])


def test_actions_of_ci_are_pinned_by_their_hash() -> None:
    """A tag can be moved; beside the hash stands which version it is."""
    used = [line for file in (ROOT / ".github" / "workflows").iterdir() for line in file.read_text("utf-8").splitlines()
            if "uses:" in line]  # fmt: skip
    assert len(used) > 5
    for line in used:
        assert re.fullmatch(r"\s+(- )?uses: [\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line), line


def test_it_is_cited_in_the_version_that_it_is() -> None:
    assert f"\nversion: {PROJECT['version']}\n" in (ROOT / "CITATION.cff").read_text("utf-8")


def test_wheels_are_built_for_every_python_that_it_runs_on() -> None:
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["cibuildwheel"]
    least = PROJECT["requires-python"].removeprefix(">=").replace(".", "")
    assert tool["build"].split()[0] == f"cp{least}-*" and "minisim run" in tool["test-command"]
