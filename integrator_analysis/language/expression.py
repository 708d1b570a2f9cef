"""Expressions as text, read by a parser of our own: text from outside is never given to eval, exec or sympify.

    sum := term { ("+" | "-") term };   term := factor { ("*" | "/") factor };   factor := { "+" | "-" } power
    power := atom [ "**" [ "-" ] integer ];   atom := number | name | function "(" sum ")" | "(" sum ")"

Numbers are exact decimals, names those that the caller knows, functions exp, log, sqrt, sin, cos. An expression becomes
sympy objects node by node; its length, depth, powers and expanded size are bounded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from math import comb
from typing import NamedTuple

import sympy

from integrator_analysis.inputs import InputError, as_rational

__all__ = ["MAX_LENGTH", "kind_of", "read_expression"]

MAX_LENGTH, MAX_DEPTH, MAX_POWER, MAX_NUMBER = 500, 20, 32, 40
"""Characters, brackets in brackets, powers, characters of a number."""
MAX_SIZE, MAX_TERMS = 1000, 64
"""Digits, names and operations of an expression, and terms of its expansion, with powers multiplied out: what keeps the
exact arithmetic on it fast."""

FUNCTIONS: Mapping[str, Callable[[sympy.Expr], sympy.Expr]] = {
    "exp": sympy.exp,
    "log": sympy.log,
    "sqrt": sympy.sqrt,
    "sin": sympy.sin,
    "cos": sympy.cos,
}
TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3}(?![0-9]))?(?![A-Za-z0-9_.]))"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_]*)|(?P<mark>\*\*|[-+*/()]))"
)


def kind_of(value: object) -> str:
    """The type of a value, in words."""
    names = {bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list", dict: "a table"}
    return names.get(type(value), f"a {type(value).__name__}")


class _Node(NamedTuple):
    """An expression, its size with powers multiplied out, and the terms of its expansion."""

    value: sympy.Expr
    size: int = 1
    terms: int = 1


def read_expression(text: object, names: Mapping[str, sympy.Expr], where: str, terms: int = MAX_TERMS) -> sympy.Expr:
    """The expression that ``text`` spells in ``names``; ``where`` says in errors what is read. A number is itself.

    Raises InputError, with the position, for text outside the grammar or beyond the bounds.

    >>> b0, t = sympy.symbols("b0 t")
    >>> read_expression("-(1/2)*b0*t**2 + 0.1", {"b0": b0, "t": t}, "schedule")
    -b0*t**2/2 + 1/10
    """
    if isinstance(text, int) and not isinstance(text, bool) and abs(text) >= 10**MAX_NUMBER:
        raise InputError(f"{where} has more than {MAX_NUMBER} digits")
    if isinstance(text, (int, float)) and not isinstance(text, bool):
        return as_rational(text, where)
    if not isinstance(text, str):
        raise InputError(f'{where} is {kind_of(text)}; accepted: an expression as text, such as "-1/2", or a number')
    if len(text) > MAX_LENGTH:
        raise InputError(f"{where} has {len(text)} characters; accepted: at most {MAX_LENGTH}")
    return _Parser(text, names, where, terms).read()


class _Parser:
    """Recursive descent over the tokens of one expression, a method for each rule of the grammar above."""

    def __init__(self, text: str, names: Mapping[str, sympy.Expr], where: str, terms: int) -> None:
        self.text, self.names, self.where, self.max_terms = text, names, where, terms
        self.tokens: list[tuple[str, str, int]] = []
        self.next, self.depth, position = 0, 0, 0
        while position < len(text.rstrip()):
            match = TOKEN.match(text, position)
            if match is None or match.lastgroup is None:
                raise self.error(len(text) - len(text[position:].lstrip()), "a number, a name or one of + - * / ** ( )")
            self.tokens.append((match.lastgroup, match.group(match.lastgroup), match.start(match.lastgroup)))
            position = match.end()

    def read(self) -> sympy.Expr:
        node = self.sum()
        if self.next < len(self.tokens):
            raise self.error(self.peek()[2], "an operation, or the end")
        if node.terms > self.max_terms:
            raise self.fail(0, f"it has {node.terms} terms when multiplied out; accepted: at most {self.max_terms}")
        return node.value

    def sum(self) -> _Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.fail(self.peek()[2], f"brackets are nested more than {MAX_DEPTH} deep")
        node = self.term()
        while self.peek()[1] in ("+", "-"):
            _, mark, position = self.take()
            right = self.term()
            value = node.value + right.value if mark == "+" else node.value - right.value
            node = self.bounded(_Node(value, node.size + right.size, node.terms + right.terms), position)
        self.depth -= 1
        return node

    def term(self) -> _Node:
        node = self.factor()
        while self.peek()[1] in ("*", "/"):
            _, mark, position = self.take()
            right = self.factor()
            if mark == "/" and right.value == 0:
                raise self.fail(position, "divides by zero")
            value = node.value * right.value if mark == "*" else node.value / right.value
            node = self.bounded(_Node(value, node.size + right.size, node.terms * right.terms), position)
        return node

    def factor(self) -> _Node:
        signs = 1
        while self.peek()[1] in ("+", "-"):
            signs *= -1 if self.take()[1] == "-" else 1
        node = self.power()
        return node if signs == 1 else node._replace(value=-node.value)

    def power(self) -> _Node:
        base = self.atom()
        if self.peek()[1] != "**":
            return base
        position = self.take()[2]
        negative = self.peek()[1] == "-"
        if negative:
            self.take()
        kind, text, at = self.peek()
        if kind != "number" or not text.isdigit():
            raise self.error(at, "an integer power (there is sqrt for roots)")
        self.take()
        if len(text) > 3 or int(text) > MAX_POWER:
            raise self.fail(at, f"the power {text[:12]} is too high; accepted: -{MAX_POWER} to {MAX_POWER}")
        n = int(text)
        if negative and base.value == 0:
            raise self.fail(position, "divides by zero")
        size, terms = max(base.size * n, 1), comb(base.terms + n - 1, n)
        self.bounded(_Node(base.value, size, terms), position)  # before it is raised
        return self.bounded(_Node(base.value ** (-n if negative else n), size, terms), position)

    def atom(self) -> _Node:
        kind, text, position = self.peek()
        if kind == "number":
            self.take()
            if len(text) > MAX_NUMBER:
                raise self.fail(position, f"a number has {len(text)} characters; accepted: at most {MAX_NUMBER}")
            value = Fraction(text)
            digits = len(str(value.numerator)) + len(str(value.denominator))
            return self.bounded(_Node(sympy.Rational(value.numerator, value.denominator), digits), position)
        if kind == "name":
            self.take()
            if self.peek()[1] == "(":
                return self.call(text, position)
            if text not in self.names:
                known = ", ".join(self.names) or "none here"
                raise self.fail(position, f"unknown name {text[:40]!r}; known: {known}")
            return _Node(self.names[text])
        if text == "(":
            self.take()
            node = self.sum()
            self.close()
            return node
        raise self.error(position, "a number, a name or a bracket")

    def call(self, name: str, position: int) -> _Node:
        if name not in FUNCTIONS:
            raise self.fail(position, f"unknown function {name[:40]!r}; known: {', '.join(FUNCTIONS)}")
        self.take()
        argument = self.sum()
        self.close()
        if name != "log" and name != "sqrt" and argument.value.has(sympy.exp):
            raise self.fail(position, f"exp inside {name}, which grows beyond all numbers")
        return self.bounded(argument._replace(value=FUNCTIONS[name](argument.value), size=argument.size + 1), position)

    def close(self) -> None:
        if self.peek()[1] != ")":
            raise self.error(self.peek()[2], "')'")
        self.take()

    def bounded(self, node: _Node, position: int) -> _Node:
        """The node itself. Raises InputError if it is too large or no finite real number."""
        if node.size > MAX_SIZE or node.terms > MAX_TERMS:
            raise self.fail(position, "the expression is too large when its powers and products are multiplied out")
        if node.value.has(sympy.zoo, sympy.oo, -sympy.oo, sympy.nan, sympy.I):
            raise self.fail(position, "the value is not a finite real number")
        return node

    def peek(self) -> tuple[str, str, int]:
        return self.tokens[self.next] if self.next < len(self.tokens) else ("end", "", len(self.text))

    def take(self) -> tuple[str, str, int]:
        token = self.peek()
        self.next += 1
        return token

    def error(self, position: int, accepted: str) -> InputError:
        """The error that at ``position`` something else was ``accepted``."""
        found = repr(self.text[position]) if position < len(self.text) else "its end"
        return self.fail(position, f"expected {accepted}, found {found}")

    def fail(self, position: int, what: str) -> InputError:
        """The error ``what``, with the expression and the position in it."""
        shown = self.text if len(self.text) <= 80 else self.text[:77] + "..."
        return InputError(f"{self.where} = {shown!r}, character {position + 1}: {what}")
