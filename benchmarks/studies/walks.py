"""Does a walk by an exported diffusers scheduler end nearer to the solution than diffusers' own? A table of ratios.

Published configs of pipelines, schemes that have a counterpart in diffusers, and budgets of network evaluations; both
schedulers are made by ``from_config`` from the same config, start from the same noise and call the same exact network
of a Gaussian mixture. Each walk is compared with the converged solution of the probability flow from its own first
state to no noise. Writes reports/walks.md and reports/walks.json. Run by `make benchmark`.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import inspect
import json
import logging
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
from common import REPORTS, render, say, table, write_page
from torch import Tensor

import integrator_analysis as ia
from integrator_analysis.codegen.scheme_module import module_name
from integrator_analysis.files import write_text
from torch_backend.export.diffusers import class_name, scheduler_module
from torch_backend.measuring.scheduler_walks import OUTPUTS, Mixture, rmse, solve_to_no_noise, walk_scheduler
from torch_backend.source import body_hash, module_from_source

BUDGETS = (8, 10, 20, 28, 50)
TARGET = 1.02
"""The largest ratio of our error to the counterpart's that is no defect."""
SAMPLES, SEED, DIMENSION, COMPONENTS, SPREAD = 64, 0, 4, 8, 0.2


def lay_plainly(config: Mapping[str, Any], steps: int) -> dict[str, Any]:
    """What a pipeline passes to ``set_timesteps`` that leaves the grid to the scheduler."""
    return {}


def shift_of(config: Mapping[str, Any], tokens: int) -> float:
    """mu for so many image tokens, as calculate_shift of the Flux, LTX and Lumina2 pipelines computes it."""
    few, many = config["base_image_seq_len"], config["max_image_seq_len"]
    return config["base_shift"] + (tokens - few) * (config["max_shift"] - config["base_shift"]) / (many - few)


def lay_as_flux(config: Mapping[str, Any], steps: int, tokens: int = 4096) -> dict[str, Any]:
    """Equal sigmas from 1 to 1/steps and mu, as the Flux and LTX pipelines pass them; 4096 tokens are 1024 pixels."""
    return {"sigmas": np.linspace(1.0, 1 / steps, steps), "mu": shift_of(config, tokens)}


def lay_as_lumina(config: Mapping[str, Any], steps: int) -> dict[str, Any]:
    """Equal sigmas from 1 to 1/steps, as the Lumina2 pipeline passes them."""
    return {"sigmas": np.linspace(1.0, 1 / steps, steps)}


def lay_as_mochi(config: Mapping[str, Any], steps: int, threshold: float = 0.025) -> dict[str, Any]:
    """Sigmas linear in the first half, quadratic in the second, as linear_quadratic_schedule of the Mochi pipeline."""
    half = steps // 2
    rest, missing = steps - half, half - threshold * steps
    square = missing / (half * rest**2)
    slope, constant = threshold / half - 2 * missing / rest**2, square * half**2
    linear = [i * threshold / half for i in range(half)]
    curved = [square * i**2 + slope * i + constant for i in range(half, steps)]
    return {"sigmas": 1 - np.array(linear + curved)}


@dataclass(frozen=True)
class Setting:
    """A published config: its scheduler of diffusers, its keys, and how its pipeline lays the grid."""

    name: str
    process: str
    made_by: str
    keys: Mapping[str, Any] = field(default_factory=dict)
    lay: Callable[[Mapping[str, Any], int], dict[str, Any]] = lay_plainly

    @property
    def config(self) -> Mapping[str, Any]:
        """The config as a pipeline's scheduler holds it, foreign keys of its file included."""
        return getattr(diffusers, self.made_by).from_config(dict(self.keys)).config


