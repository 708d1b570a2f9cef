"""A problem that an exported file carries to measure its own order: a closed-form network and the exact flow's answer.

Knows the probability-flow equation with a network in it, z' = L z + eta n; knows no scheme and no torch. The network is
written here in numpy and in the exported file in torch (``trial_network`` in torch_backend/export/module.py).
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.integrate import solve_ivp

from integrator_analysis.algebra.numeric import function
from integrator_analysis.algebra.symbols import t
from integrator_analysis.parametrisation.registry import parametrisation
from integrator_analysis.processes import Process

__all__ = ["trial_of"]

SPAN = 0.5, 0.2
"""Start and end as shares of t_max: away from both ends, where steps of equal length would say little of the order."""
POINTS = 3


def trial_of(process: Process) -> dict[str, Any]:
    """The problem as plain numbers: times (2), states at the start and, by DOP853, at the end (3 points, k blocks).

    Raises ArithmeticError where the solver does not arrive.
    """
    k = len(process.blocks)
    kind = parametrisation(process.network, process)
    table = process.definitions.with_(kind.definitions)
    values = function([*kind.drift, *kind.eta], (t,), table, {**process.parameters, **kind.parameters})
    prior = process.prior_covariance.subs(dict(process.parameters))
    deviations = np.sqrt([float(prior[i, i]) for i in range(k)])
    # points spread over the prior, the same on every run and for any number of blocks
    start = 1.3 * np.sin(1 + 2 * np.arange(POINTS)[:, None] + 3.5 * np.arange(k)) * deviations
    times = tuple(share * process.t_max for share in SPAN)

    def slope(time: float, flat: np.ndarray) -> np.ndarray:
        z = flat.reshape(start.shape)
        drift, eta = np.array(values(time), dtype=float).reshape(2, k, k)
        output = (0.5 + time / process.t_max) * np.sin(z / deviations[0]) + 0.2
        return (z @ drift.T + output @ eta.T).ravel()

    state, first, last = start.ravel(), *times
    knots = range(math.floor(first), math.ceil(last) - 1, -1) if process.tables else ()  # where the clock has a kink
    for begin, end in pairwise(sorted({first, *map(float, knots), last}, reverse=True)):
        inside = np.nextafter(end, first)  # the rate at a kink is that of the piece below it
        solved = solve_ivp(
            lambda u, flat, low=inside: slope(max(u, low), flat),
            (begin, end),
            state,
            "DOP853",
            rtol=2.3e-14,
            atol=1e-16,
        )
        if not solved.success:
            raise ArithmeticError(f"no reference solution from t = {begin:g} to {end:g}: {solved.message}")
        state = solved.y[:, -1]
    return {"times": times, "start": start.tolist(), "end": state.reshape(start.shape).tolist()}
