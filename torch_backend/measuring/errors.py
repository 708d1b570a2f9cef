"""Errors of single steps, strong and weak, for a series of step sizes."""

from collections.abc import Callable, Sequence
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from torch_backend.measuring.one_step import Array, Past, call_step, kept_outputs, primed, take_step
from torch_backend.walk.loop import Network

__all__ = ["local_errors", "mended_step", "weak_errors"]


def _primed_pair(module: ModuleType, network: Network, z: Tensor, start: float, end: float, past: Past) -> Tensor:
    """What a second step adds to the error of a first, from an exact state one step before ``start``; plus z's flow.

    The first step goes from past.times[0] to ``start``, where the exact state is z; the sum is to be compared with the
    exact state at ``end``.
    """
    before, state = past.times[0], past.states[0]
    _, first = call_step(module, network, state, before, before, (), None, [torch.zeros_like(z)])
    middle, kept = call_step(module, network, state, before, start, (), None, [first])
    last, _ = call_step(module, network, middle, start, end, (before,), None, [kept])
    return last - (middle - z)


def mended_step(
    module: ModuleType,
    network: Network,
    z: Tensor,
    start: float,
    end: float,
    past: Past,
    mending: Sequence[bool],
    still: Sequence[float],
) -> Tensor:
    """The state at ``end`` of a predictor-corrector: one step without mending, then the mending alone.

    Per coefficient, ``mending`` tells those of the mending from those of the step, and ``still`` gives the latter
    the values with which the step stands still.
    """
    first = torch.tensor(mending)
    at_rest = torch.tensor(still, dtype=torch.float64)
    times, kept = kept_outputs(module, network, z, start, past)
    predicted, now = call_step(
        module, network, z, start, end, times, None, kept, lambda row: row.masked_fill(first, 0.0)
    )
    later = ([start, *times][: module.HISTORY], [now, *kept][: module.HISTORY])
    beyond = end - (start - end)

    def mend_only(row: Tensor) -> Tensor:
        return torch.where(first | at_rest.isnan(), row, at_rest)

    return call_step(module, network, predicted, end, beyond, later[0], None, later[1], mend_only)[0]


def local_errors(
    module: ModuleType,
    network: Network,
    z: Array,
    start: float,
    ends: Sequence[float],
    exact: Array,
    pasts: Sequence[Past | None],
    mending: tuple[Sequence[bool], Sequence[float]] | None = None,
) -> Array:
    """One-step errors, numerical minus exact: (len(ends), n, k) for exact solutions of that shape.

    ``pasts``: per end, the exact past of a multistep scheme; ``mending``: see ``mended_step``.
    """
    state = torch.from_numpy(z)
    found = []
    for end, past in zip(ends, pasts, strict=True):
        if primed(module) and past is not None:
            found.append(_primed_pair(module, network, state, start, end, past).numpy())
        elif mending is None:
            found.append(take_step(module, network, state, start, end, past=past).numpy())
        else:
            assert past is not None
            found.append(mended_step(module, network, state, start, end, past, *mending).numpy())
    return np.stack(found) - exact


def weak_errors(
    module: ModuleType,
    network: Network,
    nodes: tuple[Array, Array],
    normal: tuple[Array, Array],
    start: float,
    ends: Sequence[float],
    observables: Sequence[Callable[[Array], Array]],
    exact: Array,
) -> Array:
    """E f(numerical) minus ``exact`` (len(ends), observables), by cubature over the start's law and the noise.

    ``nodes``: points (n, k) and weights (n) of the law at ``start``; ``normal``: points (m, noises) and weights (m).
    One step to each end; a multistep scheme begins without a past and takes as many steps of the same size as it takes
    to fill it, so that ``exact`` is then meant for the last of them. No random numbers are drawn.
    """
    (points, weights), (draws, shares) = nodes, normal
    z = torch.from_numpy(np.repeat(points, len(draws), axis=0))
    noise = torch.from_numpy(np.tile(draws, (len(points), 1)).T.copy())[..., None]
    law = np.outer(weights, shares).ravel()
    out = []
    for end in ends:
        times = [start - n * (start - end) for n in range(module.HISTORY + 2)]
        out.append(_walk(module, network, z, times, noise.split(module.NOISES)).numpy())
    return np.array([[law @ f(state) for f in observables] for state in out]) - exact


def _walk(module: ModuleType, network: Network, z: Tensor, times: Sequence[float], noises: Sequence[Tensor]) -> Tensor:
    """Steps along ``times`` from no past, with given noises (noises, n, 1) for every step."""
    if not module.HISTORY:
        return take_step(module, network, z, times[0], times[1], noises[0])
    kept = [torch.zeros_like(z)] * module.HISTORY
    for i, noise in enumerate(noises):
        past = times[:i][::-1]
        z, now = call_step(module, network, z, times[i], times[i + 1], past, noise, kept)
        kept = [now, *kept[:-1]]
    return z
