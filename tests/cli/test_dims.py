"""--dim, and names with control characters: what the commands make of them."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info


@pytest.fixture
def model(folder: Path) -> Path:
    infos = [make_tensor_value_info(name, TensorProto.FLOAT, ("batch", "seq")) for name in "xy"]
    graph = make_graph([make_node("Relu", ["x"], ["y"])], "g", infos[:1], infos[1:])
    onnx.save(make_model(graph, opset_imports=[make_opsetid("", 17)], ir_version=8), folder / "m.onnx")
    return folder / "m.onnx"


@pytest.mark.parametrize("command", ["run", "explain --no-what-if --out out", "sweep --jobs 1 --param matrix.rows=8"])
def test_every_command_binds_dimensions(command: str, model: Path, minisim: Any) -> None:
    name, *options = command.split()
    minisim(name, "m.onnx", "--dim", "batch=4", "--dim", "seq = 64", *options)
    if name != "explain":
        with Path("out/sweep.csv" if name == "sweep" else "out/summary.csv").open(encoding="utf-8") as file:
            assert next(csv.DictReader(file))["dram_read_bytes"] == str(4 * 64 * 4)
    text = minisim(name, "m.onnx", "--dim", "batch=4", *options, code=2).stderr
    assert "input 'x': dimension 1 is open, 'seq'; bind it with --dim seq=SIZE\n" in text
    text = minisim(name, "m.onnx", "--dim", "batch=4", "--dim", "seqq=3", *options, code=2).stderr
    assert "no dimension 'seqq' to bind; did you mean 'seq'?" in text


@pytest.mark.parametrize(
    ("dims", "said"),
    [
        (["seq"], "--dim seq: must be NAME=SIZE, such as seq=128"),
        (["seq=x"], "--dim seq=x: must be NAME=SIZE, such as seq=128"),
        (["=3"], "--dim =3: must be NAME=SIZE, such as seq=128"),
        (["seq=-1"], "--dim seq=-1: must be NAME=SIZE, such as seq=128"),
        (["seq=0"], "dimension 'seq' must be a whole number from 1 to 2147483648, not 0"),
        (["seq=1", "seq=2"], "--dim seq=2: 'seq' is given twice"),
    ],
)
def test_what_is_no_dimension(dims: list[str], said: str, model: Path, minisim: Any) -> None:
    options = [part for dim in dims for part in ("--dim", dim)]
    assert minisim("run", "m.onnx", *options, code=2).stderr == f"minisim: error: {said}\n"


def test_control_characters_in_names_are_escaped_in_all_that_is_shown(minisim: Any, folder: Path) -> None:
    (folder / "m.py").write_text(
        "import minisim as ms\n\n\ndef model():\n"
        '    g = ms.Graph("mo\\ndel\\x1b[31m")\n    x = g.input("x\\t1", (8, 8))\n'
        '    g.output(g.sigmoid(g.relu(x, name="re\\x1b[31m\\nlu"), name="si\\x07g"), "o\\ty")\n    return g\n'
    )
    shown = minisim("run", "m.py", "--trace", "--dump-ir", "ir").stdout + minisim("explain", "m.py").stdout
    shown += minisim("run", "m.py", "--set", "sram.bytes=64", code=2).stderr
    shown += "".join(path.read_text("utf-8") for path in (*folder.glob("out/*.csv"), *folder.glob("ir/*")))
    assert not {c for c in shown if not c.isprintable()} - {"\n"}
    for name in (r"mo\ndel\x1b[31m", r"re\x1b[31m\nlu", r"si\x07g"):
        assert name in shown


def test_a_shape_binds_all_of_an_input(model: Path, minisim: Any) -> None:
    minisim("run", "m.onnx", "--shape", "x=4x64")
    with Path("out/summary.csv").open(encoding="utf-8") as file:
        assert next(csv.DictReader(file))["dram_read_bytes"] == str(4 * 64 * 4)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--shape", "x"], "--shape x: must be INPUT=SIZExSIZE, such as x=1x3x224x224"),
        (["--shape", "x=4x"], "--shape x=4x: must be INPUT=SIZExSIZE, such as x=1x3x224x224"),
        (["--shape", "x=4x0"], "dimension 'x' must be a whole number from 1 to 2147483648, not 0"),
        (["--shape", "x=4x4", "--shape", "x=4x5"], "--shape x=4x5: 'x' is given twice"),
        (["--shape", "x=4x4", "--dim", "x=4"], "--shape: 'x' is bound by --dim already"),
        (["--shape", "xx=4x4"], "model 'm.onnx': no input 'xx' to give a shape; did you mean 'x'?"),
    ],
)
def test_what_is_no_shape(options: list[str], said: str, model: Path, minisim: Any) -> None:
    assert minisim("run", "m.onnx", *options, code=2).stderr == f"minisim: error: {said}\n"


def test_a_dimension_below_0_is_open(folder: Path, minisim: Any) -> None:
    infos = [make_tensor_value_info(name, TensorProto.FLOAT, (-1, 8)) for name in "xy"]
    graph = make_graph([make_node("Relu", ["x"], ["y"])], "g", infos[:1], infos[1:])
    onnx.save(make_model(graph, opset_imports=[make_opsetid("", 17)], ir_version=8), folder / "m.onnx")
    assert "bind it with --dim x.0=SIZE" in minisim("run", "m.onnx", code=2).stderr
    minisim("run", "m.onnx", "--dim", "x.0=4")
    minisim("run", "m.onnx", "--shape", "x=4x8")
