"""Whole walks as measurements see them: in the precision of the state, and as trajectories."""

from collections.abc import Sequence
from types import ModuleType

import torch
from torch import Tensor

from torch_backend.measuring.one_step import Array
from torch_backend.walk.loop import Network, integrate
from torch_backend.walk.table import primer, tabulate

__all__ = ["trajectory", "walk_in_its_precision"]


def walk_in_its_precision(
    module: ModuleType, network: Network, z: Tensor, times: Sequence[float], noise: Tensor | None = None
) -> Array:
    """A walk of z (n, k) as a sampler makes it, on its device and in its dtype; ``noise``: (steps, noises, n)."""
    z = integrate(
        module.step,
        tabulate(module.coefficients, times, module.HISTORY),
        times,
        network,
        z,
        blocks=len(module.BLOCKS),
        noises=module.NOISES,
        history=module.HISTORY,
        primed=primer(module, times),
        draw=None if noise is None else lambda i: noise[i, ..., None],
    )
    return z.double().cpu().numpy()


def trajectory(module: ModuleType, network: Network, z: Array, times: Sequence[float]) -> Array:
    """The state (n, k) at the last of ``times``, for a deterministic scheme."""
    return walk_in_its_precision(module, network, torch.from_numpy(z), times)
