"""Default grids: the stated ones are the derived ones, and the walks that decide are right."""

from __future__ import annotations

import numpy as np
import pytest

import integrator_analysis as ia
from integrator_analysis.recommendation import default_grid
from integrator_analysis.recommendation.default_grid import choose_grid, grid_scores


@pytest.mark.parametrize("name", ["vp", "flow", "psld"])
def test_the_stated_defaults_are_the_derived_ones(name: str) -> None:
    process = ia.process(name)
    assert tuple(choose_grid(scores) for scores in grid_scores(process).values()) == process.grids


@pytest.mark.parametrize(("spec", "order"), [("vp/DDIM", 1), ("vp/DPM-Solver++2M", 2), ("edm/DPM-Solver++2M", 2)])
def test_the_walk_is_that_of_the_generated_scheme(spec: str, order: int) -> None:
    """The error of the standard deviation is that of the derived moments of the scheme itself."""
    integrator = ia.derive(spec)
    kernel = default_grid._Kernel(integrator.process)
    times = integrator.to_torch().times(6)
    errors = integrator.gaussian_error(times, 0.0, np.array(default_grid.GAUSSIAN)).squared_distances
    expected = np.sqrt(np.mean(errors))
    assert default_grid._gaussian_error(kernel, times[:-1], order) == pytest.approx(expected, rel=1e-9)


def test_the_exact_denoiser_of_one_gaussian_is_linear() -> None:
    mixture = default_grid.Mixture((0.3,), 0.5, (1.0,))
    y = np.linspace(-2, 2, 5)
    expected = 0.3 + 0.25 / (0.25 + 0.7) * (y - 0.3)
    np.testing.assert_allclose(default_grid._denoise_mixture(mixture)(y, 0.7), expected, rtol=1e-14)


def test_a_tie_goes_to_the_simpler_grid() -> None:
    assert choose_grid({"uniform": 2.0, "quadratic": 1.05, "karras": 1.0}) == "quadratic"
