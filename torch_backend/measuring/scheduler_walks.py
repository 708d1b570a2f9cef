"""Whole walks of a diffusers scheduler on a Gaussian mixture, against the converged solution of the flow.

Knows the law of the data in alpha and sigma, and the loop of a pipeline; knows no scheme, no schedule and no exported
code, so that it can judge them. scipy, when it first solves.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

__all__ = ["OUTPUTS", "Mixture", "rmse", "solve_to_no_noise", "walk_scheduler"]

Network = Callable[[Tensor, Tensor], Tensor]
"""network(z, timestep): the state as ``scale_model_input`` gives it, an entry of ``timesteps``; returns z's shape."""

OUTPUTS: dict[str, Callable[[Tensor, Tensor, float, float], Tensor]] = {
    "epsilon": lambda x_0, eps, alpha, sigma: eps,
    "sample": lambda x_0, eps, alpha, sigma: x_0,
    "v_prediction": lambda x_0, eps, alpha, sigma: alpha * eps - sigma * x_0,
    "flow_prediction": lambda x_0, eps, alpha, sigma: eps - x_0,
}
"""prediction type -> the network's output from the exact x_0 and eps, at z = alpha x_0 + sigma eps."""


class Mixture(NamedTuple):
    """Data sum_j weights_j N(means_j, variance I): ``means`` (m, d), ``weights`` (m,) of sum 1, float64."""

    means: Tensor
    weights: Tensor
    variance: float

    def predict(self, z: Tensor, alpha: float, sigma: float) -> tuple[Tensor, Tensor]:
        """E[x_0 | z] and E[eps | z] for z = alpha x_0 + sigma eps, (n, d); defined at alpha = 0 and at sigma = 0 too.

        Component j of z is N(alpha means_j, total I) with total = alpha^2 variance + sigma^2, and given z and j the
        mean of x_0 is means_j + alpha variance / total (z - alpha means_j).
        """
        total = alpha**2 * self.variance + sigma**2
        beside = z[:, None] - alpha * self.means
        log_shares = self.weights.log() - beside.square().sum(-1) / (2 * total)
        mean = torch.softmax(log_shares, 1) @ self.means
        rest = z - alpha * mean
        return mean + alpha * self.variance / total * rest, sigma / total * rest


def solve_to_no_noise(law: Mixture, z: Tensor, alpha: float, sigma: float, tolerance: float = 1e-10) -> Tensor:
    """The probability flow's x_0 from the state z = alpha x_0 + sigma eps, (n, d), by scipy's DOP853.

    The state z / (alpha + sigma) lies on the straight path of time s = sigma / (alpha + sigma), whose velocity is
    E[eps] - E[x_0]; it is followed to s = 0.
    """
    from scipy.integrate import solve_ivp

    start = (z.double() / (alpha + sigma)).numpy()

    def velocity(s: float, flat: np.ndarray) -> np.ndarray:
        x_0, eps = law.predict(torch.from_numpy(flat.reshape(start.shape)), 1 - s, s)
        return (eps - x_0).numpy().ravel()

    span = (sigma / (alpha + sigma), 0.0)
    found = solve_ivp(velocity, span, start.ravel(), method="DOP853", rtol=tolerance, atol=tolerance)
    return torch.from_numpy(found.y[:, -1].reshape(start.shape).copy())


def walk_scheduler(scheduler: Any, network: Network, noise: Tensor, **options: Any) -> Tensor:
    """The end of a pipeline's loop over ``scheduler.timesteps``, from ``noise``; ``options`` go to every step."""
    z = noise * getattr(scheduler, "init_noise_sigma", 1.0)
    for timestep in scheduler.timesteps:
        scaled = scheduler.scale_model_input(z, timestep) if hasattr(scheduler, "scale_model_input") else z
        z = scheduler.step(network(scaled, timestep), timestep, z, return_dict=False, **options)[0]
    return z


def rmse(x: Tensor, exact: Tensor) -> float:
    """Root mean square of the difference over all samples and coordinates."""
    return float((x.double() - exact).square().mean().sqrt())
