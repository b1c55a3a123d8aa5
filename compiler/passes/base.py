"""What a pass is: a frozen dataclass with a name, its options as fields, and one `apply`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol


class IR(Protocol):
    """A level of the compiler: it prints itself, line by line, and checks itself."""

    def lines(self) -> Iterator[str]: ...

    def verify(self) -> None: ...


class Pass(Protocol):
    """One step from an IR to the next. It never changes its input."""

    @property
    def name(self) -> str: ...

    def apply(self, ir: Any) -> Any: ...
