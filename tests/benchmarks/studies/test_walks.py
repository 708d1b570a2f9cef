"""The table of walks in small: two configs, two schemes each, eight evaluations, none worse than the counterpart."""

from __future__ import annotations

import pytest
import walks
from diffusers import FlowMatchEulerDiscreteScheduler

SMALL = [setting for setting in walks.SETTINGS if setting.name in ("SD 1.x, trailing", "SD3")]
PAIRS = {
    "vp": [pair for pair in walks.PAIRS["vp"] if pair.scheme in ("DDIM", "DPM-Solver++2M")],
    "flow": [pair for pair in walks.PAIRS["flow"] if pair.scheme in ("Euler", "UniPC-2")],
}


def test_walks_are_no_worse_than_those_of_diffusers() -> None:
    rows = list(walks.measure_all(SMALL, PAIRS, [8]))
    assert len([row for row in rows if row["ratio"] is not None]) == 4
    assert [row for row in rows if walks.judge_row(row)] == []
    page = walks.report(rows, SMALL, [8])
    assert "**0 of 4 cells" in page
    assert page.count("| flow/Euler | FlowMatchEulerDiscreteScheduler | ") == 1


ROW = {"config": "c", "scheme": "s", "counterpart": "k", "budget": 8}


@pytest.mark.parametrize(
    ("ours", "theirs", "ratio", "why"),
    [
        ({"error": 0.102, "evaluations": 8}, {"error": 0.1, "evaluations": 8}, 1.019, None),
        ({"error": 0.103, "evaluations": 8}, {"error": 0.1, "evaluations": 8}, 1.03, "1.030 times"),
        ({"error": 0.05, "evaluations": 7}, {"error": 0.1, "evaluations": 8}, 0.5, "7 evaluations for 8"),
        ({"refused": "no"}, {"error": 0.1, "evaluations": 8}, None, "refused"),
        ({"error": 0.1, "evaluations": 8}, {"refused": "no"}, None, None),
    ],
)
def test_a_cell_is_wrong_where_it_is_worse_or_has_other_evaluations(ours, theirs, ratio, why) -> None:
    row = ROW | {"ours": ours, "theirs": theirs, "ratio": ratio}
    assert walks.judge_row(row) == why
    assert walks.cell(row).startswith("**") == (why is not None)


def test_a_counterpart_without_a_key_of_the_config_is_named() -> None:
    ltx = next(setting for setting in walks.SETTINGS if setting.name == "LTX")
    assert [walks.why_no_counterpart(ltx, pair) for pair in walks.PAIRS["flow"][:3]] == [
        None,
        "FlowMatchHeunDiscreteScheduler has no use_dynamic_shifting",
        "DPMSolverMultistepScheduler has no shift_terminal",
    ]


def test_the_grid_of_mochi_is_linear_then_quadratic() -> None:
    """Sigmas from 1: half of the steps share the threshold, the rest grows quadratically towards 0, smoothly."""
    scheduler = FlowMatchEulerDiscreteScheduler(invert_sigmas=True)
    sigmas = walks.lay_as_mochi(scheduler.config, 10)["sigmas"]
    assert sigmas[:6] == pytest.approx([1 - 0.005 * i for i in range(6)])
    steps = -(sigmas[1:] - sigmas[:-1])
    assert steps[5:-1] - steps[6:] == pytest.approx([steps[5] - steps[6]] * 3)
    assert sigmas[-1] - steps[-1] + (steps[-2] - steps[-1]) == pytest.approx(0)


@pytest.mark.parametrize(("tokens", "mu"), [(256, 0.5), (4096, 1.15)])
def test_mu_meets_its_ends(tokens: int, mu: float) -> None:
    flux = next(setting for setting in walks.SETTINGS if setting.name == "Flux")
    assert walks.shift_of(flux.config, tokens) == pytest.approx(mu)
