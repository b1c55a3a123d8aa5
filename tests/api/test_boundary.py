"""The boundary: a bug of ours says that it is one, with a report; mistakes and what the caller's code raises pass."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import minisim as ms
import minisim.boundary
from minisim.cli import main
from minisim.errors import ConfigError, InternalError, MinisimError, ModelError, UsageError
from minisim.hwmodel import cost


class Deep(Exception):
    """As if raised deep inside."""

    def __str__(self) -> str:
        raise RuntimeError("not even that works")


@pytest.fixture
def bug(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug: `costs`, where the event model calls it, is a function of the package's own that fails."""
    namespace: dict[str, Any] = {"__name__": "minisim.hwmodel.cost"}
    exec(compile("def costs(*args):\n    return {}['what is not there']\n", cost.__file__, "exec"), namespace)
    monkeypatch.setattr("minisim.hwmodel.classes.costs", namespace["costs"])


class OfOne:
    """An observer whose second method has too few parameters."""

    def on_issue(self, op: int, cycle: int) -> None: ...

    def on_start(self, op: int) -> None: ...

    def on_retire(self, *steps: int) -> None: ...


# -- whatever names a model or a machine ---------------------------------------------------------------------


def test_what_people_type_first(tmp_path: Path) -> None:
    gemm = ms.run("gemm:8x8x8")
    assert gemm.cycles == ms.run(ms.load_model("gemm:8x8x8"), ms.Machine()).cycles
    assert ms.run(gemm.graph, "npu_32x32").cycles == gemm.cycles
    (tmp_path / "hw.toml").write_text(ms.Machine.load("edge_8x8").to_toml())
    edge = ms.run(gemm.graph, ms.Machine.load("edge_8x8")).cycles
    assert edge != gemm.cycles
    for machine in ("edge_8x8", tmp_path / "hw.toml", str(tmp_path / "hw.toml")):
        assert ms.run("gemm:8x8x8", machine).cycles == edge
    small = ms.run("gemm:8x8x8", {"dram": {"latency": "600ns"}}).cycles
    assert small == ms.run("gemm:8x8x8", {"dram.latency": "600ns"}).cycles > gemm.cycles


def test_a_model_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "model.py"
    path.write_text("import minisim as ms\n\ndef model():\n    g = ms.Graph('m')\n"
                    "    g.output(g.relu(g.input('x', (4, 4))))\n    return g\n")  # fmt: skip
    assert ms.run(path).cycles == ms.run(str(path)).cycles == ms.run(ms.load_model(path)).cycles
    assert ms.simulate(ms.compile_graph(path)).cycles == ms.run(path).cycles
    assert ms.Runtime(path).graph.name == "m"


def test_a_built_in_shape_is_in_the_machines_type() -> None:
    assert ms.run("gemm:8x8x8", "gemmini_16x16").graph.tensors["a"].dtype == "int8"
    assert (
        ms.compile_graph("gemm:8x8x8", "gemmini_16x16").digest()
        == ms.run("gemm:8x8x8", "gemmini_16x16").schedule.digest()
    )


