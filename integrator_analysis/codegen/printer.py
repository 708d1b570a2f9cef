"""Spells sympy expressions as Python source for tensors: torch's functions of what varies, math's of numbers.

Knows the functions that closed forms are made of, and refuses every other. A rational prints as p / q, a square root
as sqrt; a Float in an expression is an error, because its digits would not survive printing.
"""

from __future__ import annotations

from collections.abc import Sequence, Set

import sympy
from sympy.core.function import AppliedUndef
from sympy.printing.precedence import PRECEDENCE
from sympy.printing.pycode import PythonCodePrinter

from integrator_analysis.algebra.symbols import s, t

__all__ = ["HELPERS", "SourcePrinter", "join_sum", "local_name", "parameter_name"]

HELPERS = {
    "phi": "_phi",
    "cosh_sqrt": "_sqrt_functions",
    "sinhc_sqrt": "_sqrt_functions",
    "damped_moment": "_damped_moment",  # uses _sinhc_sqrt, which its process's propagator brings along
    "difference": "_difference",
    "decay": "_decay",
    "decay_rate": "_decay",
    "Table": "_decay",
}
"""Special functions that generated source brings along, and the template that holds each."""

KNOWN = {name: name for name in ("exp", "expm1", "log1p", "log", "sin", "cos", "atan", "atan2")}

SPELLED = {*KNOWN, *HELPERS, "Exp1"}


def parameter_name(symbol: sympy.Symbol) -> str:
    """The Python name of a parameter: its own, with an underscore where Python reserves the word (lambda_)."""
    return symbol.name + "_" if symbol.name == "lambda" else symbol.name


def join_sum(terms: Sequence[str]) -> str:
    """a + b - c, from the terms "a", "b", "-c"."""
    out = terms[0]
    for term in terms[1:]:
        out += f" - {term[1:]}" if term.startswith("-") else f" + {term}"
    return out


def local_name(call: AppliedUndef, ends: tuple[sympy.Expr, ...] = (t, s)) -> str:
    """The local variable that holds f(t), f(s) or g(t, s): f_t, f_s, g; g between other times is g_t1_s and so on.

    ``ends`` are the times that go without saying.
    """
    if call.args == ends:
        return str(call.func)
    return "_".join(map(str, (call.func, *call.args)))


def _whole(number: int) -> str:
    """A whole number that a tensor can be multiplied by: a float where it is beyond 64 bits, which tensors refuse."""
    return str(number) if abs(number) <= 2**53 else repr(float(number))


