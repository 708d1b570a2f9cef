"""Guidance, conditions and inpainting around a network: each gives a network(z, t) again, for any sampler.

Knows the kernel of a process and the predictions of networks; knows no scheme, and no scheme knows of guidance.
Conditions and classifier-free guidance stand in ``conditions``, and can be imported from here too.

On one block an output is p x_0 + q eps (``prediction``), and z = alpha x_0 + sigma eps. At a given z it is affine in
the predicted x_0, with slope p - q alpha / sigma: what guidance and inpainting say of x_0 they say of every output.
"""

import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from torch_backend.networks.conditions import classifier_free, conditioned
from torch_backend.networks.prediction import PREDICTIONS
from torch_backend.scores.exact import Kernel, in_float64
from torch_backend.walk.loop import Network
from torch_backend.walk.validation import unknown_name_message

__all__ = ["classifier_free", "classifier_guided", "conditioned", "inpainting", "prediction_on"]

BY_PROCESS = {"eps": "epsilon", "x0": "sample", "v": "v_prediction", "velocity": "flow_prediction"}
"""What a process says its networks return -> its name in ``PREDICTIONS``; velocity on straight paths alone."""

NOT_QUITE_THE_PRIOR = 0.999
"""The share of T_MAX up to which a classifier is asked where alpha(T_MAX) = 0. There its gradient is zero like alpha,
and what it says of x_0 is their quotient, which is off by about a thousandth when it is taken a little earlier."""


def prediction_on(kernel: Kernel, prediction: str | None = None) -> str:
    """Which of ``PREDICTIONS`` a network on the process of ``kernel`` returns: ``prediction``, else what it states.

    A generated kernel states it as NETWORK. Raises ValueError for a name that is not known, where none is given and the
    kernel states none or one that has no name here, and on several blocks for all but epsilon.
    """
    name, known = getattr(kernel, "PROCESS", "the process"), ", ".join(PREDICTIONS)
    within = torch.full((1,), 0.5, dtype=torch.float64)
    mean, factor = kernel.mean(within), kernel.cholesky(within)
    if prediction is None:
        stated = getattr(kernel, "NETWORK", None)
        straight = len(mean) == 1 and abs(float(mean[0] + factor[0]) - 1) < 1e-12
        if stated not in BY_PROCESS or (stated == "velocity" and not straight):
            says = "does not say what its networks return" if stated is None else f"says that they return its {stated}"
            raise ValueError(f"no prediction given, and the kernel of {name} {says}; pass one of {known}")
        prediction = BY_PROCESS[stated]
    if prediction not in PREDICTIONS:
        raise ValueError(unknown_name_message("prediction", prediction, PREDICTIONS))
    if len(mean) > 1 and prediction != "epsilon":
        raise ValueError(f"prediction {prediction!r} on {name}, which has {len(mean)} blocks; only epsilon is accepted")
    return prediction


def classifier_guided(
    network: Network,
    log_probability: Callable[[Tensor, Tensor], Tensor],
    kernel: Kernel,
    scale: float = 1.0,
    prediction: str | None = None,
) -> Network:
    """The network(z, t) whose score is the network's score + scale grad log p(y | z, t): it adds a classifier's.

    The classifier is trained on diffused states z_t. ``log_probability(z, t)``: log p of the wanted label, of shape
    (n,), differentiable in z. ``prediction``: what the network returns and the result is, as in ``prediction_on``.

    - eps, on any number of blocks: eps - scale L^T grad, since score = -L^-T eps with the kernel's Cholesky factor L.
      Source: Dhariwal and Nichol, arXiv 2105.05233, algorithm 2.
    - Every other output: x_0 grows by scale (sigma^2 / alpha) grad (Tweedie), and the output with it. Where alpha is 0
      at T_MAX (flow), the classifier is asked at no time later than 0.999 T_MAX.

    Raises ValueError as ``prediction_on`` does and, when called, for log probabilities of another shape than (n,) or
    that do not depend on z.
    """
    prediction = prediction_on(kernel, prediction)
    latest = None if prediction == "epsilon" else _last_time_for_a_classifier(kernel)

    def guided(z: Tensor, t: Tensor) -> Tensor:
        asked = t if latest is None else t.clamp(max=latest)
        gradient = _gradient(log_probability, z, asked).to(_working(z))
        output = _call(network, z, t)
        if prediction == "epsilon":
            shift = _pulled(kernel, gradient, t)
        else:
            (alpha,), (sigma,) = _entries(kernel.mean, asked, z), _entries(kernel.cholesky, asked, z)
            shift = -_rate(prediction, *_alpha_sigma(kernel, t, z)) * (sigma * sigma / alpha) * gradient
        return (output - scale * shift).to(output.dtype)

    return guided


