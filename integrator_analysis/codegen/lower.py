"""The only door out of sympy: a step program becomes named assignments and statements, as lines of source.

Knows which functions of time a coefficient needs, in which order, and at which times; knows nothing of the layout of
files. Functions of one time are computed by one helper (``_at``), those of two times by another (``_between``), the
integrands of weights by a third, so that each quantity has one line that can be read and reviewed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import sympy
from sympy.core.function import AppliedUndef

from integrator_analysis.algebra.special import cosh_sqrt
from integrator_analysis.codegen.printer import HELPERS, SourcePrinter, local_name
from integrator_analysis.conjugation import tabled
from integrator_analysis.parametrisation import log_snr, measures, variance
from integrator_analysis.processes import Process
from integrator_analysis.program import Block, Evaluate, Noise, Operand, Output, StepProgram, Term, advance
from integrator_analysis.symbols import PAST, Definitions, h, s, t, u

__all__ = [
    "SourceFunction",
    "lower_coefficients",
    "lower_kernel",
    "lower_log_snr",
    "lower_step",
    "special_functions",
    "table_of",
    "tail_of",
]

WIDTH = 112
PAIR = "t: float, s: float, h: float"
"""The arguments of a function of two times. h is t - s, which is known better than by subtraction where t is a node."""
Expressions = Sequence[sympy.Expr]


@dataclass(frozen=True)
class SourceFunction:
    """A function of the generated module: its signature, its docstring and its body, line by line."""

    signature: str
    docstring: str
    lines: tuple[str, ...]
    result: str = "tuple[float, ...]"


class Tail(NamedTuple):
    """What is appended to the arguments of every function that computes coefficients: declared, and passed on."""

    declared: str = ""
    passed: str = ""


def tail_of(program: StepProgram) -> Tail:
    """The data's variance and the entries of a tabled B, where the coefficients depend on them."""
    given = [p for p in (variance, *table_of(program)) if p in program.parameters]
    return Tail("".join(f", {p}: float" for p in given), "".join(f", {p}" for p in given))


def table_of(program: StepProgram) -> sympy.Matrix:
    """The entries of B where it is given step by step; else empty."""
    entries = tabled(len(program.blocks))
    return entries if set(entries) <= set(program.parameters) else sympy.Matrix()


def special_functions(expressions: Iterable[sympy.Expr]) -> tuple[str, ...]:
    """Names of the helper templates that the expressions need."""
    names = {type(a).__name__ for e in expressions for a in e.atoms(sympy.Function)}
    return tuple(sorted({HELPERS[n] for n in names if n in HELPERS}))


def lower_coefficients(program: StepProgram) -> tuple[tuple[SourceFunction, ...], tuple[sympy.Expr, ...]]:
    """The functions that compute a lowered program's coefficients, and every expression printed in them.

    Raises ValueError for anything the printer has no spelling for.
    """
    return _Coefficients(program).functions()


