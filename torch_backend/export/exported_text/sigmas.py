"""A scheme of the process edm as a sampler on sigmas: the contract of k-diffusion, and how ComfyUI finds it.

Knows that contract: model(x, sigma) returns the denoised x_0, x = x_0 + sigma noise, sigmas descend and end in 0, the
callback takes a dictionary. Knows the models of ComfyUI that are on x = (1 - sigma) x_0 + sigma noise instead. Knows no
scheme. Exported samplers carry this text.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple

import torch
from torch import Tensor

from torch_backend.networks.prediction import from_state
from torch_backend.scheme import Scheme, SchemeFacts, facts_of
from torch_backend.walk.loop import integrate
from torch_backend.walk.noise import number_samples
from torch_backend.walk.table import lowers_final_order, priming_row, tabulate
from torch_backend.walk.validation import check_times

NoiseSampler = Callable[[Tensor, Tensor], Tensor]


class StraightPath(NamedTuple):
    """A model on x = (1 - sigma) x_0 + sigma c noise, and how a scheme of the process edm walks it.

    x / (1 - sigma) = x_0 + rho noise with rho = c sigma / (1 - sigma), exactly, and such is the state of that process
    at the time rho: the noise which a stochastic scheme adds there is the right one. rho is infinite at sigma = 1: a
    walk from there begins at ``top``.
    """

    noise_scale: float = 1.0
    top: float = 1 - 1e-4

    def ratios(self, walk: Sequence[float]) -> list[float]:
        """rho of every sigma. Raises ValueError for a sigma above 1."""
        if walk[0] > 1:
            raise ValueError(f"sigmas[0] = {walk[0]!r} is above 1, and the model is on (1 - sigma) x_0 + sigma noise")
        first = walk[0] if walk[0] < 1 else max(self.top, (1 + walk[1]) / 2)
        return [self.noise_scale * sigma / (1 - sigma) for sigma in (first, *walk[1:])]

    def sigma(self, ratio: Any) -> Any:
        """sigma of rho, a number or a tensor."""
        return ratio / (ratio + self.noise_scale)


def straight_path_of(model: Any) -> StraightPath | None:
    """The coordinates of a model that ComfyUI says to be one of flow matching, of its type CONST; None for any other.

    ComfyUI hands a sampler its model inside two others. The model states its coordinates as ``model_sampling``, which
    knows the sigma that walks from pure noise begin at in place of 1.
    """
    inner = getattr(model, "inner_model", None)
    patcher = getattr(inner, "model_patcher", None)
    if patcher is not None and hasattr(patcher, "get_model_object"):
        sampling = patcher.get_model_object("model_sampling")
    else:
        sampling = getattr(getattr(inner, "inner_model", None), "model_sampling", None)
    if not any(kind.__name__ == "CONST" for kind in type(sampling).__mro__):
        return None
    scale = float(getattr(sampling, "noise_scale", 1.0))
    if not hasattr(sampling, "percent_to_sigma"):
        return StraightPath(scale)
    return StraightPath(scale, float(sampling.percent_to_sigma(1e-4)))  # as its offset_first_sigma_for_snr


class AsNetwork:
    """A denoiser as a network that returns eps; tells the callback what the first evaluation of each step gave.

    ``each``: evaluations per step. ``count`` numbers them; an evaluation before the first step has a negative number.
    ``path``: the model's coordinates where they are not those of the scheme. ``dtype``: that of the model's states.
    """

    def __init__(
        self,
        model: Any,
        extra: Mapping[str, Any],
        sigmas: Tensor,
        callback: Any,
        each: int,
        path: StraightPath | None,
        dtype: torch.dtype,
    ) -> None:
        self.model, self.extra, self.sigmas, self.callback, self.each = model, extra, sigmas, callback, each
        self.path, self.dtype = path, dtype
        self.count = 0

    def denoised(self, x: Tensor, sigma: Tensor) -> Tensor:
        """The model's x_0 at x. Raises ValueError for an output of another shape."""
        step, evaluation = divmod(self.count, self.each)
        self.count += 1
        x = x.to(self.dtype)
        found = self.model(x, sigma.to(x.dtype), **self.extra)
        if not isinstance(found, Tensor) or found.shape != x.shape:
            shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise ValueError(f"the model returned {shape} for x of shape {tuple(x.shape)}; the same shape is needed")
        if evaluation == 0 and step >= 0 and self.callback is not None:
            here = self.sigmas[step]
            self.callback({"x": x, "i": step, "sigma": here, "sigma_hat": here, "denoised": found})
        return found

    def __call__(self, y: Tensor, ratio: Tensor) -> Tensor:
        wide = ratio.reshape(-1, *[1] * (y.dim() - 1))
        if self.path is None:
            found = self.denoised(y, ratio)
        else:
            found = self.denoised(y * (1 - self.path.sigma(wide)), self.path.sigma(ratio)).to(y.dtype)
        skip, scale = from_state("sample", "epsilon", 1.0, wide)
        return skip * y + scale * found


