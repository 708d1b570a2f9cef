"""The parametrisations by name.

A new one is one function in a file of this folder, and its line in PARAMETRISATIONS.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from integrator_analysis.inputs import did_you_mean
from integrator_analysis.parametrisation.frames import anchor_prediction, eps_rotated_prediction
from integrator_analysis.parametrisation.parametrisation import VELOCITY, Parametrisation
from integrator_analysis.parametrisation.plain import (
    eps_prediction,
    residual_prediction,
    score_prediction,
    velocity_prediction,
)
from integrator_analysis.parametrisation.preconditioned import (
    edm_prediction,
    mixed_prediction,
    v_prediction,
    x0_prediction,
)
from integrator_analysis.processes import Process

__all__ = ["PARAMETRISATIONS", "parametrisation"]

PARAMETRISATIONS: Mapping[str, Callable[[Process], Parametrisation]] = MappingProxyType(
    {
        "eps": eps_prediction,
        "eps-rotated": eps_rotated_prediction,
        "score": score_prediction,
        "x0": x0_prediction,
        "v": v_prediction,
        VELOCITY: velocity_prediction,
        "anchor": anchor_prediction,
        "mixed": mixed_prediction,
        "residual": residual_prediction,
        "edm": edm_prediction,
    }
)
"""For each name, the function that builds the parametrisation on a process."""


def parametrisation(name: str, process: Process) -> Parametrisation:
    """The parametrisation ``name`` on ``process``. Raises InputError for an unknown name, or one without meaning there.

    >>> from integrator_analysis.processes import process
    >>> parametrisation("x0", process("vp")).c_skip
    Matrix([[-1/cholesky_xx(t)**2]])
    """
    if name not in PARAMETRISATIONS:
        raise did_you_mean(name, PARAMETRISATIONS, "parametrisation")
    return PARAMETRISATIONS[name](process)
