"""The floors of the house (docs/architecture.md): no import climbs, and only `minisim.x` is imported."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.paths import ROOT

MAY_IMPORT = {
    "src/minisim": {"minisim"},
    "compiler": {"minisim.compiler", "minisim.hwmodel.isa", "minisim.hwmodel.config", "minisim.hwmodel.cost"},
    "reports": {"minisim.reports", "minisim.hwmodel"},
    "hwmodel": {"minisim.hwmodel", "minisim._engine"},  # the same floor: docs/adr/0012, 0019
    "configs": set(),
}
"""What each room may import of minisim, beside the leaves."""

LEAVES = {"minisim.errors", "minisim.difference"}
"""Files of the top floor that any room may import: they themselves import nothing of minisim."""

FILES = [(room, path) for room in MAY_IMPORT for path in sorted((ROOT / room).rglob("*.py"))]


def imports(path: Path) -> Iterator[str]:
    """The modules that a file imports, at its top or anywhere below, with the names taken from them."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize(("room", "path"), FILES, ids=lambda value: str(value).removeprefix(f"{ROOT}/"))
def test_no_import_climbs(room: str, path: Path) -> None:
    for name in imports(path):
        assert name.split(".")[0] not in MAY_IMPORT, f"{name}: import minisim.{name}"
        if name.split(".")[0] == "minisim":
            allowed = MAY_IMPORT[room] | LEAVES
            assert any(f"{name}.".startswith(f"{floor}.") for floor in allowed), f"{path}: {name}"


def test_leaves_import_nothing_of_minisim() -> None:
    for name in LEAVES:
        found = list(imports(ROOT / "src" / f"{name.replace('.', '/')}.py"))
        assert found and not [other for other in found if other.split(".")[0] == "minisim"]


BINDING = {"bindings.cpp", "bindings_dram.hpp", "bindings_timing.hpp", "arrays.hpp", "docstrings.hpp",
           "docstrings_dram.hpp", "docstrings_timing.hpp"}  # fmt: skip
"""The files of the engine that may know Python; the core includes none of them."""


def test_the_core_of_the_engine_knows_no_python() -> None:
    sources = [path for path in (ROOT / "engine_cpp").rglob("*") if path.suffix in (".cpp", ".hpp")]
    core = [path for path in sources if path.name not in BINDING]
    assert len(core) < len(sources)
    for path in core:
        included = re.findall(r'#\s*include\s*[<"]([^">]+)', path.read_text("utf-8"))
        assert not [name for name in included if name.startswith(("Python.h", "pybind11/")) or name in BINDING], path
