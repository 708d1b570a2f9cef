"""Distances against the closed forms of one-dimensional, shifted and Gaussian samples, and scipy."""

import math

import numpy as np
import pytest
import torch
from beartype import beartype
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import jaxtyped
from scipy.linalg import sqrtm

from torch_backend.measuring.distances import frechet, sliced_wasserstein


def points(n, d, seed, device="cpu"):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(device)


def test_a_shift_is_measured_along_every_direction(device):
    """W_2 along theta is |theta . v|; the mean square over the sphere is |v|^2 / d, within four standard errors."""
    a, shift = points(50, 4, 0, device), torch.tensor([3.0, 0.0, 4.0, 0.0], device=device)
    squared = sliced_wasserstein(a, a + shift, projections=4000, seed=0) ** 2
    spread = 25 * math.sqrt(3 / (4 * 6) - 1 / 16)  # of (theta . v)^2: E theta_1^4 = 3 / (d (d + 2))
    assert abs(squared - 25 / 4) < 4 * spread / math.sqrt(4000)


@settings(deadline=None)
@given(n=st.integers(1, 12), m=st.integers(1, 12), seed=st.integers(0, 1000))
def test_unequal_counts_are_the_equal_ones_repeated(n, m, seed):
    a, b = points(n, 3, seed), points(m, 3, seed + 1)
    merged = sliced_wasserstein(a, b, projections=7, seed=0)
    repeated = sliced_wasserstein(a.repeat(m, 1), b.repeat(n, 1), projections=7, seed=0)
    assert merged == pytest.approx(repeated, rel=1e-12, abs=1e-14)
    assert merged == pytest.approx(sliced_wasserstein(b, a, projections=7, seed=0), rel=1e-12, abs=1e-14)


def test_in_one_dimension_it_is_the_optimal_pairing():
    a, b = points(6, 1, 0), points(6, 1, 1)
    expected = np.sqrt(np.mean((np.sort(a.numpy()[:, 0]) - np.sort(b.numpy()[:, 0])) ** 2))
    assert sliced_wasserstein(a, b, projections=3, seed=0) == pytest.approx(expected, rel=1e-12)


def test_the_seed_is_all_the_randomness():
    a, b = points(20, 5, 0), points(30, 5, 1)
    assert sliced_wasserstein(a, b, projections=9, seed=0) == sliced_wasserstein(a, b, projections=9, seed=0)
    assert sliced_wasserstein(a, b, projections=9, seed=0) != sliced_wasserstein(a, b, projections=9, seed=1)


@pytest.mark.parametrize("distance", [frechet, lambda a, b: sliced_wasserstein(a, b, projections=5, seed=0)])
def test_a_set_is_at_distance_zero_from_itself(distance):
    a = points(20, 5, 0)
    assert distance(a, a) < 1e-14
    assert distance(a, a.flip(0)) < 1e-13


def test_frechet_is_the_formula(device):
    a, b = points(200, 4, 0, device), points(300, 4, 1, device) @ points(4, 4, 2, device) + 0.3
    A, B = np.cov(a.cpu().numpy().T), np.cov(b.cpu().numpy().T)
    squared = ((a.mean(0) - b.mean(0)) ** 2).sum().item() + np.trace(A + B - 2 * sqrtm(sqrtm(A) @ B @ sqrtm(A)).real)
    assert frechet(a, b) == pytest.approx(math.sqrt(squared), rel=1e-10)
    assert frechet(a, b) == pytest.approx(frechet(b, a), rel=1e-12)


def test_frechet_of_singular_covariances():
    """On a line, along one axis: the difference of the standard deviations; between two axes: the hypotenuse."""
    line = torch.tensor([[-1.0], [1.0], [0.0]], dtype=torch.float64)
    along_x, along_y = line @ torch.tensor([[3.0, 0, 0]]).double(), line @ torch.tensor([[0, 4.0, 0]]).double()
    assert frechet(along_x, along_x / 3) == pytest.approx(2, rel=1e-12)
    assert frechet(along_x, along_y) == pytest.approx(5, rel=1e-12)


def test_frechet_does_not_cancel():
    """A relative change of 1e-9 in scale is measured to six digits; the trace formula would return rounding."""
    a = points(100, 3, 0) - points(100, 3, 0).mean(0)
    expected = 1e-9 * math.sqrt(np.trace(np.cov(a.numpy().T)))
    assert frechet(a, a * (1 + 1e-9)) == pytest.approx(expected, rel=1e-5)


def test_images_are_flattened_and_annotations_hold():
    a, b = points(20, 12, 0), points(30, 12, 1)
    checked = jaxtyped(typechecker=beartype)
    for function, options in ((frechet, {}), (sliced_wasserstein, {"projections": 5, "seed": 0})):
        images = checked(function)(a.reshape(20, 3, 2, 2), b.reshape(30, 3, 2, 2), **options)
        assert images == function(a, b, **options)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: frechet(points(5, 2, 0), points(5, 3, 0)), r"shape \(5, 2\) and \(5, 3\); .* same number of features"),
        (lambda: frechet(points(1, 2, 0), points(5, 2, 0)), "1 and 5 samples; a covariance needs at least two"),
        (lambda: sliced_wasserstein(points(0, 2, 0), points(5, 2, 0), projections=3, seed=0), r"shape \(0, 2\)"),
        (lambda: sliced_wasserstein(points(5, 2, 0), points(5, 2, 0), projections=0, seed=0), "projections = 0; at le"),
    ],
)
def test_unusable_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
