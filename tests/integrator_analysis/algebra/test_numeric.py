"""Numbers from definitions that call one another: as if every formula were written out."""

from __future__ import annotations

import mpmath
import pytest
import sympy

from integrator_analysis.algebra.definitions import Definition, Definitions
from integrator_analysis.algebra.numeric import function
from integrator_analysis.algebra.symbols import h, s, t, u

f, g, k, area = sympy.symbols("f g k area", cls=sympy.Function)
a, zero = sympy.symbols("a zero")
TABLE = Definitions(
    {
        f: Definition((t,), sympy.exp(a * t)),
        g: Definition((t, s), f(t) - f(s) * h),
        k: Definition((t,), g(t, t / 3) ** 2 + f(f(t))),
        area: Definition((t, s), f(u), integral=True),
    }
)
VALUES = {a: sympy.Rational(1, 2), zero: sympy.Integer(0)}


@pytest.mark.parametrize("backend", ["numpy", "mpmath"])
def test_nested_calls_are_those_of_the_formula_written_out(backend: str) -> None:
    with mpmath.workdps(30):
        at, to = mpmath.mpf("0.7"), mpmath.mpf("0.4")
        if backend == "numpy":
            at, to = float(at), float(to)
        values = function([k(t) + g(t, s), area(t, s), f(t) / h], (t, s), TABLE, VALUES, backend)(at, to)

        def grown(x: mpmath.mpf) -> mpmath.mpf:
            return mpmath.exp(x / 2)

        step = mpmath.mpf("0.3")  # h is the first time less the second: 0.3 here, 2/3 of the time inside k
        wanted = [
            (grown(at) - grown(at / 3) * (at - at / 3)) ** 2 + grown(grown(at)) + grown(at) - grown(to) * step,
            2 * (grown(at) - grown(to)),
            grown(at) / step,
        ]
        tolerance = 1e-14 if backend == "numpy" else mpmath.mpf(10) ** -25
        assert all(abs(x - y) <= tolerance * abs(y) for x, y in zip(values, wanted, strict=True))


def test_a_call_that_is_zero_at_the_parameters_removes_what_it_multiplies() -> None:
    off = sympy.Function("off")
    table = TABLE.with_({off: Definition((t,), zero * f(t))})
    assert function([off(t) * sympy.log(t)], (t,), table, VALUES)(0.0) == [0]
