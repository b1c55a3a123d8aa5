"""The sections of a machine file: every key with its unit, default, bounds and meaning in hardware.

docs/config.md is generated from the descriptions here. `config.py` puts the sections together.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PrivateAttr,
    ValidationInfo,
    field_validator,
)

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


def _written(unit: Fraction, suffix: str) -> Callable[[Any], str]:
    """Writes a quantity in `unit`, which the suffix names. What it wrote it keeps: a machine with one key changed is
    written and read again as a whole."""
    return lru_cache(maxsize=1024)(lambda value: f"{units.format_exact(value / unit)}{suffix}")


_AS_SIZE = PlainSerializer(units.format_size, return_type=str)
_AS_GBPS = PlainSerializer(_written(Fraction(10**9), "GB/s"), return_type=str)
_AS_MHZ = PlainSerializer(_written(Fraction(10**6), "MHz"), return_type=str)
_IN_NS = _written(Fraction(1, 10**9), "ns")
_AS_NS = PlainSerializer(_IN_NS, return_type=str)
_AS_PJ = PlainSerializer(_written(Fraction(1000), "pJ"), return_type=str)
_AS_MW = PlainSerializer(_written(Fraction(1, 1000), "mW"), return_type=str)
_AS_FRACTION = PlainSerializer(str, return_type=str)

Size = Annotated[int, _quantity(units.SIZE, int), _AS_SIZE]
Rate = Annotated[Fraction, _quantity(units.RATE, Fraction), _AS_GBPS]
Frequency = Annotated[Fraction, _quantity(units.FREQUENCY, Fraction), _AS_MHZ]
Time = Annotated[Fraction, _quantity(units.TIME, Fraction), _AS_NS]
Femtojoules = Annotated[int, _quantity(units.ENERGY, int), _AS_PJ]
Watts = Annotated[Fraction, _quantity(units.POWER, Fraction), _AS_MW]


def _mac_rate(value: object) -> Fraction:
    """A whole number, or one divided by a whole number, so that steps and passes are whole."""
    rule = "must be a whole number or 1/n, such as 2 or '1/4'"
    try:
        rate = Fraction(value) if isinstance(value, (int, str, Fraction)) and not isinstance(value, bool) else None
    except (ValueError, ZeroDivisionError):
        rate = None
    if rate is None or (rate.denominator != 1 and rate.numerator != 1):
        raise ValueError(rule)
    return rate


MacRate = Annotated[Fraction, BeforeValidator(_mac_rate), _AS_FRACTION]


def _rate_field(dtype: str) -> Any:
    return Field(
        default="1",
        ge=Fraction(0),
        le=Fraction(64),
        description=f"{dtype} MACs per processing element and cycle: above 1 it multiplies so many steps of k at once, "
        "1/n takes n cycles for one; 0: it cannot",
    )


def _write_latency(value: object) -> Fraction | str:
    if value == "latency":
        return "latency"
    try:
        seconds = units.TIME.parse(value)
    except ValueError:
        raise ValueError("must be a time such as '60ns', or 'latency'") from None
    if not 0 <= seconds <= Fraction(1, 1000):
        raise ValueError("must be from 0ns to 1000000ns, or 'latency'")
    return seconds


WriteLatency = Annotated[
    Fraction | str,
    BeforeValidator(_write_latency),
    PlainSerializer(lambda value: value if isinstance(value, str) else _IN_NS(value), return_type=str),
]


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


LIES_ALONG = {"ws": ("k", "n"), "os": ("m", "n"), "is": ("k", "m")}
"""The edge of a block that lies along the rows of the array, and the one along its columns, by dataflow."""


class Matrix(Section):
    rows: int = Field(default=32, ge=1, le=4096, description="processing elements: rows of the array")
    cols: int = Field(default=32, ge=1, le=4096, description="processing elements: columns of the array")
    arrays: int = Field(
        default=1, ge=1, le=64, description="arrays per core, fed from the same SRAM: they share a block's folds"
    )
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
    model: Literal["pipelined", "scalesim"] = Field(
        default="pipelined",
        description="how it is timed: pipelined as above; scalesim by SCALE-Sim's formulas, where no folds overlap",
    )
    dtype: Literal["fp32", "bf16", "fp16", "int8"] = Field(
        default="fp32",
        description="what a float model is computed in: fp32 as it is, bf16 or fp16 rounded (sums fp32), int8 "
        "quantised (sums int32)",
    )
    fp32_rate: MacRate = _rate_field("fp32")
    bf16_rate: MacRate = _rate_field("bf16")
    fp16_rate: MacRate = _rate_field("fp16")
    int8_rate: MacRate = _rate_field("int8")
    uint8_rate: MacRate = _rate_field("uint8 (A; B int8 or uint8)")
    int16_rate: MacRate = _rate_field("int16 x int8")
    packs_taps: bool = Field(
        default=True,
        description="whether the rows of the array take the next steps of k whichever taps they belong to; if not, "
        "the channels of each tap have passes of their own",
    )
    epilogue_cycles: int = Field(
        default=8,
        ge=1,
        le=10_000,
        description="cycles: pipeline depth of the stage that adds bias and residual, activates and requantises",
    )

    @field_validator("fp32_rate", "bf16_rate", "fp16_rate", "int8_rate")
    @classmethod
    def _has_its_dtype(cls, rate: Fraction, info: ValidationInfo) -> Fraction:
        if not rate and info.field_name == f"{info.data.get('dtype')}_rate":
            raise ValueError(f"must be more than 0 where matrix.dtype is {info.data['dtype']!r}")
        return rate

    def rate(self, dtype: DType) -> Fraction:
        """MACs per processing element and cycle; 0 if the array does not have the type."""
        found: Fraction = getattr(self, f"{dtype.name.lower()}_rate")
        return found

    @property
    def elements(self) -> int:
        """The processing elements of all arrays: MACs per cycle at best."""
        return self.arrays * self.rows * self.cols

    @property
    def edges(self) -> dict[str, int]:
        """The edges of a block (m, k, n) that lie along the rows and the columns, and how long fills all arrays.

        Arrays stand side by side. One that multiplies p steps of k of `dtype` at once is filled by p times its rows.
        """
        rows, cols = LIES_ALONG[self.dataflow]
        packed = max(1, int(self.rate(DType[self.dtype.upper()]))) if rows == "k" else 1
        return {rows: packed * self.rows, cols: self.arrays * self.cols}


def _pattern(value: object) -> str:
    """``2:4``, or ``none``."""
    rule = "must be N:M, such as '2:4', with 1 <= N < M <= 64, or 'none'"
    if value == "none":
        return "none"
    kept, _, block = value.partition(":") if isinstance(value, str) else ("", "", "")
    if not (kept.isascii() and kept.isdigit() and block.isascii() and block.isdigit() and len(kept + block) < 6):
        raise ValueError(rule)
    if not 1 <= int(kept) < int(block) <= 64:
        raise ValueError(rule)
    return f"{int(kept)}:{int(block)}"


class Sparsity(Section):
    """Structured sparsity of weights (sparsity.py)."""

    pattern: Annotated[str, BeforeValidator(_pattern)] = Field(
        default="none",
        examples=['"none", "1:2" to "63:64"'],
        description="N:M: weights of which each block of M steps of k has at most N that are not zero are moved and "
        "multiplied compressed; none: all weights are dense",
    )
    metadata_bits: int = Field(
        default=0, ge=0, le=64, description="bits beside each value that is kept; 0: as many as name a place of M"
    )
    prune: bool = Field(
        default=False,
        description="whether float weights are made so: of each block the N of the largest magnitude stay, the others "
        "become zero",
    )

    @property
    def numbers(self) -> tuple[int, int] | None:
        """N and M; None if all weights are dense."""
        if self.pattern == "none":
            return None
        kept, block = self.pattern.split(":")
        return int(kept), int(block)

    @property
    def bits(self) -> int:
        """Of metadata beside each value."""
        if self.numbers is None:
            return 0
        return self.metadata_bits or (self.numbers[1] - 1).bit_length()


class Unpack(Section):
    """Weights of 4 bits in blocks, which a model brings (packing.py)."""

    by: Literal["dma", "array", "none"] = Field(
        default="dma",
        description="who makes numbers of weights of 4 bits: the DMA on their way into SRAM, or the array as it takes "
        "them out of there; none: nobody, so they lie in DRAM as numbers",
    )
    weights_per_cycle: int = Field(
        default=0, ge=0, le=2**20, description="that a channel of the DMA unpacks; 0: as many as its bus brings"
    )


_FOLLOWS = "; not written, it follows the array, or is what the compiler finds better (compiler.effort)"
_CHOSEN = " edge {} is that the compiler chooses instead of the array's"


class Tile(Section):
    """The edges of a matmul's tiles. An edge that is not written follows the array (`on`).

    A machine's tile has all edges in force. Under `matrix.model = "scalesim"` those of a matmul that are not written
    follow its layer instead (compiler/layer_tile.py).
    """

    m: int = Field(default=32, ge=1, le=4096, description=f"elements: rows of A and C per tile{_FOLLOWS}")
    k: int = Field(default=32, ge=1, le=4096, description=f"elements: columns of A and rows of B per tile{_FOLLOWS}")
    n: int = Field(default=32, ge=1, le=4096, description=f"elements: columns of B and C per tile{_FOLLOWS}")
    max_m: int = Field(default=4096, ge=1, le=4096, description=f"elements: the most that{_CHOSEN.format('m')}")
    max_k: int = Field(default=4096, ge=1, le=4096, description=f"elements: the most that{_CHOSEN.format('k')}")
    max_n: int = Field(default=4096, ge=1, le=4096, description=f"elements: the most that{_CHOSEN.format('n')}")
    multiple_m: int = Field(default=1, ge=1, le=4096, description=f"elements: what divides{_CHOSEN.format('m')}")
    multiple_k: int = Field(default=1, ge=1, le=4096, description=f"elements: what divides{_CHOSEN.format('k')}")
    multiple_n: int = Field(default=1, ge=1, le=4096, description=f"elements: what divides{_CHOSEN.format('n')}")

    _follows: frozenset[str] | None = PrivateAttr(default=None)

    @property
    def follows(self) -> frozenset[str]:
        """The edges that were not written."""
        written = self.model_fields_set if self._follows is None else {"m", "k", "n"} - self._follows
        return frozenset({"m", "k", "n"} - written)

    def on(self, matrix: Matrix) -> Tile:
        """This tile with the edges that were not written as `matrix` has them.

        Two edges lie along the array (`Matrix.edges`) and fill it. Along the third operands stream: it is as long as
        the longer side of the arrays, so that a stream hides the shifting in of what stays, or the shifting out of
        results.
        """
        streamed = dict.fromkeys(("m", "k", "n"), max(matrix.rows, matrix.arrays * matrix.cols))
        edges = streamed | matrix.edges
        tile = self.model_copy(update={edge: edges[edge] for edge in self.follows})
        tile._follows = self.follows
        return tile


class Vector(Section):
    lanes: int = Field(default=32, ge=1, le=65536, description="elements per cycle of an operation of cost 1")
    setup_cycles: int = Field(
        default=4, ge=0, le=10_000, description="cycles: start-up of an operation, hidden behind the last one"
    )
    latency_cycles: int = Field(
        default=8, ge=1, le=10_000, description="cycles: pipeline depth from last input to last output"
    )
    simple_cost: int = Field(
        default=1, ge=1, le=10_000, description="passes over the lanes of relu and max, also of each step of a maximum"
    )
    add_cost: int = Field(
        default=0, ge=0, le=10_000, description="passes of add and sub, also of each step of a sum; 0: simple_cost"
    )
    mul_cost: int = Field(default=0, ge=0, le=10_000, description="passes of mul; 0: simple_cost")
    fma_cost: int = Field(
        default=0, ge=0, le=10_000, description="passes of each step of a fold that multiplies and adds; 0: simple_cost"
    )
    # A quarter of the rate of an addition, as that of the special functions of a GPU of compute capability 7.x
    # (CUDA C++ programming guide, throughput of native arithmetic instructions: 16 results a cycle beside 64).
    div_cost: int = Field(default=4, ge=1, le=10_000, description="passes of div (a reciprocal and a product)")
    exp_cost: int = Field(default=4, ge=1, le=10_000, description="passes of exp")
    # Logarithm, sine and cosine are functions of the same special units in that table as the exponential.
    log_cost: int = Field(
        default=4, ge=1, le=10_000, description="passes of log, of the inverse hyperbolic functions; a step of pow"
    )
    trig_cost: int = Field(default=4, ge=1, le=10_000, description="passes of sin, cos, tan and of their inverses")
    # No special unit has it: an exponential, and a polynomial of four multiplications and additions.
    erf_cost: int = Field(default=8, ge=1, le=10_000, description="passes of erf, also as a step of gelu")
    sqrt_cost: int = Field(default=4, ge=1, le=10_000, description="passes of sqrt")
    sigmoid_cost: int = Field(default=4, ge=1, le=10_000, description="passes over the lanes of sigmoid")
    depthwise: bool = Field(
        default=True,
        description="whether a convolution of floats, each channel by itself, is the vector unit's, tap by tap; else "
        "it is the array's, of which it uses one column; the bits are the same",
    )
    reduce_level_cycles: int = Field(
        default=1,
        ge=1,
        le=1000,
        description="cycles: a level of the pipelined tree that combines the lanes' partial results of a reduction; "
        "it has ceil(log2(min(lanes, columns))) levels",
    )


class Sram(Section):
    bytes: Size = Field(
        default="256KiB",  # type: ignore[assignment]
        ge=ALIGNMENT,
        le=2**31,
        description=f"on-chip scratchpad: operands, results, and partial sums if there is no accumulator memory; a "
        f"multiple of {ALIGNMENT}",
    )

    read_bytes_per_cycle: int = Field(
        default=0, ge=0, le=2**20, description="bytes: read ports of the array and the vector unit; 0 never binds"
    )
    write_bytes_per_cycle: int = Field(
        default=0, ge=0, le=2**20, description="bytes: write ports of the array and the vector unit; 0 never binds"
    )

    banks: int = Field(
        default=1, ge=1, le=4096, description="banks of the scratchpad; neighbouring words lie in neighbouring banks"
    )
    bank_bytes_per_cycle: int = Field(
        default=0,
        ge=0,
        le=65536,
        description="bytes: the word that a bank reads or writes in a cycle for the array and the vector unit, which "
        "meet conflicts where they walk down the columns of a tile; 0 never binds",
    )

    @field_validator("bytes")
    @classmethod
    def _whole_granules(cls, value: int) -> int:
        return _whole_granules(value)


class Accumulator(Section):
    """A memory of its own for partial sums, at the array's edge, beside the scratchpad."""

    bytes: Size = Field(
        default="0",  # type: ignore[assignment]
        ge=0,
        le=2**30,
        description=f"memory for the partial sums of matmuls of several steps; a multiple of {ALIGNMENT}; 0: there is "
        "none, they lie in the scratchpad",
    )
    read_bytes_per_cycle: int = Field(
        default=0, ge=0, le=2**20, description="bytes: read port of the array for partial sums; 0 never binds"
    )
    write_bytes_per_cycle: int = Field(
        default=0, ge=0, le=2**20, description="bytes: write port of the array for partial sums; 0 never binds"
    )

    @field_validator("bytes")
    @classmethod
    def _whole_granules(cls, value: int) -> int:
        return _whole_granules(value)


