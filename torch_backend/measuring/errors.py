"""Errors of single steps against exact solutions, for a series of step sizes: of states, and of means over a law.

Knows how steps are started from an exact past; does not know the exact solutions, which the caller gives.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from torch_backend.measuring.one_step import Array, Past, Step, call_step, kept_outputs, take_step, with_rows_of
from torch_backend.scheme import Scheme, SchemeFacts, facts_of
from torch_backend.walk.loop import Network

__all__ = ["local_errors", "weak_errors"]


def local_errors(
    scheme: Scheme,
    network: Network,
    z: Array,
    start: float,
    ends: Sequence[float],
    exact: Array,
    pasts: Sequence[Past | None],
    mending: tuple[Sequence[bool], Sequence[float]] | None = None,
) -> Array:
    """One-step errors, numerical minus exact, of shape (len(ends), n, k).

    - ``z``: exact states (n, k) at ``start``; ``exact``: the exact states (len(ends), n, k) at ``ends``.
    - ``pasts``: per end, the exact past of a multistep scheme; None for a one-step scheme.
    - ``mending``: for a predictor-corrector, per coefficient: whether it belongs to the correction of the step before,
      and the value with which the step itself stands still (NaN where it is to be left as it is).
    """
    steps = [step for end, past in zip(ends, pasts, strict=True) for step in _steps_to(start, end, past)]
    state, facts = torch.from_numpy(z), with_rows_of(scheme, steps)
    found = []
    for end, past in zip(ends, pasts, strict=True):
        if facts.primed and past is not None:
            found.append(_primed_pair(facts, network, state, start, end, past).numpy())
        elif mending is None:
            found.append(take_step(facts, network, state, start, end, past=past).numpy())
        else:
            assert past is not None
            found.append(_corrected_step(facts, network, state, start, end, past, *mending).numpy())
    return np.stack(found) - exact


def _steps_to(start: float, end: float, past: Past | None) -> list[Step]:
    """The step to an end, and those from the states of its past, which are taken for what they keep."""
    times = [] if past is None else list(past.times)
    return [(start, end, times), *((time, later, ()) for time, later in zip(times, [start, *times], strict=False))]


def _primed_pair(facts: SchemeFacts, network: Network, z: Tensor, start: float, end: float, past: Past) -> Tensor:
    """The end of the second of two steps, less the error of the first: to be compared with the exact state at ``end``.

    The first step goes from the exact state at past.times[0] to ``start``, primed as at the beginning of a walk. Its
    error there, against the exact state z, is subtracted, so that what the second step adds is left.
    """
    before, state = past.times[0], past.states[0]
    _, first = call_step(facts, network, state, before, before, (), None, [torch.zeros_like(z)])
    middle, kept = call_step(facts, network, state, before, start, (), None, [first])
    last, _ = call_step(facts, network, middle, start, end, (before,), None, [kept])
    return last - (middle - z)


def _corrected_step(
    facts: SchemeFacts,
    network: Network,
    z: Tensor,
    start: float,
    end: float,
    past: Past,
    mending: Sequence[bool],
    still: Sequence[float],
) -> Tensor:
    """The state at ``end`` that a predictor-corrector has once it has corrected its step from ``start``.

    The scheme corrects a step at the beginning of the next one. So there are two calls: one step without correction,
    then the correction alone. ``mending`` and ``still``: see ``local_errors``.
    """
    corrects = torch.tensor(mending)
    at_rest = torch.tensor(still, dtype=torch.float64)
    times, kept = kept_outputs(facts, network, z, start, past)
    predicted, now = call_step(
        facts, network, z, start, end, times, None, kept, lambda row: row.masked_fill(corrects, 0.0)
    )
    later = ([start, *times][: facts.history], [now, *kept][: facts.history])
    beyond = end - (start - end)

    def correct_only(row: Tensor) -> Tensor:
        return torch.where(corrects | at_rest.isnan(), row, at_rest)

    return call_step(facts, network, predicted, end, beyond, later[0], None, later[1], correct_only)[0]


def weak_errors(
    scheme: Scheme,
    network: Network,
    nodes: tuple[Array, Array],
    normal: tuple[Array, Array],
    start: float,
    ends: Sequence[float],
    observables: Sequence[Callable[[Array], Array]],
    exact: Array,
) -> Array:
    """E f(numerical) minus ``exact``, both (len(ends), observables), by cubature over the start's law and the noise.

    - ``nodes``: points (n, k) and weights (n) of the law at ``start``; ``normal``: points (m, noises) and weights (m).
    - ``observables``: functions f of states (n, k), with values (n).

    One step to each end. A multistep scheme begins without a past and takes steps of the same size until it has one;
    ``exact`` is then meant for the last of them. No random numbers are drawn.
    """
    (points, weights), (draws, shares) = nodes, normal
    z = torch.from_numpy(np.repeat(points, len(draws), axis=0))
    noise = torch.from_numpy(np.tile(draws, (len(points), 1)).T.copy())[..., None]
    law, history = np.outer(weights, shares).ravel(), facts_of(scheme).history
    walks = [[start - n * (start - end) for n in range(history + 2)] for end in ends]
    facts = with_rows_of(scheme, [(w[i], w[i + 1], w[:i][::-1]) for w in walks for i in range(history + 1)])
    out = []
    for times in walks:
        out.append(_take_steps(facts, network, z, times, noise.split(facts.noises)).numpy())
    return np.array([[law @ f(state) for f in observables] for state in out]) - exact


def _take_steps(
    facts: SchemeFacts, network: Network, z: Tensor, times: Sequence[float], noises: Sequence[Tensor]
) -> Tensor:
    """The state after steps along ``times`` from no past, with noise (noises, n, 1) given for every step."""
    if not facts.history:
        return take_step(facts, network, z, times[0], times[1], noises[0])
    kept = [torch.zeros_like(z)] * facts.history
    for i, noise in enumerate(noises):
        past = times[:i][::-1]
        z, now = call_step(facts, network, z, times[i], times[i + 1], past, noise, kept)
        kept = [now, *kept[:-1]]
    return z
