"""The machine file: exact units, defaults, presets, overrides, and mistakes that are told all at once."""

from __future__ import annotations

import importlib.util
import math
import tomllib
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import PlainSerializer
from support.paths import ROOT

from minisim.errors import ConfigError
from minisim.hwmodel import units
from minisim.hwmodel.config import Machine, keys, parse_value, presets, split_override
from minisim.hwmodel.isa import DType


def mistakes(data: dict[str, Any]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        Machine.check(data, "hw.toml")
    return str(caught.value).splitlines()


def write(folder: Path, text: str) -> Path:
    path = folder / "hw.toml"
    path.write_text(text, encoding="utf-8")
    return path


# -- units: exact, without a float on the way ----------------------------------------------------------------

SIZES = {"B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "KiB": 2**10, "MiB": 2**20,
         "GiB": 2**30}  # fmt: skip
FREQUENCIES = {"Hz": 1, "kHz": 10**3, "MHz": 10**6, "GHz": 10**9, "THz": 10**12}
TIMES = {"ps": 10**12, "ns": 10**9, "us": 10**6, "ms": 10**3, "s": 1}
ENERGIES = {"fJ": 1, "pJ": 10**3, "nJ": 10**6}
POWERS = {"nW": 10**9, "uW": 10**6, "mW": 10**3, "W": 1}
decimals = st.decimals(min_value=0, max_value=10**9 - 2, places=6, allow_nan=False)


@given(decimals, st.sampled_from(sorted(SIZES)))
def test_sizes_and_rates_are_exact(number: Any, suffix: str) -> None:
    assert units.SIZE.parse(f"{number}{suffix}") == Fraction(number) * SIZES[suffix]
    assert units.RATE.parse(f"{number}{suffix}/s") == Fraction(number) * SIZES[suffix]


@given(decimals, st.sampled_from(sorted(FREQUENCIES)))
def test_frequencies_are_exact(number: Any, suffix: str) -> None:
    assert units.FREQUENCY.parse(f"{number}{suffix}") == Fraction(number) * FREQUENCIES[suffix]


@given(decimals, st.sampled_from(sorted(TIMES)))
def test_times_are_exact(number: Any, suffix: str) -> None:
    assert units.TIME.parse(f"{number}{suffix}") == Fraction(number) / TIMES[suffix]


@given(decimals, st.sampled_from(sorted(ENERGIES)), st.sampled_from(sorted(POWERS)))
def test_energies_and_powers_are_exact(number: Any, energy: str, power: str) -> None:
    assert units.ENERGY.parse(f"{number}{energy}") == Fraction(number) * ENERGIES[energy]
    assert units.POWER.parse(f"{number}{power}") == Fraction(number) / POWERS[power]


def test_what_a_float_could_not_hold() -> None:
    assert units.RATE.parse("0.1GB/s") == Fraction(10**8)
    assert units.TIME.parse("0.3ns") == Fraction(3, 10**10)
    assert units.SIZE.parse("9007199254740993") == 2**53 + 1


@pytest.mark.parametrize(
    ("text", "size"),
    [("256KiB", 2**18), ("1_024", 1024), (" 64 B ", 64), ("1.5KiB", 1536), ("2e3", 2000), ("+64", 64), (64, 64),
     (64.0, 64), (Fraction(64), 64)],
)  # fmt: skip
def test_ways_to_write_a_size(text: object, size: int) -> None:
    assert units.SIZE.parse(text) == size


@pytest.mark.parametrize(
    "text",
    ["", "KiB", "1 2KiB", "0x40", "1e999", "9" * 41, "nan", "inf", math.nan, math.inf, -math.inf, True, None, []],
)
def test_what_is_no_size(text: object) -> None:
    with pytest.raises(ValueError, match="must be a size such as '256KiB'"):
        units.SIZE.parse(text)


@pytest.mark.parametrize("unit", [units.RATE, units.FREQUENCY, units.TIME, units.ENERGY, units.POWER])
@pytest.mark.parametrize("bare", [60, 60.0, "60"])
def test_other_quantities_need_their_unit(unit: units.Unit, bare: object) -> None:
    with pytest.raises(ValueError, match=f"must be {unit.what} such as '{unit.example}'"):
        unit.parse(bare)


def test_units_are_told_apart_by_capitals() -> None:
    with pytest.raises(ValueError) as caught:
        units.RATE.parse("25.6Gb/s")
    assert caught.value.args == (f"must be a rate in {', '.join(units.RATE.scales)}", "; did you mean 'GB/s'?")


@given(st.integers(0, 2**40))
def test_a_size_is_written_as_it_is_read(size: int) -> None:
    assert units.SIZE.parse(units.format_size(size)) == size


@given(st.decimals(min_value=-(10**12), max_value=10**12, places=20, allow_nan=False))
def test_a_decimal_is_written_as_it_is_read(number: Any) -> None:
    assert Fraction(units.format_exact(Fraction(number))) == Fraction(number)


def test_the_form_of_exact_decimals() -> None:
    texts = [units.format_exact(Fraction(n, 1000)) for n in (0, 1, 25_600, 1000, -50)]
    assert texts == ["0", "0.001", "25.6", "1", "-0.05"]
    with pytest.raises(ValueError, match="1/3 has no end"):
        units.format_exact(Fraction(1, 3))


# -- into cycles -----------------------------------------------------------------------------------------------


@given(st.integers(1, 5000), st.integers(0, 1000), st.integers(1, 5000))
def test_time_and_bandwidth_become_cycles(mhz: int, ns: int, mb_per_s: int) -> None:
    machine = Machine.check(
        {"clock": {"frequency": f"{mhz}MHz"}, "dram": {"latency": f"{ns}ns", "bandwidth": f"{mb_per_s}MB/s"}}
    )
    assert machine.dram_latency_cycles == math.ceil(Fraction(ns * mhz, 1000))
    assert machine.dram_bytes_per_cycle == Fraction(mb_per_s, mhz)


def test_latency_is_rounded_up_to_the_clock_edge() -> None:
    for latency, cycles in (("60ns", 60), ("60.001ns", 61), ("0.001ns", 1), ("0ns", 0)):
        assert Machine.check({"dram": {"latency": latency}}).dram_latency_cycles == cycles


def test_the_data_type_of_the_instruction_set() -> None:
    assert Machine().dtype is DType.FP32


# -- presets and identity ----------------------------------------------------------------------------------------


def test_the_reference_machine_is_the_preset() -> None:
    assert Machine.load("npu_32x32") == Machine()
    assert presets() == [
        "edge_8x8",
        "gemmini_16x16",
        "mini_tflm_4x4",
        "npu_32x32",
        "tpu_like_128x128",
        "tpu_v1",
        "tpu_v3",
    ]


@pytest.mark.parametrize("name", presets())
def test_a_preset_is_called_as_its_file_and_round_trips(name: str, tmp_path: Path) -> None:
    machine = Machine.load(name)
    assert machine.name == name
    assert Machine.load(write(tmp_path, machine.to_toml())) == machine
    assert set(machine.flat()) == set(keys())


@pytest.mark.parametrize("name", ["käse", 'say "hi"', "back\\slash", "😀", " "])
def test_any_printable_name_round_trips(name: str, tmp_path: Path) -> None:
    machine = Machine.check({"name": name})
    assert Machine.load(write(tmp_path, machine.to_toml())).name == name


@given(decimals, decimals)
def test_quantities_round_trip_exactly(bandwidth: Any, latency: Any) -> None:
    machine = Machine.check({"dram": {"bandwidth": f"{1 + bandwidth}MB/s", "latency": f"{latency}ps"}})
    assert Machine.check(tomllib.loads(machine.to_toml())) == machine
    assert machine.with_overrides({"tile.m": 1}).dram == machine.dram


def test_equal_machines_have_equal_digests_whatever_they_are_called() -> None:
    one = Machine.check({"name": "one", "sram": {"bytes": "1KiB"}})
    other = Machine.check({"name": "other", "sram": {"bytes": 1024}})
    assert one.digest() == other.digest()
    assert one.digest("sram") == other.digest("sram") != Machine().digest("sram")


CHANGES = {
    "clock.frequency": "2GHz", "matrix.dataflow": "os", "matrix.overlap": "none", "matrix.model": "scalesim",
    "matrix.dtype": "bf16", "sram.bytes": "1KiB", "accumulator.bytes": "1KiB",
    "dram.model": "banked", "dram.preset": "hbm2", "dram.override": "CL=20",
    "dram.bandwidth": "1GB/s", "dram.latency": "1ns", "compiler.order": "mnk", "dram.padding": "tile",
    "compiler.keep_on_chip": False, "compiler.slices": False, "compiler.weight_scales": "channel",
    "dma.shared": True, "matrix.packs_taps": False,
    "dram.write_latency": "1ns", "sparsity.pattern": "2:4", "sparsity.prune": True, "unpack.by": "array",
    "compiler.effort": 2, "vector.depthwise": False, "l2.bytes": "64KiB", "l2.line_bytes": 128, "l2.latency": "1ns",
    **{key: "3nW" if "leakage" in key or "idle" in key else "3pJ" for key in keys() if key.startswith("energy.")},
    "energy.sram_write_percent": 3,
}  # fmt: skip
"""Another value than the default: 3 where none stands here, nothing where there is but one."""


@pytest.mark.parametrize("key", [key for key in keys() if key != "name" and CHANGES.get(key, 3) is not None])
def test_every_key_counts_for_the_digest(key: str) -> None:
    changed = Machine().with_overrides({key: CHANGES.get(key, 3)})
    assert changed.digest() != Machine().digest()
    assert changed.digest(key.partition(".")[0]) != Machine().digest(key.partition(".")[0])
    another = "tile" if key.startswith("clock") else "clock"
    assert changed.digest(another) == Machine().digest(another)


def test_a_machine_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Machine().sram.bytes = 64  # type: ignore[misc]


# -- overrides -----------------------------------------------------------------------------------------------------


def test_overrides_go_over_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, 'name = "x"\n[sram]\nbytes = "1KiB"\n')
    machine = Machine.load(path, ["sram.bytes=2KiB", "tile.m=7", "compiler.keep_on_chip=false", "name=y z"])
    assert (machine.sram.bytes, machine.tile.m, machine.compiler.keep_on_chip, machine.name) == (2048, 7, False, "y z")


