"""The size of a network's first output on the prior: right networks pass, other conventions are told of."""

from __future__ import annotations

import math
import warnings

import pytest
import torch

from torch_backend.scores import GaussianScore
from torch_backend.source import load_kernel
from torch_backend.walk.prior_check import ImplausibleOutputWarning, root_mean_square, warn_unless_plausible


def judge(output: torch.Tensor, t: float = 1.0, t_max: float = 1.0) -> None:
    warn_unless_plausible(root_mean_square(output), output.numel(), t, t_max, "vp/DDIM")


def test_the_root_mean_square_is_a_number_on_the_device() -> None:
    size = root_mean_square(torch.tensor([[3.0, -4.0]]))
    assert size.dim() == 0
    assert float(size) == pytest.approx(math.sqrt(12.5), rel=1e-6)
    # squares of 300 are beyond float16
    assert float(root_mean_square(torch.full((2, 8), 300.0, dtype=torch.float16))) == pytest.approx(300.0)


@pytest.mark.parametrize("process", ["vp", "subvp", "vp_cosine", "ve", "edm", "psld", "cld", "ddpm"])
def test_the_exact_eps_on_the_prior_of_every_process_passes(process: str) -> None:
    """eps of Gaussian data with mean 0.3 and variance 0.25, at prior draws."""
    kernel = load_kernel(process)
    network = GaussianScore(kernel, torch.full((64,), 0.3), torch.full((64,), 0.25))
    generator = torch.Generator().manual_seed(0)
    z = torch.cat([std * torch.randn(4, 64, generator=generator) for std in kernel.PRIOR_STD], 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        judge(network(z, torch.full((4,), kernel.T_MAX)), kernel.T_MAX, kernel.T_MAX)


def test_a_network_that_counts_time_to_999_is_told_of() -> None:
    """It takes t = 1 for 1/999 of the walk: standard normal data have eps = sigma z, with sigma = 0.0105 there."""
    kernel = load_kernel("vp")
    network = GaussianScore(kernel, torch.zeros(64), torch.ones(64))
    z = torch.ones(4, 64)
    with pytest.warns(ImplausibleOutputWarning, match=r"vp/DDIM.* 0\.010\d, .*counts time.*0 \.\.\. 999"):
        judge(network(z, torch.full((4,), 1.0 / 999)))


@pytest.mark.parametrize("size", [0.29, 3.01, 80.0, math.inf])
def test_sizes_outside_the_window_are_told_of_on_the_prior_alone(size: float) -> None:
    with pytest.warns(ImplausibleOutputWarning):
        warn_unless_plausible(size, 16, 72.0, 80.0, "edm/DDIM")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_unless_plausible(size, 16, 71.9, 80.0, "edm/DDIM")  # not on the prior
        warn_unless_plausible(size, 15, 80.0, 80.0, "edm/DDIM")  # too few numbers
        warn_unless_plausible(min(max(size, 0.3), 3.0), 16, 80.0, 80.0, "edm/DDIM")


def test_the_warning_points_at_the_caller() -> None:
    with pytest.warns(ImplausibleOutputWarning) as caught:
        warn_unless_plausible(9.0, 16, 1.0, 1.0, "vp/DDIM", stacklevel=1)
    assert caught[0].filename == __file__
