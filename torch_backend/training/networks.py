"""The networks that are trained here: UNet2DModel of diffusers on one block or two, as the eps networks of samplers.

Knows which process a network is for and what it is told of the time; knows nothing of how it is trained or sampled.
"""

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from torch_backend.source import load_kernel
from torch_backend.walk.validation import unknown_name_message

__all__ = [
    "PROBLEMS",
    "EpsNetwork",
    "Problem",
    "import_needed",
    "load_network",
    "make_network",
    "save_network",
    "write_bytes",
]


class Problem(NamedTuple):
    """A process to train on. ``time_scale`` t + ``time_shift`` is what the network is told of the time t."""

    process: str
    blocks: int
    time_scale: float
    time_shift: float


PROBLEMS: Mapping[str, Problem] = {
    "vp": Problem("ddpm", 1, 1.0, -1.0),  # entry k of the table, as diffusers counts them, is reached at time k + 1
    "psld": Problem("psld", 2, 1000.0, 0.0),  # embeddings of time are made for 0 ... 1000
}
"""By the name that the program takes."""

SIZES: Mapping[str, Any] = {
    "sample_size": 8,
    "block_out_channels": (32, 48),
    "down_block_types": ("DownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "UpBlock2D"),
    "layers_per_block": 1,
    "norm_num_groups": 8,
    "add_attention": False,
}
"""Of UNet2DModel. Half a million weights at most, so that a network in half precision stays below a megabyte."""


def import_needed(name: str) -> ModuleType:
    """Import a package that only training needs; return it. Raises ImportError, one sentence, where it is missing."""
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError as error:
        raise ImportError(
            f"training needs {name.partition('.')[0]}, which cannot be imported ({error}); "
            'install it with pip install "integrator-analysis[training]"'
        ) from error


class EpsNetwork(nn.Module):
    """A UNet2DModel as network(z, t), t the forward diffusion time of the problem's process."""

    def __init__(self, unet: Any, problem: Problem) -> None:
        super().__init__()
        self.unet, self.problem = unet, problem

    def forward(
        self, z: Float[Tensor, "n channels *space"], t: Float[Tensor, " n"]
    ) -> Float[Tensor, "n channels *space"]:
        """eps in the Cholesky frame of the process, of z's shape and dtype."""
        dtype = self.unet.conv_in.weight.dtype
        told = self.problem.time_scale * t + self.problem.time_shift
        eps: Tensor = self.unet(z.to(dtype), told.to(dtype), return_dict=False)[0]
        return eps.to(z.dtype)


def make_network(name: str, seed: int, **sizes: Any) -> EpsNetwork:
    """A network with random weights for the problem of this name; ``sizes`` replace entries of SIZES.

    Raises ValueError for a name that is not in PROBLEMS, and ImportError without diffusers.
    """
    problem = _problem(name)
    channels = {"in_channels": problem.blocks, "out_channels": problem.blocks}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unet = import_needed("diffusers").UNet2DModel(**{**SIZES, **channels, **sizes})
    return EpsNetwork(unet, problem)


def _problem(name: str) -> Problem:
    """The problem of this name. Raises ValueError where there is none."""
    if name not in PROBLEMS:
        raise ValueError(unknown_name_message("problem", name, PROBLEMS))
    return PROBLEMS[name]


def kernel_of(name: str) -> Any:
    """The perturbation kernel of the problem's process."""
    return load_kernel(_problem(name).process)


WEIGHTS, CONFIG = "diffusion_pytorch_model.safetensors", "config.json"
"""The names under which UNet2DModel.from_pretrained looks for a network in a folder."""


def save_network(network: EpsNetwork, folder: Path, dtype: torch.dtype = torch.float16) -> None:
    """Write weights, in ``dtype``, and config into the folder, as UNet2DModel.from_pretrained reads them."""
    weights = {name: value.to(dtype).contiguous() for name, value in network.unet.state_dict().items()}
    write_bytes(folder / CONFIG, network.unet.to_json_string().encode())
    write_bytes(folder / WEIGHTS, import_needed("safetensors.torch").save(weights, {"format": "pt"}))


def load_network(name: str, folder: str | Path) -> EpsNetwork:
    """The network of a problem from a folder that ``save_network`` wrote, in float32 and ready to evaluate.

    Raises FileNotFoundError where there is none, and ValueError where its channels are not those of the problem.
    """
    problem, path = _problem(name), Path(folder)
    for file in (CONFIG, WEIGHTS):
        if not (path / file).is_file():
            raise FileNotFoundError(f"no network in {path}: {file} is missing; train one with python -m {__package__}")
    config = json.loads((path / CONFIG).read_text(encoding="utf-8"))
    unet = import_needed("diffusers").UNet2DModel.from_config(config)
    if unet.config.in_channels != problem.blocks:
        raise ValueError(f"the network in {path} takes {unet.config.in_channels} channels; {name} has {problem.blocks}")
    unet.load_state_dict(import_needed("safetensors.torch").load_file(path / WEIGHTS))
    return EpsNetwork(unet, problem).eval().requires_grad_(False)


def write_bytes(path: Path, content: bytes) -> None:
    """Write to a temporary name beside ``path``, then rename, so that no half-written file is ever seen."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
