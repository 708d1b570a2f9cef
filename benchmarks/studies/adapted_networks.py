"""One network on two spaces: a VP network on phase space through `adapt`, beside a network trained there and VP itself.

Writes reports/adapted_networks.md and .json from benchmarks/trained_weights. Run by `make benchmark`.
"""

from __future__ import annotations

import argparse
import json
import statistics
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import torch
from common import PROJECTIONS, REPORTS, distance_to_digits, mean_and_deviation, render, say, table, write_page
from torch import Tensor

from integrator_analysis.files import write_text
from torch_backend import load
from torch_backend.measuring.digits_study import baseline
from torch_backend.networks import adapt
from torch_backend.training import load_network

NETWORKS = Path(__file__).parents[1] / "trained_weights"
SHAPE = (1, 8, 8)
PHASE = ("psld/DPM-Solver++2M", "psld/SPS-2M", "psld/gDDIM", "psld/RVV", "psld/ROBA", "psld/SSCS")
DATA = ("vp/DPM-Solver++2M", "vp/UniPC-2", "vp/DDIM")
GRIDS = ("quadratic", "default")
"""One grid for all, and the one that every scheme walks by default."""
SETTINGS = {"trained there": PHASE, "adapted, from the prior": PHASE, "adapted, within the range": PHASE, "on vp": DATA}
"""How a cell is sampled: the PSLD network, the VP network on PSLD over its whole interval or between the times at which
the VP network's range of noise begins and ends, or the VP network on its own process."""


class Cell(NamedTuple):
    """One setting of one scheme."""

    setting: str
    spec: str
    grid: str
    evaluations: int


def sample(cell: Cell, networks: dict[str, Any], images: int, seed: int) -> Tensor:
    """Images of one cell, from the noise of a seed, clipped as pipelines do."""
    setting, sampler = cell.setting, load(cell.spec)
    steps = 1 + (cell.evaluations - 1) // sampler.nfe_per_step
    grid = sampler.grid if cell.grid == "default" else cell.grid
    if setting == "adapted, within the range":
        adapted = networks["adapted"]
        z = adapted.draw_start(images, SHAPE, seed)
        found = sampler.sample(adapted, z, times=adapted.times(steps, grid), seed=seed)
    else:
        name = {"trained there": "psld", "adapted, from the prior": "adapted", "on vp": "on vp"}[setting]
        z = sampler.prior(images, SHAPE, seed)
        found = sampler.sample(networks[name], z, steps=steps, grid=grid, seed=seed)
    return found[:, :1].clamp(-1, 1)


def measure(evaluations: list[int], seeds: int, images: int) -> list[dict[str, Any]]:
    """One record a cell, the distances of all seeds in it; None where a walk left the finite numbers."""
    networks: dict[str, Any] = {name: load_network(name, NETWORKS / name) for name in ("vp", "psld")}
    # the VP network was trained on the table of 1000 betas, whose noise is that of vp at other times
    for name, process in (("adapted", "psld"), ("on vp", "vp")):
        networks[name] = adapt(networks["vp"], trained_on="ddpm", run_on=process, data_std=1.0)
    cells = [
        Cell(setting, spec, grid, budget)
        for setting, specs in SETTINGS.items()
        for spec, grid, budget in product(specs, GRIDS, evaluations)
    ]
    records = []
    for cell in cells:
        distances = []
        for seed in range(seeds):
            try:
                distances.append(distance_to_digits(sample(cell, networks, images, seed)))
            except FloatingPointError:
                distances.append(float("nan"))
        records.append({**cell._asdict(), "distances": distances})
        say(f"{cell.setting}, {cell.spec}, {cell.grid} grid, at {cell.evaluations}: {statistics.fmean(distances):.4f}")
    return records


