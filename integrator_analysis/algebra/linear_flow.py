"""Flows of linear equations dz/du = G(u) z, as data: the generator and the names of the flow's entries and moments.

Knows names and generators; expands nothing and knows no sampler.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import sympy

__all__ = ["LinearFlow"]


@dataclass(frozen=True)
class LinearFlow:
    """The linear ODE z' = -generator z, its propagator E and its weights, each entry a named function of two times.

    ``entries[i, j](a, b)`` is E(b, a): dE(b, u)/du = E generator(u), E(b, b) = I. ``moments[k][i, j](a, b)`` is
    psi_k = -int_b^a E(b, u) source(u) x(u)**k du with x(u) = (variable(u) - variable(a)) / (variable(b) -
    variable(a)), the share of the way from a to b in the ``variable``, a function of time; None is time itself.
    ``spread`` are, on two blocks, three numbers that say what the noise of covariance ``diffusion`` per unit of time
    has become at b: with C = int_b^a E(b, u) diffusion(u) E(b, u)^T du, the variance of the second block C_22, the
    slope C_12 / C_22 of the first on the second, and what is left of the first, C_11 - C_12**2 / C_22.
    """

    entries: sympy.ImmutableMatrix
    generator: sympy.ImmutableMatrix
    moments: tuple[sympy.ImmutableMatrix, ...] = ()
    source: sympy.ImmutableMatrix | None = None
    variable: sympy.Expr | None = None
    spread: tuple[sympy.Expr, sympy.Expr, sympy.Expr] | None = None
    diffusion: sympy.ImmutableMatrix | None = None

    @classmethod
    def named(
        cls,
        blocks: Sequence[str],
        generator: sympy.Matrix,
        source: sympy.Matrix,
        degree: int,
        variable: sympy.Expr | None = None,
    ) -> LinearFlow:
        """The flow with entries propagator_ij and weights psi_k_ij, k < ``degree``."""
        size = len(blocks)

        def matrix(name: str) -> sympy.ImmutableMatrix:
            return sympy.ImmutableMatrix(
                size, size, lambda i, j: sympy.Symbol(f"{name}_{blocks[i]}{blocks[j]}")
            ).applyfunc(lambda e: sympy.Function(e.name)(*_ENDS))

        moments = tuple(matrix(f"psi_{k}") for k in range(degree))
        return cls(matrix("propagator"), generator.as_immutable(), moments, source.as_immutable(), variable)

    def with_spread(self, blocks: Sequence[str], diffusion: sympy.Matrix) -> LinearFlow:
        """The flow of two blocks with the noise that ``diffusion`` makes on the way."""
        first, second = blocks
        names = (f"spread_{first}", f"spread_slope_{first}{second}", f"spread_{second}")
        spread = tuple(sympy.Function(name)(*_ENDS) for name in names)
        return replace(self, spread=spread, diffusion=diffusion.as_immutable())

    def noise_row(self, row: int, start: sympy.Expr, end: sympy.Expr) -> tuple[sympy.Expr, sympy.Expr]:
        """The coefficients of two independent standard normals in a block's noise."""
        assert self.spread is not None
        first, slope, second = (e.func(start, end) for e in self.spread)
        return (sympy.sqrt(first), slope * sympy.sqrt(second)) if row == 0 else (sympy.S.Zero, sympy.sqrt(second))


_ENDS = sympy.symbols("a b")
