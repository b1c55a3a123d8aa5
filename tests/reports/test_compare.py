"""From A to B no cycle and no femtojoule is lost, and a folder of reports says the same as the run that wrote it."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings

from minisim.errors import MinisimError, UsageError
from minisim.reports import RunRecord, write_reports
from minisim.reports.compare import Comparison, times
from minisim.reports.compare_sweeps import Points, SweepComparison
from minisim.reports.side import Side, _components

from .conftest import Record, records


def assert_complete(found: Comparison) -> None:
    """Every table that shares something out adds up to the difference of the runs."""
    a, b = found.a, found.b
    difference = b.cycles - a.cycles
    assert found.causes["change"].sum() == difference and (found.causes["b"] - found.causes["a"]).sum() == difference
    moved = round(found.components["change_pj"].sum() * 1000)
    assert moved == b.femtojoules - a.femtojoules
    assert found.layers["change"].sum() == difference and found.layers["cycles_a"].sum() == a.cycles
    assert found.layers["cycles_b"].sum() == b.cycles
    assert found.layers["dram_bytes_a"].sum() == a.dram_bytes and found.layers["dram_bytes_b"].sum() == b.dram_bytes
    change = found.layers["change"].abs().tolist()
    assert change == sorted(change, reverse=True)


@settings(max_examples=12)
@given(records(), records())
def test_what_changed_adds_up_to_the_difference(a: RunRecord, b: RunRecord) -> None:
    found = Comparison(Side.of(a), Side.of(b))
    assert_complete(found)
    assert found.a.cycles == a.timeline.cycles and found.b.femtojoules == b.energy.total
    back = Comparison(found.b, found.a)
    assert dict(zip(back.causes["cause"], -back.causes["change"], strict=True)) == dict(
        zip(found.causes["cause"], found.causes["change"], strict=True)
    )


def test_layers_are_matched_by_name_and_those_of_one_side_are_told(record: Record) -> None:
    one, two = record("attention:2x32x16"), record()
    found = Comparison(Side.of(one), Side.of(two))
    assert_complete(found)
    where = dict(zip(found.layers["name"], found.layers["where"], strict=True))
    assert where == {**dict.fromkeys(one.schedule.layer_names, "a"), **dict.fromkeys(two.schedule.layer_names, "b")}
    assert not (found.layers["cycles_b"][found.layers["where"] == "a"]).any()
    same = Comparison(Side.of(one), Side.of(record("attention:2x32x16", "edge_8x8")))
    assert set(same.layers["where"]) == {"both"}
    assert same.layers["mostly_change"].abs().max() > 0


def test_layers_of_one_name_are_matched_in_their_order(record: Record) -> None:
    r = record("attention:2x32x16")
    twins = replace(r, schedule=r.schedule.replace(layer_names=("x",) * len(r.schedule.layer_names)))
    side = Side.of(twins)
    assert list(side.layers) == [("x", i) for i in range(len(r.schedule.layer_names))]
    assert not Comparison(side, side).layers["change"].any()


def test_a_folder_says_what_the_run_said(record: Record, tmp_path: Path) -> None:
    r = record("attention:2x32x16", "edge_8x8", model='a "model", with\nall')
    write_reports(r, tmp_path)
    read, made = Side.read(tmp_path), Side.of(r, str(tmp_path))
    for name in ("machine", "cycles", "dram_bytes", "causes", "energy", "layers", "config"):
        assert getattr(read, name) == getattr(made, name), name
    assert read.time_us == pytest.approx(made.time_us, rel=1e-8)


def test_what_a_folder_names_is_shown_as_text(record: Record, tmp_path: Path) -> None:
    """A name that would move a terminal's cursor; and picojoules that no float has, which are whole femtojoules."""
    write_reports(record(), tmp_path)
    for file in ("layers.csv", "energy.csv", "account.csv"):
        text = (tmp_path / file).read_text("utf-8").replace(",c,", ",\x1b[2J,", 1)
        (tmp_path / file).write_text(text, encoding="utf-8")
    assert list(Side.read(tmp_path).layers) == [("\\x1b[2J", 0)]
    assert _components({"mac_pj": "1.001", "energy_pj": "9"}) == {"mac": 1001}


def test_a_cause_of_one_side_alone_is_all_change(record: Record) -> None:
    """As a gate that only one of the machines has."""
    side = Side.of(record())
    found = Comparison(replace(side, causes={"x": 3, "y": 4}), replace(side, causes={"y": 1, "z": 9}))
    assert found.causes.values.tolist() == [["x", 3, 0, -3], ["y", 4, 1, -3], ["z", 0, 9, 9]]


