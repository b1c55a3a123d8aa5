"""The tables: their columns add up, and are what the definitions say."""

from __future__ import annotations

import csv
import math
import re
from collections import Counter
from decimal import Decimal
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from support.pairs import without_operations

from minisim import reports
from minisim.compiler.frontend import load_model
from minisim.difference import Difference
from minisim.hwmodel.config import Machine
from minisim.hwmodel.energy import COMPONENTS, leakage_watts
from minisim.hwmodel.isa import Opcode, Queue
from minisim.reports import RunRecord, energy, layers, summary, timeline, units, write_tables

from .brute import layer_cause, layer_intervals, unit_cycles
from .conftest import Record, records, run_record

ROOT = Path(__file__).parents[2]


def stall_columns(table: pd.DataFrame) -> list[str]:
    return [c for c in table.columns if c.startswith("cycles_stall_")]


def check_sums(record: RunRecord) -> None:
    cycles = record.timeline.cycles
    by_layer, by_unit, row = layers(record), units(record), summary(record).iloc[0]
    assert (by_layer[["cycles_compute", *stall_columns(by_layer)]].sum(axis=1) == by_layer["cycles_total"]).all()
    assert by_layer["cycles_total"].sum() == row["cycles_total"] == cycles
    assert (by_unit[["cycles_busy", "cycles_idle", *stall_columns(by_unit)]].sum(axis=1) == cycles).all()
    for table in (by_layer, by_unit):
        assert (table[[c for c in table.columns if c.startswith("cycles_")]] >= 0).all().all()
        percents = table[[c for c in table.columns if c.endswith("_pct")]]
        assert ((percents <= 100) | percents.isna()).all().all()
    for column in ("macs", "dram_read_bytes", "dram_write_bytes"):
        assert by_layer[column].sum() == row[column]
    assert by_layer["sram_peak_bytes"].max() == row["sram_peak_bytes"] <= row["sram_bytes"]
    assert row["cycles_total"] >= row["roofline_cycles"]


@settings(max_examples=75, deadline=None)
@given(records())
def test_everything_adds_up(record: RunRecord) -> None:
    check_sums(record)


@pytest.mark.parametrize("example", ["mlp", "residual_block"])
@pytest.mark.parametrize("config", ["npu_32x32", "edge_8x8", "tpu_like_128x128"])
def test_everything_adds_up_for_the_examples(example: str, config: str) -> None:
    check_sums(run_record(load_model(str(ROOT / f"examples/{example}.py")), Machine.load(config)))


@settings(max_examples=60, deadline=None)
@given(records())
def test_energy_adds_up_exactly(record: RunRecord) -> None:
    """Over components and over layers, in femtojoules: those of the CSV, which has the table's floats to that digit."""
    table = energy(record)
    for column in table.filter(like="_pj"):
        assert table[column].dtype == "float64"
        table[column] = [Decimal(f"{value:.3f}") for value in table[column]]
    parts = [c for c in table.columns if c.endswith("_pj") and c != "energy_pj"]
    assert parts == [f"{name}_pj" for name in COMPONENTS]
    assert (table[parts].sum(axis=1) == table["energy_pj"]).all()
    for column in ("sram_read_bytes", "sram_write_bytes", "energy_pj", *parts):
        assert table[column][:-1].sum() == table[column].iloc[-1]
    assert table["layer_id"].tolist() == [*range(len(record.schedule.layers)), pd.NA]
    assert [float(value) for value in table["energy_pj"][:-1]] == layers(record)["energy_pj"].tolist()
    total = table["energy_pj"].iloc[-1]
    assert summary(record)["energy_uj"][0] == float(total / 10**6)
    leaked = leakage_watts(record.machine) * 10**15 * record.timeline.cycles / record.machine.clock.frequency
    assert table["leakage_pj"].iloc[-1] * 1000 == math.floor(leaked)


def test_energy_is_written_to_the_femtojoule(tmp_path: Path, record: Record) -> None:
    r = record("gemm:1x1x1", "npu_32x32", "energy.mac_fp32=7fJ", "energy.dram_idle=1000W")
    write_tables({"summary": summary(r), "energy": energy(r)}, tmp_path)
    with (tmp_path / "energy.csv").open(newline="") as file:
        layer, total = csv.DictReader(file)
    assert (layer["mac_pj"], layer["epilogue_pj"]) == ("0.007", "0.000")
    assert (total["layer_id"], total["name"], total["op"]) == ("", "total", "")
    assert sum(Decimal(v) for k, v in total.items() if k.endswith("_pj") and k != "energy_pj") == Decimal(
        total["energy_pj"]
    )


@settings(max_examples=60, deadline=None)
@given(records())
def test_layers_are_what_a_loop_over_cycles_counts(record: RunRecord) -> None:
    if record.timeline.cycles > 3000:
        return
    for row, interval in zip(layers(record).to_dict("records"), layer_intervals(record), strict=True):
        counted = Counter(layer_cause(record, cycle) for cycle in interval)
        assert row["cycles_total"] == len(interval)
        assert row["cycles_compute"] == counted.pop("compute", 0)
        assert {c: n for c, n in row.items() if c.startswith("cycles_stall_") and n} == {
            f"cycles_stall_{cause}": n for cause, n in counted.items()
        }


