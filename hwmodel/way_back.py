"""The way back along a timeline: from a point of an operation to the one that held it, and so on, in C++."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt

from minisim import _engine
from minisim.hwmodel.gates import ORIGINS, Point
from minisim.hwmodel.timeline import Timeline

Index = npt.NDArray[np.signedinteger[Any]]
"""Points are int8, operations int32."""


def way_back(timeline: Timeline, point: Point, op: int, stops: Collection[int] = ()) -> tuple[Index, Index]:
    """The points and the operations that held each other, from `point` of `op` on.

    The last one is where the path begins (its gate's origin is "zero"), or one that a gate of the codes in `stops`
    opened; or one whose gate or holder there is not, or by which the way would go on in a circle.
    """
    zero = ORIGINS.index("zero")
    origins = [zero + 1 if code in stops else ORIGINS.index(gate.origin) for code, gate in enumerate(timeline.gates)]
    points, ops = _engine.way_back(timeline.gate, timeline.holder, np.array(origins, dtype=np.uint8), int(point), op)
    return points.astype(np.int8), ops.astype(np.int32)
