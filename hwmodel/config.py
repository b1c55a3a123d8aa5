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
from difflib import get_close_matches
from fractions import Fraction
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from minisim.errors import ConfigError, did_you_mean
from minisim.hwmodel import units
from minisim.hwmodel.dram_presets import PRESETS, DramPart
from minisim.hwmodel.isa import ALIGNMENT, DType


def _quantity(unit: units.Unit, to: Callable[[Fraction], Any]) -> BeforeValidator:
    def parse(value: object) -> Any:
        exact = unit.parse(value)
        if to is int and exact.denominator != 1:
            raise ValueError(f"must be a whole number of {unit.base}, such as {unit.example!r}")
        return to(exact)

    return BeforeValidator(parse)


_AS_SIZE = PlainSerializer(units.format_size, return_type=str)
_AS_GBPS = PlainSerializer(lambda rate: f"{units.format_exact(rate / 10**9)}GB/s", return_type=str)
_AS_MHZ = PlainSerializer(lambda hertz: f"{units.format_exact(hertz / 10**6)}MHz", return_type=str)
_AS_NS = PlainSerializer(lambda seconds: f"{units.format_exact(seconds * 10**9)}ns", return_type=str)
_AS_PJ = PlainSerializer(lambda fj: f"{units.format_exact(Fraction(fj, 1000))}pJ", return_type=str)
_AS_MW = PlainSerializer(lambda watts: f"{units.format_exact(watts * 1000)}mW", return_type=str)

Size = Annotated[int, _quantity(units.SIZE, int), _AS_SIZE]
Rate = Annotated[Fraction, _quantity(units.RATE, Fraction), _AS_GBPS]
Frequency = Annotated[Fraction, _quantity(units.FREQUENCY, Fraction), _AS_MHZ]
Time = Annotated[Fraction, _quantity(units.TIME, Fraction), _AS_NS]
Femtojoules = Annotated[int, _quantity(units.ENERGY, int), _AS_PJ]
Watts = Annotated[Fraction, _quantity(units.POWER, Fraction), _AS_MW]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, validate_default=True)


class Clock(Section):
    # The bounds here and of the bandwidth keep every count of cycles far below 2^63.
    frequency: Frequency = Field(
        default="1GHz",  # type: ignore[assignment]
        ge=Fraction(10**6),
        le=Fraction(10**11),
        description="core clock; every cycle count is in its cycles",
    )


class Tile(Section):
    m: int = Field(default=32, ge=1, le=4096, description="elements: rows of A and C per tile")
    k: int = Field(default=32, ge=1, le=4096, description="elements: columns of A and rows of B per tile")
    n: int = Field(default=32, ge=1, le=4096, description="elements: columns of B and C per tile")


class Matrix(Section):
    rows: int = Field(default=32, ge=1, le=4096, description="processing elements: rows of the array")
    cols: int = Field(default=32, ge=1, le=4096, description="processing elements: columns of the array")
    dataflow: Literal["ws", "os", "is"] = Field(
        default="ws", description="what stays in the array: ws the weights (B), os the outputs, is the inputs (A)"
    )
    overlap: Literal["full", "drain", "none"] = Field(
        default="full",
        description="of folds: full double-buffers the stationary operand and hides the drain, drain hides only the "
        "drain, none runs one fold after the other",
    )
    gap_cycles: int = Field(default=0, ge=0, le=10_000, description="cycles: control between folds if overlap is none")
    multiplier_latency: int = Field(default=1, ge=0, le=1000, description="cycles: pipeline depth of a multiplier")
    adder_latency: int = Field(default=1, ge=1, le=1000, description="cycles: pipeline depth of an accumulation")
    timing: Literal["pipelined", "scalesim"] = Field(
        default="pipelined", description="pipelined: as above; scalesim: SCALE-Sim's formulas, where no folds overlap"
    )
    dtype: Literal["fp32"] = Field(default="fp32", description="operands and accumulators")
    epilogue_cycles: int = Field(
        default=8,
        ge=1,
        le=10_000,
        description="cycles: pipeline depth of the stage that adds bias and residual and activates",
    )


