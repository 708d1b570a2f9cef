"""What a state of k blocks says of the data: a kernel N(psi x_0, L L^T), whitened.

Of x_0, zeta = L^-1 z says only w = (u . zeta) / |u| = |u| x_0 + noise, with u = L^-1 psi; the rest of zeta is noise.
Knows kernels as the generated modules give them. Exported files carry this text.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from torch_backend.walk.grids import times_at


class Whitened(NamedTuple):
    """A kernel at m times, in float64."""

    inverse: Tensor
    """L^-1, (m, k, k)."""
    unit: Tensor
    """u / |u|, (m, k)."""
    ratio: Tensor
    """|u|, which is alpha / sigma on one block, (m,)."""

    @property
    def along(self) -> Tensor:
        """What z is multiplied by to give w, (m, k)."""
        return (self.unit[:, None, :] @ self.inverse)[:, 0]


def whiten(kernel: Any, t: Tensor) -> Whitened:
    """The kernel at float64 times (m,). Raises ValueError where its entries are not one number for each time."""
    psi = kernel.mean(t)
    entries, k = kernel.cholesky(t), len(psi)
    if any(entry.shape != t.shape for entry in (*psi, *entries)):
        raise ValueError(
            f"the kernel of {getattr(kernel, 'PROCESS', 'the process')} has entries of shape {tuple(entries[0].shape)} "
            f"for {len(t)} time(s): its noise differs along the data, so that z does not reduce to one noisy x_0; a "
            "kernel N(psi x_0, Sigma kron I) is needed"
        )
    rows, columns = torch.tril_indices(k, k)
    factor = t.new_zeros(len(t), k, k)
    factor[:, rows, columns] = torch.stack(entries, 1)
    eye = torch.eye(k, dtype=t.dtype).expand_as(factor)
    inverse = torch.linalg.solve_triangular(factor, eye, upper=False)
    u = (inverse @ torch.stack(psi, 1)[:, :, None])[:, :, 0]
    ratio = u.norm(dim=1)
    # alpha = 0, where flow begins: one block has one direction, whatever its length
    unit = torch.ones_like(u) if k == 1 else u / ratio[:, None]
    return Whitened(inverse, unit, ratio)


def times_of_ratios(kernel: Any, ratios: Tensor, t_max: float, t_min: float) -> Tensor:
    """The times between t_min and t_max at which |u| has these values."""
    return times_at(lambda t: 1 / (1 + whiten(kernel, t).ratio), 1 / (1 + ratios), t_max, t_min)


def lift(kernel: Any, t: float, w: Tensor, noise: Tensor) -> Tensor:
    """The state z (n, k c, ...) at time t with u . L^-1 z / |u| = ``w`` (n, c, ...): L (w along u, the rest noise).

    ``noise`` (k, n, c, ...), standard normal: then z has the exact law that it has given w. On one block it is not
    read.
    """
    whole = whiten(kernel, torch.full((1,), t, dtype=torch.float64))
    factor, unit = torch.linalg.inv(whole.inverse[0]), whole.unit[0]
    blocks = [weight * w for weight in (factor @ unit).tolist()]
    if len(blocks) > 1:
        across = factor @ (torch.eye(len(unit), dtype=torch.float64) - torch.outer(unit, unit))
        mixed = torch.tensordot(across.to(noise), noise, dims=1).to(w)
        blocks = [block + part for block, part in zip(blocks, mixed.unbind(0), strict=True)]
    return torch.cat(blocks, 1)
