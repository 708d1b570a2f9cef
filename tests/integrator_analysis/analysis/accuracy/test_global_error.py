"""The predicted global error beside the error that the generated source has: n**order * error tends to the constant."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import mpmath
import numpy as np
import pytest
import torch

import integrator_analysis as ia
from integrator_analysis.analysis.accuracy.global_error import (
    GRIDS,
    GlobalError,
    QuadraticObservable,
    _carry_observable,
    _quadrature_nodes,
    global_error,
)
from integrator_analysis.analysis.accuracy.problems import MixtureProblem, WaveObservable
from integrator_analysis.analysis.gaussian import marginal
from integrator_analysis.codegen import kernel_source
from torch_backend import load
from torch_backend.measuring.convergence import leading_constant
from torch_backend.measuring.walks import end_of_walk
from torch_backend.scores import MixtureScore
from torch_backend.source import module_from_source
from torch_backend.walk.grids import time_grid

STEPS = {"vp": np.array((40, 80, 160, 320)), "psld": np.array((20, 40, 80, 160))}
TOLERANCE = 3e-3
"""Relative to the largest entry. Richardson extrapolation of four errors leaves 1e-3 of psld/RVV, whose next term is
a hundred times its first one, and less than 3e-4 of the others; the quadrature's own error is below 1e-5."""


@cache
def _case(spec: str) -> tuple[ia.Integrator, MixtureProblem, np.ndarray, tuple[float, float]]:
    integrator = ia.derive(spec)
    interval = (0.8 * integrator.process.t_max, 0.15 * integrator.process.t_max)
    problem = MixtureProblem(integrator.process)
    return integrator, problem, problem.sample(2, interval[0], 5), interval


@cache
def _errors(spec: str, grid: str, interval: tuple[float, float], steps: tuple[int, ...]) -> np.ndarray:
    """Errors (len(steps), points, blocks) of the generated source, numerical minus DOP853."""
    integrator, problem, z, _ = _case(spec)
    kernel = module_from_source(kernel_source(integrator.process), "global_error_kernel")
    means, variances, weights = (
        torch.tensor(v, dtype=torch.float64) for v in (problem.means, problem.variances, problem.weights)
    )
    network = MixtureScore(kernel, means[:, None], variances, weights)
    module = load(spec).module
    exact = problem.solve(z, interval[0], [interval[1]])[0]
    return np.array([end_of_walk(module, network, z, time_grid(grid, n, *interval)) - exact for n in steps])


def _limit(spec: str, grid: str, interval: tuple[float, float], power: int, factor: int = 1) -> np.ndarray:
    """The limit of n**power * error, measured."""
    steps = STEPS[spec.partition("/")[0]] * factor
    return leading_constant(1 / steps, _errors(spec, grid, interval, tuple(steps)), power).value


@pytest.mark.parametrize(
    ("spec", "grids"),
    [
        ("vp/Euler", ("uniform", "quadratic")),
        ("vp/DPM-Solver++2M", ("uniform", "quadratic")),
        ("vp/EDM-Heun", ("uniform", "quadratic")),
        ("psld/RVV", ("uniform", "quadratic")),
        ("psld/SPS-2S", ("quadratic",)),
    ],
)
def test_the_error_of_many_steps_tends_to_the_predicted_one(spec, grids):
    integrator, problem, z, interval = _case(spec)
    uniform = integrator.global_error(problem, z, "uniform", interval)
    for grid in grids:
        predicted = replace(uniform, grid=grid)  # the density over time is the same on every grid
        measured = _limit(spec, grid, interval, predicted.order)
        scale = np.abs(predicted.constant).max()
        assert predicted.order == integrator.order
        assert np.abs(measured - predicted.constant).max() < TOLERANCE * scale
        assert np.abs(measured - 1.02 * predicted.constant).max() > TOLERANCE * scale
        # On the times themselves, the sum over steps says the same as the limit.
        times = time_grid(grid, 2000, *interval)
        assert np.abs(predicted.on(times) * 2000**predicted.order - predicted.constant).max() < 2e-2 * scale


