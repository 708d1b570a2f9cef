"""Does the data anchor help on real data? Trajectory error and distance per budget, anchored against everything else.

The digits with their exact score, on vp and psld, by cost in network evaluations. Writes reports/anchor.md and
reports/anchor.png. Run by `make benchmark`.
"""

from __future__ import annotations

import argparse
import functools
import math
import platform
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import sklearn
import sympy
import torch
from common import (
    PROJECTIONS,
    REPORTS,
    bold,
    distance_to_digits,
    errors_per_image,
    list_numbers,
    mean_and_deviation,
    render,
    say,
    table,
    write_page,
)
from matplotlib.lines import Line2D
from torch import Tensor

import integrator_analysis as ia
from integrator_analysis.codegen import kernel_source, module_name
from integrator_analysis.figures.style import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    new_figure,
    save,
    style,
)
from integrator_analysis.integrator import Integrator
from integrator_analysis.language.spec import Spec
from integrator_analysis.methods.base_methods import Interpolatory, Stage
from integrator_analysis.methods.conjugation.conjugate import Conjugate
from torch_backend.scores import digits, digits_score
from torch_backend.source import module_from_source
from torch_backend.walk.anchor import Anchor, anchored_sample, fit_anchor
from torch_backend.walk.sample_scheme import draw_prior, sample_scheme

PROCESSES, GRIDS, BUDGETS, SHOWN = ("vp", "psld"), ("uniform", "quadratic"), (5, 10, 20, 40), (5, 10, 20)
SEEDS, TUNING_SEEDS, TUNING_STEPS = (0, 1, 2), (100, 101), 200
BANDWIDTH, REFERENCE_STEPS, CHECKED, DISTINCT = 0.1, 800, 32, 16
LAMBDAS = {
    "vp": (-4.0, -2.0, -1.4, -1.0, -0.7, -0.5, -0.35, -0.25, -0.15, -0.1, 0.0, 0.25, 0.5),
    "psld": (-32.0, -16.0, -8.0, -4.0, -2.0, -1.0, -0.75, -0.5, -0.25, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 8.0),
}
MEASURES = {
    "rmse": "Trajectory error, RMSE",
    "median": "Trajectory error, median over images",
    "sw": "Distance to data",
}
SAVED = {"rmse": (10, 20), "median": (10, 20), "sw": (5, 10)}
"""Evaluations of the anchored member at whose error rivals are counted: later the distance lies in its own noise."""
AB2 = Interpolatory((Stage(through=(0, -1)),), "log-SNR")
TUNED = ("lambda-DDIM-I", "lambda-DDIM-II")
ANCHORED = ("anchored-DDIM", "anchored-AB2")
KINDS = ("full", "channel")

Values = dict[str, list[float]]
"""Measure -> one number per seed."""
Study = dict[tuple[str, str, str, int], Values]
"""(process, scheme, grid, evaluations) -> values."""
Lambdas = dict[tuple[str, str, str, int], dict[str, float]]
"""(process, scheme, grid, evaluations) -> measure -> the tuned lambda."""
Facts = dict[Any, Any]
CELLS = [(grid, steps) for grid in GRIDS for steps in SHOWN]
"""The grids and budgets that the tables show."""
TRAJECTORY = {"rmse": "RMSE", "median": "median"}
"""The measures of trajectory error, and what the text calls them."""


class Problem(NamedTuple):
    """One process: its exact network, states to start from, and where they end, exactly."""

    name: str
    kernel: Any
    network: Any
    start: Tensor
    end: Tensor
    anchors: dict[str, Anchor]


@functools.cache
def load_module(process: str, scheme: str) -> Any:
    """Generate a scheme's module. Its functions of times alone are remembered: AB2 asks for each often."""
    if scheme == "AB2 (log-SNR)":
        method = Conjugate(base=AB2, parametrisation="eps-rotated")
        entry = ia.Scheme(scheme, method, (process,), "Two-step exponential Adams in log-SNR, no anchor.", "this study")
        source = Integrator(Spec(f"{process}/{scheme}", ia.process(process), entry)).source
    else:
        source = ia.derive(f"{process}/{scheme}").source
    made = module_from_source(source, f"anchor_study_{module_name(f'{process}/{scheme}')}")
    for name in ("_at", "_turn", "_advance"):
        if hasattr(made, name) and scheme not in TUNED:
            setattr(made, name, functools.cache(getattr(made, name)))
    return made


