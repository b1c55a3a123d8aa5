"""What is swept: lists, ranges, links and constraints, and what is said where one is none."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minisim.errors import UsageError
from minisim.hwmodel.config import Machine
from minisim.sweeps.constraints import Constraint
from minisim.sweeps.grid import constrained
from minisim.sweeps.ranges import numeric, parse_param
from minisim.sweeps.specification import Specification


def values(text: str) -> list[str]:
    return parse_param(text)[1]


# -- ranges --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("sram.bytes=64KiB:512KiB:x2", ["64KiB", "128KiB", "256KiB", "512KiB"]),
        ("sram.bytes=64KiB:511KiB:x2,1MiB", ["64KiB", "128KiB", "256KiB", "1MiB"]),
        ("matrix.rows = 8:32:+8", ["8", "16", "24", "32"]),
        ("matrix.rows=8:8:x3", ["8"]),
        ("dram.bandwidth=12.8GB/s:51.2GB/s:x2", ["12.8GB/s", "25.6GB/s", "51.2GB/s"]),
        ("dram.latency=0ns:50ns:+20ns", ["0ns", "20ns", "40ns"]),
        ("dram.bandwidth=1GB/s:2GB/s:x1.5", ["1GB/s", "1.5GB/s"]),
        ("sparsity.pattern=2:4", ["2:4"]),
    ],
)
def test_a_range_is_its_values(text: str, found: list[str]) -> None:
    assert values(text) == found


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("srm.bytes=1:2:x2", "unknown key; did you mean 'sram.bytes'?"),
        ("matrix.dtype=a:b:x2", "the key has no numbers"),
        ("matrix.rows=8:4:+1", "must not end before it begins"),
        ("matrix.rows=4:8:x1", "must begin above 0 and grow"),
        ("matrix.rows=0:8:x2", "must begin above 0 and grow"),
        ("matrix.rows=4:8:+0", "must grow"),
        ("matrix.rows=4:8:xtwo", "multiplied by a number, not 'two'"),
        ("matrix.rows=8:64:x1.5", "must be whole numbers, which 40.5 is not"),
        ("sram.bytes=64kib:1MiB:x2", "did you mean 'KiB'?"),
        ("sram.bytes=1:2GiB:+1", "100,000 values at most"),
    ],
)
def test_what_is_no_range_is_told(text: str, rule: str) -> None:
    with pytest.raises(UsageError) as error:
        parse_param(text)
    assert rule in str(error.value) and str(error.value).startswith("--param ")


@given(st.integers(1, 5000), st.integers(0, 5000), st.integers(1, 700), st.booleans())
@settings(max_examples=50)
def test_a_range_is_what_counting_gives(first: int, more: int, step: int, geometric: bool) -> None:
    last, step = first + more, step + geometric
    expected, value = [], first
    while value <= last:
        expected.append(value)
        value = value * step if geometric else value + step
    found = values(f"matrix.rows={first}:{last}:{'x' if geometric else '+'}{step}")
    assert [numeric("matrix.rows", text) for text in found] == expected


# -- constraints ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "true"),
    [
        ("matrix.rows * matrix.cols == 1024", True),
        ("sram.bytes <= 128KiB", False),
        ("sram.bytes == 256KiB and dram.bandwidth == 25.6GB/s", True),
        ("dram.latency == 60ns and clock.frequency == 1GHz", True),
        ("dram.bandwidth / 3 == 25.6GB/s / 3", True),
        ("matrix.dtype == 'fp32'", True),
        ("not (matrix.rows > 32 or matrix.cols > 32)", True),
        ("8 < matrix.rows < 32", False),
        ("min(matrix.rows, 8) + abs(-matrix.cols) == 40", True),
        ("matrix.rows // 5 == 6 and matrix.rows % 5 == 2", True),
        ("0.1 + 0.2 == 0.3 * matrix.rows / 32", True),
    ],
)
def test_a_constraint_is_true_or_not(text: str, true: bool) -> None:
    assert Constraint.parse(text).holds_on(Machine()) is true


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("matrix.rowz == 3", "unknown key 'matrix.rowz'; did you mean 'matrix.rows'?"),
        ("1 == 1", "must name a key"),
        ("matrix.rows ** 99 == 1", "nothing that a constraint may have"),
        ("__import__('os').system('true') == matrix.rows", "nothing that a constraint may have"),
        ("matrix.rows.__class__ == 1", "unknown key"),
        ("[matrix.rows for x in 'ab']", "nothing that a constraint may have"),
        ("matrix.rows == mux(1, 2)", "there is no function 'mux'; did you mean 'max'?"),
        ("matrix.rows ==", "is no expression"),
        ("matrix.rows == 1e999", "too large"),
        ("matrix.rows == " + "1+" * 600 + "1", "1,000 characters at most"),
        ("(" * 300 + "matrix.rows" + ")" * 300, "is no expression"),
        ("abs(matrix.rows, 2) == 1", "abs has one argument"),
    ],
)
def test_what_is_no_constraint_is_told(text: str, rule: str) -> None:
    with pytest.raises(UsageError) as error:
        Constraint.parse(text)
    assert rule in str(error.value)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("matrix.rows * 2", "must compare something"),
        ("matrix.rows", "must compare something"),
        ("not matrix.rows", "must have comparisons"),
        ("1 / (matrix.rows - 32) > 0", "divides by zero (at matrix.rows=32)"),
        ("matrix.dtype < 3", "different kinds"),
        ("matrix.dtype * 3 == 1", "must reckon with numbers"),
    ],
)
def test_what_cannot_be_told_of_a_point_is_told(text: str, rule: str) -> None:
    with pytest.raises(UsageError) as error:
        Constraint.parse(text).holds_on(Machine())
    assert rule in str(error.value)


@given(st.recursive(
    st.sampled_from(["matrix.rows", "tile.m", "3", "64KiB"]),
    lambda inner: st.tuples(inner, st.sampled_from("+-*"), inner).map(lambda p: f"({p[0]} {p[1]} {p[2]})"),
    max_leaves=8,
))  # fmt: skip
@settings(max_examples=50)
def test_arithmetic_is_pythons(text: str) -> None:
    class Keys:
        rows, m = 32, 32

    plain = text.replace("64KiB", "65536")
    expected = eval(plain, {"matrix": Keys, "tile": Keys})
    assert Constraint.parse(f"{text} == {expected} and tile.m == 32").holds_on(Machine())


# -- the grid ------------------------------------------------------------------------------------------------


def of(*params: str, link: Any = (), where: Any = ()) -> list[tuple[str, ...]]:
    asked = [parse_param(text) for text in params]
    found = constrained(Machine(), asked, link, [Constraint.parse(text) for text in where])
    assert [point.index for point in found.points] == list(range(len(found.points)))
    return [tuple(point.params.values()) for point in found.points]


def test_linked_parameters_take_their_values_together() -> None:
    params = ("matrix.rows=8,16", "sram.bytes=64KiB,128KiB", "matrix.cols=32,64")
    assert of(*params, link=[["matrix.rows", "matrix.cols"]]) == [
        ("8", "64KiB", "32"), ("8", "128KiB", "32"), ("16", "64KiB", "64"), ("16", "128KiB", "64"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("link", "rule"),
    [
        ([["matrix.rows"]], "two keys at least"),
        ([["matrix.rows", "tile.m"]], "tile.m is no parameter here"),
        ([["matrix.rows", "matrix.cols"]], "as many values each; matrix.rows has 2, matrix.cols has 1"),
        ([["matrix.rows", "sram.bytes"], ["sram.bytes", "matrix.rows"]], "linked already"),
    ],
)
def test_what_is_no_link_is_told(link: list[list[str]], rule: str) -> None:
    with pytest.raises(UsageError) as error:
        of("matrix.rows=8,16", "matrix.cols=8", "sram.bytes=64KiB,128KiB", link=link)
    assert rule in str(error.value)


def test_constraints_drop_points_also_such_as_no_machine_can_have() -> None:
    area = "matrix.rows * matrix.cols == 1024"
    found = of("matrix.rows=16:9999:x2", "matrix.cols=16:64:x2", where=[area])
    assert found == [("16", "64"), ("32", "32"), ("64", "16")]


def test_a_constraint_sees_what_follows_a_parameter() -> None:
    """The edges of tiles follow the array, unless they are written."""
    assert of("matrix.rows=8,16", where=["tile.k == 16"]) == [("16",)]


def test_what_was_dropped_is_counted_once() -> None:
    params = [parse_param("matrix.rows=8,16,32,64")]
    constraints = [Constraint.parse(text) for text in ("matrix.rows > 8", "tile.k > 16", "sram.bytes > 0")]
    found = constrained(Machine(), params, (), constraints)
    assert list(found.dropped.values()) == [1, 1, 0] and len(found.points) == 2


# -- the file ------------------------------------------------------------------------------------------------

FILE = """
models = ["gemm:8x8x8", {model = "m.onnx", dim = {batch = 2}}]
configs = ["npu_32x32", "edge_8x8"]
effort = [0, 1]
numerics = false
seed = 3
memory_limit = "1GiB"
where = "matrix.rows > 4"
link = ["sram.bytes", "dma.channels"]
[set]
dram.latency = "80ns"
"compiler.keep_on_chip" = false
[param]
sram.bytes = "64KiB:256KiB:x2"
dma.channels = [1, "2", 3]
"""


def test_a_file_says_what_options_say(tmp_path: Path) -> None:
    (tmp_path / "sweep.toml").write_text(FILE)
    (tmp_path / "m.onnx").write_text("")
    found = Specification.load(tmp_path / "sweep.toml")
    assert [model.model for model in found.models] == ["gemm:8x8x8", str(tmp_path / "m.onnx")]
    assert found.models[1].bindings().dims == ("batch=2",)
    assert found.overrides == ["dram.latency=80ns", "compiler.keep_on_chip=false"]
    assert found.param == {
        "compiler.effort": ("0", "1"), "sram.bytes": ("64KiB", "128KiB", "256KiB"), "dma.channels": ("1", "2", "3"),
    }  # fmt: skip
    assert (found.link, found.where) == ((("sram.bytes", "dma.channels"),), ("matrix.rows > 4",))
    assert (found.numerics, found.seed, found.memory_limit) == (False, 3, 2**30)
    assert Specification.of_text(found.text()) == found


@pytest.mark.parametrize(
    ("text", "mistakes"),
    [
        ("model = 'x'", ["models: must be given", "model: unknown key; did you mean 'models'?"]),
        ("models = 'x'\nparms.x = 1", ["parms: unknown key; did you mean 'param'?"]),
        ("models = [{modle = 'x'}]",
         ["models.0.model: must be given", "models.0.modle: unknown key; did you mean 'model'?"]),
        ("models = []", ["models: must be a list of models"]),
        ("models = 'x'\nnumerics = 1\nseed = -1", ["numerics: must be true or false, not 1", "seed: must be a whole"]),
        ("models = 'x'\nmemory_limit = '3X'", ["memory_limit: must be a size such as '4GiB', not '3X'"]),
        ("models = 'x'\nparam.x = []", ["param: x: must have values"]),
        ("models = 'x'\nparam.sram.bytes = '8:4:+1'", ["param: sram.bytes=8:4:+1: a range must not end"]),
        ("models = 'x'\nwhere = 'a == 1'", ["where: a == 1: unknown key 'a'"]),
        ("models = 'x'\neffort = 'high'", ["effort: must be a whole number, or a list of them, not 'high'"]),
        ("models = 'x'\neffort = 1\nset.compiler.effort = 0", ["effort: given twice"]),
        ("models = 'x'\nset.tile.m = 8\nparam.tile.m = [8]", ["set: tile.m is a parameter, too"]),
        ("models = [", ["not valid TOML"]),
    ],
)  # fmt: skip
def test_every_mistake_of_a_file_has_a_line(text: str, mistakes: list[str], tmp_path: Path) -> None:
    path = tmp_path / "sweep.toml"
    path.write_text(text)
    with pytest.raises(UsageError) as error:
        Specification.load(path)
    lines = str(error.value).splitlines()
    assert len(lines) == len(mistakes)
    for line, mistake in zip(lines, mistakes, strict=True):
        assert line.startswith(f"{path}: {mistake}")


def test_a_file_that_is_not_there_has_a_near_one(tmp_path: Path) -> None:
    (tmp_path / "sweep.toml").write_text("")
    with pytest.raises(UsageError, match=r"there is no such file; did you mean 'sweep\.toml'\?"):
        Specification.load(tmp_path / "swep.toml")


@given(st.recursive(
    st.none() | st.booleans() | st.integers(-3, 2**70) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
), st.sampled_from([*Specification.model_fields, "effort", "other"]))  # fmt: skip
@settings(max_examples=100)
def test_whatever_a_file_says_is_a_sweep_or_a_mistake(value: Any, key: str) -> None:
    try:
        found = Specification.check({"models": "x", key: value}, "sweep.toml")
    except UsageError as error:
        told = str(error)
    else:
        told = "sweep.toml: "
        assert Specification.of_text(found.text()) == found
    assert told.startswith("sweep.toml: ")


def test_a_number_is_what_the_key_has() -> None:
    assert (numeric("sram.bytes", "64KiB"), numeric("dram.bandwidth", "1GB/s")) == (65536, Fraction(10**9))
