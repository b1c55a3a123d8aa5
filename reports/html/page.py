"""A page: a template, filled, with all styles and scripts inside. It asks for nothing else, and could not get it.

The page's policy (Content-Security-Policy) allows the one script whose hash it names, and no request at all: whatever
a model's names hold, nothing of it is ever run.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from minisim.reports.html import words

if TYPE_CHECKING:
    from jinja2 import Environment

ROOM = "minisim.reports.html"

STYLES = ("tokens.css", "page.css", "parts.css", "graph.css", "print.css")
SHARED = ("page.js", "tip.js", "table.js", "chart.js")
"""Parts of every page's script; those of its kind come behind them."""


@cache
def environment() -> Environment:
    """Templates in which every text is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined  # a run without a page does without it

    found = Environment(
        loader=PackageLoader(ROOM, "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters.update(si=words.scaled, whole=words.whole, percent=words.percent, times=words.times)
    return found


def page(template: str, scripts: tuple[str, ...], data: dict[str, Any], **values: Any) -> str:
    """The page as HTML.

    Args:
        scripts: files of js/, in order, after those that all pages have.
        data: what the scripts read; JSON in the page, in which `<` is escaped.
        values: what the template shows.
    """
    script = '(() => {\n"use strict";\n' + "\n".join(_asset("js", name) for name in (*SHARED, *scripts)) + "})();\n"
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        environment()
        .get_template(template)
        .render(
            style="\n".join(_asset("css", name) for name in STYLES), script=script, digest=digest, data=data, **values
        )
    )


@cache
def _asset(folder: str, name: str) -> str:
    return (resources.files(ROOM) / folder / name).read_text("utf-8")