def _whole_granules(value: int) -> int:
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
    completion_cycles: int = Field(
        default=0,
        ge=0,
        le=1000,
        description="cycles: from a transfer's last byte to its retirement (status, interrupt)",
    )
    channels: int = Field(
        default=1,
        ge=1,
        le=64,
        description="of each direction: ports with their own descriptors and requests; a transfer goes to the one that "
        "has been ready longest, and they retire in order",
    )
    dimensions: int = Field(
        default=2,
        ge=1,
        le=3,
        description="of a descriptor: 1 moves a row, 2 a tile, 3 a run of tiles at constant strides, if they stand one "
        "after the other in program order",
    )
    max_outstanding: int = Field(
        default=16,
        ge=1,
        le=65536,
        description="descriptors in flight per channel (of both directions together if `shared`)",
    )
    shared: bool = Field(
        default=False,
        description="a channel serves loads and stores: one port, with its bursts' slots and the descriptors in "
        "flight, first come first served; each direction still decodes its own",
    )
    beat_cycles: int = Field(
        default=1,
        ge=1,
        le=1000,
        description="cycles: from one beat to the next; more than 1 on a bus that cannot stream",
    )
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
        description="bursts requested and not yet answered per channel; 0: so many that DRAM latency stays hidden",
    )
    request_cycles: int = Field(
        default=0, ge=0, le=1000, description="cycles: from one burst's request to the next; 0: never the limit"
    )
    burst_gap_cycles: int = Field(
        default=0,
        ge=0,
        le=1000,
        description="cycles: rest of the data bus after each burst, before the next one's data",
    )
    store_burst_beats: int = Field(
        default=0, ge=0, le=65536, description="beats of the longest burst of a store; 0: as `max_burst_beats`"
    )
    store_burst_cycles: int = Field(
        default=0,
        ge=0,
        le=1000,
        description="cycles: of each burst of a store, beyond one of a load (fetching its data, the write's handshake)",
    )
    gap_cycles: int = Field(
        default=0, ge=0, le=1000, description="cycles: rest of the port after each transfer, before the next one's data"
    )

    @property
    def has_bursts(self) -> bool:
        """Whether transfers are timed burst by burst; else they are one packed stream, whatever their rows."""
        splits = self.max_burst_beats or self.burst_boundary or self.store_burst_beats
        takes_time = self.request_cycles or self.burst_gap_cycles or self.store_burst_cycles
        return bool(splits or self.outstanding_bursts or takes_time)


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
    write_latency: WriteLatency = Field(
        default="latency",
        description="of a write: from the last byte's service to its response, on which its tile's place is free; "
        "'latency': as long as a read's",
    )
    padding: Literal["row", "tile"] = Field(
        default="row",
        description="of a tensor's rows in DRAM: row: to 64 bytes if a row is longer, else none, rows lie packed; "
        "tile: rows and columns to whole tiles",
    )

    @property
    def channels(self) -> int:
        """What serves transfers side by side."""
        return self.part.channels if self.model == "banked" else 1

    @property
    def part(self) -> DramPart:
        """The part that `banked` models."""
        return PRESETS[self.preset].override(self.override)

    @field_validator("override")
    @classmethod
    def _known_numbers(cls, value: str, info: ValidationInfo) -> str:
        PRESETS[info.data.get("preset", "ddr4-3200")].override(value)
        return value


