"""Grids: the times of a walk by name, from t_max down to t_min.

Knows times, and the log-SNR as a function of them; knows no scheme. Exported files carry this text.
"""

import math
from collections.abc import Callable
from numbers import Integral

from torch_backend.walk.validation import check_times, unknown_name_message

Grid = Callable[[int, float, float], list[float]]
"""grid(steps, t_max, t_min): the ``steps + 1`` times."""


def power_grid(exponent: float) -> Grid:
    """The grid whose times are equidistant in t^(1 / exponent); a larger exponent puts more steps near the data."""

    def grid(steps: int, t_max: float, t_min: float) -> list[float]:
        first, last = t_max ** (1 / exponent), t_min ** (1 / exponent)
        return [(first + (last - first) * i / steps) ** exponent for i in range(steps + 1)]

    return grid


def cosine_grid(steps: int, t_max: float, t_min: float) -> list[float]:
    """A quarter of a cosine: dense near the data, like the quadratic grid there, and nearly uniform far from them."""
    return [t_min + (t_max - t_min) * (1 - math.sin(math.pi * i / (2 * steps))) for i in range(steps + 1)]


class MeasuredGrid:
    """A grid whose times are equidistant in a function of the log-SNR lambda(t) of the process."""

    def __init__(self, place: Callable[[float], float]) -> None:
        self.place = place

    def __call__(self, steps: int, t_max: float, t_min: float, log_snr: Callable[[float], float]) -> list[float]:
        """``steps + 1`` times, found by bisection: lambda falls as t grows.

        Where lambda is infinite at t_max, as on rectified flow, it is measured from 0.999 t_max and the first time is
        t_max all the same. Raises ValueError where it is infinite there too.
        """
        top = t_max if _is_finite(log_snr, t_max) else START * t_max
        first, last = self.place(log_snr(top)), self.place(log_snr(t_min))
        if not math.isfinite(first) or not math.isfinite(last):
            raise ValueError(f"the log-SNR is not finite near t_max = {t_max!r}; give times that start below it")
        times = [top]
        for i in range(1, steps):
            goal, high, low = first + (last - first) * i / steps, times[-1], t_min
            while low < (middle := (high + low) / 2) < high:
                beyond = (self.place(log_snr(middle)) - goal) * (last - first) > 0
                low, high = (middle, high) if beyond else (low, middle)
            times.append(middle)
        return [t_max, *times[1:], t_min]


def _is_finite(function: Callable[[float], float], t: float) -> bool:
    """Whether a function has a finite value at t."""
    try:
        return math.isfinite(function(t))
    except (ArithmeticError, ValueError):  # a division by zero, the logarithm of zero
        return False


START = 0.999
"""Where walks begin, as a share of t_max, that cannot begin at t_max: rectified flow at 1 holds nothing of the data, so
that its log-SNR is infinite and many schemes have no step from there. It is the second of the 1000 sigmas that networks
are trained on; what the prior lacks there is 0.001 of the data."""


GRIDS: dict[str, Grid | MeasuredGrid] = {
    "uniform": power_grid(1),
    "quadratic": power_grid(2),
    "karras": power_grid(7),  # the grid of Karras et al. (2206.00364, eq. 5) on processes where sigma(t) = t
    "cosine": cosine_grid,
    "log-SNR": MeasuredGrid(lambda x: x),
    "EDM": MeasuredGrid(lambda x: math.exp(-x / 7)),  # the same equation in rho = sigma/alpha, on every process
}
"""Time grids by name. Extensible: ``GRIDS["mine"] = f`` with ``f(steps, t_max, t_min)`` giving ``steps + 1`` times, or
``MeasuredGrid(f)`` for times that are equidistant in ``f(log_snr)``."""


def time_grid(
    name: str, steps: int, t_max: float, t_min: float, log_snr: Callable[[float], float] | None = None
) -> list[float]:
    """The ``steps + 1`` forward diffusion times of a named grid, from exactly ``t_max`` down to exactly ``t_min``.

    ``log_snr(t)`` is asked for by grids that are measured in it. Raises ValueError for a name that is not in
    ``GRIDS``, a number of steps that is not a positive integer, and for a grid that breaks what ``check_times`` asks.

    >>> time_grid("uniform", 4, 1.0, 0.5)
    [1.0, 0.875, 0.75, 0.625, 0.5]
    """
    if name not in GRIDS:
        raise ValueError(unknown_name_message("grid", name, GRIDS))
    if not is_count(steps):
        raise ValueError(f"steps = {steps!r} is not a number of steps; a positive integer is needed")
    grid = GRIDS[name]
    if isinstance(grid, MeasuredGrid):
        if log_snr is None:
            raise ValueError(f"grid {name!r} is measured in the log-SNR; pass the process's log_snr(t)")
        times = grid(steps, t_max, t_min, log_snr)
    else:
        times = list(grid(steps, t_max, t_min))
    if len(times) != steps + 1:
        raise ValueError(f"grid {name!r} gave {len(times)} times for {steps} steps; it must give {steps + 1}")
    return check_times([t_max, *times[1:-1], t_min])


def is_count(value: object) -> bool:
    """Whether a value is a positive integer of any kind, numpy's included; True and False are none."""
    if isinstance(value, bool):
        return False
    return isinstance(value, Integral) and int(value) > 0
