"""The only door out of sympy: a step program becomes named assignments and statements, as lines of source.

Knows which functions of time a coefficient needs, in which order, and at which times; knows nothing of the layout of
files. Functions of one time are computed by one helper (``_at``), those of two times by another (``_between``), the
integrands of weights by a third, so that each quantity has one line that can be read and reviewed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import sympy
from sympy.core.function import AppliedUndef

from integrator_analysis.codegen.printer import HELPERS, SourcePrinter
from integrator_analysis.program import Block, Evaluate, Noise, Operand, Output, StepProgram, Term
from integrator_analysis.symbols import Definitions, h, s, t, u

__all__ = ["SourceFunction", "lower_coefficients", "lower_kernel", "lower_step", "special_functions"]

WIDTH = 112
Expressions = Sequence[sympy.Expr]


@dataclass(frozen=True)
class SourceFunction:
    """A function of the generated module: its signature, its docstring and its body, line by line."""

    signature: str
    docstring: str
    lines: tuple[str, ...]


def special_functions(expressions: Iterable[sympy.Expr]) -> tuple[str, ...]:
    """Names of the helper templates that the expressions need."""
    names = {type(a).__name__ for e in expressions for a in e.atoms(sympy.Function)}
    return tuple(sorted({HELPERS[n] for n in names if n in HELPERS}))


def lower_coefficients(program: StepProgram) -> tuple[tuple[SourceFunction, ...], tuple[sympy.Expr, ...]]:
    """The functions that compute a lowered program's coefficients, and every expression printed in them.

    Raises ValueError for anything the printer has no spelling for.
    """
    definitions, coefficients = program.definitions, list(program.coefficients.values())
    integrands = [i for q in program.quadratures for i in q.integrands]
    weights = [f for q in program.quadratures for f in q.functions]
    two_times = _needed([*coefficients, *integrands], definitions, 2)
    bodies = [definitions[f](t, s) for f in two_times]
    users = [*coefficients, *bodies, *integrands]
    shared = [f for f in _needed(users, definitions, 1) if any(_called(f, time, users) for time in (t, s, u))]
    passed = [f for f in two_times if _called(f, None, [*coefficients, *integrands])]
    printer = SourcePrinter("math")
    functions, printed = [], [*users]

    if shared:
        chain = _needed([f(t) for f in shared], definitions, 1)
        printed += [definitions[f].body for f in chain]
        functions.append(_at(chain, shared, definitions))
    if two_times:
        lines = _fetch(shared, bodies, (t, s))
        for f, body in zip(two_times, bodies, strict=True):
            lines += _assign(str(f), body, printer)
        functions.append(
            SourceFunction(
                "_between(t: float, s: float)",
                f"{_list(passed)} for the step from t to s.",
                (*lines, *_return([str(f) for f in passed])),
            )
        )
    if weights:
        lines = _fetch(shared, integrands, (u, s))
        if any(_called(f, None, integrands) for f in passed):
            lines.append(f"{_targets(passed, integrands)} = _between(u, s)")
        lines += _return([printer.doprint(e) for e in integrands])
        functions.append(
            SourceFunction(
                "_integrands(u: float, s: float)", f"The integrands of {_list(weights)} at u, s < u < t.", tuple(lines)
            )
        )
    lines = [f"{h} = t - s"] if any(e.has(h) for e in coefficients) else []
    lines += _fetch(shared, coefficients, (t, s))
    if any(_called(f, None, coefficients) for f in passed):
        lines.append(f"{_targets(passed, coefficients)} = _between(t, s)")
    if weights:
        lines.append(_unpack(map(str, weights)) + " = _integrate(t, s)")
    for name, e in program.coefficients.items():
        lines += _assign(name, e, printer)
    lines += _return(list(program.coefficients))
    docstring = "The coefficients of the step from t to s, in float64, in the order of COEFFICIENTS."
    functions.append(SourceFunction("coefficients(t: float, s: float)", docstring, tuple(lines)))
    return tuple(functions), tuple(printed)


def lower_step(program: StepProgram) -> tuple[str, ...]:
    """The body of ``step``: each Evaluate and Combine of a lowered program as a line of torch source."""
    blocks, lines, changed = program.blocks, [], False
    used = {(o.evaluation, o.component) for term in program.terms if isinstance(o := term.operand, Output)}
    lines += _bracketed(list(program.coefficients), "(", ") = c", _unpack(program.coefficients) + " = c")
    if program.noises:
        lines.append(_unpack(program.noises) + " = noise")
    lines.append(f"{blocks[0]} = z" if len(blocks) == 1 else f"{', '.join(blocks)} = z.chunk({len(blocks)}, dim=1)")
    for st in program.statements:
        if isinstance(st, Evaluate):
            if st.time not in (t, s):
                raise ValueError(f"an evaluation at time {st.time}; generated steps evaluate at t or s")
            state = _cat(blocks) if changed else "z"
            names = [f"{st.name}_{b}" if (st.name, b) in used else "_" for b in blocks]
            call = f"network({state}, {st.time})"
            lines.append(
                f"{names[0]} = {call}"
                if len(blocks) == 1
                else f"{', '.join(names)} = {call}.chunk({len(blocks)}, dim=1)"
            )
        else:
            changed = True
            targets = ", ".join(block for block, _ in st.updates)
            sources = [" + ".join(_term(term) for term in terms) for _, terms in st.updates]
            lines.append(f"# {st.label}")
            lines += _bracketed(sources, f"{targets} = (", ")", f"{targets} = {', '.join(sources)}")
    lines.append(f"return {_cat(blocks)}")
    return tuple(lines)


def lower_kernel(
    program_functions: Sequence[sympy.Function], definitions: Definitions
) -> tuple[tuple[str, ...], tuple[sympy.Expr, ...]]:
    """Assignments of the functions of one time, and all they need, as torch source; and the expressions printed."""
    chain = _needed([f(t) for f in program_functions], definitions, 1)
    printer = SourcePrinter("torch", (t,))
    lines = [line for f in chain for line in _assign(str(f), definitions[f].body, printer)]
    return (*lines, *_return([str(f) for f in program_functions])), tuple(definitions[f].body for f in chain)


def _needed(expressions: Iterable[sympy.Expr], definitions: Definitions, arity: int) -> list[sympy.Function]:
    """The defined functions of ``arity`` arguments that the expressions use, directly or not, in table order."""
    used: set[sympy.Function] = set()
    pending = {c.func for e in expressions for c in e.atoms(AppliedUndef)}
    while pending:
        f = pending.pop()
        if f in definitions and f not in used:
            used.add(f)
            pending |= {c.func for c in definitions[f].body.atoms(AppliedUndef)} - used
    return [f for f in definitions if f in used and len(definitions[f].arguments) == arity]


def _called(f: sympy.Function, time: sympy.Symbol | None, expressions: Iterable[sympy.Expr]) -> bool:
    """Whether an expression calls f directly, at ``time`` or anywhere."""
    calls = (c for e in expressions for c in e.atoms(AppliedUndef) if c.func == f)
    return any(time is None or c.args == (time,) for c in calls)


def _at(
    chain: Sequence[sympy.Function], returned: Sequence[sympy.Function], definitions: Definitions
) -> SourceFunction:
    printer = SourcePrinter("math", (t,))
    lines = [line for f in chain for line in _assign(str(f), definitions[f].body, printer)]
    return SourceFunction(
        "_at(t: float)", f"{_list(returned)} at time t.", (*lines, *_return([str(f) for f in returned]))
    )


def _fetch(shared: Sequence[sympy.Function], expressions: Expressions, times: Sequence[sympy.Symbol]) -> list[str]:
    """Lines that unpack ``_at(time)`` into f_time, for the times at which the expressions need any."""
    lines = []
    for time in times:
        if any(_called(f, time, expressions) for f in shared):
            names = [f"{f}_{time}" if _called(f, time, expressions) else "_" for f in shared]
            lines.append(f"{_unpack(names)} = _at({time})")
    return lines


def _targets(functions: Sequence[sympy.Function], expressions: Expressions) -> str:
    names = [str(f) if _called(f, None, expressions) else "_" for f in functions]
    return _unpack(names)


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
