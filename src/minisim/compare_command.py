"""``minisim compare A B``: what became of a run, a machine or a sweep when something was changed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

from minisim import completion, options
from minisim.commands import check_folder, typed_command
from minisim.compare import compared_sweeps, kinds_of, read_run
from minisim.compiler.dtypes import NAME
from minisim.compiler.frontend import load_model
from minisim.errors import UsageError
from minisim.hwmodel.config import Machine
from minisim.options import Bindings
from minisim.progress import SlowProgress
from minisim.run import run

if TYPE_CHECKING:
    from minisim.reports.side import Side


@click.command("compare")
@click.argument("a", shell_complete=completion.machines)
@click.argument("b", required=False, shell_complete=completion.machines)
@click.option(
    "--model",
    metavar="MODEL",
    shell_complete=completion.models,
    help="What runs on sides that are machines; as for minisim run.",
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    shell_complete=completion.settings,
    help="Change one key of each such machine.",
)
@click.option("--change", "changes", multiple=True, metavar="KEY=VALUE", shell_complete=completion.settings,
              help="Change one key of machine B alone. May be repeated.")  # fmt: skip
@options.bindings
@click.option("--out", metavar="DIR", type=click.Path(path_type=Path), help="Also write compare.csv and others there.")
@options.report_page
@options.max_operations
@options.memory_limit
def compare_command(
    a: str,
    b: str | None,
    model: str | None,
    overrides: tuple[str, ...],
    changes: tuple[str, ...],
    bindings: Bindings,
    out: Path | None,
    report_page: bool,
    max_operations: int,
    memory_limit: int,
) -> None:
    """Say where cycles and energy went from A to B: ratios, causes, keys, layers.

    A and B are folders of reports that minisim run wrote, machines (presets or files) on which --model is timed, or
    folders of sweeps. Without B it is the machine A with what --change says.
    """
    from minisim.reports.compare import Comparison
    from minisim.reports.compare_screen import print_comparison, print_sweep_comparison

    if b is None and not changes:
        raise UsageError("compare: needs B, or --change of machine A")
    sides = (a, a if b is None else b)
    kinds = kinds_of(*sides, with_model=model is not None)
    _check_options(kinds, model, overrides, changes, bindings)
    out = out or (Path("out") if report_page else None)
    if out:
        check_folder("--out", out)
    console = Console()
    if kinds[0] == "sweep":
        sweeps = compared_sweeps(*sides)
        print_sweep_comparison(sweeps, console)
        paths = sweeps.write(out, report_page, typed_command()) if out else []
    else:

        def timed(source: str, more: tuple[str, ...]) -> Side:
            machine = Machine.load(source, (*overrides, *more))
            return _timed(machine, " ".join([source, *more]), model or "", bindings, max_operations, memory_limit)

        found = [
            read_run(side) if kind == "run" else timed(side, more)
            for side, kind, more in zip(sides, kinds, ((), changes), strict=True)
        ]
        comparison = Comparison(*found)
        print_comparison(comparison, console)
        paths = comparison.write(out, report_page, typed_command()) if out else []
    if paths:
        console.print(f"reports: {', '.join(map(str, paths))}", soft_wrap=True, highlight=False)


def _check_options(
    kinds: list[str], model: str | None, overrides: tuple[str, ...], changes: tuple[str, ...], bindings: Bindings
) -> None:
    """Refuse what would have no effect: nothing is run on a side that was read."""
    typed = {"--model": model, "--set": overrides, "--dim": bindings.dims, "--shape": bindings.shapes,
             "--value": bindings.values}  # fmt: skip
    if "machine" not in kinds and (given := [name for name, value in typed.items() if value]):
        raise UsageError(f"{given[0]}: goes with a machine, and both sides are reports")
    if changes and kinds[1] != "machine":
        raise UsageError("--change: goes with a machine as B")


def _timed(machine: Machine, name: str, model: str, bindings: Bindings, max_operations: int, memory_limit: int) -> Side:
    """A model, timed on a machine, under this name."""
    from minisim.reports.side import Side

    click.get_current_context().find_root().obj = machine  # a report of a bug will have it
    dtype, sizes, values = NAME[machine.dtype], bindings.sizes(), bindings.bound()
    graph = load_model(model, dtype, sizes, values=values, numerics=False, memory_limit=memory_limit)
    with SlowProgress(Console(stderr=True), f"compiling {graph.name}") as progress:
        result = run(
            graph,
            machine,
            numerics=False,
            on_stage=progress.on_stage,
            max_operations=max_operations,
            memory_limit=memory_limit,
        )
    return Side.of(result.record(), name)
