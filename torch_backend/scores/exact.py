"""From the blurred law of the data to eps, score and log density of the diffused state, for any number of blocks.

Knows the perturbation kernel and the eps convention; does not know the data: a subclass says what its law is.

Let z_t = psi x_0 + L xi, where psi has k entries and L is the kernel's Cholesky factor. Whiten the blocks: zeta =
L^-1 z and u = L^-1 psi. All that z says about x_0 is then x = (u . zeta) / |u|^2 = x_0 + N(0, tau), tau = 1 / |u|^2:
the data, blurred. The rest, zeta - u x, is noise. Hence, with g the score of the blurred data at x,

    eps = -L^T score = zeta - u E[x_0 | z] = (zeta - u x) - u tau g.

No digits cancel here as tau -> 0. For one block, tau is (sigma / alpha)^2 and the bracket is zero.
"""

import math
from itertools import accumulate
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

Blocks = tuple[Tensor, ...]

SMALLEST_RATIO = 1e-12
"""The least alpha / sigma on one block: what z says about x_0 is then far below rounding, and its square in float32."""


@runtime_checkable
class Kernel(Protocol):
    """A process's perturbation kernel N(psi x_0, L L^T kron I), as the generated kernel modules give it.

    ``mean(t)``: psi, k tensors of t's shape; ``cholesky(t)``: the lower triangle of L row by row, k (k + 1) / 2
    tensors of t's shape. Both take and return float64; t is forward diffusion time.
    """

    def mean(self, t: Tensor) -> tuple[Tensor, ...]: ...

    def cholesky(self, t: Tensor) -> tuple[Tensor, ...]: ...


def in_float64(values: Tensor) -> Tensor:
    """The values in float64: where they are or, if their device has no float64 (MPS), on the CPU."""
    return (values.cpu() if values.device.type == "mps" else values).double()


class _Whitened(NamedTuple):
    """A state in whitened blocks: d is the data's size, every entry has the state's working dtype."""

    factor: list[Blocks]  # rows of L, each entry (n, 1)
    direction: Blocks  # u, k of (n, 1)
    rest: Blocks  # zeta - u x, k of (n, d)
    x: Tensor  # (n, d), centred
    tau: Tensor  # (n, 1)


