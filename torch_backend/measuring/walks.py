"""Whole walks of points, as a sampler makes them: on the device and in the precision of the state."""

from collections.abc import Sequence

import torch
from torch import Tensor

from torch_backend.measuring.one_step import Array
from torch_backend.scheme import Scheme, facts_of
from torch_backend.walk.loop import Network, integrate
from torch_backend.walk.sample_scheme import choose_ending, choose_times
from torch_backend.walk.table import priming_row, tabulate, tabulate_scheme

__all__ = ["end_of_default_walk", "end_of_walk"]


def end_of_walk(
    scheme: Scheme, network: Network, z: Tensor | Array, times: Sequence[float], noise: Tensor | None = None
) -> Array:
    """Walk z (n, k) down the times; return the state (n, k) at the last of them, as float64 numbers.

    The walk runs on z's device, in z's precision; a numpy array is walked on the CPU. ``noise``: standard normal
    draws (steps, noises, n), or None for a deterministic scheme.
    """
    facts = facts_of(scheme)
    reached = integrate(
        facts.step,
        tabulate(facts.coefficients, times, facts.history),
        times,
        network,
        torch.as_tensor(z),
        blocks=len(facts.blocks),
        noises=facts.noises,
        history=facts.history,
        primed=priming_row(facts, times),
        draw=None if noise is None else lambda i: noise[i, ..., None],
    )
    return reached.double().cpu().numpy()


def end_of_default_walk(
    scheme: Scheme, network: Network, z: Tensor | Array, steps: int, noise: Tensor | None = None
) -> Array:
    """Walk z (n, k) as ``Sampler.sample`` does for a number of steps alone; return the state (n, k) at no noise.

    ``noise``: as in ``end_of_walk``, for all steps but the one to no noise. Raises what the sampler raises.
    """
    facts = facts_of(scheme)
    walk = choose_times(facts, steps, None)
    reached = integrate(
        facts.step,
        tabulate_scheme(facts, walk),
        walk,
        network,
        torch.as_tensor(z),
        blocks=len(facts.blocks),
        noises=facts.noises,
        history=facts.history,
        primed=priming_row(facts, walk),
        ending=choose_ending(facts, walk),
        draw=None if noise is None else lambda i: noise[i, ..., None],
    )
    return reached.double().cpu().numpy()
