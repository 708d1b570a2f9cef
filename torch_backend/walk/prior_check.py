"""Whether the first output of a network in a walk has the size that eps or a velocity has there.

Knows what trained networks return on the prior; knows no scheme and no process. Exported files carry this text.
"""

import warnings

import torch
from torch import Tensor

PLAUSIBLE = (0.3, 3.0)
"""The root mean square that a first output may have. On the prior the state is noise, and the best eps has 1. The best
velocity of flow matching is z - E[x_0] there, which has at most 1.42 for data in [-1, 1]."""

JUDGED = ("eps", "v", "velocity")
"""Outputs that have about the size of noise on the prior. A score has that of noise over sigma, and the best x_0 of a
process that forgets the data is their mean."""

ENTRIES = 16
"""Outputs of fewer numbers are not judged: 16 draws of N(0, 1) lie outside ``PLAUSIBLE`` once in a million times, 8 of
them once in 2,000."""


class ImplausibleOutputWarning(UserWarning):
    """The first output of a network in a walk is too large or too small to be eps or a velocity on the prior."""


def root_mean_square(output: Tensor) -> Tensor:
    """The root mean square of a network's output as a 0-d tensor beside it, float32; nothing waits for the device."""
    return output.detach().to(torch.float32).square().mean().sqrt()


def warn_unless_plausible(
    size: Tensor | float, entries: int, t: float, t_max: float, spec: str, stacklevel: int = 2
) -> None:
    """Issue an ImplausibleOutputWarning where the first output of a walk does not have the size it has on the prior.

    - ``size``: the ``root_mean_square`` of the first output. A tensor is read here, which waits for its device: call
      this after the last step. ``entries``: how many numbers it is taken over; fewer than 16 are not judged.
    - ``t``: the time of that evaluation; below 0.9 ``t_max`` the walk did not begin on the prior, where eps may be
      small, and nothing is judged.
    - ``spec``: process and scheme, for the message. ``stacklevel``: 1 names the caller's line, 2 its caller's.
    """
    low, high = PLAUSIBLE
    if entries < ENTRIES or t < 0.9 * t_max:
        return
    found = float(size)
    if low <= found <= high:
        return
    warnings.warn(
        f"{spec}: the network's first output, at time {t:.6g}, has root mean square {found:.3g}, where eps or a "
        f"velocity has about 1 on the prior. The usual causes: the network counts time otherwise, such as 0 ... 999, "
        f"and is given (0, {t_max:g}]; it returns another prediction than the scheme takes (x_0, score, v); or its "
        "input or the data are scaled otherwise.",
        ImplausibleOutputWarning,
        stacklevel=stacklevel + 1,
    )