class L2(Section):
    """A cache between the cores and the DRAM."""

    line_bytes: int = Field(default=64, ge=16, le=4096, description="bytes: of a line; a power of two")
    ways: int = Field(default=16, ge=1, le=256, description="lines of a set")
    bytes: Size = Field(  # after those that it is a multiple of
        default="0",  # type: ignore[assignment]
        ge=0,
        le=2**32,
        description="cache that all cores share, in front of the DRAM (LRU, write-back, write-allocate); a multiple of "
        "`line_bytes` x `ways`; 0: there is none",
    )
    bytes_per_cycle: int = Field(
        default=64, ge=1, le=65536, description="bytes: of its port, for all cores and both directions together"
    )
    latency: Time = Field(
        default="20ns",  # type: ignore[assignment]
        ge=0,
        le=Fraction(1, 1000),
        description="from the last byte's service to its arrival; a transfer that misses has the DRAM's on top",
    )

    @property
    def sets(self) -> int:
        return self.bytes // (self.line_bytes * self.ways)

    @field_validator("line_bytes")
    @classmethod
    def _power_of_two(cls, value: int) -> int:
        if value & (value - 1):
            raise ValueError("must be a power of two")
        return value

    @field_validator("bytes")
    @classmethod
    def _whole_sets(cls, value: int, info: ValidationInfo) -> int:
        of_a_set = info.data.get("line_bytes", 1) * info.data.get("ways", 1)
        if value % of_a_set:
            raise ValueError(f"must be a multiple of line_bytes x ways, here {of_a_set}")
        return value


