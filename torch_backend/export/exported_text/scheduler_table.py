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

from torch_backend.export.exported_text.config_keys import check_config
from torch_backend.export.exported_text.counterparts import HABITS, SIGMAS, SPACINGS, WHOLE, counterpart, spaced
from torch_backend.export.exported_text.scheduler_engine import SchemeScheduler, falls, shorten
from torch_backend.networks.prediction import alpha_sigma
from torch_backend.walk.grids import time_grid, times_at
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

MODEL_SETTINGS = frozenset({
    "num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas", "prediction_type",
    "clip_sample", "clip_sample_range",
})  # fmt: skip
"""Settings that belong to the network and not to the walk: another scheduler's defaults for them are kept."""


class TableScheduler(SchemeScheduler):
    """A scheme of the process vp on a table of betas, evaluated where its counterpart in diffusers evaluates.

    ``beta_schedule``: linear, scaled_linear or squaredcos_cap_v2, unless ``trained_betas`` are given;
    ``prediction_type``: epsilon, sample or v_prediction; ``clip_sample``: clip the predicted x_0 to
    ``clip_sample_range``, and with it what the scheme reads.

    ``timestep_spacing``: linspace, leading (then ``steps_offset`` is added) or trailing, as the counterpart lays them;
    "derived", the scheme's own grid over the whole table; None, the counterpart's default. In place of them
    ``use_karras_sigmas``, ``use_exponential_sigmas``, ``use_lu_lambdas`` (the same) or ``use_beta_sigmas``: sigmas
    over the whole table, or from ``sigma_max`` to ``sigma_min``. ``lambda_min_clipped``: linspace, leading and
    trailing begin where the log-SNR is not below it.

    ``final_sigmas_type``: "zero" ends with a step to the predicted x_0, "sigma_min" at the table's first entry; None,
    the counterpart's default. Where the counterpart is DDIMScheduler ``set_alpha_to_one=False`` ends there too; other
    schemes do not read it.
    ``lower_order_final`` as above; ``euler_at_final``: what a walk that ends at zero does anyway, refused otherwise.
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
        timestep_spacing: str | None = None,
        steps_offset: int = 0,
        use_karras_sigmas: bool = False,
        use_exponential_sigmas: bool = False,
        use_lu_lambdas: bool = False,
        use_beta_sigmas: bool = False,
        sigma_min: float | None = None,
        sigma_max: float | None = None,
        lambda_min_clipped: float = -math.inf,
        final_sigmas_type: str | None = None,
        set_alpha_to_one: bool = True,
        lower_order_final: bool = True,
        euler_at_final: bool = False,
    ) -> None:
        self._check_settings()
        self._keep_model_settings()
        self._habits = HABITS[counterpart(self.scheme.spec, self.scheme.history, self.order)[0]]
        if timestep_spacing is None:
            self.register_to_config(timestep_spacing=self._habits.spacing)
        if final_sigmas_type is None:
            self.register_to_config(final_sigmas_type=self._habits.ending)
        self._check_grid_settings()
        self._read_betas()
        self.timesteps = torch.arange(num_train_timesteps - 1, -1, -1)
        self._reset()

    def _check_grid_settings(self) -> None:
        """Raise ValueError for settings of grid, ending and prediction that are unknown or contradict each other."""
        config = self.config
        if config.prediction_type == "flow_prediction":
            raise ValueError("flow_prediction is no output on a table of betas; export a scheme of the process flow")
        if config.timestep_spacing not in (*SPACINGS, "derived"):
            raise ValueError(unknown_name_message("timestep_spacing", config.timestep_spacing, (*SPACINGS, "derived")))
        if config.final_sigmas_type not in ("zero", "sigma_min"):
            known = ("zero", "sigma_min")
            raise ValueError(unknown_name_message("final_sigmas_type", config.final_sigmas_type, known))
        if config.euler_at_final and config.final_sigmas_type != "zero":
            raise ValueError(
                "euler_at_final is not covered where a walk ends at sigma_min; end at zero, or leave it out"
            )
        grids = [key for key in SIGMAS if config[key]]
        if len(grids) > 1:
            raise ValueError(f"{grids[0]} and {grids[1]} are two grids; choose one")
        if grids and config.timestep_spacing == "derived":
            raise ValueError(f"{grids[0]} and timestep_spacing = 'derived' are two grids; choose one")
        for key in ("sigma_min", "sigma_max"):
            if config[key] is not None and not grids:
                raise ValueError(
                    f"{key} = {config[key]!r} bounds {', '.join(SIGMAS)}, none of which is set; leave it out"
                )
        offset = config.steps_offset
        if isinstance(offset, bool) or not isinstance(offset, int) or offset < 0:
            raise ValueError(f"steps_offset = {offset!r}; an integer of at least 0 is needed")

    def _read_betas(self) -> None:
        """The table of the config. Raises ValueError for an unknown schedule and for numbers that are no betas."""
        config, count = self.config, len(self)
        if config.trained_betas is None and config.beta_schedule not in BETAS:
            known = unknown_name_message("beta_schedule", config.beta_schedule, BETAS)
            raise ValueError(f"{known}; others go in as trained_betas")
        table = config.trained_betas
        if table is None:
            table = BETAS[config.beta_schedule](config.beta_start, config.beta_end, count)
        betas = np.asarray(table, dtype=np.float64)
        if betas.shape != (count,) or not ((betas > 0) & (betas < 1)).all():
            raise ValueError(
                f"the betas have shape {betas.shape} and lie in [{betas.min(initial=1):g}, {betas.max(initial=0):g}]; "
                f"num_train_timesteps = {count} numbers between 0 and 1 are needed"
            )
        self._log_bars = np.cumsum(np.log1p(-betas))
        self.betas = torch.from_numpy(betas).float()
        self.alphas_cumprod = torch.from_numpy(np.exp(self._log_bars)).float()

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
            check_config({k: v for k, v in {**config, **kwargs}.items() if not k.startswith("_")}, cls.__name__)
            # diffusers replaces what the other class left at its own default by our default, betas included
            left = [key for key in config.get("_use_default_values", []) if key not in MODEL_SETTINGS]
            config = {**config, "_use_default_values": left}
        return super().from_config(config, return_unused_kwargs, **kwargs)

    def _log_snr(self, t: float) -> float:
        """The scheme's log-SNR at its time t."""
        assert self.scheme.log_snr is not None  # every generated scheme states it
        return float(self.scheme.log_snr(torch.tensor(t, dtype=torch.float64)))

    def _times_of(self, log_snrs: Sequence[float]) -> list[float]:
        """The scheme's times at which its log-SNR, which falls as time grows, has these values."""
        assert self.scheme.log_snr is not None
        low, high = self.scheme.t_min, self.scheme.t_max
        while self._log_snr(low) < max(log_snrs):
            low /= 2
        while self._log_snr(high) > min(log_snrs):
            high *= 2
        return times_at(self.scheme.log_snr, torch.tensor(log_snrs, dtype=torch.float64), high, low).tolist()

    def _log_snr_at(self, index: float) -> float:
        """The table's log-SNR at a time step; between two entries log(alpha) is linear."""
        log_bar = float(np.interp(index, np.arange(len(self._log_bars)), self._log_bars))
        return (log_bar - math.log(-math.expm1(log_bar))) / 2

    def _times_of_timesteps(self, indices: Sequence[float]) -> list[float]:
        """The scheme's times of time steps."""
        times = self._times_of([self._log_snr_at(index) for index in indices])
        self._index_of.update(zip(times, indices, strict=True))  # only times inside a step are interpolated
        return times

    def _ends(self) -> tuple[float, float]:
        """The scheme's times of the table's last entry and of its first."""
        top, first = self._times_of_timesteps([len(self) - 1.0, 0.0])
        return top, first

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
        """Lay the grid: ``num_inference_steps`` by the config, or the ``timesteps`` or ``sigmas`` given.

        Time steps are indices of the table, fractions allowed; sigmas are ratios sigma/alpha in the table's range, of
        which a closing 0 asks for a step to zero. Raises ValueError for a number of steps that is not in
        1 ... num_train_timesteps, for time steps and sigmas that do not decrease or leave the table, for a
        predictor-corrector that would evaluate where the walk ends above zero, and unless exactly one of the three is
        given.
        """
        if sum(given is not None for given in (num_inference_steps, timesteps, sigmas)) != 1:
            raise ValueError("pass exactly one of num_inference_steps, timesteps and sigmas")
        self._index_of: dict[float, float] = {}
        to_zero = self.config.final_sigmas_type == "zero"
        if self._habits.alpha_to_one and not self.config.set_alpha_to_one:
            to_zero = False
        if timesteps is not None:
            times = self._times_of_steps([float(k) for k in timesteps])
        elif sigmas is not None:
            ratios = [float(sigma) for sigma in sigmas]
            closed = bool(ratios) and ratios[-1] == 0
            times, to_zero = self._times_of_sigmas(ratios[:-1] if closed else ratios), to_zero or closed
        else:
            times = self._times_by_config(num_inference_steps, to_zero)
        _, first = self._ends()
        # an evaluation at the table's first entry, where the walk ends, leaves the state as it is
        stays = not to_zero and times[-1] <= first
        if stays and self.scheme.mends:
            raise ValueError(
                f"{self.scheme.spec} corrects a step by the evaluation at its end, which is not covered where a walk "
                "ends at sigma_min with an evaluation; end at zero, or use linspace, leading or trailing time steps"
            )
        if not to_zero and not stays:
            times.append(first)
        self._lay_grid(times, to_zero, device, stays)

    def _times_by_config(self, count: int | None, to_zero: bool) -> list[float]:
        """The times of ``count`` evaluations where the config puts them."""
        config, entries = self.config, len(self)
        if not any(config[key] for key in SIGMAS) and config.timestep_spacing != "derived":
            log_snrs = (self._log_bars - np.log(-np.expm1(self._log_bars))) / 2
            entries = int((log_snrs >= config.lambda_min_clipped).sum())
        if isinstance(count, bool) or not isinstance(count, int) or not 0 < count <= entries:
            raise ValueError(f"num_inference_steps = {count!r}; an integer from 1 to {entries} is needed, as trained")
        for key, sigmas in SIGMAS.items():
            if config[key]:
                low, high = (math.exp(-self._log_snr_at(k)) for k in (0, entries - 1))
                top, bottom = config.sigma_max, config.sigma_min
                ends = high if top is None else top, low if bottom is None else bottom
                if not ends[0] > ends[1] > 0:
                    raise ValueError(
                        f"sigma_max = {ends[0]!r}, sigma_min = {ends[1]!r}; two falling numbers are needed"
                    )
                times = self._times_of_sigmas([float(sigma) for sigma in sigmas(count, *ends)])
                if self._habits.leaves_last and key in WHOLE and config.beta_schedule != "squaredcos_cap_v2":
                    self._index_of.update({time: float(round(self._timestep(time))) for time in times})
                return times
        if config.timestep_spacing != "derived":
            walk = spaced(config.timestep_spacing, count, entries, config.steps_offset, self._habits)
            return self._times_of_steps(walk)
        top, first = self._ends()
        steps = count - to_zero  # what ends above zero ends at the table's first entry, without an evaluation
        return [top] if not steps else time_grid(self.scheme.grid, steps, top, first, self.scheme.log_snr)[:count]

    def _times_of_steps(self, walk: list[float]) -> list[float]:
        """The times of time steps, checked: they decrease and lie in the table."""
        if not falls(walk, len(self) - 1, 0):
            raise ValueError(f"time steps {shorten(walk)} do not decrease from at most {len(self) - 1} to at least 0")
        return self._times_of_timesteps(walk)

    def _times_of_sigmas(self, ratios: list[float]) -> list[float]:
        """The times of ratios sigma/alpha, checked: they decrease and lie in the table, of which they may be rounded.

        Published lists have two to four digits: what leaves the table by at most one percent is taken for its end.
        """
        low, high = (math.exp(-self._log_snr_at(k)) for k in (0, len(self) - 1))
        if not falls(ratios, 1.01 * high, 0.99 * low):
            raise ValueError(
                f"sigmas {shorten(ratios)} do not decrease within the table, which has sigma/alpha from {high:.6g} "
                f"to {low:.6g}"
            )
        top, first = self._ends()
        times = self._times_of([-math.log(ratio) for ratio in ratios])
        near_top, near_first = high * (1 - 1e-9), low * (1 + 1e-9)  # an end, but for rounding
        times[0] = top if ratios[0] >= near_top else times[0]
        times[-1] = first if ratios[-1] <= near_first else times[-1]
        if not falls(times, top, first):
            raise ValueError(f"sigmas {shorten(ratios)} leave the table, {high:.6g} to {low:.6g}, more than once")
        return times

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
