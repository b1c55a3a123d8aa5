"""What a stranger might hand to the command: damaged ONNX files, some of whole networks, damaged machine files, odd
command lines, odd sweeps, damaged folders of reports.

Each input is made from its kind and a seed alone, so that a failure is named by the two.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from fuzz.explorations import damaged_folder, odd_sweep
from fuzz.messages import FLOATS, INTEGERS, TEXTS, mutate_bytes, mutate_message
from fuzz.networks import damaged_network
from fuzz.onnx_seeds import onnx_seeds

from minisim.hwmodel.config import Machine, keys, presets

MOST_OPERATIONS = "5000"
"""The option that keeps what is valid quick: the rule is the user's, and is counted before anything is made."""
MOST_OF_NETWORK = "20000"


@dataclass(frozen=True)
class Input:
    """A command line, and the files it finds in its folder."""

    argv: list[str]
    files: dict[str, bytes] = field(default_factory=dict)


def make(kind: str, seed: int) -> Input:
    """The input of this kind (see MAKERS) and seed."""
    return MAKERS[kind](random.Random(f"{kind} {seed}"))


# -- ONNX: fields of the protobuf messages, and bytes --------------------------------------------------------


def _onnx(rng: random.Random) -> Input:
    model = type(seed := rng.choice(onnx_seeds()))()
    model.CopyFrom(seed)
    for _ in range(rng.choice([1, 1, 1, 2, 3, 5])):
        mutate_message(model, rng)
    data = model.SerializeToString()
    if rng.random() < 0.2:
        data = mutate_bytes(data, rng)
    files = {"m.onnx": data, "w.bin": bytes(64)}
    options = rng.choice([["--no-numerics"], ["--no-numerics"], [], ["--set", "matrix.dtype=int8"]])
    return Input(["run", "m.onnx", "--max-operations", MOST_OPERATIONS, *options, *_hints(rng)], files)


def _network(rng: random.Random) -> Input:
    """A network of the zoo: its arrays and tiles are such that the whole of it is compiled, and half are computed."""
    options = rng.choice([["--no-numerics"], ["--no-numerics"], ["--no-check"], []])
    config = rng.choice(["tpu_like_128x128"] * 3 + ["npu_32x32", "gemmini_16x16"])
    argv = ["run", "m.onnx", "--config", config, "--max-operations", MOST_OF_NETWORK, *options]
    return Input(argv, {"m.onnx": damaged_network(rng)})


def _hints(rng: random.Random) -> list[str]:
    """Whether a run's hints are measured, which takes longer than all else: of one in three."""
    return rng.choice([[], ["--no-what-if"], ["--no-what-if"]])


# -- machine files ---------------------------------------------------------------------------------------------


def _toml(rng: random.Random) -> Input:
    data = Machine.load(rng.choice(presets())).model_dump(mode="json") if rng.random() < 0.8 else {}
    for _ in range(rng.choice([1, 1, 2, 3, 5])):
        _mutate_machine(data, rng)
    text = "".join(_toml_lines(data)).encode(errors="replace")
    if rng.random() < 0.2:
        text = mutate_bytes(text, rng)
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
        argv += ["--no-what-if"] if command == "explain" else _hints(rng)
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
        sizes = [str(int(2 ** rng.uniform(0, 33 * rng.random()))) for _ in range(count)]
    elif rng.random() < 0.2:
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


def _sweep(rng: random.Random) -> Input:
    return Input(*odd_sweep(rng))


def _folder(rng: random.Random) -> Input:
    return Input(*damaged_folder(rng))


MAKERS: dict[str, Callable[[random.Random], Input]] = {
    "onnx": _onnx,
    "network": _network,
    "toml": _toml,
    "command": _command,
    "sweep": _sweep,
    "folder": _folder,
}
KINDS = tuple(MAKERS)
