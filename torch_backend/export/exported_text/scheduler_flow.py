"""The scheduler of a scheme on rectified flow for networks that return the velocity: config, shift, time steps.

Knows the sigmas of diffusers' flow-matching schedulers, which are the scheme's times. Exported schedulers carry this
text.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from diffusers.configuration_utils import register_to_config
from torch import Tensor

from torch_backend.export.exported_text.scheduler_engine import SchemeScheduler, falls
from torch_backend.walk.table import tabulate

REFUSED: Mapping[str, object] = {
    "invert_sigmas": False,
    "shift_terminal": None,
    "use_karras_sigmas": False,
    "use_exponential_sigmas": False,
    "use_beta_sigmas": False,
    "time_shift_type": "exponential",
    "stochastic_sampling": False,
}
"""What changes the grid and is not covered: the only value of each that is accepted."""


class FlowScheduler(SchemeScheduler):
    """A scheme of the process flow: z = (1 - sigma) x_0 + sigma noise, sigma the time, time step 1000 sigma.

    ``shift``: sigma becomes shift sigma / (1 + (shift - 1) sigma); with ``use_dynamic_shifting`` the shift is
    exp(mu), ``mu`` passed to ``set_timesteps``. ``prediction_type``: flow_prediction, the velocity noise - x_0, or
    sample, epsilon. Schemes that have no step from sigma = 1, and networks that return epsilon, which says nothing of
    x_0 there, begin at 1 - 1/num_train_timesteps instead, or half-way to the second time where that is later.
    """

    _compatibles = ["FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler"]  # noqa: RUF012
    asked = "flow_prediction"

    @register_to_config
    def __init__(
        self,
        num_train_timesteps: int = 1000,
        shift: float = 1.0,
        use_dynamic_shifting: bool = False,
        base_shift: float = 0.5,
        max_shift: float = 1.15,
        base_image_seq_len: int = 256,
        max_image_seq_len: int = 4096,
        prediction_type: str = "flow_prediction",
        clip_sample: bool = False,
        clip_sample_range: float = 1.0,
    ) -> None:
        self._check_settings()
        if prediction_type == "v_prediction":
            raise ValueError("v_prediction is no output on straight paths; export a scheme of the process vp")
        if not shift > 0:
            raise ValueError(f"shift = {shift!r}; a positive number is needed")
        self._top = 1.0
        try:
            tabulate(self.scheme.coefficients, [1.0, 0.5], self.scheme.history)
            self._conversion(self._top)
        except (ValueError, ZeroDivisionError):
            self._top = 1 - 1 / num_train_timesteps
        self.timesteps = torch.arange(num_train_timesteps, 0, -1)
        self._reset()

    @classmethod
    def from_config(cls, config: Any = None, return_unused_kwargs: bool = False, **kwargs: Any) -> Any:
        """A scheduler with the shift of another's config.

        Raises ValueError for the config of a scheduler on a table of betas, and for a setting of the grid that would
        be ignored.
        """
        if isinstance(config, Mapping):
            merged = {key: value for key, value in {**config, **kwargs}.items() if not key.startswith("_")}
            foreign = sorted(set(merged) - set(cls._get_init_keys(cls)))
            if foreign and "shift" not in merged:
                raise ValueError(f"a config with {foreign[0]} and no shift; {cls.__name__} needs that of flow matching")
            for key, accepted in REFUSED.items():
                if merged.get(key, accepted) not in (accepted, None):
                    raise ValueError(
                        f"the config has {key} = {merged[key]!r}, which is not covered; {accepted!r} would be"
                    )
        return super().from_config(config, return_unused_kwargs, **kwargs)

    def _timestep(self, t: float) -> float:
        """The time step of the scheme's time t, which is sigma."""
        return t * len(self)

    def _alpha_sigma(self, t: float) -> tuple[float, float]:
        """alpha and sigma of z = alpha x_0 + sigma noise at the scheme's time t."""
        return 1 - t, t

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: str | torch.device | None = None,
        sigmas: Sequence[float] | None = None,
        mu: float | None = None,
    ) -> None:
        """Lay the grid: equal steps, or the ``sigmas`` given, then shifted; a closing sigma 0 is dropped.

        Equal steps run from 1 to the shifted 1/num_train_timesteps and are shifted then, as in diffusers. Raises
        ValueError for a number of steps that is not in 1 ... num_train_timesteps, for sigmas that do not decrease or
        leave (0, 1], and for ``use_dynamic_shifting`` without ``mu``.
        """
        if self.config.use_dynamic_shifting and mu is None:
            raise ValueError("use_dynamic_shifting needs mu, a number that grows with the size of the image")
        shift = math.exp(mu) if self.config.use_dynamic_shifting and mu is not None else self.config.shift
        walk = self._spaced(num_inference_steps) if sigmas is None else [float(sigma) for sigma in sigmas]
        walk = walk[:-1] if walk and walk[-1] == 0 else walk
        if not falls(walk, 1, 0) or walk[-1] == 0:
            raise ValueError(f"sigmas {walk!r} do not decrease from at most 1 to above 0")
        times = [shift * sigma / (1 + (shift - 1) * sigma) for sigma in walk]
        if times[0] > self._top:  # and above the second time, which fine grids have beyond it too
            second = times[1] if len(times) > 1 else 0.0
            times[0] = max(self._top, (times[0] + second) / 2)
        self._lay_grid(times, True, device)

    def _spaced(self, count: int | None) -> list[float]:
        """``count`` sigmas from 1 to the shifted 1/num_train_timesteps in equal steps, not shifted themselves."""
        if isinstance(count, bool) or not isinstance(count, int) or not 0 < count <= len(self):
            raise ValueError(f"num_inference_steps = {count!r}; an integer from 1 to {len(self)} is needed, as trained")
        shift = 1.0 if self.config.use_dynamic_shifting else self.config.shift
        last = shift / (len(self) + shift - 1)
        return [float(sigma) for sigma in np.linspace(1.0, last, count)]

    def scale_noise(self, sample: Tensor, timestep: Tensor, noise: Tensor) -> Tensor:
        """(1 - sigma) x_0 + sigma noise, for samples of shape (n, ...) and time steps of shape (n,)."""
        sigma = (timestep.float().to(sample.device) / len(self)).reshape(-1, *[1] * (sample.dim() - 1))
        return ((1 - sigma) * sample + sigma * noise).to(sample.dtype)

    def add_noise(self, original_samples: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """``scale_noise`` in the order of arguments of the other schedulers."""
        return self.scale_noise(original_samples, timesteps, noise)
