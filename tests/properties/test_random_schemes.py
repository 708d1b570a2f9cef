"""Random processes of one's own and random schemes on them: kernel, step, order, walk and rounding, each by hand.

test_words.py has the splitting words on such processes.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from functools import cached_property
from random import Random

import numpy as np
import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

import integrator_analysis as ia
from integrator_analysis.catalogue import _SCHEMES
from integrator_analysis.codegen import kernel_source
from integrator_analysis.language.text_file import read_text
from integrator_analysis.verification.rounding_bound import rounding_bound
from tests.properties.on_paper import Array, Eps, Paper, eps_of, measured_exponent, probability_flow
from tests.properties.random_processes import NAME, RandomProcess, random_process, registered
from tests.properties.random_schemes import ByHand, RandomScheme, random_scheme
from torch_backend.measuring.one_step import Past, take_step
from torch_backend.source import module_from_source
from torch_backend.walk.grids import time_grid

UNSHRUNK = (Phase.explicit, Phase.generate)
"""An example derives a process, a second or more; shrinking one would take minutes."""


def generator() -> st.SearchStrategy[Random]:
    return st.randoms(use_true_random=True)  # one seed an example


# the kernel
@settings(max_examples=8, phases=UNSHRUNK)
@given(generator().map(random_process), st.floats(0.03, 1.0))
def test_mean_and_covariance_solve_the_equations_of_their_process(drawn: RandomProcess, share: float) -> None:
    """Psi' = F Psi and Sigma' = F Sigma + Sigma F^T + G G^T, by scipy; of the process and of the generated kernel."""
    paper, k, end = drawn.paper(), len(drawn.drift), share * float(drawn.t_max)

    def slope(t: float, flat: Array) -> Array:
        psi, sigma = flat.reshape(2, k, k)
        n = paper.drift
        return paper.beta(t) * np.concatenate([n @ psi, n @ sigma + sigma @ n.T + paper.noise(t)]).ravel()

    begin = np.concatenate([np.eye(k), paper.start]).ravel()
    psi, sigma = solve_ivp(slope, (0, end), begin, method="DOP853", rtol=1e-13, atol=1e-15).y[:, -1].reshape(2, k, k)
    with registered(drawn):
        made = ia.process(NAME)
        kernel = module_from_source(kernel_source(made), "kernel_drawn")
    np.testing.assert_allclose(made.mean(end), psi, rtol=0, atol=1e-11 * np.abs(psi).max())
    np.testing.assert_allclose(made.covariance(end), sigma, rtol=0, atol=1e-11 * np.abs(sigma).max())
    time = torch.tensor([end], dtype=torch.float64)
    mean, lower = torch.cat(kernel.mean(time)).numpy(), torch.cat(kernel.covariance(time)).numpy()
    np.testing.assert_allclose(mean, psi[:, 0], rtol=0, atol=1e-11 * np.abs(psi).max())
    np.testing.assert_allclose(lower, sigma[np.tril_indices(k)], rtol=0, atol=1e-11 * np.abs(sigma).max())


GRIDS = ("log-SNR", "quadratic", "random", "uniform")
STEPS = 6


# schemes
@dataclass(frozen=True)
class Case:
    drawn: RandomProcess
    scheme: RandomScheme
    seed: int

    @cached_property
    def paper(self) -> Paper:
        return self.drawn.paper()

    @cached_property
    def hand(self) -> ByHand:
        return ByHand(self.paper, self.scheme, float(self.drawn.t_max))

    @cached_property
    def eps(self) -> Eps:
        return eps_of(self.seed, len(self.drawn.drift))

    def integrator(self) -> ia.Integrator:
        """Derived on the registered process; what a text file adds to the catalogue is gone again."""
        if self.scheme.toml:
            read_text(self.scheme.toml)
        try:
            return ia.derive(self.scheme.spec)
        finally:
            _SCHEMES.pop("own-drawn", None)

    def network(self, z: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        """What a network of the process returns, for the eps of this case."""
        t = float(times[0])
        skip, scale = self.hand.prediction(self.drawn.network, t)
        y = z.double().numpy().T
        return torch.from_numpy((skip @ y + scale @ self.eps(t, y)).T).to(z.dtype)


def random_case(r: Random) -> Case:
    drawn = random_process(r)
    return Case(drawn, random_scheme(r, drawn.paper(), drawn.network), r.randrange(1000))


@settings(max_examples=6, phases=UNSHRUNK)
@given(generator().map(random_case), st.floats(0.2, 0.6), st.floats(0.5, 0.95), st.sampled_from(sorted(GRIDS)))
def test_a_random_scheme(case: Case, start: float, ratio: float, grid: str) -> None:
    """Its step, its order, its walks and what they lose in float32: one derivation serves all four."""
    with registered(case.drawn):
        i = case.integrator()
        start *= float(case.drawn.t_max)
        step_is_the_step_by_hand(case, i, start, start * ratio)
        order_is_the_measured_one(case, i, start)
        times = grid_by_hand(case, i, grid, start)
        walks_are_composed_of_steps(case, i, times)
        if not hasattr(i.to_torch().module, "_generator"):  # an ordered exponential takes a tenth of a second a step
            walks_converge(case, i, times)
        float32_loses_what_its_operations_predict(case, i, times)


def states(case: Case) -> Array:
    return np.random.default_rng(case.seed + 1).normal(size=(len(case.drawn.drift), 4))


def step_is_the_step_by_hand(case: Case, i: ia.Integrator, start: float, end: float) -> None:
    z, depth = states(case), case.scheme.depth
    past = [(start * (1 + 0.3 * j), z + 0.2 * j) for j in range(1, depth + 1)]
    expected = case.hand.step(start, end, z, case.eps, past)
    behind = Past([t for t, _ in past], [torch.from_numpy(y.T) for _, y in past]) if depth else None
    module = i.to_torch(dtype=torch.float64).module
    found = take_step(module, case.network, torch.from_numpy(z.T), start, end, None, behind).numpy().T
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10 * max(1.0, np.abs(expected).max()))


def order_is_the_measured_one(case: Case, i: ia.Integrator, start: float) -> None:
    """The local error against scipy on the probability flow of the paper, from an exact past."""
    paper, eps, z, depth = case.paper, case.eps, states(case), case.scheme.depth
    module = i.to_torch(dtype=torch.float64).module
    size = np.abs(z).max()

    def error(h: float) -> float:
        times = [start + (j + 1) * h for j in range(depth)]
        behind = [torch.from_numpy(probability_flow(paper, eps, start, t, z).T) for t in times]
        past = Past(times, behind) if depth else None
        found = take_step(module, case.network, torch.from_numpy(z.T), start, start - h, None, past).numpy().T
        return float(np.abs(found - probability_flow(paper, eps, start, start - h, z)).max()) / size

    exponent = measured_exponent(error, 0.1 * start, 1e-12)
    assert i.order >= 1
    assert abs(exponent - (i.order + 1)) < 0.3, (exponent, i.order)


# walks
def grid_by_hand(case: Case, i: ia.Integrator, grid: str, start: float) -> list[float]:
    """Decreasing times from ``start``; those of a named grid are the sampler's, from t_max to a tenth of it."""
    shares = np.linspace(0, 1, STEPS + 1)
    if grid == "random":
        drawn = np.random.default_rng(case.seed).uniform(0.3, 1.0, STEPS)
        return [float(t) for t in start * (1 - 0.7 * np.cumsum([0.0, *drawn]) / drawn.sum())]
    first, last = float(case.drawn.t_max), float(case.drawn.t_max) / 10
    if grid == "uniform":
        times = first + (last - first) * shares
    elif grid == "quadratic":
        times = (first**0.5 + (last**0.5 - first**0.5) * shares) ** 2
    else:
        measure = ByHand(case.paper, replace(case.scheme, variable="log-SNR"), first)
        times = np.array([measure.at_share(first, last, share) for share in shares])
    module = i.to_torch(dtype=torch.float64).module
    np.testing.assert_allclose(time_grid(grid, STEPS, first, last, module.log_snr), times, rtol=1e-12)
    return [float(t) for t in times]