class Noc(Section):
    """The network between the cores and the memory that they share."""

    core_bytes_per_cycle: int = Field(
        default=0, ge=0, le=2**20, description="bytes: to and from one core, together; 0 never binds"
    )
    bytes_per_cycle: int = Field(
        default=0, ge=0, le=2**20, description="bytes: to and from all cores, together; 0 never binds"
    )

    @property
    def limits(self) -> bool:
        """Whether there is anything that it may hold up."""
        return bool(self.core_bytes_per_cycle or self.bytes_per_cycle)


def _energy(default: str, description: str) -> Any:
    """A price of at most 10 nJ, so that the energy of one operation is far below 2^63 fJ."""
    return Field(default=default, ge=0, le=10**7, description=description)


def _power(default: str, description: str) -> Any:
    return Field(default=default, ge=0, le=Fraction(1000), description=description)


class Energy(Section):
    """Prices, whole femtojoules. [H]: M. Horowitz, ISSCC 2014, fig. 1.1.9: 45 nm, 0.9 V."""

    mac_fp32: Femtojoules = _energy("4.6pJ", "per MAC: fp32 multiply 3.7 + add 0.9 [H]")
    mac_bf16: Femtojoules = _energy("2pJ", "per MAC: 16-bit float multiply 1.1 + fp32 add 0.9 [H]")
    mac_fp16: Femtojoules = _energy("2pJ", "per MAC: 16-bit float multiply 1.1 + fp32 add 0.9 [H]")
    mac_int8: Femtojoules = _energy("0.3pJ", "per MAC: int8 multiply 0.2 + int32 add 0.1 [H]")
    mac_uint8: Femtojoules = _energy("0.3pJ", "per MAC of A uint8: as of int8 [H]")
    mac_int16: Femtojoules = _energy("0.5pJ", "per int16 x int8 MAC: two int8 multiplies 0.4 + int32 add 0.1 [H]")
    vector_relu: Femtojoules = _energy("0.1pJ", "per element, also in the epilogue: as an int32 add [H]")
    vector_sigmoid: Femtojoules = _energy("18.4pJ", "per element: taken as four fp32 MACs (an assumption)")
    vector_add: Femtojoules = _energy("0.9pJ", "per element: fp32 add [H]; also bias and residual of the epilogue")
    vector_mul: Femtojoules = _energy("3.7pJ", "per element: fp32 multiply [H]")
    vector_fma: Femtojoules = _energy("4.6pJ", "per product that a fold adds up: fp32 multiply 3.7 and add 0.9 [H]")
    add_int32: Femtojoules = _energy(
        "0.1pJ", "per element: int32 add [H]; the bias of integer sums, and integers that the vector unit adds"
    )
    requantize: Femtojoules = _energy(
        "4.6pJ", "per int8 result: fp32 multiply 3.7 [H] and rounding, as an fp32 add 0.9"
    )
    unpack: Femtojoules = _energy(
        "3.8pJ", "per weight of 4 bits that is unpacked: its zero point, an int32 add 0.1, and an fp32 multiply 3.7 [H]"
    )
    vector_sub: Femtojoules = _energy("0.9pJ", "per element: as an fp32 add [H]")
    vector_div: Femtojoules = _energy("18.4pJ", "per element: taken as four fp32 MACs (an assumption)")
    vector_max: Femtojoules = _energy("0.1pJ", "per element: as an int32 add [H]")
    vector_exp: Femtojoules = _energy("18.4pJ", "per element: taken as four fp32 MACs (an assumption)")
    vector_log: Femtojoules = _energy("18.4pJ", "per element: taken as four fp32 MACs (an assumption)")
    vector_trig: Femtojoules = _energy("18.4pJ", "per element: taken as four fp32 MACs (an assumption)")
    vector_erf: Femtojoules = _energy("36.8pJ", "per element: taken as eight fp32 MACs (an assumption)")
    vector_sqrt: Femtojoules = _energy("18.4pJ", "per element: taken as four fp32 MACs (an assumption)")
    vector_reduce_sum: Femtojoules = _energy("0.9pJ", "per element that is summed: an fp32 add [H]")
    vector_reduce_max: Femtojoules = _energy("0.1pJ", "per element that is compared: as an int32 add [H]")
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
    noc_byte: Femtojoules = _energy(
        "5pJ", "per byte over a network that has a limit: 5 mm of the same wire (an assumption)"
    )
    pe_leakage: Watts = _power("0.05mW", "per processing element, all the time (an assumption: 1 % of its fp32 MACs)")
    sram_leakage: Watts = _power("20mW", "per MiB of SRAM, accumulator memory and L2, all the time (an assumption)")
    dram_idle: Watts = _power("30mW", "standby and refresh of the DRAM, all the time (an assumption)")