STABLE = {
    "beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "steps_offset": 1,
    "set_alpha_to_one": False,
}  # fmt: skip
FLUX = {
    "use_dynamic_shifting": True, "base_shift": 0.5, "max_shift": 1.15, "base_image_seq_len": 256,
    "max_image_seq_len": 4096, "shift": 3.0,
}  # fmt: skip
LTX = FLUX | {"base_shift": 0.95, "max_shift": 2.05, "base_image_seq_len": 1024, "shift_terminal": 0.1, "shift": 1.0}
WAN = {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}
SETTINGS = (
    Setting("SD 1.x", "vp", "PNDMScheduler", STABLE | {"skip_prk_steps": True}),
    *(
        Setting(
            f"SD 1.x, {spacing}", "vp", "DDIMScheduler", STABLE | {"clip_sample": False, "timestep_spacing": spacing}
        )
        for spacing in ("leading", "trailing", "linspace")
    ),
    Setting("SD 2.x", "vp", "DDIMScheduler", STABLE | {"clip_sample": False, "prediction_type": "v_prediction"}),
    Setting("SDXL", "vp", "EulerDiscreteScheduler", STABLE | {"timestep_spacing": "leading"}),
    Setting("SD, Karras sigmas", "vp", "DPMSolverMultistepScheduler", STABLE | {"use_karras_sigmas": True}),
    Setting(
        *("SD, Karras sigmas, trailing", "vp", "DPMSolverMultistepScheduler"),
        STABLE | {"use_karras_sigmas": True, "timestep_spacing": "trailing"},
    ),
    Setting("SD3", "flow", "FlowMatchEulerDiscreteScheduler", {"shift": 3.0}),
    Setting("Flux", "flow", "FlowMatchEulerDiscreteScheduler", FLUX, lay_as_flux),
    Setting("Wan, shift 3", "flow", "UniPCMultistepScheduler", WAN | {"flow_shift": 3.0}),
    Setting("Wan, shift 5", "flow", "UniPCMultistepScheduler", WAN | {"flow_shift": 5.0}),
    Setting("Sana", "flow", "DPMSolverMultistepScheduler", WAN | {"flow_shift": 3.0}),
    Setting("LTX", "flow", "FlowMatchEulerDiscreteScheduler", LTX, lay_as_flux),
    Setting("Lumina2", "flow", "FlowMatchEulerDiscreteScheduler", {"shift": 6.0}, lay_as_lumina),
    Setting("Mochi", "flow", "FlowMatchEulerDiscreteScheduler", {"invert_sigmas": True}, lay_as_mochi),
)
"""``set_alpha_to_one`` and the like are keys of one class of diffusers and dropped by others, as they do."""


@dataclass(frozen=True)
class Pair:
    """A scheme and its counterpart: a class of diffusers with the settings that make it that scheme."""

    scheme: str
    counterpart: str
    keys: Mapping[str, Any] = field(default_factory=dict)
    nfe: int = 1


PAIRS = {
    "vp": (
        Pair("DDIM", "DDIMScheduler", {"clip_sample": False}),
        Pair("DPM-Solver++2M", "DPMSolverMultistepScheduler", {"solver_order": 2}),
        Pair("DPM-Solver++3M", "DPMSolverMultistepScheduler", {"solver_order": 3}),
        Pair("UniPC-2", "UniPCMultistepScheduler", {"solver_order": 2}),
        Pair("UniPC-3", "UniPCMultistepScheduler", {"solver_order": 3}),
        Pair("DEIS-tAB1", "DEISMultistepScheduler", {"solver_order": 2}),
        Pair("DEIS-rhoAB2", "DEISMultistepScheduler", {"solver_order": 3}),
        Pair("EDM-Heun", "HeunDiscreteScheduler", nfe=2),
        Pair("Euler", "EulerDiscreteScheduler"),
    ),
    "flow": (
        Pair("Euler", "FlowMatchEulerDiscreteScheduler"),
        Pair("Heun", "FlowMatchHeunDiscreteScheduler", nfe=2),
        Pair("DPM-Solver++2M", "DPMSolverMultistepScheduler", {"solver_order": 2}),
        Pair("DPM-Solver++3M", "DPMSolverMultistepScheduler", {"solver_order": 3}),
        Pair("UniPC-2", "UniPCMultistepScheduler", {"solver_order": 2}),
        Pair("UniPC-3", "UniPCMultistepScheduler", {"solver_order": 3}),
        Pair("DEIS-rhoAB2", "DEISMultistepScheduler", {"solver_order": 3}),
    ),
}


@cache
def law() -> Mixture:
    """The data: seeded means scaled to unit variance about a zero mean in every coordinate, unequal weights."""
    generator = torch.Generator().manual_seed(SEED)
    means = torch.randn(COMPONENTS, DIMENSION, generator=generator, dtype=torch.float64)
    weights = torch.arange(1, COMPONENTS + 1, dtype=torch.float64) / (COMPONENTS * (COMPONENTS + 1) / 2)
    means = means - weights @ means
    means = means * ((1 - SPREAD**2) / (weights @ means.square())).sqrt()
    return Mixture(means, weights, SPREAD**2)


