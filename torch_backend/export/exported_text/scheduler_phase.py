"""A scheduler and a pipeline for models on phase space (PSLD, CLD), which diffusers has none for.

Knows the contract of diffusers' pipelines and the facts of a scheme; knows no formula of a scheme. The pipeline hands
its network to the walk of the scheme. So every scheme can be driven, those included that evaluate the network at a
state in the middle of a step. Exported schedulers carry this text.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from diffusers import DiffusionPipeline, ImagePipelineOutput
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from torch_backend.networks.conditions import classifier_free, conditioned
from torch_backend.scheme import SchemeFacts
from torch_backend.walk.grids import GRIDS
from torch_backend.walk.loop import Network, integrate
from torch_backend.walk.sample_scheme import choose_ending, choose_times
from torch_backend.walk.table import priming_row, tabulate_scheme
from torch_backend.walk.validation import unknown_name_message, usable_device

Generators = torch.Generator | list[torch.Generator] | None


class PhaseSpaceScheduler(SchedulerMixin, ConfigMixin):
    """A scheme on several blocks: its time grid and its walk, saved and loaded like every scheduler.

    - ``grid``: the time grid, such as uniform or quadratic; None for the scheme's own.
    - ``timestep_scale``: what the network is told is the forward diffusion time times this, for networks whose
      embedding of time expects 0 ... 1000.
    - ``end_at_zero``: whether the last step is one to no noise, to the predicted image; else steps end at T_MIN.
    - ``lower_order_final``: whether final steps of a multistep scheme are of lower order; None as in ``sample_scheme``.
    """

    scheme: SchemeFacts
    times: list[float]

    @register_to_config
    def __init__(
        self,
        grid: str | None = None,
        timestep_scale: float = 1.0,
        prediction_type: str = "epsilon",
        end_at_zero: bool = True,
        lower_order_final: bool | None = None,
    ) -> None:
        if grid is not None and grid not in GRIDS:
            raise ValueError(unknown_name_message("grid", grid, GRIDS))
        if prediction_type != "epsilon":
            raise ValueError(f"prediction_type {prediction_type!r}; networks on phase space return epsilon")
        if not timestep_scale > 0:
            raise ValueError(f"timestep_scale = {timestep_scale!r}; a positive number is needed")

    @classmethod
    def from_config(cls, config: Any = None, return_unused_kwargs: bool = False, **kwargs: Any) -> Any:
        """A scheduler with the settings of another. Raises ValueError for the config of one on images alone."""
        if isinstance(config, Mapping):
            names = {name for name in config if not name.startswith("_")}
            foreign = sorted(names - set(cls._get_init_keys(cls)))
            if foreign:
                raise ValueError(
                    f"a config with {foreign[0]} is of a scheduler that knows no phase space; leave it out"
                )
        return super().from_config(config, return_unused_kwargs, **kwargs)

    @property
    def blocks(self) -> int:
        """How many blocks of the image's channels the state has."""
        return len(self.scheme.blocks)

    def set_timesteps(self, num_inference_steps: int, device: str | torch.device | None = None) -> None:
        """Lay the grid of so many steps; ``timesteps`` are what the network is told at the starts of the steps."""
        self.times = choose_times(self.scheme, num_inference_steps, None, self.config.grid, self.config.end_at_zero)
        starts = torch.tensor(self.times[:-1], dtype=torch.float64)
        self.timesteps = (self.config.timestep_scale * starts).float()
        if device is not None:
            self.timesteps = self.timesteps.to(usable_device(device))

    def prior(self, shape: tuple[int, ...], generator: Generators, device: Any, dtype: torch.dtype) -> Tensor:
        """States at the start for images of ``shape`` (n, c, ...): (n, blocks * c, ...)."""
        draws = [std * randn_tensor(shape, generator, device, torch.float32) for std in self.scheme.prior_std]
        return torch.cat(draws, dim=1).to(dtype)

    def walk(
        self,
        network: Network,
        z: Tensor,
        generator: Generators = None,
        callback: Callable[[int, float, Tensor], object] | None = None,
        progress: bool | Callable[[int, int], object] = False,
    ) -> Tensor:
        """Walk z down the grid; return the state at its last time. Raises ValueError before ``set_timesteps``."""
        if not hasattr(self, "times"):
            raise ValueError("no time steps yet; call set_timesteps before walk")
        shape = (z.shape[0], z.shape[1] // self.blocks, *z.shape[2:])

        def draw(i: int) -> Tensor:
            noises = range(self.scheme.noises)
            return torch.stack([randn_tensor(shape, generator, z.device, torch.float32) for _ in noises])

        return integrate(
            self.scheme.step,
            tabulate_scheme(self.scheme, self.times, self.config.lower_order_final),
            self.times,
            network,
            z,
            blocks=self.blocks,
            noises=self.scheme.noises,
            history=self.scheme.history,
            primed=priming_row(self.scheme, self.times),
            ending=choose_ending(self.scheme, self.times),
            draw=draw,
            callback=callback,
            progress=progress,
        )


class PhaseSpacePipeline(DiffusionPipeline):
    """Images from a network on phase space: ``unet`` takes and returns position and momentum, on its channels.

    ``unet(z, t, return_dict=False, **condition)[0]`` is eps of z's shape, as from UNet2DModel or UNet2DConditionModel;
    ``scheduler``: a PhaseSpaceScheduler. Raises ValueError for a network whose channels do not fit.
    """

    model_cpu_offload_seq = "unet"

    def __init__(self, unet: Any, scheduler: Any) -> None:
        super().__init__()
        if not isinstance(scheduler, PhaseSpaceScheduler):
            raise ValueError(f"scheduler is a {type(scheduler).__name__}; one of phase space is needed, as exported")
        channels, out = unet.config.in_channels, unet.config.out_channels
        if channels != out or channels % scheduler.blocks:
            raise ValueError(
                f"unet takes {channels} channels and returns {out}; both must be {scheduler.blocks} times the image's"
            )
        self.register_modules(unet=unet, scheduler=scheduler)

    @torch.no_grad()
    def __call__(
        self,
        batch_size: int = 1,
        generator: Generators = None,
        num_inference_steps: int = 50,
        condition: Mapping[str, Tensor] | None = None,
        null_condition: Mapping[str, Tensor] | None = None,
        guidance_scale: float = 1.0,
        output_type: str = "pil",
        return_dict: bool = True,
        callback_on_step_end: Callable[[Any, int, float, dict[str, Tensor]], object] | None = None,
    ) -> Any:
        """Images, one per sample.

        - ``condition``: what the network takes beside z and t, by name, one entry per sample: ``{"class_labels": y}``,
          ``{"encoder_hidden_states": prompts}``. ``guidance_scale`` other than 1 needs ``null_condition``, of the same
          names and shapes: classifier-free guidance.
        - ``output_type``: "pil", "np" (n, height, width, c) or "pt" (n, c, height, width), in [0, 1]; "latent": the
          state, position and momentum.
        - ``callback_on_step_end(pipeline, step, time, {"latents": z})``: sees the state; what it returns is not used.

        Raises ValueError for an unknown output type, a list of generators of another length than the batch, and
        guidance without a null condition.
        """
        if output_type not in ("pil", "np", "pt", "latent"):
            raise ValueError(unknown_name_message("output_type", output_type, ("pil", "np", "pt", "latent")))
        if isinstance(generator, list) and len(generator) != batch_size:
            raise ValueError(f"{len(generator)} generators for a batch of {batch_size}; one each is needed")
        size = self.unet.config.sample_size
        space = (size, size) if isinstance(size, int) else tuple(size)
        shape = (batch_size, self.unet.config.in_channels // self.scheduler.blocks, *space)
        device, dtype = self._execution_device, self.unet.dtype
        self.scheduler.set_timesteps(num_inference_steps, device)
        z = self.scheduler.prior(shape, generator, device, dtype)
        network = self._network(condition, null_condition, guidance_scale)

        def seen(step: int, time: float, state: Tensor) -> None:
            if callback_on_step_end is not None:
                callback_on_step_end(self, step, time, {"latents": state})

        with self.progress_bar(total=num_inference_steps) as bar:
            z = self.scheduler.walk(network, z, generator, seen, lambda done, total: bar.update(1))
        images: Any = z
        if output_type != "latent":
            images = (z[:, : shape[1]].float() / 2 + 0.5).clamp(0, 1)
        if output_type in ("pil", "np"):
            images = images.cpu().permute(0, 2, 3, 1).numpy()
        if output_type == "pil":
            images = self.numpy_to_pil(images)
        self.maybe_free_model_hooks()
        return ImagePipelineOutput(images=images) if return_dict else (images,)

    def _network(
        self, condition: Mapping[str, Tensor] | None, null: Mapping[str, Tensor] | None, scale: float
    ) -> Network:
        """The unet as network(z, t) under its condition, guided where ``scale`` is not 1."""

        def evaluate(z: Tensor, t: Tensor, given: Mapping[str, Tensor]) -> Tensor:
            told = (self.scheduler.config.timestep_scale * t).to(z.dtype)
            found: Tensor = self.unet(z, told, return_dict=False, **given)[0]
            return found

        if scale == 1:
            return conditioned(evaluate, dict(condition or {}))
        if not condition or not null:
            raise ValueError(f"guidance_scale = {scale!r} needs condition and null_condition")
        return classifier_free(evaluate, condition, null, scale)
