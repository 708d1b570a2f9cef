"""What a network returns, and what an integrator freezes: s(z, t) = C_skip(t) z + C_out(t) n(z, t).

Knows the kernel's mean and covariance; knows no sampler. With it the probability-flow ODE reads z' = L z + eta n,
L = F - (1/2) G G^T C_skip, eta = -(1/2) G G^T C_out (arXiv 2310.07894, section 2 and equation 8). A network of one
parametrisation serves an integrator of another through n' = skip z + scale n.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType

import mpmath
import numpy as np
import sympy

from integrator_analysis.numeric import function
from integrator_analysis.processes import Process
from integrator_analysis.symbols import Definition, Definitions, InputError, did_you_mean, s, t, u

__all__ = [
    "PARAMETRISATIONS",
    "VELOCITY",
    "Parametrisation",
    "conversion",
    "log_snr",
    "measures",
    "network_from_eps",
    "parametrisation",
    "pull",
    "ratio",
    "slope_of",
    "turn",
    "turn_definition",
    "variance",
]

ratio = sympy.Function("ratio")
"""rho(t) = (Psi^T Sigma^{-1} Psi)^{-1/2}, sigma/alpha on one block: noise per unit of signal. What z_t says about x_0
can only decrease with t, so rho increases on every process."""
log_snr = sympy.Function("log_snr")
"""lambda(t) = -log rho(t), half the logarithm of the signal-to-noise ratio."""


def slope_of(variable: sympy.Function) -> sympy.Function:
    """The function that names the derivative of rho or lambda."""
    return sympy.Function(f"slope_{variable}")


VELOCITY = "velocity"

_CHECKED: set[tuple[object, ...]] = set()
"""What ``Parametrisation.check`` has measured in this session."""

PLAIN = ("score", "residual")
"""Those whose C_skip and C_out are constants: L and eta are then written out, and not named."""


@dataclass(frozen=True)
class Parametrisation:
    """C_skip and C_out, k x k in functions of t, and what follows from them.

    ``drift`` is L and ``eta`` the factor of the network, both in named functions of t. ``homogeneous`` solves
    m' = L m on one block, and ``power`` is p where in addition eta = m d(rho**p)/dt: then weights have closed forms.
    ``turning`` is theta' where ``frame`` Rot(theta) solves R' = L R on two blocks, ``frame`` a lower Cholesky factor.
    ``constant`` is R = ``frame`` Rot(angle) where R n_0 solves the ODE for every constant n_0: then psi_0(s, t) =
    R_s - E(s, t) R_t.
    ``inverse`` is that of C_out where it is known without asking sympy.
    ``parameters`` come with the parametrisation, ``extra`` defines further functions.
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
    turning: sympy.Expr | None = None
    frame: sympy.ImmutableMatrix | None = None
    constant: sympy.ImmutableMatrix | None = None
    inverse: sympy.Matrix | None = None
    parameters: Mapping[sympy.Symbol, sympy.Rational] = field(default_factory=dict)
    extra: Mapping[sympy.Function, Definition] = field(default_factory=dict)

    @cached_property
    def c_out_inverse(self) -> sympy.Matrix:
        """C_out^{-1}."""
        return self.c_out**-1 if self.inverse is None else self.inverse

    @cached_property
    def drift(self) -> sympy.ImmutableMatrix:
        """L(t): F itself where C_skip = 0, else named functions drift_ij(t); with noise, less kappa**2 lambda'."""
        if self._plain_drift:
            return (self._drift - self.noise**2 * self.process.diffusion * self.c_skip / 2).as_immutable()
        named = self._named("drift", self._drift)
        if self.noise == 0:
            return named
        return (named - self.noise**2 * slope_of(log_snr)(t) * sympy.eye(named.rows)).as_immutable()

    @cached_property
    def eta(self) -> sympy.ImmutableMatrix:
        """-(1/2) (1 + kappa**2) G G^T C_out in named functions eta_ij(t); itself where the network is the score."""
        if self.name in PLAIN:
            return (self._eta * (1 + self.noise**2)).as_immutable()
        return (self._named("eta", self._eta) * (1 + self.noise**2)).as_immutable()

    def noisy(self, noise: sympy.Rational) -> Parametrisation:
        """This parametrisation for the SDE of strength ``noise`` (kappa). Raises InputError where it has no meaning.

        Of score and eps nothing but eta depends on it, of residual the drift as well.
        """
        if noise == 0:
            return self
        if self.name in (*PLAIN, "eps"):
            return replace(self, noise=noise, homogeneous=None, power=None, turning=None, constant=None)
        if self.name != "x0" or self.homogeneous is None:
            raise InputError(
                f"noise = {noise} with parametrisation {self.name} on process {self.process.name}: the weights of the "
                "reverse SDE are derived for x0 on one block"
            )
        q = 1 + noise**2
        return replace(self, noise=noise, homogeneous=sympy.Function("mean_x")(t) * ratio(t) ** q, power=-q)

    @cached_property
    def definitions(self) -> Definitions:
        """What drift_ij, eta_ij, rho and lambda stand for."""
        table = dict(measures(self.process)) | dict(self.extra)
        for name, matrix in (("drift", self._drift), ("eta", self._eta)):
            if (name == "eta" and self.name not in PLAIN) or (name == "drift" and not self._plain_drift):
                for named, e in zip(self._named(name, matrix), matrix, strict=True):
                    if named.args and named != e:
                        table[named.func] = Definition((t,), e)
        return Definitions(table)

    @property
    def _plain_drift(self) -> bool:
        return self.name in (VELOCITY, *PLAIN) or not any(self.c_skip)

    @cached_property
    def _drift(self) -> sympy.Matrix:
        if self.name == VELOCITY:
            return sympy.zeros(*self.c_skip.shape)
        return (self.process.drift - self.process.diffusion * self.c_skip / 2).as_mutable()

    @cached_property
    def _eta(self) -> sympy.Matrix:
        if self.name == VELOCITY:
            return sympy.eye(self.c_skip.rows)
        return (-self.process.diffusion * self.c_out / 2).as_mutable()

    def _named(self, name: str, matrix: sympy.Matrix) -> sympy.ImmutableMatrix:
        blocks = self.process.blocks
        return sympy.ImmutableMatrix(
            matrix.rows,
            matrix.cols,
            lambda i, j: (
                matrix[i, j] if matrix[i, j].is_Rational else sympy.Function(f"{name}_{blocks[i]}{blocks[j]}")(t)
            ),
        )

    def check(self) -> None:
        """That the closed forms hold, in 15 digits at two times: m' = L m and eta = m d(rho**p)/dt; R' = L R.

        Raises ArithmeticError where they do not. What has passed once in a session is not measured again.
        """
        forms = (self.homogeneous, self.power, self.noise, self.turning, self.frame, self.constant)
        tables = (*self.parameters.items(), *self.extra.items())
        content = (self.name, self.c_skip, self.c_out, *forms, *tables, *self.process.content)
        if content in _CHECKED:
            return
        times = [mpmath.mpf(share) * self.process.t_max for share in ("0.2137", "0.8311")]
        with mpmath.workdps(40):
            errors = [0, *(self._scalar_error(u) for u in times if self.homogeneous is not None)]
            errors += [self._frame_error(u) for u in times if self.turning is not None]
            errors += [self._constant_error(u) for u in times if self.constant is not None]
            if max(errors) > mpmath.mpf(10) ** -15:
                raise ArithmeticError(f"a closed form of parametrisation {self.name} fails its equation")
        _CHECKED.add(content)

    def _values(self, *expressions: sympy.Expr) -> Callable[[mpmath.mpf], list[mpmath.mpf]]:
        table = self.process.definitions.with_(self.definitions)
        return function(expressions, (t,), table, {**self.process.parameters, **self.parameters}, "mpmath")

    def _scalar_error(self, time: mpmath.mpf) -> mpmath.mpf:
        value = self._values(self.homogeneous, ratio(t))
        drift, eta = self._values(self.drift[0, 0], self.eta[0, 0])(time)
        growth = mpmath.diff(lambda u: mpmath.log(value(u)[0]), time)
        error = abs(growth - drift) / (1 + abs(drift))
        if self.power is None:
            return error
        exponent = mpmath.mpf(self.power.p) / self.power.q
        slope = value(time)[0] * mpmath.diff(lambda u: value(u)[1] ** exponent, time)
        return max(error, abs(slope - eta) / (1 + abs(eta)))

    def _frame_error(self, time: mpmath.mpf) -> mpmath.mpf:
        """Of K' = L K - K [[0, theta'], [-theta', 0]] for the frame's factor K, relative to the right-hand side."""
        k, factor = len(self.process.blocks), sympy.Matrix(self.frame)
        turning = sympy.sympify(self.turning)
        turn = sympy.Matrix([[0, turning], [-turning, 0]])
        right = list(self._drift * factor - factor * turn)
        value, target = self._values(*factor), self._values(*right)(time)
        slopes = [mpmath.diff(lambda u, n=n: value(u)[n], time) for n in range(k * k)]
        return max(abs(a - b) for a, b in zip(slopes, target, strict=True)) / (1 + max(map(abs, target)))

    def _constant_error(self, time: mpmath.mpf) -> mpmath.mpf:
        """Of R' = L R + eta, relative to the right-hand side."""
        frame = sympy.Matrix(self.constant)
        right = list(self._drift * frame + self._eta)
        value, target = self._values(*frame), self._values(*right)(time)
        slopes = [mpmath.diff(lambda u, n=n: value(u)[n], time) for n in range(len(target))]
        return max(abs(a - b) for a, b in zip(slopes, target, strict=True)) / (1 + max(map(abs, target)))


