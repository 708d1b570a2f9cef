"""A diffused mixture: nodes of its law integrate its score, however steep, by identities of every law; its fields."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

import integrator_analysis as ia
from integrator_analysis.analysis.accuracy.problems import MixtureProblem
from integrator_analysis.language.spec import parse

PROCESSES = ["psld", "psld(M=0.1)", "psld(M=1)", "psld(M=2)", "psld(M=5)", "cld", "vp", "ve", "edm"]


def stein(problem: MixtureProblem, time: float, z: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The weight less one, E s, and E s z^T + I: integration by parts makes all of them zero."""
    score = problem.score_numpy(z, time)
    moment = np.einsum("n,ni,nj->ij", weights, score, z) + np.eye(z.shape[1])
    return np.concatenate([[weights.sum() - 1], weights @ score, moment.ravel()])


@pytest.mark.parametrize("spec", PROCESSES)
@pytest.mark.parametrize("fraction", [0.1, 0.35, 0.7])
def test_the_score_has_mean_zero_and_minus_one_as_its_product_with_the_state(spec: str, fraction: float) -> None:
    process = parse(f"{spec}/Euler").process
    problem, time = MixtureProblem(process), fraction * process.t_max
    assert np.abs(stein(problem, time, *problem.nodes(time, 8, 1e-9))).max() < 1e-8


def test_gauss_hermite_nodes_of_each_component_do_not() -> None:
    process = ia.process("psld", M=2.0)
    problem, time = MixtureProblem(process), 0.35 * process.t_max
    x, w = np.polynomial.hermite_e.hermegauss(16)
    grid, share = np.stack(np.meshgrid(x, x), axis=-1).reshape(-1, 2), np.outer(w, w).ravel() / w.sum() ** 2
    laws = problem.marginals(time)
    z = np.concatenate([mean + grid @ np.linalg.cholesky(covariance).T for _, mean, covariance in laws])
    assert np.abs(stein(problem, time, z, np.concatenate([weight * share for weight, _, _ in laws]))).max() > 1e-5


@pytest.mark.parametrize("spec", ["vp", "psld", "cld"])
def test_in_mpmath_the_mixture_has_the_score_of_numpy_and_eps_is_minus_its_product_with_the_factor(spec: str) -> None:
    process = ia.process(spec)
    problem, time, z = MixtureProblem(process), 0.4 * process.t_max, [0.7, -0.3][: len(process.blocks)]
    score = problem.score_numpy(np.array([z]), time)[0]
    eps = -np.linalg.cholesky(process.covariance(time)).T @ score
    for name, expected in (("score", score), ("eps", eps)):
        found = problem.field(name)([mpmath.mpf(v) for v in z], mpmath.mpf(time))
        np.testing.assert_allclose(np.array(found, dtype=float), expected, rtol=1e-12)
