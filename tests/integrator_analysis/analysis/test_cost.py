"""The estimate of an expansion's time: it grows with every size, and what exceeds the budget is refused beforehand."""

from __future__ import annotations

from dataclasses import replace

import pytest

import integrator_analysis as ia
from integrator_analysis.analysis import local_error
from integrator_analysis.analysis.cost import BUDGET, expected_seconds
from integrator_analysis.analysis.local_error import derive_local_error
from integrator_analysis.symbols import InputError


def test_the_estimate_grows_with_order_blocks_evaluations_history_and_noises() -> None:
    program = {spec: ia.derive(spec).program for spec in ("psld/DDIM", "vp/DDIM", "psld/NOBA", "psld/RVV")}
    for p in program.values():
        seconds = [expected_seconds(p, order) for order in range(1, 9)]
        assert seconds == sorted(set(seconds))
    assert expected_seconds(program["psld/DDIM"], 4) > expected_seconds(program["vp/DDIM"], 4)
    assert expected_seconds(program["psld/NOBA"], 4) > expected_seconds(program["psld/RVV"], 4)
    several = ia.derive("psld/NABOBA").program
    assert expected_seconds(several, 4) > expected_seconds(program["psld/NOBA"], 4)
    assert expected_seconds(replace(program["psld/DDIM"], history=2), 4) > expected_seconds(program["psld/DDIM"], 4)


def test_the_catalogue_is_within_the_budget_and_a_high_order_is_not() -> None:
    program = ia.derive("psld/UniPC-eps-2").program
    assert expected_seconds(program, 5) < BUDGET < expected_seconds(program, 9)


def test_what_exceeds_the_budget_is_refused_before_it_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    i = ia.derive("psld/DDIM", budget=0.001)
    monkeypatch.setattr(local_error, "_by_power", None)  # an expansion would fail
    with pytest.raises(InputError, match=r"expected to take about 0\.0\d+ s.*budget=0\.0\d+.*--budget"):
        _ = i.order
    monkeypatch.undo()
    assert derive_local_error(i.program, budget=10.0).order == ia.derive("psld/DDIM").order == 1