def pull(process: Process) -> sympy.Matrix:
    """Sigma^{-1} Psi by its named entries: the direction of z that tells x_0."""
    return sympy.Matrix([sympy.Function(f"pull_{block}")(t) for block in process.blocks])


def measures(process: Process) -> Mapping[sympy.Function, Definition]:
    """What rho, lambda and their derivatives stand for. (Psi^T Sigma^{-1} Psi)' = -|G^T Sigma^{-1} Psi|**2."""
    factor, blocks = process.kernel.factor, process.blocks
    table: dict[sympy.Function, Definition] = {}
    mean = sympy.Matrix([sympy.Function(f"mean_{b}")(t) for b in blocks])
    if len(blocks) == 1:
        body = factor[0, 0] / mean[0]
        slope = process.diffusion[0, 0] / (2 * mean[0] * factor[0, 0])
    else:
        body = 1 / sympy.sqrt(sum(e**2 for e in factor.lower_triangular_solve(mean)))
        named = pull(process)
        values = factor.T.upper_triangular_solve(factor.lower_triangular_solve(mean))
        table = {name.func: Definition((t,), value) for name, value in zip(named, values, strict=True)}
        slope = ratio(t) ** 3 * (named.T * process.diffusion * named)[0] / 2
    return table | {
        ratio: Definition((t,), body),
        log_snr: Definition((t,), -sympy.log(ratio(t))),
        slope_of(ratio): Definition((t,), slope),
        slope_of(log_snr): Definition((t,), -slope_of(ratio)(t) / ratio(t)),
    }


