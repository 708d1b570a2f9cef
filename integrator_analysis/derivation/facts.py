"""The facts of a derivation as plain data for JSON: order, errors, coefficients, definitions."""

from __future__ import annotations

from typing import Any

from integrator_analysis.program.network_program import NetworkProgram
from integrator_analysis.properties import Properties

__all__ = ["facts_of"]


def facts_of(properties: Properties) -> dict[str, Any]:
    """What ``derive --json`` prints; the local error in full, as one expression and term by term."""
    error, executed, order = properties.local_error, properties.network_program, properties.walk_order
    text, latex = error.text(), error.latex()
    return {
        "spec": properties.spec,
        "order": properties.order,
        "walk_order": {"plain": order.plain, "graded": order.graded, "first_steps": list(order.first_steps)},
        "stochastic": properties.stochastic,
        "nfe_per_step": properties.nfe_per_step,
        "local_error": {
            "exponents": dict(error.exponents),
            "leading": {block: {"text": text[block], "latex": latex[block]} for block in text},
            "terms": {block: [str(term) for term in terms] for block, terms in error.terms.items()},
        },
        "parameters": {str(p): float(v) for p, v in properties.program.parameters.items()},
        "derivation": list(properties.program.account),
        "coefficients": {name: str(expression) for name, expression in executed.coefficients.items()},
        "definitions": _definitions(executed),
        "terms_hash": executed.terms_hash,
    }


def _definitions(executed: NetworkProgram) -> dict[str, str]:
    """What the functions in the coefficients stand for, weights without closed form as integrals."""
    table = {f"{f}({', '.join(map(str, d.arguments))})": str(d.body) for f, d in executed.definitions.items()}
    for q in executed.quadratures:
        for k, group in enumerate(q.functions, start=q.lowest):
            share = f" times x**{k}, x the share of the way from t to s" if k else ""
            for f, integrand in zip(group, q.integrands, strict=True):
                table[f"{f}(t, s)"] = (
                    f"integral over u from s to t of {integrand}{share} ({q.nodes} Gauss-Legendre nodes in {q.rule}(u))"
                )
    return table
