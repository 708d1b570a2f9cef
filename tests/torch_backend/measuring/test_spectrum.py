"""Krylov spectra against full Jacobians: a small random network, a matrix of known spectrum, the exact digits score."""

from __future__ import annotations

import pytest
import torch

from torch_backend import load
from torch_backend.measuring.spectrum import (
    Jacobian,
    along_trajectory,
    eigenvalues,
    largest_singular_value,
    symmetric_range,
)
from torch_backend.scores import digits_score
from torch_backend.source import load_kernel

SHAPE = (2, 3, 4)


def small_network(dtype: torch.dtype) -> torch.nn.Module:
    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(3)
            self.first, self.second = torch.nn.Linear(25, 40), torch.nn.Linear(40, 24)

        def forward(self, z: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            inside = torch.cat([z.flatten(1), t[:, None]], dim=1)
            return self.second(torch.tanh(3 * self.first(inside))).reshape(z.shape)

    return Net().to(dtype)


def full(field, z: torch.Tensor, t: float) -> torch.Tensor:
    """(n, d, d), one sample at a time."""
    times = torch.full((1,), t, dtype=z.dtype)
    rows = [torch.autograd.functional.jacobian(lambda x: field(x[None], times)[0], one) for one in z]
    return torch.stack([r.reshape(z[0].numel(), z[0].numel()) for r in rows])


def state(n: int = 3, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn((n, *SHAPE), generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype)


@pytest.mark.parametrize(("dtype", "accuracy"), [(torch.float64, 1e-10), (torch.float32, 2e-4)])
def test_products_and_extremes_of_a_random_network(dtype: torch.dtype, accuracy: float) -> None:
    network, z = small_network(dtype), state(dtype=dtype)
    matrix = full(network, z, 0.3).double()
    v = state(3, dtype).flatten(1) + 0.5
    jacobian = Jacobian(network, z, 0.3)
    torch.testing.assert_close(
        jacobian.forward(v).double(), (matrix @ v.double()[..., None])[..., 0], rtol=1e-4, atol=accuracy
    )
    torch.testing.assert_close(
        jacobian.adjoint(v).double(), (matrix.mT @ v.double()[..., None])[..., 0], rtol=1e-4, atol=accuracy
    )
    found = eigenvalues(network, z, 0.3, 4, seed=1, tolerance=accuracy / 10)
    exact = torch.linalg.eigvals(matrix)
    for values, all_values in zip(found.values, exact, strict=True):
        largest = all_values.abs().sort(descending=True).values[:4]
        torch.testing.assert_close(values.abs(), largest, rtol=accuracy, atol=accuracy)
        assert (values[:, None] - all_values).abs().min(1).values.max() < accuracy * largest[0]
    symmetric = torch.linalg.eigvalsh((matrix + matrix.mT) / 2)
    ends = symmetric_range(network, z, 0.3, seed=2)
    torch.testing.assert_close(ends, symmetric[:, [0, -1]], rtol=accuracy, atol=accuracy)
    norms = torch.linalg.matrix_norm(matrix, ord=2)
    torch.testing.assert_close(largest_singular_value(network, z, 0.3, seed=2), norms, rtol=accuracy, atol=accuracy)


@pytest.mark.parametrize("which", ["real", "least real"])
def test_a_non_normal_matrix_by_real_part(which: str) -> None:
    """Triangular, so its spectrum is its diagonal; the rest makes ||J|| far larger than any eigenvalue."""
    d = 60
    diagonal = torch.linspace(-5, 3, d, dtype=torch.float64)
    matrix = torch.diag(diagonal) + torch.triu(torch.full((d, d), 0.3, dtype=torch.float64), 1)
    z = torch.zeros(1, d, dtype=torch.float64)
    found = eigenvalues(lambda x, t: x @ matrix.T, z, 0.5, 3, which, seed=0, tolerance=1e-9)
    expected = diagonal.flip(0)[:3] if which == "real" else diagonal[:3]
    torch.testing.assert_close(found.values[0].real, expected, rtol=0, atol=1e-6)
    norm = largest_singular_value(lambda x, t: x @ matrix.T, z, 0.5, seed=0)
    assert norm[0] > 1.5 * diagonal.abs().max()


def test_an_invariant_space_does_not_end_the_search() -> None:
    """J = 2 on ten directions, 1 on the rest: a Krylov space of one start vector has two dimensions."""
    scale = torch.cat([torch.full((10,), 2.0), torch.ones(20)]).double()
    found = eigenvalues(lambda x, t: x * scale, torch.zeros(2, 30, dtype=torch.float64), 0.5, 30, seed=0)
    torch.testing.assert_close(found.values.real, scale.expand(2, 30))


def test_the_exact_digits_score_and_its_trajectory() -> None:
    """The score is a gradient, so eps's Jacobian on VP, -sigma times a Hessian, is symmetric: real eigenvalues."""
    network = digits_score(load_kernel("vp"), bandwidth=0.1)
    sampler = load("vp/DDIM", dtype=torch.float64)
    z, times = sampler.prior(1, (1, 8, 8), seed=0), sampler.times(4, "quadratic")
    spectra = along_trajectory(sampler, network, z, times, 3, seed=0, tolerance=1e-8)
    assert len(spectra) == 4
    middle = []
    sampler.sample(network, z, times=times, callback=lambda i, s, x: middle.append(x.clone()))
    exact = torch.linalg.eigvals(full(network, middle[1], times[2]))
    order = exact.abs().argsort(dim=1, descending=True)
    torch.testing.assert_close(spectra[2].values.real, exact.gather(1, order)[:, :3].real, rtol=1e-6, atol=1e-8)
    assert spectra[2].values.imag.abs().max() < 1e-8


def test_bad_requests_are_refused() -> None:
    z = torch.zeros(1, 3)
    with pytest.raises(ValueError, match="did you mean 'magnitude'"):
        eigenvalues(lambda x, t: x, z, 0.1, 1, "magnitud", seed=0)
    with pytest.raises(ValueError, match="1 to 3"):
        eigenvalues(lambda x, t: x, z, 0.1, 4, seed=0)
    with pytest.raises(TypeError, match="float32 or float64"):
        Jacobian(lambda x, t: x, z.half(), 0.1)
