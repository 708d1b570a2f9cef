"""The table of a walk's coefficients: where it lives, and which numbers it refuses."""

import math

import pytest
import torch

from torch_backend.walk.table import tabulate

TIMES = [1.0, 0.8, 0.5, 0.25, 0.125]


def test_the_table_is_float64_on_the_cpu():
    table = tabulate(lambda t, s: torch.stack([t - s, torch.exp(-t)], -1), TIMES)
    assert (table.dtype, table.device.type, table.shape) == (torch.float64, "cpu", (4, 2))
    assert table[1].tolist() == pytest.approx([0.8 - 0.5, math.exp(-0.8)], rel=1e-15)
    assert tabulate(lambda t, s: torch.empty(*t.shape, 0), TIMES).shape == (4, 0)


def test_steps_with_equally_many_before_them_are_computed_in_one_call():
    """(starts, ends, pasts, read) of each call, for two steps of history; times are exact in binary."""
    calls = []

    def coefficients(t, s, past, read=None):
        calls.append((t.tolist(), s.tolist(), [p.tolist() for p in past], read))
        return torch.stack([t, s], -1)

    table = tabulate(coefficients, [1.0, 0.75, 0.5, 0.25, 0.125], history=2)
    assert calls == [
        ([1.0], [0.75], [], None),
        ([0.75], [0.5], [[1.0]], None),
        ([0.5, 0.25], [0.25, 0.125], [[0.75, 0.5], [1.0, 0.75]], None),
    ]
    assert table.tolist() == [[1.0, 0.75], [0.75, 0.5], [0.5, 0.25], [0.25, 0.125]]
    calls.clear()
    tabulate(coefficients, [1.0, 0.75, 0.5, 0.25, 0.125], history=2, lower_order_final=True)
    assert [(c[0], len(c[2])) for c in calls] == [([1.0, 0.25], 0), ([0.75, 0.5], 1)]
    calls.clear()
    tabulate(coefficients, [1.0, 0.75, 0.5, 0.25, 0.125], history=2, mends=True, lower_order_final=True)
    assert [(c[0], len(c[2]), c[3]) for c in calls] == [([1.0], 0, 2), ([0.75], 1, 2), ([0.5], 2, 1), ([0.25], 2, 0)]


def test_a_coefficient_that_is_not_finite():
    with pytest.raises(ValueError, match=r"coefficient 1 of step 2, from time 0.5 to 0.25, is inf"):
        tabulate(lambda t, s: torch.stack([t, torch.where(t == 0.5, math.inf, 0.0)], -1), TIMES)
