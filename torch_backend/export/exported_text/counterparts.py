"""What a scheme is called in diffusers, and where its scheduler there evaluates the network on a table of betas.

Knows the time steps and sigmas that diffusers' schedulers lay on a table; knows no scheme's formula and no class.
Exported schedulers carry this text.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import numpy as np

from torch_backend.export.exported_text.beta_sigmas import beta_sigmas


class Habits(NamedTuple):
    """How a scheduler of diffusers lays its grid."""

    spacing: str
    """Its default timestep_spacing."""
    leaves_last: bool
    """Whether linspace and leading lay one point more and leave out the last, at time step 0.

    Such schedulers also tell the network whole time steps, nearest to Karras' sigmas and Lu's.
    """
    rounds: bool = True
    """Whether linspace is rounded to whole time steps."""
    alpha_to_one: bool = False
    """Whether set_alpha_to_one says where its walk ends."""
    ending: str = "zero"
    """Its default final_sigmas_type."""


HABITS: Mapping[str, Habits] = {
    "DDIMScheduler": Habits("leading", False, alpha_to_one=True),
    "DPMSolverMultistepScheduler": Habits("linspace", True),
    "DPMSolverSinglestepScheduler": Habits("linspace", True),
    "UniPCMultistepScheduler": Habits("linspace", True),
    "DEISMultistepScheduler": Habits("linspace", True, ending="sigma_min"),
    "HeunDiscreteScheduler": Habits("linspace", False, rounds=False),
    "EulerDiscreteScheduler": Habits("linspace", False, rounds=False),
    "EulerAncestralDiscreteScheduler": Habits("linspace", False, rounds=False),
    "KDPM2DiscreteScheduler": Habits("linspace", False, rounds=False),
}

COUNTERPARTS: Mapping[str, tuple[str, bool]] = {
    "DDIM": ("DDIMScheduler", True),
    "lambda-DDIM": ("DDIMScheduler", False),
    "anchored-DDIM": ("DDIMScheduler", False),
    "anchored-AB2": ("DPMSolverMultistepScheduler", False),
    "DPM-Solver++2S": ("DPMSolverSinglestepScheduler", False),
    "DPM-Solver++": ("DPMSolverMultistepScheduler", True),
    "SDE-DPM-Solver++": ("DPMSolverMultistepScheduler", True),
    "DPM-Solver-2": ("KDPM2DiscreteScheduler", True),
    "DPM-Solver-3": ("DPMSolverSinglestepScheduler", False),
    "UniPC": ("UniPCMultistepScheduler", True),
    "DEIS": ("DEISMultistepScheduler", False),
    "EDM-Heun": ("HeunDiscreteScheduler", True),
    "Heun": ("HeunDiscreteScheduler", False),
    "RK4": ("HeunDiscreteScheduler", False),
    "ERK2": ("KDPM2DiscreteScheduler", False),
    "Euler": ("EulerDiscreteScheduler", False),
    "EM": ("EulerAncestralDiscreteScheduler", False),
}
"""Beginning of a scheme's name -> its counterpart in diffusers, and whether that is the same scheme or the nearest."""


def find_by_beginning(spec: str, table: Mapping[str, tuple[str, bool]]) -> tuple[str, bool] | None:
    """The entry of a table for the longest beginning of the scheme's name that it has; None where it has none."""
    name = spec.partition("/")[2]
    found = [beginning for beginning in table if name.startswith(beginning)]
    return table[max(found, key=len)] if found else None


def counterpart(spec: str, history: int, nfe_per_step: int) -> tuple[str, bool]:
    """The scheduler of diffusers whose grid a scheme takes over, and whether it makes the same steps.

    A scheme that COUNTERPARTS does not list gets the nearest by what it reads and how often it evaluates.
    """
    listed = find_by_beginning(spec, COUNTERPARTS)
    if listed is not None:
        return listed
    if history:
        return "DPMSolverMultistepScheduler", False
    return "HeunDiscreteScheduler" if nfe_per_step > 1 else "DDIMScheduler", False


SPACINGS = ("linspace", "leading", "trailing")
"""What timestep_spacing names in diffusers, arXiv 2305.08891, table 2."""


def spaced(spacing: str, n: int, count: int, offset: int, habits: Habits) -> list[float]:
    """``n`` decreasing time steps out of 0 ... ``count`` - 1, as a scheduler with these ``habits`` spaces them.

    ``offset`` is added to leading ones, less where they would leave the table. One time step is the last entry, since
    one step goes from noise to data; ``count`` time steps are all there are. In both diffusers repeats or leaves some.
    """
    if n in (1, count):
        return [float(count - 1 - i) for i in range(n)]
    more = int(habits.leaves_last)
    if spacing == "linspace":
        laid = np.linspace(0, count - 1, n + more)[::-1][:n]
        return [float(k) for k in (laid.round() if habits.rounds else laid)]
    if spacing == "trailing":
        return [float(k) for k in (np.arange(n, 0, -1) * (count / n)).round() - 1]
    ratio = count // (n + more)
    beyond = max(0, (n - 1 + more) * ratio + offset - (count - 1))
    return [float((n - 1 - i + more) * ratio + offset - beyond) for i in range(n)]


def karras_sigmas(n: int, high: float, low: float) -> np.ndarray:
    """``n`` values from ``high`` to ``low``, equidistant in the seventh root: Karras et al., 2206.00364, eq. 5."""
    return (high ** (1 / 7) + np.linspace(0, 1, n) * (low ** (1 / 7) - high ** (1 / 7))) ** 7


def exponential_sigmas(n: int, high: float, low: float) -> np.ndarray:
    """``n`` values from ``high`` to ``low``, equidistant in the logarithm."""
    return np.exp(np.linspace(math.log(high), math.log(low), n))


SIGMAS: Mapping[str, Callable[[int, float, float], Iterable[float]]] = {
    "use_karras_sigmas": karras_sigmas,
    "use_exponential_sigmas": exponential_sigmas,
    "use_lu_lambdas": exponential_sigmas,  # diffusers' exponent of Lu et al., 2206.00927, is 1
    "use_beta_sigmas": beta_sigmas,
}
"""Setting -> (n, highest, lowest) -> sigmas, ratios sigma/alpha."""

WHOLE = ("use_karras_sigmas", "use_lu_lambdas")
"""Those at which diffusers tells the network the nearest whole time step, but not on the cosine table."""
