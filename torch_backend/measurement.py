"""Measurements of a generated scheme module in float64: what one step does, and how many evaluations it takes.

Knows how to run a step; does not know what the results should be, nor where the module came from.
States here are (n, k): n points, one number per block.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torch_backend.loop import Network, integrate, tabulate

__all__ = [
    "affine_map",
    "count_evaluations",
    "layout_error",
    "local_errors",
    "one_thread",
    "take_step",
    "trajectory",
    "weak_errors",
]

Array = NDArray[np.float64]


@contextmanager
def one_thread() -> Iterator[None]:
    """One torch thread inside the block: states here are a few numbers each, and a second thread only waits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def take_step(
    module: ModuleType, network: Network, z: Tensor, start: float, end: float, noise: Tensor | None = None
) -> Tensor:
    """One step of the generated source from ``start`` to ``end``: z (n, k) float64, noise (noises, n, 1) or None."""
    times = torch.tensor([start, end], dtype=torch.float64)
    row = tabulate(module.coefficients, (start, end))[0]
    return module.step(z, times[0], times[1], row, lambda y, t: network(y, t.expand(len(y))), noise)


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


def affine_map(module: ModuleType, network: Network, start: float, end: float) -> tuple[Array, Array, Array]:
    """Matrix (k, k), offset (k) and noise factor (k, noises) of one step with a network that is affine in z."""
    k, noises = len(module.BLOCKS), module.NOISES
    z = torch.cat([torch.zeros(1, k), torch.eye(k), torch.zeros(noises, k)]).double()
    noise = torch.zeros(noises, len(z), 1, dtype=torch.float64)
    for j in range(noises):
        noise[j, 1 + k + j] = 1.0
    out = take_step(module, network, z, start, end, noise).numpy()
    return (out[1 : 1 + k] - out[0]).T, out[0], (out[1 + k :] - out[0]).T


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


def local_errors(
    module: ModuleType, network: Network, z: Array, start: float, ends: Sequence[float], exact: Array
) -> Array:
    """One-step errors, numerical minus exact: (len(ends), n, k) for exact solutions of that shape."""
    state = torch.from_numpy(z)
    return np.stack([take_step(module, network, state, start, end).numpy() for end in ends]) - exact


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
    """E f(one step) minus ``exact`` (len(ends), observables), by cubature over the start's law and the noise.

    ``nodes``: points (n, k) and weights (n) of the law at ``start``; ``normal``: points (m, noises) and weights (m).
    No random numbers are drawn, so there is no sampling error to wait out.
    """
    (points, weights), (draws, shares) = nodes, normal
    z = torch.from_numpy(np.repeat(points, len(draws), axis=0))
    noise = torch.from_numpy(np.tile(draws, (len(points), 1)).T.copy())[..., None]
    law = np.outer(weights, shares).ravel()
    steps = [take_step(module, network, z, start, end, noise).numpy() for end in ends]
    return np.array([[law @ f(out) for f in observables] for out in steps]) - exact


def trajectory(module: ModuleType, network: Network, z: Array, times: Sequence[float]) -> Array:
    """The state (n, k) at the last of ``times``, for a deterministic scheme."""
    state = torch.from_numpy(z)
    table = tabulate(module.coefficients, times)
    return integrate(module.step, table, times, network, state, blocks=len(module.BLOCKS)).numpy()