class SourcePrinter(PythonCodePrinter):
    """``numbers``: the symbols, and the functions of time, that are numbers in the source. All others are tensors.

    Undefined functions become local variables. An elementary function comes from torch, which takes tensors alone, and
    of a number from math.
    """

    def __init__(
        self,
        numbers: Set[object] = frozenset(),
        called_with: tuple[sympy.Symbol, ...] = (),
        ends: tuple[sympy.Expr, ...] = (t, s),
        tail: str = "",
    ) -> None:
        super().__init__({"fully_qualified_modules": True, "strict": False})
        self.numbers = numbers
        self.called_with = called_with
        self.ends = ends
        self.tail = tail

    def doprint(self, expr: sympy.Expr, assign_to: str | None = None) -> str:
        """The source of an expression. Raises ValueError for a node that has no spelling here."""
        for node in sympy.preorder_traversal(expr):
            # sympy's own printer knows more functions than are wanted, and spells infinities: only these pass.
            known = isinstance(node, (sympy.Add, sympy.Mul, sympy.Pow, sympy.Rational, sympy.Symbol, AppliedUndef))
            if not known and type(node).__name__ not in SPELLED:
                raise ValueError(f"no source for {type(node).__name__} in {expr}")
        return super().doprint(expr, assign_to)

    def _print_Symbol(self, symbol: sympy.Symbol) -> str:
        return parameter_name(symbol)

    def _print_Rational(self, value: sympy.Rational) -> str:
        return f"{_whole(value.p)} / {_whole(value.q)}"

    def _print_Integer(self, value: sympy.Integer) -> str:
        return _whole(value.p)

    def _print_Half(self, value: sympy.Rational) -> str:
        return "1 / 2"

    def _print_Float(self, value: sympy.Float) -> str:
        raise ValueError(f"the float {value} in an expression to print; parameters are symbols, constants are rational")

    def _print_Add(self, sum_: sympy.Add) -> str:
        return join_sum(self.terms(sum_))

    def terms(self, sum_: sympy.Add) -> list[str]:
        """The terms of a sum, those with a plus sign first."""
        return sorted((self._print(term) for term in sum_.as_ordered_terms()), key=lambda term: term.startswith("-"))

    def _print_Mul(self, product: sympy.Mul) -> str:
        coefficient, factors = product.as_coeff_mul()
        below = [1 / f for f in factors if f.is_Pow and f.exp.could_extract_minus_sign()]
        above = [f for f in factors if not (f.is_Pow and f.exp.could_extract_minus_sign())]
        level = PRECEDENCE["Mul"]
        numerator = [_whole(abs(coefficient.p))] * (abs(coefficient.p) != 1)
        numerator += [self.parenthesize(f, level) for f in above]
        denominator = [_whole(coefficient.q)] * (coefficient.q != 1)
        denominator += [self.parenthesize(f, level, strict=True) for f in below]
        text = "-" * (coefficient.p < 0) + (" * ".join(numerator) or "1")
        if len(denominator) == 1:
            return f"{text} / {denominator[0]}"
        return f"{text} / ({' * '.join(denominator)})" if denominator else text

    def _print_Pow(self, power: sympy.Pow, rational: bool = False) -> str:
        base, exponent = power.args
        if not (2 * exponent).is_Integer:
            raise ValueError(f"no source for the power {power}")
        if exponent < 0:
            return f"1 / {self.parenthesize(base**-exponent, PRECEDENCE['Mul'], strict=True)}"
        if not exponent.is_Integer:
            root = f"{self._module(base)}.sqrt({self._print(base)})"
            return root if exponent.p == 1 else f"{root}**{exponent.p}"
        return f"{self.parenthesize(base, PRECEDENCE['Pow'], strict=True)}**{exponent}"

    def _module(self, argument: sympy.Expr) -> str:
        constant = {c: sympy.S.One for c in argument.atoms(AppliedUndef) if c.func in self.numbers}
        return "math" if argument.xreplace(constant).free_symbols <= self.numbers else "torch"

    def _print_Exp1(self, _: sympy.Expr) -> str:
        return "math.e"

    def _print_Function(self, call: sympy.Function) -> str:
        name = type(call).__name__
        arguments = ", ".join(self._print(a) for a in call.args)
        if isinstance(call, AppliedUndef) and call.args[-1].is_Rational:
            start = self.parenthesize(call.args[-1], PRECEDENCE["Mul"])
            width = f"torch.log({self._print(call.args[0])} / {start})"
            return f"_{call.func}({self._print(call.args[-1])}, {width}{self.tail})"  # it has no local name
        if isinstance(call, AppliedUndef):
            return str(call.func) if call.args == self.called_with else local_name(call, self.ends)
        if name in KNOWN:
            return f"{self._module(call)}.{KNOWN[name]}({arguments})"
        if name in HELPERS and self._module(call) == "torch":
            return f"_{name}({arguments})"
        if name in HELPERS:  # helpers take tensors
            tensors = [
                f"torch.tensor({self._print(a)}, dtype=torch.float64)" if a.free_symbols else self._print(a)
                for a in call.args
            ]
            return f"float(_{name}({', '.join(tensors)}))"
        raise ValueError(f"no source for the function {name}")

    _print_exp = _print_expm1 = _print_log1p = _print_log = _print_Function
    _print_sin = _print_cos = _print_atan = _print_atan2 = _print_Function
    _print_phi = _print_cosh_sqrt = _print_sinhc_sqrt = _print_damped_moment = _print_Function
    _print_decay = _print_decay_rate = _print_difference = _print_Function

    def emptyPrinter(self, expr: object) -> str:
        raise ValueError(f"no source for {type(expr).__name__} {expr}")
