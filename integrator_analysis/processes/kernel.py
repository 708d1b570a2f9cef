"""The perturbation kernel N(Psi(t) (x_0, 0), Sigma(t)) of a process, from its Lyapunov equation.

Knows F = beta N, G G^T = beta D and Sigma(0) and derives the rest; noise.py integrates. In the clock b = int_0^t beta
the equations have a constant N: Psi = exp(N b), Sigma = E(b) Sigma(0) E(b)^T + int_0^b E(b-r) D(r) E(b-r)^T dr with
E(r) = exp(N r). No form here cancels near t = 0, where the stationary form Sigma_inf + E (Sigma(0) - Sigma_inf) E^T
loses all its digits. Wherever the clock is -c log f(t), its exponentials are written as powers of f: they stay exact
where f = 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import mpmath
import sympy
from sympy.codegen.cfunctions import expm1, log1p

from integrator_analysis.algebra.differences import stable_difference
from integrator_analysis.algebra.matrices import exponential, is_zero
from integrator_analysis.algebra.special import DAMPED_DECAY, DAMPED_PHASE, damped_moment
from integrator_analysis.numeric import function
from integrator_analysis.processes.base import KERNELS, Process, clock, unit_diffusion
from integrator_analysis.processes.noise import integrated_noise
from integrator_analysis.symbols import Definition, Definitions, InputError, h, s, t

__all__ = ["Kernel", "cholesky", "clock", "derive_kernel", "elapsed", "noise_between"]

elapsed = sympy.Function("elapsed")
"""elapsed(t, s) = clock(t) - clock(s), with t - s as an exact factor."""

_r = sympy.Symbol("r", positive=True)


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


Spread = tuple[sympy.Matrix, dict[sympy.Function, Definition]]
"""A covariance over a span of time, and what the named moments in it stand for."""

_SPREADS: dict[tuple[object, ...], Spread] = {}


def noise_between(process: Process) -> Spread:
    """The covariance of the noise of z' = beta N z + G w' over a span of time elapsed(t, s), from none at its start.

    For constant N and D, which may be others than those of a forward process. Its moments are named spread_moment_k.
    It is derived once in a session for processes alike, as kernels are.
    """
    if process.content not in _SPREADS:
        _SPREADS[process.content] = _derive_noise_between(process)
        for old in list(_SPREADS)[:-KERNELS]:
            del _SPREADS[old]
    covariance, table = _SPREADS[process.content]
    return covariance.copy(), dict(table)


def _derive_noise_between(process: Process) -> Spread:
    propagator = exponential(process.drift_per_unit * _r, process.parameters)
    covariance, moments = integrated_noise(process, propagator, _r)
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
    def of(cls, process: Process) -> _Clock:
        if process.integrated is None:
            return cls(sympy.integrate(process.schedule.xreplace({t: _r}), (_r, 0, t)))
        factor, rest = process.integrated.as_independent(sympy.log)
        if isinstance(rest, sympy.log):
            return cls(process.integrated, rest.args[0], -factor)
        return cls(process.integrated)

    @property
    def drop(self) -> sympy.Expr:
        """f(t) - 1 = f(t) - f(0), with its zero at t = 0 as a factor."""
        return stable_difference(self.base.xreplace({t: _r}), _r, t, sympy.S.Zero)

    @property
    def definitions(self) -> dict[sympy.Function, Definition]:
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


def derive_kernel(process: Process) -> Kernel:
    """Solve the mean and Lyapunov equations of ``process``.

    Raises InputError for an off-critical process too stiff to evaluate, ArithmeticError for a derivation that fails a
    check.
    """
    b, time = clock(t), _Clock.of(process)
    propagator = exponential(process.drift_per_unit * _r, process.parameters)
    transition = propagator.xreplace({_r: b})
    noise, moments = integrated_noise(process, propagator, _r)
    covariance = transition * process.initial_covariance * transition.T + noise

    blocks = process.blocks
    table = time.definitions
    if process.diffusion_per_unit.has(clock):
        table[unit_diffusion] = Definition((t,), time.in_time(process.diffusion_per_unit[0, 0]))
    table |= {name: Definition((t,), time.in_time(body)) for name, body in moments.items()}
    in_time = (transition.applyfunc(time.in_time), covariance.applyfunc(time.in_time))
    table |= {sympy.Function(f"mean_{name}"): Definition((t,), in_time[0][i, 0]) for i, name in enumerate(blocks)}
    lower = [
        (i, j, sympy.Function(f"covariance_{blocks[i]}{blocks[j]}")) for i in range(len(blocks)) for j in range(i + 1)
    ]
    table |= {entry: Definition((t,), in_time[1][i, j]) for i, j, entry in lower}
    for i, j, entry in lower:
        rest = entry(t) - sum(cholesky(blocks, i, m)(t) * cholesky(blocks, j, m)(t) for m in range(j))
        body = sympy.sqrt(rest) if i == j else rest / cholesky(blocks, j, j)(t)
        table[cholesky(blocks, i, j)] = Definition((t,), body)

    covariance = covariance.applyfunc(lambda e: e.xreplace({name(t): body for name, body in moments.items()}))
    kernel = Kernel(blocks, transition, covariance, in_time, Definitions(table))
    _check_clock(process, time)
    _check_lyapunov(process, covariance.xreplace({b: _r}))
    _check_in_time(process, kernel)
    _check_stationary(process)
    _check_damped_range(process, kernel)
    return kernel


def _check_clock(process: Process, time: _Clock) -> None:
    """clock(0) = 0 and clock' = beta, at a rational time in 40 digits: a closed form that is stated is checked."""
    at = sympy.Rational(str(process.t_max)) * sympy.Rational(7, 10)
    body = time.definitions[clock].body
    for residual in (body.subs(t, 0), time.closed.subs(t, 0), (time.closed.diff(t) - process.schedule).subs(t, at)):
        if abs(sympy.N(residual.xreplace(dict(process.parameters)), 40)) > sympy.Float(10) ** -30:
            raise ArithmeticError(f"the clock of {process.name} is not the integral of its schedule from 0")


