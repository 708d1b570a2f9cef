"""Orders in tables: both numbers of a scheme whose local error is that of its first steps."""

from __future__ import annotations

from integrator_analysis.report.orders import MeasuredOrder, measured_order
from integrator_analysis.verification.certificate import Claim


def claims(**slopes: float) -> dict[str, Claim]:
    """Claims of orders by name, a bracket written as two underscores."""
    names = {name: name.replace("__", "[") + "]" * ("__" in name) for name in slopes}
    return {names[name]: Claim(names[name], 1, slope, 0.0, 0.1, "any") for name, slope in slopes.items()}


def test_the_order_is_that_of_the_worst_block() -> None:
    assert measured_order(claims(order__x=2.01, order__m=1.0)) == MeasuredOrder(1.0)


def test_the_order_after_the_start_up_and_that_of_the_start_up() -> None:
    """SDE-DPM-Solver++2M has weak order two; its first two steps alone show the first one's, one."""
    found = measured_order(claims(order__f=0.99, order_after_startup=2.0))
    assert found == MeasuredOrder(2.0, 0.99)
    assert found.in_words() == "2.00 (first steps 0.99)"


def test_no_order_was_measured() -> None:
    assert measured_order({}).in_words() == "-"
