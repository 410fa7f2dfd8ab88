"""Curves made ready to be looked at: smoothed, and thinned to what a screen can show."""

from __future__ import annotations

from collections.abc import Sequence

Points = Sequence[tuple[float, float]]


def smoothed(points: Points, weight: float) -> list[tuple[float, float]]:
    """The exponential moving average, without the pull of its beginning (Kingma and Ba 2015, section 3).

    Args:
        weight: of what came before, from 0, which changes nothing, to below 1.
    """
    mean, total, found = 0.0, 0.0, list[tuple[float, float]]()
    for step, value in points:
        mean = weight * mean + (1 - weight) * value
        total = weight * total + (1 - weight)
        found.append((step, mean / total))
    return found


def thinned(points: Points, most: int = 1000) -> list[tuple[float, float]]:
    """At most so many points; of each stretch the lowest and the highest, so that no peak is lost."""
    if len(points) <= most:
        return list(points)
    size = -(-2 * len(points) // most)
    found: list[tuple[float, float]] = []
    for first in range(0, len(points), size):
        stretch = points[first : first + size]
        ends = {min(stretch, key=lambda point: point[1]), max(stretch, key=lambda point: point[1])}
        found += sorted(ends)
    return found


def above_zero(points: Points) -> list[tuple[float, float]]:
    """What a logarithmic axis can show."""
    return [point for point in points if point[1] > 0]
