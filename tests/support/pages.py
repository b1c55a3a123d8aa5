"""What a page tells a reader to type is typed, and what it shows below must be what comes of it.

```console     $ a command, and below it lines of what it prints, in their order; ... stands for any others
```python      a part of a program: the blocks of a page are one
```pycon       the same at a prompt, as doctest has it; ... stands for anything
"""

from __future__ import annotations

import doctest
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from minisim.cli import main

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)

COLUMNS = "100"
"""Of the terminal that pages are written for."""


@dataclass(frozen=True)
class Block:
    """A block of a page: its language, its text, and the line of the page on which that begins."""

    language: str
    text: str
    line: int


def blocks(page: Path) -> Iterator[Block]:
    """The blocks of a page, in their order."""
    text = page.read_text("utf-8")
    for found in FENCE.finditer(text):
        yield Block(found[1], found[2], text[: found.start(2)].count("\n") + 1)


def commands(block: Block) -> Iterator[tuple[list[str], list[str]]]:
    """The commands of a console's block, as words, each with the lines that the page shows below it."""
    for part in re.split(r"^\$ ", block.text, flags=re.M)[1:]:
        first, *shown = part.replace("\\\n", " ").splitlines()
        yield shlex.split(first, comments=True), [line for line in shown if line.strip()]


def plain(line: str) -> str:
    """Without bars and what depends on their width, and without seconds of real time."""
    line = re.sub(r"[█m]{2,}.*", "", line)
    return re.sub(r"\d+\.\d+ s to", "# s to", " ".join(line.split()))


def run_page(page: Path) -> int:
    """Type what the page says, in the current folder; returns how many commands and examples that were."""
    runner, names, count = CliRunner(env={"COLUMNS": COLUMNS}), {"__name__": page.stem}, 0
    for block in blocks(page):
        where = f"{page.name}:{block.line}"
        if block.language == "console":
            for words, shown in commands(block):
                assert words[0] == "minisim", f"{where}: {words[0]} is no command of a page"
                result = runner.invoke(main, words[1:])
                assert result.exit_code == 0, f"{where}: {shlex.join(words)}: {result.output}"
                check_shown(shown, result.output, f"{where}: {shlex.join(words)}")
                count += 1
        elif block.language == "python":
            exec(compile(block.text, where, "exec"), names)  # the page's own program
        elif block.language == "pycon":
            count += run_prompt(block, names, where)
    return count


def check_shown(shown: list[str], output: str, where: str) -> None:
    """Every line that is shown is there, in this order."""
    lines = iter(plain(line) for line in output.splitlines())
    for line in shown:
        if line.strip() != "...":
            assert any(plain(line) in other for other in lines), f"{where}: does not print {line!r} there:\n{output}"


def run_prompt(block: Block, names: dict[str, Any], where: str) -> int:
    """The examples of a prompt, by doctest."""
    test = doctest.DocTestParser().get_doctest(block.text, names, where, where, block.line)
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    told: list[str] = []
    results = doctest.DocTestRunner(optionflags=flags, verbose=False).run(test, out=told.append, clear_globs=False)
    assert not results.failed, "".join(told)
    names.update(test.globs)
    return results.attempted
