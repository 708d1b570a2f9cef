"""The main job on two schemes: every file the page links exists, and a failed verification is reported as such."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from integrator_analysis.report import build

SPECS = ("vp/DDIM", "vp/EM")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("report") / "reports"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "DIGITS_SAMPLES", 16)
        patch.setattr(build.os, "cpu_count", lambda: 1)  # two certificates are made sooner than two processes start
        patch.setattr("integrator_analysis.report.pictures.stability.POINTS", 6)
        patch.setattr("integrator_analysis.report.pictures.global_error.GLOBAL_STEPS", (16, 32, 64))
        assert build.build_report(output, Console(quiet=True), SPECS)
    return output


def test_the_page_links_only_what_exists(report: Path) -> None:
    page = (report / "index.html").read_text(encoding="utf-8")
    links = re.findall(r'(?:href|src)="([^"#][^"]*)"', page)
    assert any(link.endswith("vp_DDIM.py") for link in links)
    assert [link for link in links if not (report / link).resolve().exists()] == []
    assert "2 of 2 schemes" in page


def test_certificates_digits_and_table(report: Path) -> None:
    assert sorted(p.name for p in (report / "certificates").iterdir()) == ["vp_DDIM.json", "vp_EM.json"]
    digits = json.loads((report / "digits.json").read_text())
    assert {(r["spec"], r["budget"]) for r in digits["records"]} == {(s, b) for s in SPECS for b in (10, 20, 50, 100)}
    assert {r["spec"] for r in digits["records"] if r["trajectory_rmse"] is not None} == {"vp/DDIM"}
    table = (report / "catalogue.md").read_text()
    assert re.search(r"\| vp/DDIM \| 1 \| 1 \| (1\.00|0\.99|1\.01) \| 1 \| x: ", table)


def test_a_failing_claim_fails_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "DIGITS_SAMPLES", 8)
    monkeypatch.setattr("integrator_analysis.report.pictures.stability.POINTS", 4)
    monkeypatch.setattr("integrator_analysis.report.pictures.global_error.GLOBAL_STEPS", (16, 32, 64))
    monkeypatch.setattr(build, "certificates", _failing)
    assert not build.build_report(tmp_path, Console(quiet=True), ("vp/DDIM",))
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "0 of 1 schemes" in page
    assert "what failed" in page


def test_what_a_checkout_keeps_is_renewed_from_the_whole_catalogue_alone(tmp_path: Path) -> None:
    with pytest.raises(build.ia.InputError, match="whole catalogue"):
        build.build_report(tmp_path / "report", Console(quiet=True), ("vp/DDIM",), renewed=tmp_path)
    assert not list(tmp_path.iterdir())


def test_nothing_is_renewed_where_a_claim_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stages are left out: what is tested comes after them."""
    (failed,) = _failing(["vp/DDIM"])
    monkeypatch.setattr(build.ia, "catalogue", lambda: ["vp/DDIM"])
    monkeypatch.setattr(build, "FEATURED", ("vp/DDIM",))
    monkeypatch.setattr(build, "differences", lambda *_: [])
    monkeypatch.setattr(build, "_verify", lambda run: run.certificates.update({"vp/DDIM": failed}))
    monkeypatch.setattr(build, "draw_analysis", lambda *_: {})
    monkeypatch.setattr(build, "_sample_digits", lambda run: None)
    monkeypatch.setattr(build, "render_page", lambda run: "")
    monkeypatch.setattr(build, "renew", lambda *_: pytest.fail("renewed"))
    assert not build.build_report(tmp_path / "report", Console(quiet=True), renewed=tmp_path)


def _failing(specs: Sequence[str], **_: object) -> Iterator[build.Certificate]:
    for spec in specs:
        certificate = build.ia.verify(spec)
        broken = replace(certificate.claims[0], error=1.0)
        yield replace(certificate, claims=(broken, *certificate.claims[1:]))


def test_one_picture_is_of_one_process_with_one_set_of_parameters() -> None:
    from integrator_analysis.report.pictures.global_error import convergence_figure

    specs = ("psld/RVV", "psld(Gamma=0.02, nu=4.02)/RVV")
    with pytest.raises(build.ia.InputError, match="different processes or parameters"):
        convergence_figure({spec: build.ia.derive(spec) for spec in specs})
