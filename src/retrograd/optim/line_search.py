"""A line search for the strong Wolfe conditions: Nocedal and Wright, Numerical Optimization (2nd edition), algorithms
3.5 and 3.6, with the cubic interpolation of their equation 3.59."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from ..kernels.spec import Array

SUFFICIENT_DECREASE = 1e-4
CURVATURE = 0.9
"""c1 and c2 of the conditions, as Nocedal and Wright have them for quasi-Newton directions."""


class Point(NamedTuple):
    """A step t along the line, the loss there, its gradient, and its derivative by t."""

    t: float
    loss: float
    gradient: Array
    slope: float


class StrongWolfe:
    """The search for a step whose loss is lower in proportion to its length, and whose slope is flatter.

    Args:
        evaluate: the point at a step t.
        start: the point at t = 0, where the slope is negative.
        evaluations: how many points may be evaluated.
        shortest: an interval of steps shorter than this is not divided further.
    """

    def __init__(
        self, evaluate: Callable[[float], Point], start: Point, evaluations: int = 25, shortest: float = 0.0
    ) -> None:
        self._evaluate = evaluate
        self._start = start
        self._left = evaluations
        self._shortest = shortest

    def search(self, t: float) -> Point:
        """The point that was found, t being tried first; where none holds, the lowest that decreases enough."""
        before, now = self._start, self._at(t)
        while self._left > 0:
            if self._too_high(now, before):
                return self._zoom(before, now)
            if self._flat(now):
                return now
            if now.slope >= 0:
                return self._zoom(now, before)
            farthest = 10 * now.t
            step = _cubic_minimum(before, now)
            step = farthest if math.isnan(step) else step
            step = min(max(step, now.t + 0.01 * (now.t - before.t)), farthest)
            before, now = now, self._at(step)
        return before if self._too_high(now, before) else now

    def _zoom(self, low: Point, high: Point) -> Point:
        """Between the two is a step that holds; low is the better, and its slope points to high."""
        while self._left > 0 and abs(high.t - low.t) > self._shortest:
            now = self._at(_between(low, high))
            if self._too_high(now, low):
                high = now
                continue
            if self._flat(now):
                return now
            if now.slope * (high.t - low.t) >= 0:
                high = low
            low = now
        return low

    def _at(self, t: float) -> Point:
        self._left -= 1
        return self._evaluate(t)

    def _too_high(self, point: Point, lower: Point) -> bool:
        """Whether the loss decreases too little, or is not below that of the lower point, or is no number."""
        enough = point.loss <= self._start.loss + SUFFICIENT_DECREASE * point.t * self._start.slope
        return not (enough and (lower is self._start or point.loss < lower.loss) and math.isfinite(point.slope))

    def _flat(self, point: Point) -> bool:
        return abs(point.slope) <= -CURVATURE * self._start.slope


def _between(low: Point, high: Point) -> float:
    """A step inside the interval, where a cubic through both ends is lowest, but not near an end: the middle then."""
    t = _cubic_minimum(low, high)
    margin = 0.1 * abs(high.t - low.t)
    inside = min(low.t, high.t) + margin <= t <= max(low.t, high.t) - margin
    return t if inside else (low.t + high.t) / 2


def _cubic_minimum(a: Point, b: Point) -> float:
    """Where the cubic with the losses and slopes of both has its minimum; NaN where it has none."""
    d1 = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.t - b.t)
    square = d1 * d1 - a.slope * b.slope
    if not square >= 0:
        return math.nan
    d2 = math.copysign(math.sqrt(square), b.t - a.t)
    divisor = b.slope - a.slope + 2 * d2
    return b.t - (b.t - a.t) * (b.slope + d2 - d1) / divisor if divisor else math.nan
