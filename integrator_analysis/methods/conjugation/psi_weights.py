"""The weights psi_k(s, t) = -int_s^t E(s, u) eta(u) x(u)^k du with which network outputs enter a conjugate step.

x is the share of the way from t to s in the step's variable. Knows which weights have closed forms, and by which
quadrature the others are integrated; knows no stage.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import sympy

from integrator_analysis.algebra.definitions import Definition
from integrator_analysis.algebra.special import difference, expm1, phi
from integrator_analysis.algebra.symbols import h, s, t, u
from integrator_analysis.methods.conjugation.propagator import (
    Propagator,
    ratio_difference,
    spread_between,
    two_time_matrix,
)
from integrator_analysis.methods.conjugation.transformed_ode import TransformedODE
from integrator_analysis.parametrisation.frames import turn
from integrator_analysis.parametrisation.signal_to_noise import ratio
from integrator_analysis.processes.equation import elapsed
from integrator_analysis.program.statements import Quadrature, advance

__all__ = ["PsiWeights", "psi_weights"]

Table = dict[sympy.Function, Definition]


@dataclass(frozen=True)
class PsiWeights:
    """The matrices psi_0, psi_1, ... by the names of their entries.

    ``definitions`` hold the closed forms, ``quadratures`` the integrals; an entry in neither is zero.
    """

    moments: tuple[sympy.ImmutableMatrix, ...]
    size: int
    definitions: Mapping[sympy.Function, Definition] = field(default_factory=dict)
    quadratures: tuple[Quadrature, ...] = ()

    def between(self, k: int, start: sympy.Expr, end: sympy.Expr) -> sympy.Matrix:
        """psi_k(end, start) by its named entries; placeholders where a rule of simplification replaces psi_k."""
        if k >= len(self.moments):
            return sympy.Matrix(self.size, self.size, lambda i, j: sympy.Symbol(f"unused_{k}{i}{j}"))
        known = {*self.definitions, *(f for q in self.quadratures for f in q.names)}
        return sympy.Matrix(
            self.size, self.size, lambda i, j: f(start, end) if (f := self.moments[k][i, j].func) in known else 0
        )


def psi_weights(ode: TransformedODE, propagator: Propagator) -> PsiWeights:
    """The weights of the ODE: in closed form where one is known, else by quadrature."""
    moments, par = ode.flow.moments, ode.parametrisation
    if not moments:
        return PsiWeights(moments, ode.size)
    if not ode.conjugated and par.name == "velocity" and ode.variable == "t":
        return PsiWeights(moments, ode.size, _velocity_weights(ode))
    closed = _closed_weights(ode)
    if closed is not None:
        return PsiWeights(moments, ode.size, closed)
    # Psi_0 alone has a closed form where the parametrisation solves the ODE for every constant network.
    solved = not ode.conjugated and par.constant is not None
    first = _first_weight(ode, propagator) if solved else {}
    return PsiWeights(moments, ode.size, first, _quadratures(ode, propagator, start=int(solved)))


def _velocity_weights(ode: TransformedODE) -> Table:
    """psi_k = -h/(k + 1) I: the network's output is z' itself, and nothing is propagated."""
    return {
        moment[i, i].func: Definition((t, s), -h / (k + 1))
        for k, moment in enumerate(ode.flow.moments)
        for i in range(ode.size)
    }


def _closed_weights(ode: TransformedODE) -> Table | None:
    """All psi_k on one block from eta = m d(rho**p)/dt; None where that does not suit the variable."""
    p, m = ode.parametrisation.power, ode.parametrisation.homogeneous
    if ode.conjugated or ode.size > 1 or p is None or m is None:
        return None
    closed = [_closed_weight(k, p, m, ode.variable) for k in range(len(ode.flow.moments))]
    if any(c is None for c in closed):
        return None
    return {moment[0, 0].func: Definition((t, s), c) for moment, c in zip(ode.flow.moments, closed, strict=True)}


def _closed_weight(k: int, p: sympy.Rational, m: sympy.Expr, variable: str) -> sympy.Expr | None:
    """-int_s^t (m_s / m_u) eta x^k du = m_s times the integral of x^k d(rho**p) from t to s."""
    end = m.xreplace({t: s})
    if k == 0 and p == 1:
        return -end * ratio_difference(t, s)
    if k == 0 and p == -1:
        return end * ratio_difference(t, s) / (ratio(t) * ratio(s))
    if variable == "rho" and p == 1:
        return -end * ratio_difference(t, s) / (k + 1)
    if variable == "log-SNR":
        step = advance(t, s)
        if k == 0:
            return -end * ratio(s) ** p * expm1(p * step)
        return -p * end * ratio(s) ** p * step * sympy.factorial(k) * phi(k + 1, p * step)
    return None


def _quadratures(ode: TransformedODE, propagator: Propagator, start: int) -> tuple[Quadrature, ...]:
    """Gauss-Legendre rules for psi_k, k from ``start`` on: the psi before it have closed forms."""
    groups = [tuple(e.func for e in moment) for moment in ode.flow.moments[start:]]
    if not groups:
        return ()
    k, entries = ode.size, ode.flow.entries
    carried = sympy.Matrix(k, k, lambda i, j: entries[i, j].func(u, s) if propagator.closed[i, j] != 0 else 0)
    integrand = -(carried * ode.parametrisation.eta.xreplace({t: u}))
    nonzero = [n for n, e in enumerate(integrand) if e != 0]
    functions = tuple(tuple(group[n] for n in nonzero) for group in groups)
    rule = "sqrt" if ode.parametrisation.name == "eps" and ode.variable != "log-SNR" else "log"
    nodes = 64 if rule == "log" and not start else 32  # where n is nearly constant, 32 leave 1e-13
    if rule == "sqrt" and ode.process.logarithmic_clock is not None:
        # eta has a pole at or just behind t_max: on rectified flow from 0.999 to 0.6, 32 leave 4e-2 and 256 5e-13.
        nodes = 256
    return (Quadrature(functions, tuple(integrand[n] for n in nonzero), rule, nodes, start),)


def _first_weight(ode: TransformedODE, propagator: Propagator) -> Table:
    """psi_0 = R_s - E R_t without cancellation, where R n solves the ODE for every constant n."""
    first, table = _weight_of_one_block(ode) if ode.size == 1 else _weight_of_frame(ode, propagator)
    return table | {e.func: Definition((t, s), w) for e, w in zip(ode.flow.moments[0], first, strict=True)}


def _weight_of_one_block(ode: TransformedODE) -> tuple[sympy.Matrix, Table]:
    """psi_0 by rho(t) - rho(s), since (R/alpha)**2 - rho**2 is the data's variance at all times."""
    at_t = sympy.Matrix(ode.parametrisation.constant)
    at_s = at_t.xreplace({t: s})
    mean = sympy.Function("mean_x")
    size = at_t[0] / mean(t) + at_s[0] / mean(s)
    return sympy.Matrix([-mean(s) * ratio_difference(t, s) * (ratio(t) + ratio(s)) / size]), {}


