"""A plugin of pytest for the mutation run: runs the tests of a list in its order, and tells how long each took.

`--only FILE` has a test's id in each line; `--times FILE` becomes a JSON object of seconds by the ids of all tests that
passed. Memory is limited, since a mutant may ask for any amount of it, and so are the examples of a property: a fault
that the first of them do not show is mostly not shown by the rest, which take the time of many other tests.
"""

from __future__ import annotations

import json
import resource
from pathlib import Path

import hypothesis
import pytest

MOST_MEMORY = 8 * 2**30
MOST_EXAMPLES = 12


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--only", type=Path)
    parser.addoption("--times", type=Path)


def pytest_configure(config: pytest.Config) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    config.pluginmanager.register(Times(config.getoption("--times")))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        _shorten(item)
    if path := config.getoption("--only"):
        place = {nodeid: i for i, nodeid in enumerate(path.read_text("utf-8").splitlines())}
        items[:] = sorted((x for x in items if x.nodeid in place), key=lambda item: place[item.nodeid])


def _shorten(item: pytest.Item) -> None:
    """Give a property MOST_EXAMPLES at most. Where hypothesis keeps a test's settings is no part of its documentation,
    but its own plugin of pytest reads them there, too."""
    test = getattr(item, "obj", None)
    found = getattr(test, "_hypothesis_internal_use_settings", None)
    if found and found.max_examples > MOST_EXAMPLES:
        test = getattr(test, "__func__", test)
        test._hypothesis_internal_use_settings = hypothesis.settings(found, max_examples=MOST_EXAMPLES)


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
