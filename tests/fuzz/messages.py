"""Values that a format can hold and nobody expects, and messages and bytes with one of them in some place."""

from __future__ import annotations

import random
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

INTEGERS = [0, 1, -1, 2, 3, 7, 8, 16, 31, 32, 33, 64, 100, 127, 255, 256, 1000, 4096, 4097, 65536, 10**6, 10**9,
            2**31 - 1, 2**31, -(2**31), 2**32, 2**53 + 1, 2**62, 2**63 - 1, -(2**63), 10**19, 10**40]  # fmt: skip
FLOATS = [0.0, -0.0, 1.0, -1.0, 0.5, 1e-5, 1e-45, 1e30, 1e38, 3.4e38, float("inf"), float("-inf"), float("nan")]
TEXTS = ["", " ", "a", "x", "y", "w", "\t", "\n", "\x1b[31m", "\x7f", "é", "名前", "\U0001f600", "a" * 300, "../x",
         "/", ".", "..", "0", "-1", "1e9", "nan", "true", "%s%n", "{0}", "$HOME", "'", '"', "\\", "[bold]", "gemm",
         "model.py"]  # fmt: skip


def mutate_message(root: Message, rng: random.Random) -> None:
    """Change one field somewhere: drop it, draw it anew, or repeat, remove, swap its elements or take another's."""
    messages = list(_messages(root))
    message = rng.choice(messages)
    fields = [f for f in message.DESCRIPTOR.fields if f.name not in ("doc_string", "metadata_props")]
    chosen = rng.choice([f for f, _ in message.ListFields()] or fields) if rng.random() < 0.7 else rng.choice(fields)
    if chosen.is_repeated:
        _mutate_repeated(message, chosen, messages, rng)
    elif rng.random() < 0.3:
        message.ClearField(chosen.name)
    elif chosen.message_type:
        part = getattr(message, chosen.name)
        if same := [m for m in messages if m.DESCRIPTOR is chosen.message_type and m is not part]:
            part.CopyFrom(_copy(rng.choice(same)))
        else:
            part.SetInParent()
    else:
        setattr(message, chosen.name, _scalar(chosen, getattr(message, chosen.name), rng))


def _mutate_repeated(message: Message, chosen: FieldDescriptor, messages: list[Message], rng: random.Random) -> None:
    values = getattr(message, chosen.name)
    i = rng.randrange(len(values)) if values else 0
    action = rng.choice(["remove", "repeat", "swap", "draw", "draw", "clear"])
    if not values or action == "draw":
        if not chosen.message_type:
            drawn = _scalar(chosen, values[i] if values else None, rng)
            if values and rng.random() < 0.7:
                values[i] = drawn
            else:
                values.append(drawn)
        elif same := [m for m in messages if m.DESCRIPTOR is chosen.message_type]:
            copy = _copy(rng.choice(same))
            values.add().CopyFrom(copy)
        else:
            values.add()
    elif action == "clear":
        message.ClearField(chosen.name)
    elif action == "remove":
        del values[i]
    elif action == "repeat":
        if chosen.message_type:
            copy = _copy(values[i])
            values.add().CopyFrom(copy)
        else:
            values.append(values[i])
    else:
        copies = [_copy(value) if chosen.message_type else value for value in values]
        rng.shuffle(copies)
        del values[:]
        values.extend(copies)


def _copy(message: Message) -> Message:
    """A copy that shares nothing: what is copied may hold the place where it goes."""
    return type(message).FromString(message.SerializePartialToString())


def _scalar(chosen: FieldDescriptor, old: Any, rng: random.Random) -> Any:
    """A value that the field can hold: one near the old one, or any."""
    kind = FieldDescriptor
    if chosen.enum_type:
        return rng.choice([value.number for value in chosen.enum_type.values])
    if chosen.type in (kind.TYPE_FLOAT, kind.TYPE_DOUBLE):
        return rng.choice(FLOATS)
    if chosen.type == kind.TYPE_BYTES:
        return rng.choice([b"", b"\xff", b"text", rng.randbytes(rng.randrange(64)), mutate_bytes(old or b"", rng)])
    if chosen.type == kind.TYPE_STRING:
        return rng.choice([*TEXTS, *OPERATORS]) if rng.random() < 0.8 else (old or "") + rng.choice(TEXTS)
    bits = 31 if chosen.type in (kind.TYPE_INT32, kind.TYPE_SINT32) else 63
    lowest, highest = (0, 2 ** (bits + 1) - 1) if chosen.type in (kind.TYPE_UINT64,) else (-(2**bits), 2**bits - 1)
    drawn = rng.choice([(old or 0) + rng.choice([-1, 1]), rng.choice(INTEGERS), rng.randrange(40)])
    return min(max(drawn, lowest), highest)


OPERATORS = ["Add", "Gemm", "MatMul", "Relu", "Softmax", "LayerNormalization", "Reshape", "Flatten", "ReduceMean",
             "Pow", "Max", "Identity", "Constant", "ConstantOfShape", "Cast", "Transpose", "Concat", "Shape", "Gather",
             "Slice", "Range", "Expand", "Tile", "Pad", "If", "Loop", "Conv", "Dropout", "Einsum", "TopK", "Where",
             "RandomNormal", "Split", "Resize", "NonZero", "Unique", "StringNormalizer", "QuantizeLinear", "OneHot",
             "ScatterND"]  # fmt: skip


def _messages(message: Message) -> Any:
    yield message
    for descriptor, value in message.ListFields():
        if descriptor.message_type:
            for part in value if descriptor.is_repeated else [value]:
                yield from _messages(part)


def mutate_bytes(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 4, 16])):
        at = rng.randrange(len(changed) + 1)
        match rng.randrange(4):
            case 0:
                changed[at : at + 1] = rng.randbytes(1)
            case 1:
                del changed[at : at + rng.choice([1, 1, 8, len(changed)])]
            case 2:
                changed[at:at] = rng.randbytes(rng.choice([1, 2, 10]))
            case 3:
                changed[at:at] = changed[at : at + rng.randrange(40)]
    return bytes(changed)
