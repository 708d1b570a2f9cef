"""What a checkout keeps of a report: the same text on machines that round differently, and nothing else changed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

import integrator_analysis as ia
from integrator_analysis.report import renewal
from integrator_analysis.verification.certificate import Certificate

SPECS = ("vp/DDIM", "vp/EM")


@pytest.fixture(scope="module")
def certificates() -> dict[str, Certificate]:
    return {spec: ia.verify(spec) for spec in SPECS}


def on_another_machine(value: object) -> object:
    """A measured number as other kernels and another BLAS give it: the last digits differ, far below any tolerance."""
    if isinstance(value, dict):
        return {key: entry if key == "h" else on_another_machine(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [on_another_machine(entry) for entry in value]
    return value * (1 + 1e-12) if isinstance(value, float) else value


def test_a_kept_certificate_is_the_same_text_on_another_machine(certificates: dict[str, Certificate]) -> None:
    for found in certificates.values():
        claims = tuple(
            replace(claim, measured=on_another_machine(claim.measured), error=3 * claim.error)
            if claim.error < 0.03 * claim.tolerance
            else claim
            for claim in found.claims
        )
        evidence = {
            name: on_another_machine(value) if name.startswith("errors[") else value
            for name, value in found.evidence.items()
        }
        other = replace(found, claims=claims, evidence=evidence)
        assert other.as_json() != found.as_json()
        assert renewal.rounded_certificate(other).as_json() == renewal.rounded_certificate(found).as_json()


def test_a_kept_certificate_has_the_same_verdicts_and_can_be_loaded(
    certificates: dict[str, Certificate], tmp_path: Path
) -> None:
    found = certificates["vp/DDIM"]
    failing = replace(found, claims=(*found.claims[:-1], replace(found.claims[-1], error=1.0)))
    for certificate in (found, failing):
        kept = Certificate.load(renewal.rounded_certificate(certificate).save(tmp_path / "kept.json"))
        assert [claim.passed for claim in kept.claims] == [claim.passed for claim in certificate.claims]
        assert all(now.error >= before.error for now, before in zip(kept.claims, certificate.claims, strict=True)), (
            "a bound is not below the error"
        )
        kept.check_source(ia.derive("vp/DDIM").source)


def test_what_a_checkout_keeps_is_renewed_and_what_it_no_longer_needs_is_removed(
    certificates: dict[str, Certificate], tmp_path: Path
) -> None:
    integrators = {spec: ia.derive(spec) for spec in SPECS}
    output, kept = tmp_path / "build", tmp_path / "reports"
    for folder in (output / "figures", kept / "certificates", kept / "figures", tmp_path / "docs"):
        folder.mkdir(parents=True)
    (output / "figures" / "shown.png").write_bytes(b"new")
    (output / "figures" / "other.png").write_bytes(b"other")
    (kept / "certificates" / "vp_gone.json").write_text("{}")
    (tmp_path / "README.md").write_text("![a picture](reports/figures/shown.png)\n")
    (tmp_path / "docs" / "catalogue.md").write_text(f"before\n{renewal.MARKS[0]}\nold\n{renewal.MARKS[1]}\nafter\n")

    changed = renewal.renew(tmp_path, output, integrators, certificates)
    assert sorted(str(path.relative_to(tmp_path)) for path in changed) == [
        "docs/catalogue.md",
        "reports/certificates/vp_DDIM.json",
        "reports/certificates/vp_EM.json",
        "reports/certificates/vp_gone.json",
        "reports/figures/shown.png",
    ]
    page = (tmp_path / "docs" / "catalogue.md").read_text()
    assert page.startswith("before\n")
    assert page.endswith("after\n")
    assert "| vp/DDIM | 1 | 1 | 1.00 | 1 | x: " in page
    assert not (kept / "certificates" / "vp_gone.json").exists()
    assert [path.name for path in (kept / "figures").iterdir()] == ["shown.png"]
    assert renewal.renew(tmp_path, output, integrators, certificates) == []


def test_only_a_checkout_can_be_renewed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(
        renewal, "__file__", str(tmp_path / "site-packages" / "integrator_analysis" / "report" / "x.py")
    )
    with pytest.raises(ia.InputError, match="is no checkout"):
        renewal.checkout()


def test_the_kept_certificates_are_those_of_the_catalogue_and_passed() -> None:
    folder = Path(renewal.__file__).parents[2] / "reports" / "certificates"
    kept = {json.loads(path.read_text(encoding="utf-8"))["spec"]: path for path in folder.glob("*.json")}
    assert set(kept) == set(ia.catalogue())
    assert all(Certificate.load(path).passed for path in kept.values())
