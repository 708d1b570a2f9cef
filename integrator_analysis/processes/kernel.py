"""The perturbation kernel N(Psi(t) (x_0, 0), Sigma(t)) of a process, from its Lyapunov equation.

Knows F = beta N, G G^T = beta D and Sigma(0) and derives the rest; noise.py integrates. In the clock b = int_0^t beta
the equations have a constant N: Psi = exp(N b), Sigma = E(b) Sigma(0) E(b)^T + int_0^b E(b-r) D(r) E(b-r)^T dr with
E(r) = exp(N r). No form here cancels near t = 0, where the stationary form Sigma_inf + E (Sigma(0) - Sigma_inf) E^T
loses all its digits. Wherever the clock is -c log f(t), its exponentials are written as powers of f: they stay exact
where f = 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import mpmath
import sympy
from sympy.codegen.cfunctions import expm1, log1p

from integrator_analysis.algebra.definitions import Definition, Definitions
from integrator_analysis.algebra.differences import stable_difference
from integrator_analysis.algebra.matrices import exponential, is_zero
from integrator_analysis.algebra.numeric import function
from integrator_analysis.algebra.special import DAMPED_DECAY, DAMPED_PHASE, damped_moment
from integrator_analysis.algebra.symbols import h, s, t
from integrator_analysis.inputs import InputError
from integrator_analysis.processes.equation import Equation, clock, elapsed, unit_diffusion
from integrator_analysis.processes.noise import integrated_noise

__all__ = ["Kernel", "cholesky", "derive_kernel", "kernel_of", "noise_between"]

T = TypeVar("T")

KERNELS = 64
"""How many derived kernels are kept, the newest: a scan over a parameter makes a process for every value."""

_KERNELS: dict[tuple[object, ...], Kernel] = {}

Spread = tuple[sympy.Matrix, dict[sympy.Function, Definition]]
"""A covariance over a span of time, and what the named moments in it stand for."""

_SPREADS: dict[tuple[object, ...], Spread] = {}

_r = sympy.Symbol("r", positive=True)
"""The clock as a variable, where clock(t) would hide it from differentiation and integration."""


@dataclass(frozen=True)
class Kernel:
    """Psi (k x k) and Sigma (k x k) in clock(t) and the parameters, and both as named functions of t.

    ``in_time`` are the same two as they are evaluated: exponentials of a logarithmic clock as powers.
    """

    blocks: tuple[str, ...]
    transition: sympy.Matrix
    covariance: sympy.Matrix
    in_time: tuple[sympy.Matrix, sympy.Matrix]
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


def noise_between(equation: Equation) -> Spread:
    """The covariance of the noise of z' = beta N z + G w' over a span of time elapsed(t, s), from none at its start.

    For constant N and D, which may be others than those of a forward equation. Its moments are named spread_moment_k.
    It is derived once in a session for equations of one form, as kernels are.
    """
    propagator = exponential(equation.drift_per_unit * _r, equation.parameters)
    derive = partial(_derive_noise_between, equation, propagator)
    covariance, table = _recall(_SPREADS, (equation.form, propagator.as_immutable()), derive)
    return covariance.copy(), dict(table)


def _recall(known: dict[tuple[object, ...], T], key: tuple[object, ...], derive: Callable[[], T]) -> T:
    """What ``known`` holds under ``key``; if nothing, it is derived and kept, and the oldest entries go."""
    if key not in known:
        known[key] = derive()
        for old in list(known)[:-KERNELS]:
            del known[old]
    return known[key]


def _derive_noise_between(equation: Equation, propagator: sympy.Matrix) -> Spread:
    """The covariance and its moments, from exp(N r), D and the clock."""
    covariance, moments = integrated_noise(equation, propagator, _r)
    over = {clock(t): elapsed(t, s)}
    own = {name: sympy.Function(f"spread_{name}") for name in moments}
    table = {own[name]: Definition((t, s), body.xreplace(over)) for name, body in moments.items()}
    named = over | {name(t): own[name](t, s) for name in moments}
    return covariance.applyfunc(lambda e: e.xreplace(named)), table


@dataclass(frozen=True)
class _Clock:
    """The closed form of clock(t). Where it is -c log f(t), ``base`` is f and ``power`` c; elsewhere ``base`` is 1."""

    closed: sympy.Expr
    base: sympy.Expr = sympy.S.One
    power: sympy.Expr = sympy.S.Zero

    @classmethod
    def of(cls, equation: Equation) -> _Clock:
        """The clock that an equation states, or the integral of its schedule."""
        if equation.integrated is None:
            return cls(sympy.integrate(equation.schedule.xreplace({t: _r}), (_r, 0, t)))
        return cls(equation.integrated, *(equation.logarithmic_clock or ()))

    @property
    def drop(self) -> sympy.Expr:
        """f(t) - 1 = f(t) - f(0), with its zero at t = 0 as a factor."""
        return stable_difference(self.base.xreplace({t: _r}), _r, t, sympy.S.Zero)

    @property
    def definitions(self) -> dict[sympy.Function, Definition]:
        """What clock(t) and elapsed(t, s) stand for."""
        body = self.closed if self.base == 1 else -self.power * log1p(self.drop)
        return {
            clock: Definition((t,), body),
            elapsed: Definition((t, s), stable_difference(self.closed.xreplace({t: _r}), _r, t, s, step=h)),
        }

    def in_time(self, entry: sympy.Expr) -> sympy.Expr:
        """``entry`` with exp(-p clock) = f^(c p), and 1 - exp(-p clock) = (1 - f)(1 + f + ... + f^(c p - 1))."""
        if self.base == 1:
            return entry

        def power(exponent: sympy.Expr) -> sympy.Expr:
            return -self.power * sympy.cancel(exponent / clock(t))

        def less_one(exponent: sympy.Expr) -> sympy.Expr:
            n = power(exponent)
            if not (n.is_Integer and n > 0):
                raise NotImplementedError(f"f**{n} - 1 is not f - 1 times a sum of powers of f")
            return self.drop * sympy.Add(*[self.base**i for i in range(int(n))])

        return entry.replace(expm1, less_one).replace(sympy.exp, lambda exponent: self.base ** power(exponent))


def kernel_of(equation: Equation) -> Kernel:
    """The kernel of ``equation``, derived once in a session for all equations of one content."""
    return _recall(_KERNELS, equation.content, partial(derive_kernel, equation))


def derive_kernel(equation: Equation) -> Kernel:
    """Solve the mean and Lyapunov equations of ``equation``, and check the solution at the values of its parameters.

    The formulas hold symbols for the parameters, whose values decide only whether the damping is critical: they are
    derived once in a session for all values, so that a scan over a parameter pays for the checks alone.

    Raises InputError for an off-critical process too stiff to evaluate, ArithmeticError for a derivation that fails a
    check.
    """
    propagator = exponential(equation.drift_per_unit * _r, equation.parameters)
    solve = partial(_solve_equations, equation, propagator)
    kernel = _recall(_KERNELS, (equation.form, propagator.as_immutable()), solve)
    _check_clock(equation, _Clock.of(equation))
    _check_lyapunov(equation, kernel.covariance.xreplace({clock(t): _r}))
    _check_in_time(equation, kernel)
    _check_stationary(equation)
    _check_damped_range(equation, kernel)
    return kernel


def _solve_equations(equation: Equation, propagator: sympy.Matrix) -> Kernel:
    """The kernel in the symbols of the parameters, from ``propagator`` = exp(N r)."""
    b, time = clock(t), _Clock.of(equation)
    transition = propagator.xreplace({_r: b})
    noise, moments = integrated_noise(equation, propagator, _r)
    covariance = transition * equation.initial_covariance * transition.T + noise

    blocks = equation.blocks
    table = time.definitions
    if equation.diffusion_per_unit.has(clock):
        table[unit_diffusion] = Definition((t,), time.in_time(equation.diffusion_per_unit[0, 0]))
    table |= {name: Definition((t,), time.in_time(body)) for name, body in moments.items()}
    in_time = (transition.applyfunc(time.in_time), covariance.applyfunc(time.in_time))
    table |= {sympy.Function(f"mean_{name}"): Definition((t,), in_time[0][i, 0]) for i, name in enumerate(blocks)}
    lower = [
        (i, j, sympy.Function(f"covariance_{blocks[i]}{blocks[j]}")) for i in range(len(blocks)) for j in range(i + 1)
    ]
    table |= {entry: Definition((t,), in_time[1][i, j]) for i, j, entry in lower}
    # Cholesky's recursion in named functions: each entry in terms of those before it.
    for i, j, entry in lower:
        rest = entry(t) - sum(cholesky(blocks, i, m)(t) * cholesky(blocks, j, m)(t) for m in range(j))
        body = sympy.sqrt(rest) if i == j else rest / cholesky(blocks, j, j)(t)
        table[cholesky(blocks, i, j)] = Definition((t,), body)

    covariance = covariance.applyfunc(lambda e: e.xreplace({name(t): body for name, body in moments.items()}))
    return Kernel(blocks, transition, covariance, in_time, Definitions(table))


def _check_clock(equation: Equation, time: _Clock) -> None:
    """clock(0) = 0 and clock' = beta, at a rational time in 40 digits: a closed form that is stated is checked."""
    at = sympy.Rational(str(equation.t_max)) * sympy.Rational(7, 10)
    body = time.definitions[clock].body
    for residual in (body.subs(t, 0), time.closed.subs(t, 0), (time.closed.diff(t) - equation.schedule).subs(t, at)):
        if abs(sympy.N(residual.xreplace(dict(equation.parameters)), 40)) > sympy.Float(10) ** -30:
            raise ArithmeticError(f"the clock of {equation.name} is not the integral of its schedule from 0")


