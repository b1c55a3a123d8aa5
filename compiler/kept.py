"""What was made once and may be needed again: as much of it as there is room for, the last used ones."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, Protocol, TypeVar


class Sized(Protocol):
    """What says how large it is."""

    def nbytes(self) -> int: ...


K = TypeVar("K", bound=Hashable)
V = TypeVar("V", bound=Sized)


class Kept(Generic[K, V]):
    """A store that several threads may use.

    Attributes:
        room: bytes of all.
        most: bytes of one; larger ones are not kept.
    """

    def __init__(self, room: int, most: int) -> None:
        self.room, self.most = room, most
        self._found: OrderedDict[K, V] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._found)

    def nbytes(self) -> int:
        """Bytes of what is kept."""
        return self._bytes

    def get(self, key: K) -> V | None:
        with self._lock:
            if key in self._found:
                self._found.move_to_end(key)
            return self._found.get(key)

    def put(self, key: K, made: V) -> None:
        if made.nbytes() > self.most:
            return
        with self._lock:
            self._bytes += made.nbytes() - (self._found[key].nbytes() if key in self._found else 0)
            self._found[key] = made
            while self._bytes > self.room:
                self._bytes -= self._found.popitem(last=False)[1].nbytes()

    def clear(self) -> None:
        with self._lock:
            self._found.clear()
            self._bytes = 0
