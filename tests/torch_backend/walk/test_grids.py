"""Time grids by name: their ends, what they are equidistant in, and what is refused."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from torch_backend.walk.grids import GRIDS, time_grid


@settings(deadline=None)
@given(
    name=st.sampled_from(sorted(GRIDS)), steps=st.integers(1, 200),
    t_max=st.floats(0.5, 100), ratio=st.floats(1e-6, 0.5),
)  # fmt: skip
def test_grids_run_from_t_max_down_to_t_min_exactly(name, steps, t_max, ratio):
    times = time_grid(name, steps, t_max, t_max * ratio, lambda t: -torch.log(t))
    assert (len(times), times[0], times[-1]) == (steps + 1, t_max, t_max * ratio)
    assert all(s < t for t, s in pairwise(times))


@pytest.mark.parametrize(("name", "power"), [("uniform", 1), ("quadratic", 1 / 2), ("karras", 1 / 7)])
def test_grids_are_equidistant_in_a_power_of_t(name, power):
    np.testing.assert_allclose(np.diff(np.power(time_grid(name, 10, 2.0, 1e-3), power), n=2), 0, atol=1e-14)


def test_measured_grids_are_equidistant_in_their_measure():
    def log_snr(t):
        return -torch.log(torch.expm1(0.1 * t + 9.95 * t**2)) / 2

    for name, place in (("log-SNR", lambda x: x), ("EDM", lambda x: torch.exp(-x / 7))):
        times = torch.tensor(time_grid(name, 12, 1.0, 1e-3, log_snr), dtype=torch.float64)
        places = place(log_snr(times)).tolist()
        np.testing.assert_allclose(np.diff(places), (places[-1] - places[0]) / 12, rtol=1e-9)
    with pytest.raises(ValueError, match="is measured in the log-SNR; pass"):
        time_grid("EDM", 5, 1.0, 1e-3)


def test_a_grid_can_be_added(monkeypatch):
    monkeypatch.setitem(GRIDS, "log", lambda n, first, last: list(np.geomspace(first, last, n + 1)))
    np.testing.assert_allclose(time_grid("log", 2, 1.0, 0.01), [1, 0.1, 0.01])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("quadratc", 4, 1.0, 0.1),
            "unknown grid 'quadratc'; did you mean 'quadratic'. Known: EDM, cosine, karras, log-SNR, quadratic, uni",
        ),
        (("zzz", 4, 1.0, 0.1), "unknown grid 'zzz'; Known"),
        (("uniform", 0, 1.0, 0.1), "steps = 0 is not a number of steps; a positive integer"),
        (("uniform", 2.0, 1.0, 0.1), r"steps = 2.0 is not"),
        (("uniform", True, 1.0, 0.1), "steps = True is not"),
        (("uniform", 2, 0.1, 1.0), r"times\[1\] = 0.55 is not below times\[0\] = 0.1"),
    ],
)
def test_unusable_grids(arguments, message):
    with pytest.raises(ValueError, match=message):
        time_grid(*arguments)


def test_a_grid_of_the_wrong_length(monkeypatch):
    monkeypatch.setitem(GRIDS, "short", lambda n, first, last: [first, last])
    with pytest.raises(ValueError, match="grid 'short' gave 2 times for 3 steps; it must give 4"):
        time_grid("short", 3, 1.0, 0.1)
