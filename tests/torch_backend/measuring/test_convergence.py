"""Order and constant estimates on sequences whose order and constant are known, floors and divergence included."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t as student

from torch_backend.measuring import convergence
from torch_backend.measuring.convergence import ConvergenceError, leading_constant, observed_order

HALVINGS = 0.5 ** np.arange(1, 13)


# --- order -----------------------------------------------------------------------------------------------------------


@settings(max_examples=200, derandomize=True, deadline=None)
@given(
    order=st.sampled_from([1, 2, 3, 4]), constant=st.floats(1e-2, 1e2), second=st.floats(-1, 1),
    ratio=st.sampled_from([0.5, 0.6, 0.7]), seed=st.integers(0, 2**31),
)  # fmt: skip
def test_the_order_is_found_above_a_rounding_floor(order, constant, second, ratio, seed):
    h = 0.25 * ratio ** np.arange(14)
    noise = 1e-14 * np.random.default_rng(seed).standard_normal(len(h))
    estimate = observed_order(h, abs(constant * h**order * (1 + second * h) + noise))
    assert abs(estimate.order - order) < 0.15
    # An interval of 95 % may miss; even in the worst case searched for, by little.
    assert estimate.low - 0.01 <= order <= estimate.high + 0.01


def test_a_pure_power_gives_a_point():
    estimate = observed_order(HALVINGS, 3 * HALVINGS**2)
    assert estimate.order == pytest.approx(2, abs=1e-12)
    assert estimate.high - estimate.low < 1e-9
    assert estimate.window == (0, 12)


def test_points_before_the_asymptotic_regime_are_dropped():
    """Errors that saturate at coarse steps: the first slopes are near zero, the last near two."""
    estimate = observed_order(HALVINGS, HALVINGS**2 / (HALVINGS**2 + 1e-3))
    assert estimate.window[0] >= 5
    assert estimate.window[1] == 12
    assert estimate.low <= 2 <= estimate.high


def test_slopes_that_are_on_their_way_at_the_rounding_floor_are_extrapolated():
    """h^4 (1 + 300 h): at the last point above rounding the slope has fallen from 4.8 to 4.10, by 0.08 at last."""
    h = 0.016 * 2.0 ** -np.arange(11)
    error = h**4 * (1 + 300 * h)
    assert (-np.diff(np.diff(np.log(error)) / np.diff(np.log(h)))[:5] > 0.07).all()
    error[7:] = 1e-15  # rounding
    found = observed_order(h, error, tolerance=0.05, floor=1e-14)
    assert abs(found.order - 4) < 0.05
    assert found.low < 4 < found.high
    with pytest.raises(ConvergenceError):  # neither slopes nor their limits agree
        observed_order(h, error * (1 + 0.3 * (-1) ** np.arange(11)), tolerance=0.05, floor=1e-14)


def test_the_rounding_floor_is_dropped():
    errors = HALVINGS**4 + 3e-13
    estimate = observed_order(HALVINGS, errors)
    assert estimate.window[1] < 12
    assert estimate.low <= 4 <= estimate.high
    estimate = observed_order(HALVINGS, np.where(errors < 1e-10, 0, errors))
    assert estimate.low <= 4 <= estimate.high


def test_a_float32_floor_is_a_matter_of_saying_so():
    errors = HALVINGS**2 + 1e-5 * np.abs(np.sin(np.arange(12)))
    assert abs(observed_order(HALVINGS, errors, floor=1e-4).order - 2) < 0.15
    with pytest.raises(ConvergenceError):
        observed_order(HALVINGS, errors)


def test_two_regimes_are_read_at_the_fine_end():
    """h^2 down to h = 1/32, then h: the order is one, however long the first regime is."""
    h = 0.5 ** np.arange(16)
    estimate = observed_order(h, h**2 + 0.03 * h)
    assert abs(estimate.order - 1) < 0.1
    assert estimate.window[1] == 16


def test_a_stall_above_the_floor_is_order_zero():
    """The sampler that converges to the wrong limit: never the order of its first steps."""
    assert abs(observed_order(HALVINGS, 0.5 + HALVINGS).order) < 0.1


def test_divergence_has_a_negative_order():
    estimate = observed_order(HALVINGS, 1e-3 / HALVINGS)
    assert estimate.order == pytest.approx(-1, abs=1e-12)
    assert estimate.high < 0


def test_the_end_points_alone_prove_nothing():
    """From 1e-2 to 1e-4 over a factor 100 in h, by errors that wander: an end-point slope would read order one."""
    h = np.geomspace(1, 0.01, 5)
    with pytest.raises(ConvergenceError, match=r"no asymptotic window.*the slopes are"):
        observed_order(h, [1e-2, 9e-3, 2e-4, 8e-4, 1e-4])


@pytest.mark.parametrize(
    "errors",
    [
        np.full(12, 1e-14),  # exact at every step size
        1e-14 / HALVINGS**0.5,  # rounding that grows with the number of steps
        np.zeros(12),
        np.where(HALVINGS < 0.01, np.inf, HALVINGS),  # overflow at the fine end
        np.where(HALVINGS < 0.01, np.nan, HALVINGS),
    ],
)
def test_no_window(errors):
    with pytest.raises(ConvergenceError):
        observed_order(HALVINGS, errors)


def test_overflow_at_coarse_steps_is_dropped():
    estimate = observed_order(HALVINGS, np.where(HALVINGS > 0.1, np.inf, HALVINGS**3))
    assert estimate.order == pytest.approx(3, abs=1e-12)
    assert estimate.window == (3, 12)


def test_the_interval_holds_the_order_under_noise():
    """Relative noise of 2 % on the errors, eight points: the interval misses in at most 5 % of 1000 seeded runs."""
    h, missed = 0.5 ** np.arange(8), 0
    for seed in range(1000):
        noise = 1 + 0.02 * np.random.default_rng(seed).standard_normal(8)
        estimate = observed_order(h, 0.3 * h**2 * noise, tolerance=0.5)
        missed += not estimate.low <= 2 <= estimate.high
    assert missed <= 50


def test_the_quantiles_are_students():
    expected = student.ppf(0.975, np.arange(1, 31))
    used = [*convergence._STUDENT, *(1.96 + 2.7 / dof for dof in range(11, 31))]
    np.testing.assert_allclose(used[:10], expected[:10], atol=5e-5)
    assert (np.array(used[10:]) - expected[10:] > 0).all()
    assert (np.array(used[10:]) - expected[10:] < 0.01).all()


# --- constant --------------------------------------------------------------------------------------------------------


@settings(max_examples=200, derandomize=True, deadline=None)
@given(
    exponent=st.sampled_from([1, 2, 3]), constant=st.floats(-10, 10),
    coefficients=st.lists(st.floats(-3, 3), min_size=4, max_size=4), seed=st.integers(0, 2**31),
)  # fmt: skip
def test_the_constant_is_within_its_uncertainty(exponent, constant, coefficients, seed):
    h = 0.3 * 0.6 ** np.arange(10)
    series = constant + sum(c * h ** (k + 1) for k, c in enumerate(coefficients)) + np.expm1(h**5)
    rounding = 2.0**-53 * np.random.default_rng(seed).uniform(-1, 1, len(h))
    value, uncertainty = leading_constant(h, h**exponent * series + rounding, exponent)
    assert abs(value - constant) <= uncertainty
    assert uncertainty < 1e-4


def test_the_constant_keeps_its_sign_and_its_shape():
    h = HALVINGS[:8]
    errors = np.stack([-2 * h**2 + h**3, 0 * h, 5 * h**2 * np.exp(h)], 1).reshape(8, 1, 3)
    value, uncertainty = leading_constant(h, errors, 2)
    assert value.shape == uncertainty.shape == (1, 3)
    np.testing.assert_allclose(value, [[-2, 0, 5]], atol=1e-8)
    assert (uncertainty < 1e-7).all()


def test_rounding_limits_the_level():
    """With an error of 1e-9 in each entry, the fine end is worthless; the estimate says how much it knows."""
    h = 0.5 ** np.arange(1, 16)
    errors = h**3 * np.exp(2 * h) + 1e-9 * np.random.default_rng(0).uniform(-1, 1, 15)
    value, uncertainty = leading_constant(h, errors, 3, rounding=1e-9)
    assert abs(value - 1) <= uncertainty < 1e-2


def test_too_high_an_exponent_is_seen():
    """The error is of second order; asked for third, the quotient grows and no constant is claimed."""
    value, uncertainty = leading_constant(HALVINGS[:6], HALVINGS[:6] ** 2, 3)
    assert uncertainty > 0.5 * abs(value)


# --- unusable input --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("h", "error", "message"),
    [
        ([1, 0.5], [1, 0.5], r"h has shape \(2,\) and error \(2,\); at least three step sizes"),
        ([1, 0.5, 0.25], [1, 0.5], r"error \(2,\)"),
        ([1, 0.5, 0.5], [1, 1, 1], "strictly decreasing"),
        ([1, 0.5, 0.0], [1, 1, 1], "positive, finite"),
        ([np.nan, 0.5, 0.2], [1, 1, 1], "positive, finite"),
    ],
)
@pytest.mark.parametrize("estimate", [observed_order, lambda h, error: leading_constant(h, error, 1)])
def test_unusable_input(estimate, h, error, message):
    with pytest.raises(ValueError, match=message):
        estimate(h, error)


def test_signed_or_broken_errors():
    with pytest.raises(ValueError, match="pass norms, not signed errors"):
        observed_order([1, 0.5, 0.25], [1, -0.5, 0.25])
    with pytest.raises(ValueError, match="one error magnitude"):
        observed_order([1, 0.5, 0.25], np.ones((3, 2)))
    with pytest.raises(ValueError, match="NaN or infinity; leave those"):
        leading_constant([1, 0.5, 0.25], [1, np.nan, 0.25], 1)
