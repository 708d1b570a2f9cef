"""How a measured array is compared with a derived one, and the tolerances that several checks share."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

CONSTANT_TOLERANCES = (1e-4, 1e-4, 1e-4, 1e-3)
"""By order, relative to a block's largest constant over the points. Extrapolation reaches about 1e-8, 1e-6, 5e-5 and
2e-4: h**(order + 1) comes closer to the rounding of step and reference, 1e-15, before the next term is small."""

ORDER_TOLERANCE = 0.1
"""On the slope of log error over log h in the asymptotic window, in which slopes still drift by up to 0.05: enough to
tell integers apart. The constant is the sharp test."""

SLOPE_TOLERANCE = 0.05
"""How well consecutive slopes agree in that window."""


def relative_unit(derived: np.ndarray) -> float:
    """What a distance from ``derived`` is measured in: its largest entry, or one."""
    return max(1.0, float(np.abs(derived).max()))


def farthest_entries(
    cases: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray | float]],
) -> tuple[float, tuple[float, float]]:
    """The largest distance of derived and measured arrays, and the two entries that are as far apart.

    Each case says what its distances are measured in. A NaN counts as the worst.
    """
    worst, shown = 0.0, (0.0, 0.0)
    for derived, measured, unit in cases:
        apart = np.abs(derived - measured) / unit
        distance = float(apart.max())
        if not distance < worst:
            worst, at = np.inf if np.isnan(distance) else distance, np.unravel_index(np.argmax(apart), apart.shape)
            shown = (float(derived[at]), float(measured[at]))
    return worst, shown
