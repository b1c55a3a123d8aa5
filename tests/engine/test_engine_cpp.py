"""The C++ tests of the core, built with the address and undefined-behaviour sanitizers."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def call(*command: str | Path) -> str:
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.skipif(shutil.which("cmake") is None, reason="cmake is not installed")
def test_cpp_tests_pass_under_the_sanitizers(tmp_path):
    options = ("-DMINISIM_SANITIZE=ON", "-DMINISIM_BUILD_PYTHON=OFF", "-DMINISIM_BUILD_TESTS=ON")
    call("cmake", "-S", ROOT, "-B", tmp_path, "-DCMAKE_BUILD_TYPE=RelWithDebInfo", *options)
    built = call("cmake", "--build", tmp_path, "--parallel", "2")
    assert "warning:" not in built
    report = call(shutil.which("ctest") or "ctest", "--test-dir", tmp_path, "--output-on-failure")
    assert "100% tests passed, 0 tests failed out of 8" in report