class Vector(Section):
    lanes: int = Field(default=32, ge=1, le=65536, description="elements per cycle of an operation of cost 1")
    setup_cycles: int = Field(
        default=4, ge=0, le=10_000, description="cycles: start-up of an operation, hidden behind the last one"
    )
    latency_cycles: int = Field(
        default=8, ge=1, le=10_000, description="cycles: pipeline depth from last input to last output"
    )
    simple_cost: int = Field(default=1, ge=1, le=10_000, description="passes over the lanes of relu, add and mul")
    sigmoid_cost: int = Field(default=4, ge=1, le=10_000, description="passes over the lanes of sigmoid")


class Sram(Section):
    bytes: Size = Field(
        default="256KiB",  # type: ignore[assignment]
        ge=ALIGNMENT,
        le=2**31,
        description=f"on-chip scratchpad, operands and accumulators; a multiple of {ALIGNMENT}",
    )

    read_bytes_per_cycle: int = Field(
        default=0, ge=0, le=2**20, description="bytes: read ports of the array and the vector unit; 0 never binds"
    )
    write_bytes_per_cycle: int = Field(
        default=0, ge=0, le=2**20, description="bytes: write ports of the array and the vector unit; 0 never binds"
    )

    @field_validator("bytes")
    @classmethod
    def _whole_granules(cls, value: int) -> int:
        if value % ALIGNMENT:
            raise ValueError(f"must be a multiple of {ALIGNMENT} bytes")
        return value


class Dma(Section):
    bytes_per_cycle: int = Field(
        default=16, ge=1, le=65536, description="bytes: width of the load port, and of the store port"
    )
    setup_cycles: int = Field(
        default=8, ge=0, le=100_000, description="cycles: decoding a descriptor, hidden behind the last transfer"
    )
    max_outstanding: int = Field(default=16, ge=1, le=65536, description="transfers in flight per direction")
    max_burst_beats: int = Field(
        default=0, ge=0, le=65536, description="beats of the longest burst (AXI4: 256); 0: rows are not split by length"
    )
    burst_boundary: Size = Field(
        default="0",  # type: ignore[assignment]
        ge=0,
        le=2**31,
        description="bytes: no burst crosses a multiple of it (AXI: 4KiB); 0: none",
    )
    outstanding_bursts: int = Field(
        default=0,
        ge=0,
        le=4096,
        description="bursts requested and not yet answered per direction; 0: so many that DRAM latency stays hidden",
    )
    request_cycles: int = Field(
        default=0, ge=0, le=1000, description="cycles: from one burst's request to the next; 0: never the limit"
    )
    gap_cycles: int = Field(
        default=0, ge=0, le=1000, description="cycles: rest of the port after each transfer, before the next one's data"
    )

    @property
    def has_bursts(self) -> bool:
        """Whether transfers are timed burst by burst; else they are one packed stream, whatever their rows."""
        return bool(self.max_burst_beats or self.burst_boundary or self.outstanding_bursts or self.request_cycles)


class Dram(Section):
    model: Literal["ideal", "banked"] = Field(
        default="ideal",
        description="ideal: first come first served at `bandwidth`, then `latency`; "
        "banked: channels, banks, rows and refresh of `preset`, then its column latency and `latency`",
    )
    preset: Literal["ddr4-3200", "lpddr4-2400", "lpddr5-6400", "hbm2"] = Field(
        default="ddr4-3200", description="the part that `banked` models (hwmodel/dram_presets.py)"
    )
    override: str = Field(
        default="none", description="numbers of the preset to change, in DRAM cycles: `CL=20 tRFC=400 channels=2`"
    )
    bandwidth: Rate = Field(
        default="25.6GB/s",  # type: ignore[assignment]
        ge=Fraction(10**6),
        le=Fraction(10**15),
        description="shared by loads and stores; of `ideal`: `banked` has its part's",
    )
    latency: Time = Field(
        default="60ns", ge=0, le=Fraction(1, 1000), description="from the last byte's service to its arrival"
    )  # type: ignore[assignment]

    @property
    def part(self) -> DramPart:
        """The part that `banked` models."""
        return PRESETS[self.preset].override(self.override)

    @field_validator("override")
    @classmethod
    def _known_numbers(cls, value: str, info: ValidationInfo) -> str:
        PRESETS[info.data.get("preset", "ddr4-3200")].override(value)
        return value


def _energy(default: str, description: str) -> Any:
    """A price of at most 10 nJ, so that the energy of one operation is far below 2^63 fJ."""
    return Field(default=default, ge=0, le=10**7, description=description)


def _power(default: str, description: str) -> Any:
    return Field(default=default, ge=0, le=Fraction(1000), description=description)