def walks_are_composed_of_steps(case: Case, i: ia.Integrator, times: list[float]) -> None:
    """One step is the step itself; a walk may stop and go on; points and directions do not know of each other."""
    sampler, z = i.to_torch(dtype=torch.float64), torch.from_numpy(states(case).T.copy())
    start, end = times[:2]
    stepped = take_step(sampler.module, case.network, z, start, end)
    torch.testing.assert_close(sampler.sample(case.network, z, times=[start, end]), stepped, rtol=1e-12, atol=1e-12)
    for none in ([], [start]):
        with pytest.raises(ValueError, match="at least two"):
            sampler.sample(case.network, z, times=none)
    whole = sampler.sample(case.network, z, times=times)
    if not case.scheme.depth:
        halfway = sampler.sample(case.network, z, times=times[:4])
        rest = sampler.sample(case.network, halfway, times=times[3:])
        torch.testing.assert_close(rest, whole, rtol=1e-12, atol=1e-12)
    order = torch.tensor([2, 0, 3, 1])
    parts = torch.cat([sampler.sample(case.network, part, times=times) for part in z[order].split(3)])
    torch.testing.assert_close(parts, whole[order], rtol=1e-12, atol=1e-12)

    def isotropic(y: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        directions = y.unflatten(1, (-1, 2))
        return (torch.tanh(directions @ directions.mT) @ directions * (1 + t[:, None, None])).flatten(1)

    turn = torch.linalg.qr(torch.randn(2, 2, generator=torch.Generator().manual_seed(case.seed)).double())[0]
    plane = torch.randn(3, z.shape[1] * 2, generator=torch.Generator().manual_seed(case.seed), dtype=torch.float64) / 4
    walked = sampler.sample(isotropic, plane, times=times).unflatten(1, (-1, 2)) @ turn
    turned = sampler.sample(isotropic, (plane.unflatten(1, (-1, 2)) @ turn).flatten(1), times=times)
    torch.testing.assert_close(turned.unflatten(1, (-1, 2)), walked, rtol=1e-9, atol=1e-11 * float(walked.abs().max()))


def walks_converge(case: Case, i: ia.Integrator, times: list[float]) -> None:
    """Steps halved: the error falls by the order; by two where a multistep method starts with a step of order one."""
    z = states(case)
    exact = probability_flow(case.paper, case.eps, times[0], times[-1], z)
    sampler = i.to_torch(dtype=torch.float64)
    grids = {0: times}
    for n in range(1, 4):
        coarse = grids[n - 1]
        grids[n] = sorted([*coarse, *((a + b) / 2 for a, b in itertools.pairwise(coarse))], reverse=True)

    def error(h: float) -> float:
        fine = grids[round(-math.log2(h))]
        found = sampler.sample(case.network, torch.from_numpy(z.T), times=fine, lower_order_final=False).numpy().T
        return float(np.abs(found - exact).max())

    expected = min(i.order, 2) if case.scheme.depth else i.order
    assert measured_exponent(error, 1.0, 1e-11, halvings=4) > expected - 0.4


def float32_loses_what_its_operations_predict(case: Case, i: ia.Integrator, times: list[float]) -> None:
    """The bound of analysis.rounding, for the network of which it knows: z / 2 + 1/4, which rounds once."""
    z = torch.from_numpy(states(case).T.copy()).float()
    value, bound = rounding_bound(i.table, z.double().numpy(), times, np.zeros((len(times) - 1, 0, len(z))), "float32")
    exact = i.to_torch(dtype=torch.float64).sample(affine, z.double(), times=times, lower_order_final=False).numpy()
    np.testing.assert_allclose(exact, value, rtol=0, atol=1e-11 * np.abs(value).max())
    low = i.to_torch(dtype=torch.float32).sample(affine, z, times=times, lower_order_final=False).double().numpy()
    assert (np.abs(low - exact) <= bound).all()


def affine(z: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    return z / 2 + 0.25
