"""Empirical order and leading error constant from errors at several step sizes, each with its uncertainty.

Knows step sizes and errors; does not know what scheme or problem they come from. On numpy alone.
"""

from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

# 97.5 % quantiles of Student's t for 1 to 10 degrees of freedom; beyond, 1.96 + 2.7 / dof is above by at most 0.01.
_STUDENT = (12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281)


class ConvergenceError(ValueError):
    """The errors show no asymptotic regime, so that no order can be read off."""


class OrderEstimate(NamedTuple):
    """An observed order, an interval for it, and the half-open range of points it was read from."""

    order: float
    low: float
    high: float
    window: tuple[int, int]


class ConstantEstimate(NamedTuple):
    """A leading error constant and its uncertainty, each of the shape of one error."""

    value: NDArray[np.float64]
    uncertainty: NDArray[np.float64]


def observed_order(
    h: ArrayLike,
    error: ArrayLike,
    *,
    tolerance: float = 0.15,
    floor: float = 1e-11,
) -> OrderEstimate:
    """The slope of log error against log h, by least squares over the window in which the slope is constant.

    - ``h``: n step sizes, strictly decreasing; ``error``: n magnitudes. NaN, infinity and zero are never in a window.
    - ``tolerance``: consecutive slopes within the window differ by no more.
    - ``floor``: the largest error that rounding can explain, in the error's units. The default suits float64 on a
      solution of size one (1e4 roundings); about 1e-4 suits float32.

    The window is the longest of at least three points (four or more narrow the interval) that holds up to the
    finest step, or after which every error is at or below the floor. Points at the floor that do not converge are
    rounding; a stall *above* the floor is a result, order zero, and a growing error has a negative order.

    Slopes may still be on their way to the order at the finest step above rounding. Where no window holds, the same is
    asked of pairs of consecutive slopes, each extrapolated to h = 0 as slopes approach the order in proportion to h:
    two of them at least have to agree, and the finest is the order.

    The interval covers the 95 % confidence interval of the fit, all consecutive slopes in the window, and twice the
    drift that is left after the last slope if slopes approach the order in proportion to h.

    Raises ValueError for unusable input, ConvergenceError (a ValueError) where there is no such window.

    >>> h = [2.0**-k for k in range(8)]
    >>> observed_order(h, [0.1 * x**2 + 0.01 * x**3 for x in h]).order
    2.0...
    """
    steps, errors = _columns(h, error)
    if errors.ndim != 1 or (errors < 0).any():
        raise ValueError("observed_order needs one error magnitude >= 0 per step size; pass norms, not signed errors")
    with np.errstate(divide="ignore", invalid="ignore"):
        x, y = np.log(steps), np.log(errors)
        slopes = np.diff(y) / np.diff(x)
    if window := _find_window(slopes, errors, tolerance, floor):
        return _fit_line(x[slice(*window)], y[slice(*window)], slopes[window[0] : window[1] - 1], window)
    ratio = np.sqrt(steps[2:] / steps[:-2])  # of the places, midpoints in log h, that two slopes belong to
    with np.errstate(invalid="ignore"):
        limits = (slopes[1:] - ratio * slopes[:-1]) / (1 - ratio)
    if window := _find_window(limits, errors, tolerance, floor):
        inside = limits[window[0] : window[1] - 2]
        half = float(np.ptp(inside))
        return OrderEstimate(float(inside[-1]), float(inside.min()) - half, float(inside.max()) + half, window)
    listed = ", ".join(f"{slope:.2f}" for slope in slopes)
    raise ConvergenceError(
        f"no asymptotic window: no three points up to the finest step (or the rounding floor {floor:g}) have "
        f"consecutive slopes within {tolerance:g}; the slopes are {listed}; take other or more step sizes"
    )


def _find_window(
    slopes: NDArray[np.float64], errors: NDArray[np.float64], tolerance: float, floor: float
) -> tuple[int, int] | None:
    """The longest half-open range of points, the finest of equally long ones, in which two or more slopes agree.

    ``slopes``: one for each point but the last, or but the last two, from it and the one or two points after it. After
    the range every error is at or below the floor.
    """
    reach, windows = len(errors) - len(slopes), []
    usable = np.isfinite(errors) & (errors > 0)
    for start, stop in combinations(range(len(errors) + 1), 2):
        inside = slopes[start : stop - reach]
        if stop - start < reach + 2 or not usable[start:stop].all() or np.ptp(inside) > tolerance:
            continue
        only_rounding_after = (errors[stop:] <= floor).all()  # false for NaN and infinity
        is_rounding = (errors[start:stop] <= floor).all() and inside.mean() < 0.5
        if only_rounding_after and not is_rounding:
            windows.append((stop - start, start, stop))
    return max(windows)[1:] if windows else None


