"""Files are whole or not there: through kills at any moment, full disks and other mishaps."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from textwrap import dedent

import numpy as np
import pandas as pd
import pytest

from minisim.errors import OutputError
from minisim.reports import atomic_bytes, atomic_path, output_set, write_reports, write_tables
from minisim.reports.write import TEMPORARY_PREFIX

from .conftest import Record

PRELUDE = dedent("""
    import os, resource, signal, sys
    from pathlib import Path
    import pandas as pd
    from minisim.errors import OutputError
    from minisim.reports import write_tables
    folder, number = Path(sys.argv[1]), int(sys.argv[2])
    def table(value, rows=2):
        return pd.DataFrame({"value": [value] * rows})
""")

KILLER = dedent("""
    import random, time
    rng, rows = random.Random(0), 2000
    def write(start):
        for version in range(start, 10**9):
            write_tables({"summary": table(version, 1), "layers": table(version, rows), "units": table(version, rows)}, folder)
    for i in range(number):
        child = os.fork()
        if child == 0:
            write(1000 * i + 1)
        time.sleep(rng.uniform(0, 0.03))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        found = {path.stem: pd.read_csv(path)["value"] for path in folder.glob("*.csv")}
        for name, values in found.items():
            assert len(values) == (1 if name == "summary" else rows) and values.nunique() == 1
        if "summary" in found:
            assert len(found) == 3 and len({int(values[0]) for values in found.values()}) == 1
        print("whole" if "summary" in found else "incomplete")
""")  # noqa: E501

KILLED_AT_A_MOVE = dedent("""
    moves, replace = iter(range(9)), Path.replace
    def kill_or_replace(self, target):
        if next(moves) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return replace(self, target)
    Path.replace = kill_or_replace
    write_tables({"summary": table(2), "layers": table(2), "units": table(2)}, folder)
""")

PRINTS_ERROR = dedent("""
    try:
        write_tables({"summary": table(2), "layers": table(2, 100_000)}, folder)
    except OutputError as e:
        print(e)
""")

NOBODY = dedent("""
    if os.geteuid() == 0:
        os.seteuid(65534)
    else:
        folder.chmod(0o555)
