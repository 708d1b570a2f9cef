"""The estimate of an expansion's time: it grows with every size, and what exceeds the budget is refused beforehand."""

from __future__ import annotations

from dataclasses import replace

import pytest

import integrator_analysis as ia
from integrator_analysis.analysis.accuracy import local_error
from integrator_analysis.analysis.accuracy.cost import BUDGET, expected_seconds
from integrator_analysis.analysis.accuracy.local_error import derive_local_error
from integrator_analysis.inputs import InputError


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


def test_the_estimate_by_hand() -> None:
    """(1 + evaluations + kept ones) (0.003 order + s (1 + noises of all expanded steps)), s = 0.04 at order five.

    One block and one order more: a factor of 2.5; two blocks: 17 at order five and 2.5 * 3.2 an order; an eighth on
    a score without noise.
    """
    one, kept, two = (ia.derive(f"vp/{name}").program for name in ("EM", "SDE-DPM-Solver++2M", "Euler"))
    assert expected_seconds(one, 5) == pytest.approx(2 * (0.015 + 0.04 * 2))
    assert expected_seconds(kept, 6) == pytest.approx(3 * (0.018 + 0.04 * 2.5 * (1 + 2)))
    assert expected_seconds(two, 5) == pytest.approx(2 * (0.015 + 0.04 / 8))
    assert expected_seconds(ia.derive("psld/NOBA").program, 4) == pytest.approx(3 * (0.012 + 0.04 * 17 / 8 * (1 + 2)))


def test_the_catalogue_is_within_the_budget_and_a_high_order_is_not() -> None:
    program = ia.derive("psld/UniPC-eps-2").program
    assert expected_seconds(program, 5) < BUDGET < expected_seconds(program, 9)


def test_what_exceeds_the_budget_is_refused_before_it_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    i = ia.derive("psld/DDIM", budget=0.001)
    monkeypatch.setattr(local_error, "_error_by_power", None)  # an expansion would fail
    with pytest.raises(InputError, match=r"expected to take about 0\.0\d+ s.*budget=0\.0\d+.*--budget"):
        _ = i.order
    monkeypatch.undo()
    assert derive_local_error(i.program, budget=10.0).order == ia.derive("psld/DDIM").order == 1
