"""Exact scores against scipy's densities, autograd, and the closed forms of point and Gaussian data."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from beartype import beartype
from jaxtyping import jaxtyped
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from torch_backend.scores import ExactScore, GaussianScore, MixtureScore, digits, digits_score

TIMES = (0.02, 0.3, 0.6, 1.0)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def random_mixture(kernel, n_components=5, shape=(1, 3), one_variance=False):
    means = torch.randn(n_components, *shape, generator=generator(1), dtype=torch.float64) + 2
    variances = torch.rand(n_components, generator=generator(2), dtype=torch.float64) / 10
    weights = torch.rand(n_components, generator=generator(3), dtype=torch.float64) + 0.1
    return MixtureScore(kernel, means, 0.05 if one_variance else variances, weights)


def diffused(kernel, shape=(1, 3), seed=4):
    """States drawn near the diffused data, one per time."""
    t = torch.tensor(TIMES, dtype=torch.float64)
    psi = torch.stack(kernel.mean(t), 1)
    start = torch.randn(len(t), *shape, generator=generator(seed), dtype=torch.float64) + 2
    z = torch.cat([psi[:, a].reshape(-1, 1, 1) * start for a in range(psi.shape[1])], 1)
    return z + 0.3 * torch.randn(z.shape, generator=generator(seed + 1), dtype=torch.float64), t


def scipy_log_density(kernel, means, variances, weights, z, t):
    """log sum_j w_j N(z; psi kron mu_j, (psi psi^T v_j + Sigma) kron I), with full matrices."""
    psi = np.array([float(entry) for entry in kernel.mean(t[None])])
    lower, k, d = np.zeros((len(psi), len(psi))), len(psi), means.shape[1]
    lower[np.tril_indices(k)] = [float(entry) for entry in kernel.covariance(t[None])]
    sigma = lower + np.tril(lower, -1).T
    terms = [
        np.log(w) + multivariate_normal(
            np.kron(psi, mu), np.kron(sigma, np.eye(d)) + np.kron(np.outer(psi, psi), np.diag(v))).logpdf(z)
        for mu, v, w in zip(means, variances, weights, strict=True)
    ]  # fmt: skip
    return logsumexp(terms)


def test_a_batch_at_one_time_asks_the_kernel_once(kernel):
    """A loop expands its time; the density is scipy's at every point, and the kernel was asked at one time."""
    asked = []

    def at(f):
        return lambda t: asked.append(len(t)) or f(t)

    counted = SimpleNamespace(mean=at(kernel.mean), cholesky=at(kernel.cholesky))
    score = random_mixture(counted)
    z, _ = diffused(kernel)
    for dtype in (torch.float64, torch.float32):
        found = score.log_density(z, torch.tensor(0.3, dtype=dtype).expand(len(z)))
        assert asked == [1, 1]
        asked.clear()
    t = torch.tensor(0.3, dtype=torch.float32).double()
    means = (score.means + score.centre.flatten()).numpy()
    variances, weights = score.variances[:, None].expand(5, 3).numpy(), score.log_weights.exp().numpy()
    expected = [scipy_log_density(kernel, means, variances, weights, one.flatten().numpy(), t) for one in z]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9)


@pytest.mark.parametrize("one_variance", [True, False])
def test_mixture_density_is_scipys(kernel, one_variance):
    score = random_mixture(kernel, one_variance=one_variance)
    z, t = diffused(kernel)
    means = (score.means + score.centre.flatten()).numpy()
    variances = score.variances.expand(5)[:, None].expand(5, 3).numpy()
    expected = [
        scipy_log_density(kernel, means, variances, score.log_weights.exp().numpy(), one.flatten().numpy(), time)
        for one, time in zip(z, t, strict=True)
    ]
    np.testing.assert_allclose(score.log_density(z, t).numpy(), expected, rtol=1e-9)


def test_gaussian_density_is_scipys(kernel):
    mean = torch.tensor([[1.0, -2.0, 0.5]], dtype=torch.float64)
    variances = torch.tensor([[0.0, 0.3, 2.0]], dtype=torch.float64)
    score = GaussianScore(kernel, mean, variances)
    z, t = diffused(kernel)
    expected = [
        scipy_log_density(kernel, mean.numpy(), variances.numpy(), [1.0], one.flatten().numpy(), time)
        for one, time in zip(z, t, strict=True)
    ]
    np.testing.assert_allclose(score.log_density(z, t).numpy(), expected, rtol=1e-9)


@pytest.mark.parametrize("kind", ["mixture", "gaussian"])
def test_score_is_the_gradient_of_the_log_density(kernel, kind):
    ones = torch.ones(1, 3, dtype=torch.float64)
    score = random_mixture(kernel) if kind == "mixture" else GaussianScore(kernel, 2 * ones, 0.1 * ones)
    z, t = diffused(kernel)
    z.requires_grad_()
    (gradient,) = torch.autograd.grad(score.log_density(z, t).sum(), z)
    torch.testing.assert_close(score.score(z, t), gradient, rtol=1e-10, atol=1e-10)


def test_eps_is_minus_the_transposed_factor_times_the_score(kernel):
    score = random_mixture(kernel)
    z, t = diffused(kernel)
    k = len(kernel.BLOCKS)
    lower = torch.zeros(len(t), k, k, dtype=torch.float64)
    for (row, column), entry in zip(zip(*np.tril_indices(k), strict=True), kernel.cholesky(t), strict=True):
        lower[:, row, column] = entry
    expected = -torch.einsum("nba,nbd->nad", lower, score.score(z, t).reshape(len(t), k, -1)).reshape(z.shape)
    torch.testing.assert_close(score(z, t), expected, rtol=1e-10, atol=1e-10)


