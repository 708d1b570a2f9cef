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
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import sympy

from integrator_analysis.algebra.jets import LinearFlow
from integrator_analysis.parametrisation import Parametrisation, conversion, parametrisation
from integrator_analysis.processes import Process
from integrator_analysis.symbols import PAST, Definitions, s, t

__all__ = [
    "Block",
    "Combine",
    "Evaluate",
    "Interpolation",
    "Node",
    "Noise",
    "Output",
    "Quadrature",
    "StepProgram",
    "Term",
    "advance",
]

advance = sympy.Function("advance")
"""advance(t, s): the change from t to s in the variable that a program measures times in."""


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
    """Take the unknown field at ``time``, an expression in t and s: one network evaluation.

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

    ``symbols[j][k]`` is the coefficient of x**k in the polynomial of node j. Where steps in the past are missing, the
    nodes that need them are dropped and their coefficients are zero: a multistep method starts at order one.
    """

    name: str
    start: sympy.Expr
    end: sympy.Expr
    nodes: tuple[sympy.Symbol, ...]

    @property
    def symbols(self) -> list[list[sympy.Symbol]]:
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
    """Functions (t, s) without closed form: the integrals over u from s to t of ``integrands`` in (s, u), times x**k.

    ``functions[i]`` are those with the power k = ``lowest`` + i of x, the share of the way from t to s in the
    program's variable.
    ``rule`` "sqrt": Gauss-Legendre nodes in sqrt(u), in which the eta of eps is smooth at u = 0: 32 give 3e-14 relative
    on PSLD over the whole interval (1e-3, 1), and a step is shorter than that. "log": in log u, for an eta that grows
    like 1/u, as that of x0 does, and for an x that is smooth in log u: 64 nodes give 1e-12 over (1e-5, 0.2).
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


@dataclass(frozen=True)
class StepProgram:
    """One step of a sampler on a process.

    Evaluate yields the network of ``parametrisation``; after lowering, that of ``network``. ``definitions`` say what
    the functions in the coefficients stand for; ``flows`` give those among them that solve a linear ODE, from which
    their expansion in h follows; ``quadratures`` those that have no closed form. ``variable`` is what shares of the
    way are measured in, a function of t (None: t itself). ``history`` counts the earlier evaluations that are read;
    ``kept`` is the evaluation that later steps will read. Before ``cycle`` statements a step mends the last one.
    ``primed``: the past of the first step is what a step of no length keeps there; not none.
    """

    process: Process
    parametrisation: Parametrisation
    statements: tuple[Evaluate | Combine, ...]
    definitions: Definitions
    parameters: Mapping[sympy.Symbol, sympy.Rational]
    flows: tuple[LinearFlow, ...] = ()
    quadratures: tuple[Quadrature, ...] = ()
    derivation: tuple[str, ...] = ()
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
                collected = self._in_network(terms, times, scale) if folded else _collect(terms)
                named = []
                several = len({o.evaluation for o in collected if isinstance(o, Output)}) > 1
                for operand, coefficient in collected.items():
                    if coefficient == 0:
                        continue
                    if coefficient != 1:
                        name = _role(target, operand, several) + suffix
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
        return _collect(expanded)


def converted_name(evaluation: str) -> str:
    """What the unknown is called that is made from a network's output."""
    return f"unknown_{evaluation.rpartition('_')[2]}"


def _collect(terms: Iterable[Term]) -> dict[Operand, sympy.Expr]:
    collected: dict[Operand, sympy.Expr] = {}
    for term in terms:
        collected[term.operand] = collected.get(term.operand, sympy.S.Zero) + term.coefficient
    return collected


def _role(target: str, operand: Operand, several: bool) -> str:
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