""")

SMALL_FILES = dedent("""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (number, number))
""")


def command(script: str, folder: Path, number: int = 0) -> list[str]:
    return [sys.executable, "-c", PRELUDE + script, str(folder), str(number)]


def output(script: str, folder: Path, number: int = 0) -> str:
    return subprocess.run(command(script, folder, number), capture_output=True, text=True, check=True).stdout.strip()


def temporaries(folder: Path) -> list[Path]:
    return list(folder.glob(f"{TEMPORARY_PREFIX}*"))


def table(value: int = 1, rows: int = 2) -> pd.DataFrame:
    return pd.DataFrame({"value": [value] * rows})


def test_killed_at_any_moment_no_half_report_is_left(tmp_path: Path) -> None:
    """kill -9 in mid-write: every file is whole, and where there is a summary all are of its version."""
    assert len(output(KILLER, tmp_path, 100).splitlines()) == 100  # how many are whole depends on the machine's load
    write_tables({"summary": table()}, tmp_path)
    assert not temporaries(tmp_path)


@pytest.mark.parametrize("stop", range(4))
def test_killed_between_the_moves_there_is_no_summary(stop: int, tmp_path: Path) -> None:
    """The same, at each of the moments that a random kill hardly ever meets."""
    write_tables({"summary": table(1), "layers": table(1), "units": table(1)}, tmp_path)
    ended = subprocess.run(command(KILLED_AT_A_MOVE, tmp_path, stop), check=False).returncode
    assert ended == (-signal.SIGKILL if stop < 3 else 0)
    assert (tmp_path / "summary.csv").exists() == (stop == 3)
    versions = {name: pd.read_csv(tmp_path / f"{name}.csv")["value"][0] for name in ("layers", "units")}
    assert list(versions.values()) == [2] * min(stop, 2) + [1] * (2 - min(stop, 2))


def test_a_failure_leaves_the_older_set(tmp_path: Path) -> None:
    write_tables({"summary": table(1), "layers": table(1)}, tmp_path)
    with pytest.raises(RuntimeError, match="stop"), output_set(tmp_path) as staging:  # noqa: PT012 - both in the set
        (staging / "layers.csv").write_text("half")
        raise RuntimeError("stop")
    assert pd.read_csv(tmp_path / "layers.csv")["value"].tolist() == [1, 1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["layers.csv", "summary.csv"]


def test_leftovers_of_killed_runs_are_removed(tmp_path: Path) -> None:
    (tmp_path / f"{TEMPORARY_PREFIX}1").mkdir()
    (tmp_path / f"{TEMPORARY_PREFIX}1" / "layers.csv").write_text("half")
    (tmp_path / f"{TEMPORARY_PREFIX}2.bin").write_text("half")
    (tmp_path / "mine.txt").write_text("keep")
    write_tables({"summary": table()}, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.txt", "summary.csv"]


def test_files_under_way_are_not_taken_for_leftovers(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "data.bin") as temporary:
        temporary.write_bytes(b"half")
        other = threading.Thread(target=write_tables, args=({"summary": table()}, tmp_path))
        other.start()
        time.sleep(0.05)
        assert temporary.exists()
        temporary.write_bytes(b"whole")
    other.join()
    assert (tmp_path / "data.bin").read_bytes() == b"whole"
    assert (tmp_path / "summary.csv").exists()


def test_sets_written_at_the_same_time_do_not_mix(tmp_path: Path) -> None:
    def write(version: int) -> None:
        for _ in range(10):
            write_tables({"summary": table(version), "layers": table(version, 500)}, tmp_path)

    threads = [threading.Thread(target=write, args=(version,)) for version in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    values = {path.name: set(pd.read_csv(path)["value"]) for path in tmp_path.iterdir()}
    assert values["summary.csv"] == values["layers.csv"]
    assert len(values["summary.csv"]) == 1


def test_atomic_bytes_replaces(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    atomic_bytes(path, b"one")
    atomic_bytes(path, b"two")
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o666 & ~_umask()
    assert not temporaries(tmp_path)


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask


def test_a_pipe_or_a_device_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(pipe := tmp_path / "pipe")
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    atomic_bytes(pipe, b"one")
    assert os.read(reader, 9) == b"one"
    os.close(reader)
    assert pipe.is_fifo()
    (tmp_path / "link").symlink_to(tmp_path / "a.bin")
    atomic_bytes(tmp_path / "link", b"two")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "a.bin").read_bytes() == b"two"


def test_atomic_path_keeps_the_old_file_when_the_block_fails(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    atomic_bytes(path, b"one")
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:  # noqa: PT012 - both in the block
        temporary.write_bytes(b"half")
        raise RuntimeError
    assert path.read_bytes() == b"one"
    assert not temporaries(tmp_path)


def test_a_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    for folder in (tmp_path / "out", tmp_path / "out" / "deeper"):
        with pytest.raises(OutputError) as e:
            write_tables({"summary": table()}, folder)
        assert str(e.value) == f"{folder}: cannot be written: {tmp_path / 'out'} is a file, not a folder"


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """In a process that is not root, whom nothing forbids."""
    assert output(NOBODY + PRINTS_ERROR, tmp_path) == f"{tmp_path}: cannot be written: Permission denied"


def test_a_full_disk_is_one_message_and_leaves_the_older_set(tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: the system call fails in the same place."""
    write_tables({"summary": table(1), "layers": table(1)}, tmp_path)
    message = f"{tmp_path}: cannot be written: File too large"
    assert output(SMALL_FILES + PRINTS_ERROR, tmp_path, 10_000) == message
    assert pd.read_csv(tmp_path / "layers.csv")["value"].tolist() == [1, 1]
    assert (tmp_path / "summary.csv").exists()
    assert not temporaries(tmp_path)


def test_numbers_are_short_and_integers_plain(tmp_path: Path) -> None:
    columns = {
        "count": np.array([2**62], np.int64),
        "flag": [True],
        "ratio": [100 / 3],
        "whole": [100.0],
        "none": [float("nan")],
        "name": ["a,b"],
    }
    write_tables({"summary": pd.DataFrame(columns)}, tmp_path)
    text = (tmp_path / "summary.csv").read_bytes().decode()
    assert text == 'count,flag,ratio,whole,none,name\n4611686018427387904,True,33.3333333,100,,"a,b"\n'


WRITTEN = ["account.csv", "energy.csv", "layers.csv", "machine.toml", "run.json", "summary.csv", "units.csv"]


def test_write_reports_gives_the_paths(tmp_path: Path, record: Record) -> None:
    paths = write_reports(record(), tmp_path / "new" / "out", trace=True)
    assert {path.name for path in paths} == {*WRITTEN, "timeline.csv", "trace.perfetto-trace"}
    assert all(path.exists() for path in paths)


def test_a_run_without_trace_takes_an_older_runs_away(tmp_path: Path, record: Record) -> None:
    write_reports(record(), tmp_path, trace=True)
    paths = write_reports(record(), tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(paths)
    assert [path.name for path in paths] == WRITTEN
