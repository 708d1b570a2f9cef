"""Order and leading constant of the weak one-step error of a stochastic scheme."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import pairwise

import numpy as np

from integrator_analysis.analysis.accuracy.problems import WaveObservable, normal_nodes
from integrator_analysis.analysis.gaussian import marginal
from integrator_analysis.verification.bench import GAUSSIAN, WEAK_TIMES, Bench
from integrator_analysis.verification.certificate import Claim
from integrator_analysis.verification.checks.comparison import (
    ORDER_TOLERANCE,
    SLOPE_TOLERANCE,
    compare_errors,
    record_terms,
)

__all__ = ["WEAK_STEP_SIZES", "measure"]

WEAK_NODES, WEAK_TOLERANCE = 8, 1e-7
"""Gauss-Hermite nodes of what z_t does not say about the data, and the accuracy of the rule for what it says, for the
derived constants: ``MixtureProblem.nodes``. 164 points on PSLD, 390 with M = 2, whose score is steeper."""

WEAK_STEP_SIZES = tuple(0.02 * 2.0**-k for k in range(10))
"""In units of ``Bench.step_unit``."""

CUBATURE_POINTS = 400_000
"""Most points of one weak measurement (law of z_t times noise): 3 MB a number, a second for all step sizes."""

LAW_NODES, LAW_TOLERANCE, NOISE_NODES = 12, 1e-13, 16
"""The same for the measurement, whose smallest errors are of 1e-12; and Gauss-Hermite nodes of the noise: q leave an
error of order h**q in a noise of size sqrt(h), so that four are enough where a scheme draws many."""

GLOBAL_STEPS = (40, 80, 160, 320)
"""Numbers of steps of the global error of a scheme whose local error is that of its start-up."""

WEAK_DIGITS = 20
"""Digits for the derived weak constants; their derivatives are numerical and lose about half."""


def measure(bench: Bench) -> Iterator[Claim]:
    """Compare, for several observables averaged over the law of z_t, the slope of the one-step error and its limit.

    By cubature, without sampling error. Where the local error is that of the start-up, compare the order after it too.
    """
    record_terms(bench)
    h, observables = np.array(WEAK_STEP_SIZES) * bench.step_unit, _waves(bench)
    errors, derived = [], []
    for start in bench.start_times(WEAK_TIMES):
        errors.append(_measured_errors(bench, start, h, observables))
        find = partial(_derived_constants, bench, start, observables)
        derived += bench.recall("weak constants", start, find=find)
    if bench.properties.local_error.startup:
        yield _order_after_startup(bench)
    problem = "mixture, E cos(a.z + b) after one step"
    yield from compare_errors(bench, "f", h, np.concatenate(errors, axis=1), np.array(derived), problem)


def _waves(bench: Bench) -> list[WaveObservable]:
    """Two observables: waves as long as states are wide, or their means vanish."""
    k, wide = len(bench.program.blocks), bench.state_size
    return [
        WaveObservable(tuple(w / wide for w in wave[:k]), phase)
        for wave, phase in (((0.9, 0.6), 0.4), ((-0.5, 1.1), 0.1))
    ]


def _measured_errors(bench: Bench, start: float, h: np.ndarray, observables: Sequence[WaveObservable]) -> np.ndarray:
    """E f after the step less its exact value: one row for each step size, one column for each observable."""
    from torch_backend.measuring.errors import weak_errors

    # a multistep scheme fills its past first, from no past: the exact value is that after the last of these steps
    steps = bench.properties.local_error.steps
    law, noises = bench.problem.nodes(start, LAW_NODES, LAW_TOLERANCE), len(bench.program.noises) * steps
    exact = np.array([[bench.problem.expectation(f, start - steps * x) for f in observables] for x in h])
    nodes = normal_nodes(noises, min(NOISE_NODES, int((CUBATURE_POINTS / len(law[1])) ** (1 / noises))))
    functions = [f.numpy for f in observables]
    return weak_errors(bench.module, bench.network, law, nodes, start, list(start - h), functions, exact)


def _derived_constants(bench: Bench, start: float, observables: Sequence[WaveObservable]) -> list[float]:
    """The leading coefficient of the derived error, averaged over the law of z_t, for each observable."""
    error, field = bench.properties.local_error, bench.problem.field(bench.program.unknown)
    nodes, weights = bench.problem.nodes(start, WEAK_NODES, WEAK_TOLERANCE)
    values = np.array([error.evaluate_weak(z, start, field, observables, WEAK_DIGITS) for z in nodes])
    return [float(weights @ np.ascontiguousarray(column)) for column in values.T]


def _order_after_startup(bench: Bench) -> Claim:
    """Compare the order with the slope of the global error in the covariance of Gaussian data."""
    from torch_backend.measuring.convergence import observed_order

    errors = [_covariance_error(bench, steps) for steps in GLOBAL_STEPS]
    found = observed_order(1 / np.array(GLOBAL_STEPS), errors, tolerance=SLOPE_TOLERANCE)
    derived, (mean, variance) = bench.properties.order, GAUSSIAN
    problem = f"N({mean}, {variance}), covariance after {', '.join(map(str, GLOBAL_STEPS))} steps"
    distance = abs(found.order - derived)
    return Claim("order_after_startup", derived, round(found.order, 4), distance, ORDER_TOLERANCE, problem)


def _covariance_error(bench: Bench, steps: int) -> float:
    """The largest error of the covariance after uniform steps on Gaussian data, by the measured maps of all steps."""
    from torch_backend.measuring.maps import affine_map

    process, k = bench.process, len(bench.program.blocks)
    times = np.linspace(0.6 * process.t_max, 0.1 * process.t_max, steps + 1)
    # the state, followed by the kept outputs: zeros at the start
    covariance = np.pad(marginal(process, times[0], *GAUSSIAN)[1], (0, bench.program.history * k))
    for i, (start, end) in enumerate(pairwise(times)):
        matrix, _, noise = affine_map(bench.module, bench.gaussian_network, start, end, list(times[:i][::-1]))
        covariance = matrix @ covariance @ matrix.T + noise @ noise.T
    exact = marginal(process, times[-1], *GAUSSIAN)[1]
    return float(np.abs(covariance[:k, :k] - exact).max())
