"""Lower-order final steps: a step reads at most as many earlier evaluations as steps follow it.

The oracle is numpy: exponential Adams and predictor-corrector loops on the closed forms of VP, with weights by
Gauss-Legendre quadrature. It reads no table and no generated source.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

import integrator_analysis as ia
from integrator_analysis.catalogue.tableaux import adams
from integrator_analysis.integrator import Integrator
from integrator_analysis.language.spec import Spec
from integrator_analysis.methods.conjugation.conjugate import Conjugate
from integrator_analysis.processes import process
from torch_backend import Sampler, load
from torch_backend.source import load_kernel
from torch_backend.walk.anchor import anchored_sample, fit_anchor

TIMES = [0.9, 0.83, 0.62, 0.5, 0.41, 0.25, 0.2, 0.12]
NODES, WEIGHTS = np.polynomial.legendre.leggauss(60)


def alpha(t):
    return np.exp(-(0.1 * t + 9.95 * t**2) / 2)


def log_snr(t):
    return -np.log(np.expm1(0.1 * t + 9.95 * t**2)) / 2


def time(log):
    b = np.log1p(np.exp(-2 * log))
    return 2 * b / (0.1 + np.sqrt(0.01 + 39.8 * b))


def eps(x, t):
    return np.sin(2 * x + t) * np.cos(3 * t) + x / 3


def network(z, t):
    return torch.from_numpy(eps(z.numpy(), t[0].item()))


def polynomial_step(x, t, s, times, values, variable):
    """The exact solution from t to s with eps replaced by its interpolation polynomial in t or in log-SNR."""
    start, end = log_snr(t), log_snr(s)
    nodes = (start + end) / 2 + (end - start) / 2 * NODES
    place = log_snr if variable == "log-SNR" else lambda t: t
    at, known = (nodes if variable == "log-SNR" else time(nodes)), [place(p) for p in times]
    total = 0.0
    for j, value in enumerate(values):
        lagrange = np.prod([(at - p) / (known[j] - p) for m, p in enumerate(known) if m != j], axis=0)
        total = total + value * ((end - start) / 2 * WEIGHTS * np.exp(-nodes) * lagrange).sum()
    return alpha(s) / alpha(t) * x - alpha(s) * total


def by_hand(x, order, variable, corrected=False):
    """Adams of ``order``, at most as many nodes as steps are left; corrected: each step again, with one node more."""
    behind, before = [], None  # (time, eps) newest first; what the last step was: (start, nodes)
    steps = len(TIMES) - 1
    for i, (t, s) in enumerate(pairwise(TIMES)):
        behind.insert(0, (t, eps(x, t)))
        if corrected and before is not None:
            begin, count = before
            x = polynomial_step(begin, TIMES[i - 1], t, *zip(*behind[: count + 1], strict=True), variable)
        count = min(order, i + 1, steps - i)
        before = (x, count)
        x = polynomial_step(x, t, s, *zip(*behind[:count], strict=True), variable)
    return x


def start():
    return torch.randn(5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def close(found, expected):
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-10 * np.abs(expected).max())


@pytest.mark.parametrize(("spec", "order"), [("vp/DEIS-tAB1", 2), ("vp/DEIS-tAB2", 3), ("vp/DEIS-tAB3", 4)])
def test_adams_by_hand(spec, order):
    sampler, z = load(spec), start()
    expected = by_hand(z.numpy(), order, "t")
    close(sampler.sample(network, z, times=TIMES, lower_order_final=True), expected)
    full = sampler.sample(network, z, times=TIMES, lower_order_final=False).numpy()
    assert np.abs(full - expected).max() > 1e-5  # what the comparison would see


@pytest.mark.parametrize("order", [1, 2, 3])
def test_predictor_corrector_by_hand(order):
    """The corrector of a step reads one evaluation more than its predictor did, near the end too."""
    base = adams(order, "log-SNR", "integral", tuple(-j for j in range(order + 1)))
    scheme = ia.Scheme("corrected", Conjugate(base=base), ("vp",), "Adams, corrected.", "this test")
    sampler = Integrator(Spec("vp/corrected", process("vp"), scheme)).to_torch()
    z = start()
    expected = by_hand(z.numpy(), order, "log-SNR", corrected=True)
    close(sampler.sample(network, z, times=TIMES, lower_order_final=True), expected)


@pytest.mark.parametrize("spec", ["vp/DEIS-tAB3", "vp/UniPC-3", "psld/DEIS-tAB2"])
def test_steps_with_enough_of_them_ahead_are_as_ever(spec):
    sampler = load(spec)
    full, lowered = (sampler.table(TIMES, lower_order_final=lower) for lower in (False, True))
    changed = (~torch.isclose(full, lowered, rtol=1e-12, atol=0)).any(dim=1).tolist()
    depth = {"vp/DEIS-tAB3": 3, "vp/UniPC-3": 2, "psld/DEIS-tAB2": 2}[spec]
    assert changed == [False] * (len(TIMES) - 1 - depth) + [True] * depth


@pytest.mark.parametrize("name", ["vp", "psld"])
def test_two_anchored_steps_are_both_of_first_order(name):
    """The first for want of a past, the second as the last: anchored-AB2 is then anchored-DDIM."""
    two, one = (load(f"{name}/anchored-{member}").module for member in ("AB2", "DDIM"))
    kernel = load_kernel(name)
    anchor = fit_anchor(mean=torch.tensor([0.2, -0.1]), covariance=torch.tensor([0.5, 1.5]), kind="channel")
    z = torch.randn(3, 2 * len(two.BLOCKS), generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def waves(z, t):
        return torch.sin(3 * z) * t[:, None]

    def walk(scheme, **options):
        return anchored_sample(scheme, anchor, kernel, waves, z, times=[0.8, 0.5, 0.2], **options)

    torch.testing.assert_close(walk(two, lower_order_final=True), walk(one), rtol=1e-12, atol=1e-12)
    assert float((walk(two, lower_order_final=False) - walk(one)).abs().max()) > 1e-3


@pytest.mark.parametrize("spec", ["vp/DDIM", "psld/RVV", "vp/RK4"])
def test_schemes_without_a_past_refuse(spec):
    sampler: Sampler = load(spec)
    z = torch.zeros(2, 2 * len(sampler.blocks))
    with pytest.raises(ValueError, match="reads no earlier steps, so that it has no lower_order_final; leave it out"):
        sampler.sample(lambda z, t: z, z, steps=3, lower_order_final=True)


def test_a_splitting_that_keeps_an_evaluation_refuses():
    with pytest.raises(
        ValueError, match="psld/SPS-2M reads an earlier evaluation in every step; leave lower_order_fin"
    ):
        load("psld/SPS-2M").table(TIMES, lower_order_final=True)
