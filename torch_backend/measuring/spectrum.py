"""The spectrum of a network's Jacobian along a walk, by Krylov methods: only products with the Jacobian are needed.

Knows torch and any callable field(z, t); knows no process, and forms no Jacobian, since autograd gives the products.
A batch has one Jacobian per sample, and all are iterated at once: the field must treat samples independently, as a
network in evaluation mode does.
Sources: Saad, Numerical Methods for Large Eigenvalue Problems, 2nd edition, SIAM 2011, chapter 6.
"""

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from torch_backend.walk.loop import Network
from torch_backend.walk.validation import check_times, unknown_name_message

__all__ = ["Jacobian", "Spectrum", "along_trajectory", "eigenvalues", "largest_singular_value", "symmetric_range"]

Product = Callable[[Tensor], Tensor]
"""A linear map on (n, d), row by row."""

ORDERS: dict[str, Callable[[Tensor], Tensor]] = {
    "magnitude": lambda values: values.abs(),
    "real": lambda values: values.real,
    "least real": lambda values: -values.real,
}
"""name -> the number that orders eigenvalues, largest first. Krylov spaces find the rim of a spectrum first."""


@dataclass(frozen=True)
class Spectrum:
    """Eigenvalues in the order asked for, and for each its residual ||J v - value v|| with a unit vector v."""

    values: Complex[Tensor, "n count"]
    residuals: Float[Tensor, "n count"]


