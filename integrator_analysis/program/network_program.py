"""The step in the network's own outputs, with a name for each coefficient: what is printed, tabulated and executed.

A method may expand another unknown than its network returns (the score, x0, ...). Here that unknown is replaced by
skip z + scale n, n being what the network returns, and each coefficient that is not 1 becomes a symbol.
Knows programs and parametrisations; prints nothing and evaluates nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import sympy

from integrator_analysis.algebra.symbols import s, t
from integrator_analysis.parametrisation.prediction_conversion import conversion
from integrator_analysis.parametrisation.registry import parametrisation
from integrator_analysis.program.statements import Block, Combine, Evaluate, Noise, Operand, Output, Term
from integrator_analysis.program.step_program import Step, StepProgram, hash_terms

__all__ = ["NetworkProgram", "in_network_outputs"]


@dataclass(frozen=True, kw_only=True)
class NetworkProgram(Step):
    """One step as it is executed: Evaluate yields what the process's network returns.

    The coefficient of a term is 1 or a symbol that ``coefficients`` defines, by name and in the order of the table:
    decay (of a block by itself), coupling (to another block), weight (of an output), noise; skip and scale (of the
    unknown, from the state and the network's output); time (of an evaluation between t and s).
    """

    coefficients: Mapping[str, sympy.Expr]

    @property
    def terms_hash(self) -> str:
        """sha256 of the statements, named coefficients and definitions in canonical text."""
        return hash_terms(self, self.coefficients)


def in_network_outputs(program: StepProgram) -> NetworkProgram:
    """The same step in what the network returns, with like operands collected and each coefficient named.

    Where the unknown is linear in the network's output alone (skip = 0), its factors go into the coefficients, and
    the statements stay those of ``program``. Otherwise a statement after each evaluation makes the unknown.
    """
    return _Conversion(program).convert()


class _Conversion:
    """One program on its way into the network's outputs, with the coefficients that have been named so far."""

    def __init__(self, program: StepProgram) -> None:
        self.program = program
        self.network = parametrisation(program.process.network, program.process)
        self.skip, self.scale = conversion(program.parametrisation, self.network)
        # Later steps read the unknown, and know neither the state nor the time that it was made from: where they do,
        # it is folded into the coefficients only if it is the network's output itself.
        self.folded = not any(self.skip) and (not program.history or self.scale == sympy.eye(len(program.blocks)))
        self.times = {e.name: e.time for e in program.evaluations}
        self.coefficients: dict[str, sympy.Expr] = {}

    def convert(self) -> NetworkProgram:
        """The program, with the coefficients that its statements turn out to need."""
        program, network = self.program, self.network
        added = {f: d for f, d in network.definitions.items() if f not in program.definitions}
        statements = self._convert_statements()
        return NetworkProgram(
            process=program.process,
            parametrisation=network,
            statements=statements,
            definitions=program.definitions.with_(added),
            parameters=program.parameters,
            flows=program.flows,
            quadratures=program.quadratures,
            variable=program.variable,
            nodes=program.nodes,
            interpolations=program.interpolations,
            history=program.history,
            kept=program.kept if self.folded or not program.kept else _name_of_unknown(program.kept),
            cycle=program.cycle,
            primed=program.primed,
            coefficients=self.coefficients,
        )

    def _convert_statements(self) -> tuple[Evaluate | Combine, ...]:
        several = sum(isinstance(st, Combine) for st in self.program.statements) > 1
        statements: list[Evaluate | Combine] = []
        count = 0
        for st in self.program.statements:
            if isinstance(st, Evaluate):
                if st.time not in (t, s):
                    self.coefficients[f"time_{st.name}"] = st.time
                statements.append(st)
                if not self.folded:
                    made = self._make_unknown(st)
                    statements += [made] if made.updates else []
            else:
                count += 1
                statements.append(self._name_terms(st, f"_{count}" if several else ""))
        return tuple(statements)

    def _name_terms(self, st: Combine, suffix: str) -> Combine:
        """A statement with like operands collected and its coefficients named; ``suffix`` numbers the statement."""
        updates = []
        for target, terms in st.updates:
            collected = _collect(self._in_outputs(terms) if self.folded else terms)
            several = len({o.evaluation for o in collected if isinstance(o, Output)}) > 1
            named = [
                Term(self._named(_role(target, operand, several) + suffix, coefficient), self._operand(operand))
                for operand, coefficient in collected.items()
                if coefficient != 0
            ]
            updates.append((target, tuple(named)))
        return replace(st, updates=tuple(updates))

    def _named(self, name: str, value: sympy.Expr) -> sympy.Expr:
        """The symbol that stands for ``value``, entered in the table; 1 stays 1 and is not tabulated."""
        if value == 1:
            return sympy.S.One
        if self.coefficients.setdefault(name, value) != value:
            raise NotImplementedError(f"two coefficients are called {name}")
        return sympy.Symbol(name)

    def _operand(self, operand: Operand) -> Operand:
        """The unknown of this step's evaluation is a block of its own, unless it is folded into the coefficients."""
        if self.folded or not isinstance(operand, Output) or operand.evaluation not in self.times:
            return operand
        return Block(f"{_name_of_unknown(operand.evaluation)}_{operand.component}")

    def _make_unknown(self, st: Evaluate) -> Combine:
        """The statement that turns an evaluation into the unknown: those components of it that are read."""
        program, number = self.program, st.name.rpartition("_")[2]
        read = {(o.evaluation, o.component) for term in program.terms if isinstance(o := term.operand, Output)}
        read |= {(program.kept, block) for block in program.blocks}
        updates = []
        for i, block in enumerate(program.blocks):
            if (st.name, block) not in read:
                continue
            terms = []
            for j, (component, source) in enumerate(zip(program.blocks, st.state or program.blocks, strict=True)):
                for kind, matrix, operand in (
                    ("skip", self.skip, Block(source)),
                    ("scale", self.scale, Output(st.name, component)),
                ):
                    if (value := matrix[i, j].xreplace({t: st.time})) != 0:
                        terms.append(Term(self._named(f"{kind}_{block}{component}_{number}", value), operand))
            updates.append((f"{_name_of_unknown(st.name)}_{block}", tuple(terms)))
        return Combine(tuple(updates), f"{program.unknown} from the network's output")

    def _in_outputs(self, terms: Iterable[Term]) -> list[Term]:
        """Terms in the network's own outputs, where the unknown is a linear function of them."""
        blocks = self.program.blocks
        expanded: list[Term] = []
        for term in terms:
            if isinstance(term.operand, Output) and term.operand.evaluation in self.times:
                row = blocks.index(term.operand.component)
                at = self.scale.xreplace({t: self.times[term.operand.evaluation]})
                expanded += [
                    Term(term.coefficient * at[row, j], Output(term.operand.evaluation, component))
                    for j, component in enumerate(blocks)
                    if at[row, j] != 0
                ]
            else:
                expanded.append(term)
        return expanded


def _name_of_unknown(evaluation: str) -> str:
    """What the unknown is called that is made from a network's output: that of eps_0 is unknown_0."""
    return f"unknown_{evaluation.rpartition('_')[2]}"


def _collect(terms: Iterable[Term]) -> dict[Operand, sympy.Expr]:
    """The whole coefficient of each operand, in order of first use."""
    collected: dict[Operand, sympy.Expr] = {}
    for term in terms:
        collected[term.operand] = collected.get(term.operand, sympy.S.Zero) + term.coefficient
    return collected


def _role(target: str, operand: Operand, several: bool) -> str:
    """What a coefficient of ``operand`` in the update of ``target`` is called: decay_x, coupling_xm, weight_xx, ...

    ``several``: the update reads more than one evaluation, so that a weight says which one it belongs to.
    """
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