def test_on_point_data_eps_is_the_noise(kernel):
    """z = psi mu + L xi gives eps = xi, at the smallest times too."""
    mean = torch.tensor([[[0.7, -0.2]]], dtype=torch.float64)
    xi = torch.randn(3, len(kernel.BLOCKS), 2, generator=generator(), dtype=torch.float64)
    t = torch.tensor([1e-3, 0.1, 1.0], dtype=torch.float64)
    factor, z, rows = list(kernel.cholesky(t)), [], []
    for a, psi in enumerate(kernel.mean(t)):
        rows.append(factor[: a + 1])
        factor = factor[a + 1 :]
        z.append(psi[:, None] * mean[0] + sum(entry[:, None] * xi[:, b] for b, entry in enumerate(rows[-1])))
    for score in (MixtureScore(kernel, mean, 0.0), GaussianScore(kernel, mean[0], torch.zeros_like(mean[0]))):
        torch.testing.assert_close(score(torch.stack(z, 1), t), xi, rtol=1e-9, atol=1e-9)


def test_a_mixture_of_one_is_the_gaussian(kernel):
    mean, variance = torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.float64), 0.3
    one = MixtureScore(kernel, mean[None], variance)
    other = GaussianScore(kernel, mean, torch.full_like(mean, variance))
    z, t = diffused(kernel)
    torch.testing.assert_close(one(z, t), other(z, t))
    torch.testing.assert_close(one.log_density(z, t), other.log_density(z, t))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-3), (torch.bfloat16, 0.1)])
def test_dtypes_and_devices(kernel, dtype, tolerance, device):
    score = digits_score(kernel, bandwidth=0.2)
    z = torch.randn(8, len(kernel.BLOCKS), 8, 8, generator=generator(), dtype=torch.float64).to(dtype)
    t = torch.full((8,), 0.3, dtype=torch.float64)
    eps = score(z.double(), t)
    low = score.to(device)(z.to(device), t.to(device))
    assert (low.dtype, low.device.type, low.shape) == (dtype, device, z.shape)
    torch.testing.assert_close(low.cpu().double(), eps, rtol=tolerance, atol=tolerance)


def test_float32_does_not_cancel_near_the_data(vp):
    """At t = 1e-3 the whitened state is of size 100: its difference from the data's mean would be off by 1e-5."""
    score, t = digits_score(vp, bandwidth=0.1), torch.full((64,), 1e-3)
    z = digits()[:64] + 0.1 * torch.randn(64, 1, 8, 8, generator=generator(), dtype=torch.float64)
    z = z.float()
    torch.testing.assert_close(score(z, t).double(), score(z.double(), t), rtol=0, atol=2e-6)


def test_a_far_offset_does_not_cost_digits(vp):
    """Squared distances are taken about the mixture's mean: data at 1000 are as accurate in float32 as data at 0."""
    means = torch.randn(4, 1, 3, generator=generator(), dtype=torch.float64)
    near, far = MixtureScore(vp, means, 0.1), MixtureScore(vp, means + 1000, 0.1)
    assert torch.allclose(near.means, far.means, atol=1e-9)


@pytest.mark.parametrize("method", [ExactScore.forward, ExactScore.score, ExactScore.log_density])
def test_annotations_hold(kernel, method):
    score = random_mixture(kernel)
    jaxtyped(typechecker=beartype)(method)(score, *diffused(kernel))


@pytest.mark.parametrize("law", [MixtureScore, GaussianScore])
def test_annotations_of_the_laws_hold(vp, law):
    checked = jaxtyped(typechecker=beartype)
    mean = torch.zeros(2, 1, 3) if law is MixtureScore else torch.zeros(1, 3)
    score = law(vp, mean, torch.ones(2) if law is MixtureScore else torch.ones(1, 3))
    checked(law.blurred)(score, torch.zeros(4, 3), torch.ones(4, 1))


def test_a_foreign_shape_is_one_clear_error(phase):
    score = random_mixture(phase)
    with pytest.raises(ValueError, match=r"z has shape \(2, 1, 3\) and t \(2,\); for 2 block\(s\).*\('n', 2, 3\)"):
        score(torch.zeros(2, 1, 3), torch.ones(2))
    with pytest.raises(ValueError, match=r"t \(3,\)"):
        score.score(torch.zeros(2, 2, 3), torch.ones(3))


@pytest.mark.parametrize(
    ("variances", "weights", "message"),
    [
        (-1.0, None, "1 variances for 2 components; one number >= 0"),
        (torch.ones(3), None, "3 variances for 2 components"),
        (1.0, torch.tensor([1.0, 0.0]), "weights of shape .* 2 positive numbers"),
        (1.0, torch.tensor([1.0, float("nan")]), "2 positive numbers"),
    ],
)
def test_unusable_mixtures(vp, variances, weights, message):
    with pytest.raises(ValueError, match=message):
        MixtureScore(vp, torch.zeros(2, 1, 3), variances, weights)


def test_unusable_gaussian(vp):
    with pytest.raises(ValueError, match="one number >= 0 is needed per entry"):
        GaussianScore(vp, torch.zeros(1, 2), -torch.ones(1, 2))


def test_the_base_knows_no_data(vp):
    with pytest.raises(NotImplementedError):
        ExactScore(vp, torch.zeros(1, 2))(torch.zeros(1, 1, 2), torch.ones(1))


def test_digits_are_a_fresh_copy():
    images = digits()
    assert images.shape == (1797, 1, 8, 8)
    assert images.dtype == torch.float64
    images.zero_()
    assert digits().abs().max() == 1
