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

__all__ = ["BANDWIDTH", "digits_law", "digits_networks", "exact_network", "probability_flow_drift", "sample_digits"]

BANDWIDTH = 0.1
"""Standard deviation of the Gaussian about each digit, in pixel units of [-1, 1]: about one grey level of sixteen."""


NEAREST = 1 - 1e-6
"""Of t_max: where the velocity is evaluated for later times. At t = 1 of rectified flow drift and score are infinite,
and their sum is not; here 1e-10 of it is rounding in float64, and the velocity has changed by 1e-6."""


def last_time(process: ia.Process) -> float:
    """The latest time at which the right-hand side of the probability-flow ODE is evaluated; later ones take its."""
    return process.t_max if process.network == "eps" else NEAREST * process.t_max


class Velocity:
    """The network of a process whose networks return the velocity, from the exact ``score`` of the same data.

    The velocity is the right-hand side F z - G G^T score / 2 of the probability-flow ODE. A batch has one time.
    """

    def __init__(self, exact: ExactScore, process: ia.Process) -> None:
        self.exact, self.drift, self.last = exact, probability_flow_drift(process), last_time(process)

    def __call__(self, z: Tensor, t: Tensor) -> Tensor:
        """The velocity at states z (n, k * c, ...) and times t (n,), all the same."""
        return self.drift(z, float(t[0]), self.score(z, t))

    def score(self, z: Tensor, t: Tensor) -> Tensor:
        """The score at z, as ``ExactScore.score`` has it."""
        return self.exact.score(z, t.clamp(max=self.last))


def exact_network(exact: ExactScore, process: ia.Process) -> ExactScore | Velocity:
    """What a network trained on the process returns, eps or the velocity, exactly for the data of ``exact``."""
    return exact if process.network == "eps" else Velocity(exact, process)


def digits_networks(processes: Iterable[ia.Process]) -> dict[str, ExactScore | Velocity]:
    """The exact network of the digits under each process, of what its networks return, by the process's name."""
    from torch_backend.scores import digits_score
    from torch_backend.source import module_from_source

    return {
        process.name: exact_network(
            digits_score(module_from_source(kernel_source(process), f"kernel_{process.name}"), BANDWIDTH), process
        )
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
    """(z, t, score) -> F z - (1/2) G G^T score in forward time; z and score of shape (n, k * c, ...).

    From ``last_time`` on F and G are those of that time, as must be the score.
    """
    import torch

    values = function([*process.drift, *process.diffusion], (t,), process.definitions, process.parameters)
    k, last = len(process.blocks), last_time(process)

    def slope(z: Tensor, time: float, score: Tensor) -> Tensor:
        shape = (len(z), k, -1)
        linear, noise = torch.from_numpy(np.array(values(min(time, last)), dtype=float).reshape(2, k, k)).to(z)
        return (linear @ z.reshape(shape) - noise @ score.reshape(shape) / 2).reshape(z.shape)

    return slope


def sample_digits(
    integrator: ia.Integrator, n: int, steps: int, grid: str | None, seed: int, progress: bool = False
) -> np.ndarray:
    """n digits sampled with the exact score, float64 (n, 8, 8): the position after ``steps``, the last to no noise."""
    import torch

    network = digits_networks([integrator.process])[integrator.process.name]
    sampler = integrator.to_torch(dtype=torch.float64)
    z = sampler.prior(n, (1, 8, 8), seed=seed)
    noise = seed if integrator.stochastic else None
    return sampler.sample(network, z, steps=steps, grid=grid, seed=noise, progress=progress)[:, 0].numpy()