class _Coefficients:
    """The functions of one program: ``_at`` (one time), ``_advance`` and ``_between`` (two), integrands, the table."""

    def __init__(self, program: StepProgram) -> None:
        self.program, self.definitions = program, program.definitions
        self.tail = tail_of(program)
        self.coefficients = dict(program.coefficients)
        self.integrands = [i for q in program.quadratures for i in q.integrands]
        self.weights = [f for q in program.quadratures for f in q.names]
        self.measured = bool(program.interpolations) or any(
            len(q.functions) + q.lowest > 1 for q in program.quadratures
        )
        self.measured |= bool(program.nodes) and program.variable is not None
        used = [*self.coefficients.values(), *self.integrands]
        inside = {f: d for f, d in self.definitions.items() if not self.measured or f != advance}
        self.two_times = _needed(used, Definitions(inside), 2)
        self.integrals = [f for f in self.definitions if self.definitions[f].integral]
        inner = [self.definitions[f].body for f in self.two_times if f not in self.integrals]
        self.two_times = [f for f in self.two_times if f not in self.integrals or _called(f, None, [*used, *inner])]
        self.ordered = [f for f in self.two_times if self.definitions[f].generator is not None]
        self.bodies = [
            sympy.S.Zero if f in self.integrals or f in self.ordered else self.definitions[f](t, s)
            for f in self.two_times
        ]
        chain = _needed([advance(t, s)], self.definitions, 2) if self.measured else []
        self.measure = [self.definitions[f](t, s) for f in chain]
        self.measure_names = chain[:-1]
        self.users = [*self.coefficients.values(), *self.bodies, *self.integrands, *self.measure]
        times = (t, s, u, *(node.symbol for node in program.nodes))
        self.shared = [
            f for f in _needed(self.users, self.definitions, 1) if any(_called(f, time, self.users) for time in times)
        ]
        self.passed = [f for f in self.two_times if _called(f, None, used)]

    def functions(self) -> tuple[tuple[SourceFunction, ...], tuple[sympy.Expr, ...]]:
        out, printed = [], [*self.users]
        needed = _needed([*self.users, *(f(t) for f in self.shared)], self.definitions, 2)
        for f in self.integrals:
            if f in needed:
                function, bodies = self._integral(f)
                out.append(function)
                printed += bodies
        if self.ordered:
            made, bodies = self._ordered_exponential()
            out += made
            printed += [*bodies, cosh_sqrt(t)]  # the template needs the square-root functions
        if self.shared:
            chain = _needed([f(t) for f in self.shared], self.definitions, 1)
            printed += [self.definitions[f].body for f in chain]
            out.append(_at(chain, self.shared, self.definitions, self.tail))
        if self.measured:
            out.append(self._advance())
        if self.passed:
            out.append(self._between())
        if self.weights:
            out.append(self._integrands())
        out.append(self._table())
        return tuple(out), tuple(printed)

    def _ordered_exponential(self) -> tuple[list[SourceFunction], list[sympy.Expr]]:
        """The generator of E as a function of time, and E by Magnus's series on short sub-steps."""
        matrix = self.definitions[self.ordered[0]].generator
        assert matrix is not None
        at_t = matrix.xreplace({u: t})
        chain = _needed(at_t, self.definitions, 1)
        printer = SourcePrinter("math", (t,))
        lines = [line for g in chain for line in _assign(str(g), self.definitions[g].body, printer)]
        lines += _return([printer.doprint(e) for e in at_t])
        name = f"_generator(t: float{self.tail.declared})"
        docstring = "B - L at time t, row by row."
        return [SourceFunction(name, docstring, tuple(lines))], [*at_t, *(self.definitions[g].body for g in chain)]

    def _integral(self, f: sympy.Function) -> tuple[SourceFunction, list[sympy.Expr]]:
        """An integral over a time, by the rule in log u; it computes its own functions of u."""
        body = self.definitions[f].body
        chain = _needed([body], self.definitions, 1)
        printer = SourcePrinter("math", (t,))
        lines = [
            "terms = []",
            "panels = math.ceil(abs(width) / 2) or 1",
            "for node, weight in ((panel + x, w) for panel in range(panels) for x, w in RULE):",
        ]
        inner = ["t = s * math.exp(width * node / panels)"]
        inner += [line for g in chain for line in _assign(str(g), self.definitions[g].body, printer)]
        inner.append(f"terms.append(width / panels * weight * t * ({printer.doprint(body.xreplace({u: t}))}))")
        lines += [f"    {line}" for line in inner] + ["return math.fsum(terms)"]
        docstring = f"{f}: an integral from time s to s e**width, by the rule in log u on panels of a factor e**2."
        return SourceFunction(f"_{f}(s: float, width: float{self.tail.declared})", docstring, tuple(lines), "float"), [
            body,
            *(self.definitions[g].body for g in chain),
        ]

    def _advance(self) -> SourceFunction:
        variable = "t" if self.program.variable is None else str(self.program.variable.func)
        lines = self._assignments(self.measure_names, self.measure)
        last = SourcePrinter("math").doprint(self.measure[-1])
        docstring = f"The change of {variable} from time t to time s = t - h."
        return SourceFunction(f"_advance({PAIR}{self.tail.declared})", docstring, (*lines, f"return {last}"), "float")

    def _between(self) -> SourceFunction:
        lines = self._assignments(self.two_times, self.bodies)
        return SourceFunction(
            f"_between({PAIR}{self.tail.declared})",
            f"{_list(self.passed)} for the step from t to s = t - h.",
            (*lines, *_return([str(f) for f in self.passed])),
        )

    def _assignments(self, names: Sequence[sympy.Function], bodies: Expressions) -> list[str]:
        """Lines that compute functions of (t, s), and before them what they need at t and s."""
        printer = SourcePrinter("math")
        lines = _fetch(self.shared, bodies, (t, s), self.tail)
        if self.measured and _called(advance, None, bodies):
            lines.append(f"advance = _advance(t, s, h{self.tail.passed})")
        if any(f in self.ordered for f in names):
            entries = [e.func for e in self.program.flows[0].entries]
            targets = _unpack([str(f) if f in names else "_" for f in entries])
            lines.append(f"{targets} = _ordered_exponential(s, h{self.tail.passed})")
        for f, body in zip(names, bodies, strict=False):
            if f in self.ordered:
                continue
            if f in self.integrals:
                lines.append(f"{f} = _{f}(s, math.log1p(h / s){self.tail.passed})")
            else:
                lines += _assign(str(f), body, printer)
        return lines

    def _integrands(self) -> SourceFunction:
        lines = _fetch(self.shared, self.integrands, (u, s), self.tail)
        if any(_called(f, None, self.integrands) for f in self.passed):
            lines.append(f"{self._targets(self.integrands, (u, s), (u, s))} = _between(u, s, h{self.tail.passed})")
        printer = SourcePrinter("math", ends=(u, s))
        lines += _return([printer.doprint(e) for e in self.integrands])
        names = self.program.quadratures[0].functions[0]
        return SourceFunction(
            f"_integrands(u: float, s: float, h: float{self.tail.declared})",
            f"The integrands of {_list(names)} at u = s + h, between s and t.",
            tuple(lines),
        )

    def _table(self) -> SourceFunction:
        program = self.program
        behind = {n: e for n, e in self.coefficients.items() if any(p in e.free_symbols for p in PAST)}
        ahead = {n: e for n, e in self.coefficients.items() if n not in behind}
        pairs = {c.args for e in self.coefficients.values() for c in e.atoms(AppliedUndef) if len(c.args) == 2}
        lines = [f"{h} = t - s"] if (t, s) in pairs or any(e.has(h) for e in self.coefficients.values()) else []
        for node in program.nodes:
            share = SourcePrinter("math").doprint(node.share)
            where = (
                f"t + {share} * (s - t)" if program.variable is None else f"_time_at({share}, t, s{self.tail.passed})"
            )
            lines.append(f"{node.symbol} = {where}")
        lines += self._block(ahead)
        if behind:
            lines += ["if past:", "    p1 = past[0]", *(f"    {line}" for line in self._block(behind)), "else:"]
            lines.append("    " + " = ".join(behind) + " = 0.0")
        lines += _return(list(program.coefficients))
        docstring = "The coefficients of the step from t to s, in float64, in the order of COEFFICIENTS."
        past = ""
        if program.history:
            past = ", past: Sequence[float] = ()"
            docstring += " ``past``: start times of earlier steps, newest first; a weight without its step is 0."
        if program.cycle:
            past += ", read: int = HISTORY"
            docstring += " ``read``: how many of them the step itself reads at most; the mending reads all."
        if variance in program.parameters:
            past += ", v: float = VARIANCE"
            docstring += " v: the data's variance."
        if table := table_of(program):
            past += ", B: Sequence[Sequence[float]] = B"
            docstring += " B: its rows, constant in the step."
            rows = [str(tuple(row)) for row in table.tolist()]
            lines.insert(0, f"{_unpack(rows)} = B")
        return SourceFunction(f"coefficients(t: float, s: float{past})", docstring, tuple(lines))

    def _block(self, coefficients: Mapping[str, sympy.Expr]) -> list[str]:
        """Lines that compute coefficients: functions of one and of two times, shares, then the coefficients."""
        expressions, printer = list(coefficients.values()), SourcePrinter("math")
        nodes = [node.symbol for node in self.program.nodes]
        lines = _fetch(self.shared, expressions, (t, s, *nodes), self.tail)
        calls = {c for e in expressions for c in e.atoms(AppliedUndef) if len(c.args) == 2}
        if self.measured:
            measured = sorted((c for c in calls if c.func == advance), key=str)
            lines += [f"{local_name(c)} = _advance({_ends(c.args)}{self.tail.passed})" for c in measured]
        for pair in sorted({c.args for c in calls}, key=str):
            ends = _ends(pair) + self.tail.passed
            if any(c.args == pair and c.func in self.passed for c in calls):
                lines.append(f"{self._targets(expressions, pair)} = _between({ends})")
            if any(c.args == pair and c.func in self.weights for c in calls):
                names = [local_name(f(*pair)) if f(*pair) in calls else "_" for f in self.weights]
                lines.append(_unpack(names) + f" = _integrate({ends})")
        used = {x for e in expressions for x in e.free_symbols}
        for i in self.program.interpolations:
            if used & {x for row in i.symbols for x in row}:
                single = "," * (len(i.nodes) == 1)
                rows = ", ".join("(" + ", ".join(map(str, row)) + single + ")" for row in i.symbols)
                own = [str(n) for n in i.nodes if n not in PAST]
                behind = str(sum(n in PAST for n in i.nodes))
                own += [f"*past[:{f'min({behind}, read)' if self.program.cycle and i.start == t else behind}]"]
                ends = f"{i.start}, {i.end}, [{', '.join(own)}]"
                lines.append(f"{rows}{',' * (len(i.nodes) == 1)} = _shares({ends}, {len(i.nodes)}{self.tail.passed})")
            if i.line in used:
                lines.append(f"{i.line} = float(len([{', '.join(own)}]) == 2)")
        for name, e in coefficients.items():
            lines += _assign(name, e, printer)
        return lines

    def _targets(
        self, expressions: Expressions, pair: tuple[sympy.Expr, ...], ends: tuple[sympy.Expr, ...] = (t, s)
    ) -> str:
        """The names that ``_between`` of a pair of times is unpacked to, "_" for what is not used."""
        calls = {c for e in expressions for c in e.atoms(AppliedUndef)}
        return _unpack([local_name(f(*pair), ends) if f(*pair) in calls else "_" for f in self.passed])


