"""The matrix B of a conjugation: the families that have a name, and matrices that a user gives."""

from __future__ import annotations

import re

import sympy
from sympy.core.function import AppliedUndef

from integrator_analysis.inputs import NUMBER, InputError, as_rational
from integrator_analysis.processes import Process
from integrator_analysis.program.given_table import table_symbols

__all__ = ["FAMILY_NAMES", "example", "has_strength", "is_family", "lambda_", "matrix_of"]

lambda_ = sympy.Symbol("lambda", real=True)
"""The strength of B = lambda I, lambda ones or lambda diag(a, b), in units of 1/time."""

FAMILIES = {
    "0": lambda k: sympy.zeros(k, k),
    "lambda*I": lambda k: lambda_ * sympy.eye(k),
    "lambda*ones": lambda k: lambda_ * sympy.ones(k, k),
    "table": table_symbols,
}

DIAGONAL = re.compile(rf"lambda\*diag\( *({NUMBER}(?: *, *{NUMBER})*) *\)")
"""lambda*diag(a, b) or lambda*diag(a): one number per block."""

FAMILY_NAMES = f"{', '.join(FAMILIES)}, lambda*diag(a, b)"


def example(k: int) -> sympy.Matrix:
    """The B at which schemes with a table are analysed and verified: a regular matrix, no two entries alike.

    >>> example(2)
    Matrix([
    [1/2, 3/2],
    [  1,   2]])
    """
    return sympy.Matrix(k, k, lambda i, j: sympy.Rational(1 + i + 2 * j, 2))


UNUSABLE = (sympy.nan, sympy.oo, -sympy.oo, sympy.zoo, sympy.I, AppliedUndef)
"""What an entry of B may not hold: what is not a finite real number, and functions without a definition."""


def is_family(name: object) -> bool:
    """Whether ``name`` names a family of B.

    >>> [is_family(name) for name in ("lambda*I", "lambda*diag(1, -0.5)", "lambda*diag(1, x)")]
    [True, True, False]
    """
    return isinstance(name, str) and (name in FAMILIES or DIAGONAL.fullmatch(name) is not None)


def has_strength(B: object) -> bool:
    """Whether B is a multiple of lambda, so that it needs a strength."""
    return isinstance(B, str) and B.startswith("lambda")


def matrix_of(name: str, process: Process) -> sympy.Matrix:
    """B of a family on a process. Raises InputError for a diagonal of another size."""
    k = len(process.blocks)
    if diagonal := DIAGONAL.fullmatch(name):
        matrix = lambda_ * sympy.diag(*(as_rational(float(number), "B") for number in diagonal[1].split(",")))
        check_shape(matrix, process)
        return matrix
    return FAMILIES[name](k)


def check_shape(matrix: sympy.Matrix, process: Process) -> None:
    """Raise InputError unless B has a row and a column for each block of the process."""
    k = len(process.blocks)
    if matrix.shape != (k, k):
        raise InputError(
            f"B has shape {matrix.shape}; process {process.name} has {k} block(s), so it must be {k} x {k}"
        )
