"""A scheme on phase space as a sampler on sigmas: the caller sees x = x_0 + sigma noise, the other blocks stay inside.

Knows the contract of k-diffusion and the kernel of the scheme's process; knows no scheme. A state z says of x_0 only
w = x / sigma, at the time where the process has that noise; what else it holds is drawn at the start, from its exact
law, and dropped at the end. Exported samplers carry this text.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from torch_backend.export.exported_text.sigmas import (
    AsNetwork,
    NoiseSampler,
    StraightPath,
    draws,
    straight_path_of,
    walk_of,
)
from torch_backend.export.exported_text.stages import evaluation_times
from torch_backend.networks.whitened import lift, times_of_ratios, whiten
from torch_backend.scheme import Scheme, facts_of
from torch_backend.walk.loop import integrate
from torch_backend.walk.noise import HIDDEN, number_samples
from torch_backend.walk.table import lowers_final_order, priming_row, tabulate

EARLIEST = 1e-12
"""The least time that a sigma is looked for at."""


def hidden_noise(blocks: int, extra: Mapping[str, Any], x: Tensor) -> Tensor:
    """Standard normal noise (blocks, n, c, ...) beside x: from the seed in ``extra``, or torch's generator without."""
    seed = extra.get("seed")
    if seed is None:
        return torch.randn(blocks, *x.shape, device=x.device, dtype=x.dtype)
    return number_samples(seed, None, len(x), x.device).normals(HIDDEN, blocks, x.shape[1:]).to(x.device, x.dtype)


class _OnPhaseSpace:
    """A denoiser on sigmas as the eps network of a process of k blocks, for evaluations at times that are known.

    eps = L^-1 z - u x_0, where the denoiser sees x = sigma w. All numbers are computed on the CPU in float64 before the
    walk, one row for each evaluation in their order, so that no evaluation waits for the device.
    """

    def __init__(
        self, kernel: Any, times: Sequence[float], denoised: Any, path: StraightPath | None, z: Tensor
    ) -> None:
        self.denoised, self.blocks, self.count = denoised, len(kernel.mean(torch.ones(1, dtype=torch.float64))), 0
        whole = whiten(kernel, torch.tensor(times, dtype=torch.float64))
        level = 1 / whole.ratio
        sigma = level if path is None else path.sigma(level)
        scale = level if path is None else path.noise_scale * sigma
        of_state, of_data = whole.inverse.flatten(1), whole.unit * whole.ratio[:, None]
        rows = torch.cat([sigma[:, None], whole.along * scale[:, None], of_state, of_data], 1)
        self.rows = rows.to(z.dtype).to(z.device).unbind()

    def seen(self, z: Tensor, row: Tensor) -> Tensor:
        """What the denoiser is shown of a state."""
        parts = z.chunk(self.blocks, 1)
        return torch.stack([weight * part for weight, part in zip(row[1:], parts, strict=False)]).sum(0)

    def __call__(self, z: Tensor, t: Tensor) -> Tensor:
        row, k = self.rows[self.count], self.blocks
        self.count += 1
        data = self.denoised(self.seen(z, row), row[0].expand(len(z))).to(z.dtype)
        parts, inverse, u = z.chunk(k, 1), row[1 + k : 1 + k + k * k], row[1 + k + k * k :]
        noise = []
        for a in range(k):
            whitened = torch.stack([inverse[a * k + b] * part for b, part in enumerate(parts[: a + 1])]).sum(0)
            noise.append(whitened - u[a] * data)
        return torch.cat(noise, 1)

    def end(self, z: Tensor) -> Tensor:
        """The state as the caller sees it, at the last of the times."""
        return self.seen(z, self.rows[-1])


@torch.no_grad()
def sample_phase_space(
    scheme: Scheme,
    kernel: Any,
    model: Any,
    x: Tensor,
    sigmas: Tensor | Sequence[float],
    extra_args: Mapping[str, Any] | None = None,
    callback: Callable[[dict[str, Any]], object] | None = None,
    disable: bool | None = None,
    noise_sampler: NoiseSampler | None = None,
    straight_path: bool | None = None,
    lower_order_final: bool | None = None,
) -> Tensor:
    """Walk x, of shape (n, c, ...) at noise ``sigmas[0]``, down the sigmas with a ``scheme`` on several blocks.

    Arguments are those of ``sample_on_sigmas``; ``kernel`` is that of the scheme's process. A first sigma above the
    noise that the process begins with is taken for noise alone. ``straight_path`` is asked for by every scheme: the
    times are those at which the process has the model's noise.

    Raises ValueError as ``sample_on_sigmas`` does, and for a second sigma beyond the noise of the process.
    """
    facts, extra = facts_of(scheme), dict(extra_args or {})
    values, walk = walk_of(sigmas)
    to_zero = len(walk) < len(values)
    if x.dtype != torch.float64 and values.dtype == torch.float64:
        values = values.float()  # not every device has float64
    values = values.to(x.device)
    path = None if straight_path is False else straight_path_of(model) or (StraightPath() if straight_path else None)
    levels = walk if path is None else path.ratios(walk)
    times = _times_of_levels(facts.spec, kernel, levels, walk)
    table = primed = None
    asked: list[float] = []
    if len(times) > 1:
        wanted = lower_order_final if to_zero or lower_order_final is not None else False
        lowered = lowers_final_order(facts, len(values) - 1, wanted)
        table = tabulate(facts.coefficients, times, facts.history, facts.mends, lowered, to_zero)
        primed = priming_row(facts, times)
        asked = times[:1] * (primed is not None)
        for i, row in enumerate(table):
            asked += evaluation_times(facts, times[i], times[i + 1], row)
    z = x if x.dtype == torch.float64 else x.float()
    w = z / (walk[0] if path is None else path.noise_scale * walk[0])
    z = lift(kernel, times[0], w, hidden_noise(len(facts.blocks), extra, z))
    asking = AsNetwork(model, extra, values, callback, facts.nfe_per_step, path, x.dtype)
    asking.count -= primed is not None
    network = _OnPhaseSpace(kernel, [*asked, times[-1]], asking.denoised, path, z)
    if table is not None:
        z = integrate(
            facts.step,
            table,
            times,
            network,
            z,
            blocks=len(facts.blocks),
            noises=facts.noises,
            history=facts.history,
            primed=primed,
            draw=draws(facts, x, values, extra, noise_sampler),
            progress=sys.stderr.isatty() if disable is None else not disable,
        )
    reached = network.end(z).to(x.dtype)
    return asking.denoised(reached, values[-2].expand(x.shape[0])) if to_zero else reached


def _times_of_levels(spec: str, kernel: Any, levels: Sequence[float], walk: Sequence[float]) -> list[float]:
    """The times at which the process has these levels of noise, sigma / alpha.

    Raises ValueError where a level but the first is beyond the noise of the process.
    """
    ends = torch.tensor([kernel.T_MAX, EARLIEST], dtype=torch.float64)
    most, least = (1 / whiten(kernel, ends).ratio).tolist()
    for i, level in enumerate(levels):
        if level < least or (level > most and i > 0):
            raise ValueError(
                f"sigmas[{i}] = {walk[i]:.6g} is beyond the noise of {spec}, sigma / alpha from {least:.3g} to "
                f"{most:.3g}; take sigmas within it (the first may be above)"
            )
    ratios = 1 / torch.tensor(levels, dtype=torch.float64).clamp(max=most)
    times = times_of_ratios(kernel, ratios, kernel.T_MAX, EARLIEST).tolist()
    return [kernel.T_MAX if level >= most else time for level, time in zip(levels, times, strict=True)]