class Cores(Section):
    count: int = Field(
        default=1,
        ge=1,
        le=64,
        description="cores; each has all of [matrix], [vector], [sram], [dma] and [control] to itself; they share "
        "the memory (network, L2 and DRAM), and nothing else",
    )


class Control(Section):
    queue_depth: int = Field(
        default=16, ge=1, le=1_000_000, description="operations a unit's queue holds; dispatch stalls on a full one"
    )
    issue_cycles: int = Field(default=1, ge=1, le=10_000, description="cycles: dispatch of one operation")
    launch_cycles: int = Field(
        default=0,
        ge=0,
        le=10**9,
        description="cycles: from the call to the first dispatch, once a run: a host that chooses tiles and writes "
        "configuration registers, or starts a kernel",
    )


class Compiler(Section):
    order: Literal["auto", "mnk", "blocked"] = Field(
        default="auto",
        description="walk of a matmul's tiles: auto picks panels for speed and few bytes, mnk is the plain loop nest, "
        "blocked that of counters in hardware, which loads for each step of a block what that step needs",
    )
    block_m: int = Field(default=2, ge=1, le=65536, description="output tiles: rows of a block, if order is blocked")
    block_n: int = Field(default=2, ge=1, le=65536, description="output tiles: columns of a block, if order is blocked")
    keep_on_chip: bool = Field(
        default=True, description="keep intermediate tiles in SRAM for their consumers; false if order is blocked"
    )

    effort: int = Field(
        default=1,
        ge=0,
        le=2,
        description="how much is tried for edges of tiles that are not written, if order is auto: 0 nothing, 1 a few "
        "for each layer, 2 over a hundred; what is tried is scheduled and timed",
    )
    slices: bool = Field(
        default=True,
        description="walk layers together, strip by strip, where what passes between them would not stay in SRAM, and "
        "attention so that its scores stay there; false: a machine that materialises them; only if order is auto and "
        "intermediate tiles are kept on chip",
    )

    weight_scales: Literal["tensor", "channel"] = Field(
        default="tensor",
        description="scales of the constant weights of a float model that is quantised (matrix.dtype int8): tensor, "
        "one for each weight, which the array's epilogue requantises by; channel, one for each of its columns, by "
        "which the vector unit requantises the int32 sums",
    )

    @field_validator("keep_on_chip")
    @classmethod
    def _counters_keep_nothing(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("order") == "blocked":
            raise ValueError("must be false where compiler.order is 'blocked'")
        return value
