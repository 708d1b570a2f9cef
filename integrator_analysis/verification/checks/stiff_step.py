"""The spectral radius of a step on a score too steep for it."""

from __future__ import annotations

import numpy as np

RADIUS_TOLERANCE = 1e-6
"""Relative: an eigenvalue of a map that is nearly defective, as at critical damping, moves by the root of rounding."""

STIFF = (0.5, 0.1, -20.0)
"""Start and size of a step, in fractions of t_max, and the slope of a linear score at which its radius is measured:
data of width 0.2, whose score no step of that size follows."""


def spectral_radius(matrix: np.ndarray) -> float:
    """The spectral radius: the limit of the n-th root of the norm of the n-th power, n = 2**40."""
    log, square = 0.0, matrix
    for k in range(40):
        size = float(np.abs(square).max())
        if not 0.0 < size < np.inf:
            return 0.0 if size == 0.0 else np.inf
        log += np.log(size) / 2.0**k
        square = (square / size) @ (square / size)
    return float(np.exp(log))
