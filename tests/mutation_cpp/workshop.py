"""Where mutants are built and tested: objects that exist are reused, and the work tree is never touched.

Everything is built once, without optimisation. A mutant then costs the objects that depend on its file, one
link of all C++ tests, and, if those do not catch it, one link of the extension module and the Python tests.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pybind11

import minisim

from .mutants import ROOT, Mutant

BUILD = ROOT / "build" / "mutation_cpp"
WORK = BUILD / f"mutant-{os.getpid()}"  # several runs may go on at once
TIMING = ("timing", "burst_port", "in_flight", "dram", "memory", "l2", "noc")
"""What the names of files of the event model and of its DRAM begin with (behind `bindings_`, too)."""
TIMING_TESTS = ["tests/compiler/test_pinned.py", "tests/hwmodel/test_dram_twin.py", "tests/hwmodel/test_native.py"]
COMPILING = ("panels", "walk", "uops", "place", "candidates", "grown", "recurrence")
"""The same of what the compiler calls."""
COMPILING_TESTS = [
    "tests/test_told_small.py",
    "tests/compiler/test_golden.py",
    "tests/compiler/test_pinned.py",
    "tests/hwmodel/test_recurrence.py",
]
ENGINE_TESTS = ["tests/engine"]
NOT_NEEDED = ["tests/engine/test_engine_cpp.py", "tests/engine/test_engine_threads.py"]
SLOW = 6  # times as long as without the fault: it hangs


@dataclass(frozen=True)
class Unit:
    """One object file: the command that makes it, but for its output, and the files it is made of."""

    target: str  # minisim_core, test_all or _engine
    source: Path
    command: tuple[str, ...]
    made: Path
    parts: frozenset[Path]


class Workshop:
    """Builds and runs. Raises CalledProcessError if the sources as they are do not build and pass."""

    def __init__(self) -> None:
        BUILD.mkdir(parents=True, exist_ok=True)
        options = [
            "-DCMAKE_BUILD_TYPE=Debug",
            "-DCMAKE_CXX_FLAGS_DEBUG=-O0 -D_GLIBCXX_ASSERTIONS",
            "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON",
        ]
        options += ["-DMINISIM_BUILD_TESTS=ON", f"-DPython_EXECUTABLE={sys.executable}"]
        options += [f"-Dpybind11_DIR={pybind11.get_cmake_dir()}"]
        run("cmake", "-S", str(ROOT), "-B", str(BUILD), "-G", "Ninja", *options)
        run("cmake", "--build", str(BUILD), "--target", "test_all", "_engine")
        self.units = units()
        self.stage = staged()
        self.times: dict[str, float] = {}
        failure = self.cpp_tests(BUILD / "engine_cpp" / "tests" / "test_all")
        for tests in (TIMING_TESTS, COMPILING_TESTS, ENGINE_TESTS):
            failure = failure or self.python_tests(self.module, tests)
        if failure:
            raise SystemExit(f"the tests fail without any fault: {failure}")

    @property
    def module(self) -> Path:
        return next(BUILD.glob("_engine*.so"))

    def verdict(self, mutant: Mutant) -> str:
        """What became of a mutant: "invalid" (it does not compile), "same" (as objects, optimised), "survived", or
        who caught it."""
        work = WORK / "fault"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        source = work / mutant.file
        source.parent.mkdir(parents=True)
        for beside in (ROOT / mutant.file).parent.iterdir():  # an include is looked for beside the file that has it
            (source.parent / beside.name).symlink_to(beside)
        source.unlink()
        source.write_text(mutant.source())
        objects = self._compiled(mutant, source, ("minisim_core", "test_all"), work)
        if objects is None:
            return "invalid"
        tests = work / "tests"
        if objects:
            if not self._linked(objects, ("minisim_core", "test_all"), tests, []):
                return "invalid"
            failure = self.cpp_tests(tests)
            if failure:
                return failure
        bindings = self._compiled(mutant, source, ("_engine",), work)
        if bindings is None:
            return "invalid"
        module = work / self.module.name
        if not self._linked({**objects, **bindings}, ("minisim_core", "_engine"), module, ["-shared"]):
            return "invalid"
        name = Path(mutant.file).name.removeprefix("bindings_").removeprefix("docstrings_")
        failure = self.python_tests(module, tests_of(name))
        return failure or ("same" if same_when_optimised(self.units, mutant, source) else "survived")

    def cpp_tests(self, program: Path) -> str | None:
        """What the C++ tests say against a program, if anything."""
        return self._failure("c++", [str(program), "--stop"], {})

    def python_tests(self, module: Path, tests: list[str]) -> str | None:
        """What the Python tests say against an extension module, if anything."""
        link = self.stage / "minisim" / module.name
        link.unlink(missing_ok=True)
        link.symlink_to(module)
        ignored = [f"--ignore={name}" for name in NOT_NEEDED]
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-n0", "-p", "no:cacheprovider", *ignored, *tests]
        return self._failure("python", command, {"PYTHONPATH": str(self.stage)})

    def _failure(self, kind: str, command: list[str], environment: dict[str, str]) -> str | None:
        which = f"{kind} {command[-1]}" if kind == "python" else kind
        first = which not in self.times
        limit = 600.0 if first else max(15.0, SLOW * self.times[which])
        before = os.times()
        try:
            done = subprocess.run(
                command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, timeout=limit, check=False
            )
        except subprocess.TimeoutExpired:
            return f"{kind} (hangs)"
        if first:
            self.times[which] = os.times().elapsed - before.elapsed
        if first and done.returncode:
            sys.stderr.write(done.stdout.decode(errors="replace") + done.stderr.decode(errors="replace"))
        return kind if done.returncode else None

    def _compiled(self, mutant: Mutant, source: Path, targets: tuple[str, ...], work: Path) -> dict[Path, Path] | None:
        """The objects that differ, by what they replace; None if one does not compile."""
        touched = [u for u in self.units if u.target in targets and (ROOT / mutant.file) in u.parts]
        objects: dict[Path, Path] = {}
        for unit in touched:
            output = work / f"{unit.target}-{unit.source.name}.o"
            if not compiled(unit, mutant, source, output):
                return None
            objects[unit.made] = output
        return objects

    def _linked(self, objects: dict[Path, Path], targets: tuple[str, ...], output: Path, flags: list[str]) -> bool:
        inputs = [str(objects.get(u.made, u.made)) for u in self.units if u.target in targets]
        command = ["c++", *flags, "-pthread", *inputs, "-o", str(output)]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0


def tests_of(name: str) -> list[str]:
    """The Python tests that a file of this name is tried with."""
    if name.startswith(TIMING):
        return TIMING_TESTS
    return COMPILING_TESTS if name.startswith(COMPILING) else ENGINE_TESTS


def same_when_optimised(units: list[Unit], mutant: Mutant, source: Path) -> bool:
    """True if an optimising compiler makes the same of both: then no test could tell."""
    touched = [unit for unit in units if ROOT / mutant.file in unit.parts and unit.target != "test_all"]
    for unit in touched:
        one, other = WORK / "one.o", WORK / "other.o"
        made = compiled(unit, None, None, one, "-O2") and compiled(unit, mutant, source, other, "-O2")
        if not made or one.read_bytes() != other.read_bytes():
            return False
    return bool(touched)


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{shlex.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout


def compiled(unit: Unit, mutant: Mutant | None, source: Path | None, output: Path, *flags: str) -> Path | None:
    """The object of a unit, with a fault or without, if it compiles."""
    file = unit.source
    command = list(unit.command)
    if mutant and source:
        if (ROOT / mutant.file).parent == unit.source.parent:
            file = source.parent / unit.source.name
        # a header is found before the one that it stands for, by "minisim/x.hpp" as well as beside the source
        command[1:1] = ["-I", str(WORK / "fault" / "engine_cpp" / "include"), "-iquote", str(source.parent)]
    command += [*flags, "-w", "-o", str(output), "-c", str(file)]
    done = subprocess.run(command, cwd=BUILD, capture_output=True, check=False)
    return output if done.returncode == 0 else None


def units() -> list[Unit]:
    """All object files of the build, from its compile commands and ninja's dependencies."""
    parts: dict[Path, frozenset[Path]] = {}
    for block in run("ninja", "-C", str(BUILD), "-t", "deps").split("\n\n"):
        head, *files = block.split("\n")
        if ": #deps" in head:
            made = BUILD / head.split(": #deps")[0]
            parts[made] = frozenset((BUILD / f.strip()).resolve() for f in files if f.strip())
    found = []
    for entry in json.loads((BUILD / "compile_commands.json").read_text()):
        words = shlex.split(entry["command"])
        made = BUILD / words[words.index("-o") + 1]
        target = made.relative_to(BUILD).as_posix().split("CMakeFiles/")[1].split(".dir")[0]
        if target not in ("minisim_core", "test_all", "_engine"):
            continue
        command = tuple(words[: words.index("-o")])
        found.append(Unit(target, Path(entry["file"]).resolve(), command, made, parts[made]))
    return found


def staged() -> Path:
    """A folder with the package as it is installed, but for the extension module."""
    stage = WORK / "stage"
    package = stage / "minisim"
    shutil.rmtree(stage, ignore_errors=True)
    package.mkdir(parents=True)
    for entry in Path(str(minisim.__file__)).parent.iterdir():
        if not entry.name.startswith(("_engine.cpython", "_engine.so")):
            (package / entry.name).symlink_to(entry)
    return stage
