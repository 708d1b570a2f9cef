"""The scheduler of a scheme on VP for networks trained on a table of betas: config, time steps, time change.

Knows the betas and time steps of diffusers. The certified scheme is that of continuous time. A time step of the table
is taken for the time at which the scheme's log-SNR is the table's. The coefficients are then those of the process on
the table, because a process enters them through its log-SNR and its measure of time alone. Schemes in t (Euler, Heun,
RK4, tAB) keep the smooth measure of time that they are certified in. Between two entries of the table log(alpha) is
linear, as on `ddpm`.
Exported schedulers carry this text.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from diffusers.configuration_utils import register_to_config
from diffusers.schedulers.scheduling_utils import KarrasDiffusionSchedulers
from torch import Tensor

from torch_backend.export.exported_text.prediction import alpha_sigma
from torch_backend.export.exported_text.scheduler_engine import SchemeScheduler, falls
from torch_backend.walk.grids import time_grid
from torch_backend.walk.validation import unknown_name_message


def _cosine_betas(start: float, end: float, count: int) -> np.ndarray:
    """Nichol and Dhariwal, arXiv 2102.09672, equation 17, capped at 0.999; ``start`` and ``end`` are not used."""
    bars = np.cos((np.arange(count + 1) / count + 0.008) / 1.008 * math.pi / 2) ** 2
    return np.minimum(1 - bars[1:] / bars[:-1], 0.999)


BETAS: dict[str, Callable[[float, float, int], np.ndarray]] = {
    "linear": np.linspace,
    "scaled_linear": lambda start, end, count: np.linspace(start**0.5, end**0.5, count) ** 2,
    "squaredcos_cap_v2": _cosine_betas,
}
"""beta_schedule -> (beta_start, beta_end, num_train_timesteps) -> the table, float64."""

SPACINGS: dict[str, Callable[[int, int, int], list[float]]] = {
    "linspace": lambda n, count, offset: [float(round((count - 1) * (n - 1 - i) / max(n - 1, 1))) for i in range(n)],
    "leading": lambda n, count, offset: [float((n - 1 - i) * (count // n) + offset) for i in range(n)],
    "trailing": lambda n, count, offset: [float(round(count - i * count / n) - 1) for i in range(n)],
}
"""timestep_spacing -> (num_inference_steps, num_train_timesteps, steps_offset) -> time steps, arXiv 2305.08891."""

GRID_OF_OPTION = {"use_karras_sigmas": "EDM", "use_exponential_sigmas": "log-SNR"}

REFUSED: Mapping[str, object] = {
    "rescale_betas_zero_snr": False,
    "thresholding": False,
    "use_beta_sigmas": False,
    "use_lu_lambdas": False,
    "use_flow_sigmas": False,
    "snr_shift_scale": 1.0,
    "original_inference_steps": None,
}
"""What changes the meaning of a network or a grid and is not covered: the only value of each that is accepted."""


MODEL_SETTINGS = frozenset({
    "num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas", "prediction_type",
    "clip_sample", "clip_sample_range",
})  # fmt: skip
"""Settings that belong to the network and not to the walk: another scheduler's defaults for them are kept."""


