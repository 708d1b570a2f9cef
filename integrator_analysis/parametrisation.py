"""What a network returns, and what an integrator freezes: s(z, t) = C_skip(t) z + C_out(t) n(z, t).

Knows the kernel's mean and covariance; knows no sampler. With it the probability-flow ODE reads z' = L z + eta n,
L = F - (1/2) G G^T C_skip, eta = -(1/2) G G^T C_out (arXiv 2310.07894, section 2 and equation 8). A network of one
parametrisation serves an integrator of another through n' = skip z + scale n.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType

import mpmath
import numpy as np
import sympy

from integrator_analysis.numeric import function
from integrator_analysis.processes import Process
from integrator_analysis.symbols import Definition, Definitions, InputError, did_you_mean, t

__all__ = ["PARAMETRISATIONS", "VELOCITY", "Parametrisation", "conversion", "log_snr", "network_from_eps", "parametrisation", "ratio", "slope_of"]

ratio = sympy.Function("ratio")
"""rho(t) = (Psi^T Sigma^{-1} Psi)^{-1/2}, sigma/alpha on one block: noise per unit of signal. What z_t says about x_0
can only decrease with t, so rho increases on every process."""
log_snr = sympy.Function("log_snr")
"""lambda(t) = -log rho(t), half the logarithm of the signal-to-noise ratio."""


def slope_of(variable: sympy.Function) -> sympy.Function:
    """The function that names the derivative of rho or lambda."""
    return sympy.Function(f"slope_{variable}")


VELOCITY = "velocity"


@dataclass(frozen=True)
class Parametrisation:
    """C_skip and C_out, k x k in functions of t, and what follows from them.

    ``drift`` is L and ``eta`` the factor of the network, both in named functions of t. ``homogeneous`` solves
    m' = L m on one block, and ``power`` is p where in addition eta = m d(rho**p)/dt: then weights have closed forms.
    ``noise`` is kappa of the SDE dz = [F z - (1 + kappa**2)/2 G G^T s] dt + kappa G dw whose marginals are those of
    the process for every kappa; 0 is the probability-flow ODE (arXiv 2303.01748, appendix; 2206.00364, equation 6).
    """

    name: str
    process: Process
    c_skip: sympy.ImmutableMatrix
    c_out: sympy.ImmutableMatrix
    homogeneous: sympy.Expr | None = None
    power: sympy.Rational | None = None
    noise: sympy.Rational = field(default=sympy.S.Zero)

    @cached_property
    def _score_factor(self) -> sympy.Rational:
        return (1 + self.noise**2) / 2

    @cached_property
    def drift(self) -> sympy.ImmutableMatrix:
        """L(t): F itself where C_skip = 0, else named functions drift_ij(t)."""
        if not self._plain_drift:
            return self._named("drift", self._drift)
        return self._drift.as_immutable()

    @cached_property
    def eta(self) -> sympy.ImmutableMatrix:
        """-(1/2) G G^T C_out in named functions eta_ij(t); a constant stays what it is."""
        return self._named("eta", self._eta)

    @cached_property
    def definitions(self) -> Definitions:
        """What drift_ij, eta_ij, rho and lambda stand for."""
        table = dict(_measures(self.process))
        for name, matrix in (("drift", self._drift), ("eta", self._eta)):
            if name == "eta" or not self._plain_drift:
                for named, e in zip(self._named(name, matrix), matrix, strict=True):
                    if named.args and named != e:
                        table[named.func] = Definition((t,), e)
        return Definitions(table)

    @property
    def _plain_drift(self) -> bool:
        return self.name == VELOCITY or not any(self.c_skip)

    @cached_property
    def _drift(self) -> sympy.Matrix:
        if self.name == VELOCITY:
            return sympy.zeros(*self.c_skip.shape)
        return (self.process.drift - self._score_factor * self.process.diffusion * self.c_skip).as_mutable()

    @cached_property
    def _eta(self) -> sympy.Matrix:
        if self.name == VELOCITY:
            return sympy.eye(self.c_skip.rows)
        return (-self._score_factor * self.process.diffusion * self.c_out).as_mutable()

    def _named(self, name: str, matrix: sympy.Matrix) -> sympy.ImmutableMatrix:
        blocks = self.process.blocks
        return sympy.ImmutableMatrix(
            matrix.rows,
            matrix.cols,
            lambda i, j: matrix[i, j]
            if matrix[i, j].is_Rational
            else sympy.Function(f"{name}_{blocks[i]}{blocks[j]}")(t),
        )

    def check(self) -> None:
        """m' = L m and eta = m d(rho**p)/dt, in 30 digits at two times. Raises ArithmeticError where they fail."""
        if self.homogeneous is None:
            return
        table = self.process.definitions.with_(self.definitions)
        m, p = self.homogeneous, self.power
        with mpmath.workdps(40):
            value = function([m, ratio(t)], (t,), table, self.process.parameters, "mpmath")
            sides = function([self._drift[0, 0], self._eta[0, 0]], (t,), table, self.process.parameters, "mpmath")
            for share in (mpmath.mpf("0.2137"), mpmath.mpf("0.8311")):
                time = share * self.process.t_max
                drift, eta = sides(time)
                growth = mpmath.diff(lambda u: mpmath.log(value(u)[0]), time)
                errors = [abs(growth - drift) / (1 + abs(drift))]
                if p is not None:
                    exponent = mpmath.mpf(p.p) / p.q
                    slope = value(time)[0] * mpmath.diff(lambda u, q=exponent: value(u)[1] ** q, time)
                    errors.append(abs(slope - eta) / (1 + abs(eta)))
                if max(errors) > mpmath.mpf(10) ** -15:
                    raise ArithmeticError(f"{m} does not solve m' = L m, or rho**{p} is not the integral of eta / m")


