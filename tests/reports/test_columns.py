"""Tables for a terminal: names are cut where their column says so, numbers never."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from minisim.reports.columns import Column, fitting, table_of, width_of


def lines(columns: list[Column], width: int = 60) -> list[str]:
    file = io.StringIO()
    Console(file=file, width=width).print(table_of(columns))
    return [line.rstrip() for line in file.getvalue().splitlines()]


@pytest.mark.parametrize(("name", "cut"), [("abcdefgh", "abcde"), ("abc", "abc  "), ("日本語日本語", "日本 ")])
def test_a_name_is_cut_to_its_columns_width(name: str, cut: str) -> None:
    """Also one of characters that are two columns wide, of which no half is shown."""
    columns = [Column("", by=[name, "x" * 9], left=True, most=5), Column("n", by=["1,234,567", "8"])]
    assert lines(columns) == [f"{'n':>16}", f"{cut}  1,234,567", "xxxxx          8"]
    assert width_of(columns) == 16


def test_columns_that_stay_are_whole_however_narrow_it_is() -> None:
    columns = [Column("a", by=["1,234,567"]), Column("b", by=["12"], drop=1), Column("c", by=["123"], drop=2)]
    assert [column.title for column in fitting(columns, 18)] == ["a", "b", "c"]
    assert [column.title for column in fitting(columns, 17)] == ["a", "b"]
    assert [column.title for column in fitting(columns, 12)] == ["a"]
    assert [column.title for column in fitting(columns, 1)] == ["a"]
