"""A model of diffusers as network(z, t): its arguments, its conditions, its time, and guidance in one call.

Knows how pipelines call their UNets and transformers; knows no process. ``on`` hands it to ``adapt``. diffusers is
imported when a folder is read.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from torch_backend.networks.adapt import AdaptedNetwork, adapt
from torch_backend.networks.conditions import classifier_free, conditioned
from torch_backend.networks.training_noise import read_training

__all__ = ["DiffusersNetwork"]

TIME_SCALES = {
    "AuraFlowTransformer2DModel": 1e-3,
    "ChromaTransformer2DModel": 1e-3,
    "FluxTransformer2DModel": 1e-3,
    "QwenImageTransformer2DModel": 1e-3,
}
"""By what their pipelines multiply the scheduler's time step; a ``timestep_scale`` in a model's config likewise."""

TURNED = ("HiDreamImageTransformer2DModel", "Lumina2Transformer2DModel", "ZImageTransformer2DModel")
"""Models whose pipelines turn the output's sign, and some the time: not covered."""


class DiffusersNetwork(nn.Module):
    """The network(z, t) of a diffusers model; t is the time step of its scheduler, of shape (n,).

    - ``model``: a UNet2DModel, UNet2DConditionModel or transformer; called as its pipeline calls it, with the state
      first and ``timestep`` by name. Of a model that predicts variances too, the first half of the channels is read.
    - ``scheduler``: the scheduler or config that it was trained with.
    - ``condition``: further arguments by name, such as ``encoder_hidden_states``, one entry for each sample. With
      ``null``, the same names for no condition, and ``scale``: classifier-free guidance, as ``classifier_free``.
    - ``time_scale``: what the time step is multiplied by; None for what its class and its config say.

    ``network.on("psld")`` runs it on another process. Raises ValueError for ``scale`` without ``null`` or the other way
    round, for a model that is not covered, and at the first call for times that are not those of the scheduler.
    """

    def __init__(
        self,
        model: Any,
        scheduler: Any,
        condition: Mapping[str, Tensor] | None = None,
        null: Mapping[str, Tensor] | None = None,
        scale: float | None = None,
        time_scale: float | None = None,
    ) -> None:
        super().__init__()
        kind = type(model).__name__
        if kind in TURNED:
            raise ValueError(f"{kind} turns the sign of its output; pass adapt a function that turns it back")
        if (null is None) != (scale is None) or (scale is not None and condition is None):
            raise ValueError("guidance takes condition, null and scale together; pass all of them, or condition alone")
        self.model, self.scheduler = model, scheduler
        self.training_noise = read_training(scheduler, None, None, None)
        configured = getattr(getattr(model, "config", None), "timestep_scale", None)
        self.time_scale = time_scale or TIME_SCALES.get(kind) or configured or 1.0
        self._range = self._range_of_times()
        self._checked = False
        if condition is None:
            self._network = lambda z, t: self._call(z, t, {})
        elif null is None or scale is None:
            self._network = conditioned(self._call, condition)
        else:
            self._network = classifier_free(self._call, condition, null, scale)

    @classmethod
    def from_pretrained(cls, folder: str | Path, **options: Any) -> "DiffusersNetwork":
        """The network of a folder that a pipeline was saved to, from its unet or transformer and its scheduler.

        ``options`` are those of the class. Nothing is downloaded, and no code of the folder is run. Raises
        FileNotFoundError where a part is missing, ImportError without diffusers.
        """
        path = Path(folder)
        found = next((name for name in ("unet", "transformer") if (path / name / "config.json").is_file()), None)
        config = path / "scheduler" / "scheduler_config.json"
        if found is None or not config.is_file():
            missing = "unet/config.json or transformer/config.json" if found is None else str(config.relative_to(path))
            raise FileNotFoundError(f"{path} holds no {missing}; a folder that a pipeline was saved to is needed")
        try:
            from diffusers import AutoModel
        except ImportError as error:
            raise ImportError(f"a model of diffusers needs diffusers ({error}): pip install diffusers") from error
        model = AutoModel.from_pretrained(str(path / found), local_files_only=True, low_cpu_mem_usage=False)
        return cls(model.eval(), json.loads(config.read_text(encoding="utf-8")), **options)

    def on(self, process: Any, **options: Any) -> AdaptedNetwork:
        """This network on another process, by name or kernel module; ``options`` are those of ``adapt``."""
        return adapt(self, self.scheduler, None, process, **options)

    def forward(
        self, z: Float[Tensor, "n channels *space"], t: Float[Tensor, " n"]
    ) -> Float[Tensor, "n channels *space"]:
        """The model's prediction, of z's shape and dtype; the model is called in its own dtype."""
        if not self._checked and not torch.compiler.is_compiling():
            self._check_times(t)
        output: Tensor = self._network(z, t)
        return output

    def _call(self, z: Tensor, t: Tensor, condition: Mapping[str, Tensor]) -> Tensor:
        """One call of the model, with conditions as its further arguments."""
        dtype = getattr(self.model, "dtype", z.dtype)
        output: Tensor = self.model(z.to(dtype), timestep=self.time_scale * t, return_dict=False, **condition)[0]
        if output.shape[1] == 2 * z.shape[1]:
            output = output.chunk(2, 1)[0]
        return output.to(z.dtype)

    def _range_of_times(self) -> tuple[float, float]:
        """The least and the largest time step that the network was trained on."""
        ends = torch.tensor([self.training_noise.first, self.training_noise.last], dtype=torch.float64)
        first, last = self.training_noise.time(ends, *self.training_noise.alpha_sigma(ends)).tolist()
        return min(first, last), max(first, last)

    def _check_times(self, t: Tensor) -> None:
        """Raise ValueError at the first call unless t can be a time step; forward diffusion time is the usual slip."""
        least, most = self._range
        slack = 1e-3 * (most - least)
        smallest, largest = float(t.min()), float(t.max())
        in_unit = most >= 100 and largest <= 1
        if in_unit or smallest < least - slack or largest > most + slack:
            raise ValueError(
                f"the first call is at t = {largest:.6g}, the network counts its time from {least:.6g} to {most:.6g}; "
                "give a sampler network.on(process), which tells the network the time steps that it knows"
            )
        self._checked = True