MODELS = (
    "a model must be a Graph, the path of a file (.py, .onnx, .pt2 or .csv), a network such as resnet50, "
    "or a built-in shape such as gemm:512x512x512"
)
MACHINES = "a machine must be a Machine, a preset's name, a file's path or a mapping of keys"
OTHERS = "the schedule is not of 'gemm': it has another tensor 'a', or none"


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: ms.run(3), ModelError, f"{MODELS}, not 3"),
        (lambda: ms.run(None), ModelError, f"{MODELS}, not None"),
        (lambda: ms.run(len), ModelError, f"{MODELS}, not <built-in function len>, which must be called first"),
        (lambda: ms.load_model(3), ModelError, f"{MODELS}, not 3"),
        (lambda: ms.load_model("gemm:8x8x8", 3), ModelError, None),
        (lambda: ms.compile_graph([]), ModelError, f"{MODELS}, not []"),
        (lambda: ms.Runtime({}), ModelError, f"{MODELS}, not {{}}"),
        (lambda: ms.run("gemm:8x8x8", 3), ConfigError, f"{MACHINES}, not 3"),
        (lambda: ms.simulate(ms.compile_graph("gemm:8x8x8"), 3), ConfigError, f"{MACHINES}, not 3"),
        (lambda: ms.Machine(sram=5), ConfigError, "Machine: sram: must be a section, [sram], not 5"),
        (lambda: ms.simulate(3), UsageError, "schedule must be a Schedule, such as compile_graph returns, not 3"),
        (lambda: ms.run("gemm:8x8x8", schedule=3), UsageError, None),
        (lambda: ms.run("gemm:8x8x8", schedule=ms.compile_graph("gemm:9x8x8")), UsageError, OTHERS),
        (lambda: ms.Runtime("gemm:8x8x8", schedule=ms.compile_graph("softmax:8x8")), UsageError, None),
        (lambda: ms.Runtime("gemm:8x8x8", kernel=3), UsageError, "kernel must be a text such as 'auto', not 3"),
        (lambda: ms.run("gemm:8x8x8", inputs=3), UsageError, "inputs must be a mapping of names to arrays, not 3"),
        (lambda: ms.run("gemm:8x8x8", inputs={"a": "x"}), UsageError, None),
        (lambda: ms.run("gemm:8x8x8", inputs={"a": [[1], [1, 2]]}), UsageError, None),
        (lambda: ms.run("gemm:8x8x8", inputs={3: 1}), UsageError, "3 is not an input of 'gemm'"),
        (lambda: ms.run("gemm:8x8x8", timing=[]), UsageError, "timing must be native or simpy, not []"),
        (lambda: ms.run("gemm:8x8x8", observers=3), UsageError, "observers must be a sequence of observers, not 3"),
        (lambda: ms.run("gemm:8x8x8", observers=[3]), UsageError,
         "an observer must have the methods on_issue, on_start, on_retire; 3 has no on_issue"),
        (lambda: ms.run("gemm:8x8x8", observers=[OfOne()]), UsageError,
         "on_start of an observer is called with (op, cycle), which OfOne's does not take"),
        (lambda: ms.run("gemm:8x8x8", on_stage=3), UsageError,
         "on_stage must be a function of number, name and IR, not 3"),
        (lambda: ms.compile_graph("gemm:8x8x8", on_stage=[]), UsageError,
         "on_stage must be a function of number, name and IR, not []"),
        (lambda: ms.run("gemm:8x8x8", max_operations="a"), UsageError,
         "max_operations must be a whole number, not 'a'"),
        (lambda: ms.compile_graph("gemm:8x8x8", undispatched=3), UsageError, "undispatched must be a Schedule, not 3"),
        (lambda: ms.Runtime("gemm:8x8x8").get([]), UsageError, "[] is not an output of 'gemm'"),
        (lambda: ms.Runtime("gemm:8x8x8").set([], 3), UsageError, "[] is not an input of 'gemm'"),
        (lambda: ms.load_model("gemm:8x8x8").evaluate({}), UsageError, "input 'a' has no values"),
        (lambda: ms.load_model("gemm:8x8x8").evaluate(3), UsageError,
         "inputs must be a mapping of names to arrays, not 3"),
        (lambda: ms.load_model("gemm:8x8x8").evaluate({"a": [3]}), UsageError,
         "input 'a' must have shape (8, 8), not (1,)"),
        (lambda: ms.load_model("gemm:8x8x8").evaluate({"a": "x"}), UsageError,
         "input 'a' is not an array of numbers (numbers are needed, not <U1)"),
        (lambda: ms.load_model("gemm:8x8x8").evaluate({"a": np.ones((8, 8))}, dtype=7), UsageError,
         "dtype must be a type of floats such as numpy.float64, not 7"),
        (lambda: ms.load_model("gemm:8x8x8").evaluate({"a": np.ones((8, 8))}, dtype=np.int32), UsageError, None),
        (lambda: ms.Machine().digest("srm"), UsageError, "a machine has no section 'srm'; did you mean 'sram'?"),
        (lambda: ms.Machine().digest([]), UsageError, "a machine has no section []"),
        (lambda: ms.Machine.check({}, "m", np.ones(3)), UsageError,
         "origin must be a mapping of dotted keys to where they came from, not array([1., 1., 1.])"),
        (lambda: ms.Runtime("gemm:8x8x8").dtype([]), UsageError, "[] is not a tensor of 'gemm'"),
        (lambda: ms.Runtime("gemm:8x8x8").dtype("cc"), UsageError, "'cc' is not a tensor of 'gemm'; did you mean 'c'?"),
        (lambda: ms.Runtime("gemm:8x8x8").set(np.ones(3), 3), UsageError,
         "array([1., 1., 1.]) is not an input of 'gemm'"),
        (lambda: ms.compile_graph("gemm:8x8x8").describe(4), UsageError, "operation must be from 0 to 3, not 4"),
        (lambda: ms.compile_graph("gemm:8x8x8").describe(-1), UsageError, "operation must be from 0 to 3, not -1"),
        (lambda: ms.compile_graph("gemm:8x8x8").title("a"), UsageError, "operation must be a whole number, not 'a'"),
        (lambda: ms.compile_graph("gemm:8x8x8").tile_name(3), UsageError, "tile must be from 0 to 2, not 3"),
        (lambda: ms.compile_graph("gemm:8x8x8").tile_name(0, "a"), UsageError,
         "version must be a whole number, not 'a'"),
        (lambda: ms.compile_graph("gemm:8x8x8").lane_name(4), UsageError, "lane must be from 0 to 3, not 4"),
        (lambda: ms.load_model("gemm:8x8x8", dims=np.ones(3)), UsageError,
         "dims must be a mapping of names to sizes, such as {'seq': 128}, not array([1., 1., 1.])"),
        (lambda: ms.run("gemm:8x8x8", numerics=np.ones(3)), UsageError,
         "numerics must be true or false, not array([1., 1., 1.])"),
        (lambda: ms.run("gemm:8x8x8", check="no"), UsageError, "check must be true or false, not 'no'"),
        (lambda: ms.run("gemm:8x8x8", memory_limit="4GiB"), UsageError,
         "memory_limit must be a whole number, not '4GiB'"),
        (lambda: ms.run("gemm:8x8x8", on_stage=int), UsageError, None),
        (lambda: ms.compile_graph("gemm:8x8x8", on_stage=len), UsageError,
         "on_stage must be a function of number, name and IR, not <built-in function len> "
         "(len() takes exactly one argument (3 given))"),
        (lambda: ms.compile_graph("gemm:8x8x8", on_stage=lambda only: None), UsageError, None),
    ],
)  # fmt: skip
def test_a_wrong_argument_is_one_clear_message(call: Any, kind: type[Exception], message: str | None) -> None:
    with pytest.raises(kind) as caught:
        call()
    assert type(caught.value) is kind
    assert str(caught.value) == message if message else "\n" not in str(caught.value)


