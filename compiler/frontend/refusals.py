"""What of a model is refused, for one message: equal reasons of nodes of one type are counted, not repeated."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from minisim.errors import printable, shortened, shown


@dataclass
class Refusals:
    """Reasons in the order in which they were found; of nodes by their type and what is said of them."""

    _nodes_by_reason: dict[tuple[str, str, str], list[str]] = field(default_factory=dict)
    """The names of nodes, as they are shown."""

    def __bool__(self) -> bool:
        return bool(self._nodes_by_reason)

    def add(self, reason: str) -> None:
        """Note what is refused of the model itself: an input, an output."""
        self._nodes_by_reason.setdefault((reason, "", ""), [])

    def add_node(self, op_type: str, name: str, reason: str = "", place: str = "") -> None:
        """Note that a node is refused; without a reason it is its type that is not supported. `place` is the line of
        its author's source, if that is known."""
        key = ("", op_type, reason)
        if reason.startswith("node "):  # it names its node itself: nothing that two could share
            key = (reason, "", "")
        self._nodes_by_reason.setdefault(key, []).append(shown(name) + f" at {printable(place)}" * bool(place))

    def of_operators(self) -> bool:
        """Whether a type of nodes is not supported at all: then it helps to see which are."""
        return any(op_type and not reason for _, op_type, reason in self._nodes_by_reason)

    def lines(self) -> Iterator[str]:
        """A line for each reason."""
        for (text, op_type, reason), names in self._nodes_by_reason.items():
            colon = f": {reason}" * bool(reason)
            kind = shortened(printable(op_type))
            if text:
                yield text
            elif len(names) == 1:
                yield f"node {names[0]} ({kind}){colon}"
            else:
                yield f"{kind} ({len(names)} nodes, first: {names[0]}){colon}"
