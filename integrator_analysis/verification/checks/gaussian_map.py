"""One step on Gaussian data is an affine map: that of the source beside the derived one."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from integrator_analysis.analysis.gaussian import affine_step, gaussian_eps
from integrator_analysis.processes import Process
from integrator_analysis.verification.bench import GAUSSIAN, Bench
from integrator_analysis.verification.certificate import Claim
from integrator_analysis.verification.checks.comparison import Case, farthest_entries, relative_unit

__all__ = ["MAP_TOLERANCE", "drawn_steps", "measure"]

MAP_TOLERANCE = 1e-12
"""On the one-step map, relative to the sizes of what its entries are sums of: coefficients agree to about 1e-13."""

DRAWN = 4
"""How many steps are drawn from the body of the source, beside the chosen ones."""

SHORTEST = 1e-9
"""A step of this share of t: functions such as phi_3 lose nine digits in it where they are not summed as a series."""


def measure(bench: Bench) -> Iterator[Claim]:
    """Compare matrix, offset and noise covariance of short and long steps.

    Of a predictor-corrector, compare the coefficients of lower order too, which no affine map shows.
    """
    mean, variance = GAUSSIAN
    worst, shown = farthest_entries(_maps(bench))
    pasts = ", with every length of past" if bench.program.history else ""
    steps = len(_steps(bench.process)) + len(drawn_steps(bench))
    problem = f"N({mean}, {variance}), {steps} steps{pasts}, worst entry"
    yield Claim("gaussian_map", *shown, worst, MAP_TOLERANCE, problem)
    if bench.program.cycle:
        worst, shown = farthest_entries(_lower_order_rows(bench))
        problem = "steps that read fewer steps, worst coefficient"
        yield Claim("lower_order_row", *shown, worst, MAP_TOLERANCE, problem)


def _maps(bench: Bench) -> Iterator[Case]:
    """Matrix, offset and noise covariance of every step, each in units of the size of what its entries are sums of."""
    from torch_backend.measuring.maps import affine_map
    from torch_backend.measuring.one_step import with_rows_of

    eps, steps = gaussian_eps(bench.process, *GAUSSIAN), [*_steps_with_pasts(bench), *drawn_steps(bench)]
    module = with_rows_of(bench.module, steps)
    for start, end, past in steps:
        derive = partial(affine_step, bench.program, bench.properties.table, start, end, eps, past)
        derived = bench.recall("map", start, end, *past, find=derive)
        sizes = bench.recall("sizes", start, end, *past, find=partial(derive, sizes=True))
        matrix, offset, noise = affine_map(module, bench.gaussian_network, start, end, past)
        unit = np.max([sizes.matrix.max(axis=1), sizes.offset, np.ones(len(offset))], axis=0)
        yield derived.matrix, matrix, unit[:, None]
        yield derived.offset, offset, unit
        # only N N^T is a property of the step: another factor N with other draws gives the same law
        spread = sizes.noise @ sizes.noise.T
        yield derived.noise @ derived.noise.T, noise @ noise.T, np.maximum(1.0, spread)


def _lower_order_rows(bench: Bench) -> Iterator[Case]:
    """The coefficients of a predictor-corrector's step that reads fewer earlier steps than its mending does."""
    table = bench.properties.table
    for start, end, past in _steps_with_pasts(bench):
        for read in range(len(past)):
            derived = np.array(table(start, end, past, read), float)
            yield derived, bench.module.coefficients(start, end, past, read).numpy(), relative_unit(derived)


def _steps(process: Process) -> list[tuple[float, float]]:
    """Starts and ends: short and long steps, early and late."""
    low, high, whole = process.t_min, 0.97 * process.t_max, process.t_max
    return [
        (high, 0.9 * high),
        (0.5 * whole, 0.499 * whole),
        (0.1 * whole, low),
        (0.35 * whole, 0.1 * whole),
        (0.04 * whole, 0.03 * whole),
        (0.3 * whole, 0.3 * whole * (1 - SHORTEST)),
        (0.98 * whole, low),  # phi functions of large arguments
    ]


def drawn_steps(bench: Bench) -> list[tuple[float, float, list[float]]]:
    """Steps drawn from the body of the source, with a whole past at uneven distances, and steps at both ends.

    One begins at t_max where the scheme has a step from there, which nothing can precede.
    """
    process, history = bench.process, bench.program.history
    low, whole = process.t_min, process.t_max
    ends = [(whole, whole - 0.3 * (whole - low)), (low + 0.02 * (whole - low), low)]
    draws = bench.draw("steps", DRAWN, 2)
    tops = low + (whole - low) * (0.02 + 0.95 * draws[:, 0])
    drawn = [
        (top, top - (top - low) * share**3) for top, share in zip(tops.tolist(), draws[:, 1].tolist(), strict=True)
    ]
    gaps = bench.draw("pasts", DRAWN + 2, history) + 0.05
    found: list[tuple[float, float, list[float]]] = []
    for (start, end), row in zip([*ends, *drawn], gaps, strict=True):
        reach = np.cumsum(row) / (1.1 * max(row.sum(), 1))  # of what lies above the start
        found.append((start, end, [start + (whole - start) * share for share in reach.tolist()]))
    found[0] = (*ends[0], [])  # nothing precedes it
    return found if _has_step(bench, *ends[0]) else found[1:]


def _has_step(bench: Bench, start: float, end: float) -> bool:
    """Whether the derived step between two times has numbers that are finite."""
    try:
        with np.errstate(all="ignore"):
            row = bench.properties.table(start, end)
    except (ArithmeticError, ValueError):
        return False
    return all(np.isfinite(complex(value)) for value in row)


def _steps_with_pasts(bench: Bench) -> Iterator[tuple[float, float, list[float]]]:
    """Steps with every length of past, close by and far away: none at the start of a walk, then one more a step."""
    history, t_max = bench.program.history, bench.process.t_max
    for start, end in _steps(bench.process):
        for gap in (min(0.005 * t_max, start - end), (t_max - start) / (history + 1)):
            for known in range(history + 1):
                yield start, end, [start + gap * (j + 1) for j in range(known)]
            if not history:
                break
