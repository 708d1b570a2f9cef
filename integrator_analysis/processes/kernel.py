"""The perturbation kernel N(Psi(t) (x_0, 0), Sigma(t)) of a process, from its Lyapunov equation.

Knows F = beta N, G G^T = beta D and Sigma(0) and derives the rest. In the clock b = int_0^t beta the equations have
constant coefficients: Psi = exp(N b), Sigma = E Sigma(0) E^T + int_0^b E(r) D E(r)^T dr with E(r) = exp(N r).
Every entry of the integrand is a polynomial times an exponential, so the integral is a sum of phi functions, none of
which cancels near t = 0, where the stationary form Sigma_inf + E (Sigma(0) - Sigma_inf) E^T loses all its digits.
"""

from __future__ import annotations

from dataclasses import dataclass

import sympy

from integrator_analysis.algebra.differences import stable_difference
from integrator_analysis.algebra.matrices import exponential
from integrator_analysis.algebra.special import cosh_sqrt, exp_moment
from integrator_analysis.processes.base import Process
from integrator_analysis.symbols import Definition, Definitions, InputError, s, t

__all__ = ["Kernel", "cholesky", "clock", "derive_kernel", "elapsed"]

clock = sympy.Function("clock")
"""clock(t) = int_0^t beta."""
elapsed = sympy.Function("elapsed")
"""elapsed(t, s) = clock(t) - clock(s), with t - s as an exact factor."""

_r = sympy.Symbol("r", positive=True)


@dataclass(frozen=True)
class Kernel:
    """Psi (k x k) and Sigma (k x k) in clock(t) and the parameters, and both as named functions of t."""

    blocks: tuple[str, ...]
    transition: sympy.Matrix
    covariance: sympy.Matrix
    definitions: Definitions

    @property
    def factor(self) -> sympy.Matrix:
        """The lower Cholesky factor of Sigma(t) in the named functions ``cholesky_ij(t)``."""
        return sympy.Matrix(
            len(self.blocks), len(self.blocks), lambda i, j: cholesky(self.blocks, i, j)(t) if j <= i else 0
        )


def cholesky(blocks: tuple[str, ...], i: int, j: int) -> sympy.Function:
    """The function naming entry (i, j) of the Cholesky factor."""
    return sympy.Function(f"cholesky_{blocks[i]}{blocks[j]}")


def derive_kernel(process: Process) -> Kernel:
    """Solve the mean and Lyapunov equations of ``process``.

    Raises InputError if the drift is neither scalar nor critically damped (a double eigenvalue).
    """
    b = clock(t)
    propagator = _propagator(process, _r)
    transition = propagator.xreplace({_r: b})
    moments: dict[tuple[sympy.Expr, int], sympy.Function] = {}
    noise = (propagator * process.diffusion_per_unit * propagator.T).applyfunc(lambda e: _integrate(e, moments))
    covariance = transition * process.initial_covariance * transition.T + noise

    blocks = process.blocks
    integrated = sympy.integrate(process.schedule.xreplace({t: _r}), (_r, 0, t))
    table = {
        clock: Definition((t,), integrated),
        elapsed: Definition((t, s), stable_difference(integrated.xreplace({t: _r}), _r, t, s)),
    }
    table |= {name: Definition((t,), exp_moment(k, a, b)) for (a, k), name in moments.items()}
    table |= {sympy.Function(f"mean_{name}"): Definition((t,), transition[i, 0]) for i, name in enumerate(blocks)}
    lower = [
        (i, j, sympy.Function(f"covariance_{blocks[i]}{blocks[j]}")) for i in range(len(blocks)) for j in range(i + 1)
    ]
    table |= {entry: Definition((t,), covariance[i, j]) for i, j, entry in lower}
    for i, j, entry in lower:
        rest = entry(t) - sum(cholesky(blocks, i, m)(t) * cholesky(blocks, j, m)(t) for m in range(j))
        body = sympy.sqrt(rest) if i == j else rest / cholesky(blocks, j, j)(t)
        table[cholesky(blocks, i, j)] = Definition((t,), body)

    definitions = Definitions(table)
    covariance = covariance.applyfunc(
        lambda e: e.xreplace({name(t): definitions[name].body for name in moments.values()})
    )
    _check_lyapunov(process, covariance.xreplace({b: _r}))
    return Kernel(blocks, transition, covariance, definitions)


def _propagator(process: Process, b: sympy.Symbol) -> sympy.Matrix:
    """exp(N b). Raises InputError unless its entries are polynomials times one exponential."""
    propagator = exponential(process.drift_per_unit * b, process.relations)
    if propagator.has(cosh_sqrt):
        raise InputError(
            f"process {process.name}: the drift has two distinct eigenvalues; kernels are derived for critical damping"
        )
    return propagator


def _integrate(entry: sympy.Expr, moments: dict[tuple[sympy.Expr, int], sympy.Function]) -> sympy.Expr:
    """int_0^clock(t) of a sum of (polynomial in r) * exp(-a r) dr, in named moments int r^k e^{-a r} dr."""
    collected: dict[tuple[sympy.Expr, int], sympy.Expr] = {}
    for term in sympy.Add.make_args(sympy.expand(sympy.powsimp(sympy.expand(entry)))):
        constant, rest = term.as_independent(_r)
        exponent = sum((f.args[0] for f in sympy.Mul.make_args(rest) if isinstance(f, sympy.exp)), sympy.S.Zero)
        polynomial = sympy.expand(rest * sympy.exp(-exponent))
        power = sympy.degree(polynomial, _r) if polynomial.has(_r) else 0
        decay = sympy.factor_terms(sympy.cancel(-exponent / _r))
        if decay.has(_r) or polynomial != _r**power:
            raise NotImplementedError(f"{term} is not a polynomial times an exponential")
        collected[decay, int(power)] = collected.get((decay, int(power)), sympy.S.Zero) + constant
    total = sympy.S.Zero
    for key, constant in sorted(collected.items(), key=lambda item: (str(item[0][0]), item[0][1])):
        name = moments.setdefault(key, sympy.Function(f"moment_{len(moments)}"))
        total += sympy.factor(constant) * name(t)
    return total


def _check_lyapunov(process: Process, covariance: sympy.Matrix) -> None:
    """Sigma' = N Sigma + Sigma N^T + D in the clock r, at a rational point in 40 digits: a wrong integral is a bug."""
    values = dict(process.parameters)
    point = sympy.Rational(7, 10)
    n, d = process.drift_per_unit, process.diffusion_per_unit
    residual = covariance.diff(_r) - n * covariance - covariance * n.T - d
    for entry in residual:
        if abs(sympy.N(entry.subs(values).subs(_r, point), 40)) > sympy.Float(10) ** -30:
            raise ArithmeticError(f"the derived covariance of {process.name} violates its Lyapunov equation")
