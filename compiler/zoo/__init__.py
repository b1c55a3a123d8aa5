"""The model zoo: classic networks by name, with seeded weights: ``resnet50``, ``mobilenet_v2:n=8,size=192``.

A family of networks is one file of this folder. Each network in it is a function under `@network`, which takes the
layers of a graph (`layers.py`) and its images, and returns the output, or several. Batch normalisation is folded into
the convolutions before it, as a deployed network has it; where that cannot be, its scale and shift are layers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules

from minisim.compiler.graph import Graph, Tensor
from minisim.compiler.zoo.layers import Layers
from minisim.errors import ModelError, did_you_mean, shown

Build = Callable[[Layers, Tensor], Tensor | tuple[Tensor, ...]]


@dataclass(frozen=True)
class Network:
    """A network of the zoo.

    Attributes:
        what: in a few words, with its source.
        size: of its images, in pixels each way, unless the user says another.
        build: from images (n, size, size, channels) to its output, or outputs.
        channels: of its images.
    """

    name: str
    what: str
    size: int
    build: Build
    channels: int = 3


NETWORKS: dict[str, Network] = {}


def network(name: str, what: str, size: int = 224, channels: int = 3) -> Callable[[Build], Build]:
    """Decorator: the function builds the network of this name."""

    def add(build: Build) -> Build:
        if name in NETWORKS:
            raise ValueError(f"network {name!r} is registered twice")
        NETWORKS[name] = Network(name, what, size, build, channels)
        return build

    return add


_WHOLE = re.compile("[0-9]{1,6}")
_DECIMAL = re.compile(r"[0-9]{1,3}(\.[0-9]{1,6})?")

PARAMETERS: Mapping[str, tuple[re.Pattern[str], str]] = {
    "n": (_WHOLE, "images in a batch, a whole number from 1"),
    "size": (_WHOLE, "pixels of an image each way, a whole number from 1"),
    "width": (_DECIMAL, "what the channels of each layer are multiplied by, a number above 0"),
    "classes": (_WHOLE, "classes to tell apart, a whole number from 1"),
}
"""What a user may say of a network behind its name: the form of the value, and what it is."""


def load_network(spec: str) -> Graph:
    """Return the graph of a network of the zoo; the same spec gives the same weights, always.

    Args:
        spec: the name, and behind a colon what differs from the network's own: ``mobilenet_v2:n=8,size=192,width=0.5``.

    Raises:
        ModelError: there is no such network or parameter, its value is none, or the images are too small for it.
    """
    name, _, text = spec.partition(":")
    if name not in NETWORKS:
        raise ModelError(f"model {shown(spec)}: there is no network {shown(name)}{did_you_mean(name, NETWORKS)}")
    found = NETWORKS[name]
    try:
        given = _parameters(text) if ":" in spec else {}
        size = int(given.get("size", found.size))
        graph = Graph(name)
        layers = Layers(graph, given.get("width", 1.0), int(given.get("classes", 1000)))
        made = found.build(layers, graph.input("x", (int(given.get("n", 1)), size, size, found.channels)))
    except ModelError as e:
        raise type(e)(f"model {shown(spec)}: {e}") from None
    for output in made if isinstance(made, tuple) else (made,):
        graph.output(output)
    return graph


def _parameters(text: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for part in text.split(","):
        key, equals, value = part.partition("=")
        if key not in PARAMETERS or not equals:
            known = ", ".join(f"{name}=" for name in PARAMETERS)
            raise ModelError(f"{shown(part)} is no parameter of a network ({known}){did_you_mean(key, PARAMETERS)}")
        if key in found:
            raise ModelError(f"{key} is given twice")
        form, what = PARAMETERS[key]
        if not form.fullmatch(value) or float(value) <= 0:
            raise ModelError(f"{key} ({what}) cannot be {shown(value)}")
        found[key] = float(value)
    return found


for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
