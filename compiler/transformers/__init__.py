"""Transformers by name: ``llama:7b``, ``gpt2:small,layers=2,prefill=64``.

`table.py` has what each is made of, `blocks.py` makes graphs of them.
"""

from __future__ import annotations

from minisim.compiler.graph import Graph
from minisim.compiler.transformers.blocks import built
from minisim.compiler.transformers.table import (
    FAMILIES,
    KV_TYPES,
    TRANSFORMERS,
    Transformer,
    is_transformer,
    transformer,
)

__all__ = ["FAMILIES", "KV_TYPES", "TRANSFORMERS", "Transformer", "built", "is_transformer", "load_transformer",
           "transformer"]  # fmt: skip


def load_transformer(spec: str, tokens: int | None = None) -> Graph:
    """Return the graph of a transformer; the same spec gives the same weights, always.

    Args:
        spec: such as ``llama:7b,layers=2``.
        tokens: how many, if not as many as the spec says.

    Raises:
        ModelError: there is no such model or parameter, or it has no positions for so many tokens.
    """
    model = transformer(spec)
    return built(model, model.prefill if tokens is None else tokens)