def test_the_last_of_two_overrides_counts() -> None:
    assert Machine.load("npu_32x32", ["tile.m=7", "tile.m=9"]).tile.m == 9


@pytest.mark.parametrize(
    ("text", "value"),
    [("3", 3), ("true", True), ('"3"', "3"), ("128KiB", "128KiB"), ("", ""), ("1.5", 1.5), ("[" * 9999, "[" * 9999),
     ("9" * 5000, "9" * 5000), ("3\nx = 4", "3\nx = 4")],
)  # fmt: skip
def test_values_on_the_command_line(text: str, value: object) -> None:
    assert parse_value(text) == value


@pytest.mark.parametrize("text", ["", "=", "=3", "tile.m", " = 3"])
def test_an_override_is_key_and_value(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        split_override(text)
    assert str(caught.value) == f"--set {text}: must be KEY=VALUE, such as sram.bytes=128KiB"


def test_a_mistake_in_an_override_names_the_override() -> None:
    with pytest.raises(ConfigError) as caught:
        Machine.load("edge_8x8", ["tile.m=0", "matrx.rows=3", "sram.bytes=2TB", "control=5"])
    assert str(caught.value).splitlines() == [
        "--set tile.m=0: tile.m: must be at least 1, not 0",
        "--set sram.bytes=2TB: sram.bytes: must be at most 2GiB, not '2TB'",
        "--set control=5: control: must be a section, [control], not 5",
        "--set matrx.rows=3: matrx: unknown key; did you mean 'matrix'?",
    ]


def test_a_machine_is_replaced_as_set_does() -> None:
    base = Machine.load("edge_8x8", ["matrix.rows=16"])
    assert base.replace("sram.bytes=1MiB") == Machine.load("edge_8x8", ["matrix.rows=16", "sram.bytes=1MiB"])
    several = base.replace("dram.model = banked", "compiler.keep_on_chip=false", "name=mine")
    assert (several.dram.model, several.compiler.keep_on_chip, several.name) == ("banked", False, "mine")
    assert Machine().replace("matrix.rows=64").tile.k == 64  # what is not written follows
    assert base.replace() == base


def test_mistakes_in_a_replacement_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        Machine().replace("sram.byte=1MiB", "tile.m=0")
    assert str(caught.value).splitlines() == [
        "replace tile.m=0: tile.m: must be at least 1, not 0",
        "replace sram.byte=1MiB: sram.byte: unknown key; did you mean 'sram.bytes'?",
    ]
    for wrong, said in (("x", "replace x: must be KEY=VALUE"), (3, "replace 3: must be KEY=VALUE")):
        with pytest.raises(ConfigError, match=f"^{said}"):
            Machine().replace(wrong)  # type: ignore[arg-type]


def test_an_override_cannot_go_below_a_value() -> None:
    with pytest.raises(ConfigError, match=r"^--set name\.x=3: 'name' is not a section$"):
        Machine.load("edge_8x8", ["name.x=3"])


# -- mistakes ------------------------------------------------------------------------------------------------------


def test_all_mistakes_of_a_file_come_at_once_in_its_order(tmp_path: Path) -> None:
    path = write(
        tmp_path, 'nam = "x"\n[tile]\nm = 0\nk = "32"\n[sram]\nbyte = 3\nbytes = 100\n[dram]\nlatency = "2ms"\n'
    )
    with pytest.raises(ConfigError) as caught:
        Machine.load(path)
    assert str(caught.value).splitlines() == [
        f"{path}: tile.m: must be at least 1, not 0",
        f"{path}: tile.k: must be a whole number, not '32'",
        f"{path}: sram.bytes: must be a multiple of 64 bytes, not 100",
        f"{path}: sram.byte: unknown key; did you mean 'sram.bytes'?",
        f"{path}: dram.latency: must be at most 1000000ns, not '2ms'",
        f"{path}: nam: unknown key; did you mean 'name'?",
    ]


@pytest.mark.parametrize(
    ("data", "hint"),
    [
        ({"sram": {"byte": 1}}, "sram.byte: unknown key; did you mean 'sram.bytes'?"),
        ({"control": {"Queue_Depth": 1}}, "control.Queue_Depth: unknown key; did you mean 'control.queue_depth'?"),
        ({"queue_depth": 1}, "queue_depth: unknown key; did you mean 'control.queue_depth'?"),
        ({"sram": {"lanes": 1}}, "sram.lanes: unknown key; did you mean 'vector.lanes'?"),
        ({"matrx": {}}, "matrx: unknown key; did you mean 'matrix'?"),
        ({"matrix": {"timing": "scalesim"}}, "matrix.timing: unknown key; did you mean 'matrix.model'?"),
        ({"SRAM": {}}, "SRAM: unknown key; did you mean 'sram'?"),
        ({"zzz": 1}, "zzz: unknown key"),
    ],
)
def test_an_unknown_key_names_the_nearest(data: dict[str, Any], hint: str) -> None:
    assert mistakes(data) == [f"hw.toml: {hint}"]


NUMBERS = [
    key
    for key, field in keys().items()
    if field.annotation is int and not any(isinstance(m, PlainSerializer) for m in field.metadata)
]


@pytest.mark.parametrize("key", NUMBERS)
def test_every_number_has_its_bounds_and_its_type(key: str) -> None:
    section, name = key.split(".")
    low, high = (getattr(bound, side) for bound, side in zip(keys()[key].metadata, ("ge", "le"), strict=True))
    for value in (low, high):
        assert getattr(getattr(Machine.check({section: {name: value}}), section), name) == value
    assert mistakes({section: {name: low - 1}}) == [f"hw.toml: {key}: must be at least {low}, not {low - 1}"]
    assert mistakes({section: {name: high + 1}}) == [f"hw.toml: {key}: must be at most {high}, not {high + 1}"]
    for wrong in ("3", 3.0, True, math.nan, None, [3]):
        assert mistakes({section: {name: wrong}}) == [f"hw.toml: {key}: must be a whole number, not {wrong!r}"]


def test_an_energy_is_a_whole_number_of_femtojoules() -> None:
    assert mistakes({"energy": {"mac_fp32": "0.1234pJ", "mac_int8": 3, "dram_byte": "1J", "dram_idle": "-1W"}}) == [
        "hw.toml: energy.mac_fp32: must be a whole number of femtojoules, such as '4.6pJ', not '0.1234pJ'",
        "hw.toml: energy.mac_int8: must be an energy such as '4.6pJ', not 3",
        "hw.toml: energy.dram_byte: must be an energy in fJ, pJ, nJ, not '1J'; did you mean 'pJ'?",
        "hw.toml: energy.dram_idle: must be at least 0mW, not '-1W'",
    ]


def test_a_huge_value_is_not_repeated_at_length() -> None:
    assert mistakes({"tile": {"m": 10**5000}}) == ["hw.toml: tile.m: must be at most 4096, not a huge number"]
    (line,) = mistakes({"sram": {"bytes": "1" * 500}})
    assert line == f"hw.toml: sram.bytes: must be a size such as '256KiB', not '{'1' * 56}..."


def test_a_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    path = tmp_path / "hw.toml"
    path.write_bytes(b'\xef\xbb\xbfname = "x"\n')
    assert Machine.load(path).name == "x"


@pytest.mark.parametrize("text", ["x = " + "[" * 9999, "[tile]\nm = " + "9" * 5000, "x = ", "a = 1\na = 2"])
def test_text_that_is_not_toml(text: str, tmp_path: Path) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError, match=r"hw\.toml: not valid TOML: "):
        Machine.load(path)


