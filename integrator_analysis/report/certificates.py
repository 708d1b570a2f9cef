"""Many certificates at once: made in several processes, kept and taken up again, and shown as a table or a page.

Knows where certificates are written and how they read; measures nothing itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import jinja2

import integrator_analysis as ia
from integrator_analysis.codegen import module_name
from integrator_analysis.inputs import InputError
from integrator_analysis.verification.certificate import Certificate
from integrator_analysis.verification.environment import describe_device, versions

__all__ = ["certificates", "certificates_page", "claims_table"]


def certificates(
    specs: Sequence[str],
    files: Sequence[Path] = (),
    folder: Path | None = None,
    resume: bool = False,
    jobs: int = 1,
    device: str = "cpu",
) -> Iterator[Certificate]:
    """The certificate of each spec, in order, saved in ``folder`` as soon as it is there.

    ``files`` are text files that a spec may need. With ``resume`` a certificate that is in ``folder`` already stands if
    it is of the same source and was made with the same versions on that device, and passed. ``jobs`` is the number of
    processes, ``device`` where steps are made.
    """
    kept = (
        {spec: _reusable_certificate(spec, folder, describe_device(device)) for spec in specs}
        if resume and folder is not None
        else {}
    )
    todo = [spec for spec in specs if kept.get(spec) is None]
    made = _verify_all(todo, files, jobs, device)
    for spec in specs:
        certificate = kept.get(spec)
        if certificate is None:
            certificate = next(made)
            if folder is not None:
                certificate.save(folder / f"{module_name(certificate.spec)}.json")
        yield certificate


def _verify_all(specs: Sequence[str], files: Sequence[Path], jobs: int, device: str) -> Iterator[Certificate]:
    verify = partial(ia.verify, device=device)
    if jobs == 1 or len(specs) < 2:
        yield from map(verify, specs)
        return
    pool = ProcessPoolExecutor(min(jobs, len(specs)), get_context("spawn"), _load, (list(files),))
    try:
        yield from pool.map(verify, specs)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _load(files: Sequence[Path]) -> None:
    for path in files:
        ia.load_text(path)


def _reusable_certificate(spec: str, folder: Path, device: str) -> Certificate | None:
    """The certificate in ``folder`` that need not be made again, if there is one."""
    integrator = ia.derive(spec)
    path = folder / f"{integrator.name}.json"
    try:
        certificate = Certificate.load(path)
        certificate.check_source(integrator.source)
    except InputError:
        return None
    evidence = certificate.evidence
    if "rounded" in evidence:
        return None
    same = (certificate.spec, evidence["versions"], evidence["device"]) == (integrator.spec, versions(), device)
    return certificate if same and certificate.passed else None


def claims_table(found: Sequence[Certificate]) -> str:
    """A Markdown table of every claim: derived, measured, margin, verdict."""
    lines = [
        "| scheme | claim | derived | measured | error | tolerance | margin | verdict |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for certificate in found:
        for claim in certificate.claims:
            derived, measured = (
                f"{v:.6g}" if isinstance(v, float) else str(v) for v in (claim.derived, claim.measured)
            )
            numbers = f"{claim.error:.1e} | {claim.tolerance:.0e} | {claim.margin:.1e}"
            verdict = "passed" if claim.passed else "FAILED"
            cells = [
                " ".join(text.split()).replace("|", "\\|") for text in (certificate.spec, claim.name, derived, measured)
            ]
            lines.append(f"| {' | '.join(cells)} | {numbers} | {verdict} |")
    return "\n".join(lines) + "\n"


def certificates_page(found: Sequence[Certificate]) -> str:
    """The certificates as one HTML page; every text in them is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("integrator_analysis.report"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    title = f"Certificate of {found[0].spec}" if len(found) == 1 else f"Certificates of {len(found)} schemes"
    return environment.get_template("certificate.html.j2").render(
        title=title, certificates=[certificate.as_dict() for certificate in found]
    )
