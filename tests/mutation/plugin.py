"""A plugin of pytest for the mutation run: runs the tests of a list in its order, and tells how long each took.

`--only FILE` has a test's id in each line; `--times FILE` becomes a JSON object of seconds by the ids of all tests that
passed. Memory is limited, since a mutant may ask for any amount of it.
"""

from __future__ import annotations

import json
import resource
from pathlib import Path

import pytest

MOST_MEMORY = 8 * 2**30


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--only", type=Path)
    parser.addoption("--times", type=Path)


def pytest_configure(config: pytest.Config) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    config.pluginmanager.register(Times(config.getoption("--times")))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if path := config.getoption("--only"):
        place = {nodeid: i for i, nodeid in enumerate(path.read_text("utf-8").splitlines())}
        items[:] = sorted((x for x in items if x.nodeid in place), key=lambda item: place[item.nodeid])


class Times:
    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.seconds: dict[str, float] = {}
        self.bad: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0.0) + report.duration
        if not report.passed:
            self.bad.add(report.nodeid)

    def pytest_sessionfinish(self) -> None:
        if self.path:
            passed = {nodeid: t for nodeid, t in self.seconds.items() if nodeid not in self.bad}
            self.path.write_text(json.dumps(passed, indent=0), encoding="utf-8")
