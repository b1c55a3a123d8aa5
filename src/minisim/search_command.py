"""``minisim search``: the best machines of a grid, of which a part is computed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from minisim import completion, options
from minisim.commands import check_folder
from minisim.errors import UsageError
from minisim.sweep_command import opened, planned, specified
from minisim.sweeps.driver import explored
from minisim.sweeps.ledger import NAME, Ledger
from minisim.sweeps.plan import Entry, Plan, print_plan, tasks_of
from minisim.sweeps.told import SweepProgress

if TYPE_CHECKING:
    from minisim.sweeps.rows import Row


@click.command("search")
@click.argument("models", nargs=-1, metavar="MODEL|SWEEP.toml", shell_complete=completion.models)
@options.machine_options
@options.bindings
@options.params
@click.option("--objective", "objectives", default="cycles,area", show_default=True, metavar="NAME,NAME,...",
              help="What is made small: cycles, time, energy, area, traffic, edp.")  # fmt: skip
@click.option("--evaluations", type=click.IntRange(min=1), metavar="N",
              help="Points to compute.  [default: a tenth of the grid, 20 at least]")  # fmt: skip
@click.option("--seed", type=click.IntRange(0, 2**31), default=0, show_default=True, help="Of the search.")
@options.out
@options.mapping
@options.no_numerics
@options.jobs
@options.ledger
@options.max_operations
@options.memory_limit
@click.pass_context
def search_command(ctx: click.Context, /, models: tuple[str, ...], objectives: str, evaluations: int | None, seed: int,
                   out: Path, jobs: int | None, ledger: Path | None, **asked: Any) -> None:  # fmt: skip
    """Find the machines of a grid that are best for MODEL; write search.csv and front.csv.

    A point is best, and on the front, if no other one is better in one objective and as good in the others. What is
    known from an earlier search or sweep is taken from the ledger: to go on with a search, ask it again.
    """
    from minisim.reports import write_search
    from minisim.sweeps.search import Search, check_objectives, usual

    names = [name.strip() for name in objectives.split(",")]
    check_objectives(names)
    specification = specified(ctx, models, asked)
    if len(specification.models) > 1 or len(specification.configs) > 1:
        raise UsageError("search: goes with one model, and one machine that the parameters change")
    check_folder("--out", out)
    plan = planned(specification)
    search = Search(plan.entries, names, seed)
    count = min(len(plan.entries), evaluations or usual(len(plan.entries)))
    path, console = ledger or out / NAME, Console()
    print_plan(plan, 0, str(path), console, whole=False)
    console.print(f"  {count:,} of them are computed, for {', '.join(names)}", highlight=False)
    book = opened(path, given=ledger is not None)
    try:
        with SweepProgress(plan, Console(stderr=True), total=count) as progress:
            search.run(count, lambda entries: _computed(plan, entries, jobs, book, progress))
    except KeyboardInterrupt:
        if book and not book.read_only:
            told = "to go on, ask the same again: what is known is in the ledger"
            click.echo(f"minisim: {len(search.found):,} of {count:,} points are kept; {told}", err=True)
        raise
    finally:
        if book:
            book.close()
    found, best = ([each.row_with(names) for each in some] for some in (search.found, search.front()))
    paths = write_search(found, best, out)
    _print_front(best, names, console)
    console.print(f"reports: {', '.join(map(str, paths))}", soft_wrap=True, highlight=False)


def _computed(
    plan: Plan, entries: Sequence[Entry], jobs: int | None, ledger: Ledger | None, progress: SweepProgress
) -> list[Row]:
    """The rows of some points of a plan."""
    found = explored(tasks_of(entries), plan.models, plan.how, jobs=jobs, ledger=ledger, watch=progress.watch)
    return plan.rows(found, entries)


def _print_front(rows: Sequence[Row], names: Sequence[str], console: Console) -> None:
    from minisim.reports.columns import Column, fitting, table_of

    if not rows:
        console.print("no machine of those computes the model", highlight=False)
        return
    params = list(rows[0])[: list(rows[0]).index("status")]
    columns = [Column(name, [str(row[name]) for row in rows]) for name in params]
    columns += [Column(name, [f"{row[f'objective_{name}']:,.6g}" for row in rows]) for name in names]
    console.print(table_of(fitting(columns, console.width)), highlight=False)
