"""How symbols are written: the names of this package as plain text, as LaTeX and as MathML.

Knows names and sympy's printers; knows nothing of derivations. ``d_xm s_x`` is the derivative of s_x by x and m,
``psi_0_xx(t, s)`` an entry of the weight psi_0(s, t), ``beta`` a Greek letter. No text from outside is interpreted:
a name is split at its underscores, and what it consists of is escaped.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sympy
from sympy.core.function import AppliedUndef
from sympy.printing.latex import LatexPrinter
from sympy.printing.mathml import MathMLPresentationPrinter
from sympy.printing.str import StrPrinter

from integrator_analysis.algebra.special import cosh_sqrt, expm1, log1p, phi, sinhc_sqrt

__all__ = ["latex", "latex_name", "mathml", "text"]

GREEK = {
    name: (f"\\{name}", letter)
    for name, letter in zip(
        (
            *("alpha", "beta", "gamma", "delta", "epsilon", "eta", "theta", "kappa", "lambda", "mu", "nu", "xi"),
            *("rho", "sigma", "tau", "phi", "psi", "omega", "Gamma", "Delta", "Theta", "Lambda", "Sigma"),
            *("Phi", "Psi", "Omega"),
        ),
        "αβγδϵηθκλμνξρστφψωΓΔΘΛΣΦΨΩ",
        strict=True,
    )
}
LETTERS = {
    "eps": "epsilon",
    "eps-rotated": "epsilon",
    "propagator": "E",
    "drift": "L",
    "cholesky": "K",
    "covariance": "Sigma",
    "mean": "Psi",
    "clock": "b",
    "elapsed": "Delta b",
    "ratio": "rho",
    "angle": "theta",
    "moment": "mu",
}
"""What names of the code are called on paper; a name that is not here stays as it is."""

SWAPPED = ("propagator", "psi")
"""Functions of (t, s) that on paper are functions of (s, t): they map from right to left."""


@dataclass(frozen=True)
class Name:
    """The parts of a name: the variables that it is differentiated by, its letter or word, lower and upper indices."""

    derivatives: str
    root: str
    index: str
    upper: str


def take_apart(name: str) -> Name:
    """Split a name into its parts.

    >>> take_apart("d_xm s_x")
    Name(derivatives='xm', root='s', index='x', upper='')
    >>> take_apart("psi_0_xx").index, take_apart("slope_ratio")
    ('0,xx', Name(derivatives='', root='rho', index='', upper="'"))
    """
    derivative, _, base = name.rpartition(" ")
    base, _, number = base.partition("@")
    upper = f"({number})" if number else ""
    if base.startswith("slope_"):
        base, upper = base.removeprefix("slope_"), "'"
    if base == "log_snr":
        return Name(derivative.removeprefix("d_"), "logSNR", "", upper)
    root, *rest = base.split("_")
    letter, digits = re.fullmatch(r"(.*?)(\d*)", root, re.DOTALL).groups()  # type: ignore[union-attr]
    index = ",".join(filter(None, [digits, *rest]))
    return Name(derivative.removeprefix("d_"), LETTERS.get(letter, letter), index, upper)


def as_on_paper(expression: Any) -> Any:
    """``expression`` in functions that are known on paper: expm1(x) as e^x - 1, and the like."""
    if isinstance(expression, sympy.MatrixBase):
        return expression.applyfunc(as_on_paper)
    for function, form in FORMS.items():
        expression = expression.replace(function, form)
    return expression


FORMS: dict[Any, Callable[..., sympy.Expr]] = {
    expm1: lambda x: sympy.exp(x) - 1,
    log1p: lambda x: sympy.log(1 + x),
    cosh_sqrt: lambda x: sympy.cosh(sympy.sqrt(x)),
    sinhc_sqrt: lambda x: sympy.sinh(sympy.sqrt(x)) / sympy.sqrt(x),
    phi: lambda k, x: sympy.Function(f"phi_{k}")(x),
}


def arguments(call: AppliedUndef) -> tuple[sympy.Expr, ...]:
    """The arguments in the order in which paper has them."""
    swapped = str(call.func).split("_")[0] in SWAPPED and len(call.args) == 2
    return call.args[::-1] if swapped else call.args


class _Text(StrPrinter):
    """Plain text: derivatives in brackets, integrals in words, matrices as lists."""

    def _print_Function(self, e: sympy.Expr) -> str:
        """A derivative, ``d_x s_x``, is applied in brackets."""
        inner = ", ".join(map(self._print, e.args))
        return f"{e.func}[{inner}]" if " " in str(e.func) else super()._print_Function(e)

    def _print_Integral(self, e: sympy.Integral) -> str:
        ((variable, low, high),) = e.limits
        return f"integral over {variable} from {low} to {high} of {self._print(e.function)}"

    def _print_MatrixBase(self, e: sympy.MatrixBase) -> str:
        return str(e.tolist())

    _print_ImmutableDenseMatrix = _print_MutableDenseMatrix = _print_MatrixBase


def text(expression: Any) -> str:
    """``expression`` in the names of the code, as a person types it."""
    return _Text().doprint(expression)


def latex_name(name: str) -> str:
    """A name of the code as LaTeX.

    >>> latex_name("d_xm s_x"), latex_name("beta_min"), latex_name("decay_x_1")
    ('\\\\partial_{xm}s_{x}', '\\\\beta_{\\\\mathrm{min}}', '\\\\mathrm{decay}_{x,1}')
    """
    n = take_apart(name)
    out = _latex_letters(n.root)
    if n.index:
        out += "_{" + ",".join(_latex_index(part) for part in n.index.split(",")) + "}"
    out += n.upper if n.upper == "'" else f"^{{{n.upper}}}" if n.upper else ""
    return rf"\partial_{{{n.derivatives}}}{out}" if n.derivatives else out


def _latex_letters(root: str) -> str:
    words = []
    for word in root.split(" "):
        upright = _safe(word) if len(word) == 1 else rf"\mathrm{{{_safe(word)}}}"
        words.append(GREEK[word][0] if word in GREEK else upright)
    return " ".join(words)


def _latex_index(part: str) -> str:
    return GREEK[part][0] if part in GREEK else _safe(part) if len(part) < 3 else rf"\mathrm{{{_safe(part)}}}"


def _safe(word: str) -> str:
    return re.sub(r"[^A-Za-z0-9 .+-]", " ", word)


class _Latex(LatexPrinter):
    """LaTeX, with the names of this package taken apart."""

    def _print_Symbol(self, e: sympy.Symbol, style: str = "plain") -> str:
        return latex_name(e.name)

    def _print_Function(self, e: sympy.Expr, exp: str | None = None) -> str:
        if not isinstance(e, AppliedUndef):
            return super()._print_Function(e, exp)
        name = latex_name(str(e.func))
        if exp is not None:
            name = f"{{{name}}}^{{{exp}}}" if "^" in name or name.endswith("'") else f"{name}^{{{exp}}}"
        opening, closing = "[]" if " " in str(e.func) else "()"
        return rf"{name}\left{opening}" + ", ".join(map(self._print, arguments(e))) + rf"\right{closing}"


def latex(expression: Any) -> str:
    """``expression`` as LaTeX that needs no package beyond amsmath."""
    return _Latex({"mat_delim": "("}).doprint(as_on_paper(expression))


POWER_OF_E = sympy.Function("power_of_e")
"""exp as a function that sympy does not move into denominators."""


class _MathML(MathMLPresentationPrinter):
    """Presentation MathML, with the names of this package taken apart."""

    def _print_Symbol(self, e: sympy.Symbol, style: str = "plain") -> Any:
        return self._named(take_apart(e.name))

    def _print_Function(self, e: sympy.Expr) -> Any:
        if not isinstance(e, AppliedUndef):
            return super()._print_Function(e)
        if e.func == POWER_OF_E:
            outer = self.dom.createElement("msup")
            outer.appendChild(self._leaf("mi", "e"))
            outer.appendChild(self._print(e.args[0]))
            return outer
        row, inner = self.dom.createElement("mrow"), self.dom.createElement("mrow")
        row.appendChild(self._named(take_apart(str(e.func))))
        row.appendChild(self._leaf("mo", "\u2061"))
        opening, closing = "[]" if " " in str(e.func) else "()"
        inner.appendChild(self._leaf("mo", opening))
        for n, argument in enumerate(arguments(e)):
            if n:
                inner.appendChild(self._leaf("mo", ","))
            inner.appendChild(self._print(argument))
        inner.appendChild(self._leaf("mo", closing))
        row.appendChild(inner)
        return row

    def _named(self, n: Name) -> Any:
        base = self._letters(n.root)
        sub = self._row([self._leaf("mi", GREEK.get(p, (p, p))[1]) for p in n.index.split(",")]) if n.index else None
        sup = self._leaf("mo", "\u2032" if n.upper == "'" else n.upper) if n.upper else None
        if sub is not None or sup is not None:
            tag = "msubsup" if sub is not None and sup is not None else "msub" if sub is not None else "msup"
            outer = self.dom.createElement(tag)
            for child in (base, sub, sup):
                if child is not None:
                    outer.appendChild(child)
            base = outer
        if not n.derivatives:
            return base
        partial = self.dom.createElement("msub")
        partial.appendChild(self._leaf("mo", "\u2202"))
        partial.appendChild(self._leaf("mi", n.derivatives))
        return self._row([partial, base])

    def _letters(self, root: str) -> Any:
        return self._row([self._leaf("mi", GREEK.get(word, (word, word))[1]) for word in root.split(" ")])

    def _row(self, children: list[Any]) -> Any:
        if len(children) == 1:
            return children[0]
        row = self.dom.createElement("mrow")
        for n, child in enumerate(children):
            if n and child.tagName == "mi" and children[0].tagName == "mi":
                row.appendChild(self._leaf("mo", "\u2063"))  # invisible comma
            row.appendChild(child)
        return row

    def _leaf(self, tag: str, content: str) -> Any:
        leaf = self.dom.createElement(tag)
        leaf.appendChild(self.dom.createTextNode(html.escape(content)))  # sympy writes text nodes as they are
        return leaf


ENTITY = re.compile(r"&(?!lt;|gt;|amp;|quot;|#)([A-Za-z]+);")
"""A named entity of HTML that XML does not have."""


def mathml(expression: Any) -> str:
    """``expression`` as presentation MathML, without the outer <math>; well-formed XML, entities as characters."""
    shown = as_on_paper(expression)
    shown = shown.applyfunc(_with_powers) if isinstance(shown, sympy.MatrixBase) else _with_powers(shown)
    printed = ENTITY.sub(lambda match: html.unescape(match.group(0)), _MathML().doprint(shown))
    return printed.replace("<mo>-</mo>", "<mo>\u2212</mo>")


def _with_powers(expression: sympy.Expr) -> sympy.Expr:
    """``expression`` with exp as a function that is printed as a power of e wherever it stands."""
    return expression.replace(sympy.exp, POWER_OF_E)
