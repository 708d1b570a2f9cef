"""Whether the closed forms that a parametrisation states solve their equations, measured in 15 digits.

Knows parametrisations and how to evaluate them; a form that fails is a bug in the file that states it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import mpmath
import sympy

from integrator_analysis.algebra.numeric import function
from integrator_analysis.algebra.symbols import t
from integrator_analysis.parametrisation.parametrisation import Parametrisation
from integrator_analysis.parametrisation.signal_to_noise import ratio

__all__ = ["check_closed_forms"]

SHARES = ("0.2137", "0.8311")
"""Of t_max: the two times that are looked at, one early and one late, neither a round number."""

TOLERANCE = mpmath.mpf(10) ** -15
"""Of the relative errors, which are computed in 40 digits: a wrong form differs in its first digits."""

_CHECKED: set[tuple[object, ...]] = set()
"""The content of the parametrisations that have passed in this session."""


def check_closed_forms(par: Parametrisation) -> None:
    """Raise ArithmeticError unless m' = L m and eta = m d(rho**p)/dt, R' = L R, and R' = L R + eta hold, where stated.

    What has passed once in a session is not measured again.
    """
    content = _content(par)
    if content in _CHECKED:
        return
    times = [mpmath.mpf(share) * par.process.t_max for share in SHARES]
    with mpmath.workdps(40):
        errors = [mpmath.mpf(0)]
        if par.homogeneous is not None:
            errors += [_scalar_error(par, time) for time in times]
        if par.turning is not None:
            errors += [_frame_error(par, time) for time in times]
        if par.constant is not None:
            errors += [_constant_error(par, time) for time in times]
        if max(errors) > TOLERANCE:
            raise ArithmeticError(f"a closed form of parametrisation {par.name} fails its equation")
    _CHECKED.add(content)


def _content(par: Parametrisation) -> tuple[object, ...]:
    """All that the check reads, hashable."""
    forms = (par.homogeneous, par.power, par.noise, par.turning, par.frame, par.constant)
    tables = (*par.parameters.items(), *par.extra.items())
    return (par.name, par.c_skip, par.c_out, *forms, *tables, *par.process.content)


def _values(par: Parametrisation, *expressions: sympy.Expr) -> Callable[[mpmath.mpf], list[mpmath.mpf]]:
    """The expressions as one function of time, in mpmath."""
    table = par.process.definitions.with_(par.definitions)
    return function(expressions, (t,), table, {**par.process.parameters, **par.parameters}, "mpmath")


def _scalar_error(par: Parametrisation, time: mpmath.mpf) -> mpmath.mpf:
    """Of m' = L m, and of eta = m d(rho**p)/dt where ``power`` is stated: the larger relative error."""
    value = _values(par, par.homogeneous, ratio(t))
    drift, eta = _values(par, par.drift[0, 0], par.eta[0, 0])(time)
    growth = mpmath.diff(lambda u: mpmath.log(value(u)[0]), time)
    error = abs(growth - drift) / (1 + abs(drift))
    if par.power is None:
        return error
    exponent = mpmath.mpf(par.power.p) / par.power.q
    slope = value(time)[0] * mpmath.diff(lambda u: value(u)[1] ** exponent, time)
    return max(error, abs(slope - eta) / (1 + abs(eta)))


def _frame_error(par: Parametrisation, time: mpmath.mpf) -> mpmath.mpf:
    """Of K' = L K - K [[0, theta'], [-theta', 0]] for the frame's factor K, relative to the right-hand side."""
    factor, turning = sympy.Matrix(par.frame), sympy.sympify(par.turning)
    turn = sympy.Matrix([[0, turning], [-turning, 0]])
    return _slope_error(par, list(factor), list(par.drift_expression * factor - factor * turn), time)


def _constant_error(par: Parametrisation, time: mpmath.mpf) -> mpmath.mpf:
    """Of R' = L R + eta, relative to the right-hand side."""
    frame = sympy.Matrix(par.constant)
    return _slope_error(par, list(frame), list(par.drift_expression * frame + par.eta_expression), time)


def _slope_error(
    par: Parametrisation, entries: Sequence[sympy.Expr], slopes: Sequence[sympy.Expr], time: mpmath.mpf
) -> mpmath.mpf:
    """The largest difference between the derivatives of ``entries`` and ``slopes``, relative to the largest slope."""
    value, target = _values(par, *entries), _values(par, *slopes)(time)
    found = [mpmath.diff(lambda u, n=n: value(u)[n], time) for n in range(len(target))]
    return max(abs(a - b) for a, b in zip(found, target, strict=True)) / (1 + max(map(abs, target)))
