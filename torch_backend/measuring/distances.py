"""Distances between two sets of samples: sliced Wasserstein and Frechet, both exact for the samples given.

Knows arrays of features; does not know where they come from, and extracts no features itself. All in float64.
"""

import torch
from jaxtyping import Float
from torch import Tensor

Samples = Float[Tensor, "_ ..."]


def sliced_wasserstein(a: Samples, b: Samples, *, projections: int, seed: int) -> float:
    """The sliced 2-Wasserstein distance: the root mean square, over random directions, of the 1-D distance W_2.

    a and b: ``(n, ...)`` and ``(m, ...)``, flattened to d features; n and m may differ. In data units; for a shift
    by v it is about |v| / sqrt(d). The directions are uniform on the sphere, drawn from ``seed`` on the CPU.
    Source: Bonneel et al., Sliced and Radon Wasserstein Barycenters of Measures (2015), section 2.

    Raises ValueError for empty sets, different numbers of features, or projections < 1.

    >>> points = torch.tensor([[0.0], [1.0]])
    >>> sliced_wasserstein(points, points + 3, projections=5, seed=0)
    3.0
    """
    a, b = _features(a, b)
    if projections < 1:
        raise ValueError(f"projections = {projections}; at least one is needed")
    generator = torch.Generator().manual_seed(seed)
    directions = torch.randn(a.shape[1], projections, generator=generator, dtype=torch.float64)
    directions = (directions / directions.norm(dim=0)).to(a.device)
    quantiles_a, quantiles_b = (a @ directions).sort(0).values, (b @ directions).sort(0).values
    # Both quantile functions are constant between the merged levels i / n and j / m, kept as integers over n m.
    n, m = len(a), len(b)
    levels = torch.cat([torch.arange(n + 1) * m, torch.arange(m + 1) * n]).unique().to(a.device)
    left, width = levels[:-1], levels.diff().double() / (n * m)
    gaps = quantiles_a[left // m] - quantiles_b[left // n]
    return float((width @ gaps.square()).mean().sqrt())


def frechet(a: Samples, b: Samples) -> float:
    """The 2-Wasserstein distance between the Gaussians with the samples' means and (unbiased) covariances.

    a and b: ``(n, ...)`` and ``(m, ...)``, flattened to d features; covariances may be singular. In data units: the
    FID of the literature is its square, in another feature space. With A, B the covariances, the distance's second
    term is min over orthogonal U of |A^1/2 - B^1/2 U|_F, which does not cancel for close A and B.
    Source: Dowson and Landau, The Frechet distance between multivariate normal distributions (1982).

    Raises ValueError for fewer than two samples in a set, or different numbers of features.

    >>> points = torch.tensor([[0.0, 0.0], [2.0, 1.0], [1.0, 3.0]])
    >>> round(frechet(points, points + torch.tensor([3.0, 4.0])), 12)
    5.0
    """
    a, b = _features(a, b)
    if min(len(a), len(b)) < 2:
        raise ValueError(f"{len(a)} and {len(b)} samples; a covariance needs at least two")
    root_a, root_b = _root_of_covariance(a), _root_of_covariance(b)
    left, _, right = torch.linalg.svd(root_b @ root_a)
    spread = root_a - root_b @ left @ right
    return float(((a.mean(0) - b.mean(0)).square().sum() + spread.square().sum()).sqrt())


def _root_of_covariance(samples: Tensor) -> Tensor:
    """The symmetric root (d, d) of the samples' unbiased covariance."""
    centred = samples - samples.mean(0)
    values, vectors = torch.linalg.eigh(centred.T @ centred / (len(samples) - 1))
    return (vectors * values.clamp(min=0).sqrt()) @ vectors.T


def _features(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Both sets as rows of features in float64. Raises ValueError for empty sets, or different numbers of features."""
    if not a.numel() or not b.numel() or a[0].numel() != b[0].numel():
        raise ValueError(
            f"samples of shape {tuple(a.shape)} and {tuple(b.shape)}; both sets must hold samples of the "
            "same number of features"
        )
    return a.double().reshape(len(a), -1), b.double().reshape(len(b), -1)