def test_a_schedule_is_saved_whole_or_not_at_all(tmp_path: Path) -> None:
    schedule = ms.compile_graph("gemm:8x8x8")
    for path in (tmp_path / "none" / "s.npz", tmp_path, 3):
        with pytest.raises(MinisimError, match="cannot be written"):
            schedule.save(path)  # type: ignore[arg-type]
    schedule.save(os.devnull)
    assert not Path(os.devnull).is_file()  # it is still the device
    assert list(tmp_path.iterdir()) == []
    for content in (b"", b"PK\3\4", b"\x93NUMPY", b"{}"):
        (tmp_path / "s.npz").write_bytes(content)
        with pytest.raises(MinisimError, match="not a schedule file"):
            ms.Schedule.load(tmp_path / "s.npz")


def test_a_damaged_schedule_file_is_refused(tmp_path: Path) -> None:
    schedule = ms.compile_graph("gemm:64x64x64")
    beyond = schedule.stream.copy()
    beyond["row"] = 10**6
    schedule.replace(stream=beyond).save(tmp_path / "s.npz")
    with pytest.raises(MinisimError, match="refers beyond its operand table"):
        ms.Schedule.load(tmp_path / "s.npz")


# -- bugs, and what is none ----------------------------------------------------------------------------------


@pytest.mark.usefixtures("bug")
def test_a_bug_is_an_internal_error_with_a_report() -> None:
    with pytest.raises(InternalError, match="this is a bug in minisim: KeyError: 'what is not there'") as caught:
        ms.run("gemm:8x8x8", ms.Machine(name="mine"))
    assert not isinstance(caught.value, MinisimError)
    assert isinstance(caught.value.__cause__, KeyError)
    report = caught.value.report
    for word in ("minisim.run.run('gemm:8x8x8', ", "KeyError", "in class_costs", 'name = "mine"', "[sram]",
                 f"minisim-npu {minisim.boundary._version('minisim-npu')}", "numpy ", "Python "):  # fmt: skip
        assert word in report, word


def test_a_method_is_guarded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minisim.compiler.graph.checked_name", len)
    with pytest.raises(InternalError, match=r"this is a bug in minisim: TypeError: len\(\) takes exactly one argument"):
        ms.Graph("g").input("x", (4, 4))


class Stop(Exception):
    pass


