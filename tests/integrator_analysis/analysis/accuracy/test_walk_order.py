"""The order of whole walks: as derived from the first steps, against exact errors on Gaussian data."""

from __future__ import annotations

import math

import pytest

import integrator_analysis as ia
from integrator_analysis.analysis.accuracy.walk_order import WalkOrder
from torch_backend.walk.start_up import grid_with_start


@pytest.mark.parametrize(
    ("spec", "order"),
    [
        ("vp/RK4", WalkOrder(4)),
        ("vp/DPM-Solver++2M", WalkOrder(2, (1,))),
        ("vp/DEIS-tAB3", WalkOrder(4, (1, 2, 3))),
        ("vp/UniPC-2", WalkOrder(3, (2,), mends=True)),
        ("vp/SDE-DPM-Solver++2M", WalkOrder(2, (1,))),
        ("psld/SPS-2M", WalkOrder(2)),  # it makes its past in a step of no length
    ],
)
def test_the_first_steps_have_the_orders_of_their_polynomials(spec: str, order: WalkOrder) -> None:
    assert ia.derive(spec).walk_order == order


def measured(spec: str, start: str, steps: tuple[int, int]) -> float:
    """The slope of the exact error in the variance of N(0.3, 0.2) between two numbers of equal steps."""
    integrator, errors = ia.derive(spec), []
    for n in steps:
        times = grid_with_start(
            "uniform", n, 0.6, 0.1, None, start, spec=spec, order=integrator.order, history=integrator.program.history
        )
        errors.append(abs(integrator.gaussian_error(times, 0.3, 0.2).covariance).max())
    return math.log(errors[0] / errors[1]) / math.log(steps[1] / steps[0])


def test_a_graded_start_keeps_the_order_that_a_plain_one_loses() -> None:
    order = ia.derive("vp/DEIS-tAB3").walk_order
    assert (order.plain, order.graded) == (2, 4)
    assert measured("vp/DEIS-tAB3", "plain", (160, 320)) == pytest.approx(order.plain, abs=0.15)
    assert measured("vp/DEIS-tAB3", "graded", (160, 320)) == pytest.approx(order.graded, abs=0.15)


def test_a_predictor_corrector_keeps_its_order_from_a_plain_start() -> None:
    """Its first step is corrected to order two; its final orders are not lowered here."""
    order = ia.derive("vp/UniPC-2").walk_order
    assert (order.step, order.plain, order.lowered) == (3, 3, 2)
    assert measured("vp/UniPC-2", "plain", (160, 320)) == pytest.approx(order.plain, abs=0.15)


def test_words_say_both_orders_and_why() -> None:
    assert ia.derive("vp/DEIS-tAB3").walk_order.in_words() == (
        "The first steps have orders 1, 2, 3, and each adds its error once: a walk from a plain start has order 2, "
        "from a graded start 4."
    )
    assert "final orders are lowered" in WalkOrder(3, (2,), mends=True).in_words()
