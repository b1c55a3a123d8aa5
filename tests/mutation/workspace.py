"""A copy of the project in which mutants are tried, so that the work tree is never touched, whatever ends the run.

    tree/       the files that git knows: the tests run in it
    package/    the package minisim as the wheel has it, made of the tree's folders; the engine is the installed one
    records/    which test reaches which line, by file of tests (reach.py)

Mutants are written into `package`, which is made anew by the next run.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, NoReturn

import pytest

HEAVY = ("numpy", "pandas", "onnx", "onnxruntime", "pydantic", "rich.console", "rich.table", "simpy", "click.testing")
"""Modules that tests and the package import. None of them may have a plugin of pytest."""


class Outcome(NamedTuple):
    """Of a run of tests: whether all passed, and else the test that did not ("timeout", "import": no test did)."""

    passed: bool
    caught_by: str


@dataclass(frozen=True)
class Workspace:
    """The copy in `folder` of the project in `root`."""

    root: Path
    folder: Path

    @property
    def tree(self) -> Path:
        return self.folder / "tree"

    @property
    def package(self) -> Path:
        return self.folder / "package"

    def make(self) -> None:
        """Copy everything anew."""
        for old in (self.tree, self.package):
            shutil.rmtree(old, ignore_errors=True)
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
            cwd=self.root, check=True, capture_output=True, text=True,
        ).stdout.splitlines()  # fmt: skip
        for name in listed:
            if (self.root / name).is_file():
                (self.tree / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(self.root / name, self.tree / name)
        for target, source in self._mapping().items():
            shutil.copytree(self.tree / source, self.package / target, dirs_exist_ok=True)
        (engine,) = Path(sysconfig.get_path("platlib"), "minisim").glob("_engine.*.so")
        shutil.copy2(engine, self.package / "minisim")

    def _mapping(self) -> dict[str, str]:
        """Folders of the package, and of the repository: of pyproject.toml, the whole package first."""
        with (self.root / "pyproject.toml").open("rb") as file:
            found: dict[str, str] = tomllib.load(file)["tool"]["scikit-build"]["wheel"]["packages"]
        return dict(sorted(found.items()))

    def installed(self, path: str) -> Path:
        """Where a file of the repository is in the package."""
        for target, source in reversed(self._mapping().items()):
            if path.startswith(f"{source}/"):
                return self.package / target / path.removeprefix(f"{source}/")
        raise ValueError(f"{path} is not part of the package")

    def write(self, path: str, text: str) -> None:
        """Give a file of the package this text; no compiled form of another one is left."""
        target = self.installed(path)
        target.write_text(text, encoding="utf-8")
        Path(importlib.util.cache_from_source(str(target))).unlink(missing_ok=True)

    def pytest(self, arguments: Sequence[str], seconds: float, **environment: str) -> tuple[int | None, str]:
        """Run pytest in the tree on the package: its exit code (None: it took longer than `seconds`) and output.

        In a fork of this process, which has imported what is slow to import and is not mutated (HEAVY).
        """
        for name in HEAVY:
            importlib.import_module(name)
        log = self.folder / "pytest.log"
        child = os.fork()
        if not child:
            os.setsid()  # a group of its own, to end with whatever the tests start
            self._run_pytest(log, arguments, environment)
        end, code = time.monotonic() + seconds, None
        while time.monotonic() < end:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                code = os.waitstatus_to_exitcode(status)
                break
            time.sleep(0.02)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        if code is None:
            os.waitpid(child, 0)
        return code, log.read_text("utf-8", "replace")

    def _run_pytest(self, log: Path, arguments: Sequence[str], environment: dict[str, str]) -> NoReturn:
        """What the child does."""
        code = 1
        try:
            file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            for stream in (1, 2):
                os.dup2(file, stream)
            os.chdir(self.tree)
            here = str(Path(__file__).parent)
            os.environ.update(environment, PYTHONPATH=os.pathsep.join([str(self.package), here]))
            sys.path.insert(0, str(self.package))
            code = int(pytest.main(["-q", "-p", "no:cacheprovider", "-p", "plugin", "--rootdir=.", *arguments]))
        finally:
            sys.stdout.flush()
            os._exit(code)

    def run(self, tests: Sequence[str], seconds: float) -> Outcome:
        """Run these tests in this order until one fails, or for so many seconds."""
        only = self.folder / "only.txt"
        only.write_text("\n".join(tests), encoding="utf-8")
        files = sorted({test.partition("::")[0] for test in tests})
        code, output = self.pytest(["-x", "--tb=no", f"--only={only}", *files], seconds)
        if code == 0:
            return Outcome(True, "")
        if code is None:
            return Outcome(False, "timeout")
        if code == pytest.ExitCode.NO_TESTS_COLLECTED:
            raise RuntimeError(f"none of {len(tests)} tests was found")
        failed = [line.split(" ", 1)[1] for line in output.splitlines() if line.startswith(("FAILED ", "ERROR "))]
        return Outcome(False, failed[0].split(" - ")[0] if failed and "::" in failed[0] else "import")
