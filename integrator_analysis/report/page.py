"""The page of the report: what stands in its tables, and how it is rendered."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jinja2
import sympy
from rich.console import Console
from rich.progress import track

import integrator_analysis as ia
from integrator_analysis.report.digits import BANDWIDTH
from integrator_analysis.report.generate import generated_folder
from integrator_analysis.report.orders import measured_order
from integrator_analysis.verification.bench import SEED
from integrator_analysis.verification.certificate import Certificate

PACKAGES = ("torch", "sympy", "numpy", "scipy", "matplotlib", "scikit-learn")

DIGITS_SEED = 0

DIGITS_SAMPLES = 512


@dataclass
class ReportRun:
    """What the stages hand on: integrators, certificates, pictures, records, and the time each stage took."""

    output: Path
    console: Console
    integrators: Mapping[str, ia.Integrator] = field(default_factory=dict)
    featured: Mapping[str, ia.Integrator] = field(default_factory=dict)
    certificates: dict[str, Certificate] = field(default_factory=dict)
    figures: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    records: list[dict[str, Any]] = field(default_factory=list)
    floor: dict[str, float] = field(default_factory=dict)
    stages: list[dict[str, Any]] = field(default_factory=list)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        seconds = time.perf_counter() - start
        self.stages.append({"name": name, "seconds": seconds})
        self.console.print(f"{name}: {seconds:.1f} s")

    def track(self, items: Any, title: str, total: int) -> Any:
        return track(items, description=title, total=total, console=self.console, transient=True)


def render_page(run: ReportRun) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("integrator_analysis.report"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    folder = os.path.relpath(generated_folder(), run.output)
    processes = {i.process.name: i.process for i in run.integrators.values()}
    return environment.get_template("index.html.j2").render(
        title="Integrators of diffusion models: derived, generated, verified",
        introduction=[
            "Every scheme below was derived with sympy from its definition and printed as torch source, which was "
            "measured in float64 against the derived order, leading error constant, evaluation count and one-step map.",
            "The digits are the 1,797 scans that ship with scikit-learn. Their score is exact: the data are taken as a "
            f"Gaussian mixture centred on the scans with standard deviation {BANDWIDTH} in pixel units of [-1, 1].",
        ],
        made={
            "command": "integrator-analysis report",
            "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
            "seeds": {"verification": SEED, "digits": DIGITS_SEED},
            "stages": run.stages,
        },
        schemes=[_scheme(run, spec, folder) for spec in run.integrators],
        processes=[_process(process) for process in processes.values()],
        figures=run.figures,
        tables=[_digits_table(run)],
    )


def _scheme(run: ReportRun, spec: str, folder: str) -> dict[str, Any]:
    integrator, certificate = run.integrators[spec], run.certificates[spec]
    claims = {claim.name: claim for claim in certificate.claims}
    error = integrator.local_error
    text = error.text()
    return {
        "spec": spec,
        "description": integrator.scheme.summary,
        "stochastic": integrator.stochastic,
        "nfe_per_step": integrator.nfe_per_step,
        "order": {"derived": integrator.order, "measured": measured_order(claims).in_words()},
        "blocks": [
            {
                "name": block,
                "exponent": exponent,
                "leading": text[block],
                "derived": _of(claims, f"constant[{block}]", "derived"),
                "measured": _of(claims, f"constant[{block}]", "measured"),
            }
            for block, exponent in error.exponents.items()
        ],
        "gaussian_error": _of(claims, "gaussian_map", "error"),
        "passed": certificate.passed,
        "failures": [
            f"{c.name}: derived {c.derived}, measured {c.measured}, error {c.error:.2g} > {c.tolerance:.2g}"
            for c in certificate.claims
            if not c.passed
        ],
        "derivation": list(integrator.program.account),
        "source": f"{folder}/{integrator.name}.py",
        "certificate": f"certificates/{integrator.name}.json",
    }


def _of(claims: Mapping[str, Any], name: str, attribute: str) -> float | None:
    value = getattr(claims[name], attribute) if name in claims else None
    return float(value) if isinstance(value, (int, float)) else None


def _process(process: ia.Process) -> dict[str, Any]:
    kernel = process.kernel
    wanted: list[tuple[str, Callable[[], sympy.Expr]]] = [
        ("drift F", lambda: process.drift),
        ("diffusion G G^T", lambda: process.diffusion),
        ("beta(t)", lambda: process.schedule),
    ]
    formulas = [
        {"name": name, "text": str(value().tolist() if hasattr(value(), "tolist") else value())}
        for name, value in wanted
    ]
    formulas += [{"name": str(f), "text": str(d.body)} for f, d in kernel.definitions.items()]
    return {
        "name": process.name,
        "description": f"{process.title}; {process.source}. t in [{process.t_min:g}, {process.t_max:g}].",
        "parameters": {str(p): f"{float(v):g}" for p, v in process.parameters.items()},
        "formulas": formulas,
    }


def _digits_table(run: ReportRun) -> dict[str, Any]:
    columns = [
        "scheme",
        "evaluations",
        "steps",
        "grid",
        "trajectory RMSE",
        "trajectory median",
        "sliced Wasserstein",
        "Frechet",
    ]
    keys = (
        "spec",
        "evaluations",
        "steps",
        "grid",
        "trajectory_rmse",
        "trajectory_median",
        "sliced_wasserstein",
        "frechet",
    )
    floor = (
        f"exact samples: sliced Wasserstein {run.floor['sliced_wasserstein']:.3g}, Frechet {run.floor['frechet']:.3g}"
    )
    return {
        "caption": f"Digits with the exact score, {DIGITS_SAMPLES} samples, each scheme on its own grid, a step to no "
        f"noise at the end ({floor}). Trajectory errors are per pixel, against the converged walk from the same noise; "
        "distances are in pixel space.",
        "columns": columns,
        "rows": [[record[key] for key in keys] for record in run.records],
    }
