"""The table of transformers: what a model of that name is made of, and how a user says which one, and what differs.

llama:7b                            the table's
llama:7b,layers=2,prefill=64        with two layers, of 64 tokens
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from minisim.errors import ModelError, did_you_mean, shown
from minisim.hwmodel.packing import MOST


@dataclass(frozen=True)
class Transformer:
    """What a model is made of.

    Attributes:
        family, size: its name, in two parts: ``llama:7b``.
        hidden: the elements of a token.
        heads, kv_heads: of queries, and of keys and values; each of these serves as many queries as it has to.
        ffn: the inner elements of the feed-forward layers.
        vocab: the logits of the last token; 0: the result is all tokens.
        prefill: tokens, if the user does not say how many.
        norm: "rms" or "layer"; `post`: behind each part and its residual, and not before it.
        activation: of the feed-forward layers: "swiglu" (gated), "gelu" or "gelu_tanh".
        bias: which projections have one: "all", "qkv" or "none".
        positions: the length of the table of learned ones; 0: rotary ones, of the base `theta`.
        experts, top: feed-forward layers of a layer, and how many of them a token takes; 0: there is one, for all.
        routing, popularity: a seed, and how often experts are taken, for which ones a token takes (`routing.py`).
        causal: whether a token sees only those before it: only such a model can be decoded.
        window: how many tokens one sees of those, itself the last of them; 0: all.
        epsilon: of the norms.
        bits: of the weights of its matrices, 4 in blocks of `block` along k with a scale each; 0: floats.
        kv_type: what a cache keeps keys and values as: "float", "int8" or "fp8" (`KV_TYPES`).
    """

    family: str
    size: str
    hidden: int
    heads: int
    kv_heads: int
    ffn: int
    layers: int
    vocab: int
    prefill: int
    norm: str
    activation: str
    bias: str
    positions: int = 0
    theta: float = 1e4
    experts: int = 0
    top: int = 0
    routing: int = 0
    popularity: tuple[int, ...] = ()
    causal: bool = True
    window: int = 0
    post: bool = False
    epsilon: float = 1e-5
    bits: int = 0
    block: int = 32
    kv_type: str = "float"

    @property
    def name(self) -> str:
        return f"{self.family}:{self.size}"

    @property
    def head(self) -> int:
        """The elements of a head."""
        return self.hidden // self.heads

    @property
    def kv(self) -> int:
        """The elements of the keys, or of the values, of a token in a layer."""
        return self.kv_heads * self.head

    @property
    def projections(self) -> Mapping[str, tuple[int, int, bool]]:
        """The matrices of a layer by name: inner and outer elements, and whether there is a bias."""
        inner, all_, qkv = self.ffn, self.bias == "all", self.bias != "none"
        attention = {
            "k": (self.hidden, self.kv, qkv),
            "v": (self.hidden, self.kv, qkv),
            "q": (self.hidden, self.hidden, qkv),
            "o": (self.hidden, self.hidden, all_),
        }
        gate = {"gate": (self.hidden, inner, all_)} if self.activation == "swiglu" else {}
        return {**attention, **gate, "up": (self.hidden, inner, all_), "down": (inner, self.hidden, all_)}

    @property
    def weights(self) -> int:
        """The elements of all matrices, biases, norms and learned positions; not of the table of embeddings."""
        norm = self.hidden * (1 if self.norm == "rms" else 2)
        sizes = {name: inner * outer + bias * outer for name, (inner, outer, bias) in self.projections.items()}
        if self.experts:
            sizes.update((name, self.experts * sizes[name]) for name in ("gate", "up", "down") if name in sizes)
        matrices = sum(sizes.values()) + self.hidden * self.experts
        last = 0 if self.post else norm
        return self.layers * (matrices + 2 * norm) + last + self.hidden * (self.vocab + self.positions)


_LLAMA = {"norm": "rms", "activation": "swiglu", "bias": "none", "prefill": 512}
_QWEN = {**_LLAMA, "bias": "qkv", "theta": 1e6, "epsilon": 1e-6}
_GPT = {"norm": "layer", "activation": "gelu_tanh", "bias": "all", "prefill": 512, "positions": 1024}
_ENCODER = {"norm": "layer", "activation": "gelu", "bias": "all", "causal": False, "vocab": 0}
_BERT = {**_ENCODER, "prefill": 128, "positions": 512, "post": True, "epsilon": 1e-12}
_VIT = {**_ENCODER, "prefill": 197, "positions": 197, "epsilon": 1e-6}
_WHISPER = {**_ENCODER, "prefill": 1500, "positions": 1500}


def _row(name: str, hidden: int, heads: int, kv_heads: int, ffn: int, layers: int, **more: object) -> Transformer:
    family, _, size = name.partition(":")
    return Transformer(family, size, hidden, heads, kv_heads, ffn, layers, **more)  # type: ignore[arg-type]


_ROWS = (  # name, hidden, heads of queries, heads of keys, ffn, layers
    _row("llama:7b", 4096, 32, 32, 11008, 32, vocab=32000, **_LLAMA),  # Touvron et al., "Llama 2" (2023)
    _row("llama:13b", 5120, 40, 40, 13824, 40, vocab=32000, **_LLAMA),
    _row("llama3:8b", 4096, 32, 8, 14336, 32, vocab=128256, **{**_LLAMA, "theta": 5e5}),  # "The Llama 3 herd" (2024)
    _row("mistral:7b", 4096, 32, 8, 14336, 32, vocab=32000, window=4096, **_LLAMA),  # Jiang et al. (2023)
    _row("mixtral:8x7b", 4096, 32, 8, 14336, 32, vocab=32000, experts=8, top=2, **{**_LLAMA, "theta": 1e6}),  # (2024)
    _row("qwen2:0.5b", 896, 14, 2, 4864, 24, vocab=151936, **_QWEN),  # Yang et al., "Qwen2 technical report" (2024)
    _row("qwen2:1.5b", 1536, 12, 2, 8960, 28, vocab=151936, **_QWEN),
    _row("qwen2:7b", 3584, 28, 4, 18944, 28, vocab=152064, **_QWEN),
    _row("gpt2:small", 768, 12, 12, 3072, 12, vocab=50257, **_GPT),  # Radford et al. (2019)
    _row("gpt2:medium", 1024, 16, 16, 4096, 24, vocab=50257, **_GPT),
    _row("gpt2:large", 1280, 20, 20, 5120, 36, vocab=50257, **_GPT),
    _row("gpt2:xl", 1600, 25, 25, 6400, 48, vocab=50257, **_GPT),
    _row("bert:base", 768, 12, 12, 3072, 12, **_BERT),  # Devlin et al. (2018)
    _row("bert:large", 1024, 16, 16, 4096, 24, **_BERT),
    _row("vit:base", 768, 12, 12, 3072, 12, **_VIT),  # Dosovitskiy et al. (2020): 14 x 14 patches, and the class
    _row("whisper:base", 512, 8, 8, 2048, 6, **_WHISPER),  # Radford et al. (2022): the encoder, behind its convolutions
    _row("whisper:small", 768, 12, 12, 3072, 12, **_WHISPER),
)

TRANSFORMERS = {row.name: row for row in _ROWS}
"""The models by name."""

FAMILIES = tuple(dict.fromkeys(row.family for row in _ROWS))
"""What stands before the colon."""

CHANGED = {
    "layers": "layers",
    "hidden": "elements of a token",
    "heads": "heads of queries",
    "kv_heads": "heads of keys and values",
    "ffn": "inner elements of the feed-forward layers",
    "vocab": "logits",
    "experts": "feed-forward layers of a layer",
    "top": "experts that a token takes",
    "routing": "the seed of which ones",
    "popularity": "how often each expert is taken, such as 4x1x1x1",
    "window": "tokens that one sees",
    "prefill": "tokens",
    "weights": "float or int4: what the matrices hold",
    "block": "weights of 4 bits that share a scale",
    "kv_type": "float, int8 or fp8: what a cache keeps keys and values as",
}
"""What a user may change of a model behind its name: a whole number each, but for `weights`, `popularity` and
`kv_type`."""

KV_TYPES = {"float": "float32", "int8": "int8", "fp8": "float8_e4m3fn"}
"""What a cache may keep: floats of the machine's type; int8 with a scale for each token and head; floats of 8 bits."""