@cache
def noise() -> Tensor:
    """The noise that every walk starts from."""
    generator = torch.Generator().manual_seed(SEED + 1)
    return torch.randn(SAMPLES, DIMENSION, generator=generator, dtype=torch.float64)


@cache
def exported_class(spec: str) -> Any:
    """The scheduler class of a spec's exported file, with the kept certificate where it is for the source of today."""
    source = ia.derive(spec).source
    path = REPORTS / "certificates" / f"{module_name(spec)}.json"
    certificate = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
    hashed = f"sha256:{body_hash(source)}"
    if certificate is None or certificate["evidence"]["source_hash"] != hashed:
        evidence = {"source_hash": hashed, "versions": {}, "dtype": "", "device": "", "seed": 0}
        certificate = {"passed": True, "evidence": evidence, "claims": []}
    module = module_from_source(scheduler_module(source, certificate), f"walks_{class_name(spec)}")
    return getattr(module, module.__all__[0])


class Coordinates:
    """alpha and sigma at a time step of one config, and the exact network of the mixture there.

    A fraction of a table's entries is a point on the line of log(sigma/alpha) between them, as in diffusers' own
    ``_sigma_to_t``. With ``invert_sigmas`` a time step counts from noise, and the network returns x_0 - eps.
    """

    def __init__(self, process: str, config: Mapping[str, Any]) -> None:
        self.inverted = bool(config.get("invert_sigmas", False))
        self.trained = config["num_train_timesteps"]
        self.output = OUTPUTS["flow_prediction" if process == "flow" else config["prediction_type"]]
        self.log_ratios = None
        if process == "vp":
            ends = (config["beta_start"] ** 0.5, config["beta_end"] ** 0.5)
            log_bars = np.cumsum(np.log1p(-(np.linspace(*ends, self.trained) ** 2)))
            self.log_ratios = (np.log(-np.expm1(log_bars)) - log_bars) / 2

    def of_ratio(self, ratio: float) -> tuple[float, float]:
        """alpha and sigma where sigma/alpha is ``ratio`` and variance is preserved."""
        return 1 / float(np.hypot(1, ratio)), ratio / float(np.hypot(1, ratio))

    def at(self, timestep: float) -> tuple[float, float]:
        """alpha and sigma at a time step."""
        if self.log_ratios is not None:
            return self.of_ratio(float(np.exp(np.interp(timestep, np.arange(self.trained), self.log_ratios))))
        share = timestep / self.trained
        return (share, 1 - share) if self.inverted else (1 - share, share)

    def first(self, scheduler: Any) -> tuple[float, float]:
        """alpha and sigma of the scheduler's first state: by its first sigma, where it has sigmas."""
        sigmas = getattr(scheduler, "sigmas", None)
        if sigmas is None:
            return self.at(float(scheduler.timesteps[0]))
        return (
            self.of_ratio(float(sigmas[0])) if self.log_ratios is not None else self.at(float(sigmas[0]) * self.trained)
        )

    def unrounded(self, scheduler: Any) -> Tensor | None:
        """The time steps of a scheduler's sigmas, where it has rounded them to integers; None where it has not."""
        sigmas, timesteps = getattr(scheduler, "sigmas", None), scheduler.timesteps
        if sigmas is None or timesteps.dtype != torch.int64 or len(sigmas) != len(timesteps) + 1:
            return None
        exact = sigmas[:-1].double()
        if self.log_ratios is None:
            return exact * self.trained
        return torch.from_numpy(np.interp(exact.log().numpy(), self.log_ratios, np.arange(self.trained)))

    def network(self, z: Tensor, timestep: Tensor) -> Tensor:
        """The network's output at a state and a time step."""
        alpha, sigma = self.at(float(timestep))
        output = self.output(*law().predict(z, alpha, sigma), alpha, sigma)
        return -output if self.inverted else output


SOLVED: dict[tuple[float, float, int], Tensor] = {}
"""Converged solutions by alpha, sigma and what the first state is of."""


def solve_from_first(scheduler: Any, places: Coordinates) -> Tensor:
    """The converged x_0 from the scheduler's first state."""
    alpha, sigma = (round(value, 9) for value in places.first(scheduler))
    first = noise() * getattr(scheduler, "init_noise_sigma", 1.0)
    if hasattr(scheduler, "scale_model_input"):
        first = scheduler.scale_model_input(first, scheduler.timesteps[0])
    key = (alpha, sigma, hash(first.numpy().round(9).tobytes()))
    if key not in SOLVED:
        SOLVED[key] = solve_to_no_noise(law(), first, alpha, sigma)
    return SOLVED[key]


