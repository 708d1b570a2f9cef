"""Walk claims: values by hand, the law at the end by another way, and wrong walks, each of which is rejected."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

import integrator_analysis as ia
from integrator_analysis.verification.bench import GAUSSIAN, SEED, Bench
from integrator_analysis.verification.certificate import Claim
from integrator_analysis.verification.checks import walk_error
from integrator_analysis.verification.derived_walk import default_walk, follow_walk
from integrator_analysis.verification.exact_mixture import ExactMixture
from torch_backend.measuring import walks


@cache
def derived(spec: str) -> ia.Integrator:
    return ia.derive(spec)


def claims_of(spec: str, source: str | None = None) -> list[Claim]:
    return list(walk_error.measure(Bench(derived(spec), derived(spec).source if source is None else source)))


def failing(spec: str, source: str | None = None) -> set[str]:
    return {claim.name for claim in claims_of(spec, source) if not claim.passed}


@pytest.mark.parametrize("evaluations", [3, 5])
def test_ddim_on_gaussian_data_by_hand(evaluations: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """z = a x_0 + s e, steps on the quadratic grid to t_min, and there the posterior mean: all multiply deviations."""
    variance = GAUSSIAN[1]
    last = math.sqrt(1e-3)
    times = [(1 + (last - 1) * i / (evaluations - 1)) ** 2 for i in range(evaluations)]
    alpha = [math.exp(-(0.1 * t + 19.9 * t**2 / 2) / 2) for t in times]
    sigma = [math.sqrt(1 - a**2) for a in alpha]
    total = [a**2 * variance + s**2 for a, s in zip(alpha, sigma, strict=True)]
    deviation = math.sqrt(total[0])  # of z from its mean a m, which every step keeps: eps is 0 there
    for (a, b), (s, r), whole in zip(pairwise(alpha), pairwise(sigma), total, strict=False):
        deviation *= b / a + (r - b * s / a) * s / whole
    deviation *= alpha[-1] * variance / total[-1]
    monkeypatch.setattr(walk_error, "EVALUATIONS", (evaluations,))
    claim, *_ = claims_of("vp/DDIM")
    assert claim.name == f"gaussian_walk[{evaluations}]"
    assert claim.derived == pytest.approx(abs(deviation - math.sqrt(variance)), rel=1e-11)
    assert claim.measured == pytest.approx(claim.derived, rel=1e-11)
    assert claim.passed


@pytest.mark.parametrize(
    "spec", ["vp/UniPC-3", "vp/DDIM-eta", "psld/RVV", "psld/SPS-2M", "flow/DPM-Solver++2M", "flow/EM"]
)
def test_the_distance_is_that_of_the_derived_error(spec: str) -> None:
    """``gaussian_error`` carries moments, and ends with the posterior mean by conditioning."""
    i = derived(spec)
    for claim in claims_of(spec):
        if claim.name.startswith("gaussian_walk"):
            walk = default_walk(i, int(claim.name[14:-1]))
            error = i.gaussian_error(walk.times, *GAUSSIAN, lower_order_final=walk.lowered)
            assert claim.derived == pytest.approx(math.sqrt(error.squared_distances[0]), rel=1e-9)


@pytest.mark.parametrize(
    "spec",
    [
        *("vp/UniPC-2", "vp/SDE-DPM-Solver++2M", "vp/RK4", "psld/anchored-DDIM", "psld/SPS-2M", "cld/SSCS"),
        *(
            "flow/Euler",
            "flow/EDM-Heun",
            "flow/DPM-Solver-2",
            "edm/DPM-Solver++3M",
            "edm/EM",
            "ve/DEIS-tAB2",
            "subvp/DDIM",
            "vp_cosine/UniPC-2",
        ),
        *("ddpm/DPM-Solver++2M", "psld/conjugate(B=lambda*diag(1, 2), lambda=0.3)"),
    ],
)
def test_right_walks_pass(spec: str) -> None:
    assert failing(spec) == set()


@pytest.mark.parametrize(
    ("spec", "evaluations"),
    [("vp/DDIM", "5, 8, 10, 20, 50"), ("psld/RVV", "5, 7, 9, 19, 49"), ("vp/RK4", "5, 5, 9, 17, 49"),
     ("psld/SPS-2M", "5, 8, 10, 20, 50")],
)  # fmt: skip
def test_a_walk_makes_as_many_evaluations_as_it_may(spec: str, evaluations: str) -> None:
    """Steps of 1, 2 and 4 evaluations and one at the end; SPS-2M makes one at the start, and so a step less."""
    claim = claims_of(spec)[-1]
    assert (claim.name, claim.derived, claim.measured, claim.passed) == (
        "walk_evaluations",
        evaluations,
        evaluations,
        True,
    )


WEIGHTS = "\n\nright = data_weights\n\n\ndef data_weights(t):\n    return {} * torch.as_tensor(right({} * t))\n"
"""Appended to a source: other weights of the predicted x_0."""
STEP = "\n\nright_step = step\n\n\ndef step(z, t, s, c, *rest):\n    return right_step(z, t, s, {}, *rest)\n"
"""Appended to a source: the step with other coefficients."""
CHANGES: dict[str, tuple[str, str, str]] = {
    "weights of the predicted x_0": ("vp/DDIM", "", WEIGHTS.format(1.0001, 1)),
    "weights at another time": ("vp/DDIM", "", WEIGHTS.format(1, 1.1)),
    "grid": ("vp/DDIM", 'GRID = "quadratic"', 'GRID = "uniform"'),
    "end of the grid": ("vp/DPM-Solver++2M", "T_MIN = 0.001", "T_MIN = 0.0011"),
    "start of the grid": ("vp/SSCS", "T_MAX = 1.0", "T_MAX = 0.99"),
    "first step": ("vp/Heun", "", STEP.format("c * (1 + 1e-6 * (float(t) == T_MAX))")),
    "last step": ("psld/RVV", "", STEP.format("c * (1 + 1e-6 * (float(s) <= 1.01 * T_MIN))")),
    "last step of a stochastic scheme": ("vp/DDIM-eta", "", STEP.format("c * (1 + 1e-6 * (float(s) <= 1.01 * T_MIN))")),
    "final orders of a predictor-corrector": ("vp/UniPC-3", "MENDS = True", "MENDS = False"),
    "no evaluation at the start": ("psld/SPS-2M", "PRIMED = True", "PRIMED = False"),
    "past of another length": ("vp/DPM-Solver++3M", "HISTORY = 2", "HISTORY = 1"),
}  # fmt: skip
"""What is wrong -> scheme, text before, text after; no text before where it is appended."""


@pytest.mark.parametrize("name", CHANGES)
def test_a_wrong_walk_of_a_source_is_rejected(name: str) -> None:
    spec, before, after = CHANGES[name]
    source = derived(spec).source
    assert before in source
    wrong = source.replace(before, after, 1) if before else source + after
    try:
        assert {f"gaussian_walk[{n}]" for n in walk_error.EVALUATIONS[1:4]} <= failing(spec, wrong)
    except (IndexError, ValueError, TypeError):  # it cannot even be walked, which is a claim that fails
        assert name == "past of another length"


def drop_a_time(*args: Any) -> list[float]:
    times = RIGHT["choose_times"](*args)
    return [*times[:1], *times[2:]]


def end_at_t_min(*args: Any) -> list[float]:
    return RIGHT["choose_times"](*args)[:-1]


def keep_the_order(facts: Any, times: list[float]) -> torch.Tensor:
    return RIGHT["tabulate_scheme"](facts, times, lower_order_final=False)


def forget_the_past(facts: Any, times: list[float]) -> torch.Tensor:
    rows = [RIGHT["tabulate_scheme"](facts, [t, s], lower_order_final=False) for t, s in pairwise(times[:-1])]
    return torch.cat(rows)


def end_with_the_state(*args: Any) -> Callable[..., torch.Tensor]:
    def ending(z: torch.Tensor, t: torch.Tensor, network: Any) -> torch.Tensor:
        network(z, t)
        return z

    return ending


RIGHT = {name: getattr(walks, name) for name in ("choose_times", "tabulate_scheme", "choose_ending")}


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("choose_times", drop_a_time),
        ("choose_times", end_at_t_min),
        ("tabulate_scheme", keep_the_order),
        ("tabulate_scheme", forget_the_past),
        ("choose_ending", end_with_the_state),
    ],
)
@pytest.mark.parametrize("spec", ["vp/DPM-Solver++3M", "vp/UniPC-3"])
def test_a_wrong_loop_is_rejected(spec: str, name: str, wrong: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop that users get is measured too, not the source alone."""
    monkeypatch.setattr(walks, name, wrong)
    assert {"gaussian_walk[8]", "mixture_walk[8]"} <= failing(spec)


