"""What a walk refuses: unknown names, devices that are not there, times out of order, states of another shape.

Knows what is accepted, and says so in one sentence. Exported files carry this text.
"""

import difflib
import math
from collections.abc import Iterable

import torch
from torch import Tensor


def unknown_name_message(kind: str, name: object, known: Iterable[str]) -> str:
    """One sentence for a name that is not known: what was given, the nearest name, and every name there is.

    >>> unknown_name_message("grid", "quadratc", ["quadratic", "uniform"])
    "unknown grid 'quadratc'; did you mean 'quadratic'? Known: quadratic, uniform"
    """
    names = sorted(known)
    near = difflib.get_close_matches(str(name), names, n=1)
    hint = f" did you mean {near[0]!r}?" if near else ""
    return f"unknown {kind} {name!r};{hint} Known: {', '.join(names) or 'none'}"


def usable_device(device: str | torch.device) -> torch.device:
    """Make a tensor on the device; return the device with its index. Raises ValueError, one sentence, where it fails.

    >>> usable_device("cpu")
    device(type='cpu')
    """
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:  # torch raises either, and names what a build lacks
        here = ["cpu", *["cuda"] * torch.cuda.is_available(), *["mps"] * torch.backends.mps.is_available()]
        raise ValueError(f"device {str(device)!r} cannot be used here; available: {', '.join(here)}") from error


def check_times(times: Iterable[float], t_max: float = math.inf, to_zero: bool = False) -> list[float]:
    """Check that the times are those of a walk from noise to data; return them as Python floats.

    With ``to_zero`` the last time may be 0: a step to no noise. Raises TypeError for a single number, and ValueError
    unless there are at least two times, all finite, all in ``(0, t_max]`` and strictly decreasing.
    """
    if isinstance(times, int | float):
        raise TypeError(f"times = {times!r} is one number; pass the sequence of times, or a number of steps as steps")
    values = [float(t) for t in times]
    if len(values) < 2:
        raise ValueError(f"times has {len(values)} entries; at least two are needed, the start and the end")
    for i, t in enumerate(values):
        ends_at_zero = to_zero and t == 0 and 0 < i == len(values) - 1
        if not math.isfinite(t) or not (0 < t <= t_max or ends_at_zero):
            bound = "finite and positive" if t_max == math.inf else f"in (0, {t_max!r}]"
            bound += " (the last one may be 0, a step to no noise)" * to_zero
            raise ValueError(f"times[{i}] = {t!r} is not a usable diffusion time; every time must be {bound}")
        if i and t >= values[i - 1]:
            raise ValueError(
                f"times[{i}] = {t!r} is not below times[{i - 1}] = {values[i - 1]!r}; times must decrease strictly"
            )
    return values


def without_zero(walk: list[float]) -> list[float]:
    """The times of a walk between which its scheme makes the steps: all but a closing 0, a step to no noise.

    >>> without_zero([1.0, 0.5, 0.0]), without_zero([1.0, 0.5])
    ([1.0, 0.5], [1.0, 0.5])
    """
    return walk[:-1] if walk[-1] == 0 else walk


def check_state(z: object, blocks: int) -> None:
    """Raise TypeError unless z is a floating-point tensor, ValueError unless its dimension 1 holds that many blocks."""
    if not isinstance(z, Tensor) or not z.is_floating_point():
        raise TypeError(f"the state is {getattr(z, 'dtype', type(z).__name__)}; a floating-point tensor is needed")
    if z.dim() < 2 or z.shape[1] == 0 or z.shape[1] % blocks:
        raise ValueError(
            f"the state has shape {tuple(z.shape)}; dimension 1 must hold {blocks} block(s) of channels, "
            f"shape (n, {blocks} * c, ...)"
        )
