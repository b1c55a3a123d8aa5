"""``minisim sweep``: plan, look up what is known, compute the rest, and report."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click
from click.core import ParameterSource
from pydantic import ValidationError
from rich.console import Console

from minisim import completion, options
from minisim.commands import check_folder, tell_without_effect, typed_command
from minisim.errors import LedgerError, UsageError, shown
from minisim.hwmodel.config import split_override
from minisim.options import Bindings
from minisim.sweeps.alone import alone
from minisim.sweeps.driver import explored
from minisim.sweeps.ledger import NAME, Begun, Ledger
from minisim.sweeps.plan import Plan, bases_of, plan_of, print_plan
from minisim.sweeps.ranges import parse_param
from minisim.sweeps.specification import Model, Specification, mistakes
from minisim.sweeps.told import SweepProgress
from minisim.sweeps.work import Outcome

IN_A_FILE = {"source": "--config", "overrides": "--set", "dims": "--dim", "shapes": "--shape", "values": "--value",
             "params": "--param", "links": "--link", "where": "--where", "mapping_file": "--mapping",
             "no_numerics": "--no-numerics", "seed": "--seed", "max_operations": "--max-operations",
             "memory_limit": "--memory-limit"}  # fmt: skip
"""Options that say what sweep.toml says."""


@click.command("sweep")
@click.argument("models", nargs=-1, metavar="MODEL...|SWEEP.toml", shell_complete=completion.models)
@options.machine_options
@options.bindings
@options.params
@options.out
@options.report_page
@options.mapping
@options.no_numerics
@options.jobs
@options.ledger
@options.cluster
@options.seed
@click.option("--dry-run", is_flag=True, help="Say which points there are and which are known, and stop.")
@click.option("--resume", is_flag=True, help="Go on with the sweep that was begun last; what it was asked is known.")
@options.max_operations
@options.memory_limit
@click.pass_context
def sweep_command(ctx: click.Context, /, models: tuple[str, ...], out: Path, report_page: bool, jobs: int | None,
                  ledger: Path | None, cluster: str | None, dry_run: bool, resume: bool,
                  **asked: Any) -> None:  # fmt: skip
    """Run each MODEL on every machine of a grid; write sweep.csv, a row per point.

    SWEEP.toml says all that: models, machines, parameters, constraints. What is known from an earlier sweep is taken
    from the ledger.
    """
    if resume:
        if wrong := [*(["MODEL"] if models else []), *_in_file(ctx)]:
            raise UsageError(f"--resume: knows what was asked, so it does not go with {wrong[-1]}")
        specification, out = resumed(out if _is_given(ctx, "out") else None, ledger)
    else:
        specification = specified(ctx, models, asked)
    check_folder("--out", out)
    where = Where.of(jobs, cluster)
    run_sweep(specification, out, ledger=ledger, where=where, dry_run=dry_run, page=report_page)


def specified(ctx: click.Context, models: Sequence[str], asked: Mapping[str, Any]) -> Specification:
    """What a command is asked: by a file, or by its options.

    Raises:
        UsageError: with every mistake of the file; or an option goes into it.
    """
    if len(models) == 1 and models[0].endswith(".toml"):
        if in_file := _in_file(ctx):
            raise UsageError(f"{in_file[0]}: goes into {models[0]}")
        return Specification.load(Path(models[0]))
    for missing, kind, hint in ((not models, "argument", "MODEL"), (not asked["params"], "option", "--param")):
        if missing:
            raise click.MissingParameter(param_type=kind, param_hint=hint)
    return typed(models, **asked)


def _in_file(ctx: click.Context) -> list[str]:
    """The options given that say what sweep.toml says."""
    return [option for name, option in IN_A_FILE.items() if _is_given(ctx, name)]


def _is_given(ctx: click.Context, name: str) -> bool:
    return ctx.get_parameter_source(name) == ParameterSource.COMMANDLINE


OUT = Path("out")
"""The folder of sweep.csv, unless it is named."""


class Where(NamedTuple):
    """Who computes: so many processes here, or the workers of a cluster."""

    jobs: int | None
    cluster: str | None

    @classmethod
    def of(cls, jobs: int | None, cluster: str | None) -> Where:
        """What was asked. What is missing for it is said before anything is planned.

        Raises:
            UsageError: both were given.
            MissingExtraError: the package of clusters is not there.
        """
        if cluster is not None:
            if jobs is not None:
                raise UsageError("--jobs: goes without --cluster, whose workers compute")
            import minisim.sweeps.cluster  # noqa: F401
        return cls(jobs, cluster)


def note(text: str) -> None:
    """Tell a user what is not as it should be, and go on."""
    click.echo(f"minisim: note: {text}", err=True)


def resumed(out: Path | None, ledger: Path | None) -> tuple[Specification, Path]:
    """The sweep that a ledger saw last, and its folder.

    Raises:
        UsageError: there is none.
    """
    path = ledger or (out or OUT) / NAME
    if not path.is_file():
        where = "nothing was begun, or it lies elsewhere (--out, --ledger)"
        raise UsageError(f"--resume: there is no ledger {path}: {where}")
    with Ledger(path) as book:
        begun = book.last(str(out.resolve()) if ledger and out else None)
    if begun is None:
        raise UsageError(f"--resume: no sweep was begun with {path}")
    return _specification(begun, path), out or _as_typed(Path(begun.out))


def _specification(begun: Begun, path: Path) -> Specification:
    try:
        return Specification.of_text(begun.specification)
    except ValueError:
        raise LedgerError(f"{path}: the sweep of {begun.at} was asked by another minisim: ask it anew") from None


def _as_typed(path: Path) -> Path:
    """A whole path as one would type it here."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def run_sweep(asked: Specification, out: Path, *, ledger: Path | None, where: Where, dry_run: bool, page: bool) -> None:
    """Compute what of a sweep is not known, and report all of it.

    Args:
        ledger: where it lies; default: beside sweep.csv.
        where: who computes.
        dry_run: say what would be computed, and stop.
        page: also write sweep.html.
    """
    from minisim.reports import print_sweep, write_sweep

    for constraint in asked.constraints(on_results=True):
        rule = f"{min(constraint.results)} is a result, which is known when a point has run: goes with minisim search"
        raise UsageError(f"{constraint.place} {constraint.text}: {rule}")
    plan = planned(asked)
    path, console = ledger or out / NAME, Console()
    if dry_run:
        known = 0
        if path.is_file():
            with Ledger(path) as book:
                known = len(book.known(task.key for task in plan.tasks))
        print_plan(plan, known, str(path), console, whole=True)
        return
    rows = plan.rows(_found(plan, out, path, opened(path, given=ledger is not None), where, console))
    machines = {base.label: base.machine for base in plan.bases}
    written = write_sweep(rows, out, runs=alone(plan), machines=machines, command=typed_command(), page=page)
    print_sweep(rows, console)
    paths = [written, written.with_suffix(".html")] if page else [written]
    console.print(f"reports: {', '.join(map(str, paths))}", soft_wrap=True, highlight=False)


