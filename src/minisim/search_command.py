"""``minisim search``: the best machines of a grid, of which a part is computed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.text import Text

from minisim import completion, options
from minisim.commands import check_folder
from minisim.errors import UsageError
from minisim.sweep_command import Where, opened, planned, specified
from minisim.sweeps.driver import Computing
from minisim.sweeps.ledger import NAME, Ledger
from minisim.sweeps.plan import Entry, Plan, label_of, print_plan, tasks_of
from minisim.sweeps.results import RESULTS, check_tokens, objectives_of, tokens_of, told
from minisim.sweeps.specification import Specification
from minisim.sweeps.told import SweepProgress

if TYPE_CHECKING:
    from minisim.sweeps.rows import Row
    from minisim.sweeps.search import Search


@click.command("search")
@click.argument("models", nargs=-1, metavar="MODEL|SWEEP.toml", shell_complete=completion.models)
@options.machine_options
@options.bindings
@options.params
@click.option("--objective", "objectives", default="cycles,area", show_default=True, metavar="NAME,NAME,...",
              help="What is made small: cycles, time, energy, area, traffic, edp, power; or large: tokens_per_joule, "
              "that is tokens/s/W, of a transformer by name.")  # fmt: skip
@click.option("--evaluations", type=click.IntRange(min=1), metavar="N",
              help="Points to compute.  [default: a tenth of the grid, 20 at least]")  # fmt: skip
@click.option("--batch", type=click.IntRange(min=1), default=4, show_default=True, metavar="N",
              help="Points that are proposed, and computed, at once.")  # fmt: skip
@click.option("--seed", type=click.IntRange(0, 2**31), default=0, show_default=True, help="Of the search.")
@options.out
@options.mapping
@options.no_numerics
@options.jobs
@options.ledger
@options.cluster
@options.max_operations
@options.memory_limit
@click.pass_context
def search_command(ctx: click.Context, /, models: tuple[str, ...], objectives: str, evaluations: int | None, batch: int,
                   seed: int, out: Path, jobs: int | None, ledger: Path | None, cluster: str | None,
                   **asked: Any) -> None:  # fmt: skip
    """Find the machines of a grid that are best for MODEL; write search.csv and front.csv.

    A point is best, and on the front, if no other one is better in one objective and as good in the others. What is
    known from an earlier search or sweep is taken from the ledger: to go on with a search, ask it again.
    """
    from minisim.reports import write_search
    from minisim.sweeps.search import Search, usual

    names = objectives_of(name.strip() for name in objectives.split(","))
    specification = specified(ctx, models, asked)
    tokens = _tokens(specification, names)
    check_folder("--out", out)
    where = Where.of(jobs, cluster)
    plan = planned(specification)
    search = Search(plan.entries, names, seed, specification.constraints(on_results=True), tokens, batch)
    count = min(len(plan.entries), evaluations or usual(len(plan.entries)))
    path, console = ledger or out / NAME, Console()
    print_plan(plan, 0, str(path), console, whole=False)
    console.print(f"  {count:,} of them are computed, for {', '.join(names)}", highlight=False)
    _run(search, count, plan, where, opened(path, given=ledger is not None))
    found, best = ([each.row_with(search) for each in some] for some in (search.found, search.front()))
    paths = write_search(found, best, out)
    _print_front(search, best, console)
    console.print(f"reports: {', '.join(map(str, paths))}", soft_wrap=True, highlight=False)


def _tokens(asked: Specification, objectives: Sequence[str]) -> int | None:
    """The tokens of a run of the model, if it has some.

    Raises:
        UsageError: there are several models or machines; or tokens are asked for, and there are none.
    """
    if len(asked.models) > 1 or len(asked.configs) > 1:
        raise UsageError("search: goes with one model, and one machine that the parameters change")
    model = asked.models[0].model
    tokens = tokens_of(model)
    check_tokens(objectives, "--objective", model, tokens)
    for constraint in asked.constraints(on_results=True):
        check_tokens(constraint.results, f"{constraint.place} {constraint.text}:", model, tokens)
    return tokens


def _run(search: Search, count: int, plan: Plan, where: Where, book: Ledger | None) -> None:
    """Compute so many points. Whoever interrupts it is told how to go on."""
    computing = Computing(plan.models, plan.how, **where._asdict())
    try:
        with SweepProgress(plan, Console(stderr=True), total=count) as progress, computing:

            def rows(entries: Sequence[Entry]) -> list[Row]:
                return plan.rows(computing.explored(tasks_of(entries), ledger=book, watch=progress.watch), entries)

            search.run(count, rows)
    except KeyboardInterrupt:
        if book and not book.read_only:
            how = "to go on, ask the same again: what is known is in the ledger"
            click.echo(f"minisim: {len(search.found):,} of {count:,} points are kept; {how}", err=True)
        raise
    finally:
        if book:
            book.close()


def _print_front(search: Search, rows: Sequence[Row], console: Console) -> None:
    from minisim.reports.columns import Column, table_of, width_of

    names = search.objectives
    for constraint in search.constraints:
        count = sum(constraint.text in each.violated for each in search.found)
        ran = sum(bool(each.values) for each in search.found)
        console.print(Text(f"{count:,} of {ran:,} points that ran violate {constraint.text}"), highlight=False)
    if rows:
        params = list(rows[0])[: list(rows[0]).index("status")]
        columns = [Column(name, [str(row[name]) for row in rows]) for name in params]
        columns += [Column(_title(name), [f"{row[f'objective_{name}']:,.6g}" for row in rows]) for name in names]
        if width_of(columns) <= console.width:
            console.print(table_of(columns), highlight=False)
        else:  # no number is cut: a sentence for each point
            for i in range(len(rows)):
                text = " ".join(f"{column.title}={column.by[i]}" for column in columns)
                console.print(Text(text), highlight=False, soft_wrap=True)
    elif nearest := search.nearest():
        point = label_of(search.entries[nearest.place].params)
        values = ", ".join(f"{name} {told(value, name)}" for name, value in zip(names, nearest.values, strict=True))
        text = f"no point satisfies all constraints; the nearest: {point} ({values})"
        console.print(Text(text), highlight=False, soft_wrap=True)
    else:
        console.print("no machine of those computes the model", highlight=False)


def _title(name: str) -> str:
    """An objective with its unit; a count has none."""
    unit = RESULTS[name].unit
    return f"{name} ({unit})" if unit else name