@settings(max_examples=60, deadline=None)
@given(records())
def test_units_are_what_a_loop_over_cycles_counts(record: RunRecord) -> None:
    table = units(record).set_index("unit")
    cores = record.machine.cores.count
    assert len(table) == 4 * cores + 1
    for core, queue in product(range(cores), Queue):
        row = table.loc[f"c{core}.{queue.name.lower()}" if cores > 1 else queue.name.lower()]
        spent = unit_cycles(record, core, queue)
        assert row["cycles_busy"] == spent.pop("busy", 0)
        assert row["cycles_idle"] == spent.pop("idle", 0)
        assert {c: row[c] for c in stall_columns(table) if row[c]} == {f"cycles_stall_{c}": n for c, n in spent.items()}
    assert table.loc["dram", "cycles_busy"] == record.costs.dram.sum()


@settings(max_examples=60, deadline=None)
@given(records())
def test_dram_service_is_disjoint(record: RunRecord) -> None:
    """So that the sum of service times is what the DRAM was busy."""
    moves = np.flatnonzero(record.schedule.stream["opcode"] <= Opcode.STORE)
    begin = record.timeline.begin[moves]
    order = np.argsort(begin, kind="stable")
    assert (begin[order][1:] >= (begin + record.costs.dram[moves])[order][:-1]).all()


def test_summary_follows_its_formulas(record: Record) -> None:
    r = record("gemm:96x64x80", output_sha256="ab", difference=Difference(0.5, -2.0, 3.0, 40.25, 7680))
    row = summary(r).iloc[0]
    cycles = r.timeline.cycles
    assert row["macs"] == 96 * 64 * 80
    assert row["time_us"] == pytest.approx(cycles / 1000)
    assert row["util_matrix_pct"] == pytest.approx(100 * 96 * 64 * 80 / (cycles * 32 * 32))
    assert row["loads"] + row["loads_eliminated"] == r.schedule.layers["loads"].sum()
    assert row["load_reuse_pct"] == pytest.approx(100 * row["loads_eliminated"] / r.schedule.layers["loads"].sum())
    assert row["dram_write_bytes"] == 96 * 80 * 4
    assert row["cycles_over_roofline"] == pytest.approx(cycles / row["roofline_cycles"])
    assert (row["output_sha256"], row["max_abs_error"], row["wall_compile_s"]) == ("ab", 0.5, 0.25)
    assert (row["output_min"], row["output_max"], row["sqnr_db"]) == (-2, 3, 40.25)


def test_without_numerics_the_error_is_not_a_number(record: Record) -> None:
    row = summary(record()).iloc[0]
    assert row["output_sha256"] == ""
    assert row[["max_abs_error", "output_min", "output_max", "sqnr_db"]].isna().all()


def test_a_block_that_fills_the_array_maps_completely(record: Record) -> None:
    assert layers(record("gemm:64x64x64"))["util_mapping_pct"].tolist() == [100.0]


def test_a_block_of_a_quarter_of_the_rows_maps_to_a_quarter(record: Record) -> None:
    assert layers(record("gemm:64x8x64"))["util_mapping_pct"].tolist() == [25.0]


def test_an_empty_schedule_has_tables(record: Record) -> None:
    full = record()
    empty = full.schedule.replace(stream=full.schedule.stream[:0].copy())
    r = RunRecord(empty, without_operations(full.timeline), full.machine, "m", "c", "simpy", 0.0, 0.0)
    assert summary(r)["cycles_total"].tolist() == [0]
    assert layers(r)["cycles_total"].tolist() == [0]
    assert units(r)["cycles_idle"].tolist() == [0] * 5
    assert energy(r)["energy_pj"].tolist() == [0, 0]
    assert timeline(r).empty


def test_timeline_has_the_schedules_operations(record: Record) -> None:
    r = record()
    table = timeline(r)
    assert len(table) == len(r.schedule)
    assert table["opcode"].tolist() == [Opcode(o).name for o in r.schedule.stream["opcode"]]
    assert (table["end"] == r.timeline.end).all()
    assert table["bytes"].sum() == summary(r)["dram_read_bytes"][0] + summary(r)["dram_write_bytes"][0]


@pytest.mark.parametrize("name", ["summary", "layers", "units", "energy", "timeline"])
def test_the_schema_page_lists_every_column_in_order(name: str, record: Record) -> None:
    page = (ROOT / "docs/reports.md").read_text("utf-8")
    section = page.split(f"## {name}.csv")[1].split("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", section, re.M) == list(getattr(reports, name)(record()).columns)


def test_dtypes_do_not_depend_on_the_run(record: Record) -> None:
    small, large = (
        record("gemm:1x1x1", "edge_8x8"),
        record(difference=Difference(1.0, 0.0, 9.0, 12.0, 5), output_sha256="x"),
    )
    for table in (summary, layers, units, energy):
        assert table(small).dtypes.to_dict() == table(large).dtypes.to_dict()
    for column, dtype in layers(small).dtypes.items():
        kind = {"name": "str", "op": "str", "bound_by": "str"}.get(str(column))
        expected = kind or ("float64" if str(column).endswith(("_pct", "_per_byte", "_pj")) else "int64")
        assert dtype in (expected, "object")
