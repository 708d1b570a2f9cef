"""Trained networks in real pipelines: distance to the data beside that of the exact score, and a picture.

Writes reports/networks.md and reports/figures/networks.png from benchmarks/trained_weights. Run by `make benchmark`.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import diffusers
import numpy as np
import torch
from common import (
    PROJECTIONS,
    REPORTS,
    distance_to_digits,
    mean_and_deviation,
    render,
    say,
    table,
    write_page,
)
from torch import Tensor

import integrator_analysis as ia
from integrator_analysis.figures.samples import image_grid
from integrator_analysis.figures.style import new_figure, save
from torch_backend import load
from torch_backend.export.diffusers import class_name
from torch_backend.measuring.digits_study import baseline
from torch_backend.scores import digits_score
from torch_backend.source import load_kernel
from torch_backend.training import PROBLEMS, load_network

NETWORKS = Path(__file__).parents[1] / "trained_weights"
BUDGETS, SHOWN_BUDGETS, SEEDS, IMAGES, SHOWN = (10, 20, 50), (10, 20), (0, 1, 2), 512, 8
TABLE = {"clip_sample": False, "timestep_spacing": "trailing"}
"""The same for every scheduler on the table: no clipping, and the first evaluation at the last entry."""
THEIRS = ("DDPMScheduler", "DDIMScheduler", "DPMSolverMultistepScheduler")
OURS = ("vp/DDIM", "vp/DDIM-eta", "vp/DPM-Solver++2M", "vp/DPM-Solver++2S", "vp/UniPC-2", "vp/EDM-Heun")
PHASE = ("psld/RVV", "psld/gDDIM", "psld/SPS-2M", "psld/DPM-Solver++2M", "psld/ROBA")
PICTURED = (*THEIRS, "vp/DDIM", "vp/DPM-Solver++2M", "vp/UniPC-2", "psld/RVV", "psld/gDDIM", "psld/DPM-Solver++2M")

Network = Callable[[Tensor, Tensor], Tensor]
FOLDER = tempfile.TemporaryDirectory()
sys.path.insert(0, FOLDER.name)


@cache
def import_exported(spec: str) -> Any:
    """Export a scheme and import the file by its name, as a user does."""
    file = "exported_" + class_name(spec).lower()
    ia.derive(spec).export(Path(FOLDER.name) / f"{file}.py", format="diffusers")
    importlib.invalidate_caches()
    return importlib.import_module(file)


def scheduler_class(name: str) -> Any:
    """diffusers' own by its class name, ours by its spec."""
    return getattr(diffusers, name) if "/" not in name else getattr(import_exported(name), class_name(name))


class Start(NamedTuple):
    """The same noise for every scheme."""

    z: Tensor
    generator: torch.Generator


def draw_start(blocks: int, dtype: torch.dtype, seed: int) -> Start:
    """Normal noise, and the generator that goes on with it."""
    generator = torch.Generator().manual_seed(seed)
    return Start(torch.randn(IMAGES, blocks, 8, 8, generator=generator).to(dtype), generator)