def test_a_folder_of_a_presets_name_does_not_hide_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "edge_8x8").mkdir()
    assert Machine.load("edge_8x8").name == "edge_8x8"


def test_a_file_of_a_presets_name_counts_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "edge_8x8").write_text('name = "mine"')
    assert Machine.load("edge_8x8").name == "mine"


def test_an_impossible_path_is_a_users_mistake() -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        Machine.load("a" * 5000)
    with pytest.raises(ConfigError, match="cannot be read"):
        Machine.load("zero\0byte")


# -- documentation -------------------------------------------------------------------------------------------------


def test_the_reference_of_all_keys_is_up_to_date() -> None:
    spec = importlib.util.spec_from_file_location("generate_config", ROOT / "docs" / "generate_config.py")
    assert spec and spec.loader
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    stale = "run: python docs/generate_config.py"
    assert (ROOT / "docs" / "config.md").read_text("utf-8") == script.page(), stale
    assert all(f"| `{key.rpartition('.')[2]}` |" in script.page() for key in keys())


# -- tiles that follow the array ---------------------------------------------------------------------------------


def edges(machine: Machine) -> tuple[int, int, int]:
    return machine.tile.m, machine.tile.k, machine.tile.n


@pytest.mark.parametrize(
    ("dataflow", "expected"), [("ws", (192, 64, 192)), ("os", (64, 192, 192)), ("is", (192, 64, 192))]
)
def test_edges_that_are_not_written_follow_the_array(dataflow: str, expected: tuple[int, int, int]) -> None:
    """ws has k along the rows and n along the columns of all arrays, os m and n, is k and m."""
    array = {"matrix.rows": 64, "matrix.cols": 96, "matrix.arrays": 2, "matrix.dataflow": dataflow}
    follows = Machine().with_overrides(array)
    assert edges(follows) == expected and follows.tile.follows == {"m", "k", "n"}
    written = follows.with_overrides({"tile.k": 5})
    assert edges(written) == (expected[0], 5, expected[2]) and written.tile.follows == {"m", "n"}
    assert edges(written.with_overrides({"matrix.rows": 200})) == ((200, 5, 192) if dataflow != "is" else (192, 5, 200))


