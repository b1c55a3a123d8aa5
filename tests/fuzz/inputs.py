"""What a stranger might hand to the command: damaged ONNX files, damaged machine files, odd command lines.

Each input is made from its kind and a seed alone, so that a failure is named by the two.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from fuzz.onnx_seeds import onnx_seeds
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from minisim.hwmodel.config import Machine, keys, presets

MOST_OPERATIONS = "5000"
"""The option that keeps what is valid quick: the rule is the user's, and is counted before anything is made."""


@dataclass(frozen=True)
class Input:
    """A command line, and the files it finds in its folder."""

    argv: list[str]
    files: dict[str, bytes] = field(default_factory=dict)


def make(kind: str, seed: int) -> Input:
    """The input of this kind ("onnx", "toml" or "command") and seed."""
    return MAKERS[kind](random.Random(f"{kind} {seed}"))


INTEGERS = [0, 1, -1, 2, 3, 7, 8, 16, 31, 32, 33, 64, 100, 127, 255, 256, 1000, 4096, 4097, 65536, 10**6, 10**9,
            2**31 - 1, 2**31, -(2**31), 2**32, 2**53 + 1, 2**62, 2**63 - 1, -(2**63), 10**19, 10**40]  # fmt: skip
FLOATS = [0.0, -0.0, 1.0, -1.0, 0.5, 1e-5, 1e-45, 1e30, 1e38, 3.4e38, float("inf"), float("-inf"), float("nan")]
TEXTS = ["", " ", "a", "x", "y", "w", "\t", "\n", "\x1b[31m", "\x7f", "é", "名前", "\U0001f600", "a" * 300, "../x",
         "/", ".", "..", "0", "-1", "1e9", "nan", "true", "%s%n", "{0}", "$HOME", "'", '"', "\\", "[bold]", "gemm",
         "model.py"]  # fmt: skip


# -- ONNX: fields of the protobuf messages, and bytes --------------------------------------------------------


def _onnx(rng: random.Random) -> Input:
    model = type(seed := rng.choice(onnx_seeds()))()
    model.CopyFrom(seed)
    for _ in range(rng.choice([1, 1, 1, 2, 3, 5])):
        _mutate_message(model, rng)
    data = model.SerializeToString()
    if rng.random() < 0.2:
        data = _mutate_bytes(data, rng)
    files = {"m.onnx": data, "w.bin": bytes(64)}
    options = rng.choice([["--no-numerics"], ["--no-numerics"], [], ["--set", "matrix.dtype=int8"]])
    return Input(["run", "m.onnx", "--max-operations", MOST_OPERATIONS, *options], files)


def _mutate_message(root: Message, rng: random.Random) -> None:
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
        return rng.choice([b"", b"\xff", b"text", rng.randbytes(rng.randrange(64)), _mutate_bytes(old or b"", rng)])
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


def _mutate_bytes(data: bytes, rng: random.Random) -> bytes:
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


# -- machine files ---------------------------------------------------------------------------------------------


def _toml(rng: random.Random) -> Input:
    data = Machine.load(rng.choice(presets())).model_dump(mode="json") if rng.random() < 0.8 else {}
    for _ in range(rng.choice([1, 1, 2, 3, 5])):
        _mutate_machine(data, rng)
    text = "".join(_toml_lines(data)).encode(errors="replace")
    if rng.random() < 0.2:
        text = _mutate_bytes(text, rng)
    model = rng.choice(["gemm:8x8x8", "gemm:33x20x65", "softmax:9x40", "layernorm:5x33"])
    argv = rng.choice([["config", "check", "hw.toml"], ["config", "show", "hw.toml"],
                       *[_run(rng, model, ["--config", "hw.toml"])] * 3])  # fmt: skip
    return Input(argv, {"hw.toml": text})


def _run(rng: random.Random, model: str, options: list[str]) -> list[str]:
    command = rng.choice([["run", model, *options], ["run", model, "--no-numerics", *options],
                          ["explain", model, "--no-what-if", *options]])  # fmt: skip
    return [*command, "--max-operations", MOST_OPERATIONS]


def _mutate_machine(data: dict[str, Any], rng: random.Random) -> None:
    section, _, key = rng.choice(list(keys())).rpartition(".")
    inside = data.setdefault(section, {}) if section else data
    inside = inside if isinstance(inside, dict) else data
    match rng.randrange(8):
        case 0:
            inside.pop(key, None)
        case 1:
            data.pop(section, None)
        case 2:
            inside[_typo(key, rng)] = _value(rng)
        case 3:
            data[section or key] = _value(rng)
        case 4:
            inside[key] = rng.choice(CHOICES)
        case _:
            inside[key] = _value(rng)


CHOICES = ["ws", "os", "is", "full", "drain", "none", "pipelined", "scalesim", "ideal", "banked", "auto", "mnk",
           "blocked", "bf16", "int8", "fp32", "hbm2", "ddr4-3200", "lpddr5-6400"]  # fmt: skip


