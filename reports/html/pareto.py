"""The points that no other one beats in both of two costs, and the knee among them."""

from __future__ import annotations

import math
from collections.abc import Sequence


def front(costs: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the points that no other one undercuts in one cost without exceeding it in the other; the first cost
    ascends, the second descends. Points with a cost that is not defined are left out, and of equal ones all but one."""
    defined = [i for i, (a, b) in enumerate(costs) if math.isfinite(a) and math.isfinite(b)]
    found: list[int] = []
    for i in sorted(defined, key=lambda i: costs[i]):
        if not found or costs[i][1] < costs[found[-1]][1]:
            found.append(i)
    return found


def knee(costs: Sequence[tuple[float, float]]) -> int | None:
    """Of a front, the point farthest below the straight line from its first to its last point, both costs logarithmic:
    beyond it, more of the first cost buys less of the second. None if the front has fewer than three points, or none of
    them is below the line."""
    if len(costs) < 3 or min(min(pair) for pair in costs) <= 0:
        return None
    points = [(math.log(a), math.log(b)) for a, b in costs]
    (x0, y0), (x1, y1) = points[0], points[-1]
    if x0 == x1 or y0 == y1:
        return None
    below = [1 - (x - x0) / (x1 - x0) - (y - y1) / (y0 - y1) for x, y in points]
    best = max(range(len(points)), key=lambda i: below[i])
    return best if below[best] > 1e-9 else None