class TableScheduler(SchemeScheduler):
    """A scheme of the process vp on a table of betas.

    ``beta_schedule``: linear, scaled_linear or squaredcos_cap_v2, unless ``trained_betas`` are given;
    ``prediction_type``: epsilon, sample or v_prediction; ``clip_sample``: clip the predicted x_0 to
    ``clip_sample_range``, and with it what the scheme reads; ``timestep_spacing``: linspace, leading (then
    ``steps_offset`` is added) or trailing; ``use_karras_sigmas``, ``use_exponential_sigmas``: the same ends, with
    sigma/alpha equidistant in its seventh root or in its logarithm between them; ``final_sigmas_type``: "zero" ends
    with a step to the predicted x_0, "sigma_min" at the table's first entry, as does ``set_alpha_to_one=False``.
    """

    # of diffusers' list all that read a table of betas
    _compatibles = [e.name for e in KarrasDiffusionSchedulers if e.name != "EDMEulerScheduler"]  # noqa: RUF012

    @register_to_config
    def __init__(
        self,
        num_train_timesteps: int = 1000,
        beta_start: float = 0.0001,
        beta_end: float = 0.02,
        beta_schedule: str = "linear",
        trained_betas: np.ndarray | list[float] | None = None,
        prediction_type: str = "epsilon",
        clip_sample: bool = False,
        clip_sample_range: float = 1.0,
        timestep_spacing: str = "linspace",
        steps_offset: int = 0,
        use_karras_sigmas: bool = False,
        use_exponential_sigmas: bool = False,
        final_sigmas_type: str = "zero",
        set_alpha_to_one: bool = True,
        lower_order_final: bool = True,
    ) -> None:
        self._check_settings()
        self._keep_model_settings()
        if prediction_type == "flow_prediction":
            raise ValueError("flow_prediction is no output on a table of betas; export a scheme of the process flow")
        if timestep_spacing not in SPACINGS:
            raise ValueError(unknown_name_message("timestep_spacing", timestep_spacing, SPACINGS))
        if use_karras_sigmas and use_exponential_sigmas:
            raise ValueError("use_karras_sigmas and use_exponential_sigmas are two grids; choose one")
        if final_sigmas_type not in ("zero", "sigma_min"):
            raise ValueError(unknown_name_message("final_sigmas_type", final_sigmas_type, ("zero", "sigma_min")))
        if trained_betas is None and beta_schedule not in BETAS:
            known = unknown_name_message("beta_schedule", beta_schedule, BETAS)
            raise ValueError(f"{known}; others go in as trained_betas")
        table = (
            BETAS[beta_schedule](beta_start, beta_end, num_train_timesteps) if trained_betas is None else trained_betas
        )
        betas = np.asarray(table, dtype=np.float64)
        if betas.shape != (num_train_timesteps,) or not ((betas > 0) & (betas < 1)).all():
            raise ValueError(
                f"the betas have shape {betas.shape} and lie in [{betas.min(initial=1):g}, {betas.max(initial=0):g}]; "
                f"num_train_timesteps = {num_train_timesteps} numbers between 0 and 1 are needed"
            )
        self._log_bars = np.cumsum(np.log1p(-betas))
        self.betas = torch.from_numpy(betas).float()
        self.alphas_cumprod = torch.from_numpy(np.exp(self._log_bars)).float()
        self.timesteps = torch.arange(num_train_timesteps - 1, -1, -1)
        self._reset()

    def _keep_model_settings(self) -> None:
        """Let no other class that takes over this config replace what the network was trained with by its own default.

        diffusers does so with every setting that was not passed: its KDPM2 would get other betas.
        """
        if "_use_default_values" in self.config:
            self.register_to_config(_use_default_values=sorted({*self.config._use_default_values} - MODEL_SETTINGS))

    @classmethod
    def from_config(cls, config: Any = None, return_unused_kwargs: bool = False, **kwargs: Any) -> Any:
        """A scheduler with the table and the prediction type of another's config.

        Raises ValueError for the config of a scheduler that has no table of betas, and for a setting that would be
        ignored though it changes what the network means.
        """
        if isinstance(config, Mapping):
            merged = {key: value for key, value in {**config, **kwargs}.items() if not key.startswith("_")}
            foreign = sorted(set(merged) - set(cls._get_init_keys(cls)))
            if foreign and not {"beta_schedule", "trained_betas"} & set(merged):
                raise ValueError(
                    f"a config with {foreign[0]} and no betas; {cls.__name__} needs that of a table of betas"
                )
            for key, accepted in REFUSED.items():
                if merged.get(key, accepted) not in (accepted, None):
                    raise ValueError(
                        f"the config has {key} = {merged[key]!r}, which is not covered; {accepted!r} would be"
                    )
            # diffusers replaces what the other class left at its own default by our default, betas included
            left = [key for key in config.get("_use_default_values", []) if key not in MODEL_SETTINGS]
            config = {**config, "_use_default_values": left}
        return super().from_config(config, return_unused_kwargs, **kwargs)

    def _log_snr(self, t: float) -> float:
        """The scheme's log-SNR at its time t."""
        assert self.scheme.log_snr is not None  # every generated scheme states it
        return self.scheme.log_snr(t)

    def _time_of(self, log_snr: float) -> float:
        """The scheme's time at which its log-SNR is ``log_snr``, which falls as time grows; bisection to rounding."""
        low, high = self.scheme.t_min, self.scheme.t_max
        while self._log_snr(low) < log_snr:
            low /= 2
        while self._log_snr(high) > log_snr:
            high *= 2
        while low < (middle := (low + high) / 2) < high:
            low, high = (middle, high) if self._log_snr(middle) > log_snr else (low, middle)
        return float(middle)

    def _log_snr_at(self, index: float) -> float:
        """The table's log-SNR at a time step; between two entries log(alpha) is linear."""
        log_bar = float(np.interp(index, np.arange(len(self._log_bars)), self._log_bars))
        return (log_bar - math.log(-math.expm1(log_bar))) / 2

    def _time(self, index: float) -> float:
        """The scheme's time of a time step."""
        time = self._time_of(self._log_snr_at(index))
        self._index_of[time] = index  # exact where a time is a time step; only times inside a step are interpolated
        return time

    def _timestep(self, t: float) -> float:
        """The time step, a fraction perhaps, of the scheme's time t."""
        if t not in self._index_of:
            log_bar = -math.log1p(math.exp(-2 * self._log_snr(t)))
            self._index_of[t] = float(np.interp(-log_bar, -self._log_bars, np.arange(len(self._log_bars))))
        return self._index_of[t]

    def _alpha_sigma(self, t: float) -> tuple[float, float]:
        """alpha and sigma of z = alpha x_0 + sigma noise at the scheme's time t."""
        return alpha_sigma(self._log_snr(t), 2)

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: str | torch.device | None = None,
        timesteps: Sequence[float] | None = None,
        sigmas: Sequence[float] | None = None,
    ) -> None:
        """Lay the grid: ``num_inference_steps`` by the config's spacing, or the ``timesteps`` or ``sigmas`` given.

        Time steps are indices of the table, fractions allowed; sigmas are ratios sigma/alpha, a closing 0 is dropped.
        Raises ValueError for a number of steps that is not in 1 ... num_train_timesteps, for time steps that do not
        decrease or leave the table, and unless exactly one of the three is given.
        """
        if sum(given is not None for given in (num_inference_steps, timesteps, sigmas)) != 1:
            raise ValueError("pass exactly one of num_inference_steps, timesteps and sigmas")
        self._index_of: dict[float, float] = {}
        if sigmas is not None:
            ratios = [float(sigma) for sigma in sigmas]
            ratios = ratios[:-1] if ratios and ratios[-1] == 0 else ratios
            if not ratios or min(ratios) <= 0:
                raise ValueError(f"sigmas = {ratios!r}; positive ratios sigma/alpha are needed")
            times = [self._time_of(-math.log(ratio)) for ratio in ratios]
        else:
            times = [self._time(k) for k in self._spaced(num_inference_steps, timesteps)]
        to_zero = self.config.final_sigmas_type == "zero" and self.config.set_alpha_to_one
        first = self._time(0.0)
        if not to_zero and first < times[-1]:
            times.append(first)
        self._lay_grid(times, to_zero, device)

    def _spaced(self, count: int | None, timesteps: Sequence[float] | None) -> list[float]:
        """The time steps asked for, checked: they decrease and lie in the table. A named grid moves the inner ones."""
        trained = len(self)
        if timesteps is None:
            if isinstance(count, bool) or not isinstance(count, int) or not 0 < count <= trained:
                raise ValueError(
                    f"num_inference_steps = {count!r}; an integer from 1 to {trained} is needed, as trained"
                )
            walk = SPACINGS[self.config.timestep_spacing](count, trained, self.config.steps_offset)
            walk = [min(k, trained - 1.0) for k in walk]
        else:
            walk = [float(k) for k in timesteps]
        if not falls(walk, trained - 1, 0):
            raise ValueError(f"time steps {walk!r} do not decrease from at most {trained - 1} to at least 0")
        chosen = [name for key, name in GRID_OF_OPTION.items() if self.config[key]]
        if timesteps is not None or not chosen or len(walk) < 3:
            return walk
        ends = self._time(walk[0]), self._time(walk[-1])
        return [self._timestep(t) for t in time_grid(chosen[0], len(walk) - 1, *ends, self._log_snr)]

    def add_noise(self, original_samples: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """alpha x_0 + sigma noise, for samples of shape (n, ...) and time steps of shape (n,), fractions allowed."""
        log_bars = torch.from_numpy(self._log_bars).float().to(original_samples.device)
        places = timesteps.float().to(original_samples.device)
        below = places.long().clamp(0, len(log_bars) - 1)
        above = (below + 1).clamp(max=len(log_bars) - 1)
        log_bar = torch.lerp(log_bars[below], log_bars[above], places - below)
        log_bar = log_bar.reshape(-1, *[1] * (original_samples.dim() - 1))
        noised = (log_bar / 2).exp() * original_samples + (-torch.expm1(log_bar)).sqrt() * noise
        return noised.to(original_samples.dtype)
