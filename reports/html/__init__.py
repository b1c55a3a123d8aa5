"""Pages of a run, a sweep and a decoding: one HTML file each, which asks nobody for anything.

    write_pages("out")      report.html beside summary.csv, sweep.html beside sweep.csv, decode.html beside decode.csv

A page is made from the files that stand in the folder, and from nothing else.
"""

from __future__ import annotations

from pathlib import Path

from jinja2 import TemplateError

from minisim.errors import MinisimError, UsageError, described
from minisim.reports.html.decode_page import decode_page, read_decode
from minisim.reports.html.folder import read_run
from minisim.reports.html.run_page import run_page
from minisim.reports.html.sweep_folder import read_sweep
from minisim.reports.html.sweep_page import sweep_page
from minisim.reports.write import atomic_bytes

RUN_PAGE, SWEEP_PAGE, DECODE_PAGE = "report.html", "sweep.html", "decode.html"


def page_of_run(folder: Path) -> str:
    """The page of the run whose files stand in `folder`."""
    return run_page(read_run(folder))


def page_of_sweep(folder: Path) -> str:
    """The page of the sweep whose points stand in `folder`."""
    return sweep_page(read_sweep(folder))


def page_of_decoding(folder: Path) -> str:
    """The page of the decoding whose programs stand in `folder`."""
    return decode_page(read_decode(folder))


PAGES = {
    "summary.csv": (RUN_PAGE, page_of_run),
    "sweep.csv": (SWEEP_PAGE, page_of_sweep),
    "decode.csv": (DECODE_PAGE, page_of_decoding),
}
"""Of each file that says that a set is complete: the page's name, and what makes it."""


UNFIT = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, TemplateError)
"""What comes of reading files that do not say what was written into them."""


def write_pages(folder: str | Path, own: bool = False) -> list[Path]:
    """Write the page of each result that stands in `folder`; returns their paths.

    Args:
        own: whether the files were just written: what does not fit is a bug, then.

    Raises:
        UsageError: there is none, or a file of it cannot be read, or is not as it was written.
        OutputError: the folder cannot be written.
    """
    folder = Path(folder)
    found = [(name, make) for last, (name, make) in PAGES.items() if (folder / last).is_file()]
    if not found:
        raise UsageError(
            f"{folder}: must be a folder with {', '.join(PAGES)}, as minisim run, --decode and sweep write"
        )
    pages: list[tuple[Path, str]] = []
    for name, make in found:
        try:
            pages.append((folder / name, make(folder)))
        except MinisimError:
            raise
        except UNFIT as e:
            if own:
                raise
            unfit = f"{folder}: its files are not as minisim wrote them, so there is no {name}"
            raise UsageError(f"{unfit} ({described(e)}); run it again") from None
    for path, page in pages:
        atomic_bytes(path, page.encode("utf-8"))
    return [folder / name for name, _ in found]
