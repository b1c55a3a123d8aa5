"""Golden files: outputs that are reviewed like code."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Golden:
    """The files of `folder`; `update` rewrites them instead of comparing."""

    folder: Path
    update: bool

    def check(self, name: str, text: str) -> None:
        """Fail unless `text` is the content of golden file `name`."""
        path = self.folder / name
        if self.update:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert path.exists(), f"{path} is missing: run pytest with --update-golden, and review what it writes"
        assert text == path.read_text("utf-8"), f"{path} differs: review, then run pytest with --update-golden"

    def check_folder(self, name: str, produced: Path) -> None:
        """Fail unless folder `name` holds the same files as `produced`, with the same text."""
        wanted = self.folder / name
        if self.update and wanted.exists():
            for path in wanted.iterdir():
                path.unlink()
        for path in sorted(produced.iterdir()):
            self.check(f"{name}/{path.name}", path.read_text("utf-8"))
        assert {p.name for p in wanted.iterdir()} == {p.name for p in produced.iterdir()}
