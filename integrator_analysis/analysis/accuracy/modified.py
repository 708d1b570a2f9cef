"""Modified equations: what a one-step scheme solves one order better than the equation it was made for.

Knows leading local errors and the exact dynamics. With uniform steps of size h a deterministic scheme of order p
follows z' = f + h**p g in forward time up to O(h**(p + 1)), with g minus the leading coefficient of the local error.
A stochastic scheme follows, in the mean of observables, the reverse process whose generator has h**p times the leading
operator added. Whether that is the generator of an SDE is a question of its own: it is one if no derivative of f of the
third order occurs, and none of the second in a direction without noise.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import mpmath
import numpy as np
import sympy
from sympy.core.function import AppliedUndef

from integrator_analysis.algebra import notation
from integrator_analysis.algebra.numeric import function
from integrator_analysis.algebra.symbols import t
from integrator_analysis.analysis.accuracy.differentials import Derivative, Field, symbol_of
from integrator_analysis.analysis.accuracy.local_error import LocalError
from integrator_analysis.analysis.accuracy.terms import ErrorTerms
from integrator_analysis.analysis.expansion.step import OBSERVABLE, components
from integrator_analysis.inputs import InputError
from integrator_analysis.program.step_program import StepProgram

__all__ = ["ModifiedODE", "ModifiedSDE", "modified_equation"]


@dataclass(frozen=True)
class ModifiedODE:
    """z' = L z + eta n + h**power * correction, in forward time, n the unknown field of the scheme.

    ``correction`` holds g by elementary differentials; a block whose local error is of a higher power has none. For a
    scheme that reads earlier steps it describes the steps after the start-up, from a past that lies on the solution.
    """

    program: StepProgram
    power: int
    correction: ErrorTerms

    @property
    def unmodified(self) -> Mapping[str, sympy.Expr]:
        """L z + eta n by block, functions of t written as their names."""
        return _equation_in_symbols(self.program)

    def text(self) -> Mapping[str, str]:
        """Return the right-hand side of each block, the correction by elementary differentials."""
        found = self.correction.terms_text()
        power = {0: "", 1: "h*"}.get(self.power, f"h**{self.power}*")
        return {b: _add_correction(str(f), found[b], f"{power}(", ")") for b, f in self.unmodified.items()}

    def latex(self) -> Mapping[str, str]:
        """Return the right-hand sides as LaTeX."""
        found = self.correction.terms_latex()
        power = {0: "", 1: "h "}.get(self.power, f"h^{{{self.power}}} ")
        opening = power + r"\left("
        return {
            b: _add_correction(notation.latex(f), found[b], opening, r"\right)") for b, f in self.unmodified.items()
        }

    def right_hand_side(self, field: Field, h: float, digits: int = 25) -> Callable[[float, np.ndarray], np.ndarray]:
        """Return (t, z) -> z' in float64 for steps of size h; z holds k * d numbers, block after block.

        ``field`` is the program's unknown in mpmath, as in LocalError.evaluate_blocks. h = 0 gives the equation itself.
        """
        program, k = self.program, len(self.program.blocks)
        entries = [*program.parametrisation.drift, *program.parametrisation.eta]
        values = function(entries, (t,), program.definitions, program.parameters, "mpmath")

        def slope(time: float, z: np.ndarray) -> np.ndarray:
            with mpmath.workdps(digits):
                moment, state = mpmath.mpf(float(time)), [mpmath.mpf(float(v)) for v in z]
                linear, eta = np.array(values(moment), dtype=float).reshape(2, k, k)
                outputs = np.array([float(v) for v in field(state, moment)]).reshape(k, -1)
            total = linear @ np.reshape(z, (k, -1)) + eta @ outputs
            if h:
                found = self.correction.evaluate_blocks(list(z), float(time), field, digits=digits)
                total += h**self.power * np.array([found[block] for block in program.blocks])
            return total.ravel()

        return slope


@dataclass(frozen=True)
class ModifiedSDE:
    """The reverse process dz = (a + h**power * drift) dT + noise of covariance (D + h**power * diffusion) dT, T = -t.

    a = -(L z + eta n) and D = kappa**2 G G^T are those of the reverse SDE. ``forbidding`` are the derivatives of f in
    the leading operator for which no SDE of this kind has the modified generator: those of the third order and higher,
    and of the second in a direction in which D vanishes, where a covariance of size h**power needs noise of size
    h**(power/2). D + h**power * diffusion is a covariance for h small enough where D is regular, else formally.
    """

    program: StepProgram
    power: int
    error: LocalError

    @cached_property
    def _coefficients(self) -> Mapping[tuple[int, ...], sympy.Expr]:
        terms = self.error.terms[OBSERVABLE]
        return {d.index: term.coefficient for term in terms if isinstance(d := term.differential, Derivative)}

    @property
    def drift(self) -> Mapping[str, sympy.Expr]:
        """By block, the coefficient of its first derivative of f."""
        return {b: self._coefficients.get(self._index(n), sympy.S.Zero) for n, b in enumerate(self.program.blocks)}

    @property
    def diffusion(self) -> sympy.ImmutableMatrix:
        """k x k, twice the coefficients of the second derivatives of f."""
        k = len(self.program.blocks)
        return sympy.ImmutableMatrix(k, k, lambda i, j: self._entry(i, j) * (2 if i == j else 1))

    def _entry(self, *blocks: int) -> sympy.Expr:
        return self._coefficients.get(self._index(*blocks), sympy.S.Zero)

    def _index(self, *blocks: int) -> tuple[int, ...]:
        return tuple(blocks.count(n) for n in range(len(self.program.blocks)))

    @cached_property
    def forbidding(self) -> tuple[Derivative, ...]:
        """The derivatives of f for which there is no such SDE; empty if there is one."""
        blocks = self.program.blocks
        # A generator has derivatives of f up to the second order. Those of the second are half a covariance, which has
        # to stay positive for small h: it may not reach into a direction where D is zero.
        found = [index for index in self._coefficients if sum(index) > 2]
        silent = sympy.Matrix(self.program.process.diffusion).nullspace()
        for left, right in itertools.product(silent, repeat=2):
            if sympy.expand((left.T * self.diffusion * right)[0]) != 0:
                pairs = itertools.product(*([n for n, e in enumerate(v) if e != 0] for v in (left, right)))
                found += [self._index(*pair) for pair in pairs if self._entry(*pair) != 0]
        return tuple(Derivative(index, blocks) for index in dict.fromkeys(found))

    @property
    def exists(self) -> bool:
        """Whether there is an SDE with the modified generator, as a formal series in h."""
        return not self.forbidding

    def text(self) -> Mapping[str, str]:
        """Return the corrections of drift and diffusion by name, or under "none" why there is no modified SDE."""
        if not self.exists:
            names = ", ".join(map(str, self.forbidding))
            return {"none": f"no SDE has the modified generator: it holds {names}"}
        return {name: str(value) for name, value in self._entries().items()}

    def latex(self) -> Mapping[str, str]:
        """Return the corrections as LaTeX. Raises ArithmeticError if there is no such SDE."""
        if not self.exists:
            raise ArithmeticError(self.text()["none"])
        return {name: notation.latex(value) for name, value in self._entries().items()}

    def _entries(self) -> Mapping[str, sympy.Expr]:
        blocks, diffusion = self.program.blocks, self.diffusion
        pairs = itertools.combinations_with_replacement(range(len(blocks)), 2)
        return {f"drift {b}": e for b, e in self.drift.items()} | {
            f"diffusion {blocks[i]}{blocks[j]}": diffusion[i, j] for i, j in pairs
        }

    def evaluate(
        self, z: Sequence[float], time: float, field: Field, digits: int = 40
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the corrections at a state (k numbers): drift, float64 (k), and diffusion, float64 (k, k).

        Raises ArithmeticError if there is no such SDE.
        """
        if not self.exists:
            raise ArithmeticError(self.text()["none"])
        k = len(self.program.blocks)
        values = self.error.evaluate_coefficients(OBSERVABLE, z, time, field, digits)
        by_index = {d.index: value for d, value in values.items() if isinstance(d, Derivative)}
        drift = np.array([by_index.get(self._index(n), 0.0) for n in range(k)])
        second = [[by_index.get(self._index(i, j), 0.0) * (2 if i == j else 1) for j in range(k)] for i in range(k)]
        return drift, np.array(second)


