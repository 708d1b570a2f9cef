"""Conjugate splittings: one step of the generated torch code is the step of their definition, integrated by scipy.

The definition is written for matrices: ``each`` conjugates a row's sub-flow by A' = A (B_i - L_i), where M_i keeps the
i-th row of M and is zero elsewhere; ``whole`` splits zhat' = A B A^{-1} zhat + A eta n with A_t = I. F and G G^T are
typed in here, eps is any smooth function.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from scipy.integrate import quad_vec
from scipy.linalg import expm

import integrator_analysis as ia
from torch_backend.measuring.maps import affine_map
from torch_backend.measuring.one_step import take_step

TOLERANCE = 1e-10
Array = np.ndarray


@dataclass(frozen=True)
class Langevin:
    """F, G G^T and the stationary covariance of Langevin dynamics in phase space; momentum starts at 0.04 M."""

    drift: Array
    diffusion: Array
    limit: Array

    def covariance(self, time: float) -> Array:
        e = expm(self.drift * time)
        return self.limit + e @ (np.diag([0, 0.04 * self.limit[1, 1]]) - self.limit) @ e.T

    def eta(self, time: float) -> Array:
        """-(1/2) G G^T C_out with s = -Lchol^{-T} eps."""
        return self.diffusion @ np.linalg.inv(np.linalg.cholesky(self.covariance(time)).T) / 2


def psld(gamma: float, nu: float, mass: float) -> Langevin:
    return Langevin(
        4 * np.array([[-gamma, 1 / mass], [-1, -nu]]), 8 * np.diag([gamma, mass * nu]), np.diag([1.0, mass])
    )


PROCESSES = {
    "psld": psld(0.01, 4.01, 0.25),
    "psld(M=0.5)": psld(0.01, 4.01, 0.5),
    "cld": Langevin(4 * np.array([[0.0, 4], [-1, -4]]), np.diag([0, 8.0]), np.diag([1, 0.25])),
}
STEPS = {
    "BA(reduced)": (("B", 0, 1, 0), ("A", 0, 1, None)),
    "BA(naive)": (("B", 0, 1, 0), ("A", 0, 1, 0)),
    "BAB(reduced)": (("B", 0, 0.5, 0), ("A", 0, 1, None), ("B", 0.5, 1, 1)),
    "B(1/4)@0 A B(3/4)@1/3": (("B", 0, 0.25, 0), ("A", 0, 1, None), ("B", 0.25, 1, 1 / 3)),
    "OBA(reduced)": (("O", 0, 1, None), ("B", 0, 1, 0), ("A", 0, 1, None)),
    "BAO(naive)": (("B", 0, 1, 0), ("A", 0, 1, 0), ("O", 0, 1, None)),
    "OABA(reduced)": (("O", 0, 1, None), ("A", 0, 0.5, 0), ("B", 0, 1, None), ("A", 0.5, 1, 1)),
}
"""Per factor: its letter, the shares of the step that it goes from and to, and that of a new evaluation, if any."""
FAMILIES = {
    "0": np.zeros((2, 2)),
    "lambda*I, lambda=0.7": 0.7 * np.eye(2),
    "lambda*ones, lambda=-0.4": -0.4 * np.ones((2, 2)),
    "lambda*diag(1, -2), lambda=0.5": np.diag([0.5, -1.0]),
}


def eps(z: Array, time: float) -> Array:
    """A smooth function with no symmetry."""
    x, m = z
    return np.array([np.sin(1.3 * x - 0.4 * m + time), np.cos(0.7 * m + 0.5 * x) + 0.3 * x * time])


def network(z: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(np.stack([eps(row, float(time)) for row, time in zip(z.numpy(), t, strict=True)]))


def by_definition(
    process: Langevin,
    word: str,
    B: Array,
    meaning: str,
    kappa: float,
    z: Array,
    start: float,
    end: float,
    noise: Array,
) -> Array:
    """One step, from matrix exponentials and numerical quadrature."""
    letters = STEPS[word]
    kappa *= any(letter == "O" for letter, *_ in letters)
    relaxation = process.diffusion @ np.linalg.inv(process.limit) / 2
    generator = B - (process.drift - kappa**2 * relaxation)
    h, current, transformed = start - end, np.zeros(2), False
    at = start
    for letter, first, last, share in letters:
        a, b = start - first * h, start - last * h
        if letter == "O":
            if transformed:
                z, transformed = expm(-generator * (end - start)) @ z, False
            decay = np.exp(-(kappa**2) * np.diag(relaxation) * (a - b))
            z = decay * z + np.sqrt(np.diag(process.limit) * (1 - decay**2)) * noise
            continue
        if share is not None:
            at = start - share * h
            seen = expm(-generator * (at - start)) @ z if meaning == "whole" else z
            current = eps(seen, at)
        mask = np.diag([1.0, 0.0]) if letter == "A" else np.diag([0.0, 1.0])
        if meaning == "each":
            own = mask @ generator
            weight = quad_vec(lambda u: expm(own * (u - b)) @ mask @ process.eta(u), b, a, epsabs=1e-14)[0]  # noqa: B023
            carried = expm(own * (a - b))
            z = carried @ z - (1 + kappa**2) * weight @ current - (a - b) * carried @ mask @ B @ z
        else:
            transformed = True
            weight = quad_vec(lambda u: expm(generator * (u - start)) @ process.eta(u), b, a, epsabs=1e-14)[0]
            linear = expm(generator * (at - start)) @ B @ expm(-generator * (at - start)) @ z
            z = z - mask @ ((a - b) * linear + (1 + kappa**2) * weight @ current)
    return expm(-generator * (end - start)) @ z if transformed else z


@cache
def module(spec: str) -> object:
    return ia.derive(spec).to_torch(dtype=torch.float64).module


@settings(max_examples=40, phases=(Phase.explicit, Phase.generate))
@given(
    st.sampled_from(sorted(PROCESSES)),
    st.sampled_from(sorted(STEPS)),
    st.sampled_from(sorted(FAMILIES)),
    st.sampled_from(["each", "whole"]),
    st.tuples(st.floats(0.05, 1.0), st.floats(0.6, 0.95)),
    st.integers(0, 1000),
)
def test_a_step_is_the_step_of_the_definition(
    name: str, word: str, family: str, meaning: str, times: tuple[float, float], seed: int
) -> None:
    start, end = times[0], times[0] * times[1]
    kappa = 0.6 if "O" in word else 1.0
    written = word if "O" not in word else word.replace(")", f", noise={kappa})")
    step = module(f"{name}/conjugate(B={family}, meaning={meaning})+{written}")
    rng = np.random.default_rng(seed)
    z, noise = rng.normal(size=2) * [1, 0.5], rng.normal(size=2)
    drawn = torch.from_numpy(noise.reshape(2, 1, 1)[: step.NOISES])
    if step.NOISES == 1:
        noise = np.array([0.0, noise[0]])  # CLD's O draws momentum noise alone
    found = take_step(step, network, torch.from_numpy(z[None]), start, end, drawn).numpy()[0]
    expected = by_definition(PROCESSES[name], word, FAMILIES[family], meaning, kappa, z, start, end, noise)
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE * max(1.0, np.abs(expected).max()))


def test_the_whole_transformed_ode_by_one_evaluation_is_the_conjugate_integrator() -> None:
    """With B = 0 and one evaluation, splitting by rows is no splitting: DDIM, derived without any word."""
    split, whole = (module(f"psld/{s}") for s in ("conjugate(B=0, meaning=whole)+BA(reduced)", "DDIM"))
    for start, end in ((1.0, 0.7), (0.3, 0.2), (0.05, 0.001)):
        (m, b, _), (n, c, _) = (
            affine_map(step, lambda z, t: 1.7 * z + t[:, None], start, end) for step in (split, whole)
        )
        np.testing.assert_allclose(m, n, rtol=1e-11)
        np.testing.assert_allclose(b, c, rtol=1e-11)


@pytest.mark.parametrize("meaning", ["each", "whole"])
@pytest.mark.parametrize(("word", "order"), [("BA", 1), ("BAB", 1), ("A@0 B B@1/2[2,-1] A[2,-1]", 2)])
def test_orders(word: str, order: int, meaning: str) -> None:
    """B z is frozen at the start of a sub-flow: with B other than 0 the second order is lost."""
    assert ia.derive(f"psld/conjugate(B=0, meaning={meaning})+{word}").order == order
    assert ia.derive(f"psld/conjugate(B=lambda*ones, lambda=0.3, meaning={meaning})+{word}").order == 1


@pytest.mark.parametrize("family", ["0", "lambda*ones, lambda=-0.4", "lambda*diag(1, -2), lambda=0.5"])
def test_weights_of_almost_the_whole_interval_keep_their_digits(family: str) -> None:
    """A shrinks by ten orders of magnitude: weights formed from what has grown by as much have lost four digits."""
    process, start, end = PROCESSES["psld"], 0.98, 0.05
    generator = FAMILIES[family] - process.drift
    expected = -quad_vec(lambda u: expm(generator * (u - start)) @ process.eta(u), end, start, epsrel=1e-13)[0]
    scheme = module(f"psld/conjugate(B={family}, meaning=whole)+BA(reduced)")
    found = dict(zip(scheme.COEFFICIENTS, scheme.coefficients(start, end).tolist(), strict=True))
    weights = [found[f"weight_{row}{column}_{step}"] for row, step in (("x", 2), ("m", 1)) for column in ("x", "m")]
    np.testing.assert_allclose(np.reshape(weights, (2, 2)), expected, rtol=1e-11)