class ExactScore(torch.nn.Module):
    """The exact eps of a process on data of a known law; call it like a network, move it like a module.

    A subclass implements ``blurred``. Working dtype: float64 for a float64 state, else float32; the kernel is
    always evaluated in float64. Time is forward diffusion time. Source: Song et al. 2011.13456, section 3.3, with
    the eps convention of Pandey et al. 2310.07894: score = -L^-T eps. MPS has no float64: leave the module on the CPU
    there, it takes states of every device.
    """

    centre: Tensor

    def __init__(self, kernel: Kernel, centre: Float[Tensor, " channels *space"]) -> None:
        super().__init__()
        self.kernel = kernel
        self.register_buffer("centre", in_float64(centre))

    def blurred(self, x: Float[Tensor, "n d"], tau: Float[Tensor, "n 1"]) -> tuple[Tensor, Tensor]:
        """Log density (n,) and score (n, d), at x, of the centred data blurred with Gaussian noise of variance tau."""
        raise NotImplementedError

    def forward(
        self, z: Float[Tensor, "n blocks_channels *space"], t: Float[Tensor, " n"]
    ) -> Float[Tensor, "n blocks_channels *space"]:
        """eps(z, t), of z's shape and dtype. Raises ValueError where z is not k blocks of the data's shape."""
        return self._join(self._eps(self._whiten(z, t)), z)

    def score(
        self, z: Float[Tensor, "n blocks_channels *space"], t: Float[Tensor, " n"]
    ) -> Float[Tensor, "n blocks_channels *space"]:
        """The score of the diffused data, d log p_t / dz, of z's shape and dtype; raises as ``forward`` does."""
        state = self._whiten(z, t)
        eps, blocks = self._eps(state), len(state.direction)
        score: dict[int, Tensor] = {}
        for a in reversed(range(blocks)):  # L^T score = -eps, from the last block up
            known = sum(state.factor[b][a] * score[b] for b in range(a + 1, blocks))
            score[a] = -(eps[a] + known) / state.factor[a][a]
        return self._join(tuple(score[a] for a in range(blocks)), z)

    def log_density(self, z: Float[Tensor, "n blocks_channels *space"], t: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """log p_t(z), natural logarithm, in the working dtype; raises as ``forward`` does."""
        state = self._whiten(z, t)
        d = self.centre.numel()
        log_blurred, _ = self.blurred(state.x, state.tau)
        # From z to (x, rest): |dz| = det L |d zeta|, and along u the whitened coordinate is x / sqrt(tau).
        log_scale = torch.stack([row[-1].log() for row in state.factor]).sum(0) - state.tau.log() / 2
        distance = torch.stack([block.square().sum(1) for block in state.rest]).sum(0)
        noise = (distance + (len(state.rest) - 1) * d * math.log(2 * math.pi)) / 2
        return log_blurred - noise - d * log_scale[:, 0]

    def _eps(self, state: _Whitened) -> Blocks:
        """eps, block by block: the noise beside x, less what the blurred data's score says."""
        _, gradient = self.blurred(state.x, state.tau)
        noise = state.tau * gradient
        return tuple(rest - u * noise for rest, u in zip(state.rest, state.direction, strict=True))

    def _whiten(self, z: Tensor, t: Tensor) -> _Whitened:
        """The state in whitened blocks. Raises ValueError where z is not k blocks of the data's shape."""
        once = in_float64(t[:1] if t.dim() == 1 and t.stride(0) == 0 else t)  # a batch at one time, as loops expand it
        psi, triangle = (tuple(e.expand(t.shape) for e in f(once)) for f in (self.kernel.mean, self.kernel.cholesky))
        k, work = len(psi), torch.float64 if z.dtype == torch.float64 else torch.float32
        expected = (k * self.centre.shape[0], *self.centre.shape[1:])
        if z.shape[1:] != expected or t.shape != z.shape[:1]:
            raise ValueError(
                f"z has shape {tuple(z.shape)} and t {tuple(t.shape)}; for {k} block(s) of the data they "
                f"must be {('n', *expected)} and ('n',)"
            )
        ends = list(accumulate(range(1, k + 1)))
        rows64 = [tuple(entry[:, None] for entry in triangle[end - a - 1 : end]) for a, end in enumerate(ends)]
        u64 = _solve_lower(rows64, tuple(entry[:, None] for entry in psi))
        if k == 1:  # alpha = 0, where flow begins: tau must not be infinite for x = tau u zeta; eps = zeta holds there
            u64 = (u64[0].clamp_min(SMALLEST_RATIO),)
        tau64 = 1 / torch.stack(u64).square().sum(0)

        rows = [tuple(entry.to(work).to(z.device) for entry in row) for row in rows64]
        u, tau = tuple(entry.to(work).to(z.device) for entry in u64), tau64.to(work).to(z.device)
        centre = self.centre.to(work).to(z.device).flatten()
        blocks = z.to(work).reshape(z.shape[0], k, centre.numel()).unbind(1)
        zeta = _solve_lower(
            rows, tuple(z_a - p[:, None].to(work).to(z.device) * centre for z_a, p in zip(blocks, psi, strict=True))
        )
        x = tau * torch.stack([u_a * zeta_a for u_a, zeta_a in zip(u, zeta, strict=True)]).sum(0)
        if k == 1:  # nothing is left beside x; the difference below would be rounding
            return _Whitened(rows, u, (torch.zeros_like(x),), x, tau)
        rest = tuple(zeta_a - u_a * x for zeta_a, u_a in zip(zeta, u, strict=True))
        return _Whitened(rows, u, rest, x, tau)

    @staticmethod
    def _join(blocks: Blocks, like: Tensor) -> Tensor:
        """The blocks, each (n, d), as one state with the shape and the dtype of ``like``."""
        return torch.stack(blocks, 1).reshape(like.shape).to(like.dtype)


def _solve_lower(rows: list[Blocks], right: Blocks) -> Blocks:
    """Solve L x = right by forward substitution over the blocks; ``rows`` are those of L."""
    found: list[Tensor] = []
    for row, value in zip(rows, right, strict=True):
        known = sum(entry * solved for entry, solved in zip(row, found, strict=False))
        found.append((value - known) / row[-1])
    return tuple(found)
