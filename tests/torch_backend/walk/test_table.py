"""The table of a walk's coefficients: where it lives, and which numbers it refuses."""

import math

import pytest
import torch

from torch_backend.walk.table import tabulate

TIMES = [1.0, 0.8, 0.5, 0.25, 0.125]


def test_the_table_is_float64_on_the_cpu():
    table = tabulate(lambda t, s: (t - s, math.exp(-t)), TIMES)
    assert (table.dtype, table.device.type, table.shape) == (torch.float64, "cpu", (4, 2))
    assert table[1].tolist() == [0.8 - 0.5, math.exp(-0.8)]
    assert tabulate(lambda t, s: (), TIMES).shape == (4, 0)


def test_a_coefficient_that_is_not_finite():
    with pytest.raises(ValueError, match=r"coefficient 1 of step 2, from time 0.5 to 0.25, is inf"):
        tabulate(lambda t, s: (1.0, math.inf if t == 0.5 else 0.0), TIMES)