def anchored_law() -> tuple[Tensor, Tensor]:
    """Mean and covariance of what the exact score is the score of: the digits under noise of BANDWIDTH."""
    flat = digits().flatten(1)
    centred = flat - flat.mean(0)
    covariance = centred.T @ centred / len(flat) + BANDWIDTH**2 * torch.eye(flat.shape[1], dtype=torch.float64)
    return flat.mean(0).reshape(1, 8, 8), covariance


def fewer_variances(anchor: Anchor, count: int = DISTINCT) -> Anchor:
    """The anchor with its variances rounded to ``count`` values, equidistant in log scale."""
    logs = anchor.variances.log()
    low, width = logs.min(), (logs.max() - logs.min()) / (count - 1)
    return anchor._replace(variances=(low + ((logs - low) / width).round() * width).exp()) if width > 0 else anchor


def pose_problem(process: str, seeds: Sequence[int], images: int, steps: int) -> Problem:
    """Draw the states of the seeds and follow the probability flow from them, in so many steps."""
    kernel = module_from_source(kernel_source(ia.process(process)), f"anchor_study_kernel_{process}")
    network, scheme = digits_score(kernel, BANDWIDTH), load_module(process, "DPM-Solver-3")
    draws = [draw_prior(scheme, images, (1, 8, 8), seed, dtype=torch.float64) for seed in seeds]
    start = torch.cat(draws)
    end = sample_scheme(scheme, network, start, steps, grid="quadratic", end_at_zero=False)[:, :1]
    mean, covariance = anchored_law()
    per_channel = covariance.diag().mean().reshape(1)
    anchors = {"full": fit_anchor(mean=mean, covariance=covariance)}
    anchors["channel"] = fit_anchor(kind="channel", mean=mean, covariance=per_channel)
    return Problem(process, kernel, network, start, end, anchors)


def walk(of: Problem, name: str, steps: int, grid: str, anchor: Anchor | None = None) -> Tensor | None:
    """Positions at the last time; None where the walk leaves the finite numbers. ``name`` as in the tables."""
    scheme, _, kind = name.partition(", ")
    made = load_module(of.name, scheme)
    whole = {"end_at_zero": False, "lower_order_final": False}  # steps of full order, compared at t_min
    try:
        if kind:
            chosen = anchor or of.anchors[kind]
            if of.name == "psld" and anchor is None:
                chosen = fewer_variances(chosen)
            x = anchored_sample(made, chosen, of.kernel, of.network, of.start, steps, grid=grid, **whole)
        else:
            x = sample_scheme(made, of.network, of.start, steps, grid=grid, **whole)
    except FloatingPointError:
        return None
    return x[:, :1]


def measure(x: Tensor | None, exact: Tensor, seeds: int) -> Values:
    """Per seed: root mean square over images and pixels, median over images, sliced Wasserstein to the digits."""
    if x is None:
        return {name: [math.inf] * seeds for name in MEASURES}
    found: Values = {name: [] for name in MEASURES}
    for own, goal in zip(x.chunk(seeds), exact.chunk(seeds), strict=True):
        errors = errors_per_image(own, goal)
        found["rmse"].append(float(errors.square().mean().sqrt()))
        found["median"].append(float(errors.median()))
        found["sw"].append(distance_to_digits(own))
    return found


def tune(of: Problem, scheme: str, grid: str, steps: int) -> dict[str, float]:
    """Measure -> the best lambda on the tuning problem."""
    made, found = load_module(of.name, scheme), {}
    for strength in LAMBDAS[of.name]:
        made.lambda_ = strength
        found[strength] = measure(walk(of, scheme, steps, grid), of.end, 1)
    return {m: min(found, key=lambda strength: found[strength][m][0]) for m in MEASURES}


def names(process: str) -> list[str]:
    """The rows of the tables."""
    tuned = TUNED if process == "psld" else TUNED[:1]
    frame = ("gDDIM",) if process == "psld" else ()
    plain = ["DDIM", *frame, *tuned, "DEIS-tAB1", "DPM-Solver++2M", "AB2 (log-SNR)"]
    return plain + [f"{scheme}, {kind}" for scheme in ANCHORED for kind in KINDS]