def test_a_walk_that_leaves_the_finite_numbers_does_what_was_derived() -> None:
    """lambda = 0.5 per unit of time is absurd where time is counted to 1000: every step multiplies by 1e23."""
    claims = claims_of("ddpm/lambda-DDIM-I")
    assert not math.isfinite(claims[-3].derived)
    assert not math.isfinite(claims[-3].measured)
    assert [claim.name for claim in claims if not claim.passed] == []


def test_a_stochastic_scheme_has_no_claim_on_the_mixture_and_says_so() -> None:
    bench = Bench(derived("vp/EM"), derived("vp/EM").source)
    names = {claim.name for claim in walk_error.measure(bench)}
    assert not any(name.startswith("mixture_walk") for name in names)
    assert "stochastic" in bench.evidence["walks"]["not_claimed"]["mixture_walk"]


def test_no_claim_is_made_of_a_walk_that_takes_more_than_it_is_given() -> None:
    i = ia.derive("psld/conjugate(B=table)")
    bench = Bench(i, i.source)
    assert list(walk_error.measure(bench)) == []
    assert set(bench.evidence["walks"]["not_claimed"]) == {"gaussian_walk", "mixture_walk"}
    assert "takes a B for every step" in bench.evidence["walks"]["not_claimed"]["gaussian_walk"]


