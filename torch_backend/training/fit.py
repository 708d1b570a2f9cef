"""Denoising score matching: the loss, the optimiser's walk, its checkpoints. The same for any number of blocks.

Knows perturbation kernels, eps and Adam; knows no process by name. On phase space the kernel is that of (x, m) given
x_0 alone, the initial momentum averaged out: hybrid score matching (Dockhorn et al., arXiv 2112.07068, section 3.2).
"""

import copy
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from torch_backend.scores.exact import Kernel
from torch_backend.training.networks import EpsNetwork, import_needed, kernel_of, make_network, write_bytes
from torch_backend.walk.loop import Network

__all__ = ["CHECKPOINT", "Settings", "Training", "diffuse", "fit", "loss"]

CHECKPOINT = "checkpoint.safetensors"


@dataclass(frozen=True)
class Settings:
    """What decides the weights, together with the data and the sizes of the network."""

    problem: str
    seed: int = 0
    steps: int = 3000
    batch: int = 64
    learning_rate: float = 2e-3
    average: float = 0.999
    """Decay of the running average of the weights, which is the network that is kept."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)!r}; at least 1 is needed")
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate = {self.learning_rate!r}; a positive number is needed")
        if not 0 <= self.average < 1:
            raise ValueError(f"average = {self.average!r}; a number in [0, 1) is needed")

    def rate(self, step: int) -> float:
        """The learning rate of a step: up over the first hundred, then down to zero along a line."""
        return self.learning_rate * min((step + 1) / 100, 1 - step / self.steps)

    def decay(self, step: int) -> float:
        """The decay of the running average at a step: smaller at first, while there is little to remember."""
        return min(self.average, (1 + step) / (10 + step))


def diffuse(
    kernel: Kernel,
    x_0: Float[Tensor, "n channels *space"],
    t: Float[Tensor, " n"],
    eps: Float[Tensor, "n blocks_channels *space"],
) -> Float[Tensor, "n blocks_channels *space"]:
    """psi(t) x_0 + L(t) eps, the diffused states, with the Cholesky factor L of the kernel of all blocks."""
    psi, triangle = kernel.mean(t.double()), kernel.cholesky(t.double())

    def per_sample(entry: Tensor) -> Tensor:
        return entry.to(x_0.dtype).reshape(-1, *[1] * (x_0.dim() - 1))

    # Row ``block`` of L begins at entry ``at`` of the triangle, which holds L row by row.
    noises, rows, at = eps.chunk(len(psi), dim=1), [], 0
    for block, mean in enumerate(psi):
        row = per_sample(mean) * x_0
        for column in range(block + 1):
            row = row + per_sample(triangle[at + column]) * noises[column]
        rows.append(row)
        at += block + 1
    return torch.cat(rows, dim=1)


def loss(
    network: Network,
    kernel: Any,
    x_0: Float[Tensor, "n channels *space"],
    generator: torch.Generator,
) -> Float[Tensor, ""]:
    """Mean square of network(z_t, t) - eps, t uniform in [T_MIN, T_MAX]; x_0 of the data, one time for each."""
    n, blocks = len(x_0), len(kernel.BLOCKS)
    t = kernel.T_MIN + (kernel.T_MAX - kernel.T_MIN) * torch.rand(n, generator=generator)
    eps = torch.randn(n, blocks * x_0.shape[1], *x_0.shape[2:], generator=generator)
    return (network(diffuse(kernel, x_0, t, eps), t) - eps).square().mean()


class Training:
    """The state of a training: network, its running average, Adam, the generator, the losses so far.

    ``data``: ``(n, channels, ...)``, float32. A training saved after any step and loaded goes on to the same weights,
    to the bit, as one that was not stopped. ``sizes`` go to the network.
    """

    def __init__(self, settings: Settings, data: Tensor, **sizes: Any) -> None:
        self.settings, self.data, self.kernel = settings, data.float(), kernel_of(settings.problem)
        self.network: EpsNetwork = make_network(settings.problem, settings.seed, **sizes)
        self.average: EpsNetwork = copy.deepcopy(self.network).eval().requires_grad_(False)
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr=settings.learning_rate)
        self.generator = torch.Generator().manual_seed(settings.seed)
        self.step, self.losses = 0, list[float]()

    def advance(self) -> None:
        """Take one step of Adam on a random batch, and one of the running average of the weights."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.settings.rate(self.step)
        picked = torch.randint(len(self.data), (self.settings.batch,), generator=self.generator)
        value = loss(self.network, self.kernel, self.data[picked], self.generator)
        self.optimiser.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimiser.step()
        share = 1 - self.settings.decay(self.step)
        with torch.no_grad():
            for kept, new in zip(self.average.parameters(), self.network.parameters(), strict=True):
                kept.lerp_(new, share)
        self.losses.append(float(value.detach()))
        self.step += 1

    def recent_loss(self, window: int = 200) -> float:
        """Mean of the last losses; nan before the first step."""
        return float(torch.tensor(self.losses[-window:], dtype=torch.float64).mean())

    def save(self, path: Path) -> None:
        """Write all that the training goes on from to one file: tensors, with step and settings beside them as JSON."""
        tensors = {"generator": self.generator.get_state(), "losses": torch.tensor(self.losses, dtype=torch.float64)}
        for name, module in (("network", self.network), ("average", self.average)):
            tensors |= {f"{name}.{key}": value.contiguous() for key, value in module.state_dict().items()}
        for index, state in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{index}.{key}": value.contiguous() for key, value in state.items()}
        facts = {"state": json.dumps({"step": self.step, "settings": asdict(self.settings)})}
        write_bytes(path, import_needed("safetensors.torch").save(tensors, facts))

    def load(self, path: Path) -> None:
        """Go on from a file that ``save`` wrote. Raises ValueError for one of other settings or another network."""
        try:
            with import_needed("safetensors").safe_open(path, framework="pt") as file:
                state = json.loads(file.metadata()["state"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        except (KeyError, TypeError, import_needed("safetensors").SafetensorError) as error:
            raise ValueError(f"{path} is no checkpoint of this program ({error}); remove it to begin anew") from error
        ours, theirs = asdict(self.settings), state["settings"]
        other = [name for name in ours if theirs.get(name) != ours[name]]
        if other:
            name = other[0]
            raise ValueError(
                f"{path} was made with {name} = {theirs.get(name)!r}, not {ours[name]!r}; "
                "go on with that, or give another output"
            )
        of_optimiser = self.optimiser.state_dict()
        of_optimiser["state"] = {}
        for name, value in tensors.items():
            kind, _, rest = name.partition(".")
            if kind == "optimiser":
                index, _, key = rest.partition(".")
                of_optimiser["state"].setdefault(int(index), {})[key] = value
        for name, module in (("network", self.network), ("average", self.average)):
            own = {key.removeprefix(f"{name}."): value for key, value in tensors.items() if key.startswith(f"{name}.")}
            try:
                module.load_state_dict(own)
            except RuntimeError as error:
                raise ValueError(f"{path} is of a network of other sizes; give another output") from error
        self.optimiser.load_state_dict(of_optimiser)
        self.generator.set_state(tensors["generator"])
        self.step, self.losses = state["step"], tensors["losses"].tolist()


def fit(
    training: Training,
    checkpoint: Path | None = None,
    every: int = 250,
    report: Callable[[Training], object] = lambda training: None,
) -> EpsNetwork:
    """Advance to the last step, with a checkpoint after ``every`` so many steps; return the averaged network.

    Raises FloatingPointError, before anything is written, where the loss is no longer finite.
    """
    while training.step < training.settings.steps:
        training.advance()
        if not training.losses[-1] < float("inf"):
            raise FloatingPointError(f"the loss of step {training.step} is not finite; take a lower learning rate")
        if checkpoint is not None and (training.step % every == 0 or training.step == training.settings.steps):
            training.save(checkpoint)
        report(training)
    return training.average