def _measures(process: Process) -> Mapping[sympy.Function, Definition]:
    """rho, lambda and their derivatives; the derivative of Psi^T Sigma^{-1} Psi is -|G^T Sigma^{-1} Psi|^2."""
    factor, blocks = process.kernel.factor, process.blocks
    mean = sympy.Matrix([sympy.Function(f"mean_{b}")(t) for b in blocks])
    if len(blocks) == 1:
        body = factor[0, 0] / mean[0]
        slope = process.diffusion[0, 0] / (2 * mean[0] * factor[0, 0])
    else:
        body = 1 / sympy.sqrt(sum(e**2 for e in factor.lower_triangular_solve(mean)))
        pull = factor.T.upper_triangular_solve(factor.lower_triangular_solve(mean))
        slope = ratio(t) ** 3 * (pull.T * process.diffusion * pull)[0] / 2
    return {
        ratio: Definition((t,), body),
        log_snr: Definition((t,), -sympy.log(ratio(t))),
        slope_of(ratio): Definition((t,), slope),
        slope_of(log_snr): Definition((t,), -slope_of(ratio)(t) / ratio(t)),
    }


def _one_block(name: str, process: Process) -> tuple[sympy.Expr, sympy.Expr]:
    if len(process.blocks) != 1:
        raise InputError(
            f"parametrisation {name} is defined on one block; process {process.name} has "
            f"{', '.join(process.blocks)}; accepted there: eps, score, velocity"
        )
    return sympy.Function("mean_x")(t), process.kernel.factor[0, 0]


def _eps(process: Process) -> Parametrisation:
    """s = -Lchol^{-T} n, Sigma = Lchol Lchol^T: the noise, in the frame of the lower Cholesky factor."""
    k = len(process.blocks)
    c_out = -(process.kernel.factor.T**-1)
    homogeneous, power = (sympy.Function("mean_x")(t), sympy.S.One) if k == 1 else (None, None)
    return Parametrisation("eps", process, sympy.zeros(k, k).as_immutable(), c_out.as_immutable(), homogeneous, power)