def _check_lyapunov(equation: Equation, covariance: sympy.Matrix) -> None:
    """Sigma' = N Sigma + Sigma N^T + D in the clock r, at r = 7/10 to 30 digits: a wrong integral is a bug.

    Sigma' is a central difference: with 100 digits and steps of 1e-30 it has 60, and costs two values of Sigma, where
    the symbolic derivative of a covariance costs more than its derivation.
    """
    k, diffusion = len(equation.blocks), equation.diffusion_per_unit.xreplace({clock(t): _r})
    sigma = function(list(covariance), (_r,), Definitions({}), equation.parameters, "mpmath")
    rest = function([*equation.drift_per_unit, *diffusion], (_r,), Definitions({}), equation.parameters, "mpmath")
    with mpmath.workdps(100):
        at, step = mpmath.mpf(7) / 10, mpmath.mpf(10) ** -30
        entries = [sigma(at - step), sigma(at), sigma(at + step), rest(at)[: k * k], rest(at)[k * k :]]
        before, here, after, n, d = (mpmath.matrix([values[k * i : k * i + k] for i in range(k)]) for values in entries)
        residual = (after - before) / (2 * step) - n * here - here * n.T - d
        if any(abs(value) > mpmath.mpf(10) ** -30 for value in residual):
            raise ArithmeticError(f"the derived covariance of {equation.name} violates its Lyapunov equation")