PAGE = """\
# One network on data space and on phase space

Made by `python benchmarks/studies/adapted_networks.py{{ options }}`. The two networks of benchmarks/trained_weights, \
of one size, trained on the 1797 digits: one on VP (the table of 1000 betas), one on PSLD. \
`torch_backend.networks.adapt` runs the VP network on PSLD ([docs/networks.md](../docs/networks.md)), without training.

Sliced Wasserstein distance of {{ images }} samples to the images, {{ projections }} directions, samples clipped to \
[-1, 1], {{ seeds }} seed(s) of the noise, mean ± standard deviation. Images drawn from the data themselves have \
{{ floor }}. The last evaluation gives the predicted x_0.

## The quadratic grid

{{ cells.quadratic }}

## The default grid of every scheme

{{ cells.default }}

## What it says

"From the prior" begins at t = 1, where PSLD has sigma / alpha = 258 and the VP network knows {{ highest }}; there the \
network sees the expected state at its noisiest level. "Within the range" begins at t = {{ first }} with a lifted \
state of VP and ends at t = {{ last }}.

{{ reading }}
"""


def page(records: list[dict[str, Any]], evaluations: list[int], seeds: int, images: int, options: str) -> str:
    """The page of the records."""
    adapted = adapt(torch.tanh, trained_on="ddpm", run_on="psld")
    floor = baseline(bandwidth=0.0, n=images, seed=0, projections=PROJECTIONS)
    known = {cell_of(r): mean_and_deviation(r["distances"], ".3f") for r in records}
    columns = ["scheme", "network", *(f"{budget} evaluations" for budget in evaluations)]
    cells = {
        grid: table(
            columns,
            [
                [spec, setting, *(known[Cell(setting, spec, grid, budget)] for budget in evaluations)]
                for spec in (*PHASE, *DATA)
                for setting, specs in SETTINGS.items()
                if spec in specs
            ],
        )
        for grid in GRIDS
    }
    return render(
        PAGE,
        options=options,
        images=images,
        projections=PROJECTIONS,
        seeds=seeds,
        floor=f"{floor['sliced_wasserstein']:.3f} ± {floor['sliced_wasserstein_std']:.3f}",
        cells=cells,
        highest=f"{1 / adapted.lowest:.0f}",
        first=f"{adapted.t_first:.3f}",
        last=f"{adapted.t_last:.4f}",
        reading=reading(records, evaluations),
    )


def cell_of(record: dict[str, Any]) -> Cell:
    """The cell that a record is about."""
    return Cell(record["setting"], record["spec"], record["grid"], record["evaluations"])


def reading(records: list[dict[str, Any]], evaluations: list[int]) -> str:
    """What the tables say, in sentences that follow from their numbers."""
    mean = {cell_of(r): statistics.fmean(r["distances"]) for r in records}
    within, there, on_vp = "adapted, within the range", "trained there", "on vp"
    pairs = [(mean[Cell(within, *c)], mean[Cell(there, *c)]) for c in product(SETTINGS[there], GRIDS, evaluations)]
    better = sum(ours < theirs for ours, theirs in pairs)
    lines = [
        "Within the range, the adapted VP network is nearer to the images than the network trained on PSLD in "
        f"{better} of {len(pairs)} cells."
    ]
    for budget in evaluations:
        best = {
            setting: min((mean[Cell(setting, s, g, budget)], s, g) for s, g in product(SETTINGS[setting], GRIDS))
            for setting in (within, on_vp)
        }
        words = {name: f"{spec} on the {grid} grid with {found:.3f}" for name, (found, spec, grid) in best.items()}
        lines.append(
            f"On the VP network at {budget} evaluations the best of phase space is {words[within]}, the best of data "
            f"space {words[on_vp]}."
        )
    return "\n".join(lines)


def main() -> None:
    """Measure all cells; write the page and the records."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--evaluations", type=int, nargs="+", default=[10, 20])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--output", type=Path, default=REPORTS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    default = all(value == parser.get_default(name) for name, value in vars(given).items() if name != "output")
    budgets = " ".join(map(str, given.evaluations))
    options = "" if default else f" --evaluations {budgets} --seeds {given.seeds} --images {given.images}"
    records = measure(given.evaluations, given.seeds, given.images)
    text = json.dumps({"images": given.images, "records": records}, indent=1)
    write_text(given.output / "adapted_networks.json", text + "\n")
    write_page(
        "adapted_networks.md", page(records, given.evaluations, given.seeds, given.images, options), given.output
    )


if __name__ == "__main__":
    main()