WEIGHTS = {"float": 0, "int4": 4}
"""What the matrices may hold, by its bits; floats have those of the machine's type."""

MOST_LAYERS = 1_000
"""Ten times as many as any has: more is a slip of the keyboard, and would be built for hours."""

_WHOLE = re.compile("[0-9]{1,9}")


def is_transformer(spec: str) -> bool:
    """Whether the name of a model is one of a family of transformers, be there such a size or not."""
    family, colon, _ = spec.partition(":")
    return bool(colon) and family in FAMILIES


def transformer(spec: str) -> Transformer:
    """The model that `spec` names, such as ``llama:7b,layers=2``.

    Raises:
        ModelError: there is no such model or parameter, or its value is none; the nearest name is told.
    """
    name, *changes = spec.split(",")
    if name not in TRANSFORMERS:
        nearest = did_you_mean(name, TRANSFORMERS) or ";"
        known = ", ".join(TRANSFORMERS)
        raise ModelError(f"model {shown(spec)}: there is no transformer {shown(name)}{nearest} (there are {known})")
    try:
        return _changed(TRANSFORMERS[name], changes)
    except ModelError as e:
        raise type(e)(f"model {shown(spec)}: {e}") from None


def _changed(model: Transformer, changes: list[str]) -> Transformer:
    given: dict[str, int | str | tuple[int, ...]] = {}
    for part in changes:
        key, equals, value = part.partition("=")
        if key not in CHANGED or not equals:
            known = ", ".join(f"{name}=" for name in CHANGED)
            raise ModelError(f"{shown(part)} is no parameter of a transformer ({known}){did_you_mean(key, CHANGED)}")
        if (key if key != "weights" else "bits") in given:
            raise ModelError(f"{key} is given twice")
        if key == "weights":
            given["bits"] = _bits(value)
        elif key == "kv_type":
            given["kv_type"] = _kv_type(value)
        else:
            given[key] = _popularity(value) if key == "popularity" else _number(key, value)
    if "heads" in given and model.kv_heads == model.heads:
        given.setdefault("kv_heads", given["heads"])
    found = replace(model, **given)  # type: ignore[arg-type]
    if found.layers > MOST_LAYERS:
        raise ModelError(f"layers must be {MOST_LAYERS} at most, not {found.layers}")
    if "block" in given and not found.bits:
        raise ModelError("block says how many weights of 4 bits share a scale: weights=int4")
    if not 2 <= found.block <= MOST:
        raise ModelError(f"block must be from 2 to {MOST}, not {found.block}")
    if found.hidden % found.heads or (not found.positions and found.head % 2):
        raise ModelError(f"{found.heads} heads do not share {found.hidden} elements of a token in equal, even parts")
    if found.window and not found.causal:
        raise ModelError("a token of an encoder sees all others: it has no window")
    if found.kv_type != "float" and not found.causal:
        raise ModelError("an encoder has no cache: it has no kv_type")
    if found.heads % found.kv_heads:
        raise ModelError(f"heads ({found.heads}) must be a multiple of kv_heads ({found.kv_heads})")
    if not 1 <= found.top <= found.experts and (found.experts or found.top):
        raise ModelError(f"a token takes from 1 to all {found.experts} experts, not {found.top}")
    if found.popularity and len(found.popularity) != found.experts:
        raise ModelError(
            f"popularity must be {found.experts} numbers, one for each expert, not {len(found.popularity)}"
        )
    return found


def _number(key: str, value: str) -> int:
    least = 0 if key in ("vocab", "window", "routing", "experts", "top") else 1
    if not _WHOLE.fullmatch(value) or int(value) < least:
        raise ModelError(f"{key} ({CHANGED[key]}) must be a whole number from {least}, not {shown(value)}")
    return int(value)


def _bits(value: str) -> int:
    if value not in WEIGHTS:
        raise ModelError(f"weights must be {' or '.join(WEIGHTS)}, not {shown(value)}{did_you_mean(value, WEIGHTS)}")
    return WEIGHTS[value]


def _kv_type(value: str) -> str:
    if value not in KV_TYPES:
        known = ", ".join(KV_TYPES)
        raise ModelError(f"kv_type must be one of {known}, not {shown(value)}{did_you_mean(value, KV_TYPES)}")
    return value


def _popularity(value: str) -> tuple[int, ...]:
    parts = value.split("x")
    if not all(_WHOLE.fullmatch(part) and int(part) > 0 for part in parts):
        raise ModelError(f"popularity must be whole numbers from 1 such as 4x1x1x1, not {shown(value)}")
    return tuple(map(int, parts))