def lower_step(program: StepProgram) -> tuple[str, ...]:
    """The body of ``step``: each Evaluate and Combine of a lowered program as a line of torch source."""
    blocks, lines, changed = program.blocks, [], False
    used = {(o.evaluation, o.component) for term in program.terms if isinstance(o := term.operand, Output)}
    used |= {(program.kept, b) for b in blocks}
    lines += _bracketed(list(program.coefficients), "(", ") = c", _unpack(program.coefficients) + " = c")
    if program.noises:
        lines.append(_unpack(program.noises) + " = noise")
    lines.append(_split(blocks, "z"))
    for j, name in enumerate(program.past):
        lines.append(_split([f"{name}_{b}" if (name, b) in used else "_" for b in blocks], f"past[{j}]"))
    for st in program.statements:
        if isinstance(st, Evaluate):
            state = _cat(st.state) if st.state else _cat(blocks) if changed else "z"
            time = st.time if st.time in (t, s) else f"time_{st.name}"
            names = [f"{st.name}_{b}" if (st.name, b) in used else "_" for b in blocks]
            lines.append(_split(names, f"network({state}, {time})"))
        else:
            changed |= any(block in blocks for block, _ in st.updates)
            targets = ", ".join(block for block, _ in st.updates)
            sources = [_sum(terms) for _, terms in st.updates]
            lines.append(f"# {st.label}")
            single = f"{targets} = {', '.join(sources)}"
            if len(sources) == 1 and len(single) > WIDTH:
                first, *rest = map(_term, st.updates[0][1])
                lines += [f"{targets} = (", f"    {first}", *(f"    + {term}" for term in rest), ")"]
            else:
                lines += _bracketed(sources, f"{targets} = (", ")", single)
    out = _cat(blocks)
    if program.history:
        out += ", " + _cat([f"{program.kept}_{b}" for b in blocks])
    lines.append(f"return {out}")
    return tuple(lines)


