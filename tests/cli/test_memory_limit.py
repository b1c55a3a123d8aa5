"""One limit on the memory that values take, checked before any of it is allocated; shapes alone cost nothing."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

MEASURED = textwrap.dedent("""
    import resource, sys
    import minisim.reports, minisim.compiler.frontend.onnx_file
    from minisim.cli import main
    def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    before, code = peak(), 0
    try: main()
    except SystemExit as e: code = e.code
    print(f'\\n{code} {(peak() - before) // 1024} MiB')
""")
MOST_MIB = 300
SECONDS = 30


def minisim(folder: Path, *argv: str) -> tuple[int, str]:
    """Exit code and standard error of a command that must stay below MOST_MIB and SECONDS."""
    done = subprocess.run([sys.executable, "-c", MEASURED, *argv], cwd=folder, capture_output=True, text=True,
                          timeout=SECONDS)  # fmt: skip
    code, mib, _ = done.stdout.splitlines()[-1].split()
    assert int(mib) < MOST_MIB, done.stderr
    return int(code), done.stderr


def save(folder: Path, nodes: Sequence[object], constants: dict[str, object], shape: Sequence[int] = (4, 4)) -> None:
    """m.onnx: y = x + c, where `nodes` compute c."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "xy")
    given = [numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items()]
    graph = helper.make_graph([*nodes, helper.make_node("Add", ["x", "c"], ["y"], "add")], "g", [x], [y], given)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), folder / "m.onnx")


def i64(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


ONE = np.float32(1)
HUGE = {
    "Expand": ([helper.make_node("Expand", ["v", "s"], ["c"])], {"v": ONE, "s": i64(40000, 50000)}),
    "Range": (
        [helper.make_node("Range", ["a", "b", "d"], ["c"])],
        {"a": np.float32(0), "b": np.float32(4e9), "d": np.float32(1)},
    ),
    "ConstantOfShape": ([helper.make_node("ConstantOfShape", ["s"], ["c"])], {"s": i64(40000, 50000)}),
    "Tile": ([helper.make_node("Tile", ["v", "s"], ["c"])], {"v": np.ones((1, 1), np.float32), "s": i64(10**5, 10**5)}),
    "Pad": (
        [helper.make_node("Pad", ["v", "s"], ["c"])],
        {"v": np.ones((1, 1), np.float32), "s": i64(0, 0, 10**5, 10**5)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", HUGE)
def test_a_small_file_that_asks_for_gigabytes(kind: str, tmp_path: Path) -> None:
    save(tmp_path, *HUGE[kind])
    code, err = minisim(tmp_path, "run", "m.onnx")
    assert code == 2, err
    assert len(err.splitlines()) == 1
    assert err.startswith("minisim: error: model 'm.onnx': node 'c")
    assert "of memory" in err and "the limit is 4 GiB (--memory-limit" in err
    assert not (tmp_path / "out").exists()


def test_constants_count_together(tmp_path: Path) -> None:
    nodes = [helper.make_node("Expand", ["v", "s"], [f"c{i}"]) for i in range(9)]
    nodes.append(helper.make_node("Sum", [f"c{i}" for i in range(9)], ["c"]))
    save(tmp_path, nodes, {"v": ONE, "s": i64(1000, 1000)})
    code, err = minisim(tmp_path, "run", "m.onnx", "--memory-limit", "10MB")
    assert code == 2
    assert "node 'c2' (Expand): its constant value (1000, 1000) would take 3.815 MiB of memory beside 7.629 MiB" in err


def test_the_limit_can_be_set(tmp_path: Path) -> None:
    save(tmp_path, [helper.make_node("Expand", ["v", "s"], ["c"])], {"v": ONE, "s": i64(100, 100)}, (100, 100))
    assert minisim(tmp_path, "run", "m.onnx", "--memory-limit", "39KiB")[0] == 2
    assert minisim(tmp_path, "run", "m.onnx", "--memory-limit", "2MiB")[0] == 0
    code, err = minisim(tmp_path, "run", "m.onnx", "--memory-limit", "much")
    assert code == 2 and "size" in err


@pytest.mark.parametrize("model", ["gemm:8x30000x30000", "softmax:30000x30000"])
def test_numerics_of_large_shapes_are_refused_before_they_are_drawn(model: str, tmp_path: Path) -> None:
    code, err = minisim(tmp_path, "run", model, "--max-operations", "100000000", "--set", "sram.bytes=8MiB")
    assert code == 2
    assert err.startswith("minisim: error: tensor ") and "--no-numerics" in err and len(err.splitlines()) == 1


WIDE = ("--config", "tpu_like_128x128", "--no-numerics")


@pytest.mark.parametrize("dtype", ["fp32", "bf16", "int8"])
def test_without_numerics_nothing_is_drawn(dtype: str, tmp_path: Path) -> None:
    """1.6 GB of weights; also of a Python model, which gives but a shape."""
    model = "import minisim as ms\ndef model():\n    g = ms.Graph('m')\n    x = g.input('x', (8, 20000))\n" \
            "    g.output(x @ g.weight('w', shape=(20000, 20000)))\n    return g\n"  # fmt: skip
    (tmp_path / "m.py").write_text(model)
    keys = (
        "--set",
        f"matrix.dtype={dtype}",
        "--set",
        "tile.k=1000",
        "--set",
        "tile.n=1000",
        "--set",
        "sram.bytes=64MiB",
    )
    for name in ("gemm:8x20000x20000", "m.py"):
        code, err = minisim(tmp_path, "run", name, *WIDE, *keys)
        assert code == 0, err


INT8 = ("explain", "--no-what-if", "--set", "matrix.dtype=int8")


@pytest.mark.parametrize("stored", ["elsewhere", "absent"])
def test_an_onnx_file_without_its_weights_is_timed_by_their_shapes(stored: str, tmp_path: Path) -> None:
    w = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=(64, 48))
    if stored == "elsewhere":
        w.data_location = TensorProto.EXTERNAL
        w.external_data.add(key="location", value="gone.bin")
    nodes = [helper.make_node("Transpose", ["w"], ["t"]), helper.make_node("Gemm", ["x", "t"], ["y"], "g", alpha=2.0)]
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("x", (8, 48)), ("y", (8, 64))))
    model = helper.make_model(helper.make_graph(nodes, "g", [x], [y], [w]), opset_imports=[helper.make_opsetid("", 17)])
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    for command in (("run",), ("sweep", "--param", "tile.m=16"), ("explain", "--no-what-if"), INT8):
        code, err = minisim(
            tmp_path, command[0], "m.onnx", *command[1:], *["--no-numerics"] * (command[0] != "explain")
        )
        assert code == 0, err
    code, err = minisim(tmp_path, "run", "m.onnx")
    assert (code == 2 and "'w'" in err) or "(tensor name: w)" in err
