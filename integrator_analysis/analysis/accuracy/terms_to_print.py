"""Which terms of a leading error are written out, and how, wherever a person reads them.

One rule for headers of generated source, derivations and reports; certificates and JSON keep all terms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import sympy

from integrator_analysis.analysis.expansion.trees import ElementaryDifferential, Tree

if TYPE_CHECKING:
    from integrator_analysis.analysis.accuracy.differentials import Differential
    from integrator_analysis.analysis.accuracy.local_error import LocalError

MAX_TERMS = 40
"""Terms of a leading error that are written as one expression; a longer one is a sum of elementary differentials."""

FIRST_TERMS = 6
"""Elementary differentials that are written out, the smallest trees first."""


def leading_to_print(error: LocalError, block: str) -> tuple[sympy.Expr, str]:
    """The leading coefficient of a block, and what is left out of it in words."""
    expression = error.leading[block]
    if len(sympy.Add.make_args(expression)) <= MAX_TERMS:
        return expression, ""
    terms = error.terms[block]
    shown = [
        sympy.Mul(term.coefficient, differential_as_expression(term.differential), evaluate=False)
        for term in terms[:FIRST_TERMS]
    ]
    left = f"the first {len(shown)} of {len(terms)} elementary differentials; --json has all"
    return sympy.Add(*shown, evaluate=False), left if len(terms) > len(shown) else ""


def differential_as_expression(d: Differential) -> sympy.Expr:
    """An elementary differential as calls of derivatives, a derivative of f as its symbol."""
    return _tree_as_expression(d, d.tree) if isinstance(d, ElementaryDifferential) else d.symbol


def _tree_as_expression(d: ElementaryDifferential, tree: Tree) -> sympy.Expr:
    if len(tree) == 1:
        return sympy.Symbol(d.blocks[tree[0]])
    component, times, children = tree
    letters = "".join(d.blocks[slot] for slot, _ in children) + "t" * times
    name = f"d_{letters} {d.components[component]}" if letters else d.components[component]
    return (
        sympy.Function(name)(*(_tree_as_expression(d, child) for _, child in children))
        if children
        else sympy.Symbol(name)
    )