def _split(names: Sequence[str], source: str) -> str:
    """names = the blocks of a tensor."""
    if len(names) == 1:
        return f"{names[0]} = {source}"
    return f"{', '.join(names)} = {source}.chunk({len(names)}, dim=1)"


def lower_kernel(
    program_functions: Sequence[sympy.Function], definitions: Definitions
) -> tuple[tuple[str, ...], tuple[sympy.Expr, ...]]:
    """Assignments of the functions of one time, and all they need, as torch source; and the expressions printed."""
    chain = _needed([f(t) for f in program_functions], definitions, 1)
    printer = SourcePrinter("torch", (t,))
    lines = [line for f in chain for line in _assign(str(f), definitions[f].body, printer)]
    constant = {f for f in program_functions if not definitions[f].body.has(t)}
    results = [f"torch.full_like(t, {f})" if f in constant else str(f) for f in program_functions]
    return (*lines, *_return(results)), tuple(definitions[f].body for f in chain)


def lower_log_snr(process: Process) -> tuple[SourceFunction, tuple[sympy.Expr, ...]]:
    """``log_snr(t)`` of a process on the host, for time grids; and every expression printed in it."""
    definitions = process.definitions.with_(measures(process))
    *chain, last = _needed([log_snr(t)], definitions, 1)
    printer = SourcePrinter("math", (t,))
    lines = [line for f in chain for line in _assign(str(f), definitions[f].body, printer)]
    lines.append(f"return {printer.doprint(definitions[last].body)}")
    docstring = "lambda(t), half the logarithm of the signal-to-noise ratio."
    function = SourceFunction("log_snr(t: float)", docstring, tuple(lines), "float")
    return function, tuple(definitions[f].body for f in (*chain, last))


