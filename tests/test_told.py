"""What a user would be told wrongly: small truths without which some mutant survived (docs/mutation.md)."""

from __future__ import annotations

import inspect
import math
import re
import time
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from support.golden import Golden

import minisim as ms
from minisim.cli import main
from minisim.compiler.example_inputs import example_inputs
from minisim.compiler.frontend import builtin
from minisim.hwmodel.config import keys
from minisim.hwmodel.dram_presets import PRESETS
from minisim.hwmodel.gates import GATES
from minisim.hwmodel.vector_ops import VectorOp
from minisim.reports.hints import _layers
from minisim.reports.terminal import scaled
from minisim.sweeps.grid import Point
from minisim.sweeps.rows import point_rows


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refusal(spec: str) -> str:
    with pytest.raises(ms.MinisimError) as caught:
        ms.load_model(spec)
    return str(caught.value)


# -- models ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "low", "high"), [("int16", -(2**15), 2**15 - 1), ("int32", -1000, 1000)])
def test_example_inputs_are_uniform_over_what_docs_say(dtype: str, low: int, high: int) -> None:
    graph = ms.Graph()
    graph.input("x", (400, 400), dtype=dtype)
    values = example_inputs(graph)["x"]
    assert low <= values.min() <= low + (high - low) / 1000 and high - (high - low) / 1000 <= values.max() <= high
    assert abs(values.mean()) < (high - low) / 200


@pytest.mark.parametrize("k", [1, 64, 500])
def test_a_built_in_of_int8_has_results_of_the_deviation_it_says(k: int) -> None:
    (node,) = builtin.gemm(8, k, 8, "int8").nodes
    variance = float(np.var(np.arange(-128, 128)))
    assert node.attributes.scale == pytest.approx(builtin.RESULT_DEVIATION / (variance * math.sqrt(k)), rel=1e-9)


def test_an_error_in_code_made_from_text_is_located_in_the_model(folder: Path) -> None:
    (folder / "m.py").write_text("def model():\n    exec('1 / 0')\n")
    assert refusal("m.py") == "m.py:2: ZeroDivisionError: division by zero"


