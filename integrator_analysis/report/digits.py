"""What the digits study needs from the symbolic side: exact-score networks and the probability-flow drift of a process.

Knows processes and the kernel modules generated from them; the study runs in torch_backend.measuring.digits_study.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import numpy as np

import integrator_analysis as ia
from integrator_analysis.algebra.numeric import function
from integrator_analysis.algebra.symbols import t
from integrator_analysis.codegen import kernel_source

if TYPE_CHECKING:
    from torch import Tensor

    from torch_backend.scores import ExactScore

__all__ = ["BANDWIDTH", "digits_law", "digits_networks", "probability_flow_drift", "sample_digits"]

BANDWIDTH = 0.1
"""Standard deviation of the Gaussian about each digit, in pixel units of [-1, 1]: about one grey level of sixteen."""


def digits_networks(processes: Iterable[ia.Process]) -> dict[str, ExactScore]:
    """The exact eps network of the digits under each process, by the process's name."""
    from torch_backend.scores import digits_score
    from torch_backend.source import module_from_source

    return {
        process.name: digits_score(module_from_source(kernel_source(process), f"kernel_{process.name}"), BANDWIDTH)
        for process in processes
    }


def digits_law() -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of the digits along each of the 64 eigenvectors of their covariance, variances ascending.

    The variances hold the bandwidth's: they are those of the law that ``digits_networks`` has the exact score of.
    """
    from torch_backend.scores import digits

    flat = digits().flatten(1).numpy()
    variances, basis = np.linalg.eigh(np.cov(flat.T, bias=True))
    return basis.T @ flat.mean(axis=0), variances + BANDWIDTH**2


def probability_flow_drift(process: ia.Process) -> Callable[[Tensor, float, Tensor], Tensor]:
    """(z, t, score) -> F z - (1/2) G G^T score in forward time; z and score of shape (n, k * c, ...)."""
    import torch

    schedule = function([process.schedule], (t,), process.definitions, process.parameters)
    matrices = (process.drift_per_unit, process.diffusion_per_unit)
    drift, diffusion = (np.array(m.subs(dict(process.parameters))).astype(float) for m in matrices)
    linear, noise = torch.from_numpy(drift), torch.from_numpy(diffusion)
    k = len(process.blocks)

    def slope(z: Tensor, time: float, score: Tensor) -> Tensor:
        shape = (len(z), k, -1)
        beta = schedule(time)[0]
        flow = linear.to(z) @ z.reshape(shape) - noise.to(z) @ score.reshape(shape) / 2
        return (beta * flow).reshape(z.shape)

    return slope


def sample_digits(
    integrator: ia.Integrator, n: int, steps: int, grid: str, seed: int, progress: bool = False
) -> np.ndarray:
    """n digits sampled with the exact score, float64 (n, 8, 8) in [-1, 1]: the position at the last time."""
    import torch

    network = digits_networks([integrator.process])[integrator.process.name]
    sampler = integrator.to_torch(dtype=torch.float64)
    z = sampler.prior(n, (1, 8, 8), seed=seed)
    noise = seed if integrator.stochastic else None
    return sampler.sample(network, z, steps=steps, grid=grid, seed=noise, progress=progress)[:, 0].numpy()
