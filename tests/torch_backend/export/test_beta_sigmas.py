"""Beta sigmas against scipy's quantiles of the same distribution."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from torch_backend.export.exported_text.beta_sigmas import beta_sigmas


@pytest.mark.parametrize("count", [1, 2, 7, 1000])
def test_beta_sigmas_are_the_quantiles_of_the_beta_distribution(count: int) -> None:
    quantiles = scipy.stats.beta.ppf(1 - np.linspace(0, 1, count), 0.6, 0.6)
    np.testing.assert_allclose(beta_sigmas(count, 80.0, 0.25), 0.25 + quantiles * 79.75, rtol=1e-13)
