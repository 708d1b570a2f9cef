"""What of a leading error is written where a person reads it: one rule for headers of source and for derivations.

Knows how long a formula may be; derives nothing. Certificates and JSON keep every term.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

import sympy

from integrator_analysis.analysis.accuracy.terms import ErrorTerm
from integrator_analysis.analysis.expansion.trees import ElementaryDifferential, Tree

if TYPE_CHECKING:
    from integrator_analysis.analysis.accuracy.differentials import Differential
    from integrator_analysis.analysis.accuracy.local_error import LocalError

__all__ = ["PrintedError", "errors_to_print", "sentence_on_omissions"]

WHOLE = 340
"""Characters of a leading coefficient that is written as one expression: three lines of a header."""

MOST_TERMS = 6
"""Terms written for one scheme, those of all blocks counted, where coefficients are longer than ``WHOLE``."""

COEFFICIENT = 220
"""Characters of a term's coefficient that is written: two lines of a header. A longer one is called c_1, c_2, ..."""


@dataclass(frozen=True)
class PrintedError:
    """What is written of the leading coefficient of one block.

    ``whole`` is the coefficient as one expression, where that is short; else there are the first of ``total`` terms,
    the smallest trees first. ``named`` holds the names in these terms that stand for long coefficients.
    """

    whole: sympy.Expr | None
    terms: tuple[ErrorTerm, ...]
    total: int
    named: tuple[sympy.Symbol, ...] = ()

    @property
    def expression(self) -> sympy.Expr:
        """One expression, in which a derivative that is applied to something is a function of it."""
        if self.whole is not None:
            return self.whole
        products = [
            sympy.Mul(term.coefficient, differential_as_expression(term.differential), evaluate=False)
            for term in self.terms
        ]
        return sympy.Add(*products, evaluate=False)


def errors_to_print(error: LocalError) -> Mapping[str, PrintedError]:
    """What is written of the leading coefficient of each block, or of "f" for a weak error.

    >>> import integrator_analysis as ia
    >>> for spec in ("vp/DDIM", "psld/DPM-Solver-3"):
    ...     for block, printed in errors_to_print(ia.derive(spec).local_error).items():
    ...         print(block, printed.whole is not None, len(printed.terms), "of", printed.total, printed.named)
    x True 0 of 3 ()
    x False 3 of 1160 (c_1, c_2, c_3)
    m False 3 of 649 (c_4, c_5)
    """
    whole = {block: error.coefficient_within(block, WHOLE) for block in error.sums}
    most = max(1, MOST_TERMS // max(1, sum(expression is None for expression in whole.values())))
    numbers = count(1)
    printed = {}
    for block, expression in whole.items():
        total = len(error.sums[block])
        if expression is not None:
            printed[block] = PrintedError(expression, (), total)
            continue
        shown, named = [], []
        for term in error.first_terms(block, most):
            if len(str(term.coefficient)) > COEFFICIENT:
                named.append(sympy.Symbol(f"c_{next(numbers)}"))
                term = ErrorTerm(named[-1], term.differential)
            shown.append(term)
        printed[block] = PrintedError(None, tuple(shown), total, tuple(named))
    return printed


def sentence_on_omissions(printed: Mapping[str, PrintedError], spec: str) -> str:
    """How many terms there are, where they stand and which coefficients are not written; "" if nothing is left out.

    >>> import integrator_analysis as ia
    >>> print(sentence_on_omissions(errors_to_print(ia.derive("psld/COBA-each").local_error), "psld/COBA-each"))
    c_1 and c_2 are coefficients of more than two lines; they stand in the certificate, under local_error, and in
    `integrator-analysis derive psld/COBA-each --json`.
    """
    cut = {block: p for block, p in printed.items() if p.whole is None and len(p.terms) < p.total}
    named = [str(name) for p in printed.values() for name in p.named]
    if not cut and not named:
        return ""
    where = f"in the certificate, under local_error, and in `integrator-analysis derive {shlex.quote(spec)} --json`."
    names = ""
    if named:
        which = " and ".join(named) if len(named) < 3 else f"{named[0]} to {named[-1]}"
        names = f"{which} {'is a coefficient' if len(named) == 1 else 'are coefficients'} of more than two lines"
    if not cut:
        return f"{names}; {'it stands' if len(named) == 1 else 'they stand'} {where}"
    shown = " and ".join(f"{len(p.terms)} of {p.total} terms of {block}" for block, p in cut.items())
    total = sum(p.total for p in cut.values())
    trees = any(isinstance(term.differential, ElementaryDifferential) for p in cut.values() for term in p.terms)
    which = "those of the smallest trees" if trees else "those of the lowest derivatives"
    return f"These are {shown}, {which}{'; ' + names if names else ''}. All {total} stand {where}"


def differential_as_expression(d: Differential) -> sympy.Expr:
    """An elementary differential as calls of derivatives, a derivative of f as its symbol."""
    return _tree_as_expression(d, d.tree) if isinstance(d, ElementaryDifferential) else d.symbol


def _tree_as_expression(d: ElementaryDifferential, tree: Tree) -> sympy.Expr:
    if len(tree) == 1:
        return sympy.Symbol(d.blocks[tree[0]])
    component, times, children = tree
    letters = "".join(d.blocks[slot] for slot, _ in children) + "t" * times
    name = f"d_{letters} {d.components[component]}" if letters else d.components[component]
    arguments = [_tree_as_expression(d, child) for _, child in children]
    return sympy.Function(name)(*arguments) if arguments else sympy.Symbol(name)
