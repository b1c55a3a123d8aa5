"""Telling a mapping: of each layer the tiles that were chosen, what else was tried, and what that took."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from minisim.compiler.mapping import ALL, Edges
from minisim.compiler.passes.edges import Choice
from minisim.errors import printable

MOST_LOSERS = 3
"""Of the other tiles of a layer, those that are told: the best ones."""


def print_mapping(choices: Sequence[Choice], given: Sequence[str], console: Console) -> None:
    """Print a row for each layer; `given` are those whose tiles the user gave."""
    if not choices:
        console.print("  no layer has tiles to choose", highlight=False)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("layer", overflow="fold")
    table.add_column("tile m x k x n", no_wrap=True)
    table.add_column("alone", justify="right", no_wrap=True)
    table.add_column("also tried", overflow="fold")
    for choice in choices:
        own = choice.tried.get(choice.edges)
        if choice.layer == ALL:
            alone = "given" if ALL in given else ""
            table.add_row("all others", _text(choice.edges), alone, "")
            continue
        alone = "given" if choice.layer in given else f"{own.cycles:,.0f}" if own else "not tried"
        table.add_row(Text(printable(choice.layer)), _text(choice.edges), alone, _losers(choice))
    console.print(Padding(table, (0, 0, 0, 2)), highlight=False)
    console.print(
        "  alone: cycles of the layer as if it were all there is; inside the network what suits its neighbours counts, "
        "too",
        style="dim",
        highlight=False,
    )


def _losers(choice: Choice) -> str:
    others = sorted((tried.cycles, edges) for edges, tried in choice.tried.items() if edges != choice.edges)
    told = [f"{_text(edges)} {cycles:,.0f}" for cycles, edges in others[:MOST_LOSERS] if cycles < float("inf")]
    more = len(others) - len(told)
    return ", ".join([*told, *([f"{more} more"] if more else [])])


def _text(edges: Edges) -> str:
    return "x".join(map(str, edges))