def planned(asked: Specification) -> Plan:
    """The plan; what of its machines has no effect is told."""
    bases = bases_of(asked)
    click.get_current_context().find_root().obj = bases[0].machine  # a report of a bug will have it
    for source, base in zip(asked.configs, bases, strict=True):
        if machines := [point.machine for point in base.grid.points]:
            tell_without_effect(source, asked.overrides, machines, list(asked.param))
    return plan_of(asked, bases)


def _found(
    plan: Plan, out: Path, path: Path, ledger: Ledger | None, where: Where, console: Console
) -> dict[str, Outcome]:
    """What came of the tasks of a plan. Whoever interrupts it is told how to go on."""
    tasks = plan.tasks
    try:
        if ledger:
            ledger.begin(plan.specification.located(Path.cwd()).text(), str(out.resolve()))
        known = len(ledger.known(task.key for task in tasks)) if ledger else 0
        print_plan(plan, known, str(path), console, whole=False)
        with SweepProgress(plan, Console(stderr=True)) as progress:
            return explored(tasks, plan.models, plan.how, **where._asdict(), ledger=ledger, watch=progress.watch)
    except KeyboardInterrupt:
        if ledger and not ledger.read_only:
            done = len(ledger.known(task.key for task in tasks))
            more = [] if path == out / NAME else ["--ledger", str(path)]
            more += ["--cluster", where.cluster] if where.cluster else []
            command = shlex.join(["minisim", "sweep", "--resume", "--out", str(out), *more])
            click.echo(f"minisim: {done:,} of {len(tasks):,} points are kept; to go on: {command}", err=True)
        raise
    finally:
        if ledger:
            ledger.close()


def opened(path: Path, given: bool) -> Ledger | None:
    """The ledger. One that nobody asked for and that cannot be made (a full disk) costs a note, not the sweep."""
    new = not path.exists()
    try:
        return Ledger(path, note)
    except LedgerError as e:
        if given or not new:
            raise
        note(f"{e}; the sweep goes on, and keeps nothing")
        return None


def typed(
    models: Sequence[str],
    *,
    source: str,
    overrides: Sequence[str],
    bindings: Bindings,
    params: Sequence[str],
    links: Sequence[str],
    where: Sequence[str],
    mapping_file: str | None,
    no_numerics: bool,
    max_operations: int,
    memory_limit: int,
    seed: int = 0,
) -> Specification:
    """The specification that the options of the command are.

    Raises:
        UsageError: one of them is not of its form.
    """
    bindings.sizes(), bindings.bound()  # what is wrong with them is said
    dims, shapes, values = (dict(_split(text) for text in texts) for texts in bindings)
    sizes = {name: int(size) for name, size in dims.items()}
    parameters: dict[str, tuple[str, ...]] = {}
    for key, each in map(parse_param, params):
        if key in parameters:
            raise UsageError(f"--param {key}: given twice; list all its values in one")
        parameters[key] = tuple(each)
    if empty := [model for model in models if not model.strip()]:
        raise UsageError(f"MODEL: must be a model, not {shown(empty[0])}")
    try:
        return Specification(
            models=tuple(Model(model=model, dim=sizes, shape=shapes, value=values) for model in models),
            configs=(source,),
            set=dict(map(_override, overrides)),
            param=parameters,
            link=tuple(tuple(key.strip() for key in text.split(",")) for text in links),
            where=tuple(where),
            mapping=mapping_file,
            numerics=not no_numerics,
            seed=seed,
            max_operations=max_operations,
            memory_limit=memory_limit,
        )
    except ValidationError as e:
        raise UsageError(mistakes(e, "minisim sweep")) from None


def _split(text: str) -> tuple[str, str]:
    name, _, value = text.rpartition("=")
    return name.strip(), value.strip()


def _override(text: str) -> tuple[str, str]:
    key, _ = split_override(text)  # what is wrong with it is said
    return key, text.partition("=")[2].strip()