def _needed(expressions: Iterable[sympy.Expr], definitions: Definitions, arity: int) -> list[sympy.Function]:
    """The defined functions of ``arity`` arguments that the expressions use, directly or not, in table order."""
    used: set[sympy.Function] = set()
    pending = {c.func for e in expressions for c in e.atoms(AppliedUndef)}
    while pending:
        f = pending.pop()
        if f in definitions and f not in used:
            used.add(f)
            if definitions[f].integral:  # computes its own functions of time
                continue
            pending |= {c.func for c in definitions[f].body.atoms(AppliedUndef)} - used
    return [f for f in definitions if f in used and len(definitions[f].arguments) == arity]


def _called(f: sympy.Function, time: sympy.Symbol | None, expressions: Iterable[sympy.Expr]) -> bool:
    """Whether an expression calls f directly, at ``time`` or anywhere."""
    calls = (c for e in expressions for c in _calls(e) if c.func == f)
    return any(time is None or c.args == (time,) for c in calls)


@lru_cache(maxsize=1024)
def _calls(expression: sympy.Expr) -> frozenset[AppliedUndef]:
    """The calls of named functions in an expression: every function is looked for in the same ones."""
    return frozenset(expression.atoms(AppliedUndef))


def _at(
    chain: Sequence[sympy.Function], returned: Sequence[sympy.Function], definitions: Definitions, tail: Tail
) -> SourceFunction:
    printer = SourcePrinter("math", (t,), tail=tail.passed)
    lines = [line for f in chain for line in _assign(str(f), definitions[f].body, printer)]
    return SourceFunction(
        f"_at(t: float{tail.declared})",
        f"{_list(returned)} at time t.",
        (*lines, *_return([str(f) for f in returned])),
    )


def _fetch(
    shared: Sequence[sympy.Function], expressions: Expressions, times: Sequence[sympy.Symbol], tail: Tail
) -> list[str]:
    """Lines that unpack ``_at(time)`` into f_time, for the times at which the expressions need any."""
    lines = []
    for time in times:
        if any(_called(f, time, expressions) for f in shared):
            names = [f"{f}_{time}" if _called(f, time, expressions) else "_" for f in shared]
            lines.append(f"{_unpack(names)} = _at({time}{tail.passed})")
    return lines


def _assign(name: str, expression: sympy.Expr, printer: SourcePrinter) -> list[str]:
    """name = expression, a long sum with one term a line; nothing for a name that is its own value."""
    source = printer.doprint(expression)
    if source == name:
        return []
    line = f"{name} = {source}"
    if len(line) <= WIDTH or not expression.is_Add:
        return [line]
    terms = printer.terms(expression)
    rest = [f"    - {term[1:]}" if term.startswith("-") else f"    + {term}" for term in terms[1:]]
    return [f"{name} = (", f"    {terms[0]}", *rest, ")"]


def _ends(pair: Sequence[sympy.Expr]) -> str:
    """Two times as arguments, and the first less the second."""
    start, end = pair
    return f"{start}, {end}, {h if (start, end) == (t, s) else f'{start} - {end}'}"


def _return(values: Sequence[str]) -> list[str]:
    single = f"return ({values[0]},)" if len(values) == 1 else f"return {', '.join(values)}"
    return _bracketed(values, "return (", ")", single)


def _bracketed(values: Sequence[str], opening: str, closing: str, single: str) -> list[str]:
    """``single`` if it fits a line, else one value a line between brackets."""
    if len(single) <= WIDTH:
        return [single]
    return [opening, *(f"    {value}," for value in values), closing]


def _list(functions: Sequence[sympy.Function]) -> str:
    return ", ".join(map(str, functions))


def _unpack(names: Iterable[str]) -> str:
    names = list(names)
    return f"({names[0]},)" if len(names) == 1 else ", ".join(names)


def _cat(blocks: Sequence[str]) -> str:
    return blocks[0] if len(blocks) == 1 else f"torch.cat(({', '.join(blocks)}), dim=1)"


def _sum(terms: Sequence[Term]) -> str:
    return " + ".join(_term(term) for term in terms) if terms else "0.0"


def _term(term: Term) -> str:
    operand = _operand(term.operand)
    return operand if term.coefficient == 1 else f"{term.coefficient} * {operand}"


def _operand(operand: Operand) -> str:
    match operand:
        case Block(name) | Noise(name):
            return name
        case Output(evaluation, component):
            return f"{evaluation}_{component}"
    raise TypeError(f"no source for operand {operand!r}")
