"""Ctrl-C, kill -9 of a sweep, and memory that runs out: a line, an exit code, and nothing that goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from minisim.stopped import stops_told

SOON_S = 5.0
"""For the end of a process that is interrupted: a second, and four for a machine that is busy with other tests. What is
interrupted here takes half a minute at least."""

RUN = "from minisim.cli import main; main()"
LONG = {
    "compile": [RUN, "run", "softmax:200000x3", "--set", "tile.m=1", "--no-numerics"],
    "simulate": [RUN, "run", "gemm:8192x4096x2048", "--no-numerics"],
    "one kernel": [
        "import numpy as np\nfrom minisim._engine import matmul\nx = np.ones((4096, 4096), np.float32)\n"
        "print('begun', flush=True)\nfrom minisim.stopped import stops_told\n"
        "with stops_told(): matmul(x, x, 'reference')"
    ],
    "an engine": [
        "import numpy as np, minisim as ms\nr = ms.Runtime('gemm:2048x2048x2048', kernel='reference')\n"
        "r.set('a', np.ones((2048, 2048)))\nprint('begun', flush=True)\nfrom minisim.stopped import stops_told\n"
        "with stops_told(): r.execute()"
    ],
    "sweep": [RUN, "sweep", "gemm:8192x8192x1024", "--no-numerics", "--jobs", "2", "--param", "sram.bytes=256KiB,1MiB"],
}  # fmt: skip
RESUME = "minisim: 0 of 2 points are kept; to go on: minisim sweep --resume --out out\n"


def start(argv: list[str], folder: Path) -> subprocess.Popen[str]:
    # a group of its own: a Ctrl-C at a terminal goes to all of it
    return subprocess.Popen([sys.executable, "-c", *argv], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            text=True, start_new_session=True)  # fmt: skip


def members(group: int) -> list[int]:
    """The processes of a group that have not ended."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, pgrp = stat.read_text().rpartition(")")[2].split()[:3]
        except OSError:  # it ended meanwhile
            continue
        if int(pgrp) == group and state != "Z":
            found.append(int(stat.parent.name))
    return found


def assert_gone(group: int) -> None:
    until = time.perf_counter() + SOON_S
    while members(group) and time.perf_counter() < until:
        time.sleep(0.05)
    assert not members(group)


def wait_until_busy(process: subprocess.Popen[str], argv: list[str]) -> None:
    if argv[0] != RUN:
        assert process.stdout is not None
        process.stdout.readline()
    until = time.perf_counter() + 60
    while "sweep" in argv and len(members(process.pid)) < 3 and time.perf_counter() < until:
        time.sleep(0.1)  # the parent plans before it starts its workers
    time.sleep(1 if argv[0] != RUN or "sweep" in argv else 5)
    assert process.poll() is None, "it must be at work when it is interrupted"


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such signal there")
def test_a_sweep_that_is_told_to_end_is_one_line_and_143(tmp_path: Path) -> None:
    process = start(LONG["sweep"], tmp_path)
    wait_until_busy(process, LONG["sweep"])
    process.terminate()
    _, err = process.communicate(timeout=SOON_S)
    assert (process.returncode, err) == (143, f"{RESUME}minisim: terminated\n")
    assert_gone(process.pid)


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="there is no such signal there")
@pytest.mark.parametrize("nohup", [False, True])
def test_a_terminal_that_closes_ends_a_command_but_with_nohup(nohup: bool) -> None:
    with signals_as_before(signal.SIGHUP):
        signal.signal(signal.SIGHUP, signal.SIG_IGN if nohup else signal.SIG_DFL)
        ended = False
        try:
            with stops_told():
                signal.raise_signal(signal.SIGHUP)
        except SystemExit as e:
            ended = e.code == 129
        assert ended == (not nohup)
        assert signal.getsignal(signal.SIGHUP) == (signal.SIG_IGN if nohup else signal.SIG_DFL)


@contextmanager
def signals_as_before(number: signal.Signals) -> Iterator[None]:
    before = signal.getsignal(number)
    try:
        yield
    finally:
        signal.signal(number, before)


