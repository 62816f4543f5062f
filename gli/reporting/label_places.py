"""Places of labels beside points, so that they overlap neither each other nor the points."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

#: Distances of a label from the edge of its point, in pixels, and directions: first beside, above and below.
GAPS = (3.0, 10.0, 20.0, 32.0, 46.0, 62.0, 80.0, 100.0)
DEGREES = (0, 180, 90, 270, 45, 135, 225, 315, 20, 160, 200, 340, 70, 110, 250, 290)
#: Times that all labels are placed again, now that the others have places.
SWEEPS = 4


@dataclass(frozen=True)
class Box:
    """A rectangle, in pixels."""

    left: float
    bottom: float
    right: float
    top: float

    def overlap(self, other: Box) -> float:
        """Return the area that two rectangles share."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.top, other.top) - max(self.bottom, other.bottom)
        return max(0.0, width) * max(0.0, height)

    @property
    def area(self) -> float:
        """The area."""
        return (self.right - self.left) * (self.top - self.bottom)

    @property
    def middle(self) -> tuple[float, float]:
        """The middle."""
        return (self.left + self.right) / 2, (self.bottom + self.top) / 2

    def nearest(self, x: float, y: float) -> tuple[float, float]:
        """Return the place in the rectangle that is nearest to a point."""
        return min(max(x, self.left), self.right), min(max(y, self.bottom), self.top)

    def distance(self, x: float, y: float) -> float:
        """Return the distance of a point, 0 inside."""
        return math.dist((x, y), self.nearest(x, y))


def nearest(box: Box, points: Sequence[tuple[float, float]], radii: Sequence[float]) -> int:
    """Return the number of the point whose edge is nearest to a label: the one that readers take it for."""
    return min(range(len(points)), key=lambda number: box.distance(*points[number]) - radii[number])


def _beside(x: float, y: float, radius: float, size: tuple[float, float], angle: float, gap: float) -> Box:
    """Return the box of a label in a direction from a point, such that the gap between both is the given one."""
    across, up = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    middle_x = x + across * (radius + gap + size[0] / 2)
    middle_y = y + up * (radius + gap + size[1] / 2)
    return Box(middle_x - size[0] / 2, middle_y - size[1] / 2, middle_x + size[0] / 2, middle_y + size[1] / 2)


def place_labels(
    points: Sequence[tuple[float, float]],
    radii: Sequence[float],
    sizes: Sequence[tuple[float, float]],
    frame: Box,
    avoid: Sequence[Box] = (),
) -> list[Box]:
    """Return a box for the label of each point: inside the frame, free of points and of other labels, and near.

    Each label takes the best of a fixed set of places, given those of the others; a few sweeps settle most conflicts.

    Args:
        points: The points, in pixels.
        radii: Radius of each point.
        sizes: Width and height of each label.
        frame: Rectangle that the labels should lie in.
        avoid: Boxes that the labels should not cover if they need not, such as error bars.
    """
    obstacles = [
        Box(x - radius, y - radius, x + radius, y + radius) for (x, y), radius in zip(points, radii, strict=True)
    ]
    candidates = []
    for (x, y), radius, size in zip(points, radii, sizes, strict=True):
        boxes = [
            (_beside(x, y, radius, size, angle, gap), gap + rank / len(DEGREES))
            for gap in GAPS
            for rank, angle in enumerate(DEGREES)
        ]
        candidates.append([(box, far + _penalty(box, obstacles, avoid, frame)) for box, far in boxes])
    places = [min(own, key=lambda each: each[1])[0] for own in candidates]
    for _ in range(SWEEPS):
        before = list(places)
        for number, own in enumerate(candidates):
            taken = [box for other, box in enumerate(places) if other != number]
            costs = [cost + sum(box.overlap(other) for other in taken) for box, cost in own]
            places[number] = own[costs.index(min(costs))][0]
        if places == before:
            break
    return places


def _penalty(box: Box, obstacles: Sequence[Box], avoid: Sequence[Box], frame: Box) -> float:
    """Return how bad a place is without other labels, in pixels of distance from the point that it is worth."""
    outside = box.area - box.overlap(frame)
    return outside + sum(map(box.overlap, obstacles)) + 0.3 * sum(map(box.overlap, avoid))
