"""Small faults in the engine's sources, one line each, by the rules of universalmutator."""

from __future__ import annotations

import contextlib
import io
import random
import re
import subprocess
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from universalmutator import mutator  # type: ignore[import-untyped]

ROOT = Path(__file__).parents[2]
ENGINE = ROOT / "engine_cpp"
RULES = ["universal.rules", "c_like.rules", "cpp.rules"]
NO_CODE = "docstrings"
"""What the names of files begin with in which there is none."""
SPACE = re.compile(r"\s+")


@dataclass(frozen=True)
class Mutant:
    """Line `line` (from 1) of `file` (relative to the root) is `after` instead of `before`."""

    file: str
    line: int
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}\n  - {self.before.strip()}\n  + {self.after.strip()}"

    @property
    def key(self) -> tuple[str, str, str]:
        """Itself, whatever moved around it."""
        return self.file, squeezed(self.before), squeezed(self.after)

    def source(self) -> str:
        """The whole file with the fault in it."""
        lines = (ROOT / self.file).read_text().splitlines(keepends=True)
        lines[self.line - 1] = self.after
        return "".join(lines)


def squeezed(text: str) -> str:
    return SPACE.sub(" ", text.strip())


def sources(names: list[str], changed: str | None) -> list[Path]:
    """The engine's files: all, those in the named files and folders, or those that differ from a branch."""
    found = sorted(
        p for p in (*ENGINE.glob("src/*.?pp"), *ENGINE.glob("include/**/*.hpp")) if not p.name.startswith(NO_CODE)
    )
    if names:
        wanted = [(ROOT / name).resolve() for name in names]
        found = [p for p in found if any(p == w or w in p.parents for w in wanted)]
    if changed:
        diff = ["git", "-C", str(ROOT), "diff", "--name-only", changed]
        listed = set(subprocess.run(diff, check=True, capture_output=True, text=True).stdout.split())
        found = [p for p in found if str(p.relative_to(ROOT)) in listed]
    return found


def mutants_of(path: Path) -> list[Mutant]:
    """All faults of one file, without those that only change spaces or comments."""
    lines = path.read_text().splitlines(keepends=True)
    with contextlib.redirect_stdout(io.StringIO()):
        made = mutator.mutants_regexp(lines, ruleFiles=RULES, ignorePatterns=[])
    found: dict[tuple[int, str], Mutant] = {}
    for line, after, *_ in made:
        before = lines[line - 1]
        code = squeezed(before.split("//")[0])
        if code and code != squeezed(after.split("//")[0]):
            found[line, squeezed(after)] = Mutant(str(path.relative_to(ROOT)), line, before, after)
    return list(found.values())


def drawn(paths: list[Path], seed: int) -> Iterator[Mutant]:
    """Faults of all files in an order that the seed decides, at most one for each line."""
    order = [mutant for path in paths for mutant in mutants_of(path)]
    random.Random(seed).shuffle(order)
    seen: set[tuple[str, int]] = set()
    for mutant in order:
        if (mutant.file, mutant.line) in seen:
            continue
        kept = yield mutant
        if kept is not False:
            seen.add((mutant.file, mutant.line))


def equivalents() -> dict[tuple[str, str, str], str]:
    """Faults that nobody could tell from the right code, and why: from equivalent.toml."""
    with (Path(__file__).parent / "equivalent.toml").open("rb") as file:
        listed = tomllib.load(file).get("equivalent", [])
    return {(x["file"], squeezed(x["before"]), squeezed(x["after"])): x["reason"] for x in listed}
