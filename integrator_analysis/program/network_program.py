"""The step in the network's own outputs, with one name for each coefficient: what is executed."""

from __future__ import annotations

from collections.abc import Iterable

import sympy

from integrator_analysis.program.statements import Block, Noise, Operand, Output, Term


def converted_name(evaluation: str) -> str:
    """What the unknown is called that is made from a network's output."""
    return f"unknown_{evaluation.rpartition('_')[2]}"


def collect_terms(terms: Iterable[Term]) -> dict[Operand, sympy.Expr]:
    collected: dict[Operand, sympy.Expr] = {}
    for term in terms:
        collected[term.operand] = collected.get(term.operand, sympy.S.Zero) + term.coefficient
    return collected


def coefficient_role(target: str, operand: Operand, several: bool) -> str:
    block = target.partition("_")[0]
    match operand:
        case Block(name) if name == block:
            return f"decay_{block}"
        case Block(name):
            return f"coupling_{block}{name}"
        case Output(evaluation, component):
            return f"weight_{block}{component}" + (f"_{evaluation.replace('eps_', '')}" if several else "")
        case Noise(name):
            own = name.split("_")[1]
            return f"noise_{block}" if own == block else f"noise_{block}{own}"
