"""A real data set with an exact score: the 8 x 8 handwritten digits that come with scikit-learn.

Knows where the images are and how they are scaled; scikit-learn is imported when they are first asked for.
"""

from functools import cache

import torch
from jaxtyping import Float64
from torch import Tensor

from torch_backend.scores.exact import Kernel
from torch_backend.scores.mixture import MixtureScore


@cache
def _images() -> Tensor:
    """The images, read once."""
    from sklearn.datasets import load_digits

    return torch.from_numpy(load_digits().images / 8 - 1)[:, None].contiguous()


def digits() -> Float64[Tensor, "1797 1 8 8"]:
    """The 1797 images, pixels from [0, 16] scaled to [-1, 1]; a fresh copy. Source: UCI, Optical Recognition of
    Handwritten Digits (test set). Raises ImportError without scikit-learn.

    >>> digits().shape, digits().min().item(), digits().max().item()
    (torch.Size([1797, 1, 8, 8]), -1.0, 1.0)
    """
    return _images().clone()


def digits_score(kernel: Kernel, bandwidth: float) -> MixtureScore:
    """The exact score of the digits, each blurred by Gaussian noise of standard deviation ``bandwidth`` (pixel units).

    A bandwidth of zero makes the data the images themselves: every exact sample is then a copy of one of them.
    """
    return MixtureScore(kernel, digits(), bandwidth**2)