def test_the_local_error_of_another_scheme_predicts_another_error():
    """Same order, same problem, the naive scheme's constant for the reduced scheme's error: not the limit."""
    _, problem, z, interval = _case("psld/RVV")
    wrong = global_error(ia.derive("psld/NVV").local_error, problem, z, "quadratic", interval)
    measured = _limit("psld/RVV", "quadratic", interval, 1)
    assert np.abs(measured - wrong.constant).max() > 0.3 * np.abs(wrong.constant).max()


@pytest.mark.parametrize("name", GRIDS)
def test_the_speed_of_a_grid_is_that_of_the_samplers_grid(name):
    start, end, n = 0.8, 0.15, 2000
    times = np.array(time_grid(name, n, start, end))
    assert GRIDS[name]((times[:-1] + times[1:]) / 2, start, end) == pytest.approx(
        -n * np.diff(times), rel=1e-3, abs=1e-3
    )


def test_between_nodes_a_density_is_a_polynomial_of_degree_nine_in_log_t():
    """Through four panels; the polynomial of a neighbouring panel is five times as far from the sine."""
    times, weights = _quadrature_nodes(0.8, 0.001)
    error = GlobalError("uniform", (0.8, 0.001), 2, times, weights, np.sin(2 * np.log(times)))
    at = np.geomspace(0.8, 0.001, 400)
    assert np.abs(error.density_in_log_time(at) / (0.799 * at) - np.sin(2 * np.log(at))).max() < 5e-7


@pytest.mark.parametrize(
    "observable", [WaveObservable((0.9, -0.4), 0.3), QuadraticObservable(((1.0, 0.2), (0.5, -0.3)), (0.4, -1.0), 0.7)]
)
def test_an_observable_is_carried_to_its_mean_at_the_end(observable):
    """E f(a z + b + N(0, spread)) by Gauss-Hermite nodes; a is not symmetric."""
    a, b = np.array([[0.6, -0.3], [0.5, 0.8]]), np.array([0.2, -0.1])
    spread, z = np.array([[0.5, 0.2], [0.2, 0.3]]), np.array([0.7, -1.1])
    x, w = np.polynomial.hermite_e.hermegauss(24)
    noises = np.stack(np.meshgrid(x, x), axis=-1).reshape(-1, 2) @ np.linalg.cholesky(spread).T
    values = [float(observable([mpmath.mpf(v) for v in a @ z + b + noise])) for noise in noises]
    assert float(_carry_observable(observable, a, b, spread)(z)) == pytest.approx(
        np.outer(w, w).ravel() @ values / w.sum() ** 2, rel=1e-10
    )


def test_the_start_up_of_a_multistep_scheme_enters_at_its_own_power():
    """DEIS-tAB2 has order 3, but begins with a step of order 1: in the limit its error decides."""
    integrator, problem, z, interval = _case("vp/DEIS-tAB2")
    predicted = integrator.global_error(problem, z, "uniform", interval)
    assert (integrator.order, predicted.order) == (3, 2)
    assert [(c.name, c.power) for c in predicted.contributions] == [
        ("all steps", 3),
        ("step 1 of the start-up", 2),
        ("step 2 of the start-up", 3),
    ]
    measured = _limit("vp/DEIS-tAB2", "uniform", interval, 2, factor=2)
    assert np.abs(measured - predicted.constant).max() < 2e-2 * np.abs(predicted.constant).max()


def test_equal_start_up_and_step_powers_add():
    """DPM-Solver++2M from low noise: the first step of order 1 is a visible part of the constant of order 2."""
    integrator, problem, z, _ = _case("vp/DPM-Solver++2M")
    predicted = integrator.global_error(problem, z, "uniform", (0.4, 0.15))
    steps, start = (np.abs(c.constant).max() for c in predicted.contributions)
    measured = _limit("vp/DPM-Solver++2M", "uniform", (0.4, 0.15), 2)
    assert np.abs(measured - predicted.constant).max() < TOLERANCE * np.abs(predicted.constant).max()
    assert start > 10 * TOLERANCE * steps


