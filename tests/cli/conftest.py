"""What the tests of the command line share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from minisim.cli import main

Minisim = Callable[..., Result]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, which is the current one, so that messages have short paths."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def minisim(folder: Path) -> Minisim:
    """Call the command in this process; `code` is the exit code it must end with."""

    def call(*argv: str, code: int = 0) -> Result:
        result = CliRunner().invoke(main, argv)
        assert result.exit_code == code, result.output
        return result

    return call