def _check_lyapunov(process: Process, covariance: sympy.Matrix) -> None:
    """Sigma' = N Sigma + Sigma N^T + D in the clock r, at a rational point in 40 digits: a wrong integral is a bug."""
    values = dict(process.parameters)
    point = sympy.Rational(7, 10)
    n, d = process.drift_per_unit, process.diffusion_per_unit.xreplace({clock(t): _r})
    residual = covariance.diff(_r) - n * covariance - covariance * n.T - d
    for entry in residual:
        if abs(sympy.N(entry.subs(values).subs(_r, point), 40)) > sympy.Float(10) ** -30:
            raise ArithmeticError(f"the derived covariance of {process.name} violates its Lyapunov equation")


def _check_in_time(process: Process, kernel: Kernel) -> None:
    """The two forms of Psi and Sigma are equal, at a time in 40 digits."""
    at = sympy.Rational(str(process.t_max)) * sympy.Rational(7, 10)
    pairs = zip((*kernel.transition, *kernel.covariance), (e for m in kernel.in_time for e in m), strict=True)
    entries = [a - b for a, b in pairs if a != b]
    with mpmath.workdps(40):
        values = function(entries, (t,), kernel.definitions, process.parameters, "mpmath")(mpmath.mpf(at.p) / at.q)
        if any(abs(value) > mpmath.mpf(10) ** -30 for value in values):
            raise ArithmeticError(f"the kernel of {process.name} changes when its clock is resolved")


def _check_stationary(process: Process) -> None:
    """N Sigma + Sigma N^T + D = 0 for the stationary covariance, with D at clock = infinity."""
    sigma, n = process.stationary_covariance, process.drift_per_unit
    if sigma is not None:
        d = process.diffusion_per_unit.replace(expm1, lambda z: -sympy.S.One if z.has(clock) else expm1(z))
        if not all(is_zero(entry) for entry in n * sigma + sigma * n.T + d):
            raise ArithmeticError(f"the stationary covariance of {process.name} is not the limit of its covariance")


def _check_damped_range(process: Process, kernel: Kernel) -> None:
    """Raise InputError where the moments of an off-critical process lie beyond the reach of their quadrature."""
    for moment in {m for entry in kernel.covariance for m in entry.atoms(damped_moment)}:
        _, c, x, _ = (argument.xreplace(dict(process.parameters)) for argument in moment.args)
        (b,) = function([clock(t)], (t,), kernel.definitions, process.parameters)(process.t_max)
        damping, phase = float(c) * b, max(-float(x), 0.0) ** 0.5 * b
        if damping > DAMPED_DECAY or phase > DAMPED_PHASE:
            raise InputError(
                f"process {process.name}: int beta times damping is {damping:.3g} and times frequency {phase:.3g} at "
                f"t_max, accepted up to {DAMPED_DECAY:g} and {DAMPED_PHASE:g}; choose M nearer to critical damping"
            )