def test_keys_that_differ_are_those_that_were_changed(record: Record) -> None:
    found = Comparison(
        Side.of(record()), Side.of(record("gemm:96x64x80", "npu_32x32", "sram.bytes=128KiB", "tile.m=8"))
    )
    assert found.keys.values.tolist() == [["tile.m", "32", "8"], ["sram.bytes", "256KiB", "128KiB"]]
    assert Comparison(found.a, found.a).keys.empty
    other = Comparison(found.a, Side.of(record("gemm:96x64x80", "edge_8x8"))).keys
    assert "name" not in set(other["key"]) and len(other) > 5


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("account.csv", None, "has no account.csv; minisim run --out"),
        ("machine.toml", None, "has no machine.toml"),
        ("machine.toml", lambda text: "sram = 3", "sram"),
        ("summary.csv", lambda text: "", "cannot be read as a table: it is empty"),
        ("summary.csv", lambda text: text.replace("cycles_total", "cycles"), "no column or row 'cycles_total'"),
        ("account.csv", lambda text: text.removesuffix("\n") + "1\n", "account.csv is of another run"),
        ("account.csv", lambda text: text.replace(",64,", ",63,", 1), "do not add up"),
        ("energy.csv", lambda text: text.replace(".", "1.", 1), "do not add up"),
        ("account.csv", lambda text: text + "1,2\n", "row 4 has 2 fields"),
        ("energy.csv", lambda text: text.replace("0,c,", "0,d,"), "layers differ"),
        ("layers.csv", lambda text: text.replace("0,c,", "0,\x00c,"), "do not fit together"),
        ("energy.csv", lambda text: text.replace(".", "x"), "do not fit together"),
        ("summary.csv", lambda text: "\ud800", "cannot be read as a table"),
        ("summary.csv", lambda text: text + text.splitlines()[1] + "\n", "do not fit together"),
    ],
)
def test_reports_that_cannot_be_compared_are_refused(
    record: Record, tmp_path: Path, file: str, change: object, message: str
) -> None:
    write_reports(record(), tmp_path)
    path = tmp_path / file
    if change is None:
        path.unlink()
    else:
        assert callable(change)
        path.write_text(change(path.read_text("utf-8")), encoding="utf-8", errors="surrogatepass")
    with pytest.raises(MinisimError, match=message):
        Side.read(tmp_path)


@pytest.mark.parametrize(
    ("a", "b", "text"),
    [
        (2.0, 1.0, "2.00 x as fast"),
        (1.0, 3.0, "3.00 x the time"),
        (5.0, 5.0, "as fast"),
        (0.0, 5.0, "nothing to compare"),
    ],
)
def test_how_a_time_became_another(a: float, b: float, text: str) -> None:
    assert times(a, b) == text


# -- sweeps ------------------------------------------------------------------------------------------------------


def point(cycles: int, status: str = "ok", **params: str) -> dict[str, str]:
    of = {"cycles_total": cycles, "time_us": cycles / 100, "energy_uj": 2, "dram_read_bytes": 3, "dram_write_bytes": 4}
    return {**params, "status": status, "reason": "", **{name: str(value) for name, value in of.items()}}


def test_a_sweep_is_compared_point_by_point_over_its_range() -> None:
    a = Points.of(
        [point(100, x="1", y="1"), point(100, x="2", y="1"), point(9, x="3", y="1"), point(1, x="4", y="1")], "a"
    )
    b = Points.of([point(400, y="1", x="1"), point(25, y="1", x="2"), point(9, "failed", y="1", x="3")], "b")
    found = SweepComparison(a, b)
    assert found.ratios.iloc[0].tolist() == ["cycles", 2, 0.25, 1.0, 4.0]
    assert found.ratios.set_index("metric").loc["EDP", "most"] == 4.0
    assert found.points["x"].tolist() == ["1", "2"] and found.points["cycles_b"].tolist() == [400, 25]
    assert found.unmatched.values.tolist() == [["x=3 y=1", "ok", "failed"], ["x=4 y=1", "ok", "not there"]]
    assert found.verdict == "a -> b: 2 points, cycles 0.25 to 4 x, 1 x on average"


def test_the_largest_movers_stand_first_either_way() -> None:
    a = Points.of([point(100, x=str(i)) for i in range(3)], "a")
    b = Points.of([point(n, x=str(i)) for i, n in enumerate((150, 20, 300))], "b")
    assert SweepComparison(a, b).points["x"].tolist() == ["1", "2", "0"]


