"""Orders of axes, and what a reshape means to them."""

from __future__ import annotations

from typing import NamedTuple

from minisim.compiler.graph import Shape

Perm = tuple[int, ...]


def keeps_order(shape: Shape, order: Perm) -> bool:
    """Whether a transposition leaves all elements where they are: the axes longer than 1 stay in their order."""
    long = [axis for axis in order if shape[axis] > 1]
    return long == sorted(long)


def order_between(shape: Shape, wanted: Shape) -> Perm | None:
    """The order of axes in which a tensor of `shape` has the shape `wanted`, if a reshape to that moves but axes of one
    element; else None."""
    long = [axis for axis, size in enumerate(shape) if size > 1]
    if len(shape) != len(wanted) or [shape[axis] for axis in long] != [size for size in wanted if size > 1]:
        return None
    ones, others = iter([axis for axis, size in enumerate(shape) if size == 1]), iter(long)
    return tuple(next(others) if size > 1 else next(ones) for size in wanted)


def order_for(perm: Perm, own: Perm) -> Perm:
    """The order of the source's axes in which axis i of a tensor is axis perm[i], if it is axis own[i] of the source;
    before those of the source there are as many of one element as `perm` has more."""
    lead = len(perm) - len(own)
    order = dict(zip(perm, (*range(lead), *(axis + lead for axis in own)), strict=True))
    return tuple(order[axis] for axis in range(len(perm)))


class Group(NamedTuple):
    """Neighbouring axes that a reshape makes other neighbouring axes of."""

    before: tuple[int, ...]
    behind: tuple[int, ...]


def groups_of(shape: Shape, wanted: Shape) -> list[Group]:
    """The parts of a reshape from `shape` to `wanted`, as many as there are; each has axes on both sides."""
    found: list[Group] = []
    i = j = 0
    while i < len(shape) or j < len(wanted):
        i0, j0 = i, j
        here = there = 1
        if i < len(shape):
            here, i = shape[i], i + 1
        if j < len(wanted):
            there, j = wanted[j], j + 1
        while here != there:
            if here < there:
                here, i = here * shape[i], i + 1
            else:
                there, j = there * wanted[j], j + 1
        group = Group(tuple(range(i0, i)), tuple(range(j0, j)))
        if found and not (group.before and group.behind):
            last = found.pop()
            group = Group(last.before + group.before, last.behind + group.behind)
        found.append(group)
    return found


class Reshaping(NamedTuple):
    """A reshape of a turned tensor, as one of what that is turned from.

    Attributes:
        groups: its parts, in the order in which they lie in that.
        arrangement: the order into which the axes of that are brought first: those of a part side by side.
        shape: which is then reshaped to this.
        perm: axis i of the result is axis perm[i] of that.
    """

    groups: tuple[Group, ...]
    arrangement: Perm
    shape: Shape
    perm: Perm


def reshaping(shape: Shape, perm: Perm, wanted: Shape) -> Reshaping | None:
    """How a tensor of `shape`, axis i of which is axis perm[i] of another one, is reshaped to `wanted`.

    None of a scalar, and where a part has no axes of its own.
    """
    parts = groups_of(shape, wanted)
    if not all(part.before and part.behind for part in parts):
        return None

    def place(part: Group) -> int:
        long = [perm[i] for i in part.before if shape[i] > 1]
        return min(long or [perm[i] for i in part.before])

    parts = sorted(parts, key=place)
    behind = [j for part in parts for j in part.behind]
    return Reshaping(
        tuple(parts),
        tuple(perm[i] for part in parts for i in part.before),
        tuple(wanted[j] for j in behind),
        tuple(behind.index(j) for j in range(len(wanted))),
    )
