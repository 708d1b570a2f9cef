"""Exact scores, used like networks: the data's law is known, so eps(z, t) is a formula and not a fit.

Knows where the names of the room are, and nothing else.
"""

from torch_backend.scores.dataset import digits, digits_score
from torch_backend.scores.exact import ExactScore, Kernel
from torch_backend.scores.gaussian import GaussianScore
from torch_backend.scores.mixture import MixtureScore

__all__ = ["ExactScore", "GaussianScore", "Kernel", "MixtureScore", "digits", "digits_score"]