def _one_block(name: str, process: Process) -> tuple[sympy.Expr, sympy.Expr]:
    if len(process.blocks) != 1:
        raise InputError(
            f"parametrisation {name} is defined on one block; process {process.name} has "
            f"{', '.join(process.blocks)}; accepted there: eps, eps-rotated, score, x0, velocity, anchor, mixed, "
            "residual"
        )
    return sympy.Function("mean_x")(t), process.kernel.factor[0, 0]


def _eps(process: Process) -> Parametrisation:
    """s = -Lchol^{-T} n, Sigma = Lchol Lchol^T: the noise, in the frame of the lower Cholesky factor."""
    k = len(process.blocks)
    c_out = -(process.kernel.factor.T**-1)
    homogeneous, power = (sympy.Function("mean_x")(t), sympy.S.One) if k == 1 else (None, None)
    zeros = sympy.zeros(k, k).as_immutable()
    inverse = -process.kernel.factor.T
    return Parametrisation("eps", process, zeros, c_out.as_immutable(), homogeneous, power, inverse=inverse)


def _score(process: Process) -> Parametrisation:
    """s = n."""
    k = len(process.blocks)
    return Parametrisation("score", process, sympy.zeros(k, k).as_immutable(), sympy.eye(k).as_immutable())


def _residual(process: Process) -> Parametrisation:
    """s = n - Sigma_inf^{-1} z: what the score has beyond that of the stationary distribution."""
    stationary = process.stationary_covariance
    if stationary is None:
        raise InputError(f"parametrisation residual needs a stationary distribution; {process.name} has none")
    c_skip = -(stationary**-1)
    return Parametrisation("residual", process, c_skip.as_immutable(), sympy.eye(len(process.blocks)).as_immutable())


