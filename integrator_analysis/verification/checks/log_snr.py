"""The log-SNR on which time grids are measured: half the log of Psi_1^T Sigma^{-1} Psi_1."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from integrator_analysis.verification.bench import Bench
from integrator_analysis.verification.certificate import Claim
from integrator_analysis.verification.checks.comparison import Case, farthest_entries, times_between

__all__ = ["measure"]

LOG_SNR_TIMES, LOG_SNR_TOLERANCE = (0.01, 0.03, 0.1, 0.3, 0.5, 0.75, 0.97), 1e-10
"""Fractions of t_max, and the absolute error; measured is 2e-15."""


def measure(bench: Bench) -> Iterator[Claim]:
    """Compare the module's log-SNR with that of the process's mean and covariance: at both ends and between."""
    process = bench.process
    times = times_between(bench, "log_snr", LOG_SNR_TIMES)

    def cases() -> Iterator[Case]:
        for time in times:
            psi, sigma = process.mean(time)[:, 0], process.covariance(time)
            derived = np.log(psi @ np.linalg.solve(sigma, psi)) / 2
            yield np.array([derived]), np.array([float(bench.module.log_snr(time))]), 1.0

    worst, shown = farthest_entries(cases())
    yield Claim("log_snr", *shown, worst, LOG_SNR_TOLERANCE, f"{len(times)} times, the worst")
