"""What a network was trained on: its noise levels, how it is told of them, and what it returns.

Knows processes of one block, z = alpha x_0 + sigma eps, from kernels, tables of betas and scheduler configs; knows no
sampler. ``alpha / sigma`` names a noise level: it is infinite for data and falls as the noise grows.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from torch_backend.networks.prediction import PREDICTIONS
from torch_backend.source import load_kernel
from torch_backend.walk.grids import times_at
from torch_backend.walk.validation import unknown_name_message

__all__ = ["Training", "read_training"]

OUTPUTS = {
    **{name: PREDICTIONS[name] for name in PREDICTIONS},
    "eps": PREDICTIONS["epsilon"],
    "x0": PREDICTIONS["sample"],
    "v": PREDICTIONS["v_prediction"],
    "velocity": PREDICTIONS["flow_prediction"],
    "score": lambda alpha, sigma: (0.0 * sigma, -1 / sigma),
}
"""name -> (p, q) with output = p x_0 + q eps; "edm" stands beside them, since it needs the data's deviation."""

EDM = "edm"
TIMES = ("t", "index", "sigma", "c_noise")


@dataclass(frozen=True)
class Training:
    """The noise that a network knows, from ``first`` (most) to ``last`` (least) in its process's own time.

    ``alpha_sigma(t)``: two tensors, for float64 times of any shape. ``time(t, alpha, sigma)``: what the network takes
    for its time. ``prediction``: what it returns, after multiplication by ``sign``. ``scaled``: whether its input is
    z / sqrt(sigma^2 + data_std^2 alpha^2), as EDM's c_in y, in place of z. ``prior_std``: of z at ``first``.
    """

    name: str
    alpha_sigma: Callable[[Tensor], tuple[Tensor, Tensor]]
    first: float
    last: float
    time: Callable[[Tensor, Tensor, Tensor], Tensor]
    prediction: str
    scaled: bool = False
    data_std: float = 0.5
    sign: float = 1.0

    def ratio(self, t: Tensor) -> Tensor:
        """alpha / sigma at times t."""
        alpha, sigma = self.alpha_sigma(t)
        return alpha / sigma

    def time_at(self, ratio: Tensor) -> Tensor:
        """The times at which alpha / sigma has these values, all of them within the trained range."""

        def place(t: Tensor) -> Tensor:  # sigma / (alpha + sigma): finite at both ends
            alpha, sigma = self.alpha_sigma(t)
            return sigma / (alpha + sigma)

        return times_at(place, 1 / (1 + ratio), self.first, self.last)

    def terms(self, alpha: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """(p, q): the network returns p x_0 + q eps."""
        if self.prediction == EDM:
            # F of x_0 = c_skip y + c_out F, arXiv 2206.00364 table 1, with y = z / alpha and its sigma
            norm = (sigma**2 + self.data_std**2 * alpha**2).sqrt()
            p, q = sigma / (self.data_std * norm), -self.data_std * alpha / norm
        else:
            p, q = (x * torch.ones_like(alpha) for x in OUTPUTS[self.prediction](alpha, sigma))
        return self.sign * p, self.sign * q

    def input_scale(self, alpha: Tensor, sigma: Tensor) -> Tensor:
        """What the network's input is, as a multiple of z."""
        return 1 / (sigma**2 + self.data_std**2 * alpha**2).sqrt() if self.scaled else torch.ones_like(alpha)


def read_training(
    trained_on: Any, prediction: str | None, time: str | float | None, data_std: float | None
) -> Training:
    """What a network was trained on, from a process's name or kernel, a table, or a diffusers scheduler or config.

    ``prediction``, ``time`` and ``data_std`` overrule what ``trained_on`` says. Raises ValueError for what is unknown,
    for a process of several blocks, and where nothing says what the network returns; TypeError for another kind of
    ``trained_on``.
    """
    found = _read(trained_on)
    if prediction is not None:
        if prediction != EDM and prediction not in OUTPUTS:
            raise ValueError(unknown_name_message("prediction", prediction, {*OUTPUTS, EDM}))
        found = replace(found, prediction=prediction, sign=1.0)
    if not found.prediction:
        known = ", ".join(sorted({*OUTPUTS, EDM}))
        raise ValueError(f"trained_on = {found.name} does not say what its networks return; pass prediction: {known}")
    if data_std is not None:
        if not (math.isfinite(data_std) and data_std > 0):
            raise ValueError(f"data_std = {data_std!r}; a positive standard deviation is needed")
        found = replace(found, data_std=float(data_std))
    straight = all(abs(sum(map(float, found.alpha_sigma(_instant(x)))) - 1) < 1e-12 for x in (found.first, found.last))
    if found.prediction in ("velocity", "flow_prediction") and not straight:
        raise ValueError(
            f"prediction {found.prediction!r} on {found.name}: eps - x_0 is a velocity on straight paths alone, where "
            "alpha + sigma = 1; pass eps, x0, v, score or edm"
        )
    return found if time is None else replace(found, time=_time_convention(time, found))


def _instant(t: float) -> Tensor:
    return torch.tensor(t, dtype=torch.float64)


def _time_convention(time: str | float, training: Training) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """What a network takes for its time: "t", "sigma", "c_noise" or a factor of t."""
    if isinstance(time, str):
        if time not in TIMES:
            raise ValueError(unknown_name_message("time", time, TIMES) + ", or a number that multiplies t")
        if time == "index":
            if training.time is not _own_time or training.name != TABLE:
                raise ValueError("time = 'index' counts the entries of a table of betas; pass 't' or a factor of t")
            return _own_time
        return CONVENTIONS[time]
    if not (math.isfinite(time) and time > 0):
        raise ValueError(f"time = {time!r}; one of {', '.join(TIMES)} or a positive number that multiplies t is needed")
    return lambda t, alpha, sigma: t * float(time)


def _own_time(t: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    return t


CONVENTIONS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "t": _own_time,
    "sigma": lambda t, alpha, sigma: sigma / alpha,
    "c_noise": lambda t, alpha, sigma: (sigma / alpha).log() / 4,  # arXiv 2206.00364, table 1
}

TABLE = "a table of betas"


def _read(trained_on: Any) -> Training:
    """What ``trained_on`` says by itself."""
    if isinstance(trained_on, str):
        return _of_kernel(load_kernel(trained_on))
    if isinstance(trained_on, Tensor):
        return _of_table(trained_on, "")
    if isinstance(trained_on, ModuleType) or hasattr(trained_on, "cholesky"):
        return _of_kernel(trained_on)
    config = getattr(trained_on, "config", trained_on)
    if isinstance(config, Mapping):
        return _of_config(config, getattr(trained_on, "alphas_cumprod", None))
    raise TypeError(
        f"trained_on is {type(trained_on).__name__}; the name of a process, its kernel module, a tensor of "
        "alphas_cumprod, or a diffusers scheduler or its config is needed"
    )


def _of_kernel(kernel: Any) -> Training:
    """A network on a process of one block."""
    name = getattr(kernel, "PROCESS", "the process")
    blocks = len(kernel.mean(_instant(kernel.T_MIN)))
    if blocks != 1:
        raise ValueError(
            f"trained_on = {name!r} has {blocks} blocks; a network on one block is needed (a network that was trained "
            "on phase space is given to its own sampler as it is)"
        )
    stated = getattr(kernel, "NETWORK", "")
    return Training(
        name,
        lambda t: (kernel.mean(t)[0], kernel.cholesky(t)[0]),
        kernel.T_MAX,
        kernel.T_MIN,
        _own_time,
        stated if stated == EDM or stated in OUTPUTS else "",
    )


def _of_table(alphas_cumprod: Tensor, prediction: str) -> Training:
    """A network on a table of alphas_cumprod; its time is an index, between two entries the log-SNR is linear."""
    table = alphas_cumprod.detach().cpu().double()
    within = bool(((table > 0) & (table < 1)).all()) and bool((table.diff() < 0).all())
    if table.dim() != 1 or len(table) < 2 or not within:
        raise ValueError(
            f"alphas_cumprod of shape {tuple(table.shape)}; a decreasing sequence of numbers between 0 and 1 is needed"
        )
    log_snr = (table.log() - torch.log1p(-table)) / 2

    def alpha_sigma(t: Tensor) -> tuple[Tensor, Tensor]:
        below = t.floor().long().clamp(0, len(table) - 2)
        between = torch.lerp(log_snr[below], log_snr[below + 1], t - below)
        return torch.sigmoid(2 * between).sqrt(), torch.sigmoid(-2 * between).sqrt()

    return Training(TABLE, alpha_sigma, len(table) - 1.0, 0.0, _own_time, prediction)


def _of_config(config: Mapping[str, Any], alphas_cumprod: Tensor | None) -> Training:
    """A network by the config of the scheduler that it was trained with."""
    predicts = config.get("prediction_type")
    name = str(config.get("_class_name", "the scheduler config"))
    if "sigma_data" in config:
        return _of_edm_config(config, name)
    if name.startswith("FlowMatch") or config.get("use_flow_sigmas") or predicts == "flow_prediction":
        count, inverted = config.get("num_train_timesteps", 1000), bool(config.get("invert_sigmas", False))
        return replace(
            _of_kernel(load_kernel("flow")),
            name=name,
            last=1 / count,
            # where sigmas are inverted the network's time is that of data, and its velocity points to the data
            time=(lambda t, alpha, sigma: alpha * count) if inverted else lambda t, alpha, sigma: sigma * count,
            sign=-1.0 if inverted else 1.0,
        )
    table = _diffusers_table(config) if alphas_cumprod is None else alphas_cumprod
    # a table rescaled to zero terminal SNR ends in 0: there eps does not say what x_0 is
    return _of_table(table[table > 0], predicts or "epsilon")


def _of_edm_config(config: Mapping[str, Any], name: str) -> Training:
    """EDM's preconditioned network F(c_in y, c_noise), and its sign-flipped twin that diffusers calls v_prediction."""
    return replace(
        _of_kernel(load_kernel("edm")),
        name=name,
        first=float(config["sigma_max"]),
        last=float(config["sigma_min"]),
        time=CONVENTIONS["c_noise"],
        prediction=EDM,
        scaled=True,
        data_std=float(config["sigma_data"]),
        sign=-1.0 if config.get("prediction_type") == "v_prediction" else 1.0,
    )


def _diffusers_table(config: Mapping[str, Any]) -> Tensor:
    """alphas_cumprod of a config. Raises ModuleNotFoundError, one sentence, where diffusers is not installed."""
    try:
        from diffusers import DDPMScheduler
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "the table of betas of a scheduler config is made by diffusers: pip install diffusers, or pass "
            "alphas_cumprod as a tensor"
        ) from error
    keys = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas", "rescale_betas_zero_snr")
    table: Tensor = DDPMScheduler(**{key: config[key] for key in keys if key in config}).alphas_cumprod
    return table
