"""What a walk refuses before it begins: times that are none."""

import numpy as np
import pytest
import torch

from torch_backend.walk.validation import check_times

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([], "times has 0 entries; at least two"),
        ([1.0], "times has 1 entries"),
        ([1.0, 0.5, 0.5], r"times\[2\] = 0.5 is not below times\[1\] = 0.5; times must decrease strictly"),
        ([0.5, 1.0], r"times\[1\] = 1.0 is not below"),
        ([1.0, NAN], r"times\[1\] = nan .* every time must be in \(0, 2.0\]"),
        ([INF, 1.0], r"times\[0\] = inf"),
        ([1.0, 0.0], r"times\[1\] = 0.0 is not a usable diffusion time"),
        ([1.0, -1.0], r"times\[1\] = -1.0"),
        ([2.5, 1.0], r"times\[0\] = 2.5 .* in \(0, 2.0\]"),
    ],
)
def test_unusable_times(times, message):
    with pytest.raises(ValueError, match=message):
        check_times(times, 2.0)


def test_times_without_a_bound_are_finite_and_positive():
    with pytest.raises(ValueError, match="must be finite and positive"):
        check_times([1.0, 0.0])
    assert check_times(torch.tensor([2.0, 1.0])) == check_times(np.array([2, 1])) == [2.0, 1.0]