@pytest.mark.parametrize(
    ("spec", "grid"), [("vp/EM", "uniform"), ("vp/DDIM-eta", "quadratic"), ("psld/ROBA", "quadratic")]
)
def test_weak_errors_tend_to_the_predicted_ones(spec, grid):
    """Against the exact moments of the scheme, for a quadratic observable and, in one dimension, a wave."""
    integrator, mean, variance = ia.derive(spec), 0.4, 0.3
    process, k = integrator.process, len(integrator.program.blocks)
    interval = (0.9 * process.t_max, 0.1 * process.t_max)
    exact = marginal(process, interval[1], mean, variance)
    steps = STEPS[process.name]
    errors = [integrator.gaussian_error(time_grid(grid, n, *interval), mean, variance) for n in steps]
    laws = [(exact[0] + e.mean[0], exact[1] + e.covariance[0]) for e in errors]
    bent = QuadraticObservable(((1.0,),) if k == 1 else ((1.0, 0.4), (0.4, 0.5)), (0.3, -0.2)[:k])
    cases = [(bent, 3, np.array([bent.mean(*law) - bent.mean(*exact) for law in laws]))]
    if k == 1:
        wave = WaveObservable((0.9,), 0.4)

        def value(center, covariance):
            return float(np.exp(-(0.9**2) * covariance[0, 0] / 2) * np.cos(0.9 * center[0] + 0.4))

        cases.append((wave, 8, np.array([value(*law) - value(*exact) for law in laws])))
    for observable, nodes, measured in cases:
        predicted = integrator.weak_global_error(mean, variance, observable, grid, interval, nodes)
        limit = leading_constant(1 / steps, measured, predicted.order).value
        assert abs(limit - predicted.constant) < 1e-3 * abs(predicted.constant)
        assert abs(limit - 1.01 * predicted.constant) > 1e-3 * abs(predicted.constant)


def test_what_cannot_be_predicted_is_refused_in_one_sentence():
    problem, z = MixtureProblem(ia.process("vp")), np.zeros((1, 1))
    with pytest.raises(ia.InputError, match="weak_global_error"):
        ia.derive("vp/EM").global_error(problem, z)
    with pytest.raises(ia.InputError, match="predictor-corrector"):
        ia.derive("vp/UniPC-2").global_error(problem, z)
    with pytest.raises(ia.InputError, match="did you mean quadratic"):
        ia.derive("vp/DDIM").global_error(problem, z, "quadratc")
    with pytest.raises(ia.InputError, match="fixed weights"):
        ia.derive("psld/SPS-2M").global_error(MixtureProblem(ia.process("psld")), np.zeros((1, 2)), "quadratic")
    with pytest.raises(ia.InputError, match="start-up"):
        ia.derive("vp/SDE-DPM-Solver++2M").weak_global_error(0.0, 1.0, WaveObservable((1.0,), 0.0))
    with pytest.raises(ia.InputError, match="trajectory error"):
        ia.derive("vp/DDIM").weak_global_error(0.0, 1.0, WaveObservable((1.0,), 0.0))
    with pytest.raises(ia.InputError, match="different processes"):
        ia.derive("psld/RVV").global_error(problem, np.zeros((1, 2)))
    with pytest.raises(ia.InputError, match=r"accepted: \(points, 1\)"):
        ia.derive("vp/DDIM").global_error(problem, np.zeros(3))
    found = ia.derive("vp/DDIM").global_error(problem, z + 0.5, "uniform", (0.5, 0.2))
    with pytest.raises(ia.InputError, match="run from"):
        found.on([0.6, 0.2])
