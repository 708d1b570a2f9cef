"""A step as a map: affine on a linear score, the same in every layout, and how often it calls the network."""

from collections.abc import Sequence
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from torch_backend.measuring.one_step import Array, call_step, take_step
from torch_backend.walk.loop import Network

__all__ = ["affine_map", "count_evaluations", "layout_error"]


def count_evaluations(module: ModuleType, start: float, end: float) -> int:
    """How often one step calls the network."""
    calls = 0

    def network(z: Tensor, t: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return torch.zeros_like(z)

    z = torch.zeros(1, len(module.BLOCKS), dtype=torch.float64)
    take_step(module, network, z, start, end, torch.zeros(module.NOISES, 1, 1, dtype=torch.float64))
    return calls


def affine_map(
    module: ModuleType, network: Network, start: float, end: float, past: Sequence[float] = ()
) -> tuple[Array, Array, Array]:
    """Matrix, offset and noise factor of one step with a network that is affine in z.

    For a multistep scheme with ``past`` times behind it, on z followed by the kept outputs: k (1 + history) in all.
    Unit vectors are as long as the offset is large, in which they would be lost to rounding.
    """
    k, noises, history = len(module.BLOCKS), module.NOISES, module.HISTORY
    size = k * (1 + history)

    def images(units: Tensor) -> Array:
        """What becomes of zero, of z and the kept outputs along ``units``, and of noises along them."""
        inputs = torch.cat([torch.zeros(1, size), units[:size, :size], torch.zeros(noises, size)]).double()
        noise = torch.cat([torch.zeros(1 + size, noises), units[:noises, :noises]]).double().T[..., None]
        z, *kept = inputs.split(k, dim=1)
        result = call_step(module, network, z, start, end, past, noise, kept)
        return (torch.cat([*result, *kept[:-1]], dim=1) if history else result).numpy()

    units = torch.eye(max(size, noises))
    found = images(units)
    offset = found[0]
    length = 2.0 ** np.ceil(np.log2(max(1.0, np.abs(offset).max())))
    if length > 1.0:
        found = images(length * units)
    columns = (found[1:] - offset).T / length
    return columns[:, :size], offset, columns[:, size:]


def layout_error(module: ModuleType, network: Network, start: float, end: float, seed: int) -> float:
    """Largest difference between a step on images and the same step on their entries; inf where it is not a number.

    Images are (2, k * 2, 2, 3): two channels a block. ``network`` takes points (n, k), and is applied entry by entry.
    """
    k, shape = len(module.BLOCKS), (2, 2, 2, 3)
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(shape[0], k * shape[1], *shape[2:], generator=generator, dtype=torch.float64)
    noise = torch.randn(module.NOISES, *shape, generator=generator, dtype=torch.float64)

    def points(z: Tensor) -> Tensor:
        return z.reshape(shape[0], k, -1).movedim(1, 2).reshape(-1, k)

    def image(z: Tensor) -> Tensor:
        return z.reshape(shape[0], -1, k).movedim(2, 1).reshape(images.shape)

    whole = take_step(
        module, lambda z, t: image(network(points(z), t[:1].expand(len(points(z))))), images, start, end, noise
    )
    single = take_step(module, network, points(images), start, end, noise.flatten(1)[..., None])
    error = float((whole - image(single)).abs().max())
    return error if np.isfinite(error) else np.inf
