"""Users' mistakes: each ends with exit code 2 and the message in bad_input.golden, and leaves nothing behind.

A message names the place (file, key, node or option), the value received, the rule, and the nearest valid
name where there is one. It is reviewed like code: after a change run pytest with --update-golden, and read.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from click.testing import CliRunner
from onnx import ModelProto, TensorProto
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor, make_tensor_value_info
from support.golden import Golden

from minisim.cli import main
from minisim.errors import MinisimError

GOLDEN = "bad_input.golden"

Content = str | bytes | None
"""Of a file; None stands for a folder."""


@dataclass(frozen=True)
class Case:
    """A mistake: the command line, and the files it finds."""

    name: str
    command: str
    files: Mapping[str, Content] = field(default_factory=dict)


def machine(name: str, text: Content, path: str = "hw.toml") -> Case:
    """A mistake in a machine file."""
    return Case(name, f"run gemm:8x8x8 --config {path}", {path: text})


def override(name: str, *overrides: str) -> Case:
    """A mistake in a --set option."""
    return Case(name, " ".join(["run gemm:8x8x8", *(f"--set {shlex.quote(o)}" for o in overrides)]))


def model(name: str, text: Content, path: str = "model.py") -> Case:
    """A mistake in a model file."""
    return Case(name, f"run {path}", {path: text})


def sweep(name: str, *params: str) -> Case:
    """A mistake in a --param option."""
    return Case(name, " ".join(["sweep gemm:8x8x8", *(f"--param {shlex.quote(p)}" for p in params)]))


def damaged_onnx(change: Callable[[ModelProto], object]) -> bytes:
    """A model of one weight, with what `change` does to it."""
    model = make_model(
        make_graph(
            [make_node("Add", ["x", "w"], ["y"], "node")],
            "graph",
            [make_tensor_value_info("x", TensorProto.FLOAT, (2, 3))],
            [make_tensor_value_info("y", TensorProto.FLOAT, (2, 3))],
            [make_tensor("w", TensorProto.FLOAT, (3,), b"\0" * 12, raw=True)],
        ),
        opset_imports=[make_opsetid("", 17)],
        ir_version=8,
    )
    change(model)
    return bytes(model.SerializeToString())


def outside(model: ModelProto, **entries: str) -> None:
    """Where the weight's values are said to lie."""
    weight = model.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    for key, value in entries.items():
        weight.external_data.add(key=key, value=value)


def onnx_file(*op_types: str) -> bytes:
    """A chain of operators of one operand each."""
    names = [f"t{i}" for i in range(len(op_types) + 1)]
    nodes = [make_node(op, [names[i]], [names[i + 1]], f"node{i}") for i, op in enumerate(op_types)]
    ends = [make_tensor_value_info(name, TensorProto.FLOAT, (2, 3)) for name in (names[0], names[-1])]
    graph = make_graph(nodes, "graph", ends[:1], ends[1:])
    data: bytes = make_model(graph, opset_imports=[make_opsetid("", 17)], ir_version=8).SerializeToString()
    return data


ARRAYS_TILES = "--set compiler.effort=0"
GRAPH = "import minisim as ms\n\ndef model():\n    g = ms.Graph('m')\n    x = g.input('x', (4, 6))\n"

UNFRIENDLY = "class Unfriendly(Exception):\n    def __str__(self): raise ValueError\n    __repr__ = __str__\n\n"

