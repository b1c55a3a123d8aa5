"""What torch's exporter writes beside the nodes of an ONNX model: the module, the call and the line that each is of.

A node of ``MatMul`` and one of ``Add`` may both be the call ``linear`` of the module ``encoder.layer.0.attn``, at
``model.py:31``. So nodes are called here as who wrote the model knows them:

    a module that makes one call           encoder.layer.0.attn
    each of several calls of a module      encoder.layer.0.add_1           the call as torch.export numbers it
    of a call of several nodes the one     encoder.layer.0.attn
    that multiplies, if it is one
    and the others                         encoder.layer.0.attn.Transpose, ... .Transpose_1
"""

from __future__ import annotations

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

SCOPES = "pkg.torch.onnx.name_scopes"
STACK = "pkg.torch.onnx.stack_trace"

MULTIPLY = {"Attention", "Conv", "ConvTranspose", "Einsum", "GRU", "Gemm", "LSTM", "MatMul", "RNN"}
"""Operators that a call is known by."""

SHORTER = {"scaled_dot_product_attention": "sdpa"}
"""What calls are called for short."""

Call = tuple[str, str]
"""The path of a module, and the name of a call that it makes."""


def call_names(nodes: Sequence[onnx.NodeProto]) -> list[str]:
    """What each node is called by the call that it is of; "" of those of which none is known."""
    calls = [_call(node) for node in nodes]
    of_module: defaultdict[str, set[str]] = defaultdict(set)
    members: defaultdict[Call, list[str]] = defaultdict(list)
    for call, node in zip(calls, nodes, strict=True):
        if call:
            of_module[call[0]].add(call[1])
            members[call].append(node.op_type)
    seen: Counter[tuple[Call, str]] = Counter()
    names = []
    for call, node in zip(calls, nodes, strict=True):
        if call is None:
            names.append("")
            continue
        module, own = call
        alone = module and len(of_module[module]) == 1
        name = module if alone else f"{module}.{own}".removeprefix(".")
        chief = sum(op in MULTIPLY for op in members[call]) == 1 and node.op_type in MULTIPLY
        if len(members[call]) > 1 and not chief:
            number = seen[call, node.op_type]
            seen[call, node.op_type] += 1
            name += f".{node.op_type}" + f"_{number}" * (number > 0)
        names.append(name)
    return names


def _call(node: onnx.NodeProto) -> Call | None:
    """From the scopes, from the whole model inwards: ``['', 'encoder', 'encoder.layer.0.attn', 'linear']``.

    Of a convolution that the exporter has multiplied a normalisation into they are the normalisation's: the module is
    the one that the filters are a parameter of.
    """
    try:
        scopes = ast.literal_eval(_told(node, SCOPES) or "None")
    except (MemoryError, RecursionError, SyntaxError, ValueError):
        return None
    if not isinstance(scopes, list) or not scopes or not all(isinstance(scope, str) for scope in scopes):
        return None
    call, numbered, number = scopes[-1].rpartition("_") if scopes[-1][-1:].isdigit() else (scopes[-1], "", "")
    module = scopes[-2] if len(scopes) > 1 else ""
    if node.op_type == "Conv" and len(node.input) > 1 and node.input[1].endswith(".weight"):
        module = node.input[1].removesuffix(".weight")
    return module, f"{SHORTER.get(call, call)}{numbered}{number}"


def source_line(node: onnx.NodeProto) -> str:
    """``model.py:31``: the innermost line of the call that is in no installed package; "" if none is known."""
    return innermost_line(_told(node, STACK))


def innermost_line(stack: str) -> str:
    """Of a stack as Python prints it."""
    lines = re.findall(r'^ *File "(.+)", line ([0-9]+), in ', stack, re.MULTILINE)
    users = [f"{PurePath(file).name}:{line}" for file, line in lines if not _is_installed(file)]
    return users[-1] if users else ""


def _is_installed(file: str) -> bool:
    return bool({"site-packages", "dist-packages"} & set(PurePath(file).parts)) or file.startswith("<")


def _told(node: onnx.NodeProto, key: str) -> str:
    return next((entry.value for entry in node.metadata_props if entry.key == key), "")