class Jacobian:
    """d field(z, t) / dz at one point per sample, as products with flattened vectors (n, d).

    ``forward(v)`` is J v by forward-mode autograd, ``adjoint(w)`` is J^T w by reverse mode; both in z's dtype.
    """

    def __init__(self, field: Network, z: Float[Tensor, "n channels *space"], t: float) -> None:
        if z.dtype not in (torch.float32, torch.float64):
            raise TypeError(f"z has dtype {z.dtype}; float32 or float64 is needed")
        self._z = z.detach()
        times = torch.full((len(z),), float(t), dtype=z.dtype, device=z.device)
        self._at = lambda x: field(x, times)
        self._pull: Any = None

    def forward(self, v: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """The products J v, one per sample."""
        with warnings.catch_warnings():
            # torch itself compiles with the deprecated torch.jit when its forward mode is first used.
            warnings.filterwarnings("ignore", message=".*torch.jit", category=DeprecationWarning)
            product: Tensor = torch.func.jvp(self._at, (self._z,), (v.reshape(self._z.shape),))[1]
        return product.detach().reshape(v.shape)

    def adjoint(self, w: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """The products J^T w, one per sample. The network is evaluated once for all of them."""
        if self._pull is None:
            self._pull = torch.func.vjp(self._at, self._z)[1]
        return self._pull(w.reshape(self._z.shape), retain_graph=True)[0].detach().reshape(w.shape)


def eigenvalues(
    field: Network,
    z: Float[Tensor, "n channels *space"],
    t: float,
    count: int,
    which: str = "magnitude",
    *,
    seed: int,
    tolerance: float = 1e-4,
    most: int = 200,
) -> Spectrum:
    """``count`` eigenvalues of the Jacobian of field(., t) at every z, by Arnoldi's method with full orthogonalisation.

    Goes on until every residual is below ``tolerance`` times the largest |eigenvalue| of its sample, until the space
    is exhausted (then the spectrum is exact to rounding), or until ``most`` products are made: look at the residuals.
    A multiple eigenvalue shows its copies in an exhausted space only.

    ``which``: "magnitude", "real" (largest real parts) or "least real". The start vectors come from ``seed``.
    Raises ValueError for an unknown ``which`` or a count that is not between 1 and d.
    """
    if which not in ORDERS:
        raise ValueError(unknown_name_message("order of eigenvalues", which, ORDERS))
    size = z[0].numel()
    if not 1 <= count <= size:
        raise ValueError(f"count = {count} eigenvalues of a {size} x {size} Jacobian; 1 to {size} are accepted")
    space = _Krylov(Jacobian(field, z, t).forward, z, seed)
    found = Spectrum(torch.empty(0), torch.empty(0))
    while space.size < min(size, most):
        space.extend(min(space.size + max(count, 8), size, most))
        if space.size >= count:
            found = _ritz(space, ORDERS[which], count)
            if (found.residuals <= tolerance * found.values.abs().amax(1, keepdim=True)).all():
                break
    return found


def _ritz(space: "_Krylov", order: Callable[[Tensor], Tensor], count: int) -> Spectrum:
    """The first ``count`` eigenvalues of the Jacobian's projection on the space, with their residuals."""
    values, vectors = torch.linalg.eig(space.projected)
    vectors = vectors / vectors.norm(dim=-2, keepdim=True)
    residuals = space.last[:, None] * vectors[:, -1, :].abs()
    chosen = order(values).argsort(dim=1, descending=True)[:, :count]
    return Spectrum(values.gather(1, chosen), residuals.gather(1, chosen))


def symmetric_range(
    field: Network, z: Float[Tensor, "n channels *space"], t: float, *, seed: int, products: int = 60
) -> Float[Tensor, "n 2"]:
    """The least and the largest eigenvalue of (J + J^T)/2 per sample, float64, by Lanczos' method: inner bounds.

    The largest is the numerical abscissa: ||exp(tau J)|| grows at that rate at first, whatever the eigenvalues are.
    """
    jacobian = Jacobian(field, z, t)
    space = _Krylov(lambda v: (jacobian.forward(v) + jacobian.adjoint(v)) / 2, z, seed)
    space.extend(min(products, z[0].numel()))
    values = torch.linalg.eigvalsh((space.projected + space.projected.mT) / 2)
    return torch.stack([values[:, 0], values[:, -1]], dim=1)


def largest_singular_value(
    field: Network, z: Float[Tensor, "n channels *space"], t: float, *, seed: int, products: int = 40
) -> Float[Tensor, " n"]:
    """The norm ||J|| per sample, float64, by Lanczos' method on J^T J: a lower bound, to rounding once converged."""
    jacobian = Jacobian(field, z, t)
    space = _Krylov(lambda v: jacobian.adjoint(jacobian.forward(v)), z, seed)
    space.extend(min(products, z[0].numel()))
    return torch.linalg.eigvalsh((space.projected + space.projected.mT) / 2)[:, -1].clamp(min=0).sqrt()


class _Krylov:
    """Orthonormal bases V of Krylov spaces, one per sample, and the projections V^T J V, in float64 on the CPU."""

    def __init__(self, product: Product, like: Tensor, seed: int) -> None:
        self.product, self.seed = product, seed
        self.generator = torch.Generator().manual_seed(seed)
        self.shape, self.device, self.dtype = (len(like), like[0].numel()), like.device, like.dtype
        self.basis = [self._unit(self._random())]
        self.columns: list[Tensor] = []

    @property
    def size(self) -> int:
        """The dimension of the spaces, which is the number of products made."""
        return len(self.columns)

    @property
    def projected(self) -> Float[Tensor, "n m m"]:
        """V^T J V, upper Hessenberg."""
        return torch.stack([_pad(column[:, : self.size], self.size) for column in self.columns], dim=-1)

    @property
    def last(self) -> Float[Tensor, " n"]:
        """The norm of what the last product has outside the space."""
        return self.columns[-1][:, -1]

    def extend(self, size: int) -> None:
        """Make products until the spaces have ``size`` dimensions."""
        while self.size < size:
            vector = self.product(self.basis[-1])
            scale = vector.norm(dim=1)
            vector, found = self._outside(vector)
            rest = vector.norm(dim=1)
            # An invariant space: go on in a random direction, which the projection does not couple to it.
            done = rest <= 10 * torch.finfo(self.dtype).eps * scale
            if done.any():
                fresh = self._outside(self._random())[0]
                vector = torch.where(done[:, None], fresh, vector)
            rest = torch.where(done, torch.zeros_like(rest), rest)
            self.columns.append(torch.cat([found, rest[:, None]], dim=1).cpu().double())
            self.basis.append(self._unit(vector))

    def _outside(self, vector: Tensor) -> tuple[Tensor, Tensor]:
        """The part of a vector outside the space, orthogonalised twice, and its coefficients inside."""
        basis = torch.stack(self.basis, dim=1)
        total = torch.zeros(basis.shape[:2], dtype=self.dtype, device=self.device)
        for _ in range(2):
            inside = (basis @ vector[..., None])[..., 0]
            vector = vector - (inside[:, None, :] @ basis)[:, 0]
            total = total + inside
        return vector, total

    def _random(self) -> Tensor:
        """A random vector per sample, from the generator."""
        return torch.randn(self.shape, generator=self.generator, dtype=torch.float64).to(self.device, self.dtype)

    def _unit(self, vector: Tensor) -> Tensor:
        """Each sample's vector over its norm; a zero vector stays zero."""
        return vector / vector.norm(dim=1, keepdim=True).clamp(min=torch.finfo(self.dtype).tiny)


def _pad(column: Tensor, size: int) -> Tensor:
    """A column of ``size`` entries, zeros below those given."""
    return torch.nn.functional.pad(column, (0, size - column.shape[1]))


def along_trajectory(
    sampler: Any,
    network: Network,
    z_T: Float[Tensor, "n channels *space"],
    times: Iterable[float],
    count: int,
    which: str = "magnitude",
    *,
    seed: int,
    field: Network | None = None,
    tolerance: float = 1e-4,
) -> list[Spectrum]:
    """The spectra at the start of every step of a sampler's walk from z_T down the times.

    ``field`` is whose Jacobian is taken, the network itself unless given. ``seed`` is that of the start vectors and,
    where the sampler is stochastic, of its noise.
    """
    walk = check_times(times, to_zero=True)
    states = [z_T]
    noise = seed if sampler.stochastic else None
    sampler.sample(network, z_T, times=walk, seed=noise, callback=lambda i, s, z: states.append(z.clone()))
    return [
        eigenvalues(field or network, z, t, count, which, seed=seed, tolerance=tolerance)
        for z, t in zip(states, walk[:-1], strict=False)
    ]