def inpainting(network: Network, known: Tensor, mask: Tensor, kernel: Kernel, prediction: str | None = None) -> Network:
    """The network(z, t) that knows x_0 where ``mask`` is 1: there it returns the exact output for ``known``.

    Where the data are known, so is their score: that of a point. With it any scheme on any process carries those
    entries of the state to ``known``, and the network sees them with the noise that they have at that time. Steps of
    finite length end near ``known``, not on it; paste it over the result. The other entries see the known ones through
    the network alone, at the same noise: they do not follow the exact conditional law of the data.

    - ``known``: of the data's shape (c, ...), or (n, c, ...) with one entry per sample.
    - ``mask``: in [0, 1], bool or number; broadcasts to ``known`` and may have one entry per sample, as (n, 1, h, w).
      Between 0 and 1 the predicted x_0 is mask known + (1 - mask) the network's, at every evaluation, and so are eps,
      v and velocity: a blend of predictions, as ComfyUI's soft masks, and not an observation with noise.
    - ``prediction``: what the network returns and the result is, as in ``prediction_on``.

    ``known`` and ``mask`` lie best where the states do: elsewhere they are copied at every evaluation.
    Raises ValueError as ``prediction_on`` does, for a mask outside [0, 1] or of a shape that does not fit and, when
    called, for a state that does not.
    """
    prediction = prediction_on(kernel, prediction)
    share = _checked_mask(mask, known)
    known = torch.where(share > 0, known, torch.zeros((), dtype=known.dtype, device=known.device))  # not read elsewhere

    def painted(z: Tensor, t: Tensor) -> Tensor:
        # cast first: not every device has float64
        x_0, part = (given.to(_working(z)).to(z.device) for given in (known, share))
        psi, factor = _entries(kernel.mean, t, z), _entries(kernel.cholesky, t, z)
        _check_fits(z, x_0, len(psi))
        eps = _whitened(z.to(x_0.dtype).chunk(len(psi), 1), [p * x_0 for p in psi], factor)
        p, q = PREDICTIONS[prediction](psi[0], factor[0])
        exact = torch.cat([p * x_0 + q * block for block in eps], 1)  # on several blocks eps itself: p = 0, q = 1
        output = _call(network, z, t)
        weight = torch.cat([part.expand_as(eps[0])] * len(psi), 1)
        return torch.lerp(output.to(exact.dtype), exact, weight).to(output.dtype)

    return painted


def _call(network: Network, z: Tensor, t: Tensor) -> Tensor:
    """The network's output. Raises ValueError unless it has the shape of z: another one would broadcast in silence."""
    output: Any = network(z, t)
    if not isinstance(output, Tensor) or output.shape != z.shape:
        shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise ValueError(
            f"the network returned {shape} for a state of shape {tuple(z.shape)}; the same shape is needed"
        )
    found: Tensor = output
    return found


def _working(z: Tensor) -> torch.dtype:
    """The dtype to compute in: float64 for a float64 state, else float32."""
    return torch.float64 if z.dtype == torch.float64 else torch.float32


def _entries(function: Callable[[Tensor], tuple[Tensor, ...]], t: Tensor, z: Tensor) -> list[Tensor]:
    """A function of the kernel at the times of a batch, evaluated in float64, each entry shaped to multiply z."""
    once = in_float64(t[:1] if t.dim() == 1 and t.stride(0) == 0 else t)  # a batch at one time, as loops expand it
    return [entry.reshape(-1, *[1] * (z.dim() - 1)).to(_working(z)).to(z.device) for entry in function(once)]


