"""A scheme of the process edm as a sampler on sigmas: the contract of k-diffusion, and how ComfyUI finds it.

Knows that contract: model(x, sigma) returns the denoised x_0, x = x_0 + sigma noise, sigmas descend and end in 0, the
callback takes a dictionary. Knows no scheme. Exported samplers carry this text.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from torch_backend.networks.prediction import from_state
from torch_backend.scheme import Scheme, SchemeFacts, facts_of
from torch_backend.walk.loop import integrate
from torch_backend.walk.sample_scheme import PRIOR_STREAM
from torch_backend.walk.table import priming_row, tabulate
from torch_backend.walk.validation import check_times

NoiseSampler = Callable[[Tensor, Tensor], Tensor]


class _AsNetwork:
    """A denoiser as a network that returns eps; tells the callback what the first evaluation of each step gave.

    ``each``: evaluations per step. ``count`` numbers them; an evaluation before the first step has a negative number.
    """

    def __init__(self, model: Any, extra: Mapping[str, Any], sigmas: Tensor, callback: Any, each: int) -> None:
        self.model, self.extra, self.sigmas, self.callback, self.each = model, extra, sigmas, callback, each
        self.count = 0

    def denoised(self, x: Tensor, sigma: Tensor) -> Tensor:
        """The model's x_0 at x. Raises ValueError for an output of another shape."""
        step, evaluation = divmod(self.count, self.each)
        self.count += 1
        found = self.model(x, sigma.to(x.dtype), **self.extra)
        if not isinstance(found, Tensor) or found.shape != x.shape:
            shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise ValueError(f"the model returned {shape} for x of shape {tuple(x.shape)}; the same shape is needed")
        if evaluation == 0 and step >= 0 and self.callback is not None:
            here = self.sigmas[step]
            self.callback({"x": x, "i": step, "sigma": here, "sigma_hat": here, "denoised": found})
        return found

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        found = self.denoised(x, sigma)
        skip, scale = from_state("sample", "epsilon", 1.0, sigma.reshape(-1, *[1] * (x.dim() - 1)))
        return skip * x + scale * found


def _walk_of(sigmas: Tensor | Sequence[float]) -> tuple[Tensor, list[float]]:
    """The sigmas as a tensor, and as a list without the closing 0. Raises ValueError where no walk can follow them."""
    values = sigmas if isinstance(sigmas, Tensor) else torch.tensor(sigmas, dtype=torch.float64)
    if values.dim() != 1 or len(values) < 2:
        raise ValueError(f"sigmas has shape {tuple(values.shape)}; one row of at least two numbers is needed")
    walk = [float(value) for value in values.tolist()]
    if walk[-1] == 0:
        walk = walk[:-1]
    if len(walk) > 1 or walk[0] <= 0:
        check_times(walk if len(walk) > 1 else [*walk, 0.0])
    return values, walk


def _draws(
    facts: SchemeFacts, x: Tensor, sigmas: Tensor, extra: Mapping[str, Any], noise_sampler: NoiseSampler | None
) -> Callable[[int], Tensor]:
    """The noise of every step: from the noise sampler, else from the seed in ``extra``, else from torch's generator."""
    seed, generator = extra.get("seed"), None
    if seed is not None:  # not the stream that the caller drew x from
        generator = torch.Generator(x.device).manual_seed((int(seed) + PRIOR_STREAM) % 2**63)

    def fresh(sigma: Tensor, sigma_next: Tensor) -> Tensor:
        return torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)

    source = fresh if noise_sampler is None else noise_sampler
    return lambda i: torch.stack([source(sigmas[i], sigmas[i + 1]) for _ in range(facts.noises)])


@torch.no_grad()
def sample_on_sigmas(
    scheme: Scheme,
    model: Any,
    x: Tensor,
    sigmas: Tensor | Sequence[float],
    extra_args: Mapping[str, Any] | None = None,
    callback: Callable[[dict[str, Any]], object] | None = None,
    disable: bool | None = None,
    noise_sampler: NoiseSampler | None = None,
) -> Tensor:
    """Walk x, of shape (n, ...) at noise ``sigmas[0]``, down the sigmas with a generated ``scheme`` on edm.

    - ``model(x, sigma, **extra_args)``: the denoised x_0, for sigma of shape (n,).
    - ``sigmas``: decreasing; where the last is 0 the last step is x <- denoised, the limit of every scheme there.
    - ``callback``: takes x, i, sigma, sigma_hat (the same) and denoised, at the first evaluation of every step.
    - ``disable``: no progress line; None prints one where stderr is a terminal.
    - ``noise_sampler(sigma, sigma_next)``: standard normal noise of x's shape, for stochastic schemes; without it noise
      comes from ``extra_args["seed"]``, or from torch's global generator where there is no seed, as in k-diffusion.

    Raises ValueError for sigmas that do not decrease or are negative, and as ``integrate`` does.
    """
    facts, extra = facts_of(scheme), dict(extra_args or {})
    values, walk = _walk_of(sigmas)
    if x.dtype != torch.float64 and values.dtype == torch.float64:
        values = values.float()  # not every device has float64
    values = values.to(x.device)
    network = _AsNetwork(model, extra, values, callback, facts.nfe_per_step)
    if len(walk) > 1:
        primed = priming_row(facts, walk)
        network.count -= primed is not None
        x = integrate(
            facts.step,
            tabulate(facts.coefficients, walk, facts.history),
            walk,
            network,
            x,
            noises=facts.noises,
            history=facts.history,
            primed=primed,
            draw=_draws(facts, x, values, extra, noise_sampler),
            progress=sys.stderr.isatty() if disable is None else not disable,
        )
    if len(walk) == len(values):
        return x
    return network.denoised(x, values[-2].expand(x.shape[0]))


def add_to_comfyui(name: str, function: Callable[..., Tensor]) -> bool:
    """Put a sampler where ComfyUI looks for one by ``name``, and into its lists; False where there is no ComfyUI."""
    if find_spec("comfy") is None or find_spec("comfy.samplers") is None:
        return False
    samplers = import_module("comfy.samplers")
    setattr(import_module("comfy.k_diffusion.sampling"), f"sample_{name}", function)
    for names in (samplers.KSampler.SAMPLERS, getattr(samplers, "SAMPLER_NAMES", [])):
        if name not in names:
            names.append(name)
    return True
