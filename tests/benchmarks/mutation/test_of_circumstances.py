"""Mutants by circumstance: all of them can be made, and a seeded sample is rejected."""

from __future__ import annotations

import random

import pytest
from circumstances import CircumstanceMutant, all_mutants, change_source
from of_circumstances import judge, report

import integrator_analysis as ia

MUTANTS = list(all_mutants())
CHEAP = [mutant for mutant in MUTANTS if mutant.spec == "vp/DDIM" and not mutant.narrow]


def test_every_mutant_changes_its_source() -> None:
    sources = {spec: ia.derive(spec).source for spec in {mutant.spec for mutant in MUTANTS}}
    changed = [change_source(sources[mutant.spec], mutant) for mutant in MUTANTS]
    assert len(MUTANTS) >= 150
    assert len(set(changed)) == len(MUTANTS)
    for text in changed:
        compile(text, "mutant", "exec")


@pytest.mark.parametrize(
    "mutant", random.Random(20).sample(CHEAP, 6), ids=lambda mutant: f"{mutant.what}, {mutant.where}"
)
def test_seeded_mutants_are_rejected(mutant: CircumstanceMutant) -> None:
    assert judge(mutant)["claim"] is not None


def test_survivors_are_named() -> None:
    rows = [
        mutant._asdict() | {"claim": claim} for mutant, claim in zip(MUTANTS, ["shapes", None, "growth"], strict=False)
    ]
    page = report(rows)
    assert "**2 of 3 are rejected.**" in page
    assert f"- vp/DDIM, step: the state, {MUTANTS[1].where}." in page
