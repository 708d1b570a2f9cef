"""The scheduler of a scheme on rectified flow for networks that return the velocity: config, shift, time steps.

Knows the settings of diffusers' schedulers for flow matching, whose sigmas are the scheme's times. Exported schedulers
carry this text.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import diffusers
import numpy as np
import torch
from diffusers.configuration_utils import register_to_config
from torch import Tensor

from torch_backend.export.exported_text.config_keys import LEARNED, SCHEME, Idle, Refused
from torch_backend.export.exported_text.counterparts import SIGMAS, SPACINGS
from torch_backend.export.exported_text.flow_counterparts import SIGMAS_OF, flow_counterpart
from torch_backend.export.exported_text.scheduler_engine import SchemeScheduler, falls, shorten
from torch_backend.walk.grids import is_count
from torch_backend.walk.sample_scheme import grid_of_steps
from torch_backend.walk.table import tabulate
from torch_backend.walk.validation import unknown_name_message

GRIDS_BETWEEN_ENDS = ("use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas")
"""Settings, among those of ``SIGMAS``, that lay the shifted sigmas anew between the first and the last of them."""

BETAS_UNREAD = "flow sigmas are no rows of a table of betas"

FLOW_SETTINGS: Mapping[str, Idle | Refused] = {
    "algorithm_type": Idle(SCHEME),
    "corrector_order": Idle(SCHEME),
    "predict_x0": Idle(SCHEME),
    "predictor_order": Idle(SCHEME),
    "solver_order": Idle(SCHEME),
    "solver_type": Idle(SCHEME),
    "tau_func": Idle("how much noise a step adds is part of the scheme"),
    "beta_end": Idle(BETAS_UNREAD),
    "beta_schedule": Idle(BETAS_UNREAD),
    "beta_start": Idle(BETAS_UNREAD),
    "trained_betas": Idle(BETAS_UNREAD),
    "lambda_min_clipped": Idle(BETAS_UNREAD),
    "rescale_betas_zero_snr": Idle(BETAS_UNREAD),
    "steps_offset": Idle(BETAS_UNREAD),
    "dynamic_thresholding_ratio": Idle(LEARNED),
    "sample_max_value": Idle(LEARNED),
    "euler_at_final": Idle("the last step, to no noise, has order one anyway"),
    "upscale_mode": Idle("read where scale_factors is set, which is refused"),
    "disable_corrector": Refused(([],), "the certified scheme corrects every step"),
    "final_sigmas_type": Refused(("zero",), "the walk would end in noise"),
    "scale_factors": Refused((), "the walk would change the size of the sample"),
    "sigma_max": Refused((), "of sigmas over a table of betas"),
    "sigma_min": Refused((), "of sigmas over a table of betas"),
    "solver_p": Refused((), "another scheduler's steps"),
    "stochastic_sampling": Refused((False,), "how much noise a step adds is part of the scheme, as in flow/DDIM-eta"),
    "thresholding": Refused((False,), "the predicted x_0 would be scaled"),
    "use_flow_sigmas": Refused((True,), "straight paths have no other sigmas; export a scheme of the process vp"),
    "use_lu_lambdas": Refused((False,), "of sigmas over a table of betas"),
    "variance_type": Refused((), "the network returns a variance too; cut it off"),
}
"""Settings of diffusers' schedulers on flow in which the scheduler here has no part: what becomes of each."""

NETWORK_SETTINGS = frozenset({"num_train_timesteps", "prediction_type", "shift", "flow_shift", "use_flow_sigmas"})
"""Settings that belong to the network: what another scheduler had left at its own default is kept."""


