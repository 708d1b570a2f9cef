"""Guidance, conditions and inpainting around a network: each gives a network(z, t) again, for any sampler.

Knows networks that return eps, and the kernel of a process; knows no scheme, and no scheme knows of guidance.
Conditions and classifier-free guidance stand in ``conditions``, and can be imported from here too.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from torch_backend.networks.conditions import classifier_free, conditioned
from torch_backend.scores.exact import Kernel, in_float64
from torch_backend.scores.gaussian import GaussianScore
from torch_backend.walk.loop import Network

__all__ = ["classifier_free", "classifier_guided", "conditioned", "inpainting"]


def classifier_guided(
    network: Network, log_probability: Callable[[Tensor, Tensor], Tensor], kernel: Kernel, scale: float = 1.0
) -> Network:
    """The network(z, t) that returns eps - scale L^T grad log p(y | z, t): it adds a classifier's score to the data's.

    The classifier is trained on diffused states z_t. Source: Dhariwal and Nichol, arXiv 2105.05233, algorithm 2, here
    for any number of blocks: score = -L^-T eps with the kernel's Cholesky factor L. ``log_probability(z, t)``: log p of
    the wanted label, of shape (n,), differentiable in z.
    """

    def guided(z: Tensor, t: Tensor) -> Tensor:
        with torch.enable_grad():
            at = z.detach().requires_grad_(True)
            (gradient,) = torch.autograd.grad(log_probability(at, t).sum(), at)
        entries = [entry.reshape(-1, *[1] * (z.dim() - 1)).to(z) for entry in kernel.cholesky(in_float64(t))]
        blocks = gradient.chunk(2, dim=1) if len(entries) == 3 else (gradient,)
        # L^T g, row by row of L: entries (xx), or (xx, mx, mm)
        pulled = entries[0] * blocks[0]
        if len(entries) == 3:
            pulled = torch.cat([pulled + entries[1] * blocks[1], entries[2] * blocks[1]], dim=1)
        return network(z, t) - scale * pulled

    return guided


def inpainting(network: Network, known: Tensor, mask: Tensor, kernel: Kernel) -> Network:
    """The network(z, t) that returns the network's eps where ``mask`` is 0, the exact eps of ``known`` where it is 1.

    Where the data are known, so is their score: that of a point. With it any scheme on any process carries those
    entries of the state to ``known``, and the network sees them with the noise that they have at that time. ``known``
    has the data's shape (c, ...); ``mask`` broadcasts to it. Steps of finite length end near ``known``, not on it;
    paste it over the result.
    """
    exact = GaussianScore(kernel, known, torch.zeros_like(known))
    share = mask.expand(known.shape)

    def painted(z: Tensor, t: Tensor) -> Tensor:
        blocks = z.shape[1] // known.shape[0]
        return torch.where(share.repeat(blocks, *[1] * (known.dim() - 1)).to(z.device) > 0, exact(z, t), network(z, t))

    return painted
