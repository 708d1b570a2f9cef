"""What a network on one block may return, and what a scheme asks for: x_0, eps, v or the velocity of a straight path.

Knows alpha and sigma of z = alpha x_0 + sigma eps, as numbers or tensors; knows no schedule and no scheme. Guidance and
exports read the same table; exported files carry this text.
"""

import math
from collections.abc import Callable
from typing import Any

PREDICTIONS: dict[str, Callable[[Any, Any], tuple[Any, Any]]] = {
    "epsilon": lambda alpha, sigma: (0.0, 1.0),
    "sample": lambda alpha, sigma: (1.0, 0.0),
    "v_prediction": lambda alpha, sigma: _per_norm(-sigma, alpha),
    "flow_prediction": lambda alpha, sigma: (-1.0, 1.0),
}
"""name -> (p, q) with output = p x_0 + q eps, as functions of alpha and sigma. Names are those of diffusers.

v is (alpha eps - sigma x_0) / sqrt(alpha^2 + sigma^2). The root is 1 where variance is preserved; with it v is that of
diffusers on sigmas too (EulerDiscreteScheduler).
"""


def _per_norm(p: Any, q: Any) -> tuple[Any, Any]:
    """(p, q) divided by sqrt(p^2 + q^2)."""
    norm = (p * p + q * q) ** 0.5
    return p / norm, q / norm


def from_state(given: str, asked: str, alpha: Any, sigma: Any) -> tuple[Any, Any]:
    """(skip, scale): what ``asked`` names is skip z + scale output, for an output of the kind that ``given`` names.

    Raises ZeroDivisionError where z and the output do not determine it: eps at sigma = 0 from x_0, x_0 at alpha = 0
    from eps.

    >>> from_state("v_prediction", "sample", 0.6, 0.8)
    (0.6, -0.8)
    >>> from_state("epsilon", "epsilon", 0.6, 0.8)
    (0.0, 1.0)
    """
    (p, q), (r, s) = PREDICTIONS[given](alpha, sigma), PREDICTIONS[asked](alpha, sigma)
    whole = alpha * q - sigma * p
    return (r * q - s * p) / whole, (s * alpha - r * sigma) / whole


def alpha_sigma(log_snr: float, exponent: float) -> tuple[float, float]:
    """alpha and sigma with log(alpha/sigma) = ``log_snr`` and alpha^exponent + sigma^exponent = 1.

    The exponent is 2 where variance is preserved, 1 on straight paths.

    >>> alpha_sigma(0.0, 1)
    (0.5, 0.5)
    """
    shares = (1 / (1 + math.exp(-exponent * log_snr)), 1 / (1 + math.exp(exponent * log_snr)))
    alpha, sigma = (share ** (1 / exponent) for share in shares)
    return alpha, sigma
