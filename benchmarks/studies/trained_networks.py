"""Trained networks in real pipelines: distance to the data beside that of the exact score, and a picture.

Writes reports/networks.md and reports/figures/networks.png from benchmarks/trained_weights. Run by `make benchmark`.
"""

from __future__ import annotations

import importlib
import json
import math
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

import diffusers
import numpy as np
import torch
from torch import Tensor

import integrator_analysis as ia
from integrator_analysis.figures.samples import image_grid
from integrator_analysis.figures.style import new_figure, save
from integrator_analysis.files import write_text
from torch_backend import load
from torch_backend.export.diffusers import class_name
from torch_backend.measuring.digits_study import baseline
from torch_backend.measuring.distances import sliced_wasserstein
from torch_backend.scores import digits, digits_score
from torch_backend.source import load_kernel
from torch_backend.training import PROBLEMS, load_network

REPORTS = Path(__file__).parents[2] / "reports"
NETWORKS = Path(__file__).parents[1] / "trained_weights"
BUDGETS, SHOWN_BUDGETS, SEEDS, IMAGES, PROJECTIONS, SHOWN = (10, 20, 50), (10, 20), (0, 1, 2), 512, 200, 8
TABLE = {"clip_sample": False, "timestep_spacing": "trailing"}
"""The same for every scheduler on the table: no clipping, and the first evaluation at the last entry."""
THEIRS = ("DDPMScheduler", "DDIMScheduler", "DPMSolverMultistepScheduler")
OURS = ("vp/DDIM", "vp/DDIM-eta", "vp/DPM-Solver++2M", "vp/DPM-Solver++2S", "vp/UniPC-2", "vp/EDM-Heun")
PHASE = ("psld/RVV", "psld/gDDIM", "psld/SPS-2M", "psld/DPM-Solver++2M", "psld/ROBA")
PICTURED = (*THEIRS, "vp/DDIM", "vp/DPM-Solver++2M", "vp/UniPC-2", "psld/RVV", "psld/gDDIM", "psld/DPM-Solver++2M")
START = time.perf_counter()

Network = Callable[[Tensor, Tensor], Tensor]
FOLDER = tempfile.TemporaryDirectory()
sys.path.insert(0, FOLDER.name)


def say(text: str) -> None:
    print(f"[{time.perf_counter() - START:5.0f} s] {text}", file=sys.stderr, flush=True)


@cache
def exported(spec: str) -> Any:
    """The module of a scheme's exported file, imported by its name as a user does."""
    file = "exported_" + class_name(spec).lower()
    ia.derive(spec).export(Path(FOLDER.name) / f"{file}.py", format="diffusers")
    importlib.invalidate_caches()
    return importlib.import_module(file)


def scheduler_class(name: str) -> Any:
    """diffusers' own by its class name, ours by its spec."""
    return getattr(diffusers, name) if "/" not in name else getattr(exported(name), class_name(name))


# -- distances -----------------------------------------------------------------------------------------------------
class Start(NamedTuple):
    """The same noise for every scheme."""

    z: Tensor
    generator: torch.Generator


def start(blocks: int, dtype: torch.dtype, seed: int) -> Start:
    generator = torch.Generator().manual_seed(seed)
    return Start(torch.randn(IMAGES, blocks, 8, 8, generator=generator).to(dtype), generator)


