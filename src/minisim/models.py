"""The networks and transformers that need no file: what each is, and what it computes."""

from __future__ import annotations

import math
from dataclasses import dataclass

from rich.console import Console

from minisim.compiler.frontend.onnx_light import light_models
from minisim.compiler.graph import Graph, Shape
from minisim.compiler.semantics import SEMANTICS
from minisim.compiler.transformers import TRANSFORMERS
from minisim.compiler.transformers.table import CHANGED
from minisim.compiler.zoo import NETWORKS, PARAMETERS, load_network
from minisim.reports.columns import Column, fitting, table_of


@dataclass(frozen=True)
class Listed:
    """A network of the zoo as it is without parameters: its images, its work, and its weights."""

    name: str
    what: str
    images: tuple[int, ...]
    macs: int
    weights: int


def models() -> list[Listed]:
    """The networks of the zoo, in the order of its files."""
    return [_listed(name) for name in NETWORKS]


def _listed(name: str) -> Listed:
    graph = load_network(name)
    return Listed(name, NETWORKS[name].what, graph.tensors["x"].shape, macs(graph), weights(graph))


def macs(graph: Graph) -> int:
    """The multiply-accumulates of all matrix products and convolutions of a graph."""

    def shape(name: str | None) -> Shape | None:
        return None if name is None else graph.tensors[name].shape

    return sum(SEMANTICS[node.op].macs([shape(name) for name in node.inputs], node.attributes) for node in graph.nodes)


def weights(graph: Graph) -> int:
    """The elements of all weights that a graph's operations read; the numbers in formulas are none."""
    read = {name for node in graph.nodes for name in node.present if graph.tensors[name].is_weight}
    shapes = [graph.tensors[name].shape for name in read]
    return sum(math.prod(shape) for shape in shapes if shape)


def print_models(console: Console) -> None:
    """Print the table of the zoo, and how to ask for another batch or size."""
    found = models()
    columns = [
        Column("network", [each.name for each in found], left=True),
        Column("images", ["x".join(str(size) for size in each.images) for each in found], drop=1),
        Column("M MACs", [f"{each.macs / 1e6:,.1f}" for each in found]),
        Column("M weights", [f"{each.weights / 1e6:.2f}" for each in found]),
        Column("", [each.what for each in found], left=True, drop=2),
    ]
    console.print(table_of(fitting(columns, console.width)), highlight=False)
    console.print()
    console.print("Parameters, behind the name: mobilenet_v2:n=8,size=192,width=0.5", highlight=False)
    for name, (_, what) in PARAMETERS.items():
        console.print(f"  {name:<8} {what}", highlight=False)
    console.print()
    _print_transformers(console)
    if light := light_models():
        console.print(f"Of the package onnx, with drawn weights: {', '.join(light)}", highlight=False)


def _print_transformers(console: Console) -> None:
    """Print the table of transformers, and what of it can be changed."""
    found = list(TRANSFORMERS.values())
    columns = [
        Column("transformer", [each.name for each in found], left=True),
        Column("layers", [str(each.layers) for each in found]),
        Column("hidden", [f"{each.hidden:,}" for each in found]),
        Column("heads", [f"{each.heads}/{each.kv_heads}" for each in found], drop=1),
        Column("ffn", [f"{each.ffn:,}" for each in found], drop=2),
        Column("M weights", [f"{each.weights / 1e6:,.1f}" for each in found]),
        Column("", ["decoder" if each.causal else "encoder" for each in found], left=True, drop=3),
    ]
    console.print(table_of(fitting(columns, console.width)), highlight=False)
    console.print()
    console.print("Parameters, behind the name: llama:7b,layers=2,prefill=64", highlight=False)
    for name, what in CHANGED.items():
        console.print(f"  {name:<8} {what}", highlight=False)