def _data(process: Process) -> Parametrisation:
    """n = E[x_0 | z] = (z + sigma**2 s) / alpha (Tweedie); on more blocks n = P^{-1} (z + Sigma s), P = exp(int F).

    There n is the mean of the whole initial state, (x_0, 0) for point data, so it is constant along a trajectory.
    """
    if len(process.blocks) == 1:
        alpha, sigma = _one_block("x0", process)
        return Parametrisation("x0", process, _scalar(-1 / sigma**2), _scalar(alpha / sigma**2), sigma, -sympy.S.One)
    inverse = process.kernel.factor**-1
    precision = inverse.T * inverse
    forward, named = _transition(process)
    return Parametrisation(
        "x0",
        process,
        (-precision).as_immutable(),
        (precision * forward).as_immutable(),
        turning=_turning(process, process.kernel.factor),
        frame=process.kernel.factor.as_immutable(),
        inverse=forward.adjugate() / forward.det() * process.kernel.factor * process.kernel.factor.T,
        extra=named,
    )


def _transition(process: Process) -> tuple[sympy.Matrix, Mapping[sympy.Function, Definition]]:
    """P(t) = exp(int_0^t F) by its named entries, and what they stand for."""
    matrix = process.kernel.in_time[0]
    names = [sympy.Function(f"transition_{a}{b}") for a in process.blocks for b in process.blocks]
    size = len(process.blocks)
    return sympy.Matrix(size, size, lambda i, j: names[i * size + j](t)), {
        name: Definition((t,), e) for name, e in zip(names, matrix, strict=True)
    }


def _turning(process: Process, factor: sympy.Matrix) -> sympy.Expr:
    """theta' = (K^{-1} F K + (1/2) K^{-1} G G^T K^{-T})_12, so that R = K Rot(theta) solves
    R' = (F + (1/2) G G^T S^{-1}) R, for any S = K K^T that solves S' = F S + S F^T + G G^T, K lower triangular.

    With S = Sigma this is gDDIM's factor (arXiv 2206.05564); Rot = [[cos, sin], [-sin, cos]].
    """
    if len(process.blocks) != 2:
        raise InputError(f"process {process.name} has {len(process.blocks)} blocks; the rotating frame needs two")
    inverse = factor**-1
    return (inverse * process.drift * factor + inverse * process.diffusion * inverse.T / 2)[0, 1]


