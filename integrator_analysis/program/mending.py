"""Which coefficients of a predictor-corrector mend the step before, and which make the step.

Knows programs in the network's own outputs. One step of such a scheme corrects ("mends") the last step with the
evaluation that it begins with, and then predicts; a measurement that takes the two apart needs to know whose
coefficients are whose.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from integrator_analysis.program.network_program import NetworkProgram
from integrator_analysis.program.statements import Combine

__all__ = ["Mending", "mending_coefficients"]


class Mending(NamedTuple):
    """Per coefficient of a step: whether it mends the last step, and its value in a step that stands still.

    ``at_rest`` is NaN for a coefficient that the step itself does not use.
    """

    mends: list[bool]
    at_rest: list[float]


def mending_coefficients(program: NetworkProgram) -> Mending | None:
    """The coefficients of the mending told from those of the step; None where steps are not mended."""
    if not program.cycle:
        return None
    combines = [st for st in program.statements if isinstance(st, Combine)]
    # the last two updates of the state: first the mending, then the step
    *_, mend, step = [
        {str(term.coefficient): term.operand for _, terms in st.updates for term in terms} for st in combines
    ]
    rest = {name: float(name.startswith("decay")) for name in step}
    names = list(program.coefficients)
    return Mending([name in mend for name in names], [rest.get(name, np.nan) for name in names])