@pytest.mark.parametrize("what", LONG)
@pytest.mark.parametrize("whole_group", [False, True])
def test_ctrl_c_is_one_line_and_130(what: str, whole_group: bool, tmp_path: Path) -> None:
    if whole_group and what != "sweep":
        pytest.skip("only a sweep has other processes")
    process = start(LONG[what], tmp_path)
    wait_until_busy(process, LONG[what])
    began = time.perf_counter()
    (os.killpg if whole_group else os.kill)(process.pid, signal.SIGINT)
    try:
        _, err = process.communicate(timeout=SOON_S)
    finally:
        process.kill()
    took = time.perf_counter() - began
    assert (process.returncode, err) == (130, f"{RESUME if what == 'sweep' else ''}minisim: interrupted\n"), took
    assert_gone(process.pid)
    assert [path.name for path in tmp_path.rglob("*.*")] == (["ledger.sqlite"] if what == "sweep" else [])


WHILE_IMPORTING = """import os, signal, sys
class Interrupts:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupts())
"""
FROM_THE_START = ["minisim", "numpy", "minisim.cli", "minisim.reports.tables"]


@pytest.mark.parametrize("module", FROM_THE_START)
def test_ctrl_c_is_one_line_even_while_the_command_is_imported(module: str, tmp_path: Path) -> None:
    script = WHILE_IMPORTING.format(module=module) + "from minisim_start import main\nmain()\n"
    process = start([script, "run", "gemm:8x8x8"], tmp_path)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "minisim: interrupted\n")


@pytest.mark.parametrize("module", [*FROM_THE_START[1:], "importlib.metadata"])
def test_ctrl_c_is_one_line_even_while_the_module_is_imported(module: str, tmp_path: Path) -> None:
    """``python -m minisim`` imports the package first: what Python itself runs at its start sends the signal."""
    (tmp_path / "sitecustomize.py").write_text(WHILE_IMPORTING.format(module=module))
    path = os.pathsep.join((str(tmp_path), os.environ.get("PYTHONPATH", "")))
    done = subprocess.run(
        [sys.executable, "-m", "minisim", "run", "gemm:8x8x8"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (130, "minisim: interrupted\n")


WHILE_A_WORKER_STARTS = """import os, signal, threading, time
from multiprocessing import util
begin = util.spawnv_passfds
def interrupted(path, argv, descriptors):
    pid = begin(path, argv, descriptors)
    if any("spawn_main" in str(word) for word in argv):
        os.kill(os.getpid(), signal.SIGINT)  # it comes to the other thread, whatever the main one has blocked
        time.sleep(0.2)
    return pid
util.spawnv_passfds = interrupted
threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
from minisim.cli import main
main()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="processes begin otherwise there")
def test_ctrl_c_is_one_line_even_while_a_worker_starts(tmp_path: Path) -> None:
    argv = ["sweep", "gemm:64x64x64", "--param", "tile.m=8,16,32", "--jobs", "2"]
    process = start([WHILE_A_WORKER_STARTS, *argv], tmp_path)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, f"{RESUME.replace('2', '3')}minisim: interrupted\n")
    assert_gone(process.pid)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="the processes of a group are listed there")
def test_a_killed_sweep_leaves_no_worker(tmp_path: Path) -> None:
    process = start(LONG["sweep"], tmp_path)
    wait_until_busy(process, LONG["sweep"])
    assert len(members(process.pid)) >= 3  # itself and two workers
    process.kill()
    process.communicate()
    assert_gone(process.pid)


BELOW = "import resource\nimport minisim.reports, minisim.what_if\nfrom minisim.cli import main\n" \
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n" \
        "resource.setrlimit(resource.RLIMIT_AS, (used + {more} * 2**20,) * 2)\nmain()"  # fmt: skip


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited by RLIMIT_AS")
@pytest.mark.parametrize(
    ("more", "argv"),
    [
        (64, ["run", "gemm:4096x4096x4096"]),  # numpy, as weights are drawn
        (64, ["run", "gemm:64x64x64", "--set", "sram.bytes=1GiB"]),  # the engine: std::bad_alloc
        (24, ["run", "gemm:4096x2048x1024", "--no-numerics"]),  # Python's own objects, in the compiler
        (64, ["run", "big.py"]),
    ],
)
def test_out_of_memory_is_one_line_and_71(more: int, argv: list[str], tmp_path: Path) -> None:
    big = "import numpy as np\ndef model():\n    return np.ones((10**5, 10**4))\n"
    (tmp_path / "big.py").write_text(big)
    done = subprocess.run(
        [sys.executable, "-c", BELOW.format(more=more), *argv], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 71, done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("minisim: out of memory")
    assert not (tmp_path / "out").exists()
