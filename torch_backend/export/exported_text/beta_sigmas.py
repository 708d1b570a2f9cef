"""Sigmas that lie as the quantiles of a beta distribution: diffusers' use_beta_sigmas, without scipy.

Knows that distribution; knows no process. Exported schedulers carry this text.
"""

import numpy as np

BETA_SHAPE = 0.6
"""Both parameters of the distribution, as diffusers has them (arXiv 2407.12173)."""

_TERMS = np.arange(56)  # at x = 1/2 the terms fall by more than half each: 2^-56 is below rounding
_SERIES = np.cumprod(np.append(1.0, (_TERMS[1:] - BETA_SHAPE) / _TERMS[1:])) / (BETA_SHAPE + _TERMS)
"""B_x(a, a) = x^a sum_k (1 - a)_k x^k / (k! (a + k)), the incomplete beta function for x in [0, 1/2]."""


def _below(x: np.ndarray) -> np.ndarray:
    """The distribution function at x in [0, 1/2]."""
    incomplete = x**BETA_SHAPE * np.polyval(_SERIES[::-1], x)
    half = 0.5**BETA_SHAPE * np.polyval(_SERIES[::-1], 0.5)
    return np.asarray(incomplete / (2 * half))


def beta_sigmas(count: int, first: float, last: float) -> list[float]:
    """``count`` sigmas from ``first`` down to ``last``: the quantiles of equal steps from 1 to 0, scaled between them.

    Bisection on the distribution function, to rounding; the upper half is the mirror image of the lower.
    """
    levels = 1 - np.linspace(0.0, 1.0, count)
    goal = np.minimum(levels, 1 - levels)
    low, high = np.zeros(count), np.full(count, 0.5)
    for _ in range(60):
        middle = (low + high) / 2
        under = _below(middle) < goal
        low, high = np.where(under, middle, low), np.where(under, high, middle)
    quantiles = np.where(levels <= 0.5, high, 1 - high)
    quantiles = np.where(goal == 0, np.round(levels), quantiles)  # the two ends, exactly
    return [float(last + share * (first - last)) for share in quantiles]
