"""Put small faults into the Python sources, one at a time, and see whether a test fails.

    make mutation                            # 400, a hundred of each folder
    make mutation N=40 SEED=2 FILES="compiler/split.py reports"
    make mutation CHANGED=main               # in the files that differ from a branch

For each mutant the tests that reach its line are run, short ones first, until one fails (it is caught) or so many
seconds of tests have passed (it survives). The work tree is not touched: see workspace.py. What cannot be caught is in
equivalent.toml, with the reason, and does not count.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tomllib
from pathlib import Path

import click
from mutants import FOLDERS, Mutant, find, sample, sources
from reach import Reach
from workspace import Outcome, Workspace

ROOT = Path(__file__).parents[2]
UNMUTATED_TIMES = 6
"""A mutant may take so many times as long as the tests did before, and START seconds, until it counts as caught."""
START = 40.0
FIRST = 12
"""Tests that are run before the others: most mutants are caught by them, and few files are quickly imported."""

Texts = tuple[str, str, str]
"""A mutant for people, and for equivalent.toml: file, line before, line after."""


@click.command(help=__doc__)
@click.option("-n", "count", default=400, show_default=True, help="Mutants in all, as many of each folder.")
@click.option("--seed", default=1, show_default=True, help="Of the sample.")
@click.option("--changed", metavar="REVISION", help="Only files that differ from it.")
@click.option("--budget", default=60.0, show_default=True, help="Seconds of tests for a mutant.")
@click.option("--fresh", is_flag=True, help="Record anew which test reaches which line.")
@click.option("--folder", default=ROOT / "build" / "mutation", type=Path, help="Where the copy is.")
@click.argument("files", nargs=-1)
def main(
    count: int, seed: int, changed: str | None, budget: float, fresh: bool, folder: Path, files: tuple[str, ...]
) -> None:
    texts = sources(ROOT)
    wanted = {path for path in texts if _wanted(path, files, _differing(changed))}
    folders = [name for name in FOLDERS if any(path.startswith(f"{name}/") for path in wanted)]
    if not folders:
        raise click.UsageError(f"no file of {', '.join(FOLDERS)} is meant")
    workspace = Workspace(ROOT, folder)
    workspace.make()
    reach = Reach(workspace, texts)
    reach.load(lambda text: click.echo(text, err=True), fresh)
    history = History(folder / "caught_by.json")
    score = {}
    for name in folders:
        mutants = [m for path in sorted(wanted) if path.startswith(f"{name}/") for m in find(path, texts[path])]
        drawn = sample(mutants, max(1, count // len(folders)), seed)
        score[name] = [_try(mutant, texts[mutant.path], workspace, reach, history, budget) for mutant in drawn]
    click.echo("\nfolder    mutants  equivalent  caught  survived   score")
    for name, outcomes in score.items():
        caught, equivalent = outcomes.count("caught"), outcomes.count("equivalent")
        counted = len(outcomes) - equivalent
        share = f"{100 * caught / counted:5.1f} %" if counted else "-"
        click.echo(f"{name:9} {len(outcomes):7} {equivalent:11} {caught:7} {counted - caught:9}  {share:>7}")
    shutil.rmtree(workspace.package)


def _wanted(path: str, files: tuple[str, ...], changed: set[str] | None) -> bool:
    named = not files or any(path == name or path.startswith(f"{name.rstrip('/')}/") for name in files)
    return named and (changed is None or path in changed)


def _differing(revision: str | None) -> set[str] | None:
    if revision is None:
        return None
    command = ["git", "diff", "--name-only", revision]
    return set(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines())


def _try(
    mutant: Mutant, source: str, workspace: Workspace, reach: Reach, history: History, budget: float
) -> str:  # "caught", "survived", "equivalent"
    """Try one, and print a survivor."""
    texts = mutant.path, *mutant.diff(source)
    if texts in equivalent():
        return "equivalent"
    tests = reach.tests(mutant, budget)
    if (last := history.get(texts)) in tests:
        tests.insert(0, tests.pop(tests.index(last)))
    outcome = Outcome(True, "" if tests else "no test reaches it")
    workspace.write(mutant.path, mutant.apply(source))
    for some in (tests[:FIRST], tests[FIRST:]):
        if some and outcome.passed:
            outcome = workspace.run(some, START + UNMUTATED_TIMES * sum(reach.seconds[test] for test in some))
    workspace.write(mutant.path, source)
    if not outcome.passed:
        history.put(texts, outcome.caught_by)
        click.echo(f"caught    {mutant.path}:{mutant.line} {mutant.operator} by {outcome.caught_by}", err=True)
        return "caught"
    click.echo(f"\nsurvived {len(tests)} tests: {mutant.path}:{mutant.line} {mutant.operator} {outcome.caught_by}")
    click.echo(f"  - {texts[1]}\n  + {texts[2]}")
    return "survived"


def equivalent() -> set[Texts]:
    """The mutants that no test can catch."""
    with (Path(__file__).parent / "equivalent.toml").open("rb") as file:
        return {(e["file"], e["before"], e["after"]) for e in tomllib.load(file).get("mutant", [])}


class History:
    """The test that caught a mutant the last time: it is run first, which is quick if it does so again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.caught_by: dict[str, str] = json.loads(path.read_text("utf-8")) if path.exists() else {}

    def get(self, texts: Texts) -> str | None:
        return self.caught_by.get("\n".join(texts))

    def put(self, texts: Texts, test: str) -> None:
        self.caught_by["\n".join(texts)] = test
        self.path.write_text(json.dumps(self.caught_by, indent=0), encoding="utf-8")


if __name__ == "__main__":
    main()
