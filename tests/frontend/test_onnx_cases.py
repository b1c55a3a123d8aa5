"""A sample of ONNX's node tests, and that docs/onnx.md says of them what is so; `make onnx-cases` runs all."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from minisim.compiler.ops import ONNX_IMPORTERS

ROOT = Path(__file__).parents[2]
EVERY = 8


def script() -> ModuleType:
    """The command, as a module; the same one each time."""
    if "onnx_cases" in sys.modules:
        return sys.modules["onnx_cases"]
    spec = importlib.util.spec_from_file_location("onnx_cases", ROOT / "benchmarks" / "onnx_cases.py")
    assert spec and spec.loader
    module = sys.modules["onnx_cases"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def told() -> dict[str, tuple[int, int]]:
    """The cases and the passed ones of each operator, as the page has them."""
    page = (ROOT / "docs" / "onnx.md").read_text().splitlines()
    rows = [[cell.strip() for cell in line.split("|")] for line in page if line.startswith("| ")]
    return {row[1]: (int(row[2]), int(row[3])) for row in rows if row[2].isdigit() and "*" not in row[1]}


def test_every_eighth_case_is_computed_as_onnx_says_or_refused(tmp_path: Path) -> None:
    cases, page = script(), told()
    seen: dict[str, list[str]] = {}
    for i, (operator, case) in enumerate(cases.cases(cases.scope())):
        seen.setdefault(operator, [])
        if i % EVERY == 0:
            seen[operator].append(cases.passes(operator, case, tmp_path))  # raises if what is computed is wrong
    assert set(page) == set(seen)
    for operator, reasons in seen.items():
        total, passed = page[operator]
        refused = sum(map(bool, reasons))
        assert refused <= total - passed, operator
        assert len(reasons) - refused <= passed, operator
    assert sum(passed for _, passed in page.values()) > 350


WITHOUT_IMPORTER = {"Constant", "ConstantOfShape", "If", "Loop", "Scan", "Shape", "Size"}
"""What is known once a model is read."""

OF_IMAGES = """
    AveragePool BatchNormalization Cast CastLike Clip Concat Constant ConstantOfShape Conv ConvTranspose DepthToSpace
    Expand Flatten Gather Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool GroupNormalization HardSwish Identity If
    InstanceNormalization LRN LpPool MatMul MaxPool MeanVarianceNormalization Mod PRelu Pad Reshape Resize Slice
    SpaceToDepth Split Squeeze Tile Transpose Unsqueeze Upsample
"""
"""What networks of images are made of, beside elementwise operators and reductions."""

NOT_THERE = {"BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor"}
"""Bits of integers: refused as operators that there are not."""


def test_the_scope_is_all_that_there_is_and_what_networks_of_images_need() -> None:
    scope = set(script().scope())
    of_onnx = {name for name in ONNX_IMPORTERS if "::" not in name}  # of another domain there are no node tests
    assert scope == of_onnx | WITHOUT_IMPORTER
    assert set(OF_IMAGES.split()) <= scope and not scope & NOT_THERE


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("model 'a': not supported:\n  node 'y' (Resize)\n  (supported)", "no such operator"),
        ("model 'a': not supported:\n  input 'x' must be float32 or bool, not double",
         "an input must be float32 or bool, not double"),
        ("model 'a': not supported:\n  node 'y' (Cast): only of 12 kinds", "only of _ kinds"),
        ("model 'a': opset must be from 7 to 26", "opset must be from _ to _"),
    ],
)  # fmt: skip
def test_reasons_have_no_names_of_cases(message: str, reason: str) -> None:
    assert script().reason(message) == reason


def test_a_wrong_result_is_not_passed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cases = script()
    (case,) = (case for _, case in cases.cases(["Mish"]))

    def off(*args: Any, **kwargs: Any) -> Any:
        result = real(*args, **kwargs)
        for values in result.outputs.values():
            values += 0.01
        return result

    real = cases.ms.run
    monkeypatch.setattr(cases.ms, "run", off)
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        cases.passes("Mish", case, tmp_path)