CASES = [
    # -- machine files
    machine("unknown key with a near name", "[sram]\nbyte = 3\n"),
    machine("unknown key that is near nothing", "[sram]\nfoo = 3\n"),
    machine("key outside its section", "queue_depth = 3\n"),
    machine("key in another's section", "[sram]\nlanes = 3\n"),
    machine("unknown section", "[dramm]\nlatency = '60ns'\n"),
    machine("value where a section belongs", "matrix = 32\n"),
    machine("section where a value belongs", "[sram.bytes]\nx = 1\n"),
    machine("text where a number belongs", "[matrix]\nrows = '32'\n"),
    machine("fraction where a whole number belongs", "[matrix]\nrows = 32.5\n"),
    machine("number where a truth value belongs", "[compiler]\nkeep_on_chip = 1\n"),
    machine("unknown choice", "[compiler]\norder = 'mkn'\n"),
    machine("dataflow that does not exist", "[matrix]\ndataflow = 'rs'\n"),
    machine("too small", "[tile]\nm = 0\n"),
    machine("negative", "[dma]\nsetup_cycles = -1\n"),
    machine("too large", "[tile]\nm = 4097\n"),
    machine("huge integer", f"[tile]\nm = 0x1{'0' * 5000}\n"),
    machine("huge size", "[sram]\nbytes = '99999999999GiB'\n"),
    machine("huge exponent", "[sram]\nbytes = '1e999999999B'\n"),
    machine("huge number where a choice belongs", f"[compiler]\norder = 0x1{'0' * 5000}\n"),
    machine("key that is not there, and is wrong beside another", "[compiler]\norder = 'blocked'\n"),
    machine("value nested too deep for a message", f"[sram]\nbytes = {'[' * 150}{']' * 150}\n"),
    machine("section nested too deep for a message", f"[{'.'.join('a' * 1000)}]\nb = 1\n"),
    machine("long key", f"[sram]\n{'a' * 500} = 1\n"),
    machine("nan", "[tile]\nm = nan\n"),
    machine("infinite size", "[sram]\nbytes = inf\n"),
    machine("infinite bandwidth as text", "[dram]\nbandwidth = 'inf GB/s'\n"),
    machine("unit with the wrong capitals", "[dram]\nbandwidth = '25.6gb/s'\n"),
    machine("unit of another quantity", "[dram]\nlatency = '60MHz'\n"),
    machine("missing unit", "[dram]\nbandwidth = 25.6\n"),
    machine("no bandwidth", "[dram]\nbandwidth = '0GB/s'\n"),
    machine("negative time", "[dram]\nlatency = '-1ns'\n"),
    machine("SRAM of no whole granules", "[sram]\nbytes = 1000\n"),
    machine("type that no array has", "[matrix]\ndtype = 'int4'\n"),
    machine("type that this array does not have", "[matrix]\ndtype = 'bf16'\nbf16_rate = 0\n"),
    machine("rate that is no number of steps or passes", "[matrix]\nint8_rate = '2/3'\n"),
    machine("rate that is too large", "[matrix]\nint8_rate = 128\n"),
    machine("accumulator memory of no whole granules", "[accumulator]\nbytes = 1000\n"),
    machine("part of a byte", "[sram]\nbytes = '0.3KiB'\n"),
    machine("empty name", "name = ''\n"),
    machine("name of two lines", 'name = "a\\nb"\n'),
    machine("several mistakes at once", "[tile]\nm = 0\nk = -1\no = 3\n[sram]\nbytes = 100\n[vektor]\nlanes = 8\n"),
    machine("broken TOML", "[tile\nm = 3\n"),
    machine("key given twice", "[tile]\nm = 3\nm = 4\n"),
    machine("not UTF-8", b"name = '\xff'\n"),
    machine("file without end", "#" * 1_000_001),
    machine("folder", None, "machines"),
    Case("missing machine file", "run gemm:8x8x8 --config hw.toml"),
    Case("missing machine file near another", "run gemm:8x8x8 --config hv.toml", {"hw.toml": ""}),
    Case("unknown preset", "run gemm:8x8x8 --config npu32"),
    Case("empty file name", "run gemm:8x8x8 --config ''"),
    Case("config check lists the mistakes of all files", "config check a.toml b.toml edge_8x8",
         {"a.toml": "[tile]\nm = 0\n", "b.toml": "[tile]\nk = 0\nx = 1\n"}),
    Case("config show of a broken file", "config show hw.toml", {"hw.toml": "[tile]\nm = 0\n"}),
    # -- overrides
    override("override without a value", "sram.bytes"),
    override("override without a key", "=3"),
    override("override of an unknown key", "sram.byte=3"),
    override("override in an unknown section", "srma.bytes=3"),
    override("override with a bad value", "sram.bytes=lots"),
    override("override with an empty value", "tile.m="),
    override("override below a value", "name.x=3"),
    override("override of a key that the file does not have, wrong beside another", "compiler.order=blocked"),
    override("override of a key of a thousand parts", f"{'.'.join(['sram'] * 1000)}=3"),
    override("override with a long value", f"sram.bytes={'9' * 500}"),
    override("several bad overrides at once", "tile.m=0", "tile.k=x", "tile.n=99999"),
    # -- models
    Case("missing model", "run nothing.py"),
    Case("missing model near another", "run modle.py", {"model.py": ""}),
    Case("empty model name", "run ''"),
    Case("model of unknown kind", "run model.txt", {"model.txt": ""}),
    Case("folder as a model", "run model.py", {"model.py": None}),
    Case("unknown built-in", "run gem:8x8x8"),
    Case("unknown size of a transformer", "run llama:8b"),
    Case("unknown family of transformers", "run lama:7b"),
    Case("unknown parameter of a transformer", "run gpt2:small,layer=2"),
    Case("decoding what is no transformer", "run gemm:8x8x8 --decode 2"),
    Case("decoding a file that is not there", "run none.onnx --prefill 2 --decode 2"),
    Case("decoding a file without --prefill", "run none.onnx --decode 2"),
    Case("decoding a transformer with bindings", "run gpt2:small --decode 2 --dim batch=2"),
    Case("a batch without --decode", "run gpt2:small --batch 2"),
    Case("a chunk without --decode", "run none.onnx --prefill 2 --chunk 2"),
    Case("pages without --decode", "run gpt2:small --kv-page 16"),
    Case("a type of the cache without --decode", "run gpt2:small --kv-type int8"),
    Case("an unknown type of the cache", "run gpt2:small --decode 2 --kv-type int9"),
    Case("an unknown type of the cache behind a name", "run gpt2:small,kv_type=flot --decode 2"),
    Case("a type of a file's cache", "run none.onnx --prefill 2 --decode 2 --kv-type fp8"),
    Case("two types of a cache", "run gpt2:small,kv_type=fp8 --decode 2 --kv-type int8"),
    Case("a type of the cache of a machine that quantises",
         "run gpt2:small,layers=1 --decode 2 --no-numerics --kv-type int8 --config gemmini_16x16"),
    Case("a text that is to be checked", "run none.onnx --prefill 2 --check onnxruntime"),
    Case("a window of an encoder", "run bert:base --window 8"),
    Case("a window of a file", "run none.onnx --window 8"),
    Case("a state that is no pair", "run none.onnx --prefill 2 --decode 2 --state past"),
    Case("decoding an encoder", "run bert:base,layers=1 --decode 2 --no-numerics"),
    Case("decoding with a trace", "run gpt2:small --decode 2 --trace"),
    Case("decoding beyond the positions", "run gpt2:small --prefill 1020 --decode 5 --no-numerics"),
    Case("computing tokens on a machine that quantises", "run gpt2:small,layers=1 --decode 2 --config gemmini_16x16"),
    Case("tokens twice", "run gpt2:small,prefill=3 --prefill 4"),
    Case("tokens of what has none", "run gemm:8x8x8 --prefill 4"),
    Case("more tokens than there are positions for", "run gpt2:small --prefill 1025 --no-numerics"),
    Case("transformer that is too large to be computed", "run llama:7b --prefill 4"),
    Case("built-in with too few numbers", "run gemm:8x8"),
    Case("built-in with a word", "run gemm:8x8xa"),
    Case("built-in with a zero", "run gemm:8x0x8"),
    Case("built-in that is too large", "run gemm:99999x99999x9"),
    Case("accumulator memory too small for a tile", f"run gemm:64x64x64 --set accumulator.bytes=128 {ARRAYS_TILES}"),
    Case("values that int8 does not cover", "run model.py --set matrix.dtype=int8",
         {"model.py": f"{GRAPH}    g.output((x / 0.0) @ g.weight('w', [[1.0]] * 6), 'y')\n    return g\n"}),
    model("operation that int8 does not have", f"{GRAPH}    g.sigmoid(g.input('q', (2, 2), dtype='int8'))\n"),
    model("operands of two types", f"{GRAPH}    g.matmul(g.input('q', (2, 4), dtype='int8'), x)\n"),
    model("tensor of an unknown type", f"{GRAPH}    g.input('q', (2, 4), dtype='int9')\n"),
    model("weight out of its type's range", f"{GRAPH}    g.weight('w', [[300.0]], dtype='int8')\n"),
    Case("model in a type that the array does not have", "run model.py --set matrix.int8_rate=0",
         {"model.py": f"{GRAPH}    q = g.input('q', (4, 4), dtype='int8')\n    g.output(q @ q, 'y')\n    return g\n"}),
    model("syntax error", "def model(:\n"),
    model("model file that is not text", b"\xff\xfe\x00"),
    model("no model function", "def modle():\n    pass\n"),
    model("model that is not a function", "model = 3\n"),
    model("model with arguments", "def model(size):\n    pass\n"),
    model("exception in a model", "def model():\n    return [][3]\n"),
    model("exit in a model", "raise SystemExit(0)\n"),
    model("exception that is no Exception", "class Stop(BaseException):\n    pass\n\ndef model():\n    raise Stop\n"),
    model("generator's exit in a model", "def model():\n    raise GeneratorExit('over')\n"),
    model("exception that cannot be written", f"{UNFRIENDLY}def model():\n    raise Unfriendly\n"),
    model("exception with a message of many lines", "raise ValueError('a\\nb\\x1b[31m' + 'c' * 1000)\n"),
    model("model error of the user's own that cannot be written",
          f"import minisim.errors\n{UNFRIENDLY}class Mine(minisim.errors.ModelError, Unfriendly):\n"
          "    def __init__(self): pass\n    __str__ = Unfriendly.__str__\n\ndef model():\n    raise Mine\n"),
    model("model function whose signature cannot be written", f"{UNFRIENDLY}def model(x, y=Unfriendly()):\n    pass\n"),
    model("names that are no text", "globals()[3] = len\n"),
    model("input whose name is a number", GRAPH + "    g.input(7, (1, 1))\n"),
    model("missing import", "import no_such_package\n\ndef model():\n    pass\n"),
    model("model that returns nothing", "def model():\n    pass\n"),
    model("model without an output", GRAPH + "    g.relu(x)\n    return g\n"),
    model("model without operations", GRAPH + "    g.output(x)\n    return g\n"),
    model("shapes that do not fit", GRAPH + "    y = x @ g.weight('w', [[1.0], [2.0]])\n"),
    model("shapes that do not broadcast", GRAPH + "    g.output(x + g.input('b', (4, 5)))\n    return g\n"),
    model("name used twice", GRAPH + "    g.input('x', (1, 1))\n    return g\n"),
    model("empty dimension", GRAPH + "    g.input('y', (0, 1))\n    return g\n"),
    model("weights that are no numbers", GRAPH + "    g.weight('w', [['a']])\n    return g\n"),
    model("ONNX operators without support", onnx_file("Relu", "LpNormalization", "Shrink"), "model.onnx"),
    model("operator that ONNX does not know", onnx_file("Relu", "Frobnicate"), "model.onnx"),
    model("damaged ONNX file", onnx_file("Relu")[:40], "model.onnx"),
    model("text as ONNX file", "hello", "model.onnx"),
    model("ONNX file with an unknown type", damaged_onnx(lambda m: setattr(m.graph.initializer[0], "data_type", 99)),
          "model.onnx"),
    model("ONNX file with a constant without a value", damaged_onnx(lambda m: m.graph.node.insert(
          0, make_node("Constant", [], ["c"], "constant"))), "model.onnx"),
    model("ONNX file with a huge dimension", damaged_onnx(lambda m: setattr(
          m.graph.input[0].type.tensor_type.shape.dim[0], "dim_value", 2**62)), "model.onnx"),
    model("ONNX file with values of negative length", damaged_onnx(lambda m: outside(m, location="w", length="-1")),
          "model.onnx"),
    model("ONNX file with values at no offset", damaged_onnx(lambda m: outside(m, location="w", offset="abc")),
          "model.onnx"),
    model("ONNX file with values outside its folder", damaged_onnx(lambda m: outside(m, location="../w")),
          "model.onnx"),
    # -- SRAM too small
    Case("SRAM that holds no operation", f"run gemm:64x64x64 --set sram.bytes=512 {ARRAYS_TILES}"),
    Case("SRAM of one granule", "run gemm:64x64x64 --set sram.bytes=64"),
    # -- too many operations
    Case("more operations than there may be", "run softmax:20000000x4 --set tile.m=1 --no-numerics"),
    Case("more operations than are allowed", "explain softmax:200x3 --set tile.m=1 --max-operations 199"),
    # -- sweeps
    sweep("parameter without values", "tile.m"),
    sweep("parameter with an empty value", "tile.m=8,,16"),
    sweep("parameter without a key", "=8"),
    sweep("parameter given twice", "tile.m=8", "tile.k=8", "tile.m=16"),
    sweep("parameter with bad values", "tile.m=0,8,x", "tile.k=8,99999"),
    sweep("unknown parameter", "tile.q=8", "srm.bytes=64KiB"),
    sweep("parameter below a value", "sram.bytes.x=8"),
    Case("sweep of a missing model", "sweep nothing.py --param tile.m=8"),
    # -- explain
    Case("explain a missing model", "explain nothing.py"),
    Case("explain with a bad override", "explain gemm:8x8x8 --set srma.bytes=3"),
    Case("explain on an SRAM that holds no operation",
         f"explain gemm:64x64x64 --set sram.bytes=512 {ARRAYS_TILES} --out out"),
    Case("file as output folder of explain", "explain gemm:8x8x8 --out out.csv", {"out.csv": "mine"}),
    # -- folders
    Case("file as output folder", "run gemm:8x8x8 --out out.csv", {"out.csv": "mine"}),
    Case("output folder below a file", "run gemm:8x8x8 --out out.csv/a/b", {"out.csv": "mine"}),
    Case("file as output folder of a sweep", "sweep gemm:8x8x8 --param tile.m=8 --out out.csv", {"out.csv": "mine"}),
    Case("file as folder for the IR", "run gemm:8x8x8 --dump-ir ir.txt", {"ir.txt": "mine"}),
    Case("output folder with too long a name", f"run gemm:8x8x8 --out {'o' * 300}"),
]  # fmt: skip


