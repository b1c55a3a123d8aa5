"""A decoder in an ONNX file: which inputs are pasts, and what is bound for a program of so many tokens behind others.

Exporters give a decoder the keys and values of the tokens before as inputs, ``past_key_values.0.key`` (batch, heads,
past, columns), and let it return them with the new ones behind, ``present.0.key``. Such a pair is a state (ADR 54).
What else depends on where a program begins are integers, which are bound: masks, positions, lengths.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from minisim.compiler.frontend.dims import Dims
from minisim.compiler.graph import Graph, Tensor
from minisim.compiler.ops.onnx_past import Past
from minisim.errors import ModelError, UsageError, did_you_mean, shown

if TYPE_CHECKING:
    import onnx

Array = npt.NDArray[Any]

TOKENS, EMBEDDED = "input_ids", "inputs_embeds"
"""The inputs that may hold new tokens: (batch, tokens) numbers, or (batch, tokens, hidden) floats."""

_PRESENTS = (("past_key_values", "present"), ("past_key_values", "present_key_values"), ("past", "present"))
"""How the output is called by the input's name."""


@dataclass(frozen=True)
class Place:
    """Where in a text a program stands: `tokens` new ones of each of `batch` sequences behind `past` ones, with room
    for `capacity` in all; the cache lies in pages of `page` tokens, or (0) as a whole."""

    tokens: int
    past: int
    capacity: int
    batch: int = 1
    page: int = 0

    def values(self, name: str) -> Array | None:
        """What an input of integers of this name is bound to; None if the name says nothing."""
        batch, end = self.batch, self.past + self.tokens
        positions = np.arange(self.past, end)
        found: dict[str, npt.ArrayLike] = {
            "attention_mask": np.ones((batch, end)),
            "position_ids": np.broadcast_to(positions, (batch, self.tokens)),
            "cache_position": positions,
            "token_type_ids": np.zeros((batch, self.tokens)),
            "seqlens_k": np.full(batch, end - 1),
            "total_sequence_length": end,
            "past_sequence_length": self.past,
            "use_cache_branch": self.past > 0,
        }
        return np.asarray(found[name]).astype(np.int64) if name in found else None


@dataclass(frozen=True)
class Pasts:
    """What is said of the states of a file.

    Attributes:
        given: names of outputs by those of inputs; empty if they are called as it is the convention.
        place: where the program stands.
        needed: whether there must be any.
        ids: what tokens the text has, (batch, capacity); None: they are drawn.
    """

    given: Mapping[str, str]
    place: Place
    ids: Array | None = None
    needed: bool = True


def parse_states(texts: Sequence[str]) -> dict[str, str]:
    """``past=present`` -> names of an input and an output, of each of the options as typed.

    Raises:
        UsageError: one is no PAST=PRESENT, or an input is given twice.
    """
    found: dict[str, str] = {}
    for text in texts:
        past, equals, present = (part.strip() for part in text.partition("="))
        if not (past and equals and present):
            raise UsageError(f"--state {text}: must be PAST=PRESENT, the names of an input and of an output")
        if past in found:
            raise UsageError(f"--state {text}: {shown(past)} is given twice")
        found[past] = present
    return found


def pairs_of(model: onnx.ModelProto, given: Mapping[str, str], needed: bool = True) -> dict[str, str]:
    """The states of a file, by convention unless the user names them.

    Raises:
        ModelError: there are none, though they are needed, or none of the names that are given.
    """
    inputs = [info.name for info in model.graph.input]
    outputs = [info.name for info in model.graph.output]
    for names, kind, wanted in ((inputs, "input", given), (outputs, "output", given.values())):
        if unknown := [name for name in wanted if name not in names]:
            raise ModelError(f"no {kind} {shown(unknown[0])} to be a state{did_you_mean(unknown[0], names)}")
    if given:
        return dict(given)
    found = {}
    for name in inputs:
        candidates = (re.sub(f"^{past}", present, name) for past, present in _PRESENTS if name.startswith(past))
        if present := next((candidate for candidate in candidates if candidate in outputs), None):
            found[name] = present
    if needed and not found:
        raise ModelError(
            "is no decoder with a cache: no input past_key_values.0.key with an output present.0.key, or the like "
            "(--state PAST=PRESENT names them)"
        )
    return found


