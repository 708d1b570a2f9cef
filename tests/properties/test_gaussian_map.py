"""Random splittings, conjugations, processes and data: the generated torch step is the derived affine-Gaussian map."""

from __future__ import annotations

import itertools
from functools import cache

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import integrator_analysis as ia
from integrator_analysis.analysis.gaussian import affine_step, gaussian_eps, marginal
from integrator_analysis.codegen import kernel_source
from torch_backend.measuring.maps import affine_map
from torch_backend.scores import GaussianScore
from torch_backend.source import module_from_source

WORDS = sorted(
    {
        "".join(word)
        for n in (2, 3, 4, 5)
        for word in itertools.product("ABO", repeat=n)
        if {"A", "B"} <= set(word)
        and all(word.count(c) <= 2 for c in "ABO")
        and all(a != b for a, b in itertools.pairwise(word))
    }
)
PROCESSES = ("psld", "psld(Gamma=0.02, nu=4.02)", "psld(Gamma=1.0, nu=3.0)", "psld(Gamma=0.0, nu=4.0)")
SCHEMES = st.one_of(
    st.tuples(
        st.sampled_from(PROCESSES),
        st.sampled_from(WORDS),
        st.sampled_from(["naive", "reduced"]),
        st.sampled_from(["", ", exact", ", residual"]),
    ).map(lambda p: f"{p[0]}/{p[1]}({p[2]}{p[3]})"),
    st.tuples(
        st.sampled_from(["vp", *PROCESSES[:2]]), st.sampled_from(["I", "ones"]), st.sampled_from([-0.5, 0.3, 2.0])
    ).map(lambda p: f"{p[0]}/conjugate(B=lambda*{p[1]}, lambda={p[2]})"),
    st.sampled_from([f"{p}/{s}" for p in ("vp", PROCESSES[1]) for s in ("Euler", "EM", "DDIM")]),
)


@cache
def derived(spec: str) -> ia.Integrator:
    return ia.derive(spec)


@cache
def kernel(spec: str) -> object:
    return module_from_source(kernel_source(derived(spec).process), f"kernel_{abs(hash(spec))}")


def network(spec: str, mean: float, variance: float) -> GaussianScore:
    data = torch.tensor([[mean], [variance]], dtype=torch.float64)
    return GaussianScore(kernel(spec), data[0], data[1])


TIMES = st.tuples(st.floats(0.01, 1.0), st.floats(0.05, 0.98)).map(lambda p: (p[0], p[0] * p[1]))
DATA = st.tuples(st.floats(-2, 2), st.floats(1e-3, 4))


@settings(max_examples=120)
@given(SCHEMES, TIMES, DATA)
def test_one_step_of_the_generated_source_is_the_derived_map(
    spec: str, times: tuple[float, float], data: tuple[float, float]
) -> None:
    i = derived(spec)
    measured = affine_map(i.to_torch(dtype=torch.float64).module, network(spec, *data), *times)
    expected = affine_step(i.program, i.table, *times, gaussian_eps(i.process, *data))
    scale = max(1.0, np.abs(expected.matrix).max())
    np.testing.assert_allclose(measured[0], expected.matrix, rtol=0, atol=1e-10 * scale)
    np.testing.assert_allclose(measured[1], expected.offset, rtol=0, atol=1e-10 * scale)
    noise = expected.noise @ expected.noise.T
    np.testing.assert_allclose(measured[2] @ measured[2].T, noise, rtol=0, atol=1e-10 * max(1.0, np.abs(noise).max()))


@settings(max_examples=25)
@given(SCHEMES, DATA)
def test_composed_steps_are_the_composed_moments(spec: str, data: tuple[float, float]) -> None:
    i = derived(spec)
    grid = [0.9, 0.7, 0.55, 0.5, 0.42]
    module, net = i.to_torch(dtype=torch.float64).module, network(spec, *data)
    mean, covariance = marginal(i.process, grid[0], *data)
    for start, end in itertools.pairwise(grid):
        matrix, offset, noise = affine_map(module, net, start, end)
        mean, covariance = matrix @ mean + offset, matrix @ covariance @ matrix.T + noise @ noise.T
    exact = marginal(i.process, grid[-1], *data)
    error = i.gaussian_error(grid, data[0], data[1])
    scale = max(1.0, np.abs(covariance).max())
    np.testing.assert_allclose(mean - exact[0], error.mean[0], rtol=0, atol=1e-9 * scale)
    np.testing.assert_allclose(covariance - exact[1], error.covariance[0], rtol=0, atol=1e-9 * scale)


@settings(max_examples=30)
@given(SCHEMES, st.integers(0, 1000))
def test_results_do_not_depend_on_how_a_batch_is_split(spec: str, seed: int) -> None:
    i = derived(spec)
    if i.stochastic:  # noise is drawn per batch
        return
    sampler, net = i.to_torch(dtype=torch.float64), network(spec, 0.3, 0.5)
    z = sampler.prior(5, (1,), seed=seed)
    whole = sampler.sample(net, z, times=[0.9, 0.6, 0.5])
    parts = [sampler.sample(net, part, times=[0.9, 0.6, 0.5]) for part in z.split(2)]
    torch.testing.assert_close(whole, torch.cat(parts), rtol=1e-12, atol=1e-12)
