"""One step of a generated scheme in float64, at given times and from a given past: what all measurements are made of.

Knows how to run a step; does not know what the results should be, nor where the scheme came from.
States here are (n, k): n points, one number per block.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torch_backend.scheme import Scheme, SchemeFacts, facts_of
from torch_backend.walk.loop import Network

__all__ = ["Array", "Past", "Step", "call_step", "coefficient_row", "kept_outputs", "take_step", "with_rows_of"]

Array = NDArray[np.float64]

Step = tuple[float, float, Sequence[float]]
"""Start, end, and the start times of earlier steps, newest first."""


class Past(NamedTuple):
    """What a multistep scheme has behind it: start times of earlier steps, newest first, and the exact states there."""

    times: Sequence[float]
    states: Sequence[Tensor]


def take_step(
    scheme: Scheme,
    network: Network,
    z: Tensor,
    start: float,
    end: float,
    noise: Tensor | None = None,
    past: Past | None = None,
) -> Tensor:
    """Take one step from ``start`` to ``end``; return the state there, (n, k) float64 as ``z`` is.

    ``noise``: standard normal draws (noises, n, 1), or None for a deterministic scheme. A multistep scheme steps from
    ``past``, or as at the beginning of a walk where that is None.
    """
    facts = facts_of(scheme)
    if not facts.history:
        return call_step(facts, network, z, start, end, (), noise, [])
    times, kept = kept_outputs(facts, network, z, start, past)
    return call_step(facts, network, z, start, end, times, noise, kept)[0]


def kept_outputs(
    scheme: Scheme, network: Network, z: Tensor, start: float, past: Past | None
) -> tuple[Sequence[float], list[Tensor]]:
    """The times of ``past``, and what steps from the exact states there keep for a step from ``start``.

    Each is a tensor of z's shape, newest first; zeros, one per step of the scheme's history, where there is no past.
    """
    facts = facts_of(scheme)
    zeros = [torch.zeros_like(z)] * facts.history
    if past is None:
        return (), zeros
    ends = [start, *past.times]
    kept = [
        call_step(facts, network, state, time, end, (), None, zeros)[1]
        for state, time, end in zip(past.states, past.times, ends, strict=False)
    ]
    return past.times, kept


def call_step(
    scheme: Scheme,
    network: Network,
    z: Tensor,
    start: float,
    end: float,
    times: Sequence[float],
    noise: Tensor | None,
    kept: list[Tensor],
    change: Callable[[Tensor], Tensor] = lambda row: row,
) -> Any:
    """Call the generated ``step`` with the coefficients from ``start`` to ``end``, after ``change`` has edited them.

    ``times`` and ``kept`` are the past of a multistep scheme, newest first. Returns what the step does: the state
    (n, k) or, for a multistep scheme, the state and what it keeps. Raises ValueError for coefficients not finite.
    """
    facts, ends = facts_of(scheme), torch.tensor([start, end], dtype=torch.float64)
    values = coefficient_row(facts, start, end, times)
    if not all(map(math.isfinite, values)):
        raise ValueError(f"the coefficients of the step from {start!r} to {end!r} are not finite: {values}")
    row = change(torch.tensor(values, dtype=torch.float64))
    extra = (kept,) if facts.history else ()
    return facts.step(z, ends[0], ends[1], row, lambda y, t: network(y, t.expand(len(y))), noise, *extra)


def coefficient_row(scheme: Scheme, start: float, end: float, times: Sequence[float]) -> Sequence[float]:
    """The coefficients of the step from ``start`` to ``end``; ``times``: starts of earlier steps, newest first."""
    facts = facts_of(scheme)
    t, s, *past = torch.tensor([start, end, *times], dtype=torch.float64)
    row: list[float] = (facts.coefficients(t, s, past) if facts.history else facts.coefficients(t, s)).tolist()
    return row


def with_rows_of(scheme: Scheme, steps: Iterable[Step]) -> SchemeFacts:
    """The facts of a scheme with the coefficients of ``steps`` known: those with equally long pasts computed at once.

    Coefficients of any other step, or with any other argument, are computed when they are asked for.
    """
    facts = facts_of(scheme)
    alike: dict[int, list[tuple[float, ...]]] = {}
    for start, end, times in steps:
        alike.setdefault(len(times), []).append((float(start), float(end), *map(float, times)))
    known: dict[tuple[float, ...], Tensor] = {}
    for group in alike.values():
        t, s, *past = torch.tensor(group, dtype=torch.float64).unbind(1)
        known.update(zip(group, facts.coefficients(t, s, *([past] if facts.history else [])), strict=True))

    def coefficients(t: Tensor, s: Tensor, past: Sequence[Tensor] = (), *more: Any, **others: Any) -> Tensor:
        if t.dim() == 0 and not more and not others:
            row = known.get((float(t), float(s), *map(float, past)))
            if row is not None:
                return row
        found: Tensor = facts.coefficients(t, s, *([past] if facts.history else []), *more, **others)
        return found

    return replace(facts, coefficients=coefficients)
