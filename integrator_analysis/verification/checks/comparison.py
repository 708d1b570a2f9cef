"""How a measured array is compared with a derived one, and the tolerances that several checks share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeAlias

import numpy as np

from integrator_analysis.verification.bench import Bench
from integrator_analysis.verification.certificate import Claim

__all__ = [
    "CONSTANT_TOLERANCES",
    "ORDER_TOLERANCE",
    "SLOPE_TOLERANCE",
    "Case",
    "compare_errors",
    "farthest_entries",
    "record_terms",
    "relative_unit",
    "times_between",
]

Case: TypeAlias = tuple[np.ndarray, np.ndarray, np.ndarray | float]
"""A derived and a measured array of one shape, and what their distance is measured in."""

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


def farthest_entries(cases: Iterable[Case]) -> tuple[float, tuple[float, float]]:
    """The largest distance of derived and measured entries over all cases, and the two entries that far apart.

    A NaN counts as the worst.
    """
    worst, shown = 0.0, (0.0, 0.0)
    for derived, measured, unit in cases:
        apart = np.abs(derived - measured) / unit
        distance = float(apart.max())
        if not distance < worst:  # true for NaN, and for a first distance of zero, whose entries are then shown
            worst, at = np.inf if np.isnan(distance) else distance, np.unravel_index(np.argmax(apart), apart.shape)
            shown = (float(derived[at]), float(measured[at]))
    return worst, shown


def times_between(bench: Bench, name: str, fractions: Iterable[float]) -> list[float]:
    """t_min, t_max, these fractions of t_max, and four times drawn from the body of the source under ``name``.

    t_max is left out where alpha is 0 there, as on rectified flow: what is derived there is infinite.
    """
    process = bench.process
    ends = [process.t_min, *[process.t_max] * bool(process.mean(process.t_max)[:, 0].any())]
    drawn = process.t_min + (process.t_max - process.t_min) * bench.draw(name, 4) ** [1, 1, 2, 4]
    return [*ends, *(fraction * process.t_max for fraction in fractions), *drawn.tolist()]


def record_terms(bench: Bench) -> None:
    """Put all terms of the derived leading error into the evidence, as text: coefficient * differential."""
    error = bench.properties.local_error
    bench.evidence["local_error"] = {
        block: {"exponent": error.exponents[block], "count": len(terms), "terms": [str(term) for term in terms]}
        for block, terms in error.terms.items()
    }


def compare_errors(
    bench: Bench, name: str, h: np.ndarray, errors: np.ndarray, constants: np.ndarray, problem: str
) -> Iterator[Claim]:
    """Compare errors at step sizes ``h`` with constants * h**exponent: the claims order[name] and constant[name].

    ``errors`` (step sizes, points) are measured, ``constants`` (points) derived; the exponent is that of ``name``, a
    block or "f", in the derived local error. What the fit is based on goes into the evidence.
    """
    from torch_backend.measuring.convergence import consecutive_slopes, leading_constant, observed_order

    exponent = bench.properties.local_error.exponents[name]
    floor, largest_error = 1e-14 * bench.state_size, np.abs(errors).max(axis=1)
    slope = observed_order(h, largest_error, tolerance=SLOPE_TOLERANCE, floor=floor)
    measured = leading_constant(h, errors, exponent, rounding=2.0**-52 * bench.state_size)
    bench.evidence[f"errors[{name}]"] = {
        "h": h.tolist(),
        "largest_error": largest_error.tolist(),
        "rounding_floor": floor,
        "constants_derived": constants.tolist(),
        "constants_measured": measured.value.tolist(),
        "constants_uncertainty": measured.uncertainty.tolist(),
        "slopes": consecutive_slopes(h, largest_error),
        "window": list(slope.window),
        "slope_interval": [slope.low, slope.high],
    }
    order, distance = round(slope.order - 1, 4), abs(slope.order - exponent)
    yield Claim(f"order[{name}]", exponent - 1, order, distance, ORDER_TOLERANCE, problem)
    scale = np.abs(constants).max()
    distance = float(np.abs(measured.value - constants).max() / scale)
    largest = int(np.argmax(np.abs(constants)))
    shown = float(constants[largest]), float(measured.value[largest])
    where = f"{problem}, largest of {len(constants)} points"
    # no order above four has a tolerance of its own
    yield Claim(f"constant[{name}]", *shown, distance, CONSTANT_TOLERANCES[min(exponent - 2, 3)], where)