def test_a_walk_without_a_step_of_the_scheme_is_not_claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    """RK4 makes four evaluations a step, and one is needed at the end."""
    monkeypatch.setattr(walk_error, "EVALUATIONS", (4, 5))
    bench = Bench(derived("vp/RK4"), derived("vp/RK4").source)
    assert [claim.name for claim in walk_error.measure(bench)][:2] == ["gaussian_walk[5]", "mixture_walk[5]"]
    assert set(bench.evidence["walks"]["not_claimed"]) == {"gaussian_walk[4]", "mixture_walk[4]"}


@pytest.mark.parametrize("spec", ["vp/DDIM", "psld/RVV", "edm/DDIM", "flow/DDIM", "psld/DPM-Solver++2M"])
def test_the_network_is_that_of_the_exact_score_and_its_derivative_is_autograds(spec: str) -> None:
    bench = Bench(derived(spec), derived(spec).source)
    for share in (0.02, 0.4, 0.95):
        time = share * bench.process.t_max
        z = bench.problem.sample(3, time, SEED)
        jacobian, output = ExactMixture.of(bench.problem).linearise(time, z)
        t = torch.full((1,), time, dtype=torch.float64)
        for point, slope, value in zip(z, jacobian, output, strict=True):
            start = torch.from_numpy(point)[None]
            assert value == pytest.approx(bench.network(start, t)[0].numpy(), rel=1e-10, abs=1e-10)
            found = torch.autograd.functional.jacobian(lambda y, t=t: bench.network(y, t), start)[0, :, 0]
            assert slope == pytest.approx(found.numpy(), rel=1e-8, abs=1e-8)


def test_where_rectified_flow_begins_the_network_returns_the_mean_velocity() -> None:
    """At t = 1 the state is noise, and the velocity e - x_0 has the mean z - E x_0."""
    problem = Bench(derived("flow/Euler"), "").problem
    z = np.array([[0.3], [-2.0]])
    mean = float(np.dot(problem.weights, problem.means))
    jacobian, output = ExactMixture.of(problem).linearise(1.0, z)
    assert output == pytest.approx(z - mean, rel=1e-14)
    assert jacobian == pytest.approx(np.ones((2, 1, 1)), rel=1e-14)


@pytest.mark.parametrize("process", ["vp", "psld"])
def test_the_flow_ends_where_the_finest_solver_does(process: str) -> None:
    problem = Bench(derived(f"{process}/DDIM"), "").problem
    z = problem.sample(4, 1.0, SEED)
    assert ExactMixture.of(problem).solve(z, 1.0) == pytest.approx(problem.solve(z, 1.0, [0.0])[0, :, 0], abs=1e-7)


@pytest.mark.parametrize("spec", ["vp/UniPC-2", "psld/RVV", "psld/DDIM"])
def test_steps_that_are_off_move_the_end_by_no_more_than_the_bound(spec: str) -> None:
    """Every coefficient of every step is off by up to 1e-9 of itself, and so are the factors of the ending."""
    i, rng = derived(spec), np.random.default_rng(SEED)
    law = ExactMixture.of(Bench(i, "").problem)
    walk = default_walk(i, 10)
    z = law.problem.sample(8, walk.times[0], SEED)
    noise = np.zeros((walk.steps - 1, 0, len(z)))
    weights = law.numbers.weights_of_data(walk.times[-2])
    right = follow_walk(i.table, walk, law.linearise, weights, z, noise, (1e-9, 1e-9))

    class Off:
        names, program = i.table.names, i.table.program

        def __call__(self, *args: Any) -> list[float]:
            return [value * (1 + 1e-9 * rng.uniform(-1, 1)) for value in i.table(*args)]

    off = weights * (1 + 1e-9 * rng.uniform(-1, 1, len(weights)))
    moved = follow_walk(Off(), walk, law.linearise, off, z, noise, (1e-9, 1e-9)).position - right.position
    assert np.all(np.abs(moved) <= right.bound)
    assert np.abs(moved).max() > 1e-3 * right.bound.min()
