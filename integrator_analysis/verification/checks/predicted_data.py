"""The weights of the predicted x_0, with which a walk ends at no noise."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from integrator_analysis.parametrisation.data_prediction import tells_data
from integrator_analysis.parametrisation.prediction_conversion import network_from_eps
from integrator_analysis.verification.bench import Bench
from integrator_analysis.verification.certificate import Claim
from integrator_analysis.verification.checks.comparison import Case, farthest_entries, times_between

__all__ = ["measure"]

FRACTIONS, TOLERANCE = (0.01, 0.03, 0.1, 0.3, 0.5, 0.75, 0.97), 1e-10
"""Fractions of t_max, and the error in units of the largest weight; measured is 1e-15."""


def measure(bench: Bench) -> Iterator[Claim]:
    """Put states of known x_0 and noise, and what a network should return there, through the module's weights.

    The state Psi x_0 + L eps and the output are linear in x_0 and eps: each of them is 1 in turn, the others are 0.
    There is nothing to measure where the output does not tell x_0.
    """
    if not tells_data(bench.process):
        return
    process, convert = bench.process, network_from_eps(bench.process)
    k, times = len(process.blocks), times_between(bench, "predicted_data", FRACTIONS)

    def cases() -> Iterator[Case]:
        for time in times:
            eps, data = np.eye(k, k + 1, 1), np.eye(1, k + 1)
            z = np.outer(process.mean(time)[:, 0], data) + np.linalg.cholesky(process.covariance(time)) @ eps
            skip, scale = convert(time)
            weights = bench.module.data_weights(time).numpy()
            found = weights @ np.concatenate([z, skip @ z + scale @ eps])
            yield data[0], found, max(1.0, float(np.abs(weights).max()))

    worst, shown = farthest_entries(cases())
    yield Claim("predicted_data", *shown, worst, TOLERANCE, f"{len(times)} times, the worst")
