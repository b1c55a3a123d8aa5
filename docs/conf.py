"""How the site is built of these pages: `make docs`, without a network."""

from __future__ import annotations

import re
from importlib.metadata import version as version_of
from typing import Any

project, author = "minisim", "the minisim team"
release = version_of("minisim-npu")
copyright = f"2026, {author}"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["generate_config.py"]
html_theme = "furo"
html_title = f"minisim {release}"

myst_enable_extensions = ["attrs_inline"]
myst_heading_anchors = 4
highlight_language = "none"
suppress_warnings = ["misc.highlighting_failure"]

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # they stand in the signature
autodoc_preserve_defaults = True
napoleon_google_docstring = True

OUTSIDE = re.compile(r"\[([^\]]+)\]\((?:\.\./)+([^)#]+)[^)]*\)")
"""A link to a file beside docs/, which a site has not: it is named instead."""

FOLDERS = re.compile(r"\[([^\]]+)\]\(([\w/]*adr/?)\)")


def without_links_outside(app: Any, name: str, source: list[str]) -> None:
    """Name files that are no pages, instead of linking them."""
    text = OUTSIDE.sub(lambda link: link[1] if link[1].startswith("`") else f"{link[1]} (`{link[2]}`)", source[0])
    source[0] = FOLDERS.sub(r"[\1](decisions.md)", text)


def as_markdown_is_read(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Docstrings have `names` in single backquotes, and blocks that are indented: neither is a role or a quotation."""
    for i, line in enumerate(lines):
        lines[i] = re.sub(r"(?<!`)`([^`]+)`(?!`)", r"``\1``", line).replace("|", r"\|")


def setup(app: Any) -> None:
    app.connect("source-read", without_links_outside)
    app.connect("autodoc-process-docstring", as_markdown_is_read, priority=400)
