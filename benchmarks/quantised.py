"""Operators on quantised values beside ONNX Runtime, its graph optimisation off: how many elements differ.

    python benchmarks/quantised.py                 200 random nodes of each operator
    python benchmarks/quantised.py 1000 --seed 2   more, and others
    python benchmarks/quantised.py --only QLinearAdd

Sums and products are of all 65,536 pairs of values, or of one value with all, with scales that make ties frequent.
The processor must fuse multiplication and addition (FMA), as ONNX Runtime's sums do there. The exit code is 1 if any
element differs.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime
from onnx import helper

import minisim as ms


class Drawn(NamedTuple):
    """A node's inputs: those given at run time, in the order in which they stand, and what the attributes are."""

    arrays: tuple[Any, ...]
    attributes: dict[str, Any]


def pairs(drawn: random.Random, dtype: Any) -> Drawn:
    """All pairs of values, or those with one value: of the whole tensor, or of each row."""
    every = np.arange(np.iinfo(dtype).min, np.iinfo(dtype).max + 1)
    one = np.array([[drawn.choice(list(every))]])
    rows = np.random.default_rng(drawn.getrandbits(32)).permutation(every)[:, None]
    a = np.repeat(every[:, None], 256, axis=1)
    return Drawn(tuple(x.astype(dtype) for x in drawn.choice([(a, a.T), (a, one), (one, a), (a, rows), (rows, a)])), {})


def images(drawn: random.Random, dtype: Any) -> tuple[Any, ...]:
    shape = drawn.randint(1, 2), drawn.randint(1, 40), drawn.randint(3, 33), drawn.randint(3, 33)
    limits = np.iinfo(dtype)
    rng = np.random.default_rng(drawn.getrandbits(32))
    return (rng.integers(limits.min, limits.max, shape, dtype, endpoint=True),)


def windows(drawn: random.Random, dtype: Any) -> Drawn:
    kernel = [drawn.randint(1, 3), drawn.randint(1, 3)]
    pads = [drawn.randint(0, size - 1) for size in kernel * 2]
    strides = [drawn.randint(1, 3), drawn.randint(1, 3)]
    counted = drawn.randint(0, 1)
    attributes = {"kernel_shape": kernel, "pads": pads, "strides": strides, "count_include_pad": counted}
    return Drawn(images(drawn, dtype), attributes)


OPERATORS: dict[str, Callable[[random.Random, Any], Drawn]] = {
    "QLinearAdd": pairs,
    "QLinearMul": pairs,
    "QLinearAveragePool": windows,
    "QLinearGlobalAveragePool": lambda drawn, dtype: Drawn(images(drawn, dtype), {}),
}


def scale(drawn: random.Random) -> Any:
    """A random one, or a multiple of few others by a power of two: sums of these have many ties."""
    if drawn.random() < 0.25:
        return np.float32(np.exp(drawn.uniform(-5, -2)))
    return np.float32(drawn.choice([0.02, 0.03, 0.0123, 0.05, 0.007]) / 2 ** drawn.randint(0, 3))


def node(op: str, drawn: random.Random) -> tuple[onnx.ModelProto, dict[str, Any]]:
    """A model of one node, and its inputs."""
    dtype = drawn.choice([np.uint8, np.int8])
    limits = np.iinfo(dtype)
    given, attributes = OPERATORS[op](drawn, dtype)
    inputs, names, constants = {}, [], {}
    for i, array in enumerate([*given, None]):
        name = f"x{i}" if array is not None else "y"
        if array is not None:
            inputs[name] = array
            names.append(name)
        constants[f"{name}_scale"] = scale(drawn)
        constants[f"{name}_zero"] = dtype(drawn.randint(limits.min, limits.max))
        names += [f"{name}_scale", f"{name}_zero"]
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    graph = helper.make_graph(
        [helper.make_node(op, names, ["y"], domain="com.microsoft", **attributes)],
        op,
        [helper.make_tensor_value_info(name, kind, array.shape) for name, array in inputs.items()],
        [onnx.ValueInfoProto(name="y")],
        [onnx.numpy_helper.from_array(np.asarray(x), name) for name, x in constants.items()],
    )
    opsets = [helper.make_opsetid("", 19), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9), inputs


def differing(op: str, count: int, seed: int, folder: Path) -> tuple[int, int]:
    """How many elements `count` nodes make, and how many of them differ."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    elements = differ = 0
    for number in range(count):
        model, inputs = node(op, random.Random(f"{seed} {op} {number}"))
        path = folder / "node.onnx"
        onnx.save(model, path)
        (expected,) = onnxruntime.InferenceSession(str(path), options).run(None, inputs)
        found = ms.run(path, {"compiler.effort": 0}, inputs=inputs, check=False).outputs["y"]
        assert found.shape == expected.shape and found.dtype == expected.dtype
        elements += expected.size
        differ += int(np.count_nonzero(found != expected))
    return elements, differ


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", nargs="?", type=int, default=200, help="nodes of each operator")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=OPERATORS, help="one operator")
    args = parser.parse_args()
    total = 0
    with tempfile.TemporaryDirectory() as folder:
        for op in [args.only] if args.only else OPERATORS:
            elements, differ = differing(op, args.count, args.seed, Path(folder))
            total += differ
            print(f"{op:<26}{elements:>12,} elements, {differ:,} differ", flush=True)
    return 1 if total else 0


if __name__ == "__main__":
    sys.exit(main())
