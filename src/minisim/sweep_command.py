"""What ``minisim sweep`` does: plan, look up what is known, compute the rest, and report."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

import click
from rich.console import Console

from minisim.errors import LedgerError, UsageError
from minisim.hwmodel.config import Machine, split_override
from minisim.options import Bindings
from minisim.reports import print_sweep, write_sweep
from minisim.sweeps.driver import explored
from minisim.sweeps.ledger import NAME, Begun, Ledger
from minisim.sweeps.plan import bases_of, plan_of, print_plan
from minisim.sweeps.ranges import parse_param
from minisim.sweeps.specification import Model, Specification
from minisim.sweeps.told import SweepProgress

OUT = Path("out")
"""The folder of sweep.csv, unless it is named."""

WithoutEffect = Callable[[str, Sequence[str], Sequence[Machine], Sequence[str]], None]
"""Tells what of a machine's source, its overrides and what varies has no effect on any of its machines."""


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
    with Ledger(path) as opened:
        begun = opened.last(str(out.resolve()) if ledger and out else None)
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


def run_sweep(
    asked: Specification,
    out: Path,
    *,
    ledger: Path | None,
    jobs: int | None,
    dry_run: bool,
    without_effect: WithoutEffect,
) -> None:
    """Compute what of a sweep is not known, and report all of it.

    Args:
        ledger: where it lies; default: beside sweep.csv.
        dry_run: say what would be computed, and stop.
    """
    bases = bases_of(asked)
    for source, base in zip(asked.configs, bases, strict=True):
        machines = [point.machine for point in base.grid.points]
        if machines:
            without_effect(source, asked.overrides, machines, list(asked.param))
    plan = plan_of(asked, bases)
    path, console = ledger or out / NAME, Console()
    tasks = plan.tasks
    if dry_run:
        known = 0
        if path.is_file():
            with Ledger(path) as opened:
                known = len(opened.known(task.key for task in tasks))
        print_plan(plan, known, str(path), console, whole=True)
        return
    opened_or_none = _opened(path, given=ledger is not None)
    try:
        if opened_or_none:
            opened_or_none.begin(asked.located(Path.cwd()).text(), str(out.resolve()))
        known = len(opened_or_none.known(task.key for task in tasks)) if opened_or_none else 0
        print_plan(plan, known, str(path), console, whole=False)
        with SweepProgress(plan, Console(stderr=True)) as progress:
            found = explored(tasks, plan.models, plan.how, jobs=jobs, ledger=opened_or_none, watch=progress.watch)
    except KeyboardInterrupt:
        if opened_or_none and not opened_or_none.read_only:
            done = len(opened_or_none.known(task.key for task in tasks))
            where = ["--ledger", str(ledger)] if ledger else []
            command = shlex.join(["minisim", "sweep", "--resume", "--out", str(out), *where])
            click.echo(f"minisim: {done:,} of {len(tasks):,} points are kept; to go on: {command}", err=True)
        raise
    finally:
        if opened_or_none:
            opened_or_none.close()
    rows = plan.rows(found)
    written = write_sweep(rows, out)
    print_sweep(rows, console)
    console.print(f"reports: {written}", soft_wrap=True, highlight=False)


def _opened(path: Path, given: bool) -> Ledger | None:
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
    return Specification(
        models=tuple(Model(model=model, dim=sizes, shape=shapes, value=values) for model in models),
        configs=(source,),
        set=dict(map(_override, overrides)),
        param=parameters,
        link=tuple(tuple(key.strip() for key in text.split(",")) for text in links),
        where=tuple(where),
        mapping=mapping_file,
        numerics=not no_numerics,
        max_operations=max_operations,
        memory_limit=memory_limit,
    )


def _split(text: str) -> tuple[str, str]:
    name, _, value = text.rpartition("=")
    return name.strip(), value.strip()


def _override(text: str) -> tuple[str, str]:
    key, _ = split_override(text)  # what is wrong with it is said
    return key, text.partition("=")[2].strip()
