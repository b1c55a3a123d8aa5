"""The nodes of an ONNX model in plain Python, and what may go wrong as the package onnx reads them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import onnx

from minisim.compiler.frontend.torch_names import call_names, source_line
from minisim.compiler.ops.base import OnnxNode
from minisim.errors import MinisimError, ModelError, described, one_line


@contextmanager
def library(failure: str) -> Iterator[None]:
    """Whatever the package onnx raises on a damaged file (it indexes and converts unchecked) is `failure`."""
    try:
        yield
    except (MinisimError, MemoryError):
        raise
    except UnicodeDecodeError:  # in the text of a message of its own
        raise ModelError("is damaged: a name in it is not UTF-8") from None
    except Exception as e:
        text = (
            described(e) if isinstance(e, LookupError) else one_line(e) or type(e).__name__
        )  # a key says nothing alone
        raise ModelError(f"{failure}: {text}") from None


def opsets_of(model: onnx.ModelProto) -> dict[str, int]:
    """The version of each operator set, by domain; "ai.onnx" is another name of the default domain."""
    return {domain_of(opset.domain): opset.version for opset in model.opset_import}


def domain_of(name: str) -> str:
    return "" if name == "ai.onnx" else name


def plain_nodes(graph: onnx.GraphProto) -> list[OnnxNode]:
    """The nodes in plain Python."""
    nodes = graph.node
    return [
        OnnxNode(op_type_of(n), name, tuple(n.input), tuple(n.output), _attributes(n), source_line(n))
        for n, name in zip(nodes, names_of(nodes), strict=True)
    ]


def names_of(nodes: Sequence[onnx.NodeProto]) -> list[str]:
    """The names of the nodes: of one that torch exported what its author calls it (`torch_names.py`), else its own.
    One that has none, or whose name is taken, is called as its first output."""
    names: list[str] = []
    taken = {""}
    for node, call in zip(nodes, call_names(nodes), strict=True):
        name = node.name if call in taken else call
        names.append(node.output[0] if name in taken and node.output else name)
        taken.add(names[-1])
    return names


def op_type_of(node: onnx.NodeProto) -> str:
    """The type, with the domain before it if that is not the default one."""
    domain = domain_of(node.domain)
    return f"{domain}::{node.op_type}" if domain else node.op_type


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {each.name: _attribute(each) for each in node.attribute}


def _attribute(proto: onnx.AttributeProto) -> Any:
    with library(f"attribute {proto.name!r} cannot be read"):
        value = onnx.helper.get_attribute_value(proto)
    return value.decode(errors="replace") if isinstance(value, bytes) else value