class Energy(Section):
    """Prices, whole femtojoules. [H]: M. Horowitz, ISSCC 2014, fig. 1.1.9: 45 nm, 0.9 V."""

    mac_fp32: Femtojoules = _energy("4.6pJ", "per MAC: fp32 multiply 3.7 + add 0.9 [H]")
    mac_bf16: Femtojoules = _energy("2pJ", "per MAC: 16-bit multiply 1.1 + fp32 add 0.9 [H]; for when there is bf16")
    mac_int8: Femtojoules = _energy("0.3pJ", "per MAC: int8 multiply 0.2 + int32 add 0.1 [H]; for when there is int8")
    vector_relu: Femtojoules = _energy("0.1pJ", "per element, also in the epilogue: as an int32 add [H]")
    vector_sigmoid: Femtojoules = _energy("18.4pJ", "per element: taken as four fp32 MACs (an assumption)")
    vector_add: Femtojoules = _energy("0.9pJ", "per element: fp32 add [H]; also bias and residual of the epilogue")
    vector_mul: Femtojoules = _energy("3.7pJ", "per element: fp32 multiply [H]")
    sram_8kib: Femtojoules = _energy("1.25pJ", "per byte read from an SRAM of 8 KiB: 10 pJ per 64 bits [H]")
    sram_32kib: Femtojoules = _energy("2.5pJ", "the same of 32 KiB: 20 pJ per 64 bits [H]; between sizes, log-log")
    sram_1mib: Femtojoules = _energy("12.5pJ", "the same of 1 MiB: 100 pJ per 64 bits [H]; beyond, as sqrt(size)")
    sram_write_percent: int = Field(
        default=100, ge=0, le=400, description="% of a read that a write takes; [H] does not tell them apart"
    )
    dma_byte: Femtojoules = _energy(
        "1pJ", "per byte moved: 1 mm of wire at 0.12 pJ/bit/mm (Keckler et al., IEEE Micro 31(5), 2011)"
    )
    dma_descriptor: Femtojoules = _energy("70pJ", "per transfer: taken as one instruction of a 45 nm processor [H]")
    dram_byte: Femtojoules = _energy(
        "32pJ",
        "per byte, device and interface: LPDDR4 at about 4 pJ/bit (an order of magnitude); "
        "HBM2 31.2 (O'Connor et al., MICRO 2017); DDR3 about 162 to 325 [H]",
    )
    pe_leakage: Watts = _power("0.05mW", "per processing element, all the time (an assumption: 1 % of its fp32 MACs)")
    sram_leakage: Watts = _power("20mW", "per MiB of SRAM, all the time (an assumption)")
    dram_idle: Watts = _power("30mW", "standby and refresh of the DRAM, all the time (an assumption)")


class Control(Section):
    queue_depth: int = Field(
        default=16, ge=1, le=1_000_000, description="operations a unit's queue holds; dispatch stalls on a full one"
    )
    issue_cycles: int = Field(default=1, ge=1, le=10_000, description="cycles: dispatch of one operation")


class Compiler(Section):
    order: Literal["auto", "mnk"] = Field(
        default="auto",
        description="walk of a matmul's tiles: auto picks panels for speed and few bytes, mnk is the plain loop nest",
    )
    keep_on_chip: bool = Field(default=True, description="keep intermediate tiles in SRAM for their consumers")


