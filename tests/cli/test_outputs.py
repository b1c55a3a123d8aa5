"""Where output cannot go: full disks, closed pipes, closed streams, terminals that know only ASCII.

Each is tried with the command in a process of its own, since what Python does as it ends is part of it.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

MODEL = """
import minisim as ms

def model():
    g = ms.Graph("gr\u00f6\u00dfe")
    g.output(g.relu(g.input("x", (8, 8)), name="\u0177"))
    return g
"""

NO_SPACE = "minisim: error: standard output: cannot be written: No space left on device\n"
COMMANDS = ("--help", "run gemm:8x8x8", "explain gemm:8x8x8 --no-what-if", "sweep gemm:8x8x8 --param tile.m=8 --jobs 1",
            "models", "config list", "config show", "config show --keys", "config check edge_8x8")  # fmt: skip


def minisim(command: str, folder: Path, stdout: int | None = subprocess.PIPE, stderr: int | None = subprocess.PIPE,
            file_size: int | None = None, **env: str) -> subprocess.CompletedProcess[bytes]:  # fmt: skip
    """Run it in `folder`; with `file_size`, no file may have more bytes (the disk is full, as it were)."""

    def limit() -> None:
        if file_size is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))

    argv = [sys.executable, "-m", "minisim", *command.split()]
    return subprocess.run(argv, cwd=folder, stdout=stdout, stderr=stderr, env={**os.environ, **env}, preexec_fn=limit,
                          check=False, timeout=120)  # fmt: skip


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
@pytest.mark.parametrize("command", COMMANDS)
def test_standard_output_on_a_full_disk(command: str, tmp_path: Path) -> None:
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        result = minisim(command, tmp_path, stdout=full.fileno())
    assert (result.returncode, result.stderr.decode()) == (2, NO_SPACE)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
def test_standard_error_on_a_full_disk_leaves_the_exit_code(tmp_path: Path) -> None:
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        assert minisim("run nothing.py", tmp_path, stderr=full.fileno()).returncode == 2
        assert minisim("run", tmp_path, stderr=full.fileno()).returncode == 2


@pytest.mark.parametrize("command", COMMANDS)
def test_a_pipe_that_nobody_reads_ends_in_silence(command: str, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        result = minisim(command, tmp_path, stdout=writer)
    finally:
        os.close(writer)
    assert (result.returncode, result.stderr) == (141, b"")


def test_closed_streams(tmp_path: Path) -> None:
    argv = f"exec {sys.executable} -m minisim"
    for command, code in (("run gemm:8x8x8 >&-", 0), ("run nothing.py 2>&-", 2), ("run nothing.py >&- 2>&-", 2)):
        assert subprocess.run(["sh", "-c", f"{argv} {command}"], cwd=tmp_path, capture_output=True).returncode == code


@pytest.mark.parametrize(
    ("command", "written"),
    [
        ("run gemm:64x64x64 --out a/out", "a/out"),
        ("run gemm:64x64x64 --out a/out --trace", "a/out"),
        ("explain gemm:64x64x64 --no-what-if --out a/out", "a/out"),
        ("sweep gemm:64x64x64 --param tile.m=8 --jobs 1 --out a/out", "a/out"),
        ("run gemm:64x64x64 --dump-ir a/ir", "a/ir/00-import.txt"),
    ],
)
def test_files_on_a_full_disk_are_not_there(command: str, written: str, tmp_path: Path) -> None:
    result = minisim(command, tmp_path, file_size=16)
    notes = [line for line in result.stderr.decode().splitlines() if line.startswith("minisim: note: ")]
    assert [line.split(": ")[2] for line in notes] == (["a/out/ledger.sqlite"] if "sweep" in command else [])
    assert (result.returncode, result.stderr.decode().splitlines()[len(notes) :]) == (
        2,
        [f"minisim: error: {written}: cannot be written: File too large"],
    )
    assert [path for path in tmp_path.rglob("*") if not path.is_dir()] == []


@pytest.mark.parametrize(
    ("command", "file_size"),
    [
        ("run gemm:64x64x64 --no-what-if --trace --out out", 3000),  # the trace does not fit, the tables do
        ("explain gemm:64x64x64 --no-what-if --mapping --out out", 200),  # the account does not, the mapping does
    ],
)
def test_a_disk_that_fills_up_leaves_the_reports_of_before(command: str, file_size: int, tmp_path: Path) -> None:
    effort, cache = " --set compiler.effort=0", {"MINISIM_CACHE": "off"}
    assert minisim(command.replace("64", "48") + effort, tmp_path, **cache).returncode == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    result = minisim(command + effort, tmp_path, file_size=file_size, **cache)
    assert (result.returncode, result.stderr) == (2, b"minisim: error: out: cannot be written: File too large\n")
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


@pytest.mark.parametrize(
    "env",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "ascii:strict"},
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    ],
)
@pytest.mark.parametrize(
    "command", ["run m\u00f6.py", "explain m\u00f6.py --no-what-if", "sweep m\u00f6.py --param tile.m=8 --jobs 1"]
)
def test_names_beyond_ascii_on_a_terminal_of_ascii(command: str, env: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "m\u00f6.py").write_text(MODEL, "utf-8")
    result = minisim(command, tmp_path, **env)
    assert result.returncode == 0, result.stderr
    text = result.stdout.decode("ascii")
    if command.startswith("run"):
        assert "gr\\xf6\\xdfe on npu_32x32" in text and "\\u0177" in text and "####" in text


def test_a_message_on_a_terminal_of_ascii(tmp_path: Path) -> None:
    result = minisim("run n\u00f6.py", tmp_path, PYTHONIOENCODING="ascii:strict")
    assert (result.returncode, result.stderr) == (2, b"minisim: error: model 'n\\xf6.py': no such file\n")


def test_a_model_that_closes_the_streams(tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text(f"import sys\nsys.stdout.close()\n{MODEL}", "utf-8")
    result = minisim("run m.py", tmp_path)
    assert result.returncode == 2
    assert b"standard output: cannot be written" in result.stderr


def test_a_name_that_is_half_a_character(tmp_path: Path) -> None:
    """A file's name need not be UTF-8: the model that is named after it gets a name that is."""
    name = os.fsdecode(b"m\xff.onnx")
    import onnx
    from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info

    ends = [make_tensor_value_info(n, onnx.TensorProto.FLOAT, (2, 3)) for n in "xy"]
    graph = make_graph([make_node("Relu", ["x"], ["y"])], "g", ends[:1], ends[1:])
    data = make_model(graph, opset_imports=[make_opsetid("", 17)], ir_version=8).SerializeToString()
    (tmp_path / name).write_bytes(data)
    result = minisim(f"run {name} --trace", tmp_path)
    assert result.returncode == 0, result.stderr
    assert b"m\\udcff on npu_32x32" in result.stdout
