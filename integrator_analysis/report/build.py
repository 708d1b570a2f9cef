"""Builds the report: derives the catalogue, verifies it, draws it, samples digits, renders the page.

Knows the order of the stages; every number comes from another room. What is finished when the
run is interrupted stays on disk.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

import integrator_analysis as ia
from integrator_analysis.files import write_text
from integrator_analysis.report.certificates import certificates, claims_table
from integrator_analysis.report.digits import BANDWIDTH, digits_networks, probability_flow_drift
from integrator_analysis.report.generate import differences, generated_folder, generated_sources
from integrator_analysis.report.page import (
    DIGITS_SAMPLES,
    DIGITS_SEED,
    ReportRun,
    render_page,
)
from integrator_analysis.report.pictures.analysis import draw_analysis
from integrator_analysis.report.pictures.digits import draw_digits
from integrator_analysis.report.renewal import catalogue_table, renew

__all__ = ["build_report"]

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


def build_report(
    output: Path, console: Console, specs: Sequence[str] | None = None, renewed: Path | None = None
) -> bool:
    """Write the report into ``output``; returns whether every claim of every scheme was verified.

    ``specs`` limits what is verified and shown; None is the whole catalogue. Nothing outside ``output`` is written,
    unless ``renewed`` names a checkout: its kept certificates, table and pictures are then brought up to date
    if every claim holds. Raises InputError for a checkout together with ``specs``.
    """
    if renewed is not None and specs is not None:
        raise ia.InputError("what a checkout keeps is renewed from the whole catalogue; leave specs out")
    output.mkdir(parents=True, exist_ok=True)
    run = ReportRun(output, console)
    with run.stage("derive"):
        run.integrators = {spec: ia.derive(spec) for spec in specs or ia.catalogue()}
        for integrator in run.integrators.values():
            integrator.local_error.text()
    if specs is None:
        with run.stage("print torch source"):
            changed = differences(generated_folder(), generated_sources(run.integrators))
            if changed:
                console.print(f"  {len(changed)} files of torch_backend/generated are not these: run `make generate`")
    run.featured = {spec: run.integrators[spec] for spec in specs or FEATURED}
    with run.stage("verify on the generated source"):
        _verify(run)
    with run.stage("draw stability, convergence and constants"):
        run.figures |= draw_analysis(output, run.featured, run.certificates)
    with run.stage("sample digits"):
        _sample_digits(run)
    with run.stage("render the page"):
        write_text(output / "catalogue.md", catalogue_table(run.integrators, run.certificates))
        write_text(output / "claims.md", claims_table(list(run.certificates.values())))
    write_text(output / "index.html", render_page(run))
    failed = [spec for spec, certificate in run.certificates.items() if not certificate.passed]
    if renewed is not None and failed:
        console.print("  a claim failed: nothing that the checkout keeps was renewed")
    elif renewed is not None:
        for path in renew(renewed, output, run.integrators, run.certificates):
            console.print(f"  renewed {path.relative_to(renewed)}")
    console.print(
        f"{len(run.certificates) - len(failed)} of {len(run.certificates)} schemes verified: {output / 'index.html'}"
    )
    if failed:
        console.print(f"FAILED: {', '.join(failed)}")
    return not failed


def _verify(run: ReportRun) -> None:
    folder = run.output / "certificates"
    folder.mkdir(exist_ok=True)
    # Stochastic claims take longest, so they are handed out first.
    order = sorted(run.integrators, key=lambda spec: not run.integrators[spec].stochastic)
    found = certificates(order, folder=folder, jobs=os.cpu_count() or 1)
    for spec, certificate in zip(order, run.track(found, "verify", len(order)), strict=True):
        run.certificates[spec] = certificate
    run.certificates = {spec: run.certificates[spec] for spec in run.integrators}


def _sample_digits(run: ReportRun) -> None:
    from torch_backend import load
    from torch_backend.measuring.digits_study import baseline
    from torch_backend.measuring.digits_study import run as study

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
    run.figures |= draw_digits(run.output, run.records, images, run.floor)
