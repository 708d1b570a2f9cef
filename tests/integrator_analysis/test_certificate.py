"""Certificates hold for the catalogue's source, and fail for every changed coefficient of it."""

from __future__ import annotations

import json
import math
import random
import re
from pathlib import Path

import pytest

import integrator_analysis as ia
from integrator_analysis.certificate import Certificate, write_text

SLOW = {"psld/DEIS-tAB2", "psld/DEIS-rhoAB2", "psld/UniPC-eps-2", "psld/anchored-AB2", "psld/DPM-Solver-3"}
SPECS = [spec for spec in ia.catalogue() if spec not in SLOW]
"""The slow ones take a minute together; the report verifies them with the rest."""
MUTANTS = 10


@pytest.mark.parametrize("spec", SPECS)
def test_every_catalogue_entry_is_verified(spec: str) -> None:
    certificate = ia.verify(spec)
    assert [claim for claim in certificate.claims if not claim.passed] == []
    names = {claim.name for claim in certificate.claims}
    blocks = ["f"] if ia.derive(spec).stochastic else list(ia.derive(spec).program.blocks)
    expected = {"stated_facts", "nfe_per_step", "gaussian_map", "tensor_layout"} | {
        f"{kind}[{b}]" for b in blocks for kind in ("order", "constant")
    }
    if ia.derive(spec).local_error.startup:
        expected.add("order_after_startup")
    assert names == expected


def coefficient_mutants(source: str, count: int, seed: int) -> list[tuple[str, str]]:
    """``count`` distinct sources, each with one coefficient changed where it is computed or where it is used."""
    generator = random.Random(seed)
    start = source.index("def coefficients(")
    lines = source.splitlines(keepends=True)
    offset = source[:start].count("\n")
    assignments = [
        n for n, line in enumerate(lines) if n > offset and re.match(r"    (decay|coupling|weight|noise)\w* = ", line)
    ]
    uses = [
        n for n, line in enumerate(lines) if n > offset and re.search(r"(decay|coupling|weight|noise)\w* \* ", line)
    ]
    changes = {
        "factor": lambda rhs: f"1.001 * ({rhs})",
        "sign": lambda rhs: f"-({rhs})",
        "step": lambda rhs: f"({rhs}) * (t - s)",
        "halved": lambda rhs: f"({rhs}) / 2",
        "offset": lambda rhs: f"({rhs}) + (t - s) ** 2",
        "dropped": lambda rhs: "0.0",
    }
    times = {"start for end": (r"_s\b", "_t"), "end for start": (r"_t\b", "_s")}
    found: dict[str, str] = {}
    while len(found) < count:
        mutated = list(lines)
        kind = generator.choice([*changes, *times, "swap"])
        if kind == "swap":
            n = generator.choice(uses)
            names = re.findall(r"(?:decay|coupling|weight|noise)\w*", mutated[n])
            first, second = generator.sample(names, 2)
            marked = re.sub(rf"\b{first}\b", "@", mutated[n])
            mutated[n] = re.sub(rf"\b{second}\b", first, marked).replace("@", second)
        else:
            n = generator.choice(assignments)
            name, rhs = mutated[n].rstrip("\n").split(" = ", 1)
            new = changes[kind](rhs) if kind in changes else re.sub(*times[kind], rhs)
            mutated[n] = f"{name} = {new}\n"
        text = "".join(mutated)
        # PSLD's beta is constant: exchanging beta_t and beta_s alone changes nothing, an equivalent mutant.
        beta_only = re.sub(r"beta_[ts]", "beta", text) == re.sub(r"beta_[ts]", "beta", source)
        if text != source and not beta_only:
            found[f"{kind}, line {n + 1}"] = text
    return list(found.items())


@pytest.mark.parametrize("spec", ["psld/RVV", "psld/DDIM"])
def test_changed_coefficients_are_rejected(spec: str) -> None:
    integrator = ia.derive(spec)
    survivors = []
    for name, mutant in coefficient_mutants(integrator.source, MUTANTS, seed=1):
        compile(mutant, name, "exec")
        certificate = integrator.verify(source=mutant)
        measured = [c.name for c in certificate.claims if not c.passed and math.isfinite(c.error)]
        if not any(n == "gaussian_map" or n.startswith(("order", "constant")) for n in measured):
            survivors.append(name)
    assert survivors == []


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
    assert [c.name for c in certificate.claims if not c.passed] == ["nfe_per_step"]


@pytest.mark.parametrize("damage", ["def step(", "return decay_x", "math.exp"])
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