@torch.no_grad()
def sample_on_table(name: str, network: Network, budget: int, dtype: torch.dtype, seed: int) -> Tensor:
    """Images by a scheduler, in the loop of a pipeline, with at most ``budget`` evaluations."""
    scheduler = scheduler_class(name).from_config(diffusers.DDPMScheduler(**TABLE).config)
    scheduler.set_timesteps((budget - 1) // scheduler.order + 1)
    assert len(scheduler.timesteps) <= budget
    x, generator = draw_start(1, dtype, seed)
    shift = PROBLEMS["vp"].time_shift  # the network's time is that of the process ddpm
    for k in scheduler.timesteps:
        eps = network(x, (k.double() - shift).expand(len(x)))
        x = scheduler.step(eps, k, x, **({"generator": generator} if takes_noise(name) else {})).prev_sample
    return x


def takes_noise(name: str) -> bool:
    """Whether a scheduler's step takes a generator."""
    return name != "DPMSolverMultistepScheduler"


def sample_on_phase_space(spec: str, network: Network, budget: int, dtype: torch.dtype, seed: int) -> Tensor:
    """Positions at t_min by ``Sampler``, on the quadratic grid, by steps of full order."""
    sampler, (z, _) = load(spec), draw_start(2, dtype, seed)
    z = z * torch.tensor(sampler.prior_std, dtype=dtype).reshape(1, 2, 1, 1)
    steps = budget // sampler.nfe_per_step
    noise = seed if sampler.stochastic else None
    whole = {"end_at_zero": False, "lower_order_final": False}
    return sampler.sample(network, z, steps=steps, grid="quadratic", seed=noise, **whole)[:, :1]


class Measured(NamedTuple):
    """Sliced Wasserstein distance to the images per budget and seed; inf where the walk left the finite numbers."""

    name: str
    trained: list[list[float]]
    exact: list[list[float]]


def measure_all() -> Iterator[Measured]:
    """Every scheme with the trained network of its process and with the exact score."""
    cases = [("vp", name, sample_on_table) for name in (*THEIRS, *OURS)]
    cases += [("psld", spec, sample_on_phase_space) for spec in PHASE]
    for problem, name, sample in cases:
        trained = load_network(problem, NETWORKS / problem)
        exact = digits_score(load_kernel(PROBLEMS[problem].process), 0.0)
        found = [
            [[distance(sample, name, network, budget, dtype, seed) for seed in SEEDS] for budget in BUDGETS]
            for network, dtype in ((trained, torch.float32), (exact, torch.float64))
        ]
        say(f"{name}: {'; '.join(' '.join(map(format_distances, row)) for row in found)}")
        yield Measured(name, *found)


def distance(sample: Any, name: str, network: Network, budget: int, dtype: torch.dtype, seed: int) -> float:
    """Distance of samples to the images; inf where the walk left the finite numbers."""
    try:
        x = sample(name, network, budget, dtype, seed).clamp(-1, 1)  # as pipelines do
    except FloatingPointError:
        return math.inf
    return distance_to_digits(x)


def sample_pictures(name: str, budget: int) -> np.ndarray:
    """(SHOWN, 8, 8) in [0, 1], out of a real pipeline: DDPMPipeline, or the one for phase space."""
    if name.startswith("psld/"):
        module, network = import_exported(name), load_network("psld", NETWORKS / "psld")
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


def draw_picture(path: Path) -> None:
    """Images of every scheme, a row each, by the budgets that are shown."""
    figure = new_figure(8.6, 5.2)
    axes = figure.subplots(1, len(SHOWN_BUDGETS))
    labels = [f"diffusers {name.removesuffix('Scheduler')}" if "/" not in name else name for name in PICTURED]
    for ax, budget in zip(axes, SHOWN_BUDGETS, strict=True):
        images = np.stack([sample_pictures(name, budget) for name in PICTURED])
        image_grid(ax, images, labels if budget == SHOWN_BUDGETS[0] else (), title=f"{budget} evaluations")
    save(figure, path)


def format_distances(distances: Sequence[float]) -> str:
    """Mean and standard deviation over the seeds."""
    return mean_and_deviation(distances, ".3f")


def distances_table(rows: Sequence[Measured]) -> str:
    """Distances per budget, with the trained network and with the exact score."""
    columns = ["scheme", *(f"trained, {b}" for b in BUDGETS), *(f"exact score, {b}" for b in BUDGETS)]
    labels = [f"diffusers {row.name}" if "/" not in row.name else row.name for row in rows]
    cells = [[format_distances(seeds) for seeds in (*row.trained, *row.exact)] for row in rows]
    return table(columns, [[label, *row] for label, row in zip(labels, cells, strict=True)])


PAGE = """\
# Trained networks in pipelines

Made by `python benchmarks/studies/trained_networks.py`. The networks of \
benchmarks/trained_weights, trained on the 1797 digits by \
`python -m torch_backend.training` and stored in half precision (\
{% for process, f in facts.items() %}
`{{ process }}`: {{ f.weights }} weights, {{ f.steps }} steps of {{ f.batch }} images, \
final loss {{ "%.4f" | format(f.final_loss) }}{{ "" if loop.last else "; " }}\
{% endfor %}
).

Sliced Wasserstein distance of {{ images }} samples to the images, {{ projections }} directions, all schemes of a \
process from the same noise, samples clipped to [-1, 1] as pipelines do; mean ± standard deviation over \
{{ seeds | length }} seeds of the noise, with the same directions. Images drawn from the data \
themselves have {{ "%.3f" | format(floor.sliced_wasserstein) }} ± {{ "%.3f" | format(floor.sliced_wasserstein_std) }}. \
Beside it the \
same schemes with the exact score of the images, in float64: what is above the floor there is the \
integrator's error alone, in the left half it is the integrator's and the network's together.

## VP, the table of 1000 linear betas

Schedulers driven as a pipeline does, without clipping of the predicted x_0, trailing time steps. Those with \
vp/ are exported by `integrator-analysis export --format diffusers`.

{{ on_table }}

## PSLD

`Sampler` on the quadratic grid, down to t = 1e-3.

{{ on_phase_space }}

With few steps the two errors do not add up: a walk that a long first step puts beside the states that the \
network was trained on does not come back, and some samples are noise, as the picture shows for gDDIM and \
DPM-Solver++2M at 10 evaluations. RVV at 10 evaluations takes five steps, which is too few for it with the \
exact score too.

![Images from pipelines](figures/networks.png)

Rows: schemes, with the same noise in a column for all that start from one block. Left 10 evaluations, right \
20. `DDPMPipeline` with its scheduler replaced in one line, and the pipeline for phase space of the exported \
files.
"""


def report(rows: Sequence[Measured], floor: Mapping[str, float]) -> str:
    """The page; ``floor`` is the distance that images of the data have themselves."""
    return render(
        PAGE,
        facts={p: json.loads((NETWORKS / p / "training.json").read_text(encoding="utf-8")) for p in PROBLEMS},
        images=IMAGES,
        projections=PROJECTIONS,
        seeds=SEEDS,
        floor=floor,
        on_table=distances_table([row for row in rows if not row.name.startswith("psld/")]),
        on_phase_space=distances_table([row for row in rows if row.name.startswith("psld/")]),
    )


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None).parse_args()
    torch.set_num_threads(1)
    draw_picture(REPORTS / "figures" / "networks.png")
    say("picture")
    rows = list(measure_all())
    floor = baseline(bandwidth=0.0, n=IMAGES, seed=0, projections=PROJECTIONS)
    write_page("networks.md", report(rows, floor))


if __name__ == "__main__":
    main()
