"""Decisions on disk (`compiler/decisions.py`, ADR 43): as if found out anew, for what they were found out for alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.networks import network

import minisim as ms
from minisim.compiler import decisions
from minisim.compiler.passes import edges, edges_alone, nest
from minisim.compiler.pipeline import compile_graph

SMALL = "sram.bytes=24KiB"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where decisions are kept: nothing is there yet."""
    monkeypatch.setenv(decisions.VARIABLE, str(tmp_path / "kept"))
    return tmp_path / "kept"


def all_kept(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.exists() else []


def kept(folder: Path) -> list[Path]:
    """Of edges of tiles; a nested plan is but its number."""
    return [path for path in all_kept(folder) if not path.read_bytes().isdigit()]


def nothing_is_found_out_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edges, "searched", lambda *_: pytest.fail("edges are found out anew"))
    monkeypatch.setattr(nest.Nest, "_soonest", lambda *_: pytest.fail("a plan is found out anew"))


def compiled(model: str | ms.Graph = "gemm:324x56x64", *keys: str, **given: object) -> bytes:
    """What a model is compiled to, with nothing remembered but what is on disk."""
    edges_alone.tried_alone.cache_clear()
    machine = ms.Machine().replace(SMALL, *keys)
    return compile_graph(model, machine, numerics=False, **given).stream.tobytes()  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", [3, 19, 104])
def test_a_decision_that_is_kept_is_that_which_would_be_found(
    seed: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = network(seed)

    def schedule() -> str:
        edges_alone.tried_alone.cache_clear()
        return "\n".join(compile_graph(case.graph, case.machine.replace("compiler.effort=1"), numerics=False).lines())

    before = len(all_kept(folder))
    found = schedule()
    assert len(all_kept(folder)) == before + 2
    nothing_is_found_out_anew(monkeypatch)
    assert schedule() == found


def test_so_it_is_of_a_network_with_convolutions(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = compiled("lenet5")
    nothing_is_found_out_anew(monkeypatch)
    assert compiled("lenet5") == found


def test_another_process_takes_it_and_one_that_runs_beside_does_no_harm(folder: Path) -> None:
    """Whatever the seed of its hashes."""
    command = "import minisim as ms; ms.compile_graph('gemm:324x56x64', ms.Machine().replace('sram.bytes=24KiB'))"
    running = [
        subprocess.Popen([sys.executable, "-c", command], env={**os.environ, "PYTHONHASHSEED": seed}) for seed in "12"
    ]
    assert [process.wait() for process in running] == [0, 0]
    compiled()
    assert len(kept(folder)) == 1 and kept(folder)[0].suffix == ".json"


def test_it_is_for_what_it_was_found_for_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def number(value: float, shape: tuple[int, ...]) -> ms.Graph:
        graph = ms.Graph()
        x = graph.matmul(graph.input("x", (100, 40)), graph.weight("w", shape=(40, 30)))
        graph.output(graph.mul(x, graph.weight("v", np.full(shape, value, np.float32))))
        return graph

    def of_integers(value: int) -> ms.Graph:
        graph = ms.Graph()
        x = graph.matmul(
            graph.input("x", (40, 40), dtype="int8"), graph.weight("w", np.ones((40, 40), np.int8), dtype="int8")
        )
        graph.output(graph.add(x, graph.weight("v", np.full(1, value, np.int32), dtype="int32")))
        return graph

    compiled()
    for model, keys, given in (
        ("gemm:324x56x65", (), {}),
        ("gemm:324x56x64", ("dram.bandwidth=3GB/s",), {}),
        ("gemm:324x56x64", ("tile.m=32",), {}),
        ("gemm:324x56x64", (), {"max_operations": 1000}),
        (number(2.0, (1,)), (), {}),
        (number(2.0, (30,)), (), {}),
        (of_integers(5), (), {}),
        (of_integers(2**30 + 1), (), {}),  # which no immediate is
        ("gemm:324x56x64", (), {"mapping": {"c": (16, 16, 16)}}),
        ("gemm:324x56x64", (), {"mapping": {"c": (16, 16, 8)}}),
    ):
        before = len(kept(folder))
        compiled(model, *keys, **given)
        assert len(kept(folder)) == before + 1, (model, keys, given)
    count = len(kept(folder))
    compiled()
    compiled("gemm:324x56x64", "compiler.effort=0")  # nothing is found out
    assert len(kept(folder)) == count
    monkeypatch.setattr(decisions, "sources", lambda: "of another day")
    compiled()
    assert len(kept(folder)) == count + 1


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"\xff", b"[]", b"3", b'{"whole": [1, 1], "own": []}', b'{"whole": [1, 1, NaN], "own": []}',
     b'{"whole": [1, 1, 1], "own": [[7, [1, 1, 1]]]}', b'{"whole": [1, 1, 1], "own": [["a", [1, 1, 1]]]}',
     b'{"whole": [1, 1, 1e9], "own": []}', b'{"whole": [4, 4, 4], "own": []}' + b" " * 1_000_000, b"[" * 100_000],
    ids=range(12),
)  # fmt: skip
def test_what_says_something_else_counts_as_absent(text: bytes, folder: Path) -> None:
    found = compiled()
    (path,) = kept(folder)
    path.write_bytes(text)
    assert compiled() == found
    assert decisions.known(path.stem)["whole"] and len(kept(folder)) == 1


@pytest.mark.parametrize("text", ["99", "-1", "true", "1.5", '"1"', "null", "[1]"])
def test_a_plan_that_there_is_not_counts_as_absent(text: str, folder: Path) -> None:
    found = compiled("softmax:300x384")
    (path,) = (path for path in all_kept(folder) if path not in kept(folder))
    number = path.read_text()
    path.write_text(text)
    assert compiled("softmax:300x384") == found
    assert path.read_text() == number


def test_it_can_be_turned_off(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(decisions.VARIABLE, decisions.OFF)
    compiled()
    assert not folder.exists()


def test_a_folder_that_cannot_be_made_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(decisions.VARIABLE, str(tmp_path / "file" / "kept"))
    compiled()


def test_a_full_disk_leaves_nothing_half_written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(decisions.json, "dump", full)
    compiled()
    assert all_kept(folder) == []


def test_of_too_many_the_oldest_go(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decisions, "MOST", 6)
    for i in range(6):
        decisions.remember(f"{i}", i)
        os.utime(folder / f"{i}.json", (i, i))
    assert decisions.known("1") == 1  # which makes it the youngest
    decisions.remember("6", 6)
    assert {path.stem for path in all_kept(folder)} == {"1", "5", "6"}


def test_by_default_it_is_the_users_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(decisions.VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    decisions.remember("a", 1)
    (found,) = tmp_path.rglob("a.json")
    assert "minisim" in str(found)


def test_one_that_takes_more_operations_than_are_allowed_is_found_out_anew(folder: Path) -> None:
    found = compiled("gemm:324x56x64", max_operations=1000)
    (path,) = kept(folder)
    path.write_text('{"whole": [0.001, 0.001, 0.001], "own": []}')
    assert compiled("gemm:324x56x64", max_operations=1000) == found
    assert "0.001" not in path.read_text()
