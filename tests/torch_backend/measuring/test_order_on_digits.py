"""The derived order on real data: one step on the exact score of 1797 images, in 64 dimensions, against scipy.

Images at t = 0.35 of the interval: the score is that of a mixture far from a Gaussian there, with no symmetry that
could take a term away. Predictor-correctors are measured elsewhere: their error has two parts.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

import integrator_analysis as ia
from integrator_analysis.report.digits import digits_networks, probability_flow_drift
from torch_backend import load
from torch_backend.measuring.convergence import observed_order
from torch_backend.measuring.device import one_thread
from torch_backend.measuring.errors import local_errors
from torch_backend.measuring.one_step import Past
from torch_backend.scores import ExactScore, digits


def mends(scheme: ia.Scheme) -> bool:
    """Whether a step of ``scheme`` corrects the last one."""
    return bool(getattr(getattr(scheme.method, "base", None), "mend", ()))


SPECS = [
    spec
    for spec, scheme in ia.catalogue().items()
    if spec.startswith(("vp/", "psld/")) and not load(spec).stochastic and not mends(scheme)
]
START, SIZES = 0.35, [0.008 * 2.0 ** (-k / 2) for k in range(20)]


class Reference(NamedTuple):
    network: ExactScore
    z: np.ndarray
    at: dict[float, np.ndarray]


@cache
def reference(name: str) -> Reference:
    """Noised images at START, and the exact states before and after it, by DOP853 on the probability-flow ODE."""
    process = ia.derive(f"{name}/DDIM").process
    network, drift = digits_networks([process])[name], probability_flow_drift(process)
    rng, k = np.random.default_rng(5), len(process.blocks)
    images = digits()[[3, 700]].numpy()
    noise = np.einsum("ij,njab->niab", np.linalg.cholesky(process.covariance(START)), rng.normal(size=(2, k, 8, 8)))
    z = process.mean(START)[:, 0][:, None, None] * images + noise

    def slope(time: float, flat: np.ndarray) -> np.ndarray:
        state = torch.from_numpy(flat.reshape(z.shape))
        score = network.score(state, torch.full((len(z),), time, dtype=torch.float64))
        return drift(state, time, score).numpy().ravel()

    at = {START: z}
    for sign, reach in ((-1, 1), (1, 3)):
        times = {START + sign * n * h for h in SIZES for n in range(1, reach + 1)}
        for before, time in pairwise([START, *sorted(times, key=lambda x: sign * x)]):
            solved = solve_ivp(slope, (before, time), at[before].ravel(), method="DOP853", rtol=2.3e-14, atol=1e-15)
            at[time] = solved.y[:, -1].reshape(z.shape)
    return Reference(network, z, at)


@pytest.mark.parametrize("spec", SPECS)
def test_one_step_has_the_derived_order(spec: str) -> None:
    i = ia.derive(spec)
    assert not i.stochastic
    assert not i.program.cycle
    with one_thread():
        network, z, at = reference(i.process.name)
        pasts = [[START + (n + 1) * step for n in range(i.program.history)] for step in SIZES]
        known = [Past(times, [torch.from_numpy(at[t]) for t in times]) if times else None for times in pasts]
        ends = [START - step for step in SIZES]
        errors = local_errors(load(spec).module, network, z, START, ends, np.stack([at[end] for end in ends]), known)
    for n, (block, exponent) in enumerate(i.local_error.exponents.items()):
        found = observed_order(SIZES, np.abs(errors[:, :, n]).max(axis=(1, 2, 3)), tolerance=0.1, floor=1e-12)
        assert found.order == pytest.approx(exponent, abs=0.12), block
