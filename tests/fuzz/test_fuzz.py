"""1,300 inputs of a stranger, the same ones each time. ``make fuzz`` hunts on."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from fuzz.hunt import Failure, hunt
from fuzz.inputs import KINDS, make
from fuzz.worker import check

from minisim.cli import main

INPUTS = {"onnx": 240, "network": 10, "toml": 520, "command": 130, "sweep": 200, "folder": 200}


@pytest.mark.skipif(sys.platform != "linux", reason="the limits of the workers are Linux's")
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_a_stranger_gives_is_a_traceback(kind: str) -> None:
    tasks = [(kind, seed) for seed in range(INPUTS[kind])]
    assert [str(failure) for failure in hunt(tasks)] == []


@pytest.mark.parametrize("kind", KINDS)
def test_an_input_is_made_of_its_kind_and_seed_alone(kind: str) -> None:
    assert make(kind, 7) == make(kind, 7) != make(kind, 8)


@pytest.mark.parametrize("kind", KINDS)
def test_some_inputs_are_good_and_some_are_not(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fuzzer whose inputs all end at the first check would find nothing behind it."""
    codes = []

    def told(result: object) -> list[str]:
        codes.append(result.exit_code)  # type: ignore[attr-defined]
        return []

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("fuzz.worker._said", told)
    for seed in range(inputs := 10 if kind == "network" else 60):
        folder = tmp_path / str(seed)
        folder.mkdir()
        assert list(check(main, make(kind, seed), folder)) == []
    assert 2 <= codes.count(0) <= inputs - 3 and set(codes) == {0, 2}


@pytest.mark.skipif(sys.platform != "linux", reason="the limits of the workers are Linux's")
@pytest.mark.parametrize(
    ("fault", "complaint"),
    [
        ("traceback", "traceback: KeyError"),
        ("bug", "exit code 70"),
        ("silence", "exit code 2 without a message"),
        ("code", "exit code 3"),
        ("half", "failed, and wrote summary.csv"),
        ("temporary", "left a temporary file"),
        ("row", "a point of a sweep failed by a bug"),
        ("memory", "peak memory of 2"),
        ("hang", "over 1 s of CPU"),
        ("sleep", "nothing happened for 5 s"),
        ("death", "the process died"),
    ],
)
def test_what_is_wrong_is_found(fault: str, complaint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hunt that overlooks things finds nothing: each kind of fault, in a command made for it, is told."""
    monkeypatch.setenv("FUZZ_FAULT", fault)
    patience_s = 5 if fault == "sleep" else 300
    cpu_s = 1 if fault == "hang" else 60  # filling 2 GiB takes a loaded machine seconds
    found = hunt([("toml", 0)], subject="fuzz.broken:main", patience_s=patience_s, cpu_s=cpu_s)
    assert len(found) == 1 and re.match(complaint, found[0].complaint), found


def test_a_sound_command_has_no_complaints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUZZ_FAULT", "nothing")
    assert hunt([("toml", seed) for seed in range(5)], jobs=2, subject="fuzz.broken:main") == []


def test_a_failure_is_saved_with_its_files(tmp_path: Path) -> None:
    place = Failure("onnx", 3, "what was wrong").save(tmp_path)
    assert (place / "m.onnx").read_bytes() == make("onnx", 3).files["m.onnx"]
    assert "what was wrong" in (place / "command.txt").read_text()