def measure_all(seeds: Sequence[int], images: int) -> tuple[Study, Lambdas, Facts]:
    """Measure everything: all values, the tuned lambdas, and facts for the text."""
    values: Study = {}
    lambdas: Lambdas = {}
    facts: Facts = {}
    for process in PROCESSES:
        say(f"{process}: deriving schemes and the reference solution")
        of = pose_problem(process, seeds, images, REFERENCE_STEPS)
        facts |= check_reference(of, len(seeds))
        tuning = pose_problem(process, TUNING_SEEDS, images, TUNING_STEPS)
        for grid in GRIDS:
            for steps in BUDGETS:
                say(f"{process}: {grid} grid, {steps} evaluations")
                for name in names(process):
                    cell = (process, name, grid, steps)
                    if name in TUNED:
                        lambdas[cell] = tune(tuning, name, grid, steps)
                        values[cell] = measure_tuned(of, name, grid, steps, lambdas[cell], len(seeds))
                    else:
                        values[cell] = measure(walk(of, name, steps, grid), of.end, len(seeds))
        if process == "psld":
            facts["rounding"] = measure_rounding(of, values, len(seeds))
    return values, lambdas, facts


def check_reference(of: Problem, seeds: int) -> Facts:
    """How exact the reference solution is, and what the data mean and the solution itself have as errors."""
    finer = walk(of._replace(start=of.start[:CHECKED]), "DPM-Solver-3", 2 * REFERENCE_STEPS, "quadratic")
    assert finer is not None
    gap = (finer - of.end[:CHECKED]).abs()
    return {
        (of.name, "reference"): (float(gap.square().mean().sqrt()), float(gap.max())),
        (of.name, "trivial"): float((of.end - of.anchors["full"].mean).square().mean().sqrt()),
        (of.name, "floor"): measure(of.end, of.end, seeds)["sw"],
    }


def measure_tuned(of: Problem, name: str, grid: str, steps: int, best: dict[str, float], seeds: int) -> Values:
    """Each measure at the lambda that is best for it."""
    values: Values = {}
    for strength in set(best.values()):
        load_module(of.name, name).lambda_ = strength
        got = measure(walk(of, name, steps, grid), of.end, seeds)
        values |= {m: got[m] for m in MEASURES if best[m] == strength}
    return values


def measure_rounding(of: Problem, values: Study, seeds: int) -> tuple[float, float]:
    """The least and largest factor by which rounded variances change anchored-DDIM's error."""
    ratios = []
    for g, n in ((g, n) for g in GRIDS for n in SHOWN):
        full = walk(of, "anchored-DDIM, full", n, g, of.anchors["full"])
        exact = measure(full, of.end, seeds)["rmse"]
        ratios.append(mean(values["psld", "anchored-DDIM, full", g, n]["rmse"]) / mean(exact))
    return min(ratios), max(ratios)


def mean(values: Iterable[float]) -> float:
    return statistics.fmean(values)


def at(values: Study, measured: str, process: str, name: str, grid: str, steps: int) -> float:
    return mean(values[process, name, grid, steps][measured])


def unanchored(process: str, name: str) -> str:
    """The same base method in the frame of eps that is exact for point data."""
    if name.startswith("anchored-AB2"):
        return "AB2 (log-SNR)"
    return "gDDIM" if process == "psld" else "DDIM"


def evaluations(curve: Sequence[float], goal: float) -> tuple[str, float]:
    """Evaluations at which a curve over BUDGETS first falls to ``goal``, log-log; with < or > off its ends."""
    if curve[0] <= goal:
        return "<", BUDGETS[0]
    for i in range(1, len(BUDGETS)):
        if curve[i] <= goal:
            drop = math.log(curve[i - 1] / goal) / math.log(curve[i - 1] / curve[i])
            return "", BUDGETS[i - 1] * (BUDGETS[i] / BUDGETS[i - 1]) ** drop
    return ">", BUDGETS[-1]


def saving(values: Study, measured: str, process: str, grid: str, name: str, rival: str, steps: int) -> str:
    """Evaluations of ``rival`` over those of ``name`` at the error that ``name`` has with ``steps``."""
    curve = [at(values, measured, process, rival, grid, n) for n in BUDGETS]
    sign, count = evaluations(curve, at(values, measured, process, name, grid, steps))
    return f"{sign}{count / steps:.2f}"


def cell(values: Sequence[float], best: bool = False) -> str:
    if not all(map(math.isfinite, values)):
        return "not finite"
    return bold(mean_and_deviation(values, ".0f" if mean(values) >= 10 else ".4f"), best)


