"""Guidance, conditions and inpainting around a network: each gives a network(z, t) again, for any sampler.

Knows networks that return eps, and the kernel of a process; knows no scheme, so that no scheme has to know of guidance.
Conditional networks are network(z, t, condition), with one condition per sample.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from torch_backend.loop import Network
from torch_backend.scores.exact import Kernel
from torch_backend.scores.gaussian import GaussianScore

__all__ = ["classifier_free", "classifier_guided", "conditioned", "inpainting"]

ConditionalNetwork = Callable[[Tensor, Tensor, Any], Tensor]


def conditioned(network: ConditionalNetwork, condition: Any) -> Network:
    """network(z, t, condition) as a network(z, t): labels, prompts or whatever the network takes, passed through."""
    return lambda z, t: network(z, t, condition)


def classifier_free(network: ConditionalNetwork, condition: Tensor, null: Tensor, scale: float) -> Network:
    """(1 - scale) n(z, t, null) + scale n(z, t, condition), in one call on a batch of twice the size.

    Ho and Salimans, arXiv 2207.12598, with scale = 1 + w: 0 is unconditional, 1 conditional. Right for eps, x_0, v and
    velocity alike, which are affine in each other. ``condition`` and ``null`` have one entry per sample.
    """
    if condition.shape != null.shape:
        raise ValueError(f"condition has shape {tuple(condition.shape)}, null {tuple(null.shape)}; the same is needed")
    both = torch.cat([null, condition])

    def guided(z: Tensor, t: Tensor) -> Tensor:
        if 2 * z.shape[0] != both.shape[0]:
            raise ValueError(f"{both.shape[0] // 2} conditions for {z.shape[0]} samples; one each is needed")
        free, bound = network(torch.cat([z, z]), torch.cat([t, t]), both).chunk(2)
        return torch.lerp(free, bound, scale)

    return guided


def classifier_guided(
    network: Network, log_probability: Callable[[Tensor, Tensor], Tensor], kernel: Kernel, scale: float = 1.0
) -> Network:
    """eps - scale L^T grad log p(y | z, t): the score of the data, plus that of a classifier trained on states z_t.

    Dhariwal and Nichol, arXiv 2105.05233, algorithm 2, for any number of blocks: score = -L^-T eps with the kernel's
    Cholesky factor L. ``log_probability(z, t)``: log p of the wanted label, of shape (n,), differentiable in z.
    """

    def guided(z: Tensor, t: Tensor) -> Tensor:
        with torch.enable_grad():
            at = z.detach().requires_grad_(True)
            (gradient,) = torch.autograd.grad(log_probability(at, t).sum(), at)
        entries = [entry.reshape(-1, *[1] * (z.dim() - 1)).to(z.dtype) for entry in kernel.cholesky(t.double())]
        blocks = gradient.chunk(2, dim=1) if len(entries) == 3 else (gradient,)
        # L^T g, row by row of L: entries (xx), or (xx, mx, mm)
        pulled = entries[0] * blocks[0]
        if len(entries) == 3:
            pulled = torch.cat([pulled + entries[1] * blocks[1], entries[2] * blocks[1]], dim=1)
        return network(z, t) - scale * pulled

    return guided


def inpainting(network: Network, known: Tensor, mask: Tensor, kernel: Kernel) -> Network:
    """eps of the network where ``mask`` is 0, the exact eps of ``known`` where it is 1.

    Where the data are known their score is known: that of a point, which carries those entries of the state to
    ``known`` along with the walk, on every process and with every scheme, while the network sees them with the noise
    that they have at that time. ``known`` has the data's shape (c, ...); ``mask`` broadcasts to it. Steps of finite
    length end near ``known``, not on it; paste it over the result.
    """
    exact = GaussianScore(kernel, known, torch.zeros_like(known))
    share = mask.expand(known.shape)

    def painted(z: Tensor, t: Tensor) -> Tensor:
        blocks = z.shape[1] // known.shape[0]
        return torch.where(share.repeat(blocks, *[1] * (known.dim() - 1)).to(z.device) > 0, exact(z, t), network(z, t))

    return painted
