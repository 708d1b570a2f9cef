"""The list of checks: what headers say of it, in which order it is measured, and what becomes of a check that fails."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import integrator_analysis as ia
from integrator_analysis.verification import certify, checks
from integrator_analysis.verification.bench import Bench
from integrator_analysis.verification.certificate import Claim

SHARED = {"__init__", "comparison"}
"""Files of checks/ that are no check."""


def test_every_file_of_checks_is_in_the_list() -> None:
    """One file for each check, measured once for deterministic and once for stochastic schemes at the most."""
    files = {path.stem for path in Path(checks.__path__[0]).glob("*.py")} - SHARED
    assert {check.measure.__module__.rpartition(".")[2] for check in certify.CHECKS} == files


@pytest.mark.parametrize("stochastic", [False, True])
def test_headers_name_the_checks_in_the_order_of_a_reader(stochastic: bool) -> None:
    first = ("weak order", "leading weak error") if stochastic else ("order", "leading local error")
    assert certify.check_names(stochastic) == (
        *first,
        "network evaluations per step",
        "default walks",
        "one-step map on Gaussian data",
        "spectral radius for a stiff score",
        "exactness where the step is exact",
        "log-SNR",
        "predicted x_0",
        "loss to rounding in float32 and bfloat16",
        "tensor layout",
        "stated facts",
    )


def test_a_source_that_does_nothing_fails_every_check_under_its_own_name() -> None:
    integrator = ia.derive("vp/DDIM")
    failed = [claim.name for claim in integrator.verify(source="x = 1").claims if not claim.passed]
    assert failed == [
        "stated",
        "evaluations",
        "noise_ratio",
        "predicted_data",
        "maps",
        "stability",
        "rounding",
        "same_step",
        "exactness",
        "walk",
        "local",
    ]


def test_a_check_more_is_a_line_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is measured in its turn, and its title stands in the header at its place."""

    def measure(bench: Bench) -> Iterator[Claim]:
        yield Claim("one_block", 1, len(bench.program.blocks), 0.0, 0.0, "counted")

    more = certify.Check(("number of blocks",), measure, "blocks", place=10)
    monkeypatch.setattr(certify, "CHECKS", (more, *certify.CHECKS))
    integrator = ia.derive("vp/DDIM")
    assert certify.check_names(stochastic=False)[-1] == "number of blocks"
    assert "stated facts; number of blocks" in " ".join(integrator.source.split())
    assert certify.first_failure(integrator, "x = 1").name == "stated"
    assert integrator.verify().claims[0].name == "one_block"
