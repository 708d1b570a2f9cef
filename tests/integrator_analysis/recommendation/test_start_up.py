"""Starts of walks: stated defaults are the derived ones, and the walks that decide are those of the sampler."""

from __future__ import annotations

import numpy as np
import pytest

import integrator_analysis as ia
from integrator_analysis.recommendation import default_grid
from integrator_analysis.recommendation.start_up import Errors, Family, choose_start, start_errors
from torch_backend.walk.start_up import default_start


@pytest.mark.parametrize("spec", ["flow/EDM-Heun", "flow/DPM-Solver++2M"])
def test_the_stated_default_is_the_derived_one(spec: str) -> None:
    integrator = ia.derive(spec)
    grid = integrator.process.grid_for(integrator.order)
    assert choose_start(start_errors(integrator)) == default_start(spec, grid)


def test_the_gaussian_error_is_that_of_the_derived_walk() -> None:
    integrator = ia.derive("vp/DEIS-tAB3")
    found = start_errors(integrator, evaluations=(10,))
    for start in ("plain", "graded"):
        times = integrator.to_torch().times(10, start=start)
        errors = integrator.gaussian_error(times, 0.0, np.array(default_grid.GAUSSIAN), lower_order_final=True)
        expected = np.sqrt(np.mean(errors.squared_distances))
        assert found[start][10].gaussian == pytest.approx(expected, rel=1e-9)


def test_the_network_is_exact_on_rectified_flow() -> None:
    """On N(0, v) the velocity is E[e - x_0 | z] = (t - (1 - t) v) z / ((1 - t)^2 v + t^2)."""
    family, t = Family(ia.process("flow"), 0.999, mixtures=False), 0.6
    z = np.linspace(-1, 1, len(default_grid.GAUSSIAN))[:, None]
    v = np.array(default_grid.GAUSSIAN)[:, None]
    expected = (t - (1 - t) * v) * z / ((1 - t) ** 2 * v + t**2)
    np.testing.assert_allclose(family.network(t, z), expected, rtol=1e-12)


def scores(*values: float) -> dict[int, Errors]:
    """Errors at 5, 10 and 20 evaluations whose scores are these."""
    return {n: Errors(value, value) for n, value in zip((5, 10, 20), values, strict=True)}


@pytest.mark.parametrize(
    ("halved", "graded", "chosen"),
    [
        (scores(1.0, 0.8, 1.0), scores(1.0, 1.0, 1.0), "halved"),
        (scores(1.01, 0.1, 0.1), scores(1.0, 1.0, 1.0), "plain"),  # raised at 5
        (scores(0.5, 0.95, 0.95), scores(1.0, 1.0, 1.0), "plain"),  # lowered at 5 alone
        (scores(1.0, 0.8, 1.0), scores(1.0, 0.8, 0.9), "graded"),
    ],
)
def test_a_start_is_the_default_where_it_lowers_the_error_and_raises_it_nowhere(
    halved: dict[int, Errors], graded: dict[int, Errors], chosen: str
) -> None:
    assert choose_start({"plain": scores(1.0, 1.0, 1.0), "halved": halved, "graded": graded}) == chosen