def test_a_packed_type_fills_the_array_with_more_of_k() -> None:
    quick = {"matrix.dtype": "int8", "matrix.int8_rate": "4"}
    assert edges(Machine().with_overrides(quick)) == (32, 128, 32)
    assert edges(Machine().with_overrides({**quick, "matrix.dataflow": "os"})) == (32, 32, 32)
    assert edges(Machine().with_overrides({**quick, "matrix.dtype": "fp32"})) == (32, 32, 32)


def test_a_machine_file_keeps_what_follows(tmp_path: Path) -> None:
    """A machine that is shown and read again still follows; what it shows is in force."""
    machine = Machine.load("npu_32x32", ["matrix.rows=64", "tile.n=48"])
    text = machine.to_toml()
    assert "\n# m = 64  # not written: follows the array\n# k = 64  #" in text and "\nn = 48\n" in text
    again = Machine.load(write(tmp_path, text), ["matrix.cols=128"])
    assert edges(again) == (128, 64, 48)
    assert again != machine.with_overrides({"matrix.cols": 128, "tile.m": 128, "tile.k": 64})  # that stays behind


PRESET_EDGES = {"edge_8x8": 3 * (16,), "gemmini_16x16": (16, 64, 64), "mini_tflm_4x4": 3 * (4,),
                "npu_32x32": 3 * (32,), "tpu_like_128x128": 3 * (128,),
                "tpu_v1": 3 * (256,), "tpu_v3": 3 * (256,)}  # fmt: skip


