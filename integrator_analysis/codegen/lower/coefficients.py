"""The functions of a generated module that compute the coefficients of steps from their two times.

Knows which functions of time a coefficient needs, in which order, and at which times; knows nothing of the layout of
files. Functions of one time are computed by one helper (``_at``), those of two times by another (``_between``), the
integrands of weights by a third, so that each quantity has one line that can be read and reviewed. Times are float64
tensors: all steps of a walk are computed at once, and the nodes of a quadrature stand along a dimension before theirs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set

import sympy
from sympy.core.function import AppliedUndef

from integrator_analysis.algebra.definitions import Definitions
from integrator_analysis.algebra.special import cosh_sqrt
from integrator_analysis.algebra.symbols import PAST, h, s, t, u
from integrator_analysis.codegen.lower.calls import integrated_functions, is_called, needed_functions, numbers_of
from integrator_analysis.codegen.lower.lines import (
    PAIR,
    Expressions,
    Helpers,
    SourceFunction,
    Tail,
    assignment_lines,
    end_arguments,
    fetch_lines,
    joined_names,
    return_lines,
    stacked_lines,
    unpacking_target,
)
from integrator_analysis.codegen.printer import HELPERS, SourcePrinter, local_name
from integrator_analysis.parametrisation.frames import variance
from integrator_analysis.program.given_table import table_of
from integrator_analysis.program.network_program import NetworkProgram
from integrator_analysis.program.statements import advance
from integrator_analysis.program.step_program import Step

__all__ = ["lower_coefficients", "special_functions", "tail_of"]


def tail_of(program: Step) -> Tail:
    """The data's variance and the entries of a tabled B, where the coefficients depend on them."""
    given = [p for p in (variance, *table_of(program)) if p in program.parameters]
    return Tail("".join(f", {p}: Tensor" for p in given), "".join(f", {p}" for p in given))


def special_functions(expressions: Iterable[sympy.Expr]) -> tuple[str, ...]:
    """Names of the helper templates that the expressions need."""
    names = {type(a).__name__ for e in expressions for a in e.atoms(sympy.Function)}
    return tuple(sorted({HELPERS[n] for n in names if n in HELPERS}))


def lower_coefficients(program: NetworkProgram) -> tuple[tuple[SourceFunction, ...], tuple[sympy.Expr, ...]]:
    """The functions that compute a program's coefficients, and every expression printed in them.

    Raises ValueError for anything the printer has no spelling for.
    """
    return _Coefficients(program).functions()