def _rotated(process: Process) -> Parametrisation:
    """s = -R^{-T} n with gDDIM's factor R, R R^T = Sigma: eps in the frame in which it is constant for point data.

    On one block R is sigma, and this is eps.
    """
    if len(process.blocks) == 1:
        return replace(_eps(process), name="eps-rotated")
    return _framed("eps-rotated", process, process.kernel.factor, {}, {})


def _framed(
    name: str,
    process: Process,
    factor: sympy.Matrix,
    extra: Mapping[sympy.Function, Definition],
    parameters: Mapping[sympy.Symbol, sympy.Rational],
) -> Parametrisation:
    """s = -R^{-T} n with R = K Rot(theta), K = ``factor``: n is constant where R^{-1} z is. The angle is 0 at t_max."""
    k = len(process.blocks)
    rotation, table = sympy.eye(k), dict(extra)
    if k == 2:
        angle, end = sympy.Function("angle"), sympy.Rational(str(process.t_max))
        cos, sin = sympy.cos(angle(t)), sympy.sin(angle(t))
        rotation = sympy.Matrix([[cos, sin], [-sin, cos]])
        table |= {turn: turn_definition(_turning(process, factor)), angle: Definition((t,), turn(t, end))}
    return Parametrisation(
        name,
        process,
        sympy.zeros(k, k).as_immutable(),
        (-(factor.T**-1) * rotation).as_immutable(),
        homogeneous=sympy.Function("mean_x")(t) if k == 1 else None,
        frame=factor.as_immutable(),
        constant=(factor * rotation).as_immutable(),
        inverse=-rotation.T * factor.T,
        parameters=parameters,
        extra=table,
    )


variance = sympy.Symbol("v", positive=True)
"""The data's variance along one direction, for an anchored parametrisation."""

SIGMA_DATA = sympy.Rational(1, 2)
"""EDM's standard deviation of the data (arXiv 2206.00364, table 1)."""

ANCHOR = sympy.Rational(1, 4)
"""The value of ``variance`` unless one is given: for analyses; samplers take those of the data."""


def _marginal_factor(
    process: Process, v: sympy.Expr, prefix: str
) -> tuple[sympy.Matrix, dict[sympy.Function, Definition]]:
    """The lower Cholesky factor of S = v Psi Psi^T + Sigma, the covariance of z_t for data of variance v, by name.

    ``prefix`` tells one v from another: a program holds the definitions of two parametrisations.
    """
    k, blocks = len(process.blocks), process.blocks
    table: dict[sympy.Function, Definition] = {}

    def name(i: int, j: int) -> sympy.Expr:
        return sympy.Function(f"{prefix}_{blocks[i]}{blocks[j]}")(t)

    for i in range(k):
        for j in range(i + 1):
            means = sympy.Function(f"mean_{blocks[i]}")(t) * sympy.Function(f"mean_{blocks[j]}")(t)
            entry = v * means + sympy.Function(f"covariance_{blocks[i]}{blocks[j]}")(t)
            rest = entry - sum(name(i, m) * name(j, m) for m in range(j))
            table[name(i, j).func] = Definition((t,), sympy.sqrt(rest) if i == j else rest / name(j, j))
    return sympy.Matrix(k, k, lambda i, j: name(i, j) if j <= i else 0), table


def _anchored(process: Process) -> Parametrisation:
    """The data anchor: s = -R^{-T} n with R R^T = S, the covariance of z_t for Gaussian data of variance v.

    For those data n = R^{-1} z is constant along a trajectory, so a step with B = 0 is exact; for v = 0 this is eps.
    z stands for the centred state z - Psi mean. v is a parameter: samplers take it per direction of the data.
    """
    if process.network != "eps":
        raise InputError(
            f"an anchored parametrisation centres the state, which a network that returns {process.network} would see; "
            f"process {process.name} is not accepted, those with eps networks are"
        )
    factor, table = _marginal_factor(process, variance, "marginal")
    return _framed("anchor", process, factor, table, {variance: ANCHOR})


