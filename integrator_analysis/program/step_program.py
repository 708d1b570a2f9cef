"""One step of a sampler: what it is made of (`Step`), and the form that every method is lowered to (`StepProgram`).

Knows statements, coefficients and definitions. Does not know where a program came from (the builders in methods/) nor
what is read from it (analysis, codegen). The second form of a step, that which is executed, is in network_program.py.

One step goes from t to s = t - h. It is a sequence of two kinds of statement on the state's blocks:
Evaluate takes the network (or the score) at a state and a named time; Combine replaces blocks by linear combinations
of blocks, network outputs and noises. All right-hand sides of one Combine read the state before it. A multistep method
reads the outputs of earlier steps as well, newest first: past_1, past_2, ...
Coefficients are sympy expressions in t, s, the parameters, functions of time, entries of linear flows, times between t
and s (Node) and coefficients of Lagrange polynomials (Interpolation).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import sympy

from integrator_analysis.algebra.definitions import Definitions
from integrator_analysis.algebra.linear_flow import LinearFlow
from integrator_analysis.parametrisation.parametrisation import Parametrisation
from integrator_analysis.processes import Process
from integrator_analysis.program.statements import Combine, Evaluate, Interpolation, Node, Noise, Quadrature, Term

__all__ = ["Step", "StepProgram", "hash_terms"]


@dataclass(frozen=True)
class Step:
    """One step of a sampler on a process: what both of its forms, as derived and as executed, say in the same way.

    Evaluate yields the ``parametrisation``'s prediction: score, eps, x0, ... ``definitions`` say what the functions in
    the coefficients stand for; ``flows`` give those among them that solve a linear ODE, from which their expansion in h
    follows; ``quadratures`` those that have no closed form. ``variable`` is what shares of the way from t to s are
    measured in, a function of t (None: t itself). ``history`` counts the earlier evaluations that the step reads;
    ``kept`` names the evaluation that later steps will read. A scheme that corrects the end of the step before
    once this step's evaluation is known does so in the first ``cycle`` statements (0: it does not). ``primed``: what
    the first step reads as its past is what a step of no length keeps there; otherwise it has no past.
    """

    process: Process
    parametrisation: Parametrisation
    statements: tuple[Evaluate | Combine, ...]
    definitions: Definitions
    parameters: Mapping[sympy.Symbol, sympy.Rational]
    flows: tuple[LinearFlow, ...] = ()
    quadratures: tuple[Quadrature, ...] = ()
    variable: sympy.Expr | None = None
    nodes: tuple[Node, ...] = ()
    interpolations: tuple[Interpolation, ...] = ()
    history: int = 0
    kept: str = ""
    cycle: int = 0
    primed: bool = False

    @property
    def blocks(self) -> tuple[str, ...]:
        """Names of the state's blocks: x, or x and m."""
        return self.process.blocks

    @property
    def unknown(self) -> str:
        """What Evaluate yields, by name: score, eps, x0, ..."""
        return self.parametrisation.name

    @property
    def past(self) -> tuple[str, ...]:
        """Names of the evaluations of earlier steps that are read, newest first."""
        return tuple(f"past_{j + 1}" for j in range(self.history))

    @property
    def evaluations(self) -> tuple[Evaluate, ...]:
        """The statements that call the network, in order."""
        return tuple(st for st in self.statements if isinstance(st, Evaluate))

    @property
    def nfe_per_step(self) -> int:
        """Network evaluations in one step, as executed."""
        return len(self.evaluations)

    @property
    def terms(self) -> tuple[Term, ...]:
        """The terms of every Combine, in order."""
        return tuple(
            term for st in self.statements if isinstance(st, Combine) for _, terms in st.updates for term in terms
        )

    @property
    def noises(self) -> tuple[str, ...]:
        """Names of the standard normal draws, in order of first use."""
        return tuple(dict.fromkeys(term.operand.name for term in self.terms if isinstance(term.operand, Noise)))

    @property
    def stochastic(self) -> bool:
        """Whether a step draws noise."""
        return bool(self.noises)


@dataclass(frozen=True)
class StepProgram(Step):
    """One step as it is derived: its coefficients are expressions, its evaluations the unknown that is expanded.

    ``account`` says in sentences how the builder arrived at it.
    """

    account: tuple[str, ...] = ()

    @property
    def terms_hash(self) -> str:
        """sha256 of the statements and definitions in canonical text."""
        return hash_terms(self, {})


def hash_terms(step: Step, coefficients: Mapping[str, sympy.Expr]) -> str:
    """sha256 of a step's statements, named coefficients and definitions in canonical text: "sha256:...".

    Two steps with one hash compute the same. Certificates and generated headers carry it: its text must not change.
    """
    lines = [str(st) for st in step.statements]
    lines += [f"{name} = {expression}" for name, expression in coefficients.items()]
    lines += [f"{f}{d.arguments} = {d.body}" for f, d in step.definitions.items()]
    lines += [
        f"{q.functions} = {q.integrands}, {q.nodes} nodes in {q.rule}, from x**{q.lowest}" for q in step.quadratures
    ]
    lines += [f"{step.variable} {n}" for n in (*step.nodes, *step.interpolations)]
    lines += [f"{p} = {value}" for p, value in step.parameters.items()]
    lines += ["primed"] * step.primed
    return "sha256:" + hashlib.sha256("\n".join(lines).encode()).hexdigest()
