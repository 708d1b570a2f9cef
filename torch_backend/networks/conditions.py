"""Conditional networks as networks(z, t): a condition passed through, and classifier-free guidance.

Knows that a conditional network is network(z, t, condition). A condition is a tensor with one entry per sample, or a
mapping of names to such tensors. Exported files carry this text.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from torch_backend.walk.loop import Network

Condition = Tensor | Mapping[str, Tensor]
ConditionalNetwork = Callable[[Tensor, Tensor, Any], Tensor]


def conditioned(network: ConditionalNetwork, condition: Any) -> Network:
    """The network(z, t) that calls ``network`` with one condition: labels, prompts or whatever it takes."""
    return lambda z, t: network(z, t, condition)


def classifier_free(network: ConditionalNetwork, condition: Condition, null: Condition, scale: float) -> Network:
    """The network(z, t) that returns (1 - scale) n(z, t, null) + scale n(z, t, condition), n being ``network``.

    Both come from one call on a batch of twice the size. Source: Ho and Salimans, arXiv 2207.12598, with
    scale = 1 + w: 0 is unconditional, 1 conditional. It holds for eps, x_0, v and velocity alike, which are affine in
    each other. ``condition`` and ``null`` have one entry per sample. Raises ValueError where their names or shapes
    differ and, when called, for another number of samples.
    """
    both, count = _join(null, condition)

    def guided(z: Tensor, t: Tensor) -> Tensor:
        if z.shape[0] != count:
            raise ValueError(f"{count} conditions for {z.shape[0]} samples; one each is needed")
        free, bound = network(torch.cat([z, z]), torch.cat([t, t]), both).chunk(2)
        return torch.lerp(free, bound, scale)

    return guided


def _join(null: Condition, condition: Condition) -> tuple[Condition, int]:
    """``null`` followed by ``condition``, entry by entry, and how many samples each of them is for."""
    if isinstance(null, Tensor) and isinstance(condition, Tensor):
        if condition.shape != null.shape:
            raise ValueError(f"condition has shape {tuple(condition.shape)}, null {tuple(null.shape)}; they must agree")
        return torch.cat([null, condition]), condition.shape[0]
    if isinstance(null, Tensor) or isinstance(condition, Tensor) or set(null) != set(condition) or not null:
        raise ValueError("condition and null must be two tensors, or tensors under the same names")
    joined = {name: _join(null[name], condition[name]) for name in condition}
    (count,) = {number for _, number in joined.values()}
    return {name: both for name, (both, _) in joined.items() if isinstance(both, Tensor)}, count
