"""What the digits study needs from the symbolic side: exact-score networks and the probability-flow drift of a process.

Knows processes and the kernel modules generated from them; the study itself runs in torch_backend.digits_study.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import numpy as np

import integrator_analysis as ia
from integrator_analysis.codegen import kernel_source
from integrator_analysis.numeric import function
from integrator_analysis.symbols import t

if TYPE_CHECKING:
    from torch import Tensor

    from torch_backend.scores import ExactScore

__all__ = ["BANDWIDTH", "digits_networks", "probability_flow_drift"]

BANDWIDTH = 0.1
"""Standard deviation of the Gaussian about each digit, in pixel units of [-1, 1]: about one grey level of sixteen."""


def digits_networks(processes: Iterable[str]) -> dict[str, ExactScore]:
    """The exact eps network of the digits under each process."""
    from torch_backend.scores import digits_score
    from torch_backend.source import module_from_source

    return {
        name: digits_score(module_from_source(kernel_source(ia.process(name)), f"kernel_{name}"), BANDWIDTH)
        for name in dict.fromkeys(processes)
    }


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
