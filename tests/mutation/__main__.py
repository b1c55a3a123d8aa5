"""Put small faults into the Python sources, one at a time, and see whether a test fails.

    make mutation                            # 400, a hundred of each folder
    make mutation N=40 SEED=2 FILES="compiler/shares.py reports"
    make mutation CHANGED=main               # in the files that differ from a branch

For each mutant the tests that reach its line are run, short ones first, until one fails (it is caught) or so many
seconds of tests have passed (it survives). The work tree is not touched: see workspace.py. What cannot be caught is in
equivalent.toml, with the reason, and does not count.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise, zip_longest
from pathlib import Path

from mutants import FOLDERS, Mutant, find, looks_the_same, sample, sources
from reach import Reach
from workspace import Outcome, Workspace

ROOT = Path(__file__).parents[2]
UNMUTATED_TIMES = 6
"""A mutant may take so many times as long as the tests did before, and START seconds, until it counts as caught."""
START = 40.0
FIRST = (4, 16)
"""So many tests are run before the others: most mutants are caught by them, and few files are quickly imported."""

Texts = tuple[str, str, str]
"""A mutant for people, and for equivalent.toml: file, line before, line after."""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", help="files and folders; all if none")
    parser.add_argument("-n", "--count", type=int, default=400, help="mutants in all, as many of each folder")
    parser.add_argument("--seed", type=int, default=1, help="of the sample")
    parser.add_argument("--changed", metavar="REVISION", help="only files that differ from it")
    parser.add_argument("--budget", type=float, default=60.0, help="seconds of tests for a mutant")
    parser.add_argument("--fresh", action="store_true", help="record anew which test reaches which line")
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "mutation", help="where the copy is")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    texts = sources(ROOT)
    wanted = {path for path in texts if _wanted(path, args.files, _differing(args.changed))}
    folders = [name for name in FOLDERS if any(path.startswith(f"{name}/") for path in wanted)]
    if not folders:
        sys.exit(f"no file of {', '.join(FOLDERS)} is meant")
    workspace = Workspace(ROOT, args.folder)
    workspace.make()
    reach = Reach(workspace, texts)
    reach.load(lambda text: print(text, file=sys.stderr, flush=True), args.fresh)
    history = History(args.folder / "caught_by.json")
    found = {name: [m for path in sorted(wanted) if path.startswith(f"{name}/") for m in find(path, texts[path])]
             for name in folders}  # fmt: skip
    drawn = zip_longest(*(sample(mutants, max(1, args.count // len(folders)), args.seed) for mutants in found.values()))
    fates: dict[str, list[str]] = {name: [] for name in folders}
    try:
        for mutant in (mutant for one_of_each in drawn for mutant in one_of_each if mutant):
            fates[mutant.folder].append(_try(mutant, texts[mutant.path], workspace, reach, history, args.budget))
    except KeyboardInterrupt:
        print("\nstopped: the score is of those that were tried")
    _print_score(fates)


def _print_score(fates: dict[str, list[str]]) -> None:
    print("\nfolder    mutants  equivalent  caught  survived    score")
    for name, outcomes in fates.items():
        caught, survived, equivalent = (outcomes.count(fate) for fate in ("caught", "survived", "equivalent"))
        counted = caught + survived
        share = f"{100 * caught / counted:.1f} %" if counted else "-"
        print(f"{name:9} {counted + equivalent:7} {equivalent:11} {caught:7} {survived:9}  {share:>7}")


def _wanted(path: str, files: Sequence[str], changed: set[str] | None) -> bool:
    named = not files or any(path == name or path.startswith(f"{name.rstrip('/')}/") for name in files)
    return named and (changed is None or path in changed)


def _differing(revision: str | None) -> set[str] | None:
    if revision is None:
        return None
    command = ["git", "diff", "--name-only", revision]
    return set(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines())


def _try(mutant: Mutant, source: str, workspace: Workspace, reach: Reach, history: History, budget: float) -> str:
    """Try one, and print a survivor: "caught", "survived", "equivalent", or "invalid" (it is no Python)."""
    texts = mutant.path, *mutant.diff(source)
    if texts in equivalent() or looks_the_same(*texts[1:]):
        return "equivalent"
    try:
        compile(mutant.apply(source), mutant.path, "exec")
    except SyntaxError:  # the ** of a mapping is no power: any test would catch that
        return "invalid"
    tests = reach.tests(mutant, budget, history.catches)
    if (last := history.get(texts)) in tests:
        tests.insert(0, tests.pop(tests.index(last)))
    workspace.write(mutant.path, mutant.apply(source))
    outcome = _run(tests, workspace, reach)
    while not _confirmed(outcome.caught_by, workspace, reach):
        tests.remove(outcome.caught_by)
        outcome = _run(tests, workspace, reach)
    workspace.write(mutant.path, source)
    if outcome.caught_by in reach.seconds and not _passes(outcome.caught_by, workspace, reach):
        return _try(mutant, source, workspace, reach, history, budget)
    if not outcome.passed:
        history.put(texts, outcome.caught_by)
        print(
            f"caught    {mutant.path}:{mutant.line} {mutant.operator} by {outcome.caught_by}",
            file=sys.stderr,
            flush=True,
        )
        return "caught"
    print(f"\nsurvived {len(tests)} tests: {mutant.path}:{mutant.line} {mutant.operator} {outcome.caught_by}")
    print(f"  - {texts[1]}\n  + {texts[2]}", flush=True)
    return "survived"


def _run(tests: list[str], workspace: Workspace, reach: Reach) -> Outcome:
    outcome = Outcome(True, "" if tests else "no test reaches it")
    for begin, end in pairwise((0, *FIRST, len(tests))):
        some = tests[begin:end]
        if some and outcome.passed:
            outcome = workspace.run(some, START + UNMUTATED_TIMES * sum(reach.seconds[test] for test in some))
    return outcome


def _confirmed(test: str, workspace: Workspace, reach: Reach) -> bool:
    """Whether a test that failed on the mutant does so alone. One that does not, because it is in a hurry where all is
    busy, or minds what ran before it, is never asked again."""
    if test not in reach.seconds or test in reach.trusted:
        return True
    if workspace.run([test], START).passed:
        del reach.seconds[test]
        return False
    return True


def _passes(test: str, workspace: Workspace, reach: Reach) -> bool:
    """Whether a test that caught a mutant passes without it: since it was recorded the sources may have changed."""
    if test in reach.trusted:
        return True
    if not workspace.run([test], START).passed:
        del reach.seconds[test]
        return False
    reach.trusted.add(test)
    return True


def equivalent() -> set[Texts]:
    """The mutants that no test can catch."""
    with (Path(__file__).parent / "equivalent.toml").open("rb") as file:
        return {(e["file"], e["before"], e["after"]) for e in tomllib.load(file).get("mutant", [])}


class History:
    """The test that caught a mutant the last time: it is run first, which is quick if it does so again. And how many
    each has caught (`catches`)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.caught_by: dict[str, str] = json.loads(path.read_text("utf-8")) if path.exists() else {}
        self.catches = Counter(self.caught_by.values())

    def get(self, texts: Texts) -> str | None:
        return self.caught_by.get("\n".join(texts))

    def put(self, texts: Texts, test: str) -> None:
        self.caught_by["\n".join(texts)] = test
        self.catches[test] += 1
        self.path.write_text(json.dumps(self.caught_by, indent=0), encoding="utf-8")


if __name__ == "__main__":
    main()