def bound_by(model: onnx.ModelProto, pasts: Pasts, inputs: Sequence[onnx.ValueInfoProto]) -> dict[str, Array]:
    """The values of all inputs of integers that follow from where the program stands."""
    found = {info.name: pasts.place.values(info.name) for info in inputs}
    if any(info.name == TOKENS for info in inputs):
        place, ids = pasts.place, pasts.ids
        if ids is None:
            rng = np.random.default_rng([0, zlib.crc32(TOKENS.encode())])
            ids = rng.integers(0, _vocabulary(model), (place.batch, place.capacity))
        if ids.size != place.batch * place.capacity:
            raise ModelError(f"{TOKENS} must be {place.batch} x {place.capacity} numbers, not {ids.size}")
        found[TOKENS] = ids.reshape(place.batch, -1)[:, place.past : place.past + place.tokens]
    return {name: values for name, values in found.items() if values is not None}


def _vocabulary(model: onnx.ModelProto) -> int:
    """How many rows the table has that the tokens' numbers are looked up in."""
    sizes = {tensor.name: tensor.dims[0] for tensor in model.graph.initializer if tensor.dims}
    tables = (node.input[0] for node in model.graph.node if node.op_type == "Gather" and node.input[1] == TOKENS)
    found = [sizes[table] for table in tables if table in sizes]
    if not found:
        raise ModelError(f"which numbers {TOKENS} may be is not to be seen: give all of them with --value {TOKENS}=...")
    return min(found)


def settle_dims(model: onnx.ModelProto, pairs: Mapping[str, str], place: Place, dims: Dims) -> None:
    """Give the dimensions of the inputs that follow from the place their sizes."""
    for info in model.graph.input:
        sizes: tuple[int | None, ...] = ()
        if info.name in pairs:
            if len(info.type.tensor_type.shape.dim) != 4:
                raise ModelError(f"the past {shown(info.name)} must be (batch, heads, rows, columns)")
            sizes = (place.batch, None, place.past)
        elif info.name in (TOKENS, EMBEDDED):
            sizes = (place.batch, place.tokens)
        for dim, size in zip(info.type.tensor_type.shape.dim, sizes, strict=False):
            if size is not None and dim.dim_param in dims:
                raise ModelError(f"dimension {shown(dim.dim_param)} is not bound: --batch and --prefill say its size")
            if size is not None and dim.dim_value < 1:
                dim.dim_value = size


def past_of(graph: Graph, name: str, dims: Sequence[int], dtype: str, place: Place) -> Past:
    """A past as ONNX sees it; the graph gets its state."""
    batch, heads, rows, columns = dims
    if min(batch, heads, columns) < 1 or (rows != place.past and rows < place.capacity):
        raise ModelError(f"the past {shown(name)} {tuple(dims)} has no room for {place.capacity} rows")
    graph.state(name, (place.capacity, batch * heads * columns), place.past, dtype, page=place.page)
    return Past(graph, name, (batch, heads, rows, columns), dtype=dtype, held=place.past)


def check_present(graph: Graph, past: str, present: str, found: Tensor | None) -> None:
    """Refuse what is no past with new rows behind it: it would be lost.

    Raises:
        ModelError: the output is something else.
    """
    makers = {node.output: node for node in graph.nodes if node.op in ("Append", "Reshape", "Take", "Transpose")}
    node = None if found is None else makers.get(found.name)
    while node is not None and node.op != "Append":
        node = makers.get(node.present[0])
    if node is None or node.present[0] != past:
        raise ModelError(f"the output {shown(present)} must be the past {shown(past)} with new rows behind it")
