"""Which tests reach which line, and how long they take: what is worth running for a mutant, and in which order.

Each file of tests is run once under coverage, with the test as its context, and again when the file changes. Where the
sources change a record stays good enough: their lines are found again by their text. A stale record can but let a
mutant survive that a test would have caught; `--fresh` makes all of them anew.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import math
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from coverage import CoverageData
from mutants import Mutant
from workspace import Workspace

UNRECORDED = ("test_anomalies.py", "test_engine_cpp.py", "test_fuzz.py")
"""Files of tests that take minutes: hundreds of random runs or processes, or builds of C++."""

ABOUT_DEFINITIONS = "tests/test_told.py"
"""Tests of tables, keys and signatures as they are defined, which run none of the lines that they tell of."""

OTHERS_LATER = 3
"""How much later those come, as doublings of their time, that have less to do with a mutant."""

SHORTEST = 0.02
"""Seconds; which tests are shorter is no matter."""


@dataclass(eq=False)
class Reach:
    """The records of all files of tests.

    Attributes:
        sources: the text of each file that is mutated, by path from the root.
        seconds: of each test that passes when nothing is mutated.
        trusted: the tests that have failed on a mutant twice, the second time alone, and passed without it.
    """

    workspace: Workspace
    sources: dict[str, str]
    seconds: dict[str, float] = field(default_factory=dict)
    trusted: set[str] = field(default_factory=set)
    _data: list[tuple[CoverageData, dict[str, str]]] = field(default_factory=list)
    _by_file: dict[str, dict[int, set[str]]] = field(default_factory=dict)

    def load(self, tell: Callable[[str], None], fresh: bool = False) -> None:
        """Read the records, and make those that are missing (all of them: `fresh`)."""
        tree, records = self.workspace.tree, self.workspace.folder / "records"
        if fresh:
            shutil.rmtree(records, ignore_errors=True)
        records.mkdir(exist_ok=True)
        now = _digest("".join(self.sources.values()).encode())
        (records / f"{now}.sources").write_text(json.dumps(self.sources), encoding="utf-8")
        used = {f"{now}.sources"}
        for path in sorted(tree.glob("tests/**/test_*.py")):
            if path.name in UNRECORDED:
                continue
            record = records / f"{path.stem}-{_digest(path.read_bytes())}.json"
            if not record.exists():
                tell(f"recording {path.relative_to(tree)}")
                seconds = self._record(path, record.with_suffix(".coverage"))
                if not seconds:
                    tell(f"no test of {path.relative_to(tree)} passes")
                    continue
                record.write_text(json.dumps({"sources": f"{now}.sources", "seconds": seconds}), encoding="utf-8")
            found = json.loads(record.read_text("utf-8"))
            self.seconds |= found["seconds"]
            if record.with_suffix(".coverage").exists():
                data = CoverageData(str(record.with_suffix(".coverage")))
                data.read()
                self._data.append((data, json.loads((records / found["sources"]).read_text("utf-8"))))
            used |= {record.name, record.with_suffix(".coverage").name, found["sources"]}
        for old in records.iterdir():
            if old.name not in used:
                old.unlink()

    def _record(self, path: Path, coverage: Path) -> dict[str, float]:
        """Run a file of tests: the seconds of those that pass, and the lines that they reach in `coverage`."""
        settings, times = self.workspace.folder / "coverage.ini", self.workspace.folder / "times.json"
        settings.write_text(f"[run]\nsource = {self.workspace.package}\n", encoding="utf-8")
        arguments = [
            "-p",
            "pytest_cov.plugin",
            f"--cov-config={settings}",
            "--cov",
            "--cov-context=test",
            "--cov-report=",
            f"--times={times}",
        ]
        file = str(path.relative_to(self.workspace.tree))
        self.workspace.pytest([*arguments, file], 3600, COVERAGE_FILE=str(coverage))
        return {str(test): float(seconds) for test, seconds in json.loads(times.read_text("utf-8")).items()}

    def tests(self, mutant: Mutant, budget: float, caught: Mapping[str, int]) -> list[str]:
        """The tests that reach a mutant, at most `budget` seconds of them: those first that have `caught` many others,
        and short ones of many kinds.

        What runs on import has no test of its own: first come those that ran lines with the name that it defines, or
        whose file has that name or imports the module, and ABOUT_DEFINITIONS; then all that ran any line of the file.
        """
        if mutant.defines is None:
            nearest, others = self._of_line(mutant), set()
        else:
            nearest = self._of_name(mutant.path, mutant.defines, set())
            others = {test for tests in self._lines(mutant.path).values() for test in tests} - nearest
            words = {f"{_module(mutant.path)} import"}
            words |= {mutant.defines} if mutant.defines else set()
            named_in = {file for file in map(_file, self.seconds) if any(word in self._text(file) for word in words)}
            named_in |= {ABOUT_DEFINITIONS}
            named = {test for test in self.seconds if _file(test) in named_in} - nearest
            nearest, others = nearest | named, others - named

        # how late each is: twice as long, behind twice as many cases of its function, or half the catch, is one later
        late = {}
        siblings: dict[str, int] = {}
        for test in sorted((test for test in nearest | others if test in self.seconds), key=self.seconds.__getitem__):
            function = test.partition("[")[0]
            siblings[function] = siblings.get(function, 0) + 1
            cost = max(self.seconds[test] / SHORTEST, 1) * siblings[function]
            late[test] = math.log2(cost / (1 + caught.get(test, 0))) + OTHERS_LATER * (test in others)
        chosen, total = [], 0.0
        for test in sorted(late, key=lambda test: (math.floor(late[test]), test)):
            if total + self.seconds[test] <= budget:
                chosen.append(test)
                total += self.seconds[test]
        return chosen

    def _of_line(self, mutant: Mutant) -> set[str]:
        """The tests that ran the line, or the nearest one before it: a statement of several lines has one that runs."""
        lines = self._lines(mutant.path)
        for line in range(mutant.line, max(0, mutant.line - 20), -1):
            if line in lines:
                return lines[line]
        return set()

    def _of_name(self, path: str, name: str, seen: set[str]) -> set[str]:
        """The tests that ran lines with `name` in them, or with names that are made of it."""
        if not name or name in seen:
            return set()
        seen.add(name)
        found: set[str] = set()
        for other, text in self.sources.items():
            if other != path and f"{_module(path)} import" not in text:
                continue  # a namesake
            mentions = [i for i, line in enumerate(text.splitlines(), 1) if re.search(rf"\b{re.escape(name)}\b", line)]
            if mentions and (other == path or not name.startswith("_")):
                lines = self._lines(other)
                found |= {test for i in mentions for test in lines.get(i, ())}
                for made in re.findall(rf"^(?: {{4}})?(\w+)\b.*=.*\b{re.escape(name)}\b", text, re.MULTILINE):
                    found |= self._of_name(other, made, seen)
        return found

    def _lines(self, path: str) -> dict[int, set[str]]:
        """The tests by line of a file."""
        if path not in self._by_file:
            found: dict[int, set[str]] = {}
            for data, sources in self._data:
                where = _moved(sources.get(path, ""), self.sources[path])
                for line, contexts in data.contexts_by_lineno(str(self.workspace.installed(path))).items():
                    tests = {context.partition("|")[0] for context in contexts if "|" in context}
                    if line in where and tests:
                        found.setdefault(where[line], set()).update(tests)
            self._by_file[path] = found
        return self._by_file[path]

    @cache  # noqa: B019  # there is one Reach
    def _text(self, file: str) -> str:
        """Of a file of tests."""
        return (self.workspace.tree / file).read_text("utf-8")


def _file(test: str) -> str:
    return test.partition("::")[0]


def _module(path: str) -> str:
    """What a file is imported as."""
    inside = path.removesuffix(".py").removesuffix("/__init__").removeprefix("src/minisim/")
    return f"minisim.{inside.replace('/', '.')}"


@cache
def _moved(old: str, new: str) -> dict[int, int]:
    """Where the lines of a text are in a later one; those that are gone are not."""
    before, after = old.splitlines(), new.splitlines()
    if before == after:
        return {i: i for i in range(1, len(before) + 1)}
    blocks = difflib.SequenceMatcher(None, before, after, autojunk=False).get_matching_blocks()
    return {a + i + 1: b + i + 1 for a, b, size in blocks for i in range(size)}


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
