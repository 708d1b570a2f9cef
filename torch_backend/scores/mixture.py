"""The exact score for data that are a mixture of isotropic Gaussians, a data set under a small bandwidth included.

Knows the law of the data; whitening and the eps convention are in ``exact``.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from torch_backend.scores.exact import ExactScore, Kernel, in_float64


class MixtureScore(ExactScore):
    """Data sum_j weights_j N(means_j, variances_j I): the sum over components costs two matrix products.

    - ``means``: ``(n_components, c, ...)``; ``weights``: ``(n_components,)``, normalised here; equal by default.
    - ``variances``: one number for all components or ``(n_components,)``, in data units squared; zero is a point.

    Memory is ``n * n_components``, never times the data's size. Squared distances are expanded about the mixture's
    mean: in float32 they carry an absolute error of about 1e-7 times the squared radius of the data, so variances
    far below that want a float64 state.

    Raises ValueError for weights that are not positive, variances that are negative, or shapes that do not fit.
    """

    means: Tensor
    half_squares: Tensor
    variances: Tensor
    log_weights: Tensor

    def __init__(
        self,
        kernel: Kernel,
        means: Float[Tensor, "n_components channels *space"],
        variances: float | Float[Tensor, " n_components"],
        weights: Float[Tensor, " n_components"] | None = None,
    ) -> None:
        n_components, means = means.shape[0], in_float64(means)
        spread = torch.as_tensor(variances, dtype=torch.float64, device=means.device).reshape(-1)
        shares = torch.ones(n_components, device=means.device) if weights is None else in_float64(weights)
        if len(spread) not in (1, n_components) or not (spread >= 0).all():
            raise ValueError(
                f"{len(spread)} variances for {n_components} components; one number >= 0 is needed, or "
                "one per component"
            )
        if shares.shape != (n_components,) or not (shares > 0).all() or not shares.isfinite().all():
            raise ValueError(f"weights of shape {tuple(shares.shape)}; {n_components} positive numbers are needed")
        shares = shares.double() / shares.double().sum()
        centre = torch.tensordot(shares, means, dims=1)
        super().__init__(kernel, centre)
        flat = (means - centre).flatten(1)
        self.register_buffer("means", flat)
        self.register_buffer("half_squares", flat.square().sum(1) / 2)
        self.register_buffer("variances", spread)
        self.register_buffer("log_weights", shares.log())

    def blurred(self, x: Float[Tensor, "n d"], tau: Float[Tensor, "n 1"]) -> tuple[Tensor, Tensor]:
        """Log density and score of the mixture with variances + tau; see ``ExactScore.blurred``."""
        means, half_squares = self.means.to(x), self.half_squares.to(x)
        total = self.variances.to(x) + tau  # (n, n_components), or (n, 1) where the components share a variance
        exponent = (x @ means.T - half_squares - x.square().sum(1, keepdim=True) / 2) / total
        terms = self.log_weights.to(x) + exponent - x.shape[1] / 2 * torch.log(2 * math.pi * total)
        highest = terms.max(1, keepdim=True).values
        shares = (terms - highest).exp()  # by hand: logsumexp and softmax would take every exponential twice
        mass = shares.sum(1, keepdim=True)
        pull = shares / (mass * total)
        return (highest + mass.log())[:, 0], pull @ means - pull.sum(1, keepdim=True) * x
