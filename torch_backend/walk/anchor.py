"""The data anchor: the mean and covariance of a data set, and samplers whose coefficients take its variances.

Knows moments, an orthogonal change of basis and the walk; knows no formula of a scheme. Let the data have mean mu and
covariance U diag(v) U^T. In the basis U, the coordinates of the centred state z - psi(t) mu do not mix: each is a
problem of its own, with the variance v of its direction.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from torch_backend.scheme import Scheme, SchemeFacts, facts_of
from torch_backend.scores.exact import Kernel
from torch_backend.walk.loop import Callback, Ending, Network, Progress, integrate, step_to_no_noise
from torch_backend.walk.sample_scheme import choose_times, weights_at_end
from torch_backend.walk.table import lowers_final_order, tabulate

__all__ = ["Anchor", "anchored_sample", "fit_anchor"]


class Anchor(NamedTuple):
    """The data's mean ``(c, ...)`` and their variances ``(d,)`` along the columns of ``basis`` ``(d, d)``, d = c * ...

    All float64. Without a ``basis`` the directions are the coordinates themselves, and no matrix product is made.
    """

    mean: Tensor
    variances: Tensor
    basis: Tensor | None

    def to_basis(self, flat: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        """The coordinates in the basis of flattened states."""
        return flat if self.basis is None else flat @ self.basis.to(flat)

    def from_basis(self, flat: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        """The flattened states with these coordinates in the basis."""
        return flat if self.basis is None else flat @ self.basis.to(flat).T


LEAST_VARIANCE = 1e-8
"""The least variance that a direction counts with, as a share of the largest: at zero, weights would not be finite."""


def fit_anchor(
    data: Tensor | Iterable[Tensor] | None = None,
    kind: str = "full",
    *,
    mean: Tensor | None = None,
    covariance: Tensor | None = None,
) -> Anchor:
    """Fit the anchor of a data set: from a tensor ``(n, c, ...)``, from batches of it, or from stored moments.

    ``kind``: "full" diagonalises the covariance once (d x d); "channel" takes one variance per channel, dimension 1.
    With ``mean`` ``(c, ...)`` and ``covariance``, ``(d, d)`` or ``(c,)`` for "channel", no data are read. Raises
    ValueError for data without samples, an unknown kind, or a covariance that is not symmetric positive definite.

    >>> fit_anchor(torch.randn(100, 2, 3, 3, dtype=torch.float64), "channel").variances.shape
    torch.Size([18])
    """
    if kind not in ("full", "channel"):
        raise ValueError(f"anchor kind {kind!r} is unknown; accepted: full, channel")
    if (data is None) == (mean is None or covariance is None) or (data is not None and mean is not None):
        raise ValueError("an anchor is fitted from data, or from mean and covariance; pass one of the two")
    if mean is None or covariance is None:
        mean, covariance = _moments(data, kind)  # type: ignore[arg-type]
    mean, covariance = mean.double(), covariance.double()
    if mean.dim() < 1:
        raise ValueError("the mean is a number; a tensor of the data's shape (c, ...) is needed")
    size, channels = mean.numel(), mean.shape[0]
    if kind == "channel":
        if covariance.shape != (channels,) or not (covariance > 0).all() or not covariance.isfinite().all():
            raise ValueError(
                f"one positive variance per channel is needed, {channels} in all and finite, got shape "
                f"{tuple(covariance.shape)} with least value {float(covariance.min()):g}"
            )
        return Anchor(mean, covariance.repeat_interleave(size // channels), None)
    if not mean.isfinite().all() or not covariance.isfinite().all():
        raise ValueError("the mean or the covariance of the data is not finite; are there NaN or infinite samples?")
    if covariance.shape != (size, size) or not torch.allclose(covariance, covariance.T):
        raise ValueError(
            f"the covariance has shape {tuple(covariance.shape)}; a symmetric one of shape {(size, size)} is needed"
        )
    variances, basis = torch.linalg.eigh(covariance)
    if not variances[-1] > 0 or variances[0] < -LEAST_VARIANCE * variances[-1]:
        raise ValueError(f"the covariance is not positive definite: its least eigenvalue is {float(variances[0]):g}")
    return Anchor(mean, variances.clamp(min=LEAST_VARIANCE * float(variances[-1])), basis)


def _moments(data: Tensor | Iterable[Tensor], kind: str) -> tuple[Tensor, Tensor]:
    """Mean and covariance of all samples, in one pass over the batches."""
    count, shape = 0, None
    for batch in [data] if isinstance(data, Tensor) else data:
        x = (batch[0] if isinstance(batch, (tuple, list)) else batch).detach().cpu().double()
        if x.dim() < 2 or (shape is not None and x.shape[1:] != shape):
            raise ValueError(f"a batch has shape {tuple(x.shape)}; all must be (n, c, ...) with the same c, ...")
        if not len(x):
            continue
        flat = x.flatten(1)
        if shape is None:
            shape, shift = x.shape[1:], flat.mean(0)
            first, second = torch.zeros_like(shift), torch.zeros(len(shift), len(shift), dtype=torch.float64)
        centred = flat - shift  # sums of squares about a point near the mean do not cancel
        first += centred.sum(0)
        second += centred.T @ centred
        count += len(x)
    if shape is None or count < 2:
        raise ValueError(f"an anchor needs at least two samples, got {count}")
    mean = first / count
    covariance = second / count - torch.outer(mean, mean)
    if kind == "channel":
        covariance = covariance.diag().reshape(shape[0], -1).mean(1)
    return (shift + mean).reshape(shape), covariance


def anchored_sample(
    scheme: Scheme,
    anchor: Anchor,
    kernel: Kernel,
    network: Network,
    z_T: Float[Tensor, "n channels *space"],
    steps: int | None = None,
    times: Iterable[float] | None = None,
    grid: str | None = None,
    end_at_zero: bool | None = None,
    callback: Callback | None = None,
    progress: Progress = False,
    lower_order_final: bool | None = None,
    start: str | None = None,
) -> Float[Tensor, "n channels *space"]:
    """Walk z_T with a scheme that takes the data's variance, each direction of the anchor with its own.

    ``network(z, t)`` is an ordinary network of the process: it sees states in the coordinates of the data. ``kernel``
    gives the process's mean psi(t). The other arguments are those of ``sample_scheme``. Raises ValueError as that
    does, for a scheme that takes no variance, and for a state of another shape than the anchor's mean.
    """
    facts = facts_of(scheme)
    if facts.variance is None:
        raise ValueError(f"{facts.spec} takes no variance of the data; an anchored scheme is needed")
    walk = choose_times(facts, steps, times, grid, end_at_zero, start)
    lowered = lowers_final_order(facts, len(walk) - 1, lower_order_final)
    blocks, n = len(facts.blocks), len(z_T)
    if tuple(z_T.shape[1:]) != (blocks * anchor.mean.shape[0], *anchor.mean.shape[1:]):
        raise ValueError(
            f"z_T has shape {tuple(z_T.shape)}; the anchor is for data of shape {tuple(anchor.mean.shape)}, so "
            f"dimension 1 must hold {blocks} block(s) of it"
        )
    values, places = anchor.variances.unique(return_inverse=True)
    tables = [_tabulate(facts, walk, float(v), lowered) for v in values]  # one per distinct variance
    table = torch.stack(tables, dim=-1)[:, :, places]

    # The walk is made in the coordinates of the anchor; network and callback see the coordinates of the data.
    def centre(t: Tensor, like: Tensor) -> Tensor:
        psi = torch.stack(kernel.mean(t.reshape(-1)[:1].cpu().double()))
        return (psi * anchor.mean.flatten()).to(like)[None]  # (1, blocks, d)

    def outside(y: Tensor, t: Tensor) -> Tensor:
        return (anchor.from_basis(y) + centre(t, y)).reshape(n, *z_T.shape[1:])

    def inside(y: Tensor, t: Tensor) -> Tensor:
        out = network(outside(y, t), t)
        return anchor.to_basis(out.reshape(n, blocks, -1))

    def ending(weights: list[float]) -> Ending:
        # The network's prediction of x_0 is one in the coordinates of the data.
        plain = step_to_no_noise(weights)

        def predict(y: Tensor, t: Tensor, watched: Network) -> Tensor:
            def outputs(z: Tensor, t: Tensor) -> Tensor:
                return anchor.from_basis(watched(y, t)).reshape(z.shape)

            data = plain(outside(y, t), t, outputs).reshape(n, blocks, -1)
            return anchor.to_basis(data - centre(torch.zeros(1), data))

        return predict

    def shown(i: int, s: float, y: Tensor) -> object:
        return callback(i, s, outside(y, torch.tensor([s], dtype=torch.float64))) if callback is not None else None

    with torch.no_grad():
        first = torch.tensor([walk[0]], dtype=torch.float64)
        y = anchor.to_basis(z_T.reshape(n, blocks, -1) - centre(first, z_T))
        y = integrate(
            facts.step, table, walk, inside, y, blocks=blocks, history=facts.history, callback=shown,
            progress=progress, ending=ending(weights_at_end(facts, walk)) if walk[-1] == 0 else None,
        )  # fmt: skip
        return outside(y, torch.tensor([walk[-1]], dtype=torch.float64))


def _tabulate(facts: SchemeFacts, walk: list[float], variance: float, lower_order_final: bool) -> Tensor:
    """The coefficients of the walk for data of one ``variance``."""
    return tabulate(lambda *a: facts.coefficients(*a, v=variance), walk, facts.history, facts.mends, lower_order_final)
