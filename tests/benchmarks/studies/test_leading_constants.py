"""The study of leading constants on a few schemes: they hold on random smooth scores, and a wrong one is seen."""

from __future__ import annotations

from dataclasses import replace

import leading_constants
import mpmath
import numpy as np
import pytest

import integrator_analysis as ia
from torch_backend import load


@pytest.mark.parametrize(
    ("spec", "channels"),
    [("vp/DDIM", 1), ("vp/DPM-Solver++2M", 2), ("vp/EM", 1), ("psld/RVV", 1), ("psld/RVV", 2), ("psld/ROBA", 1)],
)
def test_constants_hold_on_random_scores_and_a_wrong_one_does_not(spec, channels):
    found = leading_constants.compare(ia.derive(spec), load(spec).module, 3, channels)
    assert found.passed
    assert found.worst < 1e-4
    wrong = replace(found, derived={block: 1.05 * values for block, values in found.derived.items()})
    assert not wrong.passed


def test_the_constant_of_another_source_is_not_confirmed():
    """The naive scheme's source against what was derived for the reduced one: both of order 1, both consistent."""
    assert not leading_constants.compare(ia.derive("psld/RVV"), load("psld/NVV").module, count=2).passed


def test_the_taylor_polynomials_of_a_random_score_are_its_derivatives():
    problem = leading_constants.RandomScores(ia.process("psld"), count=2)
    z, time = np.array([0.3, -0.4]), 0.37
    found = problem.taylor(1, z, time, 4)
    for index in ((0, 0, 0), (1, 0, 0), (2, 1, 0), (1, 2, 1), (0, 0, 4)):
        with mpmath.workdps(30):
            for i, coefficients in enumerate(found):
                exact = mpmath.diff(lambda x, m, t, i=i: problem.only(1).score([x, m], t)[i], (*z, time), index)
                scale = np.prod([mpmath.factorial(n) for n in index])
                assert abs(coefficients[index] - float(exact / scale)) < 1e-12 * max(1.0, abs(float(exact)))


def test_the_weak_reference_is_the_closed_form_for_a_linear_score():
    """With the network switched off the score is -z/2, and E cos(a Z + b) of the linear SDE is known."""
    process = ia.process("vp")
    problem = leading_constants.RandomScores(process, count=1)
    for values in problem._weights[3:]:
        values[:] = 0.0
    z, time, wave = np.array([0.7]), 0.5, leading_constants.WaveObservable((0.8,), 0.2)
    series = leading_constants.weak_series(problem, 0, z, time, wave, 1.0)

    def beta(t):
        return mpmath.mpf("0.1") + (20 - mpmath.mpf("0.1")) * t

    def exact(h):  # backward in time dz = (beta/2 z + beta s) dh + sqrt(beta) dw = sqrt(beta) dw, for s = -z/2
        spread = mpmath.quad(beta, [time - h, time])
        return mpmath.exp(-(mpmath.mpf("0.8") ** 2) * spread / 2) * mpmath.cos(mpmath.mpf("0.8") * z[0] + 0.2)

    with mpmath.workdps(40):
        derivatives = [float(mpmath.diff(exact, 0, power) / mpmath.factorial(power)) for power in range(len(series))]
    assert np.allclose(series, derivatives, rtol=1e-10)