def test_a_parameter_with_one_value_keeps_no_points_apart() -> None:
    """One sweep has it, the other does not; with no parameter in common there is nothing to match by."""
    a = Points.of([point(100, x="1"), point(50, x="2")], "a")
    b = Points.of([point(50, z="9", x="2"), point(200, z="9", x="1")], "b")
    for one, other, ratios in ((a, b, [2.0, 1.0]), (b, a, [0.5, 1.0])):
        found = SweepComparison(one, other)
        assert found.points["cycles_ratio"].tolist() == ratios and found.points.columns[0] == "x"
    two = Points.of([point(50, z="9", x="2"), point(200, z="8", x="1")], "b")
    with pytest.raises(UsageError, match="sweeps of the same parameters can be compared: a has x, b has z x"):
        SweepComparison(a, two)


def test_the_fronts_of_both_sweeps() -> None:
    """Of each model for itself: what no other point of its sweep beats, and which of that the other sweep beats."""

    def row(cycles: int, energy: float, **params: str) -> dict[str, str]:
        return {**point(cycles, **params), "energy_uj": str(energy)}

    a = [row(1, 9, x="1"), row(4, 4, x="2"), row(9, 1, x="3"), row(9, 9, x="4")]
    b = [row(2, 8, x="1"), row(4, 3, x="2"), point(1, "failed", x="3"), row(9, 1, x="5")]
    found = SweepComparison(Points.of(a, "a"), Points.of(b, "b")).fronts
    told = [list(row) for row in found[["sweep", "against", "x", "energy_uj", "knee", "beaten"]].values.tolist()]
    assert told == [["a", "energy", "3", 1, False, False], ["a", "energy", "2", 4, False, True],
                    ["a", "energy", "1", 9, False, False], ["b", "energy", "5", 1, False, False],
                    ["b", "energy", "2", 3, True, False], ["b", "energy", "1", 8, False, False]]  # fmt: skip
    assert found["time_us"].tolist()[:3] == [0.09, 0.04, 0.01] and found["area_mm2"].isna().all()
    both = [[{"model": model, **each} for model in ("m", "n") for each in rows] for rows in (a, b)]
    twice = SweepComparison(*(Points.of(rows, name) for rows, name in zip(both, "ab", strict=True))).fronts
    assert twice[["sweep", "x"]].values.tolist() == 2 * found[["sweep", "x"]].values.tolist()
    areas = {("1",): 3.0, ("2",): 2.0, ("3",): 5.0, ("4",): 1.0, ("5",): 5.0}
    sides = [replace(Points.of(rows, name), areas=areas) for rows, name in ((a, "a"), (b, "b"))]
    with_area = SweepComparison(*sides).fronts
    against = with_area[with_area["against"] == "area"]
    assert against[["sweep", "x", "beaten"]].values.tolist() == [["a", "4", False], ["a", "2", False],
        ["a", "1", False], ["b", "2", False], ["b", "1", True]]  # fmt: skip
    unknown = [sides[0], replace(sides[1], areas={("1",): 3.0})]
    assert set(SweepComparison(*unknown).fronts["against"]) == {"energy"}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "has no column"),
        ([{"x": "1"}], "has no column"),
        ([point(1, x="1"), point(2, x="1")], "has the point x=1 twice"),
        ([point(1, y="1")], "sweeps of the same parameters"),
        ([point(1, x="2")], "no point in common"),
        ([point(1, "failed", x="1"), point(1, "infeasible", x="2")], "no point of this sweep ran"),
        ([{**point(1, x="1"), "cycles_total": "many"}], "is no number"),
    ],
)
def test_sweeps_that_cannot_be_compared_are_refused(rows: list[dict[str, str]], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        SweepComparison(Points.of([point(1, x="1")], "a"), Points.of(rows, "b"))


def test_a_comparison_is_written_whole_and_takes_an_older_ones_files_away(record: Record, tmp_path: Path) -> None:
    found = Comparison(Side.of(record()), Side.of(record("gemm:96x64x80", "edge_8x8")))
    names = {path.name for path in found.write(tmp_path)}
    kinds = ("_causes", "_energy", "_keys", "_layers", "")
    assert names == {path.name for path in tmp_path.iterdir()} == {f"compare{kind}.csv" for kind in kinds}
    with (tmp_path / "compare_causes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sum(int(row["change"]) for row in rows) == found.b.cycles - found.a.cycles
    sweeps = SweepComparison(Points.of([point(1, x="1")], "a"), Points.of([point(2, x="1")], "b"))
    assert {path.name for path in sweeps.write(tmp_path)} == {path.name for path in tmp_path.iterdir()}