def measure_table(values: Study, process: str, measured: str) -> str:
    """One measure of the schemes on a process, by grid and budget; the smallest of a column is bold."""
    best = {c: min(at(values, measured, process, n, *c) for n in names(process)) for c in CELLS}
    rows = []
    for name in names(process):
        cells = [
            cell(values[process, name, *c][measured], at(values, measured, process, name, *c) == best[c]) for c in CELLS
        ]
        rows.append([name + (", tuned" if name in TUNED else ""), *cells])
    return table(["scheme", *(f"{grid} {steps}" for grid, steps in CELLS)], rows)


def frames_table(values: Study) -> str:
    """DDIM on psld in its two frames."""
    labels = {"DDIM": "**Cholesky (DDIM)**", "gDDIM": "**rotated (gDDIM)**"}
    rows = [[label, *(cell(values["psld", name, *c]["rmse"]) for c in CELLS)] for name, label in labels.items()]
    return table(["frame", *(f"{g} {n}" for g, n in CELLS)], rows)


def savings_table(values: Study, measured: str) -> str:
    """The evaluations that rivals need, over those of the anchored members, at two errors."""
    few, more = SAVED[measured]
    rivals_named = ("un-anchored self", "lambda-DDIM-I", "lambda-DDIM-II")
    rows = []
    for process in PROCESSES:
        for grid in GRIDS:
            for name in names(process)[-4:]:
                rivals = [unanchored(process, name), TUNED[0], TUNED[1] if process == "psld" else TUNED[0]]
                savings = [saving(values, measured, process, grid, name, r, n) for r in rivals for n in (few, more)]
                rows.append([process, grid, name, *savings])
    # A heading stands over two columns, so that it names both budgets.
    return table(
        ["process", "grid", "member", *(part for r in rivals_named for part in (f"{r}, {few}", f"{more}"))], rows
    )


def lambda_table(lambdas: Lambdas) -> str:
    """The tuned lambda of each scheme and measure."""
    rows = [
        [process, name, measured, *(f"{lambdas[process, name, *c][measured]:g}" for c in CELLS)]
        for process in PROCESSES
        for name in names(process)
        if name in TUNED
        for measured in MEASURES
    ]
    return table(["process", "scheme", "measure", *(f"{g} {n}" for g, n in CELLS)], rows)


def gain(values: Study, measured: str, process: str, grid: str, name: str, rival: str) -> float:
    """The rival's value over that of ``name``, geometric mean over the budgets shown."""
    pairs = [[at(values, measured, process, one, grid, n) for one in (rival, name)] for n in SHOWN]
    return math.exp(mean(math.log(theirs / own) for theirs, own in pairs))


def describe_gains(values: Study, process: str) -> str:
    """Where the anchor helps the trajectory error, where it costs, and where it does neither."""
    gains: dict[str, list[str]] = {"helps": [], "costs": [], "neither": []}
    for scheme in ANCHORED:
        for grid in GRIDS:
            for measured, word in TRAJECTORY.items():
                name = f"{scheme}, full"
                ratio = gain(values, measured, process, grid, name, unanchored(process, name))
                verdict = "helps" if ratio > 1.1 else "costs" if ratio < 0.9 else "neither"
                gains[verdict].append(f"{scheme} {grid} {word} {ratio:.2f}")
    return (
        f"{process}, trajectory error of the un-anchored self over that of the anchored one (full covariance, "
        f"geometric mean over {list_numbers(SHOWN)} evaluations). The anchor helps: "
        f"{', '.join(gains['helps']) or 'nowhere'}. It costs: {', '.join(gains['costs']) or 'nowhere'}. "
        f"Within a tenth: {', '.join(gains['neither']) or 'none'}."
    )


def describe_distances(values: Study, facts: Facts) -> str:
    """What the anchor does for the distance to the data at few evaluations, and what is left of it at many."""
    parts, distant = [], []
    for process in PROCESSES:
        for scheme in ANCHORED:
            for grid in GRIDS:
                name = f"{scheme}, full"
                last = at(values, "sw", process, name, grid, SHOWN[-1])
                distant.append(abs(last / mean(facts[process, "floor"]) - 1))
                rival = at(values, "sw", process, unanchored(process, name), grid, SHOWN[0])
                ratio = rival / at(values, "sw", process, name, grid, SHOWN[0])
                parts.append(f"{process} {grid} {scheme} {ratio:.2f}")
    return (
        f"Distance to the data at {SHOWN[0]} evaluations, un-anchored over anchored (full covariance): "
        f"{', '.join(parts)}. "
        f"At {SHOWN[-1]} evaluations anchored-DDIM and anchored-AB2 (full) are within "
        f"{100 * max(distant):.0f} % of the distance that the exact solution has."
    )