class Machine(Section):
    """A machine, complete and checked. `Machine()` is the reference machine, npu_32x32."""

    name: str = Field(default="npu_32x32", min_length=1, description="for reports")
    clock: Clock = Clock()
    tile: Tile = Tile()
    matrix: Matrix = Matrix()
    vector: Vector = Vector()
    sram: Sram = Sram()
    dma: Dma = Dma()
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

    # -- in cycles ---------------------------------------------------------------------------------

    @property
    def dram_bytes_per_cycle(self) -> Fraction:
        """Peak bandwidth."""
        rate = self.dram.bandwidth if self.dram.model == "ideal" else self.dram.part.bytes_per_second
        return rate / self.clock.frequency

    @property
    def dram_latency_cycles(self) -> int:
        """Rounded up: data cannot be used before the clock edge after it arrived."""
        latency = self.dram.latency if self.dram.model == "ideal" else self.dram.latency + self.dram.part.column_latency
        return -int(-latency * self.clock.frequency // 1)

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
        lines = [f"name = {json.dumps(self.name, ensure_ascii=False)}"]
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
        except (ValueError, RecursionError) as e:  # its own errors, int's on 4301 digits, or too deep a nesting
            raise ConfigError(f"{path}: not valid TOML: {e}") from None
        origin: dict[str, str] = {}
        for override in overrides:
            key, value = split_override(override)
            origin[key] = f"--set {override}"
            _assign(data, key, value, origin[key])
        return cls.check(data, path, origin)

    @classmethod
    def check(cls, data: Mapping[str, Any], path: str = "machine", origin: Mapping[str, str] | None = None) -> Machine:
        """Validate a nested mapping; `origin` says where single keys came from, for messages."""
        try:
            return cls.model_validate(data)
        except ValidationError as e:
            raise ConfigError("\n".join(_messages(e, data, path, origin or {}))) from None

    def with_overrides(self, overrides: Mapping[str, Any], option: str = "--set") -> Machine:
        """A copy with the dotted keys changed; raises ConfigError as `load` does, naming `option`."""
        data = self.model_dump(mode="json")
        origin = {key: f"{option} {key}={v if isinstance(v, str) else _shown(v)}" for key, v in overrides.items()}
        for key, value in overrides.items():
            _assign(data, key, value, origin[key])
        return Machine.check(data, self.name, origin)


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


def _read(source: str | Path) -> tuple[str, str]:
    """The path to name in messages, and the text. A preset's name is the preset, unless it is a file."""
    name = str(source)
    try:
        if name in presets() and not Path(name).is_file():
            return f"{name}.toml", (resources.files("minisim.configs") / f"{name}.toml").read_text("utf-8")
        if not name:
            raise FileNotFoundError
        return name, Path(source).read_text("utf-8-sig")
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
    *parents, last = dotted.split(".")
    for parent in parents:
        data = data.setdefault(parent, {})
        if not isinstance(data, dict):
            raise ConfigError(f"{origin}: {parent!r} is not a section")
    data[last] = value


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
        yield f"{_place(key, path, origin)}: {key}: {_rule(e, key, _at(data, e['loc']))}"


def _place(key: str, path: str, origin: Mapping[str, str]) -> str:
    """Where `key` was given: itself, or as part of a section, or a section by one of its keys."""

    def concerns(given: str) -> bool:
        return f"{given}.".startswith(f"{key}.") or f"{key}.".startswith(f"{given}.")

    return origin.get(key) or next((place for given, place in origin.items() if concerns(given)), path)


def _at(data: Any, location: Sequence[int | str]) -> Any:
    """The value at `location`, as it was written."""
    for part in location:
        data = data[part]
    return data


def _shown(value: Any) -> str:
    """A value in a message: as Python writes it, but never more than a line."""
    try:
        text = repr(value)
    except ValueError:  # int's, on 4301 digits
        return "a huge number"
    return text if len(text) <= 60 else f"{text[:57]}..."


_BOUNDS = {
    "greater_than": "more than",
    "greater_than_equal": "at least",
    "less_than": "less than",
    "less_than_equal": "at most",
}


def _rule(e: Any, key: str, value: Any) -> str:
    context, shown = e.get("ctx", {}), _shown(value)
    match e["type"]:
        case "extra_forbidden":
            return f"unknown key{_near_key(key)}"
        case "literal_error":
            valid = list(get_args(keys()[key].annotation))
            return f"must be {' or '.join(valid)}, not {shown}{did_you_mean(str(value), valid)}"
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
            return f"must be a section, [{key}], not {shown}"
    return f"{e['msg']}, not {shown}"


def as_written(field: Any, value: Any) -> str:
    """A value of `field` as a machine file would write it, without quotes: ``60ns``."""
    write: Any = next((m.func for m in field.metadata if isinstance(m, PlainSerializer)), str)
    return str(write(value))


def _near_key(key: str) -> str:
    """The nearest valid key: first within its own section, then anywhere."""
    section, _, name = key.rpartition(".")
    valid = list(dict.fromkeys([*Machine.model_fields, *keys()]))
    here = [k for k in valid if k.rpartition(".")[0] == section]
    for group in (here, [k for k in valid if k not in here]):
        names = {k.rpartition(".")[2]: k for k in group}
        if near := get_close_matches(name.lower(), names, n=1):
            return f"; did you mean {names[near[0]]!r}?"
    return ""
