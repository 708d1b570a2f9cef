"""Certificates hold for the catalogue's source, and fail for every changed coefficient of it."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

import integrator_analysis as ia
from integrator_analysis.files import write_text
from integrator_analysis.verification.bench import Bench
from integrator_analysis.verification.certificate import Certificate
from integrator_analysis.verification.checks.stated_facts import _consistency
from integrator_analysis.verification.walk_claims import EVALUATIONS

SLOW = {"psld/DEIS-tAB2", "psld/DEIS-rhoAB2", "psld/UniPC-eps-2", "psld/anchored-AB2", "psld/DPM-Solver-3"}
SPECS = [spec for spec in ia.catalogue() if spec not in SLOW]
"""The slow ones take a minute together; the report verifies them with the rest."""
EXACT = (
    *("DDIM", "DPM-Solver-2", "DPM-Solver-3", "DPM-Solver++2S", "DPM-Solver++2M", "DPM-Solver++3M", "ERK2"),
    *(
        "EDM-Heun",
        "DEIS-tAB1",
        "DEIS-tAB2",
        "DEIS-tAB3",
        "DEIS-rhoAB2",
        "UniPC-2",
        "UniPC-2-bh1",
        "UniPC-3",
        "UniPC-eps-2",
    ),
)
"""On one block, schemes with B = 0 and Heun in sigma: a constant eps leaves x_0 constant, and either is exact."""
PHASE_SPACE = ("DDIM", "DPM-Solver-2", "DPM-Solver-3", "DEIS-tAB1", "DEIS-tAB2", "DEIS-rhoAB2", "UniPC-eps-2")
"""There x_0 moves while eps rests: those on eps alone."""


@pytest.mark.parametrize("spec", SPECS)
def test_every_catalogue_entry_is_verified(spec: str) -> None:
    integrator = ia.derive(spec)
    certificate = integrator.verify()
    assert [claim for claim in certificate.claims if not claim.passed] == []
    names = {claim.name for claim in certificate.claims}
    blocks = ["f"] if integrator.stochastic else list(integrator.program.blocks)
    expected = {"stated_facts", "nfe_per_step", "log_snr", "predicted_data"}
    expected |= {"gaussian_map", "spectral_radius", "shapes", "shapes[float32]"}
    expected |= {"growth", "gradient", "rows", "rows[log_snr]", "rows[data_weights]", "side_effects"}
    expected |= {f"{kind}[{b}]" for b in blocks for kind in ("order", "constant")}
    expected |= {"walk_evaluations", *(f"gaussian_walk[{n}]" for n in EVALUATIONS)}
    if not integrator.stochastic:
        expected |= {f"mixture_walk[{n}]" for n in EVALUATIONS}
    expected |= {f"rounding[{dtype}]" for dtype in ("float32", "bfloat16")}
    if integrator.program.cycle:
        expected.add("lower_order_row")
    process, scheme = spec.split("/")
    if scheme in (EXACT if process == "vp" else PHASE_SPACE):
        expected.add("exact[constant eps]")
    if "anchored" in spec:
        expected.add("exact[the anchor's Gaussian data]")
    if integrator.local_error.startup:
        expected.add("order_after_startup")
    assert names == expected


def test_a_scheme_that_is_better_than_claimed_fails_too() -> None:
    """The claim is the truth, not a bound: DDIM's source does not pass for Euler's claims, nor the other way."""
    for claimed, given in [("vp/Euler", "vp/DDIM"), ("vp/DDIM", "vp/Euler")]:
        certificate = ia.derive(claimed).verify(source=ia.derive(given).source)
        assert not certificate.claim("constant[x]").passed
        assert certificate.claim("order[x]").passed


def test_an_extra_evaluation_is_noticed() -> None:
    source = ia.derive("psld/RSE").source.replace(
        "eps_0_x, eps_0_m = network(z, t)", "network(z, t)\n    eps_0_x, eps_0_m = network(z, t)"
    )
    certificate = ia.derive("psld/RSE").verify(source=source)
    assert [c.name for c in certificate.claims if not c.passed] == ["nfe_per_step", "walk_evaluations"]


@pytest.mark.parametrize("damage", ["def step(", "return _stack(t, [", "torch.exp("])
def test_source_that_cannot_run_fails_instead_of_raising(damage: str) -> None:
    integrator = ia.derive("vp/DDIM")
    certificate = integrator.verify(source=integrator.source.replace(damage, "nonsense(", 1))
    assert not certificate.passed
    json.dumps(certificate.as_dict())


def test_saved_certificate_is_json_with_evidence(tmp_path: Path) -> None:
    certificate = ia.verify("vp/DDIM")
    data = json.loads(certificate.save(tmp_path / "c.json").read_text())
    assert data["passed"] is True
    assert data["spec"] == "vp/DDIM"
    assert {"source_hash", "terms_hash", "versions", "seed", "device", "dtype"} <= set(data["evidence"])
    assert len(data["evidence"]["errors[x]"]["h"]) == len(data["evidence"]["errors[x]"]["largest_error"])
    for claim in data["claims"]:
        assert {"name", "derived", "measured", "error", "tolerance", "passed", "margin", "problem"} == set(claim)


def test_unwritable_path_is_one_clear_error_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ia.InputError, match="existing, writable folder"):
        Certificate("x", ()).save(tmp_path / "no" / "c.json")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ia.InputError, match="cannot write"):
        write_text(tmp_path / "folder", "text")
    assert [p.name for p in tmp_path.rglob("*")] == ["folder"]


@pytest.mark.parametrize(
    ("spec", "exponents"),
    [
        ("psld(Gamma=0.0, nu=4.0)/RVV", {"x": 3, "m": 2}),
        ("psld(Gamma=0.0, nu=4.0)/DDIM", {"x": 3, "m": 2}),
        ("psld(Gamma=1.0, nu=3.0)/RVV", {"x": 2, "m": 2}),
        ("psld/ABA(reduced)", {"x": 2, "m": 2}),
        ("psld/BAOAB(reduced)", {"f": 2}),
        ("psld/OBABO(reduced)", {"f": 2}),
        ("flow/UniPC-2", {"x": 4}),
        ("flow/DEIS-tAB3", {"x": 5}),
    ],
)
def test_other_parameters_and_words_are_verified_as_derived(spec: str, exponents: dict[str, int]) -> None:
    """Without position noise the h^2 term of the position is gone, and the h^3 term is what is derived and measured."""
    integrator = ia.derive(spec)
    assert integrator.local_error.exponents == exponents
    assert [claim for claim in integrator.verify().claims if not claim.passed] == []


@pytest.mark.parametrize("spec", ["psld(M=1)/NBAOAB", "psld(M=2)/SSCS", "psld(M=0.1)/ROBA"])
def test_weak_constants_are_integrated_off_critical_damping(spec: str) -> None:
    """The larger M, the steeper the score: 16 Gauss-Hermite nodes a block and component fail the first two."""
    assert ia.verify(spec).passed


def test_an_order_below_one_fails_unless_it_is_one_on_purpose() -> None:
    """lambda_s = 0.5 makes a noise that no reverse process has: the certificate says so, and everything else holds."""
    certificate = ia.verify("psld/ROBA(lambda_s=0.5)")
    assert certificate.passed
    assert certificate.claim("order[f]").derived == 0
    assert certificate.claim("consistency").problem == "not consistent, on purpose: lambda_s = 0.5 is not 1"
    bench = Bench(ia.derive("vp/Euler"), ia.derive("vp/Euler").source)
    bench.properties = SimpleNamespace(order=0)
    assert not _consistency(bench).passed
    assert "consistency" not in {claim.name for claim in ia.verify("vp/Euler").claims}