def _score(process: Process) -> Parametrisation:
    """s = n."""
    k = len(process.blocks)
    return Parametrisation("score", process, sympy.zeros(k, k).as_immutable(), sympy.eye(k).as_immutable())


def _data(process: Process) -> Parametrisation:
    """n = E[x_0 | z]: s = -(z - alpha n) / sigma**2 (Tweedie)."""
    alpha, sigma = _one_block("x0", process)
    return Parametrisation("x0", process, _scalar(-1 / sigma**2), _scalar(alpha / sigma**2), sigma, -sympy.S.One)


def _v(process: Process) -> Parametrisation:
    """n = (alpha eps - sigma x_0) / sqrt(alpha**2 + sigma**2): v-prediction (arXiv 2202.00512, appendix D)."""
    alpha, sigma = _one_block("v", process)
    total = alpha**2 + sigma**2
    return Parametrisation("v", process, _scalar(-1 / total), _scalar(-alpha / (sigma * sympy.sqrt(total))))


def _velocity(process: Process) -> Parametrisation:
    """n = z' on the probability-flow ODE: L = 0, eta = 1, the ODE as it stands (flow matching, arXiv 2210.02747)."""
    k = len(process.blocks)
    zeros = sympy.zeros(k, k).as_immutable()
    if k > 1:
        return Parametrisation(VELOCITY, process, zeros, zeros)
    drift, diffusion = process.drift[0, 0], process.diffusion[0, 0]
    return Parametrisation(VELOCITY, process, _scalar(2 * drift / diffusion), _scalar(-2 / diffusion))


def _scalar(e: sympy.Expr) -> sympy.ImmutableMatrix:
    return sympy.ImmutableMatrix([[e]])


PARAMETRISATIONS: Mapping[str, Callable[[Process], Parametrisation]] = MappingProxyType(
    {"eps": _eps, "score": _score, "x0": _data, "v": _v, VELOCITY: _velocity}
)
"""Parametrisations by name. A new one is one function here."""


def parametrisation(name: str, process: Process) -> Parametrisation:
    """The parametrisation ``name`` on ``process``. Raises InputError for an unknown name, or one without meaning there.

    >>> from integrator_analysis.processes import process
    >>> parametrisation("x0", process("vp")).c_skip
    Matrix([[-1/cholesky_xx(t)**2]])
    """
    if name not in PARAMETRISATIONS:
        raise did_you_mean(name, PARAMETRISATIONS, "parametrisation")
    return PARAMETRISATIONS[name](process)


def conversion(wanted: Parametrisation, given: Parametrisation) -> tuple[sympy.Matrix, sympy.Matrix]:
    """(skip, scale), k x k, with n_wanted = skip z + scale n_given. Raises InputError where there is none."""
    size = len(given.process.blocks)
    if wanted.name == given.name:
        return sympy.zeros(size, size), sympy.eye(size)
    if wanted.name == VELOCITY:
        return given._drift, given._eta
    if given.name == VELOCITY and size > 1:
        raise InputError(f"a velocity does not give {wanted.name} on process {given.process.name}: G G^T is singular")
    inverse = wanted.c_out**-1
    return (inverse * (given.c_skip - wanted.c_skip)).as_mutable(), (inverse * given.c_out).as_mutable()


def network_from_eps(process: Process) -> Callable[[float], tuple[np.ndarray, np.ndarray]]:
    """time -> (skip, scale), float64 k x k: what a network of ``process`` returns is skip z + scale eps."""
    k = len(process.blocks)
    if process.network == "eps":
        return lambda time: (np.zeros((k, k)), np.eye(k))
    given = parametrisation("eps", process)
    matrices = conversion(parametrisation(process.network, process), given)
    table = process.definitions.with_(given.definitions)
    values = function([e for m in matrices for e in m], (t,), table, process.parameters)

    def at(time: float) -> tuple[np.ndarray, np.ndarray]:
        skip, scale = np.array(values(time), dtype=float).reshape(2, k, k)
        return skip, scale

    return at
