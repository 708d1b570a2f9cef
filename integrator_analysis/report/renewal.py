"""Renews what a checkout keeps of a report: rounded certificates, the table of schemes, the pictures that pages show.

Knows the folders of a checkout. Numbers are rounded to what every machine agrees on, so that renewing on another one
gives the same text; the report itself (build/report) has all digits.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import integrator_analysis as ia
from integrator_analysis.codegen import module_name
from integrator_analysis.files import write_bytes, write_text
from integrator_analysis.report.orders import measured_order
from integrator_analysis.verification.certificate import Certificate, Claim

__all__ = ["catalogue_table", "checkout", "renew", "rounded_certificate"]

MARKS = ("<!-- catalogue: begin -->", "<!-- catalogue: end -->")
"""Between these lines of docs/catalogue.md stands the table of schemes."""

REPRODUCED = (
    *("stated_facts", "nfe_per_step", "spectral_radius", "order", "constant"),
    *("gaussian_walk", "mixture_walk", "walk_evaluations"),
)
"""Claims whose two numbers are the same on every machine to the digits below. The others show the worst of many
entries, and which one is worst depends on rounding."""
DERIVED_DIGITS, MEASURED_DIGITS = 6, 3
"""Constants are measured to 1e-4 at worst (DEIS-tAB3), so that three digits do not depend on rounding."""
SLOPE_DECIMALS = 2
"""An order is measured to about 1e-4 of itself."""
SHARES = (0.1, 0.3, 1.0)
"""An error is kept as the least of these shares of its tolerance that it does not exceed: far below the tolerance it
is rounding, which differs by factors between machines."""
ROUNDED = "to what every machine agrees on: errors are bounds, measured series are left out; verify remakes them"
"""Says so in the evidence of a kept certificate."""
LEAST_DIFFERENCE = 1e-6
"""Below this, the difference of a measured and a derived constant is rounding too."""


def checkout() -> Path:
    """The checkout that this package is imported from. Raises InputError where it is installed without one."""
    root = Path(__file__).parents[2]
    if not (root / "docs" / "catalogue.md").is_file():
        raise ia.InputError(f"{root} is no checkout, for it has no docs/catalogue.md; renew from within one")
    return root


def renew(
    root: Path, output: Path, integrators: Mapping[str, ia.Integrator], certificates: Mapping[str, Certificate]
) -> list[Path]:
    """Bring the kept files below ``root`` to what the report in ``output`` found; returns those that changed."""
    folder = root / "reports" / "certificates"
    texts = {
        folder / f"{module_name(spec)}.json": rounded_certificate(found).as_json()
        for spec, found in certificates.items()
    }
    page = root / "docs" / "catalogue.md"
    texts[page] = _between_marks(page.read_text(encoding="utf-8"), catalogue_table(integrators, certificates))
    changed = [path for path, text in texts.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    for path in changed:
        write_text(path, texts[path])
    for path in set(folder.glob("*.json")) - set(texts):
        path.unlink()
        changed.append(path)
    for shown in sorted(set(_pictures_shown(root))):
        drawn, kept = output / "figures" / shown.name, root / shown
        if drawn.exists() and (not kept.exists() or kept.read_bytes() != drawn.read_bytes()):
            write_bytes(kept, drawn.read_bytes())
            changed.append(kept)
    return changed


def _between_marks(text: str, table: str) -> str:
    before, rest = text.split(MARKS[0], 1)
    return f"{before}{MARKS[0]}\n{table}{MARKS[1]}{rest.split(MARKS[1], 1)[1]}"


def _pictures_shown(root: Path) -> Iterator[Path]:
    """The files of reports/figures that README and docs show, relative to ``root``."""
    for page in (root / "README.md", *sorted((root / "docs").glob("*.md"))):
        for name in re.findall(r"\((?:\.\./)?reports/figures/([^)]+\.png)\)", page.read_text(encoding="utf-8")):
            yield Path("reports", "figures", name)


def rounded_certificate(certificate: Certificate) -> Certificate:
    """``certificate`` with the numbers that every machine agrees on: errors are bounds, measured arrays are left out.

    Its verdicts are the same. What is left out is remade by ``integrator-analysis verify SPEC``.
    """
    evidence = {name: value for name, value in certificate.evidence.items() if not name.startswith("errors[")}
    for name, errors in certificate.evidence.items():
        if name.startswith("errors["):
            derived = [_significant(value, DERIVED_DIGITS) for value in errors["constants_derived"]]
            evidence[name.replace("errors", "constants")] = {"h": errors["h"], "derived": derived}
    evidence["rounded"] = ROUNDED
    return replace(certificate, claims=tuple(map(_rounded_claim, certificate.claims)), evidence=evidence)


def _rounded_claim(claim: Claim) -> Claim:
    kind = claim.name.partition("[")[0]
    derived, measured = claim.derived, claim.measured
    if kind not in REPRODUCED:
        derived = measured = "see a certificate with all digits"
    elif kind == "order":
        measured = round(float(measured), SLOPE_DECIMALS)
    else:
        derived, measured = _significant(derived, DERIVED_DIGITS), _significant(measured, MEASURED_DIGITS)
    return replace(claim, derived=derived, measured=measured, error=_error_bound(claim))


def _error_bound(claim: Claim) -> float:
    """The error as a share of the tolerance that it does not exceed; itself where it does, or where none is allowed."""
    if not claim.passed or claim.tolerance == 0:
        return claim.error
    share = next(share for share in SHARES if claim.error <= share * claim.tolerance)
    return float(f"{share * claim.tolerance:.3g}")


def _significant(value: Any, digits: int) -> Any:
    return float(f"{value:.{digits}g}") if isinstance(value, float) and math.isfinite(value) else value


def catalogue_table(integrators: Mapping[str, ia.Integrator], certificates: Mapping[str, Certificate]) -> str:
    """A Markdown table of the schemes: evaluations, order and leading constants, derived and measured."""
    columns = (
        "scheme",
        "NFE per step",
        "order derived",
        "measured",
        "order of a walk",
        "leading constant derived",
        "measured",
        "differ by",
    )
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for spec, integrator in integrators.items():
        claims = {claim.name: claim for claim in certificates[spec].claims}
        blocks = [name for name in claims if name.startswith("constant[")]
        cells = (
            spec,
            str(integrator.nfe_per_step),
            f"{integrator.order}{' (weak)' if integrator.stochastic else ''}",
            measured_order(claims).in_words(),
            _order_of_walk(integrator),
            ", ".join(f"{name[9:-1]}: {claims[name].derived:.4g}" for name in blocks),
            ", ".join(f"{claims[name].measured:.{MEASURED_DIGITS}g}" for name in blocks),
            _power_of_ten(max((claims[name].error for name in blocks), default=math.nan)),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _order_of_walk(integrator: ia.Integrator) -> str:
    """The order of a walk, and with a graded start where that is another."""
    order = integrator.walk_order
    usual = order.lowered if order.mends else order.plain
    other = order.graded if order.graded not in (None, usual) else None
    return str(usual) if other is None else f"{usual}; {other} graded"


def _power_of_ten(difference: float) -> str:
    """The power of ten that ``difference`` does not exceed, not below what rounding makes of it.

    >>> [_power_of_ten(value) for value in (3e-9, 2e-5, 1e-4)]
    ['1e-06', '1e-04', '1e-04']
    >>> _power_of_ten(math.inf), _power_of_ten(math.nan)  # a claim that failed, a constant that was not measured
    ('inf', '-')
    """
    if not math.isfinite(difference):
        return "-" if math.isnan(difference) else "inf"
    return f"{10.0 ** math.ceil(math.log10(max(difference, LEAST_DIFFERENCE)) - 1e-9):.0e}"
