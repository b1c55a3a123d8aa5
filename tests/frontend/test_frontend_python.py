"""Models written in Python: what is read, what a mistake is answered with, and that nothing is left behind."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from minisim.compiler.frontend import load_model
from minisim.errors import MissingExtraError, ModelError, ShapeError, UsageError

Write = Callable[[str, str], Path]


def message(spec: str, kind: type[Exception] = ModelError) -> str:
    with pytest.raises(kind) as caught:
        load_model(spec)
    assert type(caught.value) is kind
    return str(caught.value)


# -- what a file may not do ----------------------------------------------------------------------------

MISTAKES = {
    "syntax": ("def model(:\n    pass\n", "m.py:1: syntax error: invalid syntax"),
    "indentation": (
        "def model():\npass\n",
        "m.py:2: syntax error: expected an indented block after function definition on line 1",
    ),
    "encoding": ("# -*- coding: klingon -*-\n", "m.py: syntax error: unknown encoding: klingon"),
    "import": ("x = 1\nimport no_such_thing\n", "m.py:2: ModuleNotFoundError: No module named 'no_such_thing'"),
    "top level": ("x = 1\nx / 0\n", "m.py:2: ZeroDivisionError: division by zero"),
    "exception": (
        "def deep(x):\n    return [][x]\n\ndef model():\n    return deep(3)\n",
        "m.py:2: IndexError: list index out of range",
    ),
    "in a library": (
        "import numpy as np\n\ndef model():\n    return np.zeros((2, 3)).reshape(5)\n",
        "m.py:4: ValueError: cannot reshape array of size 6 into shape (5,)",
    ),
    "in minisim": (
        "import minisim as ms\n\ndef model():\n    ms.Graph().relu()\n",
        "m.py:4: TypeError: ElementwiseMethods.relu() missing 1 required positional argument: 'x'",
    ),
    "without text": ("def model():\n    assert 1 > 2\n", "m.py:2: AssertionError"),
    "StopIteration": ("def model():\n    next(iter([]))\n", "m.py:2: StopIteration"),
    "eval": ("def model():\n    eval('1 +')\n", "m.py:2: SyntaxError: invalid syntax (<string>, line 1)"),
    "exit": ("raise SystemExit(3)\n", "m.py:1: SystemExit: 3"),
    "exit in model": ("import sys\n\ndef model():\n    sys.exit('bye')\n", "m.py:4: SystemExit: bye"),
    "empty": ("", "m.py: must define a function model() that returns a Graph"),
    "misspelt": (
        "def modle():\n    pass\n",
        "m.py: must define a function model() that returns a Graph; did you mean 'modle'?",
    ),
    "not callable": ("model = 3\n", "m.py: model must be a function, not int"),
    "arguments": (
        "def model(batch, width=3):\n    pass\n",
        "m.py: model() must need no arguments, but is model(batch, width=3); --dim batch=SIZE gives one",
    ),
    "returns None": ("def model():\n    pass\n", "m.py: model() must return a Graph, not None"),
    "returns a list": ("def model():\n    return [1]\n", "m.py: model() must return a Graph, not list"),
    "builtin": ("model = dict\n", "m.py: model() must return a Graph, not dict"),
    "no output": (
        "import minisim as ms\n\ndef model():\n    return ms.Graph('net')\n",
        "m.py: model 'net' has no output: call graph.output(tensor)",
    ),
    "own error": (
        "from minisim.errors import ModelError\n\ndef model():\n    raise ModelError('too wide')\n",
        "m.py:4: too wide",
    ),
    "declared twice": (
        "import minisim as ms\n\ng = ms.Graph('net')\ng.input('x', (1,))\ng.input('x', (1,))\n",
        "m.py:5: the name 'x' is used twice in model 'net'",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_that_says_where(mistake: str, write: Write) -> None:
    text, expected = MISTAKES[mistake]
    write("m.py", text)
    assert message("m.py") == expected


def test_a_null_byte_is_no_python(write: Write) -> None:
    write("m.py", "x = '\0'\n")
    assert "source code" in message("m.py") and "null bytes" in message("m.py")


def test_a_shape_error_keeps_its_class_and_names_its_line_once(write: Write) -> None:
    write(
        "m.py",
        'import minisim as ms\n\ndef model():\n    g = ms.Graph()\n    g.input("a", (2, 3)) @ g.input("b", (4, 5))\n',
    )
    expected = "m.py:5: node 'matmul' (MatMul of a (2, 3), b (4, 5)): inner dimensions must be equal, not 3 and 4"
    assert message("m.py", ShapeError) == expected


def test_other_errors_of_ours_pass_as_they_are(write: Write) -> None:
    write("m.py", "from minisim.errors import UsageError\n\nraise UsageError('no')\n")
    assert message("m.py", UsageError) == "no"


def test_a_neighbours_mistake_is_located_in_the_neighbour(write: Write) -> None:
    helper = write("helper.py", "def f():\n    raise KeyError('k')\n")
    write("m.py", "import helper\n\ndef model():\n    helper.f()\n")
    assert message("m.py") == f"{helper}:2: KeyError: 'k'"
    write("helper.py", "def f(:\n")
    assert message("m.py") == f"{helper}:1: syntax error: invalid syntax"


def test_the_exception_itself_is_kept_for_whoever_calls_from_python(write: Write) -> None:
    write("m.py", "1 / 0\n")
    with pytest.raises(ModelError) as caught:
        load_model("m.py")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_control_c_passes(write: Write) -> None:
    write("m.py", "def model():\n    raise KeyboardInterrupt\n")
    path = list(sys.path)
    with pytest.raises(KeyboardInterrupt):
        load_model("m.py")
    assert sys.path == path


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("model = torch.Net()", "m.py: model is a torch module; "),
        ("def model():\n    return torch.Net()", "m.py: model() returns a torch module; "),
        ("def model():\n    return torch.Net(), 3, 4", "m.py: model() returns a torch module; "),
    ],
)
def test_a_torch_module_comes_with_inputs(body: str, expected: str, torch_stub: Write) -> None:
    torch_stub("m.py", f"import torch\n\n{body}\n")
    rule = "define a function model() that returns the module and example inputs: return module, (x,)"
    assert message("m.py") == expected + rule


def test_example_inputs_of_a_torch_module(torch_stub: Write) -> None:
    torch_stub("m.py", "import torch\n\ndef model():\n    return torch.Net(), 3\n")
    kinds = "a tensor, a tuple of the module's arguments, or a mapping of its keyword arguments"
    assert message("m.py") == f"m.py: the module's example inputs must be {kinds}, not 3"


@pytest.fixture
def torch_stub(write: Write, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Something that stands for torch, beside the model."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "torch"]:
        monkeypatch.delitem(sys.modules, name)
    write("torch/__init__.py", "class Net:\n    def __call__(self, x): ...\n")
    return write


def test_without_torch_its_extra_is_named(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)  # as if it were not installed
    write("m.py", "import torch\n")
    expected = "m.py:1: a model of PyTorch's needs the package 'torch': pip install 'minisim-npu[torch]'"
    assert message("m.py", MissingExtraError) == expected
    write("m.pt2", "")
    expected = "a model of PyTorch's needs the package 'torch': pip install 'minisim-npu[torch]'"
    assert message("m.pt2", MissingExtraError) == expected


def test_dims_are_arguments_of_model(write: Write) -> None:
    write("m.py", """
        import minisim as ms

        def model(rows, cols=3):
            g = ms.Graph("g")
            x = g.input("x", (rows, cols))
            g.output(g.relu(x))
            return g
        """)  # fmt: skip
    assert load_model("m.py", dims={"rows": 2}).tensors["x"].shape == (2, 3)
    assert load_model("m.py", dims={"rows": 2, "cols": 5}).tensors["x"].shape == (2, 5)
    needed = "m.py: model() must need no arguments, but is model(rows, cols=3); --dim rows=SIZE gives one"
    assert message("m.py") == needed
    with pytest.raises(ModelError, match=r"m.py: no dimension 'col' to bind; did you mean 'cols'\?: it is model\(rows"):
        load_model("m.py", dims={"col": 2})
    with pytest.raises(ModelError, match=r"model 'm.py': no input 'x' to give a shape: only ONNX files leave it open"):
        load_model("m.py", dims={"x": (2, 3)})
    with pytest.raises(ModelError, match=r"model 'm.py': no input 'x' to bind to values"):
        load_model("m.py", dims={"rows": 2}, values={"x": [2]})


def test_parameters_that_have_no_name_for_callers(write: Write) -> None:
    write("m.py", "def model(rows, /): ...\n")
    assert message("m.py") == "m.py: model() must need no arguments, but is model(rows, /)"
    with pytest.raises(ModelError, match=r"m.py: no dimension 'rows' to bind: it is model\(rows, /\)"):
        load_model("m.py", dims={"rows": 2})


# -- isolation -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["numpy", "compiler", "graph", "minisim", "hwmodel", "random", "json", "secrets", "statistics", "test-1 x"]
)
def test_a_model_file_may_have_any_name(name: str, write: Write) -> None:
    write(
        f"{name}.py",
        f"""
        import random, secrets, json, statistics
        import minisim as ms
        import numpy as np

        def model():
            g = ms.Graph("{name}")
            assert random.random() < 1 and statistics.mean([1]) and json.loads("1") and secrets.token_hex
            g.output(g.input("x", (2, 3)) + g.weight("w", np.random.default_rng(0).random(3)), "y")
            return g
        """,
    )
    before = dict(sys.modules)
    assert load_model(f"{name}.py").name == name
    assert all(sys.modules[name] is module for name, module in before.items())
    assert sys.modules["numpy"] is np


def test_neighbours_named_like_our_rooms_are_the_models_own(write: Write) -> None:
    rooms = ("compiler", "hwmodel", "reports", "graph", "errors", "utils")
    for room in rooms:
        write(f"{room}/__init__.py", "from . import part\n")
        write(f"{room}/part.py", f"NAME = '{room}'\n")
    write(
        "m.py",
        f"""
        import {", ".join(rooms)}
        import minisim as ms

        def model():
            g = ms.Graph("-".join(m.part.NAME for m in ({", ".join(rooms)})))
            g.output(g.relu(g.input("x", (2, 3))), "y")
            return g
        """,
    )
    path, modules = list(sys.path), set(sys.modules)
    assert load_model("m.py").name == "-".join(rooms)
    assert sys.path == path
    assert set(sys.modules) == modules


def test_two_models_with_neighbours_of_one_name(write: Write) -> None:
    for where in ("here", "there"):
        write(f"{where}/layers.py", f"NAME = '{where}'\n")
        write(
            f"{where}/m.py",
            "import layers\n" + "import minisim as ms\n\n\ndef model():\n"
            "    g = ms.Graph(layers.NAME)\n    g.output(g.relu(g.input('x', (1,))))\n    return g\n",
        )
    assert [load_model(f"{where}/m.py").name for where in ("here", "there", "here")] == ["here", "there", "here"]


def test_namespace_packages_and_late_imports_are_forgotten_too(write: Write) -> None:
    write("parts/one.py", "NAME = 'one'\n")
    write(
        "m.py",
        """
        import minisim as ms

        def model():
            from parts import one
            g = ms.Graph(one.NAME)
            g.output(g.relu(g.input("x", (1,))))
            return g
        """,
    )
    modules = set(sys.modules)
    assert load_model("m.py").name == "one"
    assert set(sys.modules) == modules


def test_packages_of_an_environment_below_the_model_stay_loaded(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    package = write("env/site-packages/some_package.py", "NAME = 'some'\n")
    monkeypatch.syspath_prepend(str(package.parent))
    write("m.py", "import some_package\n\n1 / 0\n")
    message("m.py")
    assert sys.modules.pop("some_package").NAME == "some"


def test_a_failed_load_leaves_nothing_either(write: Write) -> None:
    write("neighbour.py", "import sys\nsys.path.insert(0, '/nowhere')\nsys.path = ['/elsewhere']\n")
    write("m.py", "import neighbour\n\n1 / 0\n")
    path, entries, modules, writes_none = sys.path, list(sys.path), set(sys.modules), sys.dont_write_bytecode
    message("m.py")
    assert sys.path is path and sys.path == entries
    assert set(sys.modules) == modules
    assert sys.dont_write_bytecode == writes_none


def test_an_edit_is_seen_and_no_bytecode_is_written(write: Write, folder: Path) -> None:
    for name in ("one", "two", "six"):  # of one length, within a second: what fools a .pyc
        write("neighbour.py", f"NAME = '{name}'\n")
        write(
            "m.py",
            f"""
            import neighbour
            import minisim as ms

            def model():
                g = ms.Graph(neighbour.NAME + "{name}")
                g.output(g.relu(g.input("x", (1,))))
                return g
            """,
        )
        assert load_model("m.py").name == name + name
    assert sorted(p.name for p in folder.rglob("*")) == ["m.py", "neighbour.py"]


def test_dataclasses_with_string_annotations_work(write: Write) -> None:
    write(
        "m.py",
        """
        from __future__ import annotations
        from dataclasses import dataclass
        from typing import ClassVar
        import minisim as ms

        @dataclass
        class Sizes:
            rows: int = 2
            kind: ClassVar[str] = "net"

        def model() -> ms.Graph:
            g = ms.Graph(Sizes.kind)
            g.output(g.relu(g.input("x", (Sizes().rows,))))
            return g
        """,
    )
    assert load_model("m.py").name == "net"


def test_a_model_in_another_folder_through_a_link_finds_its_neighbours(write: Write, folder: Path) -> None:
    write("real/neighbour.py", "NAME = 'real'\n")
    write("real/m.py", "import neighbour\n1 / 0\n")
    (folder / "link.py").symlink_to(folder / "real" / "m.py")
    assert message("link.py") == "link.py:2: ZeroDivisionError: division by zero"