def measure_walk(scheduler: Any, places: Coordinates, options: Mapping[str, Any]) -> dict[str, Any]:
    """Lay the grid and walk it: the evaluations made, the first time step, the error to the converged solution."""
    scheduler.set_timesteps(**options)
    exact = solve_from_first(scheduler, places)
    unrounded = places.unrounded(scheduler)
    reached = walk_scheduler(scheduler, places.network, noise())
    found: dict[str, Any] = {}
    if unrounded is not None:
        scheduler.set_timesteps(**options)
        scheduler.timesteps = unrounded
        scheduler.set_begin_index(0)
        found["unrounded"] = rmse(walk_scheduler(scheduler, places.network, noise()), exact)
    return found | {
        "evaluations": len(scheduler.timesteps),
        "first": float(scheduler.timesteps[0]),
        "last": float(scheduler.timesteps[-1]),
        "error": rmse(reached, exact),
    }


def counterpart_of(setting: Setting, pair: Pair) -> Any:
    """The counterpart from the setting's config, with the shift under its own name.

    A solver on sigma/alpha is told to use the sigmas of flow matching.
    """
    config, keys = setting.config, dict(pair.keys)
    if setting.process == "flow":
        shift = config["flow_shift"] if "flow_shift" in config else config["shift"]
        on_ratios = {"use_flow_sigmas": True, "prediction_type": "flow_prediction", "flow_shift": shift}
        keys |= {"shift": shift} if pair.counterpart.startswith("FlowMatch") else on_ratios
    return getattr(diffusers, pair.counterpart).from_config(config, **keys)


def why_no_counterpart(setting: Setting, pair: Pair) -> str | None:
    """What of the setting the counterpart does not have; None where it has all."""
    known = inspect.signature(getattr(diffusers, pair.counterpart).__init__).parameters
    wanted = [
        key
        for key in ("use_dynamic_shifting", "shift_terminal", "invert_sigmas", "use_karras_sigmas")
        if setting.keys.get(key)
    ]
    lacking = [key for key in wanted if key not in known]
    return f"{pair.counterpart} has no {lacking[0]}" if lacking else None


def options_for(setting: Setting, steps: int, *schedulers: Any) -> dict[str, Any]:
    """The pipeline's arguments of ``set_timesteps`` that all of the schedulers take, in place of a number of steps."""
    options = setting.lay(setting.config, steps)
    for scheduler in schedulers:
        taken = inspect.signature(scheduler.set_timesteps).parameters
        options = {key: value for key, value in options.items() if key in taken}
    return options if "sigmas" in options else {"num_inference_steps": steps, **options}