def describe_tuned_rivals(values: Study, facts: Facts, process: str) -> str:
    """How often a method without tuning beats the best tuned lambda."""
    tuned = [n for n in names(process) if n in TUNED]
    rivals = {(m, c): min(at(values, m, process, name, *c) for name in tuned) for m in TRAJECTORY for c in CELLS}
    parts = []
    for measured, word in TRAJECTORY.items():
        for name in (*(f"{scheme}, full" for scheme in ANCHORED), unanchored(process, "DDIM"), "AB2 (log-SNR)"):
            wins = sum(at(values, measured, process, name, *c) < rivals[measured, c] for c in CELLS)
            parts.append(f"{name} {wins} by {word}")
    beyond = sum(rivals["rmse", c] > facts[process, "trivial"] for c in CELLS)
    return (
        f"{process}, cells of {len(CELLS)} in which a method without tuning has a smaller trajectory error than "
        f"the best tuned lambda: {'; '.join(parts)}. In {beyond} of them the best lambda's RMSE is above that of "
        "the data mean given as the answer for every image."
    )


def count_winners(values: Study) -> str:
    """Which schemes have the smallest trajectory error of a cell, and of how many."""
    best: dict[str, int] = {}
    for measured in TRAJECTORY:
        for process in PROCESSES:
            for c in CELLS:
                found = {name: at(values, measured, process, name, *c) for name in names(process)}
                winner = min(found, key=found.__getitem__)
                best[winner] = best.get(winner, 0) + 1
    ranked = ", ".join(f"{name} {best[name]}" for name in sorted(best, key=lambda name: -best[name]))
    return f"Smallest trajectory error, of {sum(best.values())} cells: {ranked}."


def compare_covariances(values: Study) -> str:
    """The full covariance against one variance per channel."""
    ratios = [
        at(values, measured, process, f"{scheme}, channel", *c) / at(values, measured, process, f"{scheme}, full", *c)
        for measured in TRAJECTORY
        for process in PROCESSES
        for scheme in ANCHORED
        for c in CELLS
    ]
    return (
        f"Full covariance against one variance per channel: the full one has the smaller trajectory error in "
        f"{sum(r > 1 for r in ratios)} of {len(ratios)} cells, by a factor of "
        f"{math.exp(mean(map(math.log, ratios))):.2f} in the geometric mean."
    )


def describe_worst(values: Study) -> str:
    """Where the anchor costs most."""
    parts = []
    for process in PROCESSES:
        losses = [
            (
                at(values, measured, process, name, *c) / at(values, measured, process, unanchored(process, name), *c),
                f"{name}, {c[0]} grid, {c[1]} evaluations, {word}",
            )
            for measured, word in TRAJECTORY.items()
            for name in names(process)[-4:]
            for c in CELLS
        ]
        loss, where = max(losses)
        parts.append(f"on {process} {loss:.2f} times its un-anchored self's error ({where})")
    return f"The anchor at its worst: {'; '.join(parts)}."


def conclusions(values: Study, facts: Facts) -> list[str]:
    """Sentences made of the numbers."""
    few, many = (
        {name: at(values, "rmse", "psld", name, "uniform", steps) for name in ("DDIM", "gDDIM")}
        for steps in (SHOWN[0], SHOWN[-1])
    )
    low, high = facts["rounding"]
    return [
        f"psld: the frame decides. With {SHOWN[0]} steps of the uniform grid DDIM in the Cholesky frame has an RMSE of "
        f"{few['DDIM']:.0f}, in gDDIM's frame {few['gDDIM']:.2f}; at {SHOWN[-1]} steps {many['DDIM']:.2f} and "
        f"{many['gDDIM']:.2f}.",
        *(describe_gains(values, process) for process in PROCESSES),
        describe_distances(values, facts),
        *(describe_tuned_rivals(values, facts, process) for process in PROCESSES),
        count_winners(values),
        compare_covariances(values),
        describe_worst(values),
        f"Rounding the variances to {DISTINCT} values on psld changes anchored-DDIM's RMSE by factors between "
        f"{low:.3f} and {high:.3f} (against all distinct variances).",
    ]


