"""Builds the report: derives the catalogue, writes its source, verifies it, draws it, samples digits, renders the page.

Knows the order of the stages and what the page shows; every number comes from another room. What is finished when the
run is interrupted stays on disk.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from integrator_analysis.certificate import SEED, Certificate, write_text
from integrator_analysis.report import pictures
from integrator_analysis.report.digits import BANDWIDTH, digits_networks, probability_flow_drift
from integrator_analysis.report.generate import generated_folder, generated_sources, write_generated
from integrator_analysis.report.verification import certificates, claims_table

__all__ = ["build_report"]

PACKAGES = ("torch", "sympy", "numpy", "scipy", "matplotlib", "scikit-learn")
DIGITS_SEED = 0
DIGITS_SAMPLES = 512
README_MARKS = ("<!-- catalogue: begin -->", "<!-- catalogue: end -->")


@dataclass
class _Run:
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


FEATURED = (
    "vp/Euler",
    "vp/EM",
    "vp/DDIM",
    "vp/lambda-DDIM-I",
    "vp/DPM-Solver-2",
    "vp/DPM-Solver++2M",
    "vp/DEIS-tAB2",
    "vp/UniPC-2",
    "vp/EDM-Heun",
    "vp/SDE-DPM-Solver++2M",
    "psld/Euler",
    "psld/EM",
    "psld/DDIM",
    "psld/gDDIM",
    "psld/lambda-DDIM-I",
    "psld/lambda-DDIM-II",
    "psld/DPM-Solver++2M",
    "psld/EDM-Heun",
    "psld/NSE",
    "psld/NVV",
    "psld/RSE",
    "psld/RVV",
    "psld/SPS-2M",
    "psld/SSCS",
    "psld/NOBA",
    "psld/ROBA",
)
"""Schemes that are drawn and sampled with in a report on the whole catalogue: more lines cannot be told apart."""


def build_report(output: Path, console: Console, specs: Sequence[str] | None = None) -> bool:
    """Write the report into ``output``; returns whether every claim of every scheme was verified.

    ``specs`` limits what is verified and shown; if None, it is the whole catalogue, whose source is generated too.
    """
    output.mkdir(parents=True, exist_ok=True)
    run = _Run(output, console)
    with run.stage("derive"):
        run.integrators = {spec: ia.derive(spec) for spec in specs or ia.catalogue()}
        for integrator in run.integrators.values():
            integrator.local_error.text()
    if specs is None:
        with run.stage("generate torch source"):
            changed = write_generated(generated_folder(), generated_sources(run.integrators))
            console.print(f"  {len(changed)} generated files changed")
    run.featured = {spec: run.integrators[spec] for spec in specs or FEATURED}
    with run.stage("verify on the generated source"):
        _verify(run)
    with run.stage("draw stability, convergence and constants"):
        run.figures |= pictures.draw_analysis(output, run.featured, run.certificates)
    with run.stage("sample digits"):
        _sample_digits(run)
    with run.stage("render the page"):
        write_text(output / "catalogue.md", _catalogue_table(run))
        write_text(output / "claims.md", claims_table(list(run.certificates.values())))
        if specs is None:
            _update_readme(output.parent / "README.md", _catalogue_table(run))
    write_text(output / "index.html", _render(run))
    failed = [spec for spec, certificate in run.certificates.items() if not certificate.passed]
    console.print(
        f"{len(run.certificates) - len(failed)} of {len(run.certificates)} schemes verified: {output / 'index.html'}"
    )
    if failed:
        console.print(f"FAILED: {', '.join(failed)}")
    return not failed


def _verify(run: _Run) -> None:
    folder = run.output / "certificates"
    folder.mkdir(exist_ok=True)
    # Stochastic claims take longest, so they are handed out first.
    order = sorted(run.integrators, key=lambda spec: not run.integrators[spec].stochastic)
    found = certificates(order, folder=folder, jobs=os.cpu_count() or 1)
    for spec, certificate in zip(order, run.track(found, "verify", len(order)), strict=True):
        run.certificates[spec] = certificate
    run.certificates = {spec: run.certificates[spec] for spec in run.integrators}


def _sample_digits(run: _Run) -> None:
    from torch_backend import load
    from torch_backend.digits_study import baseline
    from torch_backend.digits_study import run as study

    names = {i.process.name: i.process for i in run.featured.values()}
    samplers = {spec: load(spec) for spec in run.featured}
    results = study(
        samplers,
        digits_networks(names.values()),
        {name: probability_flow_drift(process) for name, process in names.items()},
        bandwidth=BANDWIDTH,
        seed=DIGITS_SEED,
        n=DIGITS_SAMPLES,
    )
    run.floor = baseline(bandwidth=BANDWIDTH, n=DIGITS_SAMPLES, seed=DIGITS_SEED)
    images: dict[str, dict[int, Any]] = {}
    for result in run.track(results, "digits", 4 * len(samplers)):
        run.records.append(result.record)
        images.setdefault(result.record["spec"], {})[result.record["budget"]] = result.images
        document = {
            "bandwidth": BANDWIDTH,
            "seed": DIGITS_SEED,
            "n": DIGITS_SAMPLES,
            "floor": run.floor,
            "records": run.records,
        }
        write_text(run.output / "digits.json", json.dumps(document, indent=1) + "\n")
    run.figures |= pictures.draw_digits(run.output, run.records, images, run.floor)


def _render(run: _Run) -> str:
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


def _scheme(run: _Run, spec: str, folder: str) -> dict[str, Any]:
    integrator, certificate = run.integrators[spec], run.certificates[spec]
    claims = {claim.name: claim for claim in certificate.claims}
    error = integrator.local_error
    text = error.text()
    return {
        "spec": spec,
        "description": integrator.scheme.summary,
        "stochastic": integrator.stochastic,
        "nfe_per_step": integrator.nfe_per_step,
        "order": {"derived": integrator.order, "measured": _measured_order(claims)},
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
        "derivation": list(integrator.program.derivation),
        "source": f"{folder}/{integrator.name}.py",
        "certificate": f"certificates/{integrator.name}.json",
    }


def _of(claims: Mapping[str, Any], name: str, attribute: str) -> float | None:
    value = getattr(claims[name], attribute) if name in claims else None
    return float(value) if isinstance(value, (int, float)) else None


def _measured_order(claims: Mapping[str, Any]) -> float | None:
    """The least slope over the blocks: the order of a scheme is that of its worst block."""
    orders = [float(c.measured) for name, c in claims.items() if name.startswith("order[")]
    return min(orders, default=None)


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


def _digits_table(run: _Run) -> dict[str, Any]:
    columns = [
        "scheme",
        "evaluations",
        "steps",
        "trajectory RMSE",
        "trajectory median",
        "sliced Wasserstein",
        "Frechet",
    ]
    keys = (
        "spec",
        "evaluations",
        "steps",
        "trajectory_rmse",
        "trajectory_median",
        "sliced_wasserstein",
        "frechet",
    )
    floor = (
        f"exact samples: sliced Wasserstein {run.floor['sliced_wasserstein']:.3g}, Frechet {run.floor['frechet']:.3g}"
    )
    return {
        "caption": f"Digits with the exact score, {DIGITS_SAMPLES} samples, quadratic time grid ({floor}). Trajectory "
        "errors are per pixel, against the converged flow from the same noise; distances are in pixel space.",
        "columns": columns,
        "rows": [[record[key] for key in keys] for record in run.records],
    }


def _catalogue_table(run: _Run) -> str:
    lines = [
        "| scheme | NFE per step | order derived | measured | leading constant derived | measured | difference |",
        "|---|---|---|---|---|---|---|",
    ]
    for spec, integrator in run.integrators.items():
        claims = {claim.name: claim for claim in run.certificates[spec].claims}
        blocks = [name for name in claims if name.startswith("constant[")]
        derived = ", ".join(f"{name[9:-1]}: {claims[name].derived:.4g}" for name in blocks)
        measured = ", ".join(f"{claims[name].measured:.4g}" for name in blocks)
        order = f"{integrator.order}{' (weak)' if integrator.stochastic else ''}"
        slope = _measured_order(claims)
        shown = "-" if slope is None else f"{slope:.2f}"
        difference = f"{max((claims[name].error for name in blocks), default=float('nan')):.0e}"
        lines.append(
            f"| {spec} | {integrator.nfe_per_step} | {order} | {shown} | {derived} | {measured} | {difference} |"
        )
    return "\n".join(lines) + "\n"


def _update_readme(readme: Path, table: str) -> None:
    """Put the table between the marks of a README beside the report, if it has them."""
    if not readme.exists():
        return
    text = readme.read_text(encoding="utf-8")
    if not all(mark in text for mark in README_MARKS):
        return
    before, rest = text.split(README_MARKS[0], 1)
    after = rest.split(README_MARKS[1], 1)[1]
    updated = f"{before}{README_MARKS[0]}\n{table}{README_MARKS[1]}{after}"
    if updated != text:
        write_text(readme, updated)
