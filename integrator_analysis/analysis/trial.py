"""A problem that an exported file carries to measure its own order: a closed-form network and the exact flow's answer.

Knows the probability-flow equation with a network in it, z' = L z + eta n; knows no scheme and no torch. The network is
written here in numpy and in the exported file in torch (``trial_network`` in torch_backend/export/module.py).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.integrate import solve_ivp

from integrator_analysis.numeric import function
from integrator_analysis.parametrisation import parametrisation
from integrator_analysis.processes import Process
from integrator_analysis.symbols import t

__all__ = ["trial_of"]

SPAN = 0.5, 0.2
"""Start and end as shares of t_max: away from both ends, where steps of equal length would say little of the order."""
POINTS = 3


def trial_of(process: Process) -> dict[str, Any]:
    """times (2), start and end (3 points, k blocks) as plain numbers, by DOP853.

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

    # on a table the clock has a kink at every entry: nothing above order one is exported, and errors stay above 1e-4
    rtol = 1e-9 if process.tables else 2.3e-14
    solved = solve_ivp(slope, times, start.ravel(), method="DOP853", rtol=rtol, atol=rtol / 100)
    if not solved.success:
        raise ArithmeticError(f"no reference solution from t = {times[0]:g} to {times[1]:g}: {solved.message}")
    end = solved.y[:, -1].reshape(start.shape)
    return {"times": times, "start": start.tolist(), "end": end.tolist()}
