"""The machine: a TOML file becomes a checked, frozen `Machine`.

The keys are in `sections.py`. Unknown keys are refused. All mistakes of a file are reported together, each with
the file, the dotted key, the value received and the rule.

Time in the model is integer cycles of the core clock: this is the one place where seconds, hertz and
bytes per second are turned into cycles.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fractions import Fraction
from importlib import resources
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias, get_args

from pydantic import (
    Field,
    ModelWrapValidatorHandler,
    PlainSerializer,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from minisim.errors import ConfigError, UsageError, did_you_mean, shortened, shown
from minisim.hwmodel.isa import DType
from minisim.hwmodel.sections import (
    L2,
    Accumulator,
    Clock,
    Compiler,
    Control,
    Cores,
    Dma,
    Dram,
    Energy,
    Matrix,
    Noc,
    Section,
    Sparsity,
    Sram,
    Tile,
    Unpack,
    Vector,
)

MachineLike: TypeAlias = "Machine | Mapping[str, Any] | str | PathLike[str] | None"
"""What the public functions take for a machine: what `Machine.of` takes."""


class Machine(Section):
    """A machine, complete and checked. `Machine()` is the reference machine, npu_32x32."""

    name: str = Field(default="npu_32x32", min_length=1, description="for reports")
    clock: Clock = Clock()
    cores: Cores = Cores()
    matrix: Matrix = Matrix()
    tile: Tile = Tile()  # after the matrix, which it follows
    sparsity: Sparsity = Sparsity()
    unpack: Unpack = Unpack()
    vector: Vector = Vector()
    sram: Sram = Sram()
    accumulator: Accumulator = Accumulator()
    dma: Dma = Dma()
    noc: Noc = Noc()
    l2: L2 = L2()
    dram: Dram = Dram()
    control: Control = Control()
    energy: Energy = Energy()
    compiler: Compiler = Compiler()

    @field_validator("name")
    @classmethod
    def _one_line(cls, value: str) -> str:
        if not value.isprintable():
            raise ValueError("must be one line of printable text")
        return value

    @field_validator("tile")
    @classmethod
    def _follows_the_array(cls, tile: Tile, info: ValidationInfo) -> Tile:
        return tile.on(info.data["matrix"]) if "matrix" in info.data else tile

    @model_validator(mode="wrap")
    @classmethod
    def _in_our_words(cls, data: Any, check: ModelWrapValidatorHandler[Machine], info: ValidationInfo) -> Machine:
        """Whoever makes a machine, and however: its mistakes are one ConfigError."""
        path, origin = info.context or ("Machine", {})
        try:
            return check(data)
        except ValidationError as e:
            raise ConfigError("\n".join(_messages(e, data, path, origin))) from None

    # -- in cycles ---------------------------------------------------------------------------------

    @property
    def dram_bytes_per_cycle(self) -> Fraction:
        """Peak bandwidth."""
        rate = self.dram.bandwidth if self.dram.model == "ideal" else self.dram.part.bytes_per_second
        return rate / self.clock.frequency

    @property
    def unpack_cycles(self) -> int:
        """From one beat of packed weights, with two of them in a byte, to the next where the DMA unpacks them."""
        dma, rate = self.dma, self.unpack.weights_per_cycle
        return max(dma.beat_cycles, -(-2 * dma.bytes_per_cycle // rate)) if rate else dma.beat_cycles

    @property
    def dram_cycles_per_cycle(self) -> Fraction:
        """Cycles of the clock of a banked DRAM in one of the core's."""
        return Fraction(self.dram.part.MHz * 10**6) / self.clock.frequency

    @property
    def dram_latency_cycles(self) -> int:
        """Rounded up: data cannot be used before the clock edge after it arrived."""
        latency = self.dram.latency if self.dram.model == "ideal" else self.dram.latency + self.dram.part.column_latency
        return self._cycles(latency)

    def _cycles(self, seconds: Fraction) -> int:
        return -int(-seconds * self.clock.frequency // 1)

    @property
    def dram_write_latency_cycles(self) -> int:
        """The same of a write, until its response."""
        if isinstance(self.dram.write_latency, str):
            return self.dram_latency_cycles
        latency = self.dram.write_latency
        if self.dram.model == "banked":
            latency += self.dram.part.column_latency
        return self._cycles(latency)

    @property
    def l2_latency_cycles(self) -> int:
        return self._cycles(self.l2.latency)

    @property
    def memory_bytes_per_cycle(self) -> Fraction:
        """What all cores together can have at best: the DRAM's peak, or what the network carries of it."""
        limits = [self.noc.bytes_per_cycle, self.noc.core_bytes_per_cycle * self.cores.count]
        return min([self.dram_bytes_per_cycle, *(Fraction(limit) for limit in limits if limit)])

    @property
    def dtype(self) -> DType:
        """What a float model is computed in."""
        return DType[self.matrix.dtype.upper()]

    # -- identity ----------------------------------------------------------------------------------

    def flat(self) -> dict[str, Any]:
        """All keys in force under their dotted names, values as a machine file would write them."""
        return dict(_flatten(self.model_dump(mode="json")))

    def written(self) -> dict[str, Any]:
        """The sections as a machine file has them, without the edges of tiles that follow the array."""
        return self.model_dump(mode="json", exclude={"tile": set(self.tile.follows)})

    def written_keys(self) -> list[str]:
        """The dotted keys that were given, in a file or over it; the others have their defaults."""
        sections = {name: getattr(self, name) for name in self.model_fields_set}
        given = {
            f"{name}.{key}" for name, section in sections.items() if isinstance(section, Section)
            for key in section.model_fields_set
        }  # fmt: skip
        return [key for key in keys() if key in given - {f"tile.{edge}" for edge in self.tile.follows}]

    def digest(self, *sections: str) -> str:
        """SHA-256 of the given sections (default: all but the name): equal machines, equal digests.

        Raises:
            UsageError: there is no such section.
        """
        data = self.written()
        del data["name"]
        if wrong := [name for name in sections if not isinstance(name, str) or name not in data]:
            raise UsageError(f"a machine has no section {shown(wrong[0])}{did_you_mean(wrong[0], data)}")
        data = {section: data[section] for section in sections or data}
        return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()

    def to_toml(self) -> str:
        """A machine file that loads as this machine."""
        lines = [f"name = {json.dumps(self.name, ensure_ascii=False)}"]
        for section, values in self.model_dump(mode="json", exclude={"name"}).items():
            lines += ["", f"[{section}]"]
            for key, value in values.items():
                line = f"{key} = {json.dumps(value)}"
                lines.append(f"# {line}  # {self._followed}" if self._is_followed(section, key) else line)
        return "\n".join(lines) + "\n"

    def _is_followed(self, section: str, key: str) -> bool:
        return section == "tile" and key in self.tile.follows

    @property
    def _followed(self) -> str:
        """What an edge of tiles is that was not written."""
        if self.matrix.model == "scalesim":
            return "not written: a matmul's follow its layer, others the array"
        return "not written: follows the array"

    def __repr__(self) -> str:
        """What it is, in short; `to_toml` has every key."""
        cores, several = self.cores.count, f"{self.matrix.arrays} x " if self.matrix.arrays > 1 else ""
        array, tile = self.matrix, self.tile
        flat = self.flat()
        dram = flat["dram.bandwidth"] if self.dram.model == "ideal" else f"banked {flat['dram.preset']}"
        return (
            f"<Machine {shortened(self.name)!r}: {cores} core{'s' * (cores > 1)} at {flat['clock.frequency']},\n"
            f"  array {several}{array.rows}x{array.cols} {array.dataflow} {array.dtype}, "
            f"tiles {tile.m}x{tile.k}x{tile.n}, {self.vector.lanes} lanes,\n"
            f"  SRAM {flat['sram.bytes']}, DMA {self.dma.bytes_per_cycle} B/cycle, DRAM {dram}>"
        )

    __str__ = __repr__

    # -- loading -----------------------------------------------------------------------------------

    @classmethod
    def of(cls, machine: MachineLike) -> Machine:
        """A machine, whatever names it.

        Args:
            machine: a Machine; the name of a preset or the path of a machine file; a mapping of sections to their
                keys, or of dotted keys, to values as a machine file has them; None for the reference machine.

        Raises:
            ConfigError: it names none.
        """
        if isinstance(machine, Machine):
            return machine
        if machine is None:
            return cls()
        if isinstance(machine, Mapping):
            data: dict[str, Any] = {}
            for key, value in machine.items():
                _assign(data, key, dict(value) if isinstance(value, Mapping) else value, "machine")
            return cls.check(data)
        return cls.load(machine)

    @classmethod
    def load(cls, source: str | PathLike[str], overrides: Sequence[str] = ()) -> Machine:
        """Read a machine file or a shipped preset, then apply `overrides` ("sram.bytes=128KiB").

        Raises:
            ConfigError: with every mistake of the file and the overrides.
        """
        path, text = _read(source)
        try:
            data = tomllib.loads(text)
        except (ValueError, RecursionError) as e:  # its own errors, int's on 4301 digits, or too deep a nesting
            raise ConfigError(f"{path}: not valid TOML: {e}") from None
        return cls.check(data, path, _override(data, overrides, "--set"))

    @classmethod
    def check(cls, data: Mapping[str, Any], path: str = "machine", origin: Mapping[str, str] | None = None) -> Machine:
        """Validate a nested mapping; `origin` says where single keys came from, for messages."""
        if not (origin is None or isinstance(origin, Mapping)):
            raise UsageError(f"origin must be a mapping of dotted keys to where they came from, not {shown(origin)}")
        return cls.model_validate(data, context=(path, origin or {}))

    def replace(self, *overrides: str) -> Machine:
        """A copy with some keys changed, each as `--set` takes it: ``machine.replace("sram.bytes=1MiB", "tile.m=8")``.

        Raises:
            ConfigError: with every mistake of the overrides.
        """
        data = self.written()
        return Machine.check(data, self.name, _override(data, overrides, "replace"))

    def with_overrides(self, overrides: Mapping[str, Any], option: str = "--set") -> Machine:
        """A copy with the dotted keys changed; raises ConfigError as `load` does, naming `option`."""
        if not isinstance(overrides, Mapping):
            raise ConfigError(f"overrides must be a mapping of dotted keys to values, not {shown(overrides)}")
        data = self.written()
        origin = {}
        for key, value in overrides.items():
            typed = f"{key}={value if isinstance(value, str) else shown(value)}"
            origin[key] = f"{option} {shortened(typed, _MOST_GIVEN)}"
        for key, value in overrides.items():
            _assign(data, key, value, origin[key])
        return Machine.check(data, self.name, origin)


_MOST_GIVEN = 120
"""Characters of an option in a message."""


def presets() -> list[str]:
    """Names of the machines that ship with minisim."""
    folder = resources.files("minisim.configs")
    return sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml"))


def is_preset(source: str | PathLike[str]) -> bool:
    """Whether `source` names a preset, and not a file of that name."""
    return str(source) in presets() and not Path(source).is_file()


def _override(data: dict[str, Any], overrides: Sequence[str], option: str) -> dict[str, str]:
    """Put `overrides` (``KEY=VALUE``) over `data`; return the place of each key for messages, by `option`."""
    origin: dict[str, str] = {}
    for override in _texts(overrides):
        key, value = split_override(override, option)
        origin[key] = f"{option} {shortened(override, _MOST_GIVEN)}"
        _assign(data, key, value, origin[key])
    return origin


def _texts(overrides: Sequence[str]) -> Sequence[str]:
    """The overrides; one alone may stand without a list around it."""
    if isinstance(overrides, str):
        return (overrides,)
    if not isinstance(overrides, Sequence):
        raise ConfigError(f"overrides must be a sequence of texts such as 'sram.bytes=128KiB', not {shown(overrides)}")
    return overrides


def split_override(text: str, option: str = "--set") -> tuple[str, Any]:
    """``sram.bytes=128KiB`` -> key and value; the value is TOML, or else a string."""
    key, equals, value = text.partition("=") if isinstance(text, str) else ("", "", "")
    if not equals or not key.strip():
        given = shortened(str(text) if isinstance(text, str) else shown(text), _MOST_GIVEN)
        raise ConfigError(f"{option} {given}: must be KEY=VALUE, such as sram.bytes=128KiB")
    return key.strip(), parse_value(value.strip())


def parse_value(text: str) -> Any:
    """A TOML value (``3``, ``true``, ``"x"``); anything else is taken as a string (``128KiB``)."""
    try:
        return tomllib.loads(f"value = {text}")["value"] if "\n" not in text else text
    except (ValueError, RecursionError):
        return text


def keys() -> dict[str, Any]:
    """Every dotted key of a machine file with its field (default, description)."""
    found: dict[str, Any] = {}
    for name, section in Machine.model_fields.items():
        if isinstance(section.annotation, type) and issubclass(section.annotation, Section):
            found.update({f"{name}.{key}": f for key, f in section.annotation.model_fields.items()})
        else:
            found[name] = section
    return found


_MOST_CHARACTERS = 10**6
"""Of a machine file: more is another file, or one without end."""


def _read(source: str | PathLike[str]) -> tuple[str, str]:
    """The path to name in messages, and the text. A preset's name is the preset, unless it is a file."""
    try:
        Path(source)
    except TypeError:
        kinds = "a Machine, a preset's name, a file's path or a mapping of keys"
        raise ConfigError(f"a machine must be {kinds}, not {shown(source)}") from None
    name = str(source)
    try:
        if is_preset(name):
            return f"{name}.toml", (resources.files("minisim.configs") / f"{name}.toml").read_text("utf-8")
        if not name:
            raise FileNotFoundError
        with Path(source).open(encoding="utf-8-sig") as file:
            text = file.read(_MOST_CHARACTERS + 1)
        if len(text) > _MOST_CHARACTERS:
            raise ConfigError(f"machine {name!r}: a machine file has at most {_MOST_CHARACTERS:,} characters")
        return name, text
    except UnicodeDecodeError:
        raise ConfigError(f"{name}: not a text file in UTF-8") from None
    except FileNotFoundError:
        raise ConfigError(f"machine {name!r}: no such file, nor a preset{_near_machine(Path(source))}") from None
    except (OSError, ValueError) as e:  # ValueError: a zero byte in the name
        raise ConfigError(f"machine {name!r}: cannot be read: {getattr(e, 'strerror', None) or e}") from None


def _near_machine(path: Path) -> str:
    """The nearest machine file or preset; or else all presets."""
    files = [p.name for p in path.parent.glob("*.toml")] if path.parent.is_dir() else []
    return did_you_mean(path.name, [*presets(), *files]) or f" ({', '.join(presets())})"


def _assign(data: dict[str, Any], dotted: str, value: Any, origin: str) -> None:
    """Put `value` under the dotted key. No key has more than two parts: what lies below a value is not made."""
    if not isinstance(dotted, str):
        raise ConfigError(f"{origin}: a key must be a text such as 'sram.bytes', not {shown(dotted)}")
    section, *rest = dotted.split(".", 2)
    if rest:
        data = data.setdefault(section, {})
        if not isinstance(data, dict):
            raise ConfigError(f"{origin}: {shown(section)} is not a section")
        if len(rest) > 1:
            raise ConfigError(f"{origin}: {shown(rest[0])} is not a section")
    data[rest[0] if rest else section] = value


def _flatten(data: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in data.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _messages(error: ValidationError, data: Any, path: str, origin: Mapping[str, str]) -> Iterator[str]:
    """One line a mistake: place, key, rule, value, nearest valid name."""
    for e in error.errors():
        key = ".".join(str(part) for part in e["loc"])
        yield ": ".join(
            filter(None, [_place(key, path, origin), shortened(key), _rule(e, key, _given(data, e["loc"]))])
        )


def _place(key: str, path: str, origin: Mapping[str, str]) -> str:
    """Where `key` was given: itself, or as part of a section, or a section by one of its keys."""

    def concerns(given: str) -> bool:
        return f"{given}.".startswith(f"{key}.") or f"{key}.".startswith(f"{given}.")

    return origin.get(key) or next((place for given, place in origin.items() if concerns(given)), path)


@dataclass(frozen=True)
class _Given:
    """The value that broke a rule, and how a message says it."""

    value: Any
    shown: str


def _given(data: Any, location: Sequence[int | str]) -> _Given:
    """The value at `location` as it was written; or the default of a key that nobody wrote, as `to_toml` writes it."""
    value = data
    for part in location:
        if not isinstance(value, Mapping) or part not in value:
            field = keys()[".".join(map(str, location))]
            default = field.get_default(call_default_factory=True)
            return _Given(default, f"{json.dumps(default, default=str)}, its default")
        value = value[part]
    return _Given(value, shown(value))


_BOUNDS = {
    "greater_than": "more than",
    "greater_than_equal": "at least",
    "less_than": "less than",
    "less_than_equal": "at most",
}


def _rule(e: Any, key: str, given: _Given) -> str:
    context, shown = e.get("ctx", {}), given.shown
    match e["type"]:
        case "extra_forbidden":
            return f"unknown key{near_key(key)}"
        case "literal_error":
            valid = list(get_args(keys()[key].annotation))
            return f"must be {' or '.join(valid)}, not {shown}{did_you_mean(given.value, valid)}"
        case "value_error":
            rule, *hint = context["error"].args
            return f"{rule}, not {shown}{''.join(hint)}"
        case bound if bound in _BOUNDS:
            (limit,) = context.values()
            return f"must be {_BOUNDS[bound]} {as_written(keys()[key], limit)}, not {shown}"
        case "int_type" | "int_from_float" | "int_parsing_size":
            return f"must be a whole number, not {shown}"
        case "bool_type":
            return f"must be true or false, not {shown}"
        case "string_type" | "string_too_short":
            return f"must be a text that is not empty, not {shown}"
        case "model_type" | "model_attributes_type":
            return f"must be a section, [{key}], not {shown}" if key else f"must be a mapping of sections, not {shown}"
    return f"{e['msg']}, not {shown}"


def as_written(field: Any, value: Any) -> str:
    """A value of `field` as a machine file would write it, without quotes: ``60ns``."""
    write: Any = next((m.func for m in field.metadata if isinstance(m, PlainSerializer)), str)
    return str(write(value))


_RENAMED = {"matrix.timing": "matrix.model"}
"""Keys of older machine files, whose names are not near enough to those that they have now."""


def near_key(key: str) -> str:
    """The nearest valid key: one of that very name, else within its own section, else anywhere."""
    if key in _RENAMED:
        return f"; did you mean {_RENAMED[key]!r}?"
    section, _, name = key.rpartition(".")
    valid = list(dict.fromkeys([*Machine.model_fields, *keys()]))
    if same := [k for k in valid if k.rpartition(".")[2] == name.lower()]:
        return f"; did you mean {same[0]!r}?"
    here = [k for k in valid if k.rpartition(".")[0] == section]
    for group in (here, [k for k in valid if k not in here]):
        names = {k.rpartition(".")[2]: k for k in group}
        if near := get_close_matches(name.lower(), names, n=1):
            return f"; did you mean {names[near[0]]!r}?"
    return ""
