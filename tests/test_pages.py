"""What a reader is told to type works: every command of a page is one, and a tutorial shows what comes of it.

The longer tutorials are typed by `python benchmarks/pages.py`; they take a minute.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest
from support.pages import blocks, check_shown, commands, run_page
from support.paths import ROOT

from minisim.cli import main

TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.md"))

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *TUTORIALS, ROOT / "examples" / "README.md"]

SHELLS = ("console", "sh", "bash", "")


def commands_of(page: Path) -> list[list[str]]:
    """Every minisim command in the blocks of a page, as words; where it says a | b, the first."""
    found = []
    for block in (block for block in blocks(page) if block.language in SHELLS):
        text = block.text.replace("\\\n", " ")
        for line in text.splitlines():
            line = line.removeprefix("$ ").partition(" | ")[0].partition(" > ")[0].strip()
            if line.startswith("minisim ") and (block.language != "console" or f"$ {line}" in text):
                found.append(shlex.split(line, comments=True))
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_of_a_page_is_one(page: Path) -> None:
    for words in commands_of(page):
        command: click.Command = main
        arguments = words[1:]
        while isinstance(command, click.Group):
            assert arguments and arguments[0] in command.commands, words
            command, arguments = command.commands[arguments[0]], arguments[1:]
        command.make_context(command.name, list(arguments), resilient_parsing=False)


def test_pages_have_commands() -> None:
    assert len(commands_of(ROOT / "README.md")) > 20 and all(len(commands_of(page)) >= 2 for page in TUTORIALS)


@pytest.mark.parametrize("name", ["first-run.md"])
def test_a_tutorial_shows_what_comes_of_it(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_page(ROOT / "docs" / "tutorials" / name) > 5


def test_a_page_that_shows_something_else_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    page = tmp_path / "page.md"
    for text in ("```console\n$ minisim config show\nname = \"other\"\n```\n", "```console\n$ minisim rum\n```\n",
                 "```console\n$ minisim config show\n[sram]\n...\n[dma]\n...\n[sram]\n```\n",
                 "```pycon\n>>> 1 + 1\n3\n```\n", "```console\n$ rm -r out\n```\n"):  # fmt: skip
        page.write_text(text)
        with pytest.raises(AssertionError):
            run_page(page)
    check_shown(["a  1", "...", "c"], "x\na 1\nb\nc\n", "here")


def test_commands_continue_on_the_next_line(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```console\n$ minisim a \\\n  b  # why\nshown\n$ minisim c\n```\n")
    (block,) = blocks(page)
    assert list(commands(block)) == [(["minisim", "a", "b"], ["shown"]), (["minisim", "c"], [])]


def test_the_site_has_every_page() -> None:
    index = (ROOT / "docs" / "index.md").read_text("utf-8")
    listed = {line for block in re.findall(r"```{toctree}\n(.*?)```", index, re.S) for line in block.splitlines()}
    pages = [path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md") if path.parent.name != "adr"]
    assert {str(page.with_suffix("")) for page in pages} - {"index"} <= listed
