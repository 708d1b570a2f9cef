"""The ODE that a conjugation works on: a process, a prediction and a matrix B, as named functions of time.

Mapped by A with A' = A (B - L), the probability-flow ODE z' = L z + eta n becomes zhat' = A B A^{-1} zhat + A eta n.
Knows which symbols stand for B, L and eta; solves nothing and knows no step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import sympy

from integrator_analysis.algebra.definitions import Definition, Definitions
from integrator_analysis.algebra.linear_flow import LinearFlow
from integrator_analysis.algebra.symbols import t
from integrator_analysis.inputs import InputError, as_rational
from integrator_analysis.methods.base_methods import VARIABLES
from integrator_analysis.methods.conjugation.b_matrix import check_shape, example, lambda_, matrix_of
from integrator_analysis.parametrisation.check import check_closed_forms
from integrator_analysis.parametrisation.frames import variance
from integrator_analysis.parametrisation.parametrisation import Parametrisation
from integrator_analysis.parametrisation.registry import parametrisation
from integrator_analysis.parametrisation.signal_to_noise import slope_of
from integrator_analysis.processes import Process

__all__ = ["TransformedODE", "transform"]


@dataclass(frozen=True)
class TransformedODE:
    """The ODE, and the symbols in which its solution is written.

    ``matrix`` is B; its entries that depend on time are functions that ``b_entries`` defines. ``conjugated`` is False
    where B was given as "0", which opens closed forms that a matrix of zeros does not look for. ``variable`` names
    what a step is measured in. ``flow`` names the entries of E(s, t) and of the weights psi_k.
    """

    process: Process
    parametrisation: Parametrisation
    matrix: sympy.Matrix
    b_entries: Mapping[sympy.Function, Definition]
    conjugated: bool
    variable: str
    parameters: Mapping[sympy.Symbol, sympy.Expr]
    flow: LinearFlow

    @property
    def blocks(self) -> tuple[str, ...]:
        return self.process.blocks

    @property
    def size(self) -> int:
        """The number of blocks."""
        return len(self.process.blocks)

    @property
    def definitions(self) -> Definitions:
        """What the functions in L, eta and B stand for."""
        return self.process.definitions.with_(self.parametrisation.definitions).with_(self.b_entries)

    def slope(self, time: sympy.Expr) -> sympy.Expr:
        """The derivative of the step's variable at a time."""
        return sympy.S.One if self.flow.variable is None else slope_of(self.flow.variable.func)(time)


def transform(
    process: Process,
    B: str | sympy.MatrixBase,
    strength: float,
    prediction: str,
    noise: float,
    variable: str,
    degree: int,
) -> TransformedODE:
    """The ODE of a process, for a network that returns ``prediction``, conjugated with ``B``, a matrix or a family.

    ``noise`` is kappa; ``degree`` counts the weights psi_k that steps need. Raises InputError for a prediction or a B
    that the process does not have.
    """
    par = _checked_parametrisation(process, prediction, as_rational(noise, "noise"))
    matrix, b_entries = _named_matrix(B, process)
    measure = VARIABLES[variable]
    return TransformedODE(
        process=process,
        parametrisation=par,
        matrix=matrix,
        b_entries=b_entries,
        conjugated=B != "0",
        variable=variable,
        parameters=_parameters(process, par, matrix, strength, tabled=B == "table"),
        flow=LinearFlow.named(process.blocks, matrix - par.drift, par.eta.as_mutable(), degree, measure),
    )


def _checked_parametrisation(process: Process, prediction: str, kappa: sympy.Rational) -> Parametrisation:
    """The parametrisation for the SDE of strength kappa, its closed forms checked by number."""
    par = parametrisation(prediction, process).noisy(kappa)
    if kappa and par.homogeneous is None:
        raise InputError(
            f"noise = {kappa} with parametrisation {par.name} on process {process.name}: the weights of the "
            "reverse SDE are derived for x0 on one block"
        )
    check_closed_forms(par)
    return par


def _named_matrix(B: str | sympy.MatrixBase, process: Process) -> tuple[sympy.Matrix, dict[sympy.Function, Definition]]:
    """B with exact numbers, and a named function for each entry that depends on time, with its definition."""
    given = matrix_of(B, process) if isinstance(B, str) else B
    check_shape(given, process)
    exact = sympy.Matrix(given).applyfunc(lambda e: sympy.nsimplify(e, rational=True))
    table: dict[sympy.Function, Definition] = {}
    for i, row in enumerate(process.blocks):
        for j, column in enumerate(process.blocks):
            if exact[i, j].has(t):
                name = sympy.Function(f"b_{row}{column}")
                table[name] = Definition((t,), exact[i, j])
                exact[i, j] = name(t)
    return exact, table


def _parameters(
    process: Process, par: Parametrisation, matrix: sympy.Matrix, strength: float, tabled: bool
) -> dict[sympy.Symbol, sympy.Expr]:
    """The values of all symbols: the process's, the prediction's, and those of B."""
    values = {**process.parameters, **par.parameters}
    if matrix.has(lambda_):
        values[lambda_] = as_rational(strength, "lambda")
    if tabled:
        if variance in values:
            raise InputError(f"B = table takes a prediction that needs no variance of the data, not {par.name}")
        # Samplers replace these numbers step by step; analyses need some that are generic.
        values |= dict(zip(matrix, example(matrix.rows), strict=True))
    return values