def _weight_of_frame(ode: TransformedODE, propagator: Propagator) -> tuple[sympy.Matrix, Table]:
    """psi_0 = K_s Rot(theta_s) - E K_t Rot(theta_t), by what carrying K_t back to s changes of it.

    E K_t, called back, is C Rot(.), C the Cholesky factor of K_s K_s^T + spread, called carried. So psi_0 is
    -[rise + C (Rot(slip) - 1)] Rot(theta_s): rise = C - K_s has the spread as a factor, slip is the angle left.
    """
    at_t = sympy.Matrix(ode.parametrisation.frame)
    at_s = at_t.xreplace({t: s})
    spread, table = spread_between(ode.process)
    angle, slip = turn(t, s), sympy.Function("slip")
    back, carried, rise = (two_time_matrix(name, ode.blocks) for name in ("back", "carried", "rise"))
    table |= {e.func: Definition((t, s), b) for e, b in zip(back, propagator.between(t, s) * at_t, strict=True)}
    size, (first, second) = carried[0, 0], (back[0, :], back[1, :])
    scale = sympy.exp(elapsed(t, s) * sympy.expand(-ode.process.drift_per_unit.trace()))  # det E
    bodies = {
        carried[0, 0]: sympy.sqrt(first.dot(first)),
        carried[1, 0]: first.dot(second) / size,
        carried[1, 1]: scale * at_t[0, 0] * at_t[1, 1] / size,
        rise[0, 0]: spread[0, 0] / (size + at_s[0, 0]),
        rise[1, 0]: (spread[1, 0] - rise[0, 0] * at_s[1, 0]) / size,
        rise[1, 1]: difference(
            carried[1, 1],
            at_s[1, 1],
            (spread[1, 1] - rise[1, 0] * (carried[1, 0] + at_s[1, 0])) / (carried[1, 1] + at_s[1, 1]),
        ),
        slip(t, s): sympy.atan2(
            first[0] * sympy.sin(angle) + first[1] * sympy.cos(angle),
            first[0] * sympy.cos(angle) - first[1] * sympy.sin(angle),
        ),
    }
    table |= {name.func: Definition((t, s), body) for name, body in bodies.items()}
    # Rot(slip) - 1, its diagonal as a square so that a small angle keeps its digits.
    across, along = sympy.sin(slip(t, s)), -2 * sympy.sin(slip(t, s) / 2) ** 2
    change = _lower_triangle(rise) + _lower_triangle(carried) * sympy.Matrix([[along, across], [-across, along]])
    rotation = (at_s**-1 * sympy.Matrix(ode.parametrisation.constant).xreplace({t: s})).applyfunc(sympy.cancel)
    return -change * rotation, table


def _lower_triangle(matrix: sympy.Matrix) -> sympy.Matrix:
    """The lower triangle, zero above."""
    return sympy.Matrix(*matrix.shape, lambda i, j: matrix[i, j] if j <= i else 0)