def attempt(make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What was measured or, in its place, under "refused", the error that was raised."""
    try:
        return make()
    except Exception as error:  # whatever a scheduler raises is a result here
        text = " ".join(str(error).split())
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        return {"refused": kind + (text if len(text) < 200 else text[:197] + "...")}


def unwarned(make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What ``make`` returns, whatever warnings it gives: diffusers uses what numpy and torch have deprecated."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make()


def measure_cell(setting: Setting, pair: Pair, budget: int) -> dict[str, Any]:
    """One row of the record: both walks of a pair on a setting with one budget, and their ratio."""
    places = Coordinates(setting.process, setting.config)
    steps = (budget + pair.nfe - 1) // pair.nfe

    def ours() -> Any:
        return exported_class(f"{setting.process}/{pair.scheme}").from_config(setting.config)

    def theirs() -> Any:
        return counterpart_of(setting, pair)

    def measured(make: Callable[[], Any], other: Any) -> dict[str, Any]:
        scheduler = make()
        return measure_walk(scheduler, places, options_for(setting, steps, scheduler, other))

    kind = getattr(diffusers, pair.counterpart)
    found = {
        "config": setting.name,
        "scheme": f"{setting.process}/{pair.scheme}",
        "counterpart": pair.counterpart,
        "budget": budget,
        "ours": attempt(lambda: measured(ours, kind)),
        "theirs": attempt(
            lambda: unwarned(lambda: measured(theirs, exported_class(f"{setting.process}/{pair.scheme}")))
        ),
    }
    errors = [found[side].get("error") for side in ("ours", "theirs")]
    return found | {"ratio": errors[0] / errors[1] if None not in errors else None}


def measure_all(
    settings: Sequence[Setting] = SETTINGS,
    pairs: Mapping[str, Sequence[Pair]] = PAIRS,
    budgets: Sequence[int] = BUDGETS,
) -> Iterator[dict[str, Any]]:
    """The rows of the record, setting by setting, with a row in place of those that have no counterpart."""
    for setting in settings:
        for pair in pairs[setting.process]:
            reason = why_no_counterpart(setting, pair)
            if reason is not None:
                yield {
                    "config": setting.name,
                    "scheme": f"{setting.process}/{pair.scheme}",
                    "counterpart": pair.counterpart,
                    "no_counterpart": reason,
                }
                continue
            yield from (measure_cell(setting, pair, budget) for budget in budgets)
        say(f"{setting.name}: done")


def judge_row(row: Mapping[str, Any]) -> str | None:
    """What is wrong with a row, in a sentence; None where nothing is."""
    if "no_counterpart" in row or "refused" in row["theirs"]:
        return None
    ours, theirs = row["ours"], row["theirs"]
    if "refused" in ours:
        return "refused"
    if ours["evaluations"] != theirs["evaluations"]:
        return f"{ours['evaluations']} evaluations for {theirs['evaluations']}"
    if row["ratio"] > TARGET:
        return f"{row['ratio']:.3f} times"
    return None


def find_cause(row: Mapping[str, Any]) -> str | None:
    """Why the counterpart is better though its walk is no better one; None where nothing of the kind is known."""
    if row["ratio"] is None:
        return None
    if row["ours"]["error"] <= TARGET * row["theirs"].get("unrounded", 0.0):
        return "rounded time steps"
    if row["scheme"].endswith("DPM-Solver++3M"):
        return "third order with half of its last term"
    if row["counterpart"] == "DDIMScheduler" and row["config"] != "SD 1.x, leading":
        return "steps that do not meet"
    if "/DEIS-" in row["scheme"]:
        return "another polynomial"
    if row["counterpart"] == "HeunDiscreteScheduler":
        return "Karras between other ends" if row["config"].startswith("SD, Karras sigmas, ") else "another first state"
    return None


CAUSES = {
    "rounded time steps": "the counterpart tells the network time steps that are rounded to integers, and here these "
    "errors cancel others: told those of its own sigmas, its walk has the error of ours",
    "third order with half of its last term": "the counterpart's third order lacks a factor of 2 in its last term "
    "(docs/peers.md), which makes it of order 2 with a smaller constant here",
    "steps that do not meet": "DDIMScheduler steps from a time step t to t - 1000 // n, which is not the next one that "
    "it evaluates at unless n divides 1000 and the spacing is even",
    "another polynomial": "DEISMultistepScheduler reads eps as a polynomial in the log-SNR, these schemes in t or in "
    "sigma/alpha, as in the paper; the catalogue's conjugate(base=AB2 or AB3, variable=log-SNR) is that scheme",
    "another first state": "HeunDiscreteScheduler begins at sigma times the noise beside no data, which is the noise "
    "times sigma / sqrt(1 + sigma^2) here, and has another solution",
    "Karras between other ends": "HeunDiscreteScheduler lays Karras' sigmas between the ends of the spacing, the other "
    "schedulers and ours over the whole table",
}
"""Name of a cause -> what of the counterpart makes the difference."""


def cell(row: Mapping[str, Any] | None) -> str:
    """Both errors and their ratio, in bold where something is wrong."""
    if row is None:
        return ""
    ours, theirs = (f"{row[side]['error']:.3g}" if "error" in row[side] else "refused" for side in ("ours", "theirs"))
    ratio = "" if row["ratio"] is None else f" ({row['ratio']:.3f})"
    text = f"{ours} / {theirs}{ratio}"
    return f"**{text}**" if judge_row(row) else text


def setting_table(rows: Sequence[Mapping[str, Any]], budgets: Sequence[int]) -> str:
    """The table of one setting: a row for a scheme, a column for a budget."""
    lines = []
    for scheme in dict.fromkeys(row["scheme"] for row in rows):
        own = {row["budget"]: row for row in rows if row["scheme"] == scheme and "budget" in row}
        if own:
            counterpart = next(iter(own.values()))["counterpart"]
            lines.append([scheme, counterpart, *(cell(own.get(budget)) for budget in budgets)])
    return table(["scheme", "counterpart", *map(str, budgets)], lines)


def list_defects(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What is wrong, a line for each scheme of a setting."""
    lines: dict[str, list[str]] = {}
    for row in rows:
        why = judge_row(row)
        if why is not None:
            cause = find_cause(row)
            shown = f"{why} at {row['budget']}" + (f" ({cause})" if cause else "")
            lines.setdefault(f"{row['config']}, {row['scheme']}", []).append(shown)
    return [f"{where}: {'; '.join(found)}" for where, found in lines.items()]


def list_reasons(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Every pair of a setting that is not compared, with the reason, once."""
    reasons = []
    for row in rows:
        where = f"{row['config']}, {row['scheme']}"
        if "no_counterpart" in row:
            reasons.append(f"{where}: {row['no_counterpart']}")
        else:
            reasons += [
                f"{where}: {name} refuses: {row[side]['refused']}"
                for side, name in (("ours", "the exported class"), ("theirs", row["counterpart"]))
                if "refused" in row[side]
            ]
    return list(dict.fromkeys(reasons))


PAGE = """\
# Walks: exported schedulers beside those of diffusers

Made by `python benchmarks/studies/walks.py`, diffusers {{ version }}, float64. Every cell: RMSE of the exported \
scheduler / RMSE of its counterpart in diffusers (their ratio), to the converged solution (DOP853) of the probability \
flow from the scheduler's own first state to no noise. Both are made by `from_config` from the same config, are laid \
by the same call of `set_timesteps`, start from the same noise and call the same network in the loop of a pipeline: \
the exact one of a mixture of {{ components }} Gaussians in {{ dimension }} dimensions (standard deviation \
{{ spread }} each, weights 1 to {{ components }}, the whole of unit variance), at the time step that the scheduler \
passes; {{ samples }} samples. Columns: network evaluations asked for (a scheme of two evaluations a step makes one \
less).

**{{ bad_cells }} of {{ compared }} cells with a counterpart are above {{ target }} or have no walk of ours** (bold); \
for {{ known }} of them the cause is one of those below.

{% for name, text in causes.items() %}
- {{ name }}: {{ text }}
{% endfor %}

{% for name, text in tables.items() %}
## {{ name }}

`{{ configs[name] }}`

{{ text }}

{% endfor %}
## Cells above the target

{% for line in bad %}
- {{ line }}
{% else %}
None.
{% endfor %}

## Not compared

{% for line in reasons %}
- {{ line }}
{% else %}
None.
{% endfor %}
"""


def report(rows: Sequence[Mapping[str, Any]], settings: Sequence[Setting], budgets: Sequence[int]) -> str:
    """The page of a record."""
    bad = [row for row in rows if judge_row(row)]
    compared = [row for row in rows if "theirs" in row and "error" in row["theirs"]]
    return render(
        PAGE,
        version=importlib.metadata.version("diffusers"),
        components=COMPONENTS,
        dimension=DIMENSION,
        spread=SPREAD,
        samples=SAMPLES,
        target=TARGET,
        bad=list_defects(rows),
        bad_cells=len(bad),
        known=sum(find_cause(row) is not None for row in bad),
        causes=CAUSES,
        compared=len(compared),
        tables={s.name: setting_table([r for r in rows if r["config"] == s.name], budgets) for s in settings},
        configs={
            s.name: ", ".join([s.made_by, *(f"{key}={value}" for key, value in s.keys.items())]) for s in settings
        },
        reasons=list_reasons(rows),
    )


def rounded(value: Any) -> Any:
    """The record with numbers of six digits: the others are the machine's."""
    if isinstance(value, dict):
        return {key: rounded(entry) for key, entry in value.items()}
    return float(f"{value:.6g}") if isinstance(value, float) else value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="two budgets, into the working directory")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    logging.getLogger("diffusers").setLevel(logging.ERROR)
    output, budgets = (Path(), BUDGETS[:2]) if quick else (REPORTS, BUDGETS)
    rows = list(measure_all(budgets=budgets))
    write_text(output / "walks.json", json.dumps([rounded(row) for row in rows], indent=1) + "\n")
    write_page("walks.md", report(rows, SETTINGS, budgets), output)
    sys.exit(any(judge_row(row) for row in rows))


if __name__ == "__main__":
    main()