def populate(folder: Path, files: Mapping[str, Content]) -> None:
    for name, content in files.items():
        if content is None:
            (folder / name).mkdir()
        else:
            (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)


def message(case: Case) -> tuple[int, str]:
    """The exit code of a case, in the current folder, and what it wrote to standard error."""
    result = CliRunner().invoke(main, shlex.split(case.command))
    return result.exit_code, result.stderr


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_mistake_ends_with_code_2_and_leaves_nothing_behind(case: Case, folder: Path) -> None:
    populate(folder, case.files)
    before = contents(folder)
    code, text = message(case)
    assert code == 2
    assert text.startswith("minisim: error: ") and "Traceback" not in text
    assert contents(folder) == before


def contents(folder: Path) -> dict[Path, bytes | None]:
    return {path: None if path.is_dir() else path.read_bytes() for path in folder.rglob("*")}


def test_the_messages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    golden = Golden(Path(__file__).parent, update=bool(request.config.getoption("--update-golden")))
    sections = []
    for i, case in enumerate(CASES):
        folder = tmp_path / str(i)
        folder.mkdir()
        monkeypatch.chdir(folder)
        populate(folder, case.files)
        _, text = message(case)
        sections.append(f"# {case.name}\n$ minisim {shortened(case.command)}\n{text}")
    golden.check(GOLDEN, "\n".join(sections))


