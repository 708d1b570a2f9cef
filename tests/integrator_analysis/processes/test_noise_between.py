"""The noise between two times, carried back to the later end of a step: Sigma_t = C (Sigma_s + spread) C^T.

C = Psi_t Psi_s^{-1} carries forward. Both sides in 40 digits, from tiny steps to all of the time, at critical
damping and on either side of it. The float64 digits of what is made of it are looked at in test_exponential.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import mpmath
import pytest

import integrator_analysis as ia
from integrator_analysis.algebra.numeric import function
from integrator_analysis.algebra.symbols import s, t
from integrator_analysis.processes.kernel import noise_between

PROCESSES = {"psld": {}, "cld": {}, "overdamped": {"M": 0.2}, "underdamped": {"M": 0.4}}


def between(process: ia.Process, sign: int) -> Callable[[mpmath.mpf, mpmath.mpf], list[mpmath.mpf]]:
    """(t, s) -> spread xx, mx, mm; ``sign`` = -1 carries back."""
    matrix, table = noise_between(replace(process, drift_per_unit=sign * process.drift_per_unit))
    entries = [matrix[0, 0], matrix[1, 0], matrix[1, 1]]
    definitions = process.definitions.with_(table)
    return function(entries, (t, s), definitions, process.parameters, "mpmath")


def by_difference(process: ia.Process, end: float, start: float) -> list[mpmath.mpf]:
    entries = [entry for matrix in process.kernel.in_time for entry in matrix]
    at = function(entries, (t,), process.definitions, process.parameters, "mpmath")
    (psi_t, sigma_t), (psi_s, sigma_s) = (
        [mpmath.matrix([values[n : n + 2], values[n + 2 : n + 4]]) for n in (0, 4)]
        for values in (at(mpmath.mpf(start)), at(mpmath.mpf(end)))
    )
    back = psi_s * psi_t**-1
    found = back * sigma_t * back.T - sigma_s
    return [found[0, 0], found[1, 0], found[1, 1]]


STEPS = [(0.3 - 1e-6, 0.3), (1e-5, 1e-5 + 1e-9), (0.2, 0.5), (1e-5, 0.2), (1e-3, 1.0)]


@pytest.mark.parametrize("name", PROCESSES)
def test_covariances_differ_by_the_noise_between_their_times(name: str) -> None:
    process = ia.process(name if name in ia.processes() else "psld", **PROCESSES[name])
    with mpmath.workdps(40):
        back, forth = (between(process, sign) for sign in (-1, 1))
        for end, start in STEPS:
            exact = by_difference(process, end, start)
            found = back(mpmath.mpf(start), mpmath.mpf(end))
            assert max(abs(a - b) / abs(b) for a, b in zip(found, exact, strict=True)) < 1e-25
        wrong = forth(mpmath.mpf(0.5), mpmath.mpf(0.2))
        assert abs(wrong[1] - by_difference(process, 0.2, 0.5)[1]) > 1e-3