PAGE = """\
# The data anchor on real data

Digits (8 x 8) with their exact score, no network trained. The anchor takes the data's mean and covariance \
into the frame of a sampler; it has nothing to tune. Below: where that helps, and where it does not.

![Trajectory error against evaluations](anchor.png)

## What the numbers say

{% for line in conclusions %}
- {{ line }}
{% endfor %}

## The frame matters most on psld

DDIM (B = 0, network output frozen) in two frames of eps: that of the lower Cholesky factor, and gDDIM's, in \
which eps is constant for point data. RMSE; the data mean, taken as the answer for every image, has \
{{ "%.2f" | format(facts["psld", "trivial"]) }}.

{{ frames_table }}
{% for measured, title in measures.items() %}
{% for process in processes %}

## {{ title }}: {{ process }}

{% if measured == "sw" %}
Sliced Wasserstein, {{ projections }} directions, {{ images }} samples against the 1797 images. \
The reference solution itself has {{ cell(facts[process, "floor"]) }}: differences within that spread mean \
nothing.

{% endif %}
{{ measure_table(process, measured) }}
{% endfor %}
{% endfor %}

## Evaluations at equal error

The rival's evaluations over those of the anchored member, at the error that the member has with the named \
number (rivals interpolated log-log over {{ list_numbers(budgets) }}; < and >: off the ends). Above 1 the \
anchor saves. The un-anchored self of anchored-DDIM is DDIM on vp, gDDIM on psld; that of anchored-AB2 is AB2 \
(log-SNR). On vp the two lambda schemes are one.

By RMSE:

{{ savings_table("rmse") }}

By the median:

{{ savings_table("median") }}

By the sliced Wasserstein distance to the data:

{{ savings_table("sw") }}

## Tuned lambda

Tuned per budget, grid and measure. On psld lambda-DDIM works in the Cholesky frame, as published; what it \
wins or loses there against the anchor is the frame's doing as well, which is why gDDIM stands beside it \
above.

{{ lambda_table }}

## How it was made

- Command: `python benchmarks/studies/data_anchor.py --images {{ images }} --seeds {{ seeds | join(" ") }}`.
- Data: scikit-learn's digits in [-1, 1] under noise of standard deviation {{ bandwidth }}, a mixture whose \
score is exact. The anchor is of that law: its mean and covariance. Everything in float64 on the CPU.
- {{ seeds | length }} seeds of {{ images }} images each (seeds {{ list_numbers(seeds) }}): mean ± \
standard deviation between seeds. Lambda tuned on seeds {{ list_numbers(tuning_seeds) }} over \
{% for process in processes %}
{{ process }}: {{ list_numbers(strengths[process]) }}{{ "." if loop.last else "; " }}\
{% endfor %}

- Trajectory error: positions at the last time against the probability-flow solution from the same z_T, by \
DPM-Solver-3 at {{ reference_steps }} steps of the quadratic grid. Against {{ 2 * reference_steps }} steps, first \
{{ checked }} images: \
{% for process in processes %}
{{ process }} RMSE {{ "%.1e" | format(facts[process, "reference"][0]) }}, \
largest {{ "%.1e" | format(facts[process, "reference"][1]) }}{{ "." if loop.last else "; " }}\
{% endfor %}
 The tuning problem's reference has {{ tuning_steps }} steps.
- On psld the full covariance's variances are rounded to {{ distinct }} values equidistant in log scale, because \
each distinct value costs a table of coefficients.
- The RMSE weighs most the images that end at another digit than the exact solution; the median does not.
- integrator-analysis {{ versions.ours }}, Python {{ versions.python }}, torch {{ versions.torch }}, sympy \
{{ versions.sympy }}, scikit-learn {{ versions.sklearn }}, numpy {{ versions.numpy }}; one thread.
"""


def report(values: Study, lambdas: Lambdas, facts: Facts, seeds: Sequence[int], images: int) -> str:
    """The page, from what ``measure_all`` found for the seeds with so many images each."""
    return render(
        PAGE,
        conclusions=conclusions(values, facts),
        facts=facts,
        frames_table=frames_table(values),
        measures=MEASURES,
        processes=PROCESSES,
        projections=PROJECTIONS,
        images=images,
        seeds=seeds,
        cell=cell,
        measure_table=functools.partial(measure_table, values),
        budgets=BUDGETS,
        savings_table=functools.partial(savings_table, values),
        lambda_table=lambda_table(lambdas),
        bandwidth=BANDWIDTH,
        tuning_seeds=TUNING_SEEDS,
        strengths=LAMBDAS,
        reference_steps=REFERENCE_STEPS,
        checked=CHECKED,
        tuning_steps=TUNING_STEPS,
        distinct=DISTINCT,
        versions={
            "ours": ia.__version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "sympy": sympy.__version__,
            "sklearn": sklearn.__version__,
            "numpy": np.__version__,
        },
    )


