"""The C++ tests of the core under the sanitizers: of addresses and undefined behaviour, and of threads."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TESTS = sorted((ROOT / "engine_cpp" / "tests").glob("test_*.cpp"))


def call(*command: str | Path) -> str:
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.skipif(shutil.which("cmake") is None, reason="cmake is not installed")
@pytest.mark.parametrize(
    ("sanitizer", "target", "least"), [("address", "test_all", 100), ("thread", "test_threads", 2)]
)
def test_cpp_tests_pass_under_the_sanitizers(tmp_path, sanitizer, target, least):
    """That of threads has nothing to find where there is one thread: `make sanitize-thread` runs all tests under it."""
    options = (f"-DMINISIM_SANITIZE={sanitizer}", "-DMINISIM_BUILD_PYTHON=OFF", "-DMINISIM_BUILD_TESTS=ON")
    call("cmake", "-S", ROOT, "-B", tmp_path, "-DCMAKE_BUILD_TYPE=RelWithDebInfo", *options)
    built = call("cmake", "--build", tmp_path, "--parallel", "2", "--target", target)
    assert "warning:" not in built
    report = call(tmp_path / "engine_cpp" / "tests" / target)
    sources = TESTS if target == "test_all" else [path for path in TESTS if path.stem == target]
    tests = [name for path in sources for name in re.findall(r"^TEST\((\w+)\)", path.read_text("utf-8"), re.MULTILINE)]
    assert len(tests) >= least
    assert sorted(line.split()[1] for line in report.splitlines() if line.startswith("ok ")) == sorted(tests)