def test_an_error_in_a_package_of_an_environment_below_the_model_is_located_in_the_model(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = folder / "env" / "site-packages" / "package_that_fails.py"
    package.parent.mkdir(parents=True)
    package.write_text("def fails():\n    raise ValueError('no')\n")
    monkeypatch.syspath_prepend(str(package.parent))
    (folder / "m.py").write_text("import package_that_fails\n\ndef model():\n    package_that_fails.fails()\n")
    assert refusal("m.py") == "m.py:4: ValueError: no"


# -- the command -----------------------------------------------------------------------------------------------


def test_a_mistake_is_told_on_stderr_and_a_result_on_stdout(folder: Path) -> None:
    """So that `minisim run ... > log` shows mistakes."""
    wrong = CliRunner().invoke(main, ["run", "gemm:8x8"])
    assert (wrong.exit_code, wrong.stdout) == (2, "") and wrong.stderr.startswith("minisim: error: model 'gemm:8x8'")
    right = CliRunner().invoke(main, ["run", "gemm:8x8x8"])
    assert right.exit_code == 0 and right.stderr == "" and "cycles" in right.stdout


def test_a_hazard_says_what_it_does_not_know() -> None:
    hazard = ms.ScheduleHazard("unknown")
    assert (hazard.op, hazard.other, hazard.cycle) == (-1, -1, -1)


def test_seconds_of_real_time_are_those_that_passed() -> None:
    graph, machine = ms.load_model("gemm:96x96x96"), ms.Machine()
    began = time.perf_counter()
    result = ms.run(graph, machine)
    rows = point_rows(graph, [Point(0, {}, machine)], jobs=1)
    passed = time.perf_counter() - began
    told = [result.wall_compile_s, result.wall_simulate_s, rows[0]["wall_compile_s"], rows[0]["wall_simulate_s"]]
    assert all(0 < seconds < passed for seconds in told) and sum(told) < passed


@pytest.mark.parametrize(
    ("millionths", "text"),
    [
        (1.0, "1 uW"), (999.0, "999 uW"), (999.999, "1000 uW"), (1000.0, "1 mW"), (1234.5, "1.234 mW"),
        (999_999.5, "1000 mW"), (1e6, "1 W"), (2_000_000.0, "2 W"),
    ],
)  # fmt: skip
def test_a_power_has_the_prefix_that_suits_it(millionths: float, text: str) -> None:
    assert scaled(millionths, "W") == text


# -- DRAM parts ------------------------------------------------------------------------------------------------


def test_the_numbers_of_dram_parts(golden: Golden) -> None:
    """As their sources tabulate them (dram_presets.py names those): a change is a correction, and has a source."""
    numbers = (
        (name, field.name, getattr(part, field.name)) for name, part in PRESETS.items() for field in fields(part)
    )
    lines = [f"{name} {key} = {value}" for name, key, value in numbers]
    golden.check("dram_presets.txt", "\n".join(lines) + "\n")


def test_what_can_be_called_and_with_what(golden: Golden) -> None:
    """The face of the package: its functions, classes and their methods, and what each argument is by default."""
    lines = []
    for name in sorted(ms.__all__):
        thing = getattr(ms, name)
        if inspect.isclass(thing) and thing.__module__.endswith("_engine"):
            continue  # the engine's signatures are in C++
        methods = inspect.getmembers(thing, inspect.isroutine) if inspect.isclass(thing) else []
        for title, one in [(name, thing), *((f"{name}.{method}", function) for method, function in methods)]:
            if callable(one) and not title.rpartition(".")[2].startswith("_") and inspect.getmodule(one) is not None:
                lines.append(f"{title}{_signature(one)}")
    golden.check("api.txt", "\n".join(lines) + "\n")


def _signature(thing: Any) -> str:
    with suppress(ValueError):  # of some that are written in C there is none
        return re.sub(r" at 0x\w+", "", str(inspect.signature(thing)))
    return ""


def test_what_vector_operations_are_and_what_gates_mean(golden: Golden) -> None:
    """Their codes are in saved schedules and in C++, their steps are what users pay for."""
    lines = [
        f"{op.value} {op.name} of {op.kinds} gives {op.result}{' reduces' * op.is_reduction}: "
        f"costs {' '.join(op.costs)}, priced {' '.join(op.prices)}, takes {' '.join(op.types)}"
        for op in VectorOp
    ]
    for code, gate in enumerate(GATES):
        terms = [f"{t.cycles} as {' or '.join(dict.fromkeys(t.causes))}" for t in gate.terms]
        lines.append(
            f"{code} {gate.name} holds {gate.point.name} from {gate.origin}: {', '.join(terms) or 'at once'}, "
            f"of {'the holder' if gate.of_holder else 'itself'}; waits for {gate.waits_for or 'nothing'}"
        )
    golden.check("codes.txt", "\n".join(lines) + "\n")


def test_the_keys_of_a_machine_their_bounds_and_their_words(golden: Golden) -> None:
    """What a key is if nobody writes it, the least and the most that it may be, and what documentation says of it."""
    lines = []
    for name, field in keys().items():
        bounds = [f"{kind} {getattr(rule, kind)}" for rule in field.metadata for kind in ("ge", "le", "gt", "lt")
                  if hasattr(rule, kind)]  # fmt: skip
        lines.append(f"{name} = {field.default}{''.join(f' ({bound})' for bound in bounds)}: {field.description}")
    golden.check("keys.txt", "\n".join(lines) + "\n")


def test_an_override_may_have_seven_digits() -> None:
    part = PRESETS["ddr4-3200"]
    assert part.override("tREFI=1000000 CL=0") == replace(part, tREFI=1000000, CL=0)
    with pytest.raises(ValueError, match="whole number of at most 7 digits"):
        part.override("tREFI=10000000")


# -- fusion ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("first", "second"), [("relu", "sigmoid"), ("sigmoid", "relu"), ("relu", "relu")])
def test_only_one_activation_is_fused(first: str, second: str) -> None:
    """The second one is not swallowed, nor does it take the place of the first."""
    graph = ms.Graph()
    y = getattr(graph, first)(graph.input("x", (2, 2)) @ graph.weight("w", np.eye(2)))
    graph.output(getattr(graph, second)(y), "y")
    result = ms.run(graph, inputs={"x": [[-1.0, 2.0], [0.5, -3.0]]})
    assert len(result.schedule.layers) == 2
    assert result.max_abs_error is not None and result.max_abs_error < 1e-6


def test_a_layer_is_one_and_layers_are_more() -> None:
    assert (_layers(1), _layers(2)) == ("1 layer uses", "2 layers use")