LOOKS = {
    "DDIM": (BLACK, "o"),
    "gDDIM": (PURPLE, "o"),
    "lambda-DDIM-I": (GREY, "s"),
    "lambda-DDIM-II": (GREY, "D"),
    "DEIS-tAB1": (SKY, "v"),
    "DPM-Solver++2M": (ORANGE, "P"),
    "AB2 (log-SNR)": (GREEN, "^"),
    "anchored-DDIM": (BLUE, "*"),
    "anchored-AB2": (VERMILLION, "X"),
}
CEILING = 3.0


def draw_picture(values: Study, path: Path) -> None:
    """Draw error against evaluations: a row per process, two measures on two grids; anchored solid, others dashed."""
    with style():
        figure = new_figure(13.0, 6.6)
        axes = figure.subplots(len(PROCESSES), 4, sharex=True, sharey="row")
        for row, process in zip(axes, PROCESSES, strict=True):
            panels = [(m, g) for m in ("rmse", "median") for g in GRIDS]
            for ax, (measured, grid) in zip(row, panels, strict=True):
                for name in names(process):
                    scheme, _, kind = name.partition(", ")
                    color, marker = LOOKS[scheme]
                    line = "--" if not kind else "-" if kind == "full" else ":"
                    size = 8 if marker == "*" else 5
                    curve = [at(values, measured, process, name, grid, n) for n in BUDGETS]
                    ax.plot(BUDGETS, curve, color=color, marker=marker, ls=line, ms=size, lw=1.8 if kind else 1.2)
                ax.set(xscale="log", yscale="log", title=f"{process}, {grid} grid, {measured.replace('rmse', 'RMSE')}")
                ax.set_xticks(BUDGETS, [str(n) for n in BUDGETS])
                ax.minorticks_off()
                ax.set_ylim(top=CEILING)
            row[0].set_ylabel("trajectory error")
            lowest = [at(values, m, process, n, g, b) for m in ("rmse", "median") for n in names(process)
                      for g in GRIDS for b in BUDGETS]  # fmt: skip
            row[0].set_ylim(bottom=0.8 * min(lowest))
        for ax in axes[-1]:
            ax.set_xlabel("network evaluations")
        highest = max(at(values, "rmse", "psld", "DDIM", g, BUDGETS[0]) for g in GRIDS)
        axes[-1][0].annotate(
            f"DDIM (Cholesky frame)\nat {BUDGETS[0]}: up to {highest:.0f}", (0.04, 0.04), xycoords="axes fraction",
            ha="left", va="bottom", fontsize=8,
        )  # fmt: skip
        handles = []
        for scheme, (color, marker) in LOOKS.items():
            for kind in KINDS if scheme in ANCHORED else ("",):
                line = "--" if not kind else "-" if kind == "full" else ":"
                label = f"{scheme}, {kind}" if kind else scheme + (", tuned" if scheme in TUNED else "")
                handles.append(Line2D([], [], color=color, marker=marker, ls=line, label=label))
        figure.legend(handles=handles, loc="outside lower center", ncols=6)
        save(figure, path)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS, help="seeds of z_T that are reported")
    parser.add_argument("--images", type=int, default=128, help="images per seed")
    parser.add_argument("--output", type=Path, default=REPORTS, help="folder for anchor.md and anchor.png")
    args = parser.parse_args(arguments)
    if set(args.seeds) & set(TUNING_SEEDS):
        parser.error(f"seeds {TUNING_SEEDS} are those lambda is tuned on; choose others")
    torch.set_num_threads(1)
    values, lambdas, facts = measure_all(args.seeds, args.images)
    args.output.mkdir(parents=True, exist_ok=True)
    draw_picture(values, args.output / "anchor.png")
    text = report(values, lambdas, facts, args.seeds, args.images)
    write_page("anchor.md", text, args.output)
    print(text)


if __name__ == "__main__":
    main()
