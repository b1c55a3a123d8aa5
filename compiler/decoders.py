"""What can be decoded: a transformer by name, or an ONNX file with past inputs. Each makes programs of its tokens."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from minisim.compiler.frontend.dims import Dims
from minisim.compiler.frontend.pasts import EMBEDDED, TOKENS, Array, Pasts, Place
from minisim.compiler.graph import Graph
from minisim.compiler.memory import MEMORY_LIMIT
from minisim.compiler.transformers import Transformer, built
from minisim.compiler.transformers.routing import routed
from minisim.compiler.values import example_values

Taken = tuple[int, int, int, tuple[int, ...]]
"""The position of a token, from 1, its sequence, a layer, and the experts that it takes there."""

SHORT = 2
"""Layers of the model that decisions are made on."""


@dataclass(frozen=True)
class Text:
    """What is decoded.

    Attributes:
        prefill, tokens: so many tokens at once, and so many behind them one by one, of each of `batch` sequences.
        chunk: the tokens of a program of the prefill; 0: all of them.
        page: the tokens of a page of the cache; 0: it lies as a whole.
    """

    prefill: int
    tokens: int
    batch: int = 1
    chunk: int = 0
    page: int = 0

    @property
    def capacity(self) -> int:
        """The tokens that there are at the end."""
        return self.prefill + self.tokens

    def places(self) -> Iterator[Place]:
        """Where its programs stand."""
        chunk = self.chunk or self.prefill
        for past in range(0, self.prefill, chunk):
            yield Place(min(chunk, self.prefill - past), past, self.capacity, self.batch, self.page)
        for past in range(self.prefill, self.capacity):
            yield Place(1, past, self.capacity, self.batch, self.page)


class Decoder(ABC):
    """A model whose programs share a cache: what it is made of, and what its inputs are fed."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What it is called in reports."""

    @abstractmethod
    def graph(self, place: Place) -> Graph:
        """The program of some tokens; raises a ModelError if there is none."""

    @abstractmethod
    def inputs(self, graph: Graph, place: Place) -> dict[str, Array]:
        """The values of the inputs of a program that are no states: the same of a token in whichever program it is."""

    def taken(self, place: Place) -> tuple[Taken, ...]:
        """Which experts the tokens of a program take: position, sequence, layer, and their numbers, of each."""
        return ()

    @property
    def routing(self) -> str:
        """What these are drawn by."""
        return ""

    def short(self, batch: int) -> Decoder:
        """A smaller one on which decisions for tokens of this one, of so many sequences, can be made."""
        return self

    def stands_for(self, node: str) -> str:
        """The node of the smaller one that a node is decided as."""
        return node


@dataclass(frozen=True)
class TransformerDecoder(Decoder):
    """A transformer by name. Its tokens are rows of embeddings, those of all sequences that are decoded together beside
    each other."""

    model: Transformer

    @property
    def name(self) -> str:
        return self.model.name

    def graph(self, place: Place) -> Graph:
        return built(self.model, place.tokens, place.past, place.capacity, place.batch, place.page)

    def inputs(self, graph: Graph, place: Place) -> dict[str, Array]:
        values = example_values("tokens", (place.capacity * place.batch, self.model.hidden), "float32")
        return {"tokens": values[place.past * place.batch :][: place.tokens * place.batch]}

    def taken(self, place: Place) -> tuple[Taken, ...]:
        model, found = self.model, []
        for layer in range(model.layers if model.experts else 0):
            numbers = routed(model, layer, place.tokens, place.past, place.batch).tolist()
            for row, each in enumerate(numbers):
                token, sequence = divmod(row, place.batch)
                found.append((place.past + token + 1, sequence, layer, tuple(each)))
        return tuple(found)

    @property
    def routing(self) -> str:
        model = self.model
        popularity = f", popularity {'x'.join(map(str, model.popularity))}" if model.popularity else ""
        return f"seed {model.routing}{popularity}" if model.experts else ""

    def short(self, batch: int) -> Decoder:
        if self.model.experts and batch > 1:
            return self  # in each layer an expert has another number of tokens
        return TransformerDecoder(replace(self.model, layers=min(SHORT, self.model.layers)))

    def stands_for(self, node: str) -> str:
        """The last layer is decided as such: it is followed by something else."""
        layer, dot, part = node.partition(".")
        if self.model.layers <= SHORT or not (dot and layer.startswith("layer")):
            return node
        return f"layer{SHORT - 1 if int(layer[5:]) == self.model.layers - 1 else 0}.{part}"


@dataclass(frozen=True)
class OnnxDecoder(Decoder):
    """An ONNX file with past inputs.

    Attributes:
        states: names of outputs by those of the inputs that are their pasts; empty if they follow the convention.
        dims, values: as `load_model` takes them; the values of `input_ids` are those of the whole text.
    """

    path: Path
    states: Mapping[str, str] = field(default_factory=dict)
    dims: Dims = field(default_factory=dict)
    values: Mapping[str, Array] = field(default_factory=dict)
    numerics: bool = True
    memory_limit: int = MEMORY_LIMIT

    @property
    def name(self) -> str:
        return self.path.stem

    def graph(self, place: Place) -> Graph:
        return self._read(place, needed=True)

    def whole(self, tokens: int, batch: int) -> Graph:
        """The program of a text from its begin; of a file without pasts, too, such as an encoder's."""
        graph = self._read(Place(tokens, 0, tokens, batch), needed=False)
        graph.verify()
        return graph

    def _read(self, place: Place, needed: bool) -> Graph:
        from minisim.compiler.frontend.onnx_file import load_onnx  # late: it imports onnx, which is optional

        return load_onnx(
            self.path,
            self.dims,
            values={name: value for name, value in self.values.items() if name != TOKENS},
            numerics=self.numerics,
            memory_limit=self.memory_limit,
            pasts=Pasts(self.states, place, self.values.get(TOKENS), needed),
        )

    def inputs(self, graph: Graph, place: Place) -> dict[str, Array]:
        found = {}
        for name in graph.inputs:
            tensor, begin = graph.tensors[name], place.past
            if name == EMBEDDED:
                batch, count, hidden = tensor.shape
                values = example_values(name, (batch, place.capacity, hidden), tensor.dtype)
                found[name] = values[:, begin : begin + count]
            elif tensor.held is None:
                found[name] = example_values(name, tensor.shape, tensor.dtype)
        return found