def _alpha_sigma(kernel: Kernel, t: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    """alpha and sigma of a process on one block."""
    (alpha,), (sigma,) = _entries(kernel.mean, t, z), _entries(kernel.cholesky, t, z)
    return alpha, sigma


def _rate(prediction: str, alpha: Tensor, sigma: Tensor) -> Tensor:
    """By how much an output grows with the predicted x_0, at a given z."""
    p, q = PREDICTIONS[prediction](alpha, sigma)
    return p - q * alpha / sigma


def _last_time_for_a_classifier(kernel: Kernel) -> float | None:
    """The last time at which a classifier is asked; None where alpha is positive at all times."""
    if not hasattr(kernel, "T_MAX"):
        return None
    (alpha,) = kernel.mean(torch.full((1,), kernel.T_MAX, dtype=torch.float64))
    return None if float(alpha) > 0 else NOT_QUITE_THE_PRIOR * kernel.T_MAX


def _gradient(log_probability: Callable[[Tensor, Tensor], Tensor], z: Tensor, t: Tensor) -> Tensor:
    """The gradient of the log probabilities in z; also where gradients are off, in inference mode too."""
    with torch.inference_mode(False), torch.enable_grad():
        at = z.detach().clone().requires_grad_(True)
        value = log_probability(at, t.clone())
        if value.shape != z.shape[:1]:
            raise ValueError(
                f"log_probability returned shape {tuple(value.shape)} for {z.shape[0]} samples; one number each, "
                "that of the wanted label, is needed"
            )
        if not value.requires_grad:
            raise ValueError("log_probability returned a value without a gradient in z; it must be differentiable")
        return torch.autograd.grad(value.sum(), at)[0]


def _pulled(kernel: Kernel, gradient: Tensor, t: Tensor) -> Tensor:
    """L^T times the gradient, L being the kernel's Cholesky factor, whose lower triangle comes row by row."""
    factor = _entries(kernel.cholesky, t, gradient)
    if len(factor) == 1:
        return factor[0] * gradient
    (l_xx, l_mx, l_mm), (x, m) = factor, gradient.chunk(2, 1)
    return torch.cat([l_xx * x + l_mx * m, l_mm * m], 1)


def _whitened(z: tuple[Tensor, ...], mean: list[Tensor], factor: list[Tensor]) -> list[Tensor]:
    """L^-1 (z - mean), block by block: forward substitution down the rows of the lower triangle."""
    entries = iter(factor)
    found: list[Tensor] = []
    for block, centre in zip(z, mean, strict=True):
        row = list(itertools.islice(entries, len(found) + 1))
        rest = block - centre
        for entry, solved in zip(row, found, strict=False):
            rest = rest - entry * solved
        found.append(rest / row[-1])
    return found


def _checked_mask(mask: Tensor, known: Tensor) -> Tensor:
    """The mask as numbers. Raises ValueError outside [0, 1], and where it neither fits ``known`` nor is per sample."""
    per_sample = mask.shape[:1] if mask.dim() == known.dim() + 1 else ()
    try:
        fits = torch.broadcast_shapes(mask.shape, known.shape) == (*per_sample, *known.shape)
    except RuntimeError:
        fits = False
    if not fits:
        raise ValueError(
            f"mask has shape {tuple(mask.shape)}; one that broadcasts to known, {tuple(known.shape)}, is needed, or "
            "one such per sample"
        )
    share = mask if mask.is_floating_point() else mask.to(torch.float32)
    if not ((share >= 0) & (share <= 1)).all():
        raise ValueError("mask has entries outside [0, 1]; 1 is needed where the data are known, 0 where they are not")
    return share.to(known.device)


def _check_fits(z: Tensor, known: Tensor, blocks: int) -> None:
    """Raise ValueError where z is not ``blocks`` blocks of the known data, for as many samples as they are for."""
    count, data = (known.shape[0], known.shape[1:]) if known.dim() == z.dim() else (1, known.shape)
    if z.shape[1:] != (blocks * data[0], *data[1:]) or count not in (1, z.shape[0]):
        raise ValueError(
            f"the state has shape {tuple(z.shape)}; known and mask, together of shape {tuple(known.shape)}, need "
            f"{count if count > 1 else 'n'} samples of {blocks} block(s) of their channels"
        )