class Observer:
    def on_issue(self, op: int, cycle: int) -> None:
        raise Stop("enough")

    def on_start(self, op: int, cycle: int) -> None: ...

    def on_retire(self, op: int, cycle: int) -> None: ...


class Lazy:
    def __array__(self, *args: object, **kwargs: object) -> np.ndarray[Any, Any]:
        raise Stop("enough")


def test_what_the_callers_own_code_raises_passes() -> None:
    def stage(*args: object) -> None:
        raise Stop("enough")

    for call in (
        lambda: ms.run("gemm:8x8x8", observers=[Observer()]),
        lambda: ms.run("gemm:8x8x8", on_stage=stage),
        lambda: ms.run("gemm:8x8x8", inputs={"a": Lazy()}),
        lambda: ms.Graph("g").weight("w", Lazy()),  # type: ignore[arg-type]
    ):
        with pytest.raises(Stop):
            call()


def test_a_call_with_other_arguments_is_pythons_own_error() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'bogus'"):
        ms.run("gemm:8x8x8", bogus=3)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        ms.Graph("g").relu()  # type: ignore[call-arg]


def test_the_face_can_be_pickled() -> None:
    assert pickle.loads(pickle.dumps(ms.run)) is ms.run
    assert pickle.loads(pickle.dumps(ms.Machine.load)) == ms.Machine.load
    error = pickle.loads(pickle.dumps(InternalError("a", "b")))
    assert (str(error), error.report) == ("a", "b")


@pytest.mark.usefixtures("bug")
@pytest.mark.parametrize("command", ["run gemm:8x8x8 --dump-ir a/ir --out a/out", "explain gemm:8x8x8 --out a/out"])
def test_a_bug_ends_the_command_with_code_70_and_a_report(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["minisim", *command.split()])
    result = CliRunner().invoke(main, command.split())
    assert result.exit_code == 70
    (path,) = (p for p in tmp_path.iterdir() if p.is_file())
    assert result.stderr.splitlines() == [
        "minisim: internal error: this is a bug in minisim: KeyError: 'what is not there'",
        f"minisim: internal error: please file it with {path}",
    ]
    text = path.read_text()
    for word in (f"call      minisim {command}", "Traceback", "[sram]", "numpy "):
        assert word in text, word
    assert not (tmp_path / "a" / "out").exists()


@pytest.mark.usefixtures("bug")
def test_the_report_lies_elsewhere_if_the_folder_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[str] = []

    def folders() -> Any:
        for folder in ("/proc/nowhere", str(tmp_path)):
            tries.append(folder)
            yield folder

    monkeypatch.setattr("minisim.boundary._folders", folders)
    result = CliRunner().invoke(main, ["run", "gemm:8x8x8", "--no-numerics"])
    assert result.exit_code == 70 and tries == ["/proc/nowhere", str(tmp_path)]
    (path,) = tmp_path.iterdir()
    assert f"please file it with {path}" in result.stderr

    monkeypatch.setattr("minisim.boundary._folders", lambda: iter(["/proc/nowhere"]))
    result = CliRunner().invoke(main, ["run", "gemm:8x8x8", "--no-numerics"])
    assert result.exit_code == 70 and "KeyError: 'what is not there'" in result.stderr and "numpy " in result.stderr


def test_the_folders_for_reports_are_this_one_then_the_temporary_one(monkeypatch: pytest.MonkeyPatch) -> None:
    import tempfile

    assert list(minisim.boundary._folders()) == [".", tempfile.gettempdir()]


def test_an_exception_that_cannot_be_written_has_a_report() -> None:
    assert "Deep" in minisim.boundary.report(Deep(), "minisim run", None)


@pytest.mark.usefixtures("bug")
def test_a_bug_in_one_point_of_a_sweep_is_told_in_its_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["sweep", "gemm:8x8x8", "--param", "tile.m=8", "--jobs", "1"])
    assert "a bug in minisim: KeyError: 'what is not there'" in (tmp_path / "out" / "sweep.csv").read_text()
    assert result.exit_code == 0


def test_the_class_of_a_models_own_graph_is_its_authors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.py").write_text(
        "import minisim as ms\n\nclass Mine(ms.Graph):\n    def verify(self):\n        return 1 / 0\n\n"
        "def model():\n    return Mine('m')\n"
    )
    result = CliRunner().invoke(main, ["run", "m.py"])
    assert (result.exit_code, result.stderr) == (2, "minisim: error: m.py:5: ZeroDivisionError: division by zero\n")