@pytest.mark.parametrize("name", presets())
def test_a_preset_writes_only_the_edges_that_differ_from_its_array(name: str) -> None:
    machine = Machine.load(name)
    assert edges(machine) == PRESET_EDGES[name]
    unwritten = edges(Machine.check({"matrix": machine.model_dump(mode="json")["matrix"]}))
    same = {edge for edge, ours, its in zip("mkn", edges(machine), unwritten, strict=True) if ours == its}
    assert machine.tile.follows == same


# -- whatever names a machine --------------------------------------------------------------------------------


def test_a_machine_by_whatever_names_it(tmp_path: Path) -> None:
    small = Machine().with_overrides({"sram.bytes": "64KiB", "tile.m": 8})
    path = write(tmp_path, small.to_toml())
    assert Machine.of(None) == Machine()
    assert Machine.of(small) is small
    assert Machine.of("edge_8x8") == Machine.load("edge_8x8")
    assert Machine.of(path) == Machine.of(str(path)) == small
    assert Machine.of({"sram": {"bytes": "64KiB"}, "tile.m": 8}) == small
    assert Machine.of({"sram.bytes": "64KiB", "tile": {"m": 8}}) == small
    assert Machine.load("npu_32x32", "tile.m=8") == Machine.load("npu_32x32", ["tile.m=8"])


