"""The statements of a step program, and what they are made of: blocks, outputs, noises, terms, nodes, quadratures.

Knows data only; no method and no analysis.
"""

from __future__ import annotations

from dataclasses import dataclass

import sympy

from integrator_analysis.algebra.symbols import PAST

__all__ = ["Block", "Combine", "Evaluate", "Interpolation", "Node", "Noise", "Output", "Quadrature", "Term", "advance"]

advance = sympy.Function("advance")
"""advance(t, s): the change, from t to s, of the variable that a program measures shares of a step in."""


@dataclass(frozen=True)
class Block:
    """A block of the current state, or of a stage's state, by name."""

    name: str


@dataclass(frozen=True)
class Output:
    """One component of an evaluation, of this step or of an earlier one ("past_1")."""

    evaluation: str
    component: str


@dataclass(frozen=True)
class Noise:
    """A standard normal draw of one block's shape, fresh in every step."""

    name: str


Operand = Block | Output | Noise


@dataclass(frozen=True)
class Term:
    """coefficient * operand."""

    coefficient: sympy.Expr
    operand: Operand


@dataclass(frozen=True)
class Evaluate:
    """Evaluate the unknown field at ``time``, an expression in t and s: one call of the network.

    ``state`` names the blocks it is taken at; empty for the current state.
    """

    name: str
    time: sympy.Expr
    state: tuple[str, ...] = ()


@dataclass(frozen=True)
class Combine:
    """Replace blocks, all at once, by sums of terms. ``label`` says in words which sub-step this is."""

    updates: tuple[tuple[str, tuple[Term, ...]], ...]
    label: str


@dataclass(frozen=True)
class Node:
    """A time within the step: ``symbol`` lies at ``share`` of the way from t to s in the program's variable."""

    symbol: sympy.Symbol
    share: sympy.Rational


@dataclass(frozen=True)
class Interpolation:
    """The Lagrange polynomials of ``nodes`` (times) in x, the share of the way from ``start`` to ``end``.

    ``symbols[j][k]`` is the coefficient of x**k in the polynomial of node j. In the first steps of a walk some nodes
    lie before its start: they are dropped, and their coefficients are zero. So a multistep method starts at order one.
    """

    name: str
    start: sympy.Expr
    end: sympy.Expr
    nodes: tuple[sympy.Symbol, ...]

    @property
    def symbols(self) -> list[list[sympy.Symbol]]:
        """The coefficients by name, a row for each node, lowest power first."""
        size = range(len(self.nodes))
        return [[sympy.Symbol(f"{self.name}_{j}{k}") for k in size] for j in size]

    @property
    def line(self) -> sympy.Symbol:
        """1 where the polynomial has two nodes, else 0."""
        return sympy.Symbol(f"{self.name}_line")

    def available(self, past: int) -> tuple[sympy.Symbol, ...]:
        """The nodes that exist with ``past`` earlier steps; none if the interval itself lies in a missing one."""
        if self.start in PAST[past:]:
            return ()
        return tuple(n for n in self.nodes if n not in PAST[past:])


@dataclass(frozen=True)
class Quadrature:
    """Functions of (t, s) without closed form: integrals over u from s to t of ``integrands``, in (s, u), times x**k.

    x is the share of the way from t to s in the program's variable. ``functions[i]`` are the integrals with
    k = ``lowest`` + i, one for each integrand. ``rule`` says in what the Gauss-Legendre ``nodes`` lie.
    "sqrt": in sqrt(u), in which the eta of eps is smooth at u = 0. 32 nodes give 3e-14 relative on PSLD over the whole
    interval (1e-3, 1), and a step is shorter than that. Where the schedule has a pole at or behind t_max, as that of
    rectified flow at 1, there are 256: see psi_weights.
    "log": in log u, for an eta that grows like 1/u, as that of x0 does, and for an x that is smooth in log u. 64 nodes
    give 1e-12 over (1e-5, 0.2).
    """

    functions: tuple[tuple[sympy.Function, ...], ...]
    integrands: tuple[sympy.Expr, ...]
    rule: str = "sqrt"
    nodes: int = 32
    lowest: int = 0

    @property
    def names(self) -> tuple[sympy.Function, ...]:
        """All functions, lowest power first."""
        return tuple(f for group in self.functions for f in group)
