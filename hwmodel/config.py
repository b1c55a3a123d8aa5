"""The machine: a TOML file becomes a checked, frozen `Machine`.

Every key has a unit, a default and a meaning in hardware (docs/config.md is generated from the field
descriptions below). Unknown keys are refused. All mistakes of a file are reported together, each with
the file, the dotted key, the value received and the rule.

Time in the model is integer cycles of the core clock: this is the one place where seconds, hertz and
bytes per second are turned into cycles.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, ValidationError, field_validator

from minisim.errors import ConfigError, did_you_mean
from minisim.hwmodel import units
from minisim.hwmodel.isa import ALIGNMENT, DType


def _quantity(unit: units.Unit, to: Callable[[Fraction], Any]) -> BeforeValidator:
    def parse(value: object) -> Any:
        exact = unit.parse(value)
        if to is int and exact.denominator != 1:
            raise ValueError(f"must be a whole number of base units, such as {unit.example!r}")
        return to(exact)

    return BeforeValidator(parse)


_AS_SIZE = PlainSerializer(units.format_size, return_type=str)
_AS_GBPS = PlainSerializer(lambda rate: f"{float(rate) / 1e9:.12g}GB/s", return_type=str)
_AS_MHZ = PlainSerializer(lambda hertz: f"{float(hertz) / 1e6:.12g}MHz", return_type=str)
_AS_NS = PlainSerializer(lambda seconds: f"{float(seconds) * 1e9:.12g}ns", return_type=str)

Size = Annotated[int, _quantity(units.SIZE, int), _AS_SIZE]
Rate = Annotated[Fraction, _quantity(units.RATE, Fraction), _AS_GBPS]
Frequency = Annotated[Fraction, _quantity(units.FREQUENCY, Fraction), _AS_MHZ]
Time = Annotated[Fraction, _quantity(units.TIME, Fraction), _AS_NS]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, validate_default=True)


class Clock(Section):
    frequency: Frequency = Field("1GHz", gt=0, description="core clock; every cycle count is in its cycles")  # type: ignore[assignment]


class Tile(Section):
    m: int = Field(32, ge=1, le=4096, description="elements: rows of A and C per tile")
    k: int = Field(32, ge=1, le=4096, description="elements: columns of A and rows of B per tile")
    n: int = Field(32, ge=1, le=4096, description="elements: columns of B and C per tile")


class Matrix(Section):
    rows: int = Field(32, ge=1, le=4096, description="processing elements: rows of the array (along k)")
    cols: int = Field(32, ge=1, le=4096, description="processing elements: columns of the array (along n)")
    dataflow: Literal["ws"] = Field("ws", description="ws: weight-stationary, weights double-buffered")
    dtype: Literal["fp32"] = Field("fp32", description="operands and accumulators")
    epilogue_cycles: int = Field(
        8, ge=1, le=10_000, description="cycles: pipeline depth of the stage that adds bias and residual and activates"
    )


class Vector(Section):
    lanes: int = Field(32, ge=1, le=65536, description="elements per cycle of an operation of cost 1")
    setup_cycles: int = Field(
        4, ge=0, le=10_000, description="cycles: start-up of an operation, hidden behind the last one"
    )
    latency_cycles: int = Field(8, ge=1, le=10_000, description="cycles: pipeline depth from last input to last output")
    simple_cost: int = Field(1, ge=1, le=10_000, description="passes over the lanes of relu, add and mul")
    sigmoid_cost: int = Field(4, ge=1, le=10_000, description="passes over the lanes of sigmoid")


class Sram(Section):
    bytes: Size = Field("256KiB", ge=ALIGNMENT, le=2**31, description="on-chip scratchpad, operands and accumulators")  # type: ignore[assignment]

    @field_validator("bytes")
    @classmethod
    def _whole_granules(cls, value: int) -> int:
        if value % ALIGNMENT:
            raise ValueError(f"must be a multiple of {ALIGNMENT} bytes")
        return value


class Dma(Section):
    bytes_per_cycle: int = Field(16, ge=1, le=65536, description="bytes: width of the load port, and of the store port")
    setup_cycles: int = Field(
        8, ge=0, le=100_000, description="cycles: decoding a descriptor, hidden behind the last transfer"
    )
    max_outstanding: int = Field(16, ge=1, le=65536, description="transfers in flight per direction")


class Dram(Section):
    model: Literal["ideal"] = Field(
        "ideal", description="ideal: first come first served at full bandwidth, then latency"
    )
    bandwidth: Rate = Field("25.6GB/s", gt=0, description="shared by loads and stores")  # type: ignore[assignment]
    latency: Time = Field("60ns", ge=0, le=Fraction(1, 1000), description="from the last byte's service to its arrival")  # type: ignore[assignment]


class Control(Section):
    queue_depth: int = Field(
        16, ge=1, le=1_000_000, description="operations a unit's queue holds; dispatch stalls on a full one"
    )
    issue_cycles: int = Field(1, ge=1, le=10_000, description="cycles: dispatch of one operation")


class Compiler(Section):
    order: Literal["auto", "mnk"] = Field(
        "auto",
        description="walk of a matmul's tiles: auto picks panels for speed and few bytes, mnk is the plain loop nest",
    )
    keep_on_chip: bool = Field(True, description="keep intermediate tiles in SRAM for their consumers")


class Machine(Section):
    """A machine, complete and checked. `Machine()` is the reference machine, npu_32x32."""

    name: str = Field("npu_32x32", min_length=1, description="for reports")
    clock: Clock = Clock()
    tile: Tile = Tile()
    matrix: Matrix = Matrix()
    vector: Vector = Vector()
    sram: Sram = Sram()
    dma: Dma = Dma()
    dram: Dram = Dram()
    control: Control = Control()
    compiler: Compiler = Compiler()

    # -- in cycles ---------------------------------------------------------------------------------

    @property
    def dram_bytes_per_cycle(self) -> Fraction:
        return self.dram.bandwidth / self.clock.frequency

    @property
    def dram_latency_cycles(self) -> int:
        """Rounded up: data cannot be used before the clock edge after it arrived."""
        return -int(-self.dram.latency * self.clock.frequency // 1)

    @property
    def dtype(self) -> DType:
        return DType[self.matrix.dtype.upper()]

    # -- identity ----------------------------------------------------------------------------------

    def flat(self) -> dict[str, Any]:
        """All keys under their dotted names, values as a machine file would write them."""
        return dict(_flatten(self.model_dump(mode="json")))

    def digest(self, *sections: str) -> str:
        """SHA-256 of the given sections (default: all but the name): equal machines, equal digests."""
        data = self.model_dump(mode="json", include=set(sections) or None, exclude={"name"})
        return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()

    def to_toml(self) -> str:
        """A machine file that loads as this machine."""
        lines = [f"name = {json.dumps(self.name)}"]
        for section, values in self.model_dump(mode="json", exclude={"name"}).items():
            lines += ["", f"[{section}]"] + [f"{key} = {json.dumps(value)}" for key, value in values.items()]
        return "\n".join(lines) + "\n"

    # -- loading -----------------------------------------------------------------------------------

    @classmethod
    def load(cls, source: str | Path, overrides: Sequence[str] = ()) -> Machine:
        """Read a machine file or a shipped preset, then apply `overrides` ("sram.bytes=128KiB").

        Raises:
            ConfigError: with every mistake of the file and the overrides.
        """
        path, text = _read(source)
        try:
            data = tomllib.loads(text)
        except tomllib.TOMLDecodeError as e:
            raise ConfigError(f"{path}: not valid TOML: {e}") from None
        origin: dict[str, str] = {}
        for override in overrides:
            key, value = split_override(override)
            _assign(data, key, value)
            origin[key] = f"--set {override}"
        return cls.check(data, path, origin)

    @classmethod
    def check(cls, data: Mapping[str, Any], path: str = "machine", origin: Mapping[str, str] | None = None) -> Machine:
        """Validate a nested mapping; `origin` says where single keys came from, for messages."""
        try:
            return cls.model_validate(data)
        except ValidationError as e:
            raise ConfigError("\n".join(_messages(e, path, origin or {}))) from None

    def with_overrides(self, overrides: Mapping[str, Any], option: str = "--set") -> Machine:
        """A copy with the dotted keys changed; raises ConfigError as `load` does, naming `option`."""
        data = self.model_dump(mode="json")
        for key, value in overrides.items():
            _assign(data, key, value)
        return Machine.check(data, self.name, {key: f"{option} {key}={value}" for key, value in overrides.items()})


def presets() -> list[str]:
    """Names of the machines that ship with minisim."""
    folder = resources.files("minisim.configs")
    return sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml"))


def split_override(text: str) -> tuple[str, Any]:
    """``sram.bytes=128KiB`` -> key and value; the value is TOML, or else a string."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set {text}: must be KEY=VALUE, such as sram.bytes=128KiB")
    return key.strip(), parse_value(value.strip())


