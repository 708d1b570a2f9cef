"""How far two generated modules are apart: the largest distance of their steps on random input."""

import inspect
import math
from collections.abc import Sequence
from types import ModuleType

import torch
from torch import Tensor

from torch_backend.measuring.one_step import call_step, coefficient_row
from torch_backend.walk.loop import Network

__all__ = ["step_distance"]


def step_distance(first: ModuleType, second: ModuleType, seed: int, steps: int = 10) -> float:
    """How far the steps of two modules are apart, relative to the largest term of a result; inf where one fails.

    That is the result itself, the largest coefficient, as states and outputs are of size one, or one. On ``steps``
    random pairs of times between T_MIN and T_MAX of ``first``, evenly in log t, with a smooth network that is not
    linear, random states, noises and kept outputs, and a past of every length up to HISTORY. The log-SNR is compared
    too, and the rows of coefficients of a predictor-corrector whose steps read fewer earlier ones.
    """
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    k, n, history = len(first.BLOCKS), 4, first.HISTORY
    mixing, shift = random(2 * k, 2 * k), random(2 * k)

    def network(z: Tensor, t: Tensor) -> Tensor:
        return torch.tanh(z @ mixing + shift * t[:, None])

    worst, low, high = 0.0, math.log(first.T_MIN), math.log(0.99 * first.T_MAX)
    for _ in range(steps):
        places = torch.rand(2, generator=generator, dtype=torch.float64)
        start, end = sorted((math.exp(low + (high - low) * float(x)) for x in places), reverse=True)
        past = [start + (first.T_MAX - start) * (j + 1) / (history + 1) for j in range(history)]
        z, kept, noise = random(n, 2 * k), [random(n, 2 * k) for _ in range(history)], random(first.NOISES, n, 2)
        for known in range(history + 1):
            try:
                both = [
                    _collect_outputs(module, network, z, start, end, past[:known], noise, kept)
                    for module in (first, second)
                ]
                unit = max(1.0, *map(abs, coefficient_row(first, start, end, past[:known])))
                apart = float(max(((a - b).abs() / a.abs().clamp(min=unit)).max() for a, b in zip(*both, strict=True)))
            except TimeoutError:  # the caller's patience, not the module's doing
                raise
            except Exception:  # whatever a changed module raises sets it apart
                return math.inf
            worst = max(worst, math.inf if math.isnan(apart) else apart)
    return worst


def _collect_outputs(
    module: ModuleType,
    network: Network,
    z: Tensor,
    start: float,
    end: float,
    times: Sequence[float],
    noise: Tensor,
    kept: list[Tensor],
) -> list[Tensor]:
    """All that a module says of one step: the new state, what it keeps, the log-SNR, and rows that read less."""
    result = call_step(module, network, z, start, end, times, noise, list(kept))
    shown = [*result] if module.HISTORY else [result]
    rows = (
        [module.coefficients(start, end, times, read) for read in range(len(times))] if takes_read_count(module) else []
    )
    return [*shown, torch.as_tensor(module.log_snr(start)).reshape(1), *rows]


def takes_read_count(module: ModuleType) -> bool:
    """Whether the coefficients take, beside past times, how many of them the step reads: a predictor-corrector."""
    return "read" in inspect.signature(module.coefficients).parameters