def modified_equation(error: LocalError) -> ModifiedODE | ModifiedSDE:
    """Return the modified equation of the scheme that ``error`` is the local error of.

    Raises InputError for a stochastic scheme that reads earlier steps: the error of its first steps is not that of all.

    Euler's method in reverse time follows z' = v - (h/2)(dv/dt along the flow):

    >>> import integrator_analysis as ia
    >>> ia.derive("flow/conjugate(predict=velocity)").modified_equation.text()["x"]
    'velocity_x + h*(1/2*d_t velocity_x + 1/2*d_x velocity_x[velocity_x])'
    """
    program, power = error.program, min(error.exponents.values()) - 1
    if program.stochastic:
        if program.history:
            raise InputError("a modified equation of a stochastic scheme that reads earlier steps is not derived here")
        return ModifiedSDE(program, power, error)
    # The step's error over h, with the other sign: what has to be added to f so that its flow makes the same step. A
    # block with an error of a higher power is right at this one.
    exponents = dict.fromkeys(program.blocks, power)
    sums = {
        block: {d: -element for d, element in error.sums[block].items()} if exponent == power + 1 else {}
        for block, exponent in error.exponents.items()
    }
    return ModifiedODE(program, power, ErrorTerms(program, error.scalars, exponents, sums))


def _add_correction(first: str, second: str, opening: str, closing: str) -> str:
    """Return the text of first + opening second closing, without a correction that is 0."""
    return first if second == "0" else f"{first} + {opening}{second}{closing}"


def _equation_in_symbols(program: StepProgram) -> Mapping[str, sympy.Expr]:
    """Return L z + eta n by block, with a symbol for every function of t."""
    drift, eta = program.parametrisation.drift, program.parametrisation.eta
    state = sympy.Matrix([sympy.Symbol(b) for b in program.blocks])
    outputs = sympy.Matrix([sympy.Symbol(c) for c in components(program)])
    right = drift * state + eta * outputs
    names = {call: symbol_of(str(call.func)) for e in right for call in e.atoms(AppliedUndef)}
    return {b: e.xreplace(names) for b, e in zip(program.blocks, right, strict=True)}
