"""Where a curve or a region of stability ends: first crossings by bracketing and root finding, and bounding boxes.

Knows functions of numbers, nothing of schemes. ``radius`` takes an array and returns spectral radii of its shape.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.optimize import brentq

__all__ = ["bounding_box", "first_above", "first_unstable"]

Radius = Callable[[np.ndarray], np.ndarray]

SCAN = np.geomspace(0.02, 1e3, 546)
"""Where a ray is looked at first, 2% apart: a gap of instability narrower than that is passed over."""

CHUNK = 64
"""Points of the scan at a time: a step of its own on two blocks, so none is spent far beyond the limit."""

RAYS, RINGS = 96, np.geomspace(0.02, 200, 140)
"""Directions and distances at which a region's box is looked for."""


def first_unstable(radius: Radius, direction: complex, tolerance: float, last: float = np.inf) -> float:
    """Return the least r > 0 at which radius(r * direction) exceeds 1: 0 if it does from 0.02 on, inf if nowhere.

    ``tolerance`` is what the radius is known to. Radii from ``last`` on are not looked at. The crossing is found to
    1e-14 by Brent's method. Growth can set in like a power of r from 0 on, as Euler's on the imaginary axis does: 1 +
    r^2/2. It is told from a crossing by the point 2% before the first that is noticed: there a crossing is still at
    most 1, and a power nearly as large.

    >>> first_unstable(lambda mu: np.abs(1 + mu), -1, 1e-12), first_unstable(lambda mu: np.abs(1 + mu), 1j, 1e-12)
    (2.0, 0.0)
    """

    def excess(r: float, allowed: float = 0.0) -> float:
        return float(radius(np.array([r * direction]))[0]) - 1 - allowed

    # A scan first, because a radius is not monotone: root finding alone would miss the first crossing.
    scan = SCAN[last > SCAN]
    for chunk in range(0, len(scan), CHUNK):
        beyond = np.flatnonzero(~(radius(scan[chunk : chunk + CHUNK] * direction) <= 1 + tolerance))
        if len(beyond):
            break
    else:
        return np.inf
    found = chunk + int(beyond[0])
    # No crossing but growth from 0 on: it is there at the point before as well.
    if found == 0 or excess(before := scan[found - 1]) > tolerance / 2:
        return 0.0
    # A radius that is 1 up to the crossing would have roots of its rounding before it.
    allowed = tolerance if excess(before) > -tolerance else 0.0
    return round(float(brentq(excess, before, scan[found], args=(allowed,), xtol=1e-14, rtol=1e-14)), 13)


def first_above(excess: Callable[[float], float], points: np.ndarray) -> float:
    """Return the first root after which ``excess`` is positive, bracketed by ``points``.

    0 if it is positive at the first point already, inf if it is at none.
    """
    last = 0.0
    for point in points:
        if not excess(float(point)) <= 0:
            return 0.0 if last == 0 else float(brentq(excess, last, float(point), xtol=1e-12, rtol=1e-10))
        last = float(point)
    return np.inf


def bounding_box(radius: Radius, last: float = np.inf, margin: float = 0.15) -> tuple[float, float, float, float]:
    """Return (left, right, bottom, top) of the set where the radius is at most 1, with a margin.

    The set is symmetric in the real axis and looked for on rings about the origin. Rings end at 200, or at ``last``,
    which bounds what is drawn of an unbounded region. Where no stable point is found the box is that of the unit circle
    about -1.
    """
    points = RINGS[last > RINGS][:, None] * np.exp(1j * np.pi * np.arange(RAYS + 1) / RAYS)
    # The upper half plane is enough: a real scheme has conjugate radii.
    stable = points[radius(points) <= 1 + 1e-9]
    if not stable.size:
        stable = np.array([-2.0, 1j])
    left, right, top = min(stable.real.min(), 0), max(stable.real.max(), 0), stable.imag.max()
    pad = margin * max(right - left, 2 * top)
    return float(left - pad), float(right + pad), float(-top - pad), float(top + pad)
