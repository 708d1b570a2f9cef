"""The step program: the one form that every sampler is lowered to, and that every analysis reads.

Knows statements, coefficients and definitions. Does not know where a program came from (splitting.py, conjugation.py,
base_methods.py build them) nor what is done with it (analysis, codegen).

One step goes from t to s = t - h. It is a sequence of two kinds of statement on the state's blocks:
Evaluate takes the network (or the score) at the current state and a named time; Combine replaces blocks by linear
combinations of blocks, network outputs and noises. All right-hand sides of one Combine read the state before it.
Coefficients are sympy expressions in t, s, the parameters, functions of time and entries of linear flows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import sympy

from integrator_analysis.algebra.jets import LinearFlow
from integrator_analysis.parametrisation import Parametrisation
from integrator_analysis.processes import Process
from integrator_analysis.symbols import Definitions, t

__all__ = ["Block", "Combine", "Evaluate", "Noise", "Output", "Quadrature", "StepProgram", "Term"]


@dataclass(frozen=True)
class Block:
    """A block of the current state, by name."""

    name: str


@dataclass(frozen=True)
class Output:
    """One component of an evaluation: of the score, or of eps after lowering."""

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
    """Take the unknown field at the current state and at ``time``, an expression in t and s: one network evaluation."""

    name: str
    time: sympy.Expr


@dataclass(frozen=True)
class Combine:
    """Replace blocks, all at once, by sums of terms. ``label`` says in words which sub-step this is."""

    updates: tuple[tuple[str, tuple[Term, ...]], ...]
    label: str


@dataclass(frozen=True)
class Quadrature:
    """Functions (t, s) without closed form: the integrals over u from s to t of ``integrands``, functions of (s, u).

    ``nodes`` Gauss-Legendre nodes in sqrt(u), in which eta is smooth at u = 0: 32 give 3e-14 relative on PSLD over
    the whole interval (1e-3, 1), and a step is shorter than that.
    """

    functions: tuple[sympy.Function, ...]
    integrands: tuple[sympy.Expr, ...]
    nodes: int = 32


@dataclass(frozen=True)
class StepProgram:
    """One step of a sampler on a process.

    ``unknown`` tells what Evaluate yields: the score of the marginal, or the network's eps. ``definitions`` say what
    the functions in the coefficients stand for; ``flows`` give those among them that solve a linear ODE in s, from
    which their expansion in h follows; ``quadratures`` those that have no closed form.
    """

    process: Process
    parametrisation: Parametrisation
    unknown: Literal["score", "eps"]
    statements: tuple[Evaluate | Combine, ...]
    definitions: Definitions
    parameters: Mapping[sympy.Symbol, sympy.Rational]
    flows: tuple[LinearFlow, ...] = ()
    quadratures: tuple[Quadrature, ...] = ()
    derivation: tuple[str, ...] = ()
    coefficients: Mapping[str, sympy.Expr] = field(default_factory=dict)

    @property
    def blocks(self) -> tuple[str, ...]:
        return self.process.blocks

    @property
    def evaluations(self) -> tuple[Evaluate, ...]:
        return tuple(st for st in self.statements if isinstance(st, Evaluate))

    @property
    def nfe_per_step(self) -> int:
        """Network evaluations in one step, as executed."""
        return len(self.evaluations)

    @property
    def terms(self) -> tuple[Term, ...]:
        return tuple(
            term for st in self.statements if isinstance(st, Combine) for _, terms in st.updates for term in terms
        )

    @property
    def noises(self) -> tuple[str, ...]:
        """Names of the standard normal draws, in order of first use."""
        return tuple(dict.fromkeys(term.operand.name for term in self.terms if isinstance(term.operand, Noise)))

    @property
    def stochastic(self) -> bool:
        return bool(self.noises)

    @property
    def terms_hash(self) -> str:
        """sha256 of the statements, coefficients and definitions in canonical text."""
        lines = [str(st) for st in self.statements]
        lines += [f"{name} = {expression}" for name, expression in self.coefficients.items()]
        lines += [f"{f}{d.arguments} = {d.body}" for f, d in self.definitions.items()]
        lines += [f"{q.functions} = {q.integrands}, {q.nodes} nodes" for q in self.quadratures]
        lines += [f"{p} = {value}" for p, value in self.parameters.items()]
        return "sha256:" + hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def lowered(self) -> StepProgram:
        """The same step in terms of the network's eps, each coefficient named for what it does.

        The score is replaced by C_out(time of the evaluation) eps, like operands are collected, and a coefficient
        becomes a symbol that ``coefficients`` defines: decay (a block's own), coupling (another block's), weight (of
        eps), noise. A coefficient that is exactly 1 or 0 is not tabulated.
        """
        if self.coefficients:
            return self
        times = {e.name: e.time for e in self.evaluations}
        many = sum(isinstance(st, Combine) for st in self.statements) > 1
        coefficients: dict[str, sympy.Expr] = {}
        statements: list[Evaluate | Combine] = []
        count = 0
        for st in self.statements:
            if isinstance(st, Evaluate):
                statements.append(st)
                continue
            count += 1
            updates = []
            for block, terms in st.updates:
                collected = self._in_eps(terms, times)
                named = []
                for operand, coefficient in collected.items():
                    if coefficient == 0:
                        continue
                    if coefficient != 1:
                        name = _role(block, operand) + (f"_{count}" if many else "")
                        coefficients[name] = coefficient
                        coefficient = sympy.Symbol(name)
                    named.append(Term(coefficient, operand))
                updates.append((block, tuple(named)))
            statements.append(replace(st, updates=tuple(updates)))
        return replace(self, unknown="eps", statements=tuple(statements), coefficients=coefficients)

    def _in_eps(self, terms: tuple[Term, ...], times: Mapping[str, sympy.Expr]) -> dict[Operand, sympy.Expr]:
        collected: dict[Operand, sympy.Expr] = {}

        def add(operand: Operand, coefficient: sympy.Expr) -> None:
            collected[operand] = collected.get(operand, sympy.S.Zero) + coefficient

        for term in terms:
            if self.unknown == "score" and isinstance(term.operand, Output):
                row = self.blocks.index(term.operand.component)
                c_out = self.parametrisation.c_out.xreplace({t: times[term.operand.evaluation]})
                for j, component in enumerate(self.blocks):
                    if c_out[row, j] != 0:
                        add(Output(term.operand.evaluation, component), term.coefficient * c_out[row, j])
            else:
                add(term.operand, term.coefficient)
        return collected


def _role(block: str, operand: Operand) -> str:
    match operand:
        case Block(name) if name == block:
            return f"decay_{block}"
        case Block(name):
            return f"coupling_{block}{name}"
        case Output(_, component):
            return f"weight_{block}{component}"
        case Noise(name):
            return f"noise_{block}"