def parse_value(text: str) -> Any:
    """A TOML value (``3``, ``true``, ``"x"``); anything else is taken as a string (``128KiB``)."""
    try:
        return tomllib.loads(f"value = {text}")["value"] if "\n" not in text else text
    except tomllib.TOMLDecodeError:
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


def _read(source: str | Path) -> tuple[str, str]:
    """The path to name in messages, and the text."""
    name = str(source)
    path = Path(source)
    if not path.suffix and not path.exists():
        if name in presets():
            return f"{name}.toml", (resources.files("minisim.configs") / f"{name}.toml").read_text("utf-8")
        hint = did_you_mean(name, presets())
        raise ConfigError(f"--config {name}: no such file, nor a preset ({', '.join(presets())}){hint}")
    try:
        return name, path.read_text("utf-8")
    except UnicodeDecodeError:
        raise ConfigError(f"{name}: not a text file in UTF-8") from None
    except OSError as e:
        raise ConfigError(f"{name}: cannot be read: {e.strerror or e}") from None


def _assign(data: dict[str, Any], dotted: str, value: Any) -> None:
    *parents, last = dotted.split(".")
    for parent in parents:
        data = data.setdefault(parent, {})
        if not isinstance(data, dict):
            raise ConfigError(f"--set {dotted}={value}: {parent!r} is not a section")
    data[last] = value


