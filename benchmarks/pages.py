"""Type what the tutorials and README tell a reader to type, and hold what comes of it against what they show.

    python benchmarks/pages.py [PAGE.md ...]

The tutorials are typed whole; of README every command that needs no file of the reader's and no hour.
tests/test_pages.py types the shortest of them in every run of the suite, and checks that all commands of all pages are
commands.
"""

from __future__ import annotations

import os
import shlex
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from click.testing import CliRunner  # noqa: E402
from support.pages import COLUMNS, blocks, run_page  # noqa: E402

from minisim.cli import main as minisim  # noqa: E402

FILES = {
    "model.py": "examples/mlp.py",
    "examples/mlp.py": "examples/mlp.py",
    "sweep.toml": "examples/sweep.toml",
    "mlp.py": "examples/mlp.py",
    "residual_block.py": "examples/residual_block.py",
}
"""What a reader's own files are here."""

TOO_LONG = ("llama:7b",)
"""Words of commands that take minutes."""

NOT_HERE = (".onnx", "torch", "dim ", "completion", "tcp://")
"""Words of commands that need a file, a package or a cluster that a clean clone has not."""


def readme() -> None:
    """Run README's block of commands, one after the other, in a folder with the files that they name."""
    text = next(block.text for block in blocks(ROOT / "README.md") if "minisim run resnet50" in block.text)
    for name, source in FILES.items():
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text((ROOT / source).read_text("utf-8"), encoding="utf-8")
    runner = CliRunner(env={"COLUMNS": COLUMNS})
    Path("hw.toml").write_text(runner.invoke(minisim, ["config", "show", "--commented"]).output, encoding="utf-8")
    for line in text.splitlines():
        words = shlex.split(line.partition(" | ")[0].partition(" > ")[0], comments=True)
        if any(word in line for word in (*TOO_LONG, *NOT_HERE)) or words[:1] != ["minisim"]:
            print(f"  not here: {line.partition('#')[0].strip()}")
            continue
        began = time.perf_counter()
        result = runner.invoke(minisim, words[1:])
        print(f"  {time.perf_counter() - began:5.1f} s  exit {result.exit_code}  {shlex.join(words)}", flush=True)
        if result.exit_code:
            sys.exit(result.output)


def main() -> None:
    pages = [Path(page).resolve() for page in sys.argv[1:]] or sorted((ROOT / "docs" / "tutorials").glob("*.md"))
    for page in pages:
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            began = time.perf_counter()
            count = run_page(page)
            print(f"{page.name}: {count} commands and examples, {time.perf_counter() - began:.1f} s", flush=True)
            os.chdir(ROOT)
    if not sys.argv[1:]:
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            print("README.md")
            readme()
            os.chdir(ROOT)


if __name__ == "__main__":
    main()
