"""The spectral radius of a step on a score too steep for it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from integrator_analysis.verification.bench import Bench
from integrator_analysis.verification.certificate import Claim

__all__ = ["measure"]

RADIUS_TOLERANCE = 1e-6
"""Relative: an eigenvalue of a map that is nearly defective, as at critical damping, moves by the root of rounding."""

STIFF = (0.5, 0.1, -20.0)
"""Start and size of a step, in fractions of t_max, and the slope of a linear score at which its radius is measured:
data of width 0.2, whose score no step of that size follows."""


def measure(bench: Bench) -> Iterator[Claim]:
    """Compare the spectral radius of one step for a stiff linear score, that of the measured map with the derived."""
    import torch

    from torch_backend.measuring.maps import affine_map

    stability, (at, by, eigenvalue) = bench.properties.stability, STIFF
    start, h = at * bench.process.t_max, by * bench.process.t_max
    past = [start + (j + 1) * h for j in range(bench.program.history)]

    def network(z: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return z @ torch.from_numpy(stability.score_jacobian(eigenvalue, float(t[0]))).T

    matrix, _, _ = affine_map(bench.module, network, start, start - h, past)
    derived = bench.recall("radius", find=lambda: stability.radius(h, eigenvalue, start))
    measured = _spectral_radius(matrix)
    problem = f"score of slope {eigenvalue:g}, from t = {start:g} to {start - h:g}"
    distance = abs(measured - derived) / max(1.0, derived)
    yield Claim("spectral_radius", derived, measured, distance, RADIUS_TOLERANCE, problem)


def _spectral_radius(matrix: np.ndarray) -> float:
    """The spectral radius by repeated squaring: the limit of the n-th root of the norm of the n-th power, n = 2**40."""
    log, square = 0.0, matrix
    for k in range(40):  # each power is scaled to size one, and the logs of the scales are what converges
        size = float(np.abs(square).max())
        if not 0.0 < size < np.inf:
            return 0.0 if size == 0.0 else np.inf
        log += np.log(size) / 2.0**k
        square = (square / size) @ (square / size)
    return float(np.exp(log))
