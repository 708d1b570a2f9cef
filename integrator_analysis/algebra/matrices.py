"""Exponentials of 1 x 1 and 2 x 2 symbolic matrices by Cayley-Hamilton, exact at and near a double eigenvalue.

Knows linear algebra only. sympy's own exponential is never used: it diagonalises, and is all nan where a matrix is
defective, as the drift at critical damping is.
"""

from __future__ import annotations

from collections.abc import Mapping

import sympy

from integrator_analysis.algebra.special import cosh_sqrt, sinhc_sqrt

__all__ = ["commutes_with_integral", "exponential", "is_zero"]


def is_zero(e: sympy.Expr) -> bool:
    """Exact zero test for a rational expression: its numerator over a common denominator, expanded."""
    return sympy.expand(sympy.together(e).as_numer_denom()[0]) == 0


def exponential(matrix: sympy.Matrix, parameters: Mapping[sympy.Symbol, sympy.Expr] | None = None) -> sympy.Matrix:
    """exp(matrix) for size 1 and 2: e^tau [cosh(delta) I + sinh(delta)/delta (matrix - tau I)], tau = trace/2.

    ``parameters`` are the values at which the discriminant delta^2 is tested for zero. The entries alone do not show it
    where parameters depend on each other, as the mass does on the friction at critical damping.

    >>> exponential(sympy.Matrix([[0, 1], [0, 0]]))
    Matrix([
    [1, 1],
    [0, 1]])

    Raises NotImplementedError for larger matrices.
    """
    size = matrix.rows
    if size == 1:
        return sympy.Matrix([[sympy.exp(matrix[0, 0])]])
    if size != 2:
        raise NotImplementedError(
            f"no closed form for the exponential of a {size} x {size} matrix; sizes 1 and 2 have one"
        )
    tau = matrix.trace() / 2
    rest = matrix - tau * sympy.eye(2)
    discriminant = rest[0, 0] ** 2 + rest[0, 1] * rest[1, 0]
    if is_zero(discriminant.subs(dict(parameters or {}))):
        return sympy.exp(tau) * (sympy.eye(2) + rest)
    return sympy.exp(tau) * (cosh_sqrt(discriminant) * sympy.eye(2) + sinhc_sqrt(discriminant) * rest)


def commutes_with_integral(matrix: sympy.Matrix, t: sympy.Symbol) -> bool:
    """Whether matrix(t) commutes with matrix(u) for all t, u, so that exp of its integral solves the linear ODE."""
    u = sympy.Dummy("u")
    other = matrix.xreplace({t: u})
    return all(is_zero(entry) for entry in matrix * other - other * matrix)
