"""The command from its first moment on: Ctrl-C while the package is imported ends it with a line, as it does later.

It stands beside the package, since whatever is in a package is imported behind the package itself.
"""

from __future__ import annotations

import sys


def main() -> None:
    """``minisim``, as the shell calls it."""
    try:
        from minisim.cli import main as command

        command()
    except KeyboardInterrupt:
        sys.stderr.write("minisim: interrupted\n")
        sys.exit(130)
