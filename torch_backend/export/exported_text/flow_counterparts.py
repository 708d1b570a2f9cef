"""What a scheme is called in diffusers on flow, and which sigmas its scheduler there lays by default.

Knows the sigmas of diffusers' schedulers for flow matching, before they are shifted; knows no scheme's formula and no
class. Exported schedulers carry this text.
"""

from collections.abc import Callable, Mapping

import numpy as np

from torch_backend.export.exported_text.counterparts import find_by_beginning
from torch_backend.scheme import SchemeFacts

EULER, HEUN = "FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler"
SINGLESTEP, MULTISTEP = "DPMSolverSinglestepScheduler", "DPMSolverMultistepScheduler"
DEIS, UNIPC = "DEISMultistepScheduler", "UniPCMultistepScheduler"

FLOW_COUNTERPARTS: Mapping[str, tuple[str, bool]] = {
    "conjugate(predict=velocity)": (EULER, True),
    "Euler": (EULER, False),
    "DDIM": (EULER, True),
    "DDIM-eta": (EULER, False),
    "EM": (EULER, False),
    "lambda-DDIM": (EULER, False),
    "Heun": (HEUN, True),
    "EDM-Heun": (HEUN, False),
    "ERK2": (HEUN, False),
    "RK4": (HEUN, False),
    "DPM-Solver-2": (SINGLESTEP, False),
    "DPM-Solver-3": (SINGLESTEP, False),
    "DPM-Solver++2S": (SINGLESTEP, False),
    "DPM-Solver++2M": (MULTISTEP, True),
    "DPM-Solver++3M": (MULTISTEP, False),
    "SDE-DPM-Solver++2M": (MULTISTEP, True),
    "DEIS": (DEIS, False),
    "UniPC": (UNIPC, True),
    "UniPC-eps": (UNIPC, False),
}
"""Beginning of a scheme's name -> its counterpart in diffusers on flow, and whether that makes the same steps."""


def flow_counterpart(facts: SchemeFacts) -> tuple[str, bool]:
    """The scheduler of diffusers whose default sigmas on flow a scheme takes, and whether it makes the same steps.

    A scheme that is not listed is taken for multistep where it reads earlier steps, for Heun where it has several
    evaluations a step, and for Euler otherwise.
    """
    listed = find_by_beginning(facts.spec, FLOW_COUNTERPARTS)
    if listed is not None:
        return listed
    if facts.history:
        return (UNIPC if facts.mends else MULTISTEP), False
    return (EULER if facts.nfe_per_step == 1 else HEUN), False


def _as_euler(count: int, trained: int, shift: float, each: int) -> np.ndarray:
    """Equal steps from 1 to the shifted 1/trained, or to 1/count where that is smaller.

    diffusers goes to the shifted 1/trained always, and shifts once more, so that its walks of many steps end in one
    step from far above 1/trained and do not converge.
    """
    return np.linspace(1.0, min(shift / (trained + shift - 1), 1 / count), count)


def _as_dpm_solver(count: int, trained: int, shift: float, each: int) -> np.ndarray:
    """Equal steps from 1 - 1/trained to 0, which is left out; an interval for every evaluation, one after the last."""
    evaluations = (count - 1) * each + 1
    return np.asarray((1 - 1 / trained) * (1 - np.arange(count) * each / evaluations))


def _as_unipc(count: int, trained: int, shift: float, each: int) -> np.ndarray:
    """Equal steps from 1 to 1/trained, which is left out."""
    return np.linspace(1.0, 1 / trained, count + 1)[:-1]


SIGMAS_OF: Mapping[str, Callable[[int, int, float, int], np.ndarray]] = {
    EULER: _as_euler,
    HEUN: _as_euler,
    SINGLESTEP: _as_dpm_solver,
    MULTISTEP: _as_dpm_solver,
    DEIS: _as_dpm_solver,
    UNIPC: _as_unipc,
}
"""Counterpart -> (number of steps, num_train_timesteps, shift, evaluations a step) -> sigmas, yet to be shifted.

``shift`` is that of the config, 1 where it depends on the image.
"""