KINDS = "a machine must be a Machine, a preset's name, a file's path or a mapping of keys"
TEXTS = "overrides must be a sequence of texts such as 'sram.bytes=128KiB'"


class Unfriendly:
    def __repr__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Machine(sram=5), "Machine: sram: must be a section, [sram], not 5"),
        (lambda: Machine(srma={}), "Machine: srma: unknown key; did you mean 'sram'?"),
        (lambda: Machine.check(5), "machine: must be a mapping of sections, not 5"),
        (lambda: Machine.of(5), f"{KINDS}, not 5"),
        (lambda: Machine.of({3: 4}), "machine: a key must be a text such as 'sram.bytes', not 3"),
        (lambda: Machine.of({"sram.bytes": 3}), "machine: sram.bytes: must be at least 64, not 3"),
        (lambda: Machine.of({"sram": {"bytes": [3]}, "sram.bytes.x": 3}), "machine: 'bytes' is not a section"),
        (lambda: Machine.load("npu_32x32", 5), f"{TEXTS}, not 5"),
        (lambda: Machine.load("npu_32x32", [5]), "--set 5: must be KEY=VALUE, such as sram.bytes=128KiB"),
        (lambda: Machine().with_overrides(5), "overrides must be a mapping of dotted keys to values, not 5"),
    ],
)  # fmt: skip
def test_what_names_no_machine(make: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make()
    assert str(caught.value) == message


def test_a_value_that_cannot_be_written_is_shown_nevertheless() -> None:
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    for value in (Unfriendly(), deep, 10**5000, {"a": deep}):
        for key in ("sram.bytes", "compiler.order", "tile.m", "name", "dram.latency", "matrix.int8_rate"):
            with pytest.raises(ConfigError) as caught:
                Machine().with_overrides({key: value})
            assert str(caught.value).startswith(f"--set {key}=") and len(str(caught.value)) < 400