@torch.no_grad()
def on_the_table(name: str, network: Network, budget: int, dtype: torch.dtype, seed: int) -> Tensor:
    """Images by a scheduler, in the loop of a pipeline, with at most ``budget`` evaluations."""
    scheduler = scheduler_class(name).from_config(diffusers.DDPMScheduler(**TABLE).config)
    scheduler.set_timesteps((budget - 1) // scheduler.order + 1)
    assert len(scheduler.timesteps) <= budget
    x, generator = start(1, dtype, seed)
    shift = PROBLEMS["vp"].time_shift  # the network's time is that of the process ddpm
    for k in scheduler.timesteps:
        eps = network(x, (k.double() - shift).expand(len(x)))
        x = scheduler.step(eps, k, x, **({"generator": generator} if takes_noise(name) else {})).prev_sample
    return x


def takes_noise(name: str) -> bool:
    return name != "DPMSolverMultistepScheduler"


def on_phase_space(spec: str, network: Network, budget: int, dtype: torch.dtype, seed: int) -> Tensor:
    """Positions by ``Sampler``, on the quadratic grid."""
    sampler, (z, _) = load(spec), start(2, dtype, seed)
    z = z * torch.tensor(sampler.prior_std, dtype=dtype).reshape(1, 2, 1, 1)
    steps = budget // sampler.nfe_per_step
    noise = seed if sampler.stochastic else None
    return sampler.sample(network, z, steps=steps, grid="quadratic", seed=noise)[:, :1]


class Measured(NamedTuple):
    """Sliced Wasserstein distance to the images per budget and seed; inf where the walk left the finite numbers."""

    name: str
    trained: list[list[float]]
    exact: list[list[float]]


def measured() -> Iterator[Measured]:
    cases = [("vp", name, on_the_table) for name in (*THEIRS, *OURS)]
    cases += [("psld", spec, on_phase_space) for spec in PHASE]
    for problem, name, sample in cases:
        trained = load_network(problem, NETWORKS / problem)
        exact = digits_score(load_kernel(PROBLEMS[problem].process), 0.0)
        found = [
            [[distance(sample, name, network, budget, dtype, seed) for seed in SEEDS] for budget in BUDGETS]
            for network, dtype in ((trained, torch.float32), (exact, torch.float64))
        ]
        say(f"{name}: {'; '.join(' '.join(map(shown, row)) for row in found)}")
        yield Measured(name, *found)


def distance(sample: Any, name: str, network: Network, budget: int, dtype: torch.dtype, seed: int) -> float:
    try:
        x = sample(name, network, budget, dtype, seed).clamp(-1, 1)  # as pipelines do
    except FloatingPointError:
        return math.inf
    return sliced_wasserstein(x, digits(), projections=PROJECTIONS, seed=0)


# -- pictures ------------------------------------------------------------------------------------------------------
def pictures(name: str, budget: int) -> np.ndarray:
    """(SHOWN, 8, 8) in [0, 1], out of a real pipeline: DDPMPipeline, or the one for phase space."""
    if name.startswith("psld/"):
        module, network = exported(name), load_network("psld", NETWORKS / "psld")
        scheduler = scheduler_class(name)(grid="quadratic", timestep_scale=PROBLEMS["psld"].time_scale)
        pipeline = module.PhaseSpacePipeline(network.unet, scheduler)
        steps = budget // load(name).nfe_per_step
    else:
        network = load_network("vp", NETWORKS / "vp")
        pipeline = diffusers.DDPMPipeline(network.unet, diffusers.DDPMScheduler(**TABLE))
        pipeline.scheduler = scheduler_class(name).from_config(pipeline.scheduler.config)
        steps = (budget - 1) // pipeline.scheduler.order + 1
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(1)
    images = pipeline(batch_size=SHOWN, generator=generator, num_inference_steps=steps, output_type="np").images
    return np.asarray(images)[..., 0]


def picture(path: Path) -> None:
    figure = new_figure(8.6, 5.2)
    axes = figure.subplots(1, len(SHOWN_BUDGETS))
    labels = [f"diffusers {name.removesuffix('Scheduler')}" if "/" not in name else name for name in PICTURED]
    for ax, budget in zip(axes, SHOWN_BUDGETS, strict=True):
        images = np.stack([pictures(name, budget) for name in PICTURED])
        image_grid(ax, images, labels if budget == SHOWN_BUDGETS[0] else (), title=f"{budget} evaluations")
    save(figure, path)


# -- text ----------------------------------------------------------------------------------------------------------
def shown(distances: Sequence[float]) -> str:
    """Mean and standard deviation over the seeds."""
    if not all(map(math.isfinite, distances)):
        return "-"
    return f"{mean(distances):.3f} ± {stdev(distances):.3f}"


def table(rows: list[Measured]) -> list[str]:
    numbers = [f"{b}" for b in BUDGETS]
    head = ["scheme", *(f"trained, {n}" for n in numbers), *(f"exact score, {n}" for n in numbers)]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for row in rows:
        label = f"diffusers {row.name}" if "/" not in row.name else row.name
        cells = map(shown, (*row.trained, *row.exact))
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return lines


def report(rows: list[Measured], floor: dict[str, float]) -> str:
    facts = {p: json.loads((NETWORKS / p / "training.json").read_text(encoding="utf-8")) for p in PROBLEMS}
    made = "; ".join(
        f"`{p}`: {f['weights']} weights, {f['steps']} steps of {f['batch']} images, final loss {f['final_loss']:.4f}"
        for p, f in facts.items()
    )
    return "\n".join([
        "# Trained networks in pipelines",
        "",
        "Made by `python benchmarks/studies/trained_networks.py`. The networks of "
        "benchmarks/trained_weights, trained on the 1797 digits by "
        f"`python -m torch_backend.training` and stored in half precision ({made}).",
        "",
        f"Sliced Wasserstein distance of {IMAGES} samples to the images, {PROJECTIONS} directions, all schemes of a "
        f"process from the same noise, samples clipped to [-1, 1] as pipelines do; mean ± standard deviation over "
        f"{len(SEEDS)} seeds of the noise, with the same directions. Images drawn from the data "
        f"themselves have {floor['sliced_wasserstein']:.3f} ± {floor['sliced_wasserstein_std']:.3f}. Beside it the "
        "same schemes with the exact score of the images, in float64: what is above the floor there is the "
        "integrator's error alone, in the left half it is the integrator's and the network's together.",
        "",
        "## VP, the table of 1000 linear betas",
        "",
        "Schedulers driven as a pipeline does, without clipping of the predicted x_0, trailing time steps. Those with "
        "vp/ are exported by `integrator-analysis export --format diffusers`.",
        "",
        *table([row for row in rows if not row.name.startswith("psld/")]),
        "",
        "## PSLD",
        "",
        "`Sampler` on the quadratic grid, down to t = 1e-3.",
        "",
        *table([row for row in rows if row.name.startswith("psld/")]),
        "",
        "With few steps the two errors do not add up: a walk that a long first step puts beside the states that the "
        "network was trained on does not come back, and some samples are noise, as the picture shows for gDDIM and "
        "DPM-Solver++2M at 10 evaluations. RVV at 10 evaluations takes five steps, which is too few for it with the "
        "exact score too.",
        "",
        "![Images from pipelines](figures/networks.png)",
        "",
        "Rows: schemes, with the same noise in a column for all that start from one block. Left 10 evaluations, right "
        "20. `DDPMPipeline` with its scheduler replaced in one line, and the pipeline for phase space of the exported "
        "files.",
        "",
    ])  # fmt: skip


def main() -> None:
    torch.set_num_threads(1)
    picture(REPORTS / "figures" / "networks.png")
    say("picture")
    rows = list(measured())
    floor = baseline(bandwidth=0.0, n=IMAGES, seed=0, projections=PROJECTIONS)
    write_text(REPORTS / "networks.md", report(rows, floor))
    say("wrote reports/networks.md")


if __name__ == "__main__":
    main()