def shortened(command: str) -> str:
    return command if len(command) < 200 else f"{command[:60]}..."


def test_names_are_unique() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 40


# -- the command line itself: click's messages, whose exact words are click's --------------------------------


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("rnu gemm:8x8x8", ["No such command", "rnu"]),
        ("config shwo", ["No such command", "shwo"]),
        ("run", ["Missing argument", "MODEL"]),
        ("sweep gemm:8x8x8", ["Missing option", "--param"]),
        ("config check", ["Missing argument", "FILE"]),
        ("run gemm:8x8x8 --cofnig x", ["No such option", "--cofnig", "Did you mean", "--config"]),
        ("run gemm:8x8x8 --timing fast", ["--timing", "fast", "native", "simpy"]),
        ("run gemm:8x8x8 another", ["unexpected extra argument", "another"]),
        ("run gemm:8x8x8 --set", ["--set", "requires an argument"]),
        ("sweep gemm:8x8x8 --param tile.m=8 --jobs 0", ["--jobs", "0 is not in the range", "1"]),
        ("sweep gemm:8x8x8 --param tile.m=8 --jobs two", ["--jobs", "two", "integer"]),
        ("run gemm:8x8x8 --no-numerics=3", ["--no-numerics", "does not take a value"]),
    ],
)
def test_a_command_line_that_is_not_one(command: str, words: list[str], folder: Path) -> None:
    code, text = message(Case("", command))
    assert code == 2
    assert "Traceback" not in text and all(word in text for word in words), text
    assert contents(folder) == {}


def test_a_message_keeps_its_ends_whatever_is_in_the_middle() -> None:
    """A value that was not cut where it was written is cut here: never the place, never the rule."""
    text = str(MinisimError(f"hw.toml: {'x' * 10**6}: must be a number\n  \x1b[31m"))
    first, second = text.splitlines()
    assert len(first) == 2000 and first.startswith("hw.toml: xxx") and first.endswith("xxx: must be a number")
    assert second == r"  \x1b[31m"
    assert str(MinisimError("x" * 2000)) == "x" * 2000 and str(MinisimError()) == ""