def consecutive_slopes(h: ArrayLike, error: ArrayLike) -> list[float]:
    """The slopes of log error over log h between neighbours, NaN or infinite where an error is zero.

    >>> [round(slope, 9) for slope in consecutive_slopes([4.0, 2.0, 1.0], [16.0, 8.0, 0.0])]
    [1.0, inf]
    """
    steps, errors = _columns(h, error)
    with np.errstate(divide="ignore", invalid="ignore"):
        return [float(slope) for slope in np.diff(np.log(errors)) / np.diff(np.log(steps))]


def _fit_line(
    x: NDArray[np.float64], y: NDArray[np.float64], slopes: NDArray[np.float64], window: tuple[int, int]
) -> OrderEstimate:
    """The slope of the line through (x, y) = (log h, log error), and its interval; see ``observed_order``."""
    centred = x - x.mean()
    order = float(centred @ y / (centred @ centred))
    freedom = len(x) - 2
    residual = y - y.mean() - order * centred
    student = _STUDENT[freedom - 1] if freedom <= len(_STUDENT) else 1.96 + 2.7 / freedom
    half = student * np.sqrt(residual @ residual / freedom / (centred @ centred))
    ratio = np.exp(x[-1] - x[-2])
    # The middle one of the last three changes: one that noise made small by chance must not narrow the interval.
    drift = float(2 * np.median(abs(np.diff(slopes)[-3:])) * ratio / (1 - ratio))
    seen = (*slopes, slopes[-1] - drift, slopes[-1] + drift)
    return OrderEstimate(order, float(min(order - half, *seen)), float(max(order + half, *seen)), window)


def leading_constant(
    h: ArrayLike,
    error: ArrayLike,
    exponent: float,
    *,
    rounding: float = 2.0**-52,
) -> ConstantEstimate:
    """The limit of error / h^exponent as h -> 0, by Richardson extrapolation in integer powers of h.

    - ``h``: step sizes, strictly decreasing, not necessarily by a constant factor; at least three.
    - ``error``: signed errors ``(n, ...)``, one per step size; each entry along the other axes is treated alone.
    - ``rounding``: the absolute rounding error of each entry of ``error``; the default is that of float64 on numbers
      of size one.

    Neville's scheme gives a triangle of extrapolants. Each is charged its largest distance from the three it came
    from or follows, plus the rounding that its weights amplify; per entry the cheapest one is taken, and the charge
    is its uncertainty. Source: Richardson's deferred approach; Ridders (1982) for the choice of the level.

    Raises ValueError for unusable input.

    >>> h = [0.1, 0.05, 0.025, 0.0125]
    >>> round(float(leading_constant(h, [3 * x**2 - x**3 for x in h], 2).value), 9)
    3.0
    """
    steps, errors = _columns(h, error)
    if not np.isfinite(errors).all():
        raise ValueError("the errors hold NaN or infinity; leave those step sizes out")
    scale = (steps**exponent).reshape(-1, *[1] * (errors.ndim - 1))
    column, noise = errors / scale, rounding / steps**exponent
    values, charges = [], []
    # An entry of level l is made from two neighbours of the level before, so that the term in h^l drops out.
    for level in range(1, len(steps)):
        weight = 1 / (steps[:-level] / steps[level:] - 1)
        wide = weight.reshape(scale[level:].shape)
        finer, coarser = column[1:], column[:-1]
        column = finer + (finer - coarser) * wide
        noise = noise[1:] * (1 + weight) + noise[:-1] * weight
        charge = np.maximum(abs(column - finer), abs(column - coarser))
        charge[1:] = np.maximum(charge[1:], abs(np.diff(column, axis=0)))
        values.append(column)
        charges.append(charge + noise.reshape(wide.shape))
    value, uncertainty = np.concatenate(values), np.concatenate(charges)
    best = uncertainty.argmin(axis=0)[None]
    return ConstantEstimate(np.take_along_axis(value, best, 0)[0], np.take_along_axis(uncertainty, best, 0)[0])


def _columns(h: ArrayLike, error: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Step sizes (n,) and errors (n, ...) in float64. Raises ValueError where they do not fit, or h does not fall."""
    steps, errors = np.asarray(h, dtype=np.float64), np.asarray(error, dtype=np.float64)
    if steps.ndim != 1 or len(steps) < 3 or errors.shape[:1] != steps.shape:
        raise ValueError(
            f"h has shape {steps.shape} and error {errors.shape}; at least three step sizes are needed, "
            "and one error for each along the first axis"
        )
    if not np.isfinite(steps).all() or not (steps > 0).all() or not (np.diff(steps) < 0).all():
        raise ValueError("h must be positive, finite and strictly decreasing")
    return steps, errors
