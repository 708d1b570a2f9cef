"""A process of one's own, for tests that need a phase space whose beta moves: psld and cld have a constant one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sympy

import integrator_analysis as ia
from integrator_analysis.algebra.symbols import t
from integrator_analysis.processes import _FAMILIES


@pytest.fixture(scope="module")
def own_process() -> Iterator[None]:
    """The process ``own`` while a module is tested: Langevin diffusion of unit mass, beta = 3 (1 + t)."""
    made = ia.Process(
        name="own",
        title="a Langevin diffusion with a moving beta",
        blocks=("x", "m"),
        drift_per_unit=sympy.Matrix([[0, 1], [-1, -2]]),
        diffusion_per_unit=sympy.diag(0, 4),
        schedule=3 * (1 + t),
        initial_covariance=sympy.diag(0, sympy.Rational(1, 25)),
        stationary_covariance=sympy.eye(2),
        parameters={},
        t_max=1.0,
        t_min=1e-3,
        source="a test",
    )
    ia.register_process(ia.ProcessFamily("own", "a test", {}, lambda: made))
    yield
    del _FAMILIES["own"]
