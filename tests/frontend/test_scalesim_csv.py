"""SCALE-Sim's topology files: its layers, its cycles, and what is said of damaged ones."""

from __future__ import annotations

import random
from contextlib import suppress
from pathlib import Path

import pytest
from support.machines import machine

import minisim as ms
from minisim.errors import MinisimError, ModelError
from minisim.hwmodel import cost

CONVOLUTIONS = """Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,
Conv1, 16, 16, 3, 3, 16, 32, 2,
FC, 1, 1, 1, 1, 40, 10, 1,

Conv1, 9, 12, 2, 3, 5, 7, 3,
"""
GEMMS = "Layer, M, N, K,\nqkv, 20, 96, 32,\nout, 20, 32, 32,\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "net.csv"


def test_the_layers_are_independent(path: Path) -> None:
    path.write_text(CONVOLUTIONS)
    graph = ms.load_model(path)
    shapes = {name: graph.tensors[tensor].shape for name, tensor in graph.outputs.items()}
    assert shapes == {"Conv1.y": (1, 8, 8, 32), "FC.y": (1, 1, 1, 10), "Conv1_2.y": (1, 4, 4, 7)}
    assert graph.inputs == ["Conv1.x", "FC.x", "Conv1_2.x"]
    path.write_text(GEMMS)
    graph = ms.load_model(path)
    assert [graph.tensors[name].shape for name in graph.outputs.values()] == [(20, 96), (20, 32)]
    assert graph.tensors["qkv.x"].shape == (20, 32)


def test_cycles_are_those_that_scalesim_reports(path: Path) -> None:
    """SCALE-Sim 3.0.0 reports the number of the last cycle, counted from 0: here one more. Conv1 is 8 x 8 there."""
    path.write_text(CONVOLUTIONS)
    for dataflow, reported in REPORTED.items():
        there = machine(matrix__model="scalesim", matrix__dataflow=dataflow, sram__bytes="1MiB")
        schedule = ms.compile_graph(path, there, numerics=False)
        busy = cost.costs(schedule, there).busy[schedule.stream["queue"] == 2]
        assert sorted(busy.tolist()) == sorted(cycles + 1 for cycles in reported)


REPORTED = {"ws": [789, 189, 109], "os": [411, 101, 91], "is": [1259, 207, 100]}
"""What SCALE-Sim 3.0.0 itself reported of this file on 32 x 32, with the second Conv1 under another name."""


def test_a_run_computes_them(path: Path) -> None:
    path.write_text(CONVOLUTIONS)
    result = ms.run(path, machine())
    assert {name: values.shape for name, values in result.outputs.items()}["Conv1.y"] == (1, 8, 8, 32)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a topology has a line of headings, and at least one layer"),
        ("Layer, M, N, K,\n", "a topology has a line of headings, and at least one layer"),
        ("Layer, A, B\nx, 1, 2\n", "line 1: the headings must be Layer, IFMAP Height"),
        (GEMMS + "fc, 1, 2,\n", "line 4: layer 'fc' must have 4 columns, not 3"),
        (GEMMS + "\nfc, 1, -2, 3,\n", "line 5, column 3, N: must be a whole number from 1 to 1048576, not '-2'"),
        (GEMMS + "fc, 1, 2, 9999999,\n", "line 4, column 4, K: must be a whole number from 1 to 1048576"),
        (GEMMS + ", 1, 2, 3,\n", "line 4, column 1: a layer must have a name"),
        (GEMMS + "fc, 1, 2, 3, 2:4,\n", "line 4, column 5: only dense layers are supported (4:4), not '2:4'"),
        (GEMMS + "fc, 1000000, 2, 1000000,\n", "line 4: layer 'fc': a tensor of 1000000 x 1000000 has more than"),
        (
            CONVOLUTIONS + "c, 3, 3, 4, 1, 1, 1, 1,\n",
            "line 6: layer 'c': filters of 4 x 1 do not fit into 3 x 3 pixels",
        ),
    ],
)
def test_a_damaged_file_is_one_message(path: Path, text: str, message: str) -> None:
    path.write_text(text)
    with pytest.raises(ModelError) as e:
        ms.load_model(path)
    assert message in str(e.value) and "\n" not in str(e.value) and str(path) in str(e.value)


def test_what_is_no_text_or_too_long(path: Path) -> None:
    path.write_bytes(GEMMS.encode() + b"fc\xff, 1, 2, 3\n")
    with pytest.raises(ModelError, match="line 4: is no text in UTF-8"):
        ms.load_model(path)
    path.write_bytes(b"Layer, M, N, K\n" + b"x, 1, 1, 1\n" * 100_000)
    with pytest.raises(ModelError, match="at most 1,048,576 bytes"):
        ms.load_model(path)
    with pytest.raises(ModelError, match="no such file"):
        ms.load_model(path.with_name("other.csv"))


def test_300_mutants_of_a_file_are_read_or_refused(path: Path) -> None:
    rng = random.Random(0)
    for _ in range(300):
        data = bytearray((CONVOLUTIONS if rng.random() < 0.5 else GEMMS).encode())
        for _ in range(rng.randint(1, 4)):
            place = rng.randrange(len(data))
            data[place : place + rng.randint(0, 3)] = rng.choice([b"", b",", b"\n", b'"', b"9", b"\xff", b"-", b"\x00"])
        path.write_bytes(bytes(data))
        with suppress(MinisimError):  # anything else is a bug
            ms.load_model(path)
