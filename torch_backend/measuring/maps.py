"""A step as a map: its matrix on a linear score, and how often it calls the network.

Knows how to run a step on chosen states; does not know what the results should be.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from torch_backend.measuring.one_step import Array, call_step, take_step
from torch_backend.scheme import Scheme, facts_of
from torch_backend.walk.loop import Network

__all__ = ["affine_map", "count_evaluations"]


def count_evaluations(scheme: Scheme, start: float, end: float) -> int:
    """How often one step from ``start`` to ``end`` calls the network."""
    facts, calls = facts_of(scheme), 0

    def network(z: Tensor, t: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return torch.zeros_like(z)

    z = torch.zeros(1, len(facts.blocks), dtype=torch.float64)
    take_step(facts, network, z, start, end, torch.zeros(facts.noises, 1, 1, dtype=torch.float64))
    return calls


def affine_map(
    scheme: Scheme, network: Network, start: float, end: float, past: Sequence[float] = ()
) -> tuple[Array, Array, Array]:
    """Matrix (size, size), offset (size,) and noise factor (size, noises) of one step, for a network affine in z.

    The map is on z followed by the outputs that a multistep scheme keeps, size = k (1 + history). ``past``: the times
    at which earlier steps began, newest first.
    """
    facts = facts_of(scheme)
    k, noises, history = len(facts.blocks), facts.noises, facts.history
    size = k * (1 + history)

    def images(units: Tensor) -> Array:
        """What becomes of zero, of z and the kept outputs along ``units``, and of noises along them."""
        inputs = torch.cat([torch.zeros(1, size), units[:size, :size], torch.zeros(noises, size)]).double()
        noise = torch.cat([torch.zeros(1 + size, noises), units[:noises, :noises]]).double().T[..., None]
        z, *kept = inputs.split(k, dim=1)
        result = call_step(facts, network, z, start, end, past, noise, kept)
        return (torch.cat([*result, *kept[:-1]], dim=1) if history else result).numpy()

    units = torch.eye(max(size, noises))
    found = images(units)
    offset = found[0]
    # Beside a large offset the images of unit vectors would be lost to rounding: longer ones are taken then.
    length = 2.0 ** np.ceil(np.log2(max(1.0, np.abs(offset).max())))
    if length > 1.0:
        found = images(length * units)
    columns = (found[1:] - offset).T / length
    return columns[:, :size], offset, columns[:, size:]
