"""The exact score for Gaussian data, independent coordinates: the linear score of every closed-form check.

Knows the law of the data; whitening and the eps convention are in ``exact``.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from torch_backend.scores.exact import ExactScore, Kernel, in_float64


class GaussianScore(ExactScore):
    """Data N(mean, diag(variances)): mean and variances of the data's shape ``(c, ...)``; zero variances are points.

    For a full covariance, pass the data in its eigenbasis. Raises ValueError for variances that are negative or
    not of the mean's shape.
    """

    variances: Tensor

    def __init__(
        self, kernel: Kernel, mean: Float[Tensor, " channels *space"], variances: Float[Tensor, " channels *space"]
    ) -> None:
        super().__init__(kernel, mean)
        if variances.shape != mean.shape or not (variances >= 0).all():
            raise ValueError(
                f"variances of shape {tuple(variances.shape)}; one number >= 0 is needed per entry of the "
                f"mean, shape {tuple(mean.shape)}"
            )
        self.register_buffer("variances", in_float64(variances).flatten())

    def blurred(self, x: Float[Tensor, "n d"], tau: Float[Tensor, "n 1"]) -> tuple[Tensor, Tensor]:
        """Log density and score of N(0, variances + tau); see ``ExactScore.blurred``."""
        total = self.variances.to(x) + tau
        log_density = -(x.square() / total + torch.log(2 * math.pi * total)).sum(1) / 2
        return log_density, -x / total