def _check_in_time(equation: Equation, kernel: Kernel) -> None:
    """The two forms of Psi and Sigma are equal, at a time in 40 digits."""
    at = sympy.Rational(str(equation.t_max)) * sympy.Rational(7, 10)
    pairs = zip((*kernel.transition, *kernel.covariance), (e for m in kernel.in_time for e in m), strict=True)
    entries = [a - b for a, b in pairs if a != b]
    with mpmath.workdps(40):
        values = function(entries, (t,), kernel.definitions, equation.parameters, "mpmath")(mpmath.mpf(at.p) / at.q)
        if any(abs(value) > mpmath.mpf(10) ** -30 for value in values):
            raise ArithmeticError(f"the kernel of {equation.name} changes when its clock is resolved")


def _check_stationary(equation: Equation) -> None:
    """N Sigma + Sigma N^T + D = 0 for the stationary covariance, with D at clock = infinity."""
    sigma, n = equation.stationary_covariance, equation.drift_per_unit
    if sigma is not None:
        d = equation.diffusion_per_unit.replace(expm1, lambda z: -sympy.S.One if z.has(clock) else expm1(z))
        if not all(is_zero(entry) for entry in n * sigma + sigma * n.T + d):
            raise ArithmeticError(f"the stationary covariance of {equation.name} is not the limit of its covariance")


def _check_damped_range(equation: Equation, kernel: Kernel) -> None:
    """Raise InputError where the moments of an off-critical process lie beyond the reach of their quadrature."""
    for moment in {m for entry in kernel.covariance for m in entry.atoms(damped_moment)}:
        _, c, x, _ = (argument.xreplace(dict(equation.parameters)) for argument in moment.args)
        (b,) = function([clock(t)], (t,), kernel.definitions, equation.parameters)(equation.t_max)
        damping, phase = float(c) * b, max(-float(x), 0.0) ** 0.5 * b
        if damping > DAMPED_DECAY or phase > DAMPED_PHASE:
            raise InputError(
                f"process {equation.name}: int beta times damping is {damping:.3g} and times frequency {phase:.3g} at "
                f"t_max, accepted up to {DAMPED_DECAY:g} and {DAMPED_PHASE:g}; choose M nearer to critical damping"
            )