def _value(rng: random.Random, depth: int = 0) -> Any:
    units = ["B", "KiB", "MiB", "GiB", "GB/s", "MHz", "GHz", "ns", "us", "pJ", "mW", "kb", ""]
    match rng.randrange(8 if depth < 4 else 6):
        case 0 | 1:
            return rng.choice(INTEGERS)
        case 2:
            return rng.choice(FLOATS)
        case 3:
            return rng.choice(TEXTS)
        case 4:
            return rng.random() < 0.5
        case 5:
            return f"{rng.choice([*INTEGERS, *FLOATS, '1/3', '0.3', '1_0'])}{rng.choice(['', ' '])}{rng.choice(units)}"
        case 6:
            return [_value(rng, depth + 1) for _ in range(rng.randrange(4))]
        case _:
            return {_typo(rng.choice(list(keys())), rng): _value(rng, depth + 1) for _ in range(rng.randrange(3))}


def _typo(word: str, rng: random.Random) -> str:
    at = rng.randrange(len(word) + 1)
    return rng.choice([word, word[:at] + word[at + 1 :], word[:at] + "e" + word[at:], word.upper(), rng.choice(TEXTS)])


def _toml_lines(data: dict[str, Any]) -> list[str]:
    plain = {key: value for key, value in data.items() if not isinstance(value, dict)}
    lines = [f"{json.dumps(key)} = {_toml_value(value)}\n" for key, value in plain.items()]
    for key, value in data.items():
        if isinstance(value, dict):
            lines += [f"[{json.dumps(key)}]\n", *(f"{json.dumps(k)} = {_toml_value(v)}\n" for k, v in value.items())]
    return lines


def _toml_value(value: Any) -> str:
    match value:
        case dict():
            return "{" + ", ".join(f"{json.dumps(k)} = {_toml_value(v)}" for k, v in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(_toml_value, value)) + "]"
        case float():
            return repr(value)
    return json.dumps(value)


# -- command lines -----------------------------------------------------------------------------------------------


def _command(rng: random.Random) -> Input:
    command = rng.choice(["run", "run", "run", "explain", "sweep", "sweep", "config"])
    if command == "config":
        words = [
            rng.choice(["list", "show", "check", *TEXTS]),
            *rng.choices([*presets(), "hw.toml", *TEXTS], k=rng.randrange(3)),
        ]
        argv = ["config", *words, *_options(rng, ["--set", "--keys"])]
    elif command == "sweep":
        argv = ["sweep", _model(rng), *_options(rng, ["--param"]), *_options(rng, ["--set", "--config", "--out"])]
        argv += ["--jobs", "1", "--max-operations", MOST_OPERATIONS]
    else:
        options = _options(
            rng, ["--set", "--set", "--config", "--out", "--no-numerics", "--trace", "--dump-ir", "--dim"]
        )
        argv = [command, _model(rng), *options, "--max-operations", MOST_OPERATIONS]
        argv += ["--no-what-if"] * (command == "explain")
    if rng.random() < 0.1:
        argv.insert(
            rng.randrange(len(argv) + 1), rng.choice([*TEXTS, "--help", "--version", "-h", "--", "--bogus", "--set"])
        )
    model = b"import minisim as ms\n\ndef model():\n    g = ms.Graph('m')\n    x = g.input('x', (9, 20))\n"
    model += b"    g.output(g.softmax(x @ g.weight('w', [[0.5] * 7] * 20)))\n    return g\n"
    return Input(
        [word.replace("\0", "") for word in argv], {"model.py": model, "hw.toml": b"[tile]\nm = 8\n", "file": b""}
    )


def _model(rng: random.Random) -> str:
    name, count = rng.choice([("gemm", 3), ("softmax", 2), ("layernorm", 2)])
    sizes = [str(rng.choice([1, 3, 8, 31, 32, 33, 64, 100])) for _ in range(count)]
    if rng.random() < 0.2:
        sizes[rng.randrange(count)] = str(rng.choice([*INTEGERS, *FLOATS, *TEXTS]))
    shape = ("x" if rng.random() < 0.9 else rng.choice([",", "X", "*"])).join(sizes)
    others = [f"{_typo(name, rng)}:{shape}", "model.py", "file", rng.choice(TEXTS)]
    return rng.choice([f"{name}:{shape}"] * 8 + [*others, "model.py", "model.py"])


def _options(rng: random.Random, names: list[str]) -> list[str]:
    argv: list[str] = []
    for _ in range(rng.choice([0, 1, 1, 2, 4])):
        name = rng.choice(names)
        match name:
            case "--set" | "--param":
                key = _typo(rng.choice(list(keys())), rng) if rng.random() < 0.3 else rng.choice(list(keys()))
                near = [str(rng.choice([1, 2, 4, 8, 16, 64, 100]))] if rng.random() < 0.5 else []
                values = near or [str(_value(rng)) for _ in range(1 if name == "--set" else rng.randrange(1, 4))]
                argv += [name, rng.choice(["=", "=", "=", "=", "", ":"]).join([key, ",".join(values)])]
            case "--config":
                argv += [name, rng.choice([*presets() * 4, "hw.toml", "file", "model.py", *TEXTS])]
            case "--out" | "--dump-ir":
                argv += [name, rng.choice(["out", "a/b/c", "out", "a/b/c", "file", "file/x", "o" * 300, "é", ".", ""])]
            case "--dim":
                argv += [name, rng.choice(["batch=2", "=", "seq", *TEXTS])]
            case _:
                argv.append(name)
    return argv


MAKERS: dict[str, Callable[[random.Random], Input]] = {"onnx": _onnx, "toml": _toml, "command": _command}
KINDS = tuple(MAKERS)
