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
    "compiler": {
        "minisim.compiler",
        "minisim.hwmodel.isa",
        "minisim.hwmodel.config",
        "minisim.hwmodel.cost",
        "minisim.hwmodel.recurrence",
        "minisim.hwmodel.classes",
        "minisim.hwmodel.sparsity",  # how a weight is compressed: docs/adr/0059
        "minisim.hwmodel.packing",  # how one of 4 bits is packed: docs/adr/0075
        "minisim.hwmodel.native",  # to measure what is compiled: docs/adr/0041
        "minisim._engine.walk",  # the scheduler's: docs/adr/0036
        "minisim._engine.memory_needed",
        "minisim._engine.place_sizes",
        "minisim._engine.best_panels",  # docs/adr/0040
        "minisim._engine.panel_cycles",
        "minisim._engine.panel_fits",
        "minisim._engine.panel_keeps_a",
        "minisim._engine.panel_loads",
        "minisim._engine.panel_spare",
        "minisim._engine.walk_panels",
        "minisim._engine.PANEL_AHEAD",
        "minisim._engine.PANEL_BURSTS",
        "minisim._engine.PANEL_SKEW",
    },
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


PARTS_OF_BINDINGS = ("", "_dram", "_panels", "_timing", "_walk")
BINDING = {"bindings.cpp", "arrays.hpp"} | {
    f"{x}{part}.hpp" for x in ("bindings", "docstrings") for part in PARTS_OF_BINDINGS
}
"""The files of the engine that may know Python; the core includes none of them."""


def test_the_core_of_the_engine_knows_no_python() -> None:
    sources = [path for path in (ROOT / "engine_cpp").rglob("*") if path.suffix in (".cpp", ".hpp")]
    core = [path for path in sources if path.name not in BINDING]
    assert len(core) < len(sources)
    for path in core:
        included = re.findall(r'#\s*include\s*[<"]([^">]+)', path.read_text("utf-8"))
        assert not [name for name in included if name.startswith(("Python.h", "pybind11/")) or name in BINDING], path


def modules(room: str) -> dict[str, Path]:
    """The modules of a room by the names under which they are imported; a package is its `__init__`."""
    found = {}
    for path in sorted((ROOT / room).rglob("*.py")):
        parts = path.relative_to(ROOT / room).with_suffix("").parts
        name = [*Path(room.removeprefix("src/minisim")).parts, *parts]
        found[".".join(["minisim", *(name[:-1] if name[-1] == "__init__" else name)])] = path
    return found


def imported(path: Path, known: dict[str, Path]) -> set[str]:
    """Which of the `known` modules a file imports, also late ones and those for types alone."""
    names = {name if name in known else name.rpartition(".")[0] for name in imports(path)}
    return {name for name in names if name in known and known[name] != path}


def circle(needs: dict[str, set[str]]) -> list[str]:
    """The modules of a circle of imports, in its order; none if there is no circle."""
    done: set[str] = set()
    way: list[str] = []

    def visit(module: str) -> list[str]:
        if module in way:
            return way[way.index(module) :]
        if module in done:
            return []
        way.append(module)
        for needed in sorted(needs[module]):
            if found := visit(needed):
                return found
        done.add(way.pop())
        return []

    return next((found for module in needs if (found := visit(module))), [])


@pytest.mark.parametrize("room", ["compiler", "src/minisim"])
def test_no_imports_run_in_a_circle(room: str) -> None:
    """Also none that are late, or for types alone: what a module needs can be read from top to bottom."""
    known = modules(room)
    needs = {name: imported(path, known) for name, path in known.items()}
    assert sum(map(len, needs.values())) > len(known)
    assert circle(needs) == []


def test_a_circle_is_found() -> None:
    assert circle({"a": {"b"}, "b": {"c", "d"}, "c": set(), "d": {"b"}}) == ["b", "d"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")


def order_of_the_compiler() -> dict[str, int]:
    """The files and folders of the compiler, each with its row in the page's table."""
    rows = PAGE.partition("The\ncompiler's order is:")[2].split("\n\n")[1].splitlines()[2:]
    return {name: i for i, row in enumerate(rows) for name in re.findall(r"`([\w/]+(?:\.py|/))`", row.split("|")[2])}


def test_the_compiler_is_in_the_order_that_its_page_says() -> None:
    """A module imports what stands in its own row of the table, or above it."""
    order, room = order_of_the_compiler(), ROOT / "compiler"

    def row(path: Path) -> int:
        first, *rest = path.relative_to(room).parts
        return order[f"{first}/" if rest else first]

    known = modules("compiler")
    root = known.pop("minisim.compiler")  # it imports all operators, and nothing else
    assert list(imports(root)) == ["minisim.compiler.ops"]
    assert {path.relative_to(room).parts[0] for path in known.values()} == {name.rstrip("/") for name in order}
    for path in known.values():
        for name in imported(path, known):
            assert row(known[name]) <= row(path), f"{path}: {name}"


PAGES = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "CONTRIBUTING.md", ROOT / "README.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_files_that_a_page_names_are_there(page: Path) -> None:
    text = page.read_text("utf-8")
    named = re.findall(rf"\b((?:{'|'.join(MAY_IMPORT)}|engine_cpp|tests|benchmarks|docs)/[\w/.-]*\w\.\w+)", text)
    links = [link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link]
    missing = [name for name in named if not (ROOT / name).exists()]
    assert missing + [link for link in links if not (page.parent / link).exists()] == []
