"""The step program: the one form that every sampler is lowered to, and that every analysis reads.

Knows statements, coefficients and definitions. Does not know where a program came from (splitting.py, conjugation.py,
base_methods.py build them) nor what is done with it (analysis, codegen).

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
from dataclasses import dataclass, field, replace

import sympy

from integrator_analysis.algebra.definitions import Definitions
from integrator_analysis.algebra.linear_flow import LinearFlow
from integrator_analysis.algebra.symbols import s, t
from integrator_analysis.parametrisation.parametrisation import Parametrisation
from integrator_analysis.parametrisation.prediction_conversion import conversion
from integrator_analysis.parametrisation.registry import parametrisation
from integrator_analysis.processes import Process
from integrator_analysis.program.network_program import coefficient_role, collect_terms, converted_name
from integrator_analysis.program.statements import (
    Block,
    Combine,
    Evaluate,
    Interpolation,
    Node,
    Noise,
    Operand,
    Output,
    Quadrature,
    Term,
)

__all__ = ["StepProgram"]


@dataclass(frozen=True)
class StepProgram:
    """One step of a sampler on a process.

    Evaluate yields the network of ``parametrisation``; after lowering, that of ``network``. ``definitions`` say what
    the functions in the coefficients stand for; ``flows`` give those among them that solve a linear ODE, from which
    their expansion in h follows; ``quadratures`` those that have no closed form. ``variable`` is what shares of the
    way are measured in, a function of t (None: t itself). ``history`` counts the earlier evaluations that are read;
    ``kept`` is the evaluation that later steps will read. Before ``cycle`` statements a step mends the last one.
    ``primed``: the past of the first step is what a step of no length keeps there; not none. ``account`` tells in
    sentences how the step comes about.
    """

    process: Process
    parametrisation: Parametrisation
    statements: tuple[Evaluate | Combine, ...]
    definitions: Definitions
    parameters: Mapping[sympy.Symbol, sympy.Rational]
    flows: tuple[LinearFlow, ...] = ()
    quadratures: tuple[Quadrature, ...] = ()
    account: tuple[str, ...] = ()
    coefficients: Mapping[str, sympy.Expr] = field(default_factory=dict)
    variable: sympy.Expr | None = None
    nodes: tuple[Node, ...] = ()
    interpolations: tuple[Interpolation, ...] = ()
    history: int = 0
    kept: str = ""
    cycle: int = 0
    primed: bool = False
    variances: Mapping[str, sympy.Expr] = field(default_factory=dict)

    @property
    def blocks(self) -> tuple[str, ...]:
        return self.process.blocks

    @property
    def unknown(self) -> str:
        """What Evaluate yields before lowering: score, eps, x0, ..."""
        return self.parametrisation.name

    @property
    def past(self) -> tuple[str, ...]:
        """Names of the evaluations of earlier steps that are read, newest first."""
        return tuple(f"past_{j + 1}" for j in range(self.history))

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
        lines += [
            f"{q.functions} = {q.integrands}, {q.nodes} nodes in {q.rule}, from x**{q.lowest}" for q in self.quadratures
        ]
        lines += [f"{self.variable} {n}" for n in (*self.nodes, *self.interpolations)]
        lines += [f"{p} = {value}" for p, value in self.parameters.items()]
        lines += ["primed"] * self.primed
        return "sha256:" + hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def lowered(self) -> StepProgram:
        """The same step in terms of what the network returns, each coefficient named for what it does.

        The unknown is replaced by skip z + scale n, like operands are collected, and a coefficient becomes a symbol
        that ``coefficients`` defines: decay (a block's own), coupling (another block's), weight (of an output),
        noise. A coefficient that is exactly 1 or 0 is not tabulated.
        """
        if self.coefficients:
            return self
        network = parametrisation(self.process.network, self.process)
        skip, scale = conversion(self.parametrisation, network)
        folded = not any(skip) and (not self.history or scale == sympy.eye(len(self.blocks)))
        times = {e.name: e.time for e in self.evaluations}
        many = sum(isinstance(st, Combine) for st in self.statements) > 1
        coefficients: dict[str, sympy.Expr] = {}
        statements: list[Evaluate | Combine] = []
        count = 0
        used = {(o.evaluation, o.component) for term in self.terms if isinstance(o := term.operand, Output)}
        used |= {(self.kept, block) for block in self.blocks}

        def name_terms(st: Combine, suffix: str) -> Combine:
            updates = []
            for target, terms in st.updates:
                collected = self._in_network(terms, times, scale) if folded else collect_terms(terms)
                named = []
                several = len({o.evaluation for o in collected if isinstance(o, Output)}) > 1
                for operand, coefficient in collected.items():
                    if coefficient == 0:
                        continue
                    if coefficient != 1:
                        name = coefficient_role(target, operand, several) + suffix
                        if coefficients.setdefault(name, coefficient) != coefficient:
                            raise NotImplementedError(f"two coefficients are called {name}")
                        coefficient = sympy.Symbol(name)
                    if not folded and isinstance(operand, Output) and operand.evaluation in times:
                        operand = Block(f"{converted_name(operand.evaluation)}_{operand.component}")
                    named.append(Term(coefficient, operand))
                updates.append((target, tuple(named)))
            return replace(st, updates=tuple(updates))

        for st in self.statements:
            if isinstance(st, Evaluate):
                if st.time not in (t, s):
                    coefficients[f"time_{st.name}"] = st.time
                statements.append(st)
                if not folded:
                    converted = self._converted(st, skip, scale, coefficients, used)
                    statements += [converted] if converted.updates else []
            else:
                count += 1
                statements.append(name_terms(st, f"_{count}" if many else ""))
        definitions = self.definitions.with_(
            {f: d for f, d in network.definitions.items() if f not in self.definitions}
        )
        return replace(
            self,
            parametrisation=network,
            definitions=definitions,
            statements=tuple(statements),
            coefficients=coefficients,
            kept=self.kept if folded or not self.kept else converted_name(self.kept),
        )

    def _converted(
        self,
        st: Evaluate,
        skip: sympy.Matrix,
        scale: sympy.Matrix,
        coefficients: dict[str, sympy.Expr],
        used: set[tuple[str, str]],
    ) -> Combine:
        """The statement that turns a network's output into the unknown, named by the unknown and its evaluation."""
        updates = []
        number = st.name.rpartition("_")[2]
        for i, block in enumerate(self.blocks):
            if (st.name, block) not in used:
                continue
            terms = []
            for j, (component, source) in enumerate(zip(self.blocks, st.state or self.blocks, strict=True)):
                for kind, matrix, operand in (
                    ("skip", skip, Block(source)),
                    ("scale", scale, Output(st.name, component)),
                ):
                    if (value := matrix[i, j].xreplace({t: st.time})) != 0:
                        name = f"{kind}_{block}{component}_{number}"
                        if value != 1:
                            coefficients[name] = value
                        terms.append(Term(sympy.S.One if value == 1 else sympy.Symbol(name), operand))
            updates.append((f"{converted_name(st.name)}_{block}", tuple(terms)))
        return Combine(tuple(updates), f"{self.unknown} from the network's output")

    def _in_network(
        self, terms: tuple[Term, ...], times: Mapping[str, sympy.Expr], scale: sympy.Matrix
    ) -> dict[Operand, sympy.Expr]:
        """Terms in the network's own outputs, where the unknown is a linear function of them."""
        expanded: list[Term] = []
        for term in terms:
            if isinstance(term.operand, Output) and term.operand.evaluation in times:
                row = self.blocks.index(term.operand.component)
                at = scale.xreplace({t: times[term.operand.evaluation]})
                expanded += [
                    Term(term.coefficient * at[row, j], Output(term.operand.evaluation, component))
                    for j, component in enumerate(self.blocks)
                    if at[row, j] != 0
                ]
            else:
                expanded.append(term)
        return collect_terms(expanded)
