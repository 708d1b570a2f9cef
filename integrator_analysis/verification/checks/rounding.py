"""What a walk loses to rounding in float32 and in bfloat16."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from integrator_analysis.verification.bench import SEED, Bench
from integrator_analysis.verification.certificate import Claim
from integrator_analysis.verification.rounding_bound import NETWORK, ROUNDOFF, rounding_bound

__all__ = ["measure"]

ROUNDING_TIMES, ROUNDING_POINTS = (0.5, 0.45, 0.4, 0.35, 0.3), 64
"""Fractions of t_max of the walk in low precision, and the number of states."""


def measure(bench: Bench) -> Iterator[Claim]:
    """Compare what a walk loses in each precision with what its operations can lose at most; the largest share."""
    import torch

    from torch_backend.measuring.walks import end_of_walk

    scale, shift = NETWORK
    times = bench.start_times(ROUNDING_TIMES)
    steps, generator = len(times) - 1, torch.Generator().manual_seed(SEED)
    drawn = torch.randn(ROUNDING_POINTS, len(bench.program.blocks), generator=generator, dtype=torch.float64)
    draws = torch.randn(steps, len(bench.program.noises), ROUNDING_POINTS, generator=generator, dtype=torch.float64)
    problem = f"network {scale:g} z + {shift:g}, {steps} steps from {times[0]:g} to {times[-1]:g}, in units of bound"
    for name in ROUNDOFF:
        dtype = getattr(torch, name)
        z, noise = (bench.state_size * drawn).to(dtype), draws.to(dtype)
        exact, bound = rounding_bound(bench.properties.table, z.double().numpy(), times, noise.double().numpy(), name)
        found = end_of_walk(bench.plain_module, lambda y, t: scale * y + shift, z.to(bench.device), times, noise)
        lost = np.abs(found - exact)
        share = lost / bound
        at = np.unravel_index(np.argmax(share), share.shape)
        worst = np.inf if np.isnan(share).any() else float(share[at])
        yield Claim(f"rounding[{name}]", float(bound[at]), float(lost[at]), worst, 1.0, problem)