def _mixed(process: Process) -> Parametrisation:
    """Mixed score (arXiv 2106.05931, section 3.2): C_skip is the score of unit-variance Gaussian data, C_out eps's."""
    factor, table = _marginal_factor(process, sympy.S.One, "marginal_unit")
    return replace(
        _preconditioned("mixed", process, factor, table), c_out=_eps(process).c_out, inverse=_eps(process).inverse
    )


def _edm(process: Process) -> Parametrisation:
    """EDM's preconditioning (arXiv 2206.00364, table 1) on one block: n is its network F, sigma_data = 1/2.

    C_skip is the score of Gaussian data of variance sigma_data**2, and C_out gives n the variance one for them.
    """
    alpha, sigma = _one_block("edm", process)
    v = SIGMA_DATA**2
    factor, table = _marginal_factor(process, v, "marginal_edm")
    c_out = _scalar(SIGMA_DATA * alpha / (sigma * factor[0, 0]))
    return replace(_preconditioned("edm", process, factor, table), c_out=c_out)


def _preconditioned(
    name: str, process: Process, factor: sympy.Matrix, table: Mapping[sympy.Function, Definition]
) -> Parametrisation:
    """C_skip = -S^{-1} with S = K K^T, K = ``factor``; its linear part is solved by K (one block) or K Rot (two)."""
    k, inverse = len(process.blocks), factor**-1
    return Parametrisation(
        name,
        process,
        (-inverse.T * inverse).as_immutable(),
        sympy.zeros(k, k).as_immutable(),
        homogeneous=factor[0, 0] if k == 1 else None,
        turning=_turning(process, factor) if k == 2 else None,
        frame=factor.as_immutable(),
        extra=table,
    )


turn = sympy.Function("turn")
"""turn(t, s) = theta(t) - theta(s), the angle by which the rotating frame turns from s to t."""


def turn_definition(turning: sympy.Expr) -> Definition:
    """turn as an integral of theta'."""
    return Definition((t, s), turning.xreplace({t: u}), integral=True)


def _v(process: Process) -> Parametrisation:
    """n = (alpha eps - sigma x_0) / sqrt(alpha**2 + sigma**2): v-prediction (arXiv 2202.00512, appendix D)."""
    alpha, sigma = _one_block("v", process)
    factor, table = _marginal_factor(process, sympy.S.One, "marginal_unit")
    c_out = _scalar(-alpha / (sigma * factor[0, 0]))
    return replace(_preconditioned("v", process, factor, table), c_out=c_out)


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
    {
        "eps": _eps,
        "eps-rotated": _rotated,
        "score": _score,
        "x0": _data,
        "v": _v,
        VELOCITY: _velocity,
        "anchor": _anchored,
        "mixed": _mixed,
        "residual": _residual,
        "edm": _edm,
    }
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
    inverse = wanted.c_out_inverse
    return (inverse * (given.c_skip - wanted.c_skip)).as_mutable(), (inverse * given.c_out).as_mutable()


def network_from_eps(process: Process) -> Callable[[float], tuple[np.ndarray, np.ndarray]]:
    """time -> (skip, scale), float64 k x k: what a network of ``process`` returns is skip z + scale eps."""
    k = len(process.blocks)
    if process.network == "eps":
        return lambda time: (np.zeros((k, k)), np.eye(k))
    given = parametrisation("eps", process)
    wanted = parametrisation(process.network, process)
    matrices = conversion(wanted, given)
    table = process.definitions.with_(given.definitions).with_(wanted.definitions)
    values = function([e for m in matrices for e in m], (t,), table, process.parameters)

    def at(time: float) -> tuple[np.ndarray, np.ndarray]:
        skip, scale = np.array(values(time), dtype=float).reshape(2, k, k)
        return skip, scale

    return at