class _Coefficients:
    """The functions of one program: ``_at`` (one time), ``_advance`` and ``_between`` (two), integrands, the table."""

    def __init__(self, program: NetworkProgram) -> None:
        self.program, self.definitions = program, program.definitions
        self.tail = tail_of(program)
        given = {variance, *table_of(program)}
        self.numbers = numbers_of(self.definitions, (p for p in program.parameters if p not in given))
        self.coefficients = dict(program.coefficients)
        self.integrands = [i for q in program.quadratures for i in q.integrands]
        self.weights = [f for q in program.quadratures for f in q.names]
        self.measured = _is_measured(program)
        used = [*self.coefficients.values(), *self.integrands]
        # Functions of two times. Where shares of the way are measured, ``advance`` has a function of its own.
        inside = {f: d for f, d in self.definitions.items() if not self.measured or f != advance}
        self.two_times = needed_functions(used, Definitions(inside), 2)
        self.integrals = [f for f in self.definitions if self.definitions[f].integral]
        inner = [self.definitions[f].body for f in self.two_times if f not in self.integrals]
        # An integral that nothing calls with two times is called for a time and a fixed start, in ``_at``.
        self.two_times = [f for f in self.two_times if f not in self.integrals or is_called(f, None, [*used, *inner])]
        self.ordered = [f for f in self.two_times if self.definitions[f].generator is not None]
        self.bodies = [
            sympy.S.Zero if f in self.integrals or f in self.ordered else self.definitions[f](t, s)
            for f in self.two_times
        ]
        chain = needed_functions([advance(t, s)], self.definitions, 2) if self.measured else []
        self.measure = [self.definitions[f](t, s) for f in chain]
        self.measure_names = chain[:-1]
        # Functions of one time that somebody calls directly: those are what ``_at`` returns.
        self.users = [*self.coefficients.values(), *self.bodies, *self.integrands, *self.measure]
        times = (t, s, u, *(node.symbol for node in program.nodes))
        self.shared = [
            f
            for f in needed_functions(self.users, self.definitions, 1)
            if any(is_called(f, time, self.users) for time in times)
        ]
        passed = [f for f in self.two_times if is_called(f, None, used)]
        # What costs a quadrature is computed apart: most users of the others do without it.
        integrated = integrated_functions(self.definitions)
        self.at = _split("_at", self.shared, integrated)
        self.between = _split("_between", passed, integrated)

    def functions(self) -> tuple[tuple[SourceFunction, ...], tuple[sympy.Expr, ...]]:
        """The functions, in an order in which each can be read after those that it calls, and what they print."""
        out, printed = [], [*self.users]
        needed = needed_functions([*self.users, *(f(t) for f in self.shared)], self.definitions, 2)
        for f in self.integrals:
            if f in needed:
                made, bodies = self._integral(f)
                out += made
                printed += bodies
        if self.ordered:
            made, bodies = self._ordered_exponential()
            out += made
            printed += [*bodies, cosh_sqrt(t)]  # the template needs the square-root functions
        for helper in self.at:
            function, bodies = self._at(helper)
            out.append(function)
            printed += bodies
        if self.measured:
            out.append(self._advance())
        out += [self._between(helper) for helper in self.between]
        if self.weights:
            out.append(self._integrands())
        out.append(self._table())
        return tuple(out), tuple(printed)

    def _ordered_exponential(self) -> tuple[list[SourceFunction], list[sympy.Expr]]:
        """The generator of E as a function of time, and E by Magnus's series on short sub-steps."""
        matrix = self.definitions[self.ordered[0]].generator
        assert matrix is not None
        at_t = matrix.xreplace({u: t})
        chain = needed_functions(at_t, self.definitions, 1)
        printer = self._printer((t,))
        lines = [line for g in chain for line in assignment_lines(str(g), self.definitions[g].body, printer)]
        lines += stacked_lines([printer.doprint(e) for e in at_t])
        name = f"_generator(t: Tensor{self.tail.declared})"
        docstring = "The entries of B - L at times t, row by row along the last dimension."
        function = SourceFunction(name, docstring, tuple(lines), "Tensor")
        return [function], [*at_t, *(self.definitions[g].body for g in chain)]

    def _printer(
        self, called_with: tuple[sympy.Symbol, ...] = (), ends: tuple[sympy.Expr, ...] = (t, s)
    ) -> SourcePrinter:
        return SourcePrinter(self.numbers, called_with, ends, self.tail.passed)

    def _integral(self, f: sympy.Function) -> tuple[list[SourceFunction], list[sympy.Expr]]:
        """The density of an integral over a time, in log u, and the function that integrates it."""
        body = self.definitions[f].body
        chain = needed_functions([body], self.definitions, 1)
        printer, passed = self._printer((t,)), self.tail.passed
        density = [line for g in chain for line in assignment_lines(str(g), self.definitions[g].body, printer)]
        density.append(f"return t * ({printer.doprint(body.xreplace({u: t}))})")
        lines = [
            f"pieces = partial(_sum_over_panels, lambda t: _{f}_density(t{passed}))",
            "if width.dim() == torch.as_tensor(s).dim():",
            "    return pieces(s, width)",
            "ends = s * torch.exp(width)",
            "high, low = _exact_parts(torch.cat((pieces(s, width[:1]), pieces(ends[:-1], width.diff(dim=0)))))",
            "return high.cumsum(0) + low.cumsum(0)",
        ]
        docstring = (
            f"{f}: an integral from times s to s e**width. Where width has one dimension more than s, it is summed "
            "along the first: from one node of a rule to the next, or from one step to the next."
        )
        return [
            SourceFunction(
                f"_{f}_density(t: Tensor{self.tail.declared})",
                f"The density of {f} in log t.",
                tuple(density),
                "Tensor",
            ),
            SourceFunction(
                f"_{f}(s: Tensor | float, width: Tensor{self.tail.declared})", docstring, tuple(lines), "Tensor"
            ),
        ], [body, *(self.definitions[g].body for g in chain)]

    def _at(self, helper: str) -> tuple[SourceFunction, list[sympy.Expr]]:
        """The functions of one time that ``helper`` returns, with what they need before them."""
        functions = self.at[helper]
        known = [f for other, fs in self.at.items() if other != helper and helper != "_at" for f in fs]
        chain = needed_functions([f(t) for f in functions], self.definitions, 1, known)
        printer, lines = self._printer((t,)), []
        if fetched := [f for f in chain if f in known]:
            names = [str(f) if f in fetched else "_" for f in self.at["_at"]]
            lines.append(f"{unpacking_target(names)} = _at(t{self.tail.passed})")
        own = [f for f in chain if f not in known]
        lines += [line for f in own for line in assignment_lines(str(f), self.definitions[f].body, printer)]
        lines += return_lines([str(f) for f in functions])
        signature, docstring = f"{helper}(t: Tensor{self.tail.declared})", f"{joined_names(functions)} at times t."
        function = SourceFunction(signature, docstring, tuple(lines), self._type_of([f(t) for f in functions]))
        return function, [self.definitions[f].body for f in own]

    def _advance(self) -> SourceFunction:
        variable = "t" if self.program.variable is None else str(self.program.variable.func)
        lines = self._assignments(self.measure_names, self.measure)
        last = self._printer().doprint(self.measure[-1])
        docstring = f"The change of {variable} from times t to times s = t - h."
        return SourceFunction(f"_advance({PAIR}{self.tail.declared})", docstring, (*lines, f"return {last}"), "Tensor")

    def _between(self, helper: str) -> SourceFunction:
        functions = self.between[helper]
        known = [f for other, fs in self.between.items() if other != helper and helper != "_between" for f in fs]
        bodies = dict(zip(self.two_times, self.bodies, strict=True))
        chain = needed_functions([f(t, s) for f in functions], self.definitions, 2, known)
        own = [f for f in self.two_times if f in chain and f not in known]
        lines = []
        if fetched := [f for f in chain if f in known]:
            names = [str(f) if f in fetched else "_" for f in self.between["_between"]]
            lines.append(f"{unpacking_target(names)} = _between(t, s, h{self.tail.passed})")
        return SourceFunction(
            f"{helper}({PAIR}{self.tail.declared})",
            f"{joined_names(functions)} for steps from t to s = t - h.",
            (*lines, *self._assignments(own, [bodies[f] for f in own]), *return_lines([str(f) for f in functions])),
            self._type_of([f(t, s) for f in functions]),
        )

    def _type_of(self, results: Expressions) -> str:
        """The type of a tuple of these values: what is the same at all times is a number, not a tensor."""
        constant = [all(c.func in self.numbers for c in e.atoms(AppliedUndef)) for e in results]
        return "tuple[Any, ...]" if any(constant) else "tuple[Tensor, ...]"

    def _assignments(self, names: Sequence[sympy.Function], bodies: Expressions) -> list[str]:
        """Lines that compute functions of (t, s), and before them what they need at t and s."""
        printer = self._printer()
        lines = fetch_lines(self.at, bodies, (t, s), self.tail)
        if self.measured and is_called(advance, None, bodies):
            lines.append(f"advance = _advance(t, s, h{self.tail.passed})")
        if any(f in self.ordered for f in names):
            entries = [e.func for e in self.program.flows[0].entries]
            targets = unpacking_target([str(f) if f in names else "_" for f in entries])
            lines.append(f"{targets} = _ordered_exponential(s, h{self.tail.passed}).unbind(-1)")
        for f, body in zip(names, bodies, strict=False):
            if f in self.ordered:
                continue
            if f in self.integrals:
                lines.append(f"{f} = _{f}(s, torch.log1p(h / s){self.tail.passed})")
            else:
                lines += assignment_lines(str(f), body, printer)
        return lines

    def _integrands(self) -> SourceFunction:
        lines = fetch_lines(self.at, self.integrands, (u, s), self.tail)
        lines += self._fetch_between(self.integrands, (u, s), "u, s, h", (u, s))
        printer = self._printer(ends=(u, s))
        lines += return_lines([printer.doprint(e) for e in self.integrands])
        names = self.program.quadratures[0].functions[0]
        return SourceFunction(
            f"_integrands(u: Tensor, s: Tensor, h: Tensor{self.tail.declared})",
            f"The integrands of {joined_names(names)} at u = s + h, between s and t.",
            tuple(lines),
            self._type_of(self.integrands),
        )

    def _table(self) -> SourceFunction:
        program = self.program
        behind = {n: e for n, e in self.coefficients.items() if any(p in e.free_symbols for p in PAST)}
        ahead = {n: e for n, e in self.coefficients.items() if n not in behind}
        pairs = {c.args for e in self.coefficients.values() for c in e.atoms(AppliedUndef) if len(c.args) == 2}
        lines = [f"{h} = t - s"] if (t, s) in pairs or any(e.has(h) for e in self.coefficients.values()) else []
        for node in program.nodes:
            share = self._printer().doprint(node.share)
            where = (
                f"t + {share} * (s - t)" if program.variable is None else f"_time_at({share}, t, s{self.tail.passed})"
            )
            lines.append(f"{node.symbol} = {where}")
        lines += self._block(ahead)
        if behind:
            lines += ["if past:", "    p1 = past[0]", *(f"    {line}" for line in self._block(behind)), "else:"]
            lines.append("    " + " = ".join(behind) + " = torch.zeros_like(t)")
        lines += stacked_lines(list(program.coefficients))
        docstring = (
            "The coefficients of steps from t to s, times of one shape, along a last dimension in the order of "
            "COEFFICIENTS, in float64."
        )
        past, as_tensors = "", ["t, s = (torch.as_tensor(time, dtype=torch.float64) for time in (t, s))"]
        if program.history:
            past = ", past: Sequence[Tensor] = ()"
            docstring += " ``past``: start times of earlier steps, newest first; a weight without its step is 0."
            as_tensors.append("past = [torch.as_tensor(time, dtype=torch.float64) for time in past]")
        if program.cycle:
            past += ", read: int = HISTORY"
            docstring += " ``read``: how many of them the step itself reads at most; the mending reads all."
        if variance in program.parameters:
            past += ", v: Tensor | float = VARIANCE"
            docstring += " v: the data's variance."
            as_tensors.append("v = torch.as_tensor(v, dtype=torch.float64)")
        if table := table_of(program):
            past += ", B: Tensor | Sequence[Sequence[float]] = B"
            docstring += " B: its rows, constant in a step, along the last two dimensions."
            as_tensors.append(
                f"{unpacking_target(map(str, table))} = torch.as_tensor(B, dtype=torch.float64).flatten(-2).unbind(-1)"
            )
        return SourceFunction(f"coefficients(t: Tensor, s: Tensor{past})", docstring, (*as_tensors, *lines), "Tensor")

    def _block(self, coefficients: Mapping[str, sympy.Expr]) -> list[str]:
        """Lines that compute coefficients: functions of one and of two times, shares, then the coefficients."""
        expressions, printer = list(coefficients.values()), self._printer()
        nodes = [node.symbol for node in self.program.nodes]
        lines = fetch_lines(self.at, expressions, (t, s, *nodes), self.tail)
        calls = {c for e in expressions for c in e.atoms(AppliedUndef) if len(c.args) == 2}
        if self.measured:
            measured = sorted((c for c in calls if c.func == advance), key=str)
            lines += [f"{local_name(c)} = _advance({end_arguments(c.args)}{self.tail.passed})" for c in measured]
        for pair in sorted({c.args for c in calls}, key=str):
            ends = end_arguments(pair)
            lines += self._fetch_between(expressions, pair, ends)
            if any(c.args == pair and c.func in self.weights for c in calls):
                names = [local_name(f(*pair)) if f(*pair) in calls else "_" for f in self.weights]
                lines.append(unpacking_target(names) + f" = _integrate({ends}{self.tail.passed})")
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
            lines += assignment_lines(name, e, printer)
        return lines

    def _fetch_between(
        self,
        expressions: Expressions,
        pair: tuple[sympy.Expr, ...],
        arguments: str,
        ends: tuple[sympy.Expr, ...] = (t, s),
    ) -> list[str]:
        """Lines that unpack the functions of a pair of times that the expressions call, "_" for those that they do not.

        ``arguments``: the pair and its difference, as source; ``ends``: the pair whose functions have no times in their
        names.
        """
        calls, lines = {c for e in expressions for c in e.atoms(AppliedUndef)}, []
        for helper, functions in self.between.items():
            if any(f(*pair) in calls for f in functions):
                names = [local_name(f(*pair), ends) if f(*pair) in calls else "_" for f in functions]
                lines.append(f"{unpacking_target(names)} = {helper}({arguments}{self.tail.passed})")
        return lines


def _split(helper: str, functions: Sequence[sympy.Function], integrated: Set[sympy.Function]) -> Helpers:
    """``functions`` by the name of the helper that returns them; those that cost a quadrature have one of their own."""
    plain = [f for f in functions if f not in integrated]
    helpers = {helper: plain, f"{helper}_by_quadrature": [f for f in functions if f in integrated]}
    return {name: fs for name, fs in helpers.items() if fs}


def _is_measured(program: NetworkProgram) -> bool:
    """Whether a coefficient depends on shares of the way from t to s, which ``_advance`` measures."""
    weighted = any(len(q.functions) + q.lowest > 1 for q in program.quadratures)
    return bool(program.interpolations) or weighted or (bool(program.nodes) and program.variable is not None)
