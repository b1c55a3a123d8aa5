"""What all tests share: the `support` package, one hypothesis profile, and golden files."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

import hypothesis
import pytest

os.environ["MINISIM_CACHE"] = "off"  # what a test decides, it decides itself

sys.path.insert(0, str(Path(__file__).parent))  # so that tests of all folders can `from support.graphs import ...`

from support.golden import Golden
from support.paths import GOLDEN

# Derandomized: a suite that fails does so every time; fewer examples than usual, as there are hundreds of properties.
# For a hunt: --hypothesis-profile=hunt
hypothesis.settings.register_profile("minisim", derandomize=True, deadline=None, print_blob=True, max_examples=60)
hypothesis.settings.register_profile("hunt", deadline=None, print_blob=True, max_examples=5000)
hypothesis.settings.load_profile("minisim")


# What thousands of tests and their modules are made of stays: it is not looked through for garbage again and again.
gc.set_threshold(10_000, 10, 10)


def pytest_collection_finish() -> None:
    gc.freeze()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite the files in tests/golden")


@pytest.fixture(autouse=True)
def _no_waiting_for_disks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody cuts the power of a test, and some disks take a second to answer."""
    monkeypatch.setattr("minisim.sweeps.ledger.SYNCHRONOUS", "OFF")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """Compares text with a file of tests/golden, or rewrites that with --update-golden."""
    return Golden(GOLDEN, update=bool(request.config.getoption("--update-golden")))
