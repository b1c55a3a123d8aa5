"""Writes the rows of hwmodel/vector_ops.py as lists for the C++ preprocessor. CMake calls it when the engine is built.

python generate_vector_ops.py hwmodel/vector_ops.py build/generated/minisim/vector_ops.hpp
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

HEAD = """\
// Made from hwmodel/vector_ops.py, which documents the columns, by generate_vector_ops.py.
#pragma once

// ROW(name in an enum, NAME in messages, function of its definition, code, kinds of its sources,
//     kind of its result, (its sources), types)"""


def rows(macro: str, ops: list) -> str:
    """One list: its rows, each an application of the macro `ROW`."""
    lines = [f"#define {macro}(ROW)"]
    for op in ops:
        name = "".join(part.title() for part in op.name.split("_"))
        types = " | ".join(f"only(DType::k{dtype.title()})" for dtype in op.types)
        sources = ", ".join("xyz"[: op.sources])
        kinds = f"\"{op.kinds}\", '{op.result}'"
        lines.append(f"    ROW({name}, {op.name}, {op.name.lower()}, {int(op)}, {kinds}, ({sources}), {types})")
    return " \\\n".join(lines) + "\n"


def main(table: str, header: str) -> None:
    ops = list(runpy.run_path(table)["VectorOp"])
    elementwise = rows("MINISIM_ELEMENTWISE", [op for op in ops if op.is_elementwise])
    reductions = rows("MINISIM_REDUCTIONS", [op for op in ops if op.is_reduction])
    moves = rows("MINISIM_MOVES", [op for op in ops if op.is_move])
    folds = rows("MINISIM_FOLDS", [op for op in ops if op.is_fold])
    conversions = rows("MINISIM_CONVERSIONS", [op for op in ops if op.is_conversion])
    Path(header).parent.mkdir(parents=True, exist_ok=True)
    Path(header).write_text("\n".join([HEAD, elementwise, reductions, moves, folds, conversions]))


if __name__ == "__main__":
    main(*sys.argv[1:])
