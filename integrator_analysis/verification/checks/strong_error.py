"""Order and leading constant of the one-step error of a deterministic scheme."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from integrator_analysis.program.mending import mending_coefficients
from integrator_analysis.verification.bench import SEED, Bench
from integrator_analysis.verification.certificate import Claim
from integrator_analysis.verification.checks.comparison import compare_errors, record_terms

if TYPE_CHECKING:
    from torch_backend.measuring.one_step import Past

__all__ = ["STEP_SIZES", "measure"]

POINTS = 4
"""States from which a step is taken, at each start time."""

STEP_SIZES = tuple(0.004 * 2.0**-k for k in range(11))
"""In units of ``Bench.step_unit``, down to 4e-6, because the reduced schemes' h**2 term is a thousandth of their h**3
term: at 4e-3 they look second order. There the smallest error is 1e-12, four digits above rounding. Times
2**(order - 1), because errors of a higher order reach rounding sooner."""


def measure(bench: Bench) -> Iterator[Claim]:
    """Compare, for each block, the slope of the one-step error and its limit error / h**exponent at several points."""
    from torch_backend.measuring.errors import local_errors

    record_terms(bench)
    h = np.array(STEP_SIZES) * 2.0 ** (bench.properties.local_error.order - 1) * bench.step_unit
    mending = mending_coefficients(bench.properties.network_program)
    errors, derived = [], []
    for n, start in enumerate(bench.start_times()):
        z = bench.problem.sample(POINTS, start, SEED + n)
        key = "solutions", start, bench.program.history, *h
        exact, pasts = bench.recall_on_process(*key, find=partial(_exact_states, bench, z, start, h))
        errors.append(local_errors(bench.module, bench.network, z, start, list(start - h), exact, pasts, mending))
        derived.append(bench.recall("constants", start, find=partial(_derived_constants, bench, z, start)))
    all_errors, constants = np.concatenate(errors, axis=1), np.concatenate(derived)
    for i, block in enumerate(bench.program.blocks):
        yield from compare_errors(bench, block, h, all_errors[..., i], constants[:, i], "mixture, one step")


def _exact_states(bench: Bench, z: np.ndarray, start: float, h: np.ndarray) -> tuple[np.ndarray, list[Past | None]]:
    """The exact states after each step, and the exact past before it."""
    exact = bench.problem.solve(z, start, list(start - h)[::-1])[::-1]  # the solver walks away from the start
    return exact, [_exact_past(bench, z, start, step) for step in h]


def _exact_past(bench: Bench, z: np.ndarray, start: float, h: float) -> Past | None:
    """The exact states at start + h, start + 2 h, ..., as many as the scheme reads; None for a one-step scheme."""
    import torch

    from torch_backend.measuring.one_step import Past

    if not bench.program.history:
        return None
    times = [start + (j + 1) * h for j in range(bench.program.history)]
    states = bench.problem.solve(z, start, times)
    return Past(times, [torch.from_numpy(state) for state in states])


def _derived_constants(bench: Bench, z: np.ndarray, start: float) -> list[list[float]]:
    """The leading coefficients of the derived error at each point, one number for each block."""
    error, field = bench.properties.local_error, bench.problem.field(bench.program.unknown)
    return [[error.evaluate(point, start, field)[b] for b in bench.program.blocks] for point in z]
