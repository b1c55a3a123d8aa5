"""Mappings: which edges the tiles of each layer have, as a file that a user reads, edits and gives back.

    [tiles]                          # of a layer m, k and n, in elements
    matmul = [64, 32, 32]
    "layer2.0.conv3/conv" = [16, 64, 32]
    "*" = [16, 32, 32]               # of all layers that are not listed

Without the last line a layer that is not listed is the compiler's. By name only matmuls of one matrix are listed: what
else there is has the edges of "*", as far as they suit it. What a file cannot say yet is the order of the walk.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from minisim.compiler.graph import Graph
from minisim.compiler.ops import OPERATORS
from minisim.errors import ModelError, UnsupportedError, UsageError, did_you_mean, shown
from minisim.hwmodel.config import Machine

Edges = tuple[int, int, int]
"""m, k and n of a layer's tiles, in elements."""

ALL = "*"
"""Stands for all layers that are not listed."""

LARGEST = 4096
"""Elements of an edge, at most, as of one that a machine file writes."""


def read_mapping(path: str | PathLike[str]) -> dict[str, Edges]:
    """The edges by layer that a file lists.

    Raises:
        UsageError: it cannot be read, or says something else.
    """
    try:
        data = tomllib.loads(Path(path).read_bytes().decode())
    except OSError as e:
        raise UsageError(f"{path}: cannot be read: {e.strerror}") from None
    except (ValueError, RecursionError) as e:
        raise UsageError(f"{path}: not valid TOML: {e}") from None
    if unknown := next((key for key in data if key != "tiles"), None):
        raise UsageError(f"{path}: {shown(unknown)}: a mapping has the table 'tiles'{did_you_mean(unknown, ['tiles'])}")
    return check_mapping(data.get("tiles", {}), str(path))


def check_mapping(mapping: object, place: str = "mapping") -> dict[str, Edges]:
    """`mapping`, of layers' names to three edges each; None is the empty one.

    Raises:
        UsageError: it is something else.
    """
    if mapping is None:
        return {}
    if not isinstance(mapping, Mapping):
        raise UsageError(f"{place}: must map layers to their tiles' edges, not be {shown(mapping)}")
    found: dict[str, Edges] = {}
    for layer, edges in mapping.items():
        if not _are_edges(edges):
            raise UsageError(
                f"{place}: {shown(layer)}: must be m, k and n of a tile, from 1 to {LARGEST} each, not {shown(edges)}"
            )
        m, k, n = edges
        found[str(layer)] = m, k, n
    return found


def _are_edges(edges: Any) -> bool:
    return isinstance(edges, list | tuple) and len(edges) == 3 and all(
        isinstance(edge, int) and not isinstance(edge, bool) and 1 <= edge <= LARGEST for edge in edges
    )  # fmt: skip


def check_layers(mapping: Mapping[str, Edges], graph: Graph, machine: Machine) -> None:
    """Hold a mapping to the graph and the machine that it is for.

    Raises:
        ModelError: it lists a layer that the graph has not, or whose tiles are not to be chosen.
        UnsupportedError: the machine's commands do not carry such tiles.
    """
    nodes = {node.name: node for node in graph.nodes}
    for layer, edges in mapping.items():
        wholes: tuple[int, int, int] | tuple[None, None, None] = (None, None, None)
        if layer != ALL:
            if layer not in nodes:
                raise ModelError(f"mapping: no layer {shown(layer)}{did_you_mean(layer, list(nodes))}")
            node = nodes[layer]
            sizes = OPERATORS[node.op].sizes(node, graph) if node.op in OPERATORS else None
            if sizes is None:
                raise ModelError(
                    f"mapping: layer {shown(layer)}: a {node.title}'s tiles cannot be given, only a matmul's"
                )
            wholes = sizes
        if machine.matrix.model == "scalesim":
            raise UnsupportedError("mapping: matrix.model = 'scalesim' has tiles that follow their layers")
        for edge, size, whole in zip("mkn", edges, wholes, strict=True):
            multiple, most = getattr(machine.tile, f"multiple_{edge}"), getattr(machine.tile, f"max_{edge}")
            if size not in (whole, getattr(machine.tile, edge)) and (size > most or size % multiple):
                raise UnsupportedError(
                    f"mapping: layer {shown(layer)}: {edge} = {size}: the machine's tiles have at most "
                    f"tile.max_{edge} = {most}, in multiples of tile.multiple_{edge} = {multiple}"
                    + (f"; or all {whole}" if whole else "")
                )


def mapping_text(edges: Mapping[str, Edges]) -> str:
    """The file that lists these."""
    lines = [
        "# of a layer m, k and n of its tiles, in elements; a layer that is not listed is the compiler's",
        "[tiles]",
    ]
    return "\n".join([*lines, *(f"{_key(layer)} = {list(each)}" for layer, each in edges.items())]) + "\n"


def _key(name: str) -> str:
    """`name` as a quoted key of TOML, whose escapes are JSON's."""
    return json.dumps(name, ensure_ascii=False).replace("\x7f", "\\u007f")
