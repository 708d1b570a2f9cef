"""Transient growth of powers of a matrix, which its eigenvalues hide: norms, numerical range, Kreiss constant.

Knows stacks of square matrices, nothing of schemes. After Trefethen and Embree, Spectra and Pseudospectra, Princeton
2005, chapters 14 to 18. For a stable matrix R of size n, with the Kreiss constant K(R) = sup_{|z| > 1} (|z| - 1)
||(z - R)^{-1}||, the powers obey K <= sup_j ||R^j|| <= e n K (the right inequality is Spijker's, BIT 31 (1991) 551).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Growth", "growth", "henrici", "kreiss", "norm", "numerical_radius", "peak", "spectral_radius"]

ANGLES = 180
"""Directions in which the numerical range is bounded: a bound between two of them is off by 1 - cos(pi/180) = 2e-4 at
most, where the range is a point or a corner. The resolvent is looked at in twice as many."""

RADII = 1 + np.geomspace(1e-3, 10, 41)
"""Distances from the origin at which the resolvent is looked at: enough for a bound from below."""


@dataclass(frozen=True)
class Growth:
    """What one step's amplification matrix R does to norms, in the blocks' prior scale.

    - ``radius`` is the spectral radius, the limit of ||R^j||^(1/j);
    - ``norm`` is ||R||, the most that one step does;
    - ``peak`` is the largest ||R^j||, j = 0, 1, ..., infinite if unstable, and ``at`` is the j of it;
    - ``numerical_radius`` is w(R), with ||R^j|| <= 2 w^j;
    - ``kreiss`` is a bound from below of the peak;
    - ``henrici`` is sqrt(||R||_F^2 - sum |eigenvalue|^2), zero for normal matrices alone.
    """

    radius: float
    norm: float
    peak: float
    at: int
    numerical_radius: float
    kreiss: float
    henrici: float


def growth(matrix: np.ndarray, start: np.ndarray, powers: int) -> Growth:
    """Return all that ``Growth`` says of one ``matrix``; ``start`` and ``powers`` as for ``peak``."""
    largest, at = peak(matrix, start, powers)
    return Growth(
        radius=float(spectral_radius(matrix)),
        norm=float(norm(matrix)),
        peak=float(largest),
        at=int(at),
        numerical_radius=numerical_radius(matrix),
        kreiss=kreiss(matrix),
        henrici=henrici(matrix),
    )


def spectral_radius(matrices: np.ndarray) -> np.ndarray:
    """Return the largest |eigenvalue| of matrices (..., n, n): shape (...). Infinite where an entry is not finite."""
    if matrices.shape[-1] == 1:
        return np.abs(matrices[..., 0, 0])
    finite = np.isfinite(matrices).all(axis=(-1, -2))
    values = np.abs(np.linalg.eigvals(np.where(finite[..., None, None], matrices, 0))).max(axis=-1)
    return np.where(finite, values, np.inf)


def norm(matrices: np.ndarray) -> np.ndarray:
    """Return the largest singular value of matrices (..., m, n), m <= n: shape (...). Closed form to two rows."""
    if matrices.shape[-2] > 2:
        return np.linalg.norm(matrices, ord=2, axis=(-2, -1))
    gram = matrices @ matrices.conj().swapaxes(-1, -2)
    if gram.shape[-1] == 1:
        return np.sqrt(gram[..., 0, 0].real)
    # The larger eigenvalue of a Hermitian 2 x 2 matrix: half the trace, and the distance of its eigenvalues from that.
    half = (gram[..., 0, 0] + gram[..., 1, 1]).real / 2
    apart = np.hypot((gram[..., 0, 0] - gram[..., 1, 1]).real / 2, np.abs(gram[..., 0, 1]))
    return np.sqrt(half + apart)


def peak(matrices: np.ndarray, start: np.ndarray, powers: int) -> tuple[np.ndarray, np.ndarray]:
    """Return sup_j ||P R^j S|| over j = 0, ..., ``powers``, and the least j that attains it: both of shape (...).

    R are ``matrices`` (..., n, n), S is ``start`` (..., n, k), P takes the first k rows. For a one-step scheme S is the
    identity, for a multistep one it makes the kept outputs from the state. The result is infinite where the spectral
    radius is beyond 1 by more than rounding.

    >>> peak(np.array([[0.9, 1.0], [0.0, 0.9]]), np.eye(2), 100)[1]
    array(9)
    """
    k = start.shape[-1]
    unstable = spectral_radius(matrices) > 1 + 1e-7  # a double eigenvalue on the circle is found to sqrt(1e-16)
    safe = np.where(unstable[..., None, None], 0, matrices)
    largest = norm(start[..., :k, :] + 0 * safe[..., :k, :k])
    at = np.zeros(largest.shape, dtype=int)
    power = np.broadcast_to(np.eye(matrices.shape[-1]), matrices.shape)
    for j in range(1, powers + 1):
        power = power @ safe
        size = norm((power @ start)[..., :k, :])
        # 1e-12: a power that repeats the largest norm up to rounding is no new peak.
        more = size > largest * (1 + 1e-12)
        largest, at = np.where(more, size, largest), np.where(more, j, at)
        if np.all(norm(power) <= 1):
            break  # ||R^(i+j)|| <= ||R^i|| from here on: no later power is larger than all earlier ones
    return np.where(unstable, np.inf, largest), at


def numerical_radius(matrix: np.ndarray) -> float:
    """Return max |v* R v| over unit v, from the largest eigenvalue of the Hermitian part in every direction.

    >>> round(numerical_radius(np.array([[0.0, 1.0], [0.0, 0.0]])), 12)
    0.5
    """
    turned = np.exp(2j * np.pi * np.arange(ANGLES) / ANGLES)[:, None, None] * matrix
    # The numerical range's extent in a direction is the largest eigenvalue of the Hermitian part, turned there.
    hermitian = (turned + turned.conj().swapaxes(-1, -2)) / 2
    return float(np.linalg.eigvalsh(hermitian)[:, -1].max())


def kreiss(matrix: np.ndarray) -> float:
    """Return a bound from below of the Kreiss constant, by its definition on a grid of z outside the unit circle."""
    circle = np.exp(2j * np.pi * np.arange(2 * ANGLES) / (2 * ANGLES))
    z = RADII[:, None] * circle
    shifted = z[..., None, None] * np.eye(matrix.shape[-1]) - matrix
    smallest = np.linalg.svd(shifted, compute_uv=False)[..., -1]
    return float(((np.abs(z) - 1) / np.maximum(smallest, 1e-300)).max())


def henrici(matrix: np.ndarray) -> float:
    """Return Henrici's departure from normality in the Frobenius norm (Numer. Math. 4 (1962) 24).

    >>> round(henrici(np.array([[1.0, 3.0], [0.0, 2.0]])), 12)
    3.0
    """
    # ||R||_F^2 is the sum over the Schur form's entries: what eigenvalues leave of it stands above the diagonal.
    square = np.sum(np.abs(matrix) ** 2) - np.sum(np.abs(np.linalg.eigvals(matrix)) ** 2)
    return float(np.sqrt(max(square.real, 0.0)))
