"""The light models of the package onnx: real networks, by name, without the megabytes of their weights.

Their weights are constants, each of one value, which would hide that channels were swapped. Here they are drawn: the
same values always, of the size that keeps activations alive through many layers.
"""

from __future__ import annotations

import math
import zlib
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from minisim.compiler.graph import Array, Graph
from minisim.compiler.memory import MEMORY_LIMIT
from minisim.compiler.values import drawn_normal

if TYPE_CHECKING:
    import onnx

PREFIX = "light_"


def light_models() -> dict[str, Path]:
    """The files of the models by name, ``light_resnet50``; none without the package onnx."""
    spec = find_spec("onnx")
    if spec is None or spec.origin is None:
        return {}
    folder = Path(spec.origin).parent / "backend" / "test" / "data" / "light"
    return {path.stem: path for path in sorted(folder.glob(f"{PREFIX}*.onnx"))}


def load_light(name: str, *, numerics: bool = True, memory_limit: int = MEMORY_LIMIT) -> Graph:
    """Return the graph of a light model; raises what `load_onnx` raises."""
    from minisim.compiler.frontend.onnx_file import load_onnx_named  # late: it imports onnx, which is optional

    prepare = draw_constants if numerics else None
    return load_onnx_named(light_models()[name], {}, numerics=numerics, memory_limit=memory_limit, prepare=prepare)[0]


def draw_constants(model: onnx.ModelProto) -> None:
    """Give every ConstantOfShape of `model` values of its own, in place."""
    import onnx.numpy_helper

    shapes = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    reader = {name: node.op_type for node in model.graph.node for name in node.input}
    places = {
        name: (node.op_type, i, reader.get(node.output[0], ""))
        for node in model.graph.node
        for i, name in enumerate(node.input)
    }
    kept = []
    for node in model.graph.node:
        if node.op_type != "ConstantOfShape" or node.input[0] not in shapes:
            kept.append(node)
            continue
        name = node.output[0]
        shape = tuple(int(size) for size in shapes[node.input[0]])
        values = _drawn(name, shape, *places.get(name, ("", 0, "")))
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    del model.graph.node[:]
    model.graph.node.extend(kept)


DAMPED = 0.3
"""Scales that end a residual branch: what is added again and again shall not grow out of all measure."""


def _drawn(name: str, shape: tuple[int, ...], op: str, place: int, read_by: str) -> Array:
    """What operand `place` of an operation may be, whose result is `read_by` another one: filters as He et al. (2015)
    draw them, scales and variances around 1, all else small."""
    seeds = [0, zlib.crc32(name.encode())]
    if place == 1 and op in ("Conv", "Gemm"):
        return drawn_normal(seeds, shape, scale=math.sqrt(2 / max(1, math.prod(shape[1:]))))
    if (op, place) in (("BatchNormalization", 1), ("Mul", 1)):
        return (1 + drawn_normal(seeds, shape)) * np.float32(DAMPED if read_by == "Sum" else 1.0)
    if (op, place) == ("BatchNormalization", 4):
        return np.exp(drawn_normal(seeds, shape))
    return drawn_normal(seeds, shape)