def _flatten(data: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in data.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _messages(error: ValidationError, path: str, origin: Mapping[str, str]) -> Iterator[str]:
    """One line a mistake: place, key, rule, value, nearest valid name."""
    for e in error.errors():
        key = ".".join(str(part) for part in e["loc"])
        yield f"{origin.get(key, path)}: {key}: {_rule(e, key)}"


def _rule(e: Any, key: str) -> str:
    value, context = e["input"], e.get("ctx", {})
    shown = repr(value) if not isinstance(value, Fraction) else f"{float(value):g}"
    match e["type"]:
        case "extra_forbidden":
            return f"unknown key{_near_key(key)}"
        case "literal_error":
            valid = context["expected"].replace("'", "").split(" or ")
            valid = [v for part in valid for v in part.split(", ")]
            hint = did_you_mean(str(value), valid)
            return f"must be {' or '.join(valid)}, not {shown}{hint}"
        case "value_error":
            return f"{context['error']}, not {shown}"
        case "greater_than" | "greater_than_equal" | "less_than" | "less_than_equal" as bound:
            words = {"greater_than": "more than", "greater_than_equal": "at least", "less_than": "less than",
                     "less_than_equal": "at most"}  # fmt: skip
            limit = next(iter(context.values()))
            return f"must be {words[bound]} {limit}, not {shown}"
        case "int_type" | "int_from_float":
            return f"must be a whole number, not {shown}"
        case "bool_type":
            return f"must be true or false, not {shown}"
        case "string_type" | "string_too_short":
            return f"must be a text that is not empty, not {shown}"
        case "model_type" | "model_attributes_type":
            return f"must be a section, [{key}], not {shown}"
    return f"{e['msg']}, not {shown}"


def _near_key(key: str) -> str:
    """The nearest valid key: first within its own section, then anywhere."""
    section, _, name = key.rpartition(".")
    valid = list(keys())
    siblings = [k.rpartition(".")[2] for k in valid if k.rpartition(".")[0] == section]
    if not section:
        siblings += list(Machine.model_fields)
    if hint := did_you_mean(name, siblings):
        return hint
    elsewhere = [k for k in valid if k.rpartition(".")[2] == name]
    return f"; did you mean {elsewhere[0]!r}?" if elsewhere else did_you_mean(key, [*valid, *Machine.model_fields])