class FlowScheduler(SchemeScheduler):
    """A scheme of the process flow: z = (1 - sigma) x_0 + sigma noise, sigma the time, time step 1000 sigma.

    ``shift``, or ``flow_shift``, its name with DPM-Solver and UniPC: sigma becomes
    shift sigma / (1 + (shift - 1) sigma). With ``use_dynamic_shifting`` the shift is exp(mu), or mu itself with
    ``time_shift_type="linear"``, ``mu`` passed to ``set_timesteps``. ``shift_terminal``: the last sigma, to which
    all are stretched. ``use_karras_sigmas``, ``use_exponential_sigmas``, ``use_beta_sigmas``: the same ends, and
    between them sigma equidistant in its seventh root, in its logarithm, or as beta quantiles.
    ``invert_sigmas``: the network is told 1000 (1 - sigma) and returns x_0 - noise. ``prediction_type``:
    flow_prediction, the velocity noise - x_0, or sample, epsilon.

    Sigmas are by default those of the scheme's counterpart in diffusers, ``FLOW_COUNTERPARTS``; with
    ``timestep_spacing="derived"`` they are the scheme's own grid, shifted. ``lower_order_final``: as above. Schemes
    that have no step from sigma = 1, and networks that return epsilon, which says nothing of x_0 there, begin at
    1 - 1/num_train_timesteps instead, or half-way to the second time where that is later.
    """

    _compatibles = list(SIGMAS_OF)  # noqa: RUF012
    asked = "flow_prediction"

    @register_to_config
    def __init__(
        self,
        num_train_timesteps: int = 1000,
        shift: float = 1.0,
        flow_shift: float | None = None,
        use_dynamic_shifting: bool = False,
        time_shift_type: str = "exponential",
        base_shift: float | None = 0.5,
        max_shift: float | None = 1.15,
        base_image_seq_len: int = 256,
        max_image_seq_len: int = 4096,
        shift_terminal: float | None = None,
        invert_sigmas: bool = False,
        use_karras_sigmas: bool = False,
        use_exponential_sigmas: bool = False,
        use_beta_sigmas: bool = False,
        use_flow_sigmas: bool = True,
        prediction_type: str = "flow_prediction",
        clip_sample: bool = False,
        clip_sample_range: float = 1.0,
        timestep_spacing: str | None = None,
        lower_order_final: bool = True,
    ) -> None:
        self._check_settings()
        self._check_flow_settings()
        self._name_shift_twice()
        self._timesteps_of: tuple[np.ndarray, np.ndarray] | None = None
        self._highest = self._find_highest(1 - 1 / num_train_timesteps)
        self.timesteps = torch.arange(num_train_timesteps, 0, -1)
        self._reset()

    def _check_flow_settings(self) -> None:
        """Raise ValueError for settings that contradict each other or mean nothing on straight paths."""
        config = self.config
        if config.prediction_type == "v_prediction":
            raise ValueError("v_prediction is no output on straight paths; export a scheme of the process vp")
        if config.flow_shift is not None and config.shift not in (1.0, config.flow_shift):
            raise ValueError(
                f"shift = {config.shift!r} and flow_shift = {config.flow_shift!r} name one number; pass one of them"
            )
        for name in ("shift", "flow_shift"):
            if config[name] is not None and not config[name] > 0:
                raise ValueError(f"{name} = {config[name]!r}; a positive number is needed")
        if config.shift_terminal and not 0 < config.shift_terminal < 1:
            raise ValueError(f"shift_terminal = {config.shift_terminal!r}; a number between 0 and 1 is needed, or None")
        if config.time_shift_type not in ("exponential", "linear"):
            raise ValueError(unknown_name_message("time_shift_type", config.time_shift_type, ("exponential", "linear")))
        if not config.use_flow_sigmas:
            raise ValueError("use_flow_sigmas = False: straight paths have no other sigmas; export a scheme of vp")
        if config.timestep_spacing not in (None, "derived"):
            raise ValueError(
                f"timestep_spacing = {config.timestep_spacing!r} says nothing of flow; 'derived' or None is needed"
            )
        chosen = [key for key in GRIDS_BETWEEN_ENDS if config[key]]
        if len(chosen) > 1:
            raise ValueError(f"{' and '.join(chosen)} are {len(chosen)} grids; choose one")

    def _name_shift_twice(self) -> None:
        """Keep the shift in the config under both of its names, so that every class of diffusers finds its own.

        diffusers gives a class that takes over a config its own default for each setting that was not passed; what
        belongs to the network is kept from that.
        """
        config = self.config
        shift = config.shift if config.flow_shift is None else config.flow_shift
        self.register_to_config(shift=shift, flow_shift=shift)
        if "_use_default_values" in config:
            self.register_to_config(_use_default_values=sorted({*config._use_default_values} - NETWORK_SETTINGS))

    @classmethod
    def from_config(cls, config: Any = None, return_unused_kwargs: bool = False, **kwargs: Any) -> Any:
        """A scheduler with the settings of another's config, of flow matching or with ``use_flow_sigmas``.

        Raises ValueError for a config on a table of betas, and for a setting that changes the walk or the network and
        is not covered.
        """
        if isinstance(config, Mapping):
            if {"shift", "flow_shift"} & set(kwargs):  # one number: what is passed replaces it under both names
                config = {key: value for key, value in config.items() if key not in ("shift", "flow_shift")}
            _check_foreign({**config, **kwargs}, cls)
            if config.get("timestep_spacing") in SPACINGS:  # without effect on flow sigmas in diffusers too
                config = {key: value for key, value in config.items() if key != "timestep_spacing"}
            left = set(config.get("_use_default_values", ())) - NETWORK_SETTINGS
            config = {**config, "_use_default_values": sorted(left)}
        return super().from_config(config, return_unused_kwargs, **kwargs)

    def _find_highest(self, below: float) -> tuple[float, float]:
        """The highest time of an evaluation, and of one that a step begins with: 1, or ``below`` where 1 has none."""
        try:
            self._conversion(1.0)
        except ZeroDivisionError:
            return below, below
        try:
            tabulate(self.scheme.coefficients, [1.0, 0.5], self.scheme.history)
        except ValueError:
            return 1.0, below
        return 1.0, 1.0

    def _timestep(self, t: float) -> float:
        """The time step of the scheme's time t, which is sigma: what the network is told."""
        if self._timesteps_of is not None:
            return float(np.interp(t, *self._timesteps_of))
        return (1 - t if self.config.invert_sigmas else t) * len(self)

    def _sigma_of(self, timesteps: Tensor) -> Tensor:
        """The sigmas of time steps, as ``_timestep`` has them, in float32."""
        if self._timesteps_of is not None:
            sigmas, told = self._timesteps_of
            found = np.interp(timesteps.cpu().double().numpy(), told, sigmas)
            return torch.from_numpy(found).float().to(timesteps.device)
        sigma = timesteps.float() / len(self)
        return 1 - sigma if self.config.invert_sigmas else sigma

    def _alpha_sigma(self, t: float) -> tuple[float, float]:
        """alpha and sigma of z = alpha x_0 + sigma noise at the scheme's time t."""
        return 1 - t, t

    def _conversion(self, t: float) -> tuple[float, ...]:
        """As in ``SchemeScheduler``; with inverted sigmas a velocity points from noise to data."""
        skip, scale, skip_0, scale_0, *rest = super()._conversion(t)
        sign = -1 if self.config.invert_sigmas and self.config.prediction_type == "flow_prediction" else 1
        return skip, sign * scale, skip_0, sign * scale_0, *rest

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: str | torch.device | None = None,
        sigmas: Sequence[float] | None = None,
        mu: float | None = None,
        timesteps: Sequence[float] | None = None,
    ) -> None:
        """Lay the grid: ``num_inference_steps`` sigmas of the scheme's counterpart, or those given, then shifted.

        - ``sigmas``: decreasing, in (0, 1]; a closing 0 is dropped. They are shifted, as in diffusers.
        - ``timesteps`` alone: what the network is to be told; sigma is that over num_train_timesteps, not shifted.
          With ``sigmas``: what it is told at each of them, whatever they are shifted to, as CogView4 needs.
        - ``mu``: read with ``use_dynamic_shifting`` only, as in diffusers; pipelines pass it always.

        Raises ValueError for a number of steps that is not in 1 ... num_train_timesteps or is not that of the sigmas or
        time steps given, for sigmas or time steps that do not decrease or leave (0, 1], and for a missing ``mu``.
        """
        if timesteps is not None and self.config.invert_sigmas:
            raise ValueError("timesteps are not covered where invert_sigmas = True; pass sigmas")
        if sigmas is None and timesteps is not None:
            walk, times = self._walk_of("time steps", timesteps, len(self)), None
        else:
            walk = self._spaced(num_inference_steps) if sigmas is None else self._walk_of("sigmas", sigmas, 1)
            times = self._reshaped(walk, self._shift(mu))
        if num_inference_steps not in (None, len(walk)):
            raise ValueError(f"num_inference_steps = {num_inference_steps!r}, but {len(walk)} sigmas or time steps")
        times = walk if times is None else times
        highest = self._highest[len(times) > 1]
        own = sigmas is None and timesteps is None  # a counterpart's first sigma is kept wherever a step begins there
        if times[0] > highest and not (own and times[0] < 1):  # above the second time, which may lie beyond it too
            second = times[1] if len(times) > 1 else 0.0
            times[0] = max(highest, (times[0] + second) / 2)
        self._timesteps_of = None
        if timesteps is not None and sigmas is not None:
            self._timesteps_of = self._read_pairs(times, timesteps)
        self._lay_grid(times, True, device)
        places = self._sigma_of(self.timesteps)
        ends = places.new_full((1,), float(self.config.invert_sigmas))
        self.sigmas = torch.cat([1 - places if self.config.invert_sigmas else places, ends])

    def _shift(self, mu: float | None) -> float:
        """The shift of this walk. Raises ValueError where it depends on the image and ``mu`` does not give it."""
        if not self.config.use_dynamic_shifting:
            return float(self.config.shift)
        if mu is None:
            raise ValueError("use_dynamic_shifting needs mu, a number that grows with the size of the image")
        linear = self.config.time_shift_type == "linear"
        if linear and not mu > 0:
            raise ValueError(f"mu = {mu!r}; with time_shift_type = 'linear' it is the shift, a positive number")
        return float(mu) if linear else math.exp(mu)

    def _spaced(self, count: int | None) -> list[float]:
        """``count`` sigmas as the scheme's counterpart has them by default, or the scheme's own, not shifted yet."""
        if count is None or not is_count(count) or count > len(self):
            raise ValueError(f"num_inference_steps = {count!r}; an integer from 1 to {len(self)} is needed, as trained")
        shift = 1.0 if self.config.use_dynamic_shifting else self.config.shift
        if self.config.timestep_spacing == "derived":
            return grid_of_steps(self.scheme, count)[:-1]
        sigmas = SIGMAS_OF[flow_counterpart(self.scheme)[0]](int(count), len(self), shift, self.scheme.nfe_per_step)
        return [float(sigma) for sigma in sigmas]

    def _walk_of(self, name: str, given: Sequence[float], high: float) -> list[float]:
        """Sigmas or time steps as numbers in (0, 1] without a closing 0. Raises ValueError unless they decrease."""
        shown = [float(value) for value in given]
        shown = shown[:-1] if shown and shown[-1] == 0 else shown
        if not falls(shown, high, 0) or shown[-1] == 0:
            raise ValueError(f"{name} {shorten(shown)} do not decrease from at most {high} to above 0")
        return [value / high for value in shown]

    def _reshaped(self, walk: Sequence[float], shift: float) -> list[float]:
        """The sigmas shifted, stretched to the terminal one, and laid anew between their ends: in diffusers' order."""
        times = [shift * sigma / (1 + (shift - 1) * sigma) for sigma in walk]
        terminal = self.config.shift_terminal
        if terminal and times[-1] < 1:
            times = [1 - (1 - t) * (1 - terminal) / (1 - times[-1]) for t in times]
        for key in GRIDS_BETWEEN_ENDS:
            if self.config[key]:
                return [times[0], *map(float, list(SIGMAS[key](len(times), times[0], times[-1]))[1:])]
        return times

    def _read_pairs(self, times: Sequence[float], timesteps: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
        """Times and the time steps to tell the network there, both increasing. Raises ValueError where they do not."""
        told = [float(k) for k in timesteps]
        told = told[:-1] if told and told[-1] == 0 and len(told) == len(times) + 1 else told
        if len(told) != len(times) or not falls(told, math.inf, 0):
            raise ValueError(
                f"{len(told)} time steps {shorten(told)} for {len(times)} sigmas; as many are needed, decreasing"
            )
        return np.array(times[::-1]), np.array(told[::-1])

    def scale_noise(self, sample: Tensor, timestep: Tensor, noise: Tensor) -> Tensor:
        """(1 - sigma) x_0 + sigma noise, for samples of shape (n, ...) and time steps of shape (n,)."""
        sigma = self._sigma_of(timestep.to(sample.device)).reshape(-1, *[1] * (sample.dim() - 1))
        return ((1 - sigma) * sample + sigma * noise).to(sample.dtype)

    def add_noise(self, original_samples: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """``scale_noise`` in the order of arguments of the other schedulers."""
        return self.scale_noise(original_samples, timesteps, noise)


def _check_foreign(config: Mapping[str, Any], cls: type[SchemeScheduler]) -> None:
    """Raise ValueError for a config that is not of flow matching, and for a setting of it that is not covered."""
    given = {key: value for key, value in config.items() if not key.startswith("_")}
    foreign = sorted(set(given) - set(cls._get_init_keys(cls)))
    if foreign and "shift" not in given and not given.get("use_flow_sigmas"):
        raise ValueError(
            f"a config with {foreign[0]}, no shift and no use_flow_sigmas; {cls.__name__} needs that of flow matching"
        )
    for key, rule in FLOW_SETTINGS.items():
        value = given.get(key)
        if isinstance(rule, Refused) and value is not None and value not in rule.accepted:
            shown = " or ".join(repr(one) for one in rule.accepted or (None,))
            raise ValueError(f"the config has {key} = {value!r}, which is not covered ({rule.why}); {shown} would be")
    for key in GRIDS_BETWEEN_ENDS:
        if given.get(key) and "beta_schedule" in foreign:
            raise ValueError(
                f"the config has {key} = True beside use_flow_sigmas, which diffusers lays over a table of betas; "
                "leave one of them out"
            )
    # diffusers drops what the class of the config has and this one has not, without a word
    named = config.get("_class_name")
    other = getattr(diffusers, named, None) if isinstance(named, str) else None
    for key in sorted((set(foreign) - set(FLOW_SETTINGS)) & (cls._get_init_keys(other) if other else set())):
        raise ValueError(f"the config has {key}, a setting of {named} that is not covered; leave it out")