def walk_of(sigmas: Tensor | Sequence[float]) -> tuple[Tensor, list[float]]:
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


def draws(
    facts: SchemeFacts, x: Tensor, sigmas: Tensor, extra: Mapping[str, Any], noise_sampler: NoiseSampler | None
) -> Callable[[int], Tensor]:
    """The noise of every step: from the noise sampler, else from the seed in ``extra``, else from torch's generator.

    Raises ValueError for a list of seeds of another length than the batch, TypeError for a seed that is no integer.
    """
    seed = extra.get("seed")
    if noise_sampler is None and seed is not None:
        numbered = number_samples(seed, None, len(x), x.device)
        return numbered.draws_of_steps(facts.noises, x.shape[1:])
    source = (lambda *_: torch.randn_like(x)) if noise_sampler is None else noise_sampler
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
    straight_path: bool | None = None,
    lower_order_final: bool | None = None,
) -> Tensor:
    """Walk x, of shape (n, ...) at noise ``sigmas[0]``, down the sigmas with a generated ``scheme`` on edm.

    - ``model(x, sigma, **extra_args)``: the denoised x_0, for sigma of shape (n,).
    - ``sigmas``: decreasing; where the last is 0 the last step is x <- denoised, the limit of every scheme there.
    - ``callback``: takes x, i, sigma, sigma_hat (the same) and denoised, at the first evaluation of every step.
    - ``disable``: no progress line; None prints one where stderr is a terminal.
    - ``noise_sampler(sigma, sigma_next)``: standard normal noise of x's shape, for stochastic schemes; without it noise
      comes from ``extra_args["seed"]``, or from torch's global generator where there is no seed, as in k-diffusion. A
      list of seeds has one for each sample.
    - ``straight_path``, for stochastic schemes: whether x = (1 - sigma) x_0 + sigma noise, as in flow matching. None
      asks the model, which in ComfyUI says so. A deterministic scheme makes the same step there as on edm.
    - ``lower_order_final``, for multistep schemes: whether the final steps have lower order. None: where the sigmas end
      in 0, a predictor-corrector's always, and another's in walks below 15 steps, as in diffusers.

    Raises ValueError for sigmas that do not decrease or are negative, and as ``integrate`` does.
    """
    facts, extra = facts_of(scheme), dict(extra_args or {})
    values, walk = walk_of(sigmas)
    to_zero = len(walk) < len(values)
    if x.dtype != torch.float64 and values.dtype == torch.float64:
        values = values.float()  # not every device has float64
    values, dtype = values.to(x.device), x.dtype
    path = None
    if facts.stochastic and straight_path is not False:
        path = straight_path_of(model) or (StraightPath() if straight_path else None)
    network = AsNetwork(model, extra, values, callback, facts.nfe_per_step, path, dtype)
    if len(walk) > 1:
        ratios = walk if path is None else path.ratios(walk)
        primed = priming_row(facts, ratios)
        network.count -= primed is not None
        wanted = lower_order_final if to_zero or lower_order_final is not None else False
        lowered = lowers_final_order(facts, len(values) - 1, wanted)
        y = integrate(
            facts.step,
            tabulate(facts.coefficients, ratios, facts.history, facts.mends, lowered, to_zero),
            ratios,
            network,
            x if path is None else _widened(x) / (1 - path.sigma(ratios[0])),
            noises=facts.noises,
            history=facts.history,
            primed=primed,
            draw=draws(facts, x, values, extra, noise_sampler),
            progress=sys.stderr.isatty() if disable is None else not disable,
        )
        x = y if path is None else (y * (1 - walk[-1])).to(dtype)
    if not to_zero:
        return x
    return network.denoised(x, values[-2].expand(x.shape[0]))


def _widened(x: Tensor) -> Tensor:
    """x in float32 where it is narrower: x / (1 - sigma) is beyond the range of half precision."""
    return x if x.dtype == torch.float64 else x.float()


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
