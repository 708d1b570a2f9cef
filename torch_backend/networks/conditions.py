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
    """The network(z, t) that calls ``network`` with one condition: labels, prompts or whatever it takes.

    A condition of tensors has one entry per sample, or one for all; called for another number, it raises ValueError.
    """
    parts = condition.values() if isinstance(condition, Mapping) else (condition,)
    counts = {part.shape[0] for part in parts if isinstance(part, Tensor) and part.dim() > 0}

    def bound(z: Tensor, t: Tensor) -> Tensor:
        for count in counts - {1}:
            _check_count(count, z)
        return network(z, t, condition)

    return bound


def classifier_free(network: ConditionalNetwork, condition: Condition, null: Condition, scale: float) -> Network:
    """The network(z, t) that returns (1 - scale) n(z, t, null) + scale n(z, t, condition), n being ``network``.

    Both come from one call on a batch of twice the size. Source: Ho and Salimans, arXiv 2207.12598, with
    scale = 1 + w: 0 is unconditional, 1 conditional. It holds for eps, x_0, v and velocity alike, which are affine in
    each other. ``condition`` and ``null`` have one entry per sample. Raises ValueError where their names or shapes
    differ and, when called, for another number of samples.
    """
    both, count = _join(null, condition)

    def guided(z: Tensor, t: Tensor) -> Tensor:
        _check_count(count, z)
        free, bound = network(torch.cat([z, z]), torch.cat([t, t]), both).chunk(2)
        return torch.lerp(free, bound, scale)

    return guided


def _check_count(count: int, z: Tensor) -> None:
    """Raise ValueError unless there is one condition for every sample of z."""
    if z.shape[0] != count:
        raise ValueError(f"{count} conditions for {z.shape[0]} samples; one each is needed")


def _join(null: Condition, condition: Condition) -> tuple[Condition, int]:
    """``null`` followed by ``condition``, entry by entry, and how many samples each of them is for."""
    if isinstance(null, Tensor) and isinstance(condition, Tensor):
        if condition.shape != null.shape:
            raise ValueError(f"condition has shape {tuple(condition.shape)}, null {tuple(null.shape)}; they must agree")
        if condition.dim() == 0:
            raise ValueError("condition and null are single numbers; one entry per sample is needed")
        return torch.cat([null, condition]), condition.shape[0]
    if isinstance(null, Tensor) or isinstance(condition, Tensor) or set(null) != set(condition) or not null:
        raise ValueError("condition and null must be two tensors, or tensors under the same names")
    joined = {name: _join(null[name], condition[name]) for name in condition}
    count, *others = {number for _, number in joined.values()}
    if others:
        raise ValueError(f"some conditions are for {count} samples, some for {others[0]}; one each is needed")
    return {name: both for name, (both, _) in joined.items() if isinstance(both, Tensor)}, count
