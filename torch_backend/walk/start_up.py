"""The start of a walk: where its first evaluations lie, while a multistep scheme has no past yet.

Knows orders, named grids and the log-SNR; takes no step. Exported files carry this text.
"""

import math

import torch

from torch_backend.walk.grids import LogSNR, is_count, time_grid, times_at
from torch_backend.walk.validation import unknown_name_message

STARTS = ("plain", "halved", "graded")
"""Names of starts; each makes as many steps in all. "plain": the times are those of the grid. "halved": the first
interval of a grid with one step less is divided in the middle. "graded": that of a coarser grid is divided so that a
multistep scheme keeps its order, see ``graded_shares``."""

START_BY_DEFAULT: dict[str, tuple[str, str]] = {
    "flow/DEIS-tAB2": ("cosine", "halved"),
    "flow/DEIS-tAB3": ("cosine", "halved"),
    "flow/DPM-Solver-3": ("cosine", "halved"),
    "flow/EDM-Heun": ("cosine", "halved"),
    "flow/UniPC-eps-2": ("cosine", "halved"),
    "flow/lambda-DDIM-I": ("uniform", "halved"),
    "flow/lambda-DDIM-II": ("uniform", "halved"),
    "vp_cosine/DEIS-tAB2": ("cosine", "halved"),
    "vp_cosine/DEIS-tAB3": ("cosine", "halved"),
    "vp_cosine/DPM-Solver-3": ("cosine", "halved"),
    "vp_cosine/EDM-Heun": ("cosine", "halved"),
    "vp_cosine/UniPC-eps-2": ("cosine", "halved"),
    "vp_cosine/lambda-DDIM-I": ("uniform", "halved"),
    "vp_cosine/lambda-DDIM-II": ("uniform", "halved"),
}
"""Specs whose walks on a grid, the default one, do not start plainly; derived by benchmarks/studies/start_ups.py."""


def graded_shares(order: int, steps: int) -> list[float]:
    """Where a graded start divides the first interval of a grid, as shares of it in log-SNR, increasing.

    The j-th step of a multistep scheme reads j - 1 earlier outputs and has a local error of its length to the power
    j + 1. In n steps of a scheme of order p it ends at the share n**(1 - p/(j + 1)), for j = 1, ..., p - 2: each of
    these errors is then h**p, as much as single steps may add to an error of order p. None of order one or two.

    >>> [round(share, 3) for share in graded_shares(4, 8)], graded_shares(2, 8)
    ([0.125, 0.5], [])
    """
    return [float(steps) ** (1 - order / (j + 1)) for j in range(1, order - 1)]


def default_start(spec: str, grid: str) -> str:
    """The start of a scheme's walks on a named grid where none is asked for.

    >>> default_start("flow/EDM-Heun", "cosine"), default_start("flow/EDM-Heun", "log-SNR")
    ('halved', 'plain')
    """
    known, start = START_BY_DEFAULT.get(spec, ("", ""))
    return start if known == grid else "plain"


def check_start(start: object, steps: int, spec: str, order: int, history: int) -> None:
    """Raise ValueError for an unknown start, one that the scheme has no use for, or one with too few steps for it."""
    if start not in STARTS:
        raise ValueError(unknown_name_message("start", start, STARTS))
    if start == "graded" and (order < 3 or not history):
        raise ValueError(
            f"start = 'graded' is for multistep schemes of order three and above, which begin with steps of lower "
            f"order; {spec} has order {order} from its first step on, take 'plain' or 'halved'"
        )
    more = len(_shares_of_start(str(start), order, 1))
    if steps <= more:
        raise ValueError(
            f"start = {start!r} of {spec} takes {more + 1} steps or more, one to no noise not counted, got {steps}; "
            "take more steps, or start = 'plain'"
        )


def grid_with_start(
    name: str,
    steps: int,
    t_max: float,
    t_min: float,
    log_snr: LogSNR | None,
    start: str | None,
    *,
    spec: str,
    order: int,
    history: int,
) -> list[float]:
    """The ``steps + 1`` times of a named grid from t_max to t_min, with the start of a walk of the scheme ``spec``.

    ``start``: one of STARTS; None for the ``default_start``, and plain where there are too few steps for it.
    ``order`` and ``history``: those of the scheme. Raises ValueError as ``time_grid`` and ``check_start`` do.
    """
    if not is_count(steps):
        return time_grid(name, steps, t_max, t_min, log_snr)  # which refuses it
    if start is not None:
        check_start(start, steps, spec, order, history)
    shares = _shares_of_start(default_start(spec, name) if start is None else start, order, steps)
    if len(shares) >= steps:
        shares = []
    times = time_grid(name, steps - len(shares), t_max, t_min, log_snr)
    return [times[0], *_divide_first(times[0], times[1], shares, log_snr), *times[1:]]


def _shares_of_start(start: str, order: int, steps: int) -> list[float]:
    """Where a start divides the first interval, as shares of it."""
    return {"plain": [], "halved": [0.5]}[start] if start != "graded" else graded_shares(order, steps)


def _divide_first(start: float, end: float, shares: list[float], log_snr: LogSNR | None) -> list[float]:
    """The times at these shares of the way from start to end in log-SNR; in t where that is unknown or infinite."""
    if shares and log_snr is not None:
        first, last = log_snr(torch.tensor([start, end], dtype=torch.float64)).tolist()
        if math.isfinite(first) and math.isfinite(last):
            goals = first + (last - first) * torch.tensor(shares, dtype=torch.float64)
            found: list[float] = times_at(log_snr, goals, start, end).tolist()
            return found
    return [start + (end - start) * share for share in shares]
