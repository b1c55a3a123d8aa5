"""ONNX's own node tests through the whole of minisim: compiled, timed, and computed by the engine, in lockstep.

    make onnx-cases        # or: python benchmarks/onnx_cases.py [OPERATOR ...] writes the table of docs/onnx.md

For the operators of onnx_scope.txt. A case passes if what the engine computed is what ONNX says, within the case's
own tolerance (of bfloat16 two units in the last place: its own is less than one), in shape and type, too; nothing is
compared with, or computed by, numpy in between. What a case feeds as integers behind its first operand (shapes, axes,
pads, indices), the further operands of Pad, Dropout, Resize, Upsample, CastLike, Compress and OneHot, the condition of
an If, the number of trips of a Loop and the shape of a ConstantOfShape are bound as the model is read: minisim takes
them as constants. Every other case is refused, by a message whose first line is counted in the table.
"""

from __future__ import annotations

import re
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx.backend.test.loader import load_model_tests

import minisim as ms

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "onnx.md"
BEGIN, END = "<!-- cases: begin -->", "<!-- cases: end -->"
BOUND = {"Pad", "Dropout", "Resize", "Upsample", "CastLike", "Compress", "OneHot"}
"""Operators of which all operands but the first are bound."""

FLOATS8 = ("float8_e4m3fn", "float8_e5m2")

BFLOAT16_UNIT = 2.0**-7
"""What two neighbours in bfloat16 differ by at the most, relatively."""

AT_RUN_TIME = {"Gather"}
"""Operators whose integers are inputs like others: indices that are known at run time alone."""

CONSTANT = {"If", "ConstantOfShape"}
"""Operators of which all operands are bound."""


@dataclass
class Row:
    """The cases of one operator.

    Attributes:
        refused: messages, with how many cases each; wrong: names of cases that did not pass and were not refused.
    """

    operator: str
    cases: int = 0
    passed: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


def scope() -> list[str]:
    """The operators of the list."""
    lines = (HERE / "onnx_scope.txt").read_text().splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


@cache
def node_tests() -> list[Any]:
    """All cases; ONNX computes them anew, which takes seconds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of numpy, where a case overflows on purpose
        return list(load_model_tests(kind="node"))


def cases(operators: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """The operator and the case, of each base case of these operators; "expanded" forms are other operators' cases."""
    for case in node_tests():
        operator = case.model.graph.node[0].op_type if case.model is not None and case.model.graph.node else ""
        if operator in operators and "_expanded" not in case.name:
            yield operator, case


def passes(operator: str, case: Any, folder: Path) -> str:
    """ "" if the case passes, else why it is refused. Raises AssertionError if the result is not ONNX's."""
    for inputs, outputs in ([list(map(_array, each)) for each in both] for both in case.data_sets):
        model, given = onnx.ModelProto(), {}
        model.CopyFrom(case.model)
        bound = set()
        for i, (info, value) in enumerate(zip(case.model.graph.input, inputs, strict=False)):
            array = np.asarray(value)
            counts = operator == "Loop" and array.dtype.kind in "iub"  # how many trips, and whether there are any
            fixed = i and (array.dtype.kind in "iu" or operator in BOUND) and operator not in AT_RUN_TIME
            if fixed or operator in CONSTANT or counts:
                model.graph.initializer.append(onnx.numpy_helper.from_array(array, info.name))
                bound.add(info.name)
            else:
                given[info.name] = value
        kept = [info for info in model.graph.input if info.name not in bound]
        del model.graph.input[:]
        model.graph.input.extend(kept)
        path = folder / "case.onnx"
        path.write_bytes(model.SerializeToString())
        try:
            graph = ms.load_model(path)
            result = ms.run(graph, inputs={name: given[name] for name in graph.inputs}, check=False)
        except ms.MinisimError as e:
            return reason(str(e))
        for info, expected in zip(case.model.graph.output, outputs, strict=False):
            found, relative = result.outputs[info.name], case.rtol
            if (dtype := np.asarray(expected).dtype).name == "bfloat16":  # numpy has it not: float32 here
                expected, dtype = expected.astype(np.float32), np.dtype(np.float32)
                relative = max(relative, 2 * BFLOAT16_UNIT)
            elif dtype.name in FLOATS8:  # nor these; exactly
                expected, dtype, relative = expected.astype(np.float32), np.dtype(np.float32), 0.0
            assert (found.shape, found.dtype) == (np.shape(expected), dtype), info.name
            np.testing.assert_allclose(found, expected, rtol=relative, atol=case.atol)
    return ""


def _array(value: Any) -> Any:
    """What a case feeds, which some cases give as ONNX's own tensors."""
    return onnx.numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value


def reason(message: str) -> str:
    """A refusal without the names of its case: its first line that says why."""
    lines = [line.strip() for line in message.splitlines()]
    text = lines[1] if len(lines) > 1 and lines[0].endswith("not supported:") else lines[0]
    text = re.sub(r"^model '[^']*': ", "", text)
    text = re.sub(r"^node '[^']*' \((\w+)[^)]*\)+(: |$)", "", text)
    text = re.sub(r"^input '[^']*'", "an input", text)
    text = re.sub(r"^output '[^']*'", "an output", text)
    text = re.sub(r"\(\d[\d, ]*\)|'[^']*'|\b\d+\b", "_", text)
    return text or "no such operator"


def table(operators: Sequence[str]) -> list[Row]:
    """A row for each operator that has cases."""
    rows = {operator: Row(operator) for operator in operators}
    with tempfile.TemporaryDirectory() as folder:
        for operator, case in cases(operators):
            row = rows[operator]
            row.cases += 1
            try:
                refused = passes(operator, case, Path(folder))
            except Exception as e:
                row.wrong.append(f"{case.name}: {' '.join(str(e).split())[:200]}")
                continue
            if refused:
                row.refused[refused] += 1
            else:
                row.passed += 1
    return [row for row in rows.values() if row.cases]


def lines(rows: Sequence[Row]) -> Iterator[str]:
    """The table in Markdown."""
    yield "| operator | cases | passed | refused, and why |"
    yield "|---|---|---|---|"
    for row in rows:
        why = "; ".join(f"{count}: {text}" for text, count in row.refused.most_common(3))
        more = len(row.refused) - 3
        yield f"| {row.operator} | {row.cases} | {row.passed} | {why}{f'; {more} other reasons' if more > 0 else ''} |"
    total = [sum(getattr(row, name) for row in rows) for name in ("cases", "passed")]
    yield f"| **{len(rows)} operators** | {total[0]} | {total[1]} | {total[0] - total[1]} |"


def main(operators: Sequence[str]) -> None:
    rows = table(operators or scope())
    text = "\n".join(lines(rows))
    wrong = [line for row in rows for line in row.wrong]
    for line in wrong:
        print("WRONG", line)
    if operators:
        print(text)
    elif not wrong:
        page = PAGE.read_text()
        before, after = page.split(BEGIN)[0], page.split(END)[1]
        PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")
        print(text.splitlines()[-1], f"-> {PAGE}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main(sys.argv[1:])
