"""Grids: the times of a walk by name, from t_max down to t_min.

Knows times, and the log-SNR as a function of them; knows no scheme. Exported files carry this text.
"""

import math
from collections.abc import Callable
from numbers import Integral

import torch
from torch import Tensor

from torch_backend.walk.validation import check_times, unknown_name_message

Grid = Callable[[int, float, float], list[float]]
"""grid(steps, t_max, t_min): the ``steps + 1`` times."""

LogSNR = Callable[[Tensor], Tensor]
"""log_snr(t): half the logarithm of the signal-to-noise ratio at float64 times of any shape; it falls as time grows."""


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

    def __init__(self, place: Callable[[Tensor], Tensor]) -> None:
        self.place = place

    def __call__(self, steps: int, t_max: float, t_min: float, log_snr: LogSNR) -> list[float]:
        """``steps + 1`` times.

        Where lambda is infinite at t_max, as on rectified flow, it is measured from 0.999 t_max and the first time is
        t_max all the same. Raises ValueError where it is infinite there too.
        """

        def place(t: Tensor) -> Tensor:
            return self.place(log_snr(t))

        ends = torch.tensor([t_max, t_min], dtype=torch.float64)
        if not log_snr(ends[0]).isfinite():
            ends[0] *= START
        first, last = place(ends)
        if not (first.isfinite() and last.isfinite()):
            raise ValueError(f"the log-SNR is not finite near t_max = {t_max!r}; give times that start below it")
        goals = first + (last - first) * torch.arange(1, steps, dtype=torch.float64) / steps
        return [t_max, *times_at(place, goals, *ends.tolist()).tolist(), t_min]


def times_at(place: Callable[[Tensor], Tensor], goals: Tensor, t_max: float, t_min: float) -> Tensor:
    """The times between t_min and t_max at which ``place``, a monotone function of time, has the values ``goals``.

    To rounding, by Ridders' method (IEEE Transactions on Circuits and Systems 26 (1979), page 979), for all goals at
    once: a step of it costs two values, doubles the digits, and leaves at most half of the bracket between ``one`` and
    ``found``. A goal that is beyond the values at the ends gives a time that means nothing.
    """
    one, found = torch.full_like(goals, t_max), torch.full_like(goals, t_min)
    gap_one, gap_found = place(one) - goals, place(found) - goals
    while True:
        last, middle = found, (one + found) / 2
        gap = place(middle) - goals
        scale = (gap * gap - gap_one * gap_found).sqrt()
        shift = (middle - one) * torch.sign(gap_one - gap_found) * gap / scale
        new = torch.where(scale > 0, middle + shift, middle)
        gap_new = place(new) - goals
        # The root lies between ``new`` and that one of middle, one and found where the gap has the other sign.
        by_middle, by_one = gap * gap_new < 0, gap_one * gap_new < 0
        one, gap_one = (
            torch.where(by_middle, x, torch.where(by_one, y, z))
            for x, y, z in ((middle, one, found), (gap, gap_one, gap_found))
        )
        found, gap_found = new, gap_new
        if not (abs(found - last) > 1e-9 * found).any():
            return found


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
    "EDM": MeasuredGrid(lambda x: torch.exp(-x / 7)),  # the same equation in rho = sigma/alpha, on every process
}
"""Time grids by name. Extensible: ``GRIDS["mine"] = f`` with ``f(steps, t_max, t_min)`` giving ``steps + 1`` times, or
``MeasuredGrid(f)`` for times that are equidistant in ``f(log_snr)``."""


def time_grid(name: str, steps: int, t_max: float, t_min: float, log_snr: LogSNR | None = None) -> list[float]:
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
