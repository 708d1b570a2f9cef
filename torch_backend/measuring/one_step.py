"""Measurements of a generated scheme module in float64: what one step does, and how many evaluations it takes.

Knows how to run a step; does not know what the results should be, nor where the module came from.
States here are (n, k): n points, one number per block.
"""

import math
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torch_backend.walk.loop import Network

__all__ = ["Past", "take_step"]

Array = NDArray[np.float64]


class Past(NamedTuple):
    """What a multistep scheme has behind it: start times of earlier steps, newest first, and the exact states there."""

    times: Sequence[float]
    states: Sequence[Tensor]


def take_step(
    module: ModuleType,
    network: Network,
    z: Tensor,
    start: float,
    end: float,
    noise: Tensor | None = None,
    past: Past | None = None,
) -> Tensor:
    """One step of the generated source from ``start`` to ``end``: z (n, k) float64, noise (noises, n, 1) or None.

    A multistep scheme steps from ``past``, or as if it had none.
    """
    if not module.HISTORY:
        return call_step(module, network, z, start, end, (), noise, [])
    times, kept = kept_outputs(module, network, z, start, past)
    return call_step(module, network, z, start, end, times, noise, kept)[0]


def primed(module: ModuleType) -> bool:
    """Whether the past of a first step is an evaluation at its start."""
    return getattr(module, "PRIMED", False)


def kept_outputs(
    module: ModuleType, network: Network, z: Tensor, start: float, past: Past | None
) -> tuple[Sequence[float], list[Tensor]]:
    """The times of ``past``, and what the steps from there would have kept; zeros where there was no step."""
    zeros = [torch.zeros_like(z)] * module.HISTORY
    if past is None:
        return (), zeros
    ends = [start, *past.times]
    kept = [
        call_step(module, network, state, time, end, (), None, zeros)[1]
        for state, time, end in zip(past.states, past.times, ends, strict=False)
    ]
    return past.times, kept


def call_step(
    module: ModuleType,
    network: Network,
    z: Tensor,
    start: float,
    end: float,
    times: Sequence[float],
    noise: Tensor | None,
    kept: list[Tensor],
    change: Callable[[Tensor], Tensor] = lambda row: row,
) -> Any:
    """The generated ``step`` on one row of coefficients, ``change`` applied to the row."""
    ends = torch.tensor([start, end], dtype=torch.float64)
    values = coefficient_row(module, start, end, times)
    if not all(map(math.isfinite, values)):
        raise ValueError(f"the coefficients of the step from {start!r} to {end!r} are not finite: {values}")
    row = change(torch.tensor(values, dtype=torch.float64))
    extra = (kept,) if module.HISTORY else ()
    return module.step(z, ends[0], ends[1], row, lambda y, t: network(y, t.expand(len(y))), noise, *extra)


def coefficient_row(module: ModuleType, start: float, end: float, times: Sequence[float]) -> Sequence[float]:
    """The row of one step; ``times`` are those at which earlier ones started."""
    return tuple(module.coefficients(start, end, times) if module.HISTORY else module.coefficients(start, end))
