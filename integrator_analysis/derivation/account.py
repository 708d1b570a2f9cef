"""What a derivation says: the sections of prose and formulas that tell a person how a scheme comes about.

Knows step programs, local errors and how to say them; derives nothing. What it says is read from the same program as
everything else. document.py lays it out.
"""

from __future__ import annotations

from collections.abc import Iterable

import sympy
from sympy.core.function import AppliedUndef

from integrator_analysis.algebra.definitions import Definition
from integrator_analysis.algebra.symbols import h, s, t, u
from integrator_analysis.analysis.accuracy.terms_to_print import errors_to_print, sentence_on_omissions
from integrator_analysis.derivation.document import Derivation, Formula, Section
from integrator_analysis.processes import Process
from integrator_analysis.program.network_program import NetworkProgram
from integrator_analysis.program.statements import Block, Evaluate, Noise, Operand, Output, Term
from integrator_analysis.program.step_program import StepProgram
from integrator_analysis.properties import Properties

__all__ = ["derivation_of"]

LINEAR = ("propagator", "psi", "growth", "even_part", "odd_part", "discriminant", "advance", "ratio_difference", "turn")
"""What the functions of two times that a conjugation defines are called."""

LETTERS = {"score": "s", "residual": "r", "velocity": "v", "x0": "y", "eps-rotated": "eps", "anchor": "eps"}
"""The letter of what is evaluated, where it is not the parametrisation's own name."""


def derivation_of(properties: Properties) -> Derivation:
    """The derivation of one scheme on one process, from the process to the local error."""
    program = properties.program
    sections = [_process(program), _parametrisation(program), Section("The step", program.account)]
    executed = properties.network_program
    sections += [_linear(executed), _update(program), _executed(executed), _definitions(executed), _order(properties)]
    kept = tuple(section for section in sections if section.items)
    return Derivation(properties.spec, properties.scheme.summary, kept)


def _symbol(name: str) -> sympy.Symbol:
    return sympy.Symbol(name)


def _plain(matrix: sympy.MatrixBase) -> sympy.Expr | sympy.MatrixBase:
    """``matrix``, or its entry where it has but one."""
    return matrix[0, 0] if matrix.shape == (1, 1) else sympy.Matrix(matrix)


def _process(program: StepProgram) -> Section:
    process = program.process
    values = ", ".join(f"{name} = {float(value):g}" for name, value in program.parameters.items())
    blocks = f"block{'s' if len(process.blocks) > 1 else ''} {' and '.join(process.blocks)}"
    return Section(
        "Process",
        (
            f"Process: {process.title}; {values}" if values else f"Process: {process.title}",
            f"dz = F z dt + G dw on the {blocks}, t in [{process.t_min:g}, {process.t_max:g}]; {process.source}.",
            Formula(_symbol("F"), _plain(process.drift), note="drift"),
            Formula(_symbol("D"), _plain(process.diffusion), note="diffusion, D = G G^T"),
            Formula(sympy.Function("beta")(t), process.schedule, note="schedule"),
        ),
    )


def _parametrisation(program: StepProgram) -> Section:
    par = program.parametrisation
    items: list[str | Formula] = [
        f"The score is written s = C_skip z + C_out n. The scheme approximates n, the {par.name} prediction.",
        Formula(_symbol("C_skip"), _plain(par.c_skip)),
        Formula(_symbol("C_out"), _plain(par.c_out)),
        "The reverse step follows z' = L z + eta n, L = F - (1/2) D C_skip, eta = -(1/2) D C_out"
        + (f", with noise of strength kappa = {par.noise}." if par.noise else "."),
        Formula(_symbol("L"), _plain(par.drift)),
        Formula(_symbol("eta"), _plain(par.eta)),
    ]
    return Section("Parametrisation and transformed ODE", tuple(items))


def _linear(executed: NetworkProgram) -> Section:
    """The functions of two times: the propagator E, the weights psi and what they are made of."""
    items: list[str | Formula] = [
        _defined(f, d) for f, d in executed.definitions.items() if str(f).startswith(LINEAR) and f in _used(executed)
    ]
    for q in executed.quadratures:
        for k, group in enumerate(q.functions, start=q.lowest):
            share = sympy.Symbol("x") ** k
            items += [
                Formula(f(t, s), sympy.Integral(integrand * share, (u, s, t)), note=_rule(q.nodes, q.rule, k))
                for f, integrand in zip(group, q.integrands, strict=True)
            ]
    return Section("Propagator and weights", tuple(items))


def _rule(nodes: int, rule: str, power: int) -> str:
    share = "; x is the share of the way from t to s" if power else ""
    return f"{nodes} Gauss-Legendre nodes in {rule}(u){share}"


def _defined(function: sympy.Function, definition: Definition) -> Formula:
    left = function(*definition.arguments)
    if definition.generator is not None:
        entry = divmod(int(definition.body), definition.generator.rows)
        return Formula(left, definition.generator, "=", f"entry {entry} of E, dE/du = E M(u), with the M(u) shown")
    if definition.integral:
        return Formula(left, sympy.Integral(definition.body, (u, *definition.arguments[::-1])))
    return Formula(left, definition.body)


def _update(program: StepProgram) -> Section:
    """The statements of the step as they are derived, in the unknown that the scheme approximates."""
    letter = LETTERS.get(program.unknown, program.unknown)
    items: list[str | Formula] = [
        f"{letter}_x@k, in LaTeX {letter}_x with (k) above, is the component x of evaluation k of this step. "
        "Evaluations -1, -2, ... are those of the steps before."
    ]
    for number, st in enumerate(program.statements):
        if isinstance(st, Evaluate):
            at = [_symbol(_state(b)) for b in st.state or program.blocks]
            call = sympy.Function(letter)(*at, st.time)
            items.append(Formula(_symbol(f"{letter}@{st.name.rpartition('_')[2]}"), call, note="one evaluation"))
            continue
        for n, (block, terms) in enumerate(st.updates):
            note = st.label if n == 0 else ""
            items.append(Formula(_symbol(_state(block)), _sum(terms, letter), "<-", note))
        if number == program.cycle - 1:
            items.append("So far the step before is mended; now follows the step itself.")
    return Section("Update from t to s = t - h", tuple(items))


def _state(name: str) -> str:
    """The symbol's name of a block: x_1, of stage 1, as x@1, which is written with (1) above."""
    block, _, stage = name.partition("_")
    return f"{block}@{stage}" if stage else block


def _sum(terms: Iterable[Term], letter: str) -> sympy.Expr:
    products = [sympy.Mul(term.coefficient, _operand(term.operand, letter), evaluate=False) for term in terms]
    products = [p.args[1] if p.args[0] == 1 else p for p in products]
    return sympy.Add(*products, evaluate=False) if len(products) > 1 else products[0]


def _operand(operand: Operand, letter: str) -> sympy.Symbol:
    match operand:
        case Block(name) if name.startswith("unknown_"):
            _, number, component = name.split("_", 2)
            return _symbol(f"{letter}_{component}@{number}")
        case Block(name):
            return _symbol(_state(name))
        case Output(evaluation, component):
            kind, _, number = evaluation.rpartition("_")
            return _symbol(f"{letter}_{component}@{'-' if kind == 'past' else ''}{number}")
        case Noise(name):
            return _symbol(name)


def _executed(executed: NetworkProgram) -> Section:
    network = executed.parametrisation.name
    if not executed.coefficients:
        return Section("Coefficients", ())
    items: list[str | Formula] = [
        f"The same step in what the network returns ({network}). Coefficients are computed once per grid:"
    ]
    items += [Formula(_symbol(name), expression) for name, expression in executed.coefficients.items()]
    return Section("Coefficients of the step, as executed", tuple(items))


def _definitions(executed: NetworkProgram) -> Section:
    """The functions of one time, and the others that the formulas above use without defining them."""
    used = _used(executed)
    table = {f: d for f, d in executed.definitions.items() if f in used and not str(f).startswith(LINEAR)}
    return Section("where", tuple(_defined(f, d) for f, d in table.items() if str(f) != "beta"))


def _used(executed: NetworkProgram) -> set[sympy.Function]:
    """The functions that the coefficients, and what they call, are made of."""
    par, process = executed.parametrisation, executed.process
    expressions = [*executed.coefficients.values(), *(e for q in executed.quadratures for e in q.integrands)]
    expressions += [*par.drift, *par.eta, *process.drift, *process.diffusion]
    expressions += [e for flow in executed.flows for e in (*flow.generator, *(flow.source or ()))]
    expressions += [] if executed.variable is None else [executed.variable]
    used: set[sympy.Function] = set()
    while expressions:
        calls = {c.func for c in expressions.pop().atoms(AppliedUndef)} - used
        used |= calls
        for f in calls & set(executed.definitions):
            definition = executed.definitions[f]
            expressions.append(definition.body)
            expressions += [] if definition.generator is None else list(definition.generator)
    return used


LARGE_GAIN = 200
"""Above it a step over half of the interval says so. It is 42 on VP, whose first steps go well, and 500 on rectified
flow, where EDM-Heun's do not: reports/start_ups.md."""


def _gain_of_first_step(process: Process) -> float:
    """By how much the mean of the state grows, for given data, from 0.999 t_max to t_max/2."""
    before, after = (process.mean(share * process.t_max)[0, 0] for share in (0.999, 0.5))
    return float(abs(after / before))


def _order(properties: Properties) -> Section:
    error, kind = properties.local_error, "Weak order" if properties.stochastic else "Order"
    items: list[str | Formula] = [f"{kind} {properties.order}, {properties.nfe_per_step} NFE per step"]
    program = properties.program
    if program.history:
        plural = "s" if program.history > 1 else ""
        items.append(
            f"Start-up: the step reads {program.history} earlier evaluation{plural}. While there are fewer, it reads "
            f"those that there are. {properties.walk_order.in_words()}"
            + (" The leading error comes from these first steps alone." if error.startup else "")
        )
    if program.unknown == "eps" and (gain := _gain_of_first_step(properties.process)) > LARGE_GAIN:
        items.append(
            "Near t_max the state holds little of the data: from 0.999 t_max to t_max/2 a step on eps multiplies the "
            f"state, and what its polynomial for eps is off by, by {gain:.0f}. Begin with a short step where eps is "
            "not held constant (start = 'halved'), or take a scheme on x_0."
        )
    what = "of a smooth observable f, expected value" if properties.stochastic else "of each block"
    after = f"after {error.steps} steps" if error.steps > 1 else "after one step"
    items.append(f"Local error (numerical - exact), leading term, {what}, {after}:")
    printed = errors_to_print(error)
    for block, exponent in error.exponents.items():
        coefficient = sympy.Mul(h**exponent, printed[block].expression, evaluate=False)
        items.append(Formula(_symbol(f"error_{block}"), coefficient))
    if omissions := sentence_on_omissions(printed, properties.spec):
        items.append(omissions)
    if any(str(v).startswith("d_") for e in error.leading.values() for v in e.free_symbols):
        items.append(
            "d_xm g is the derivative of g by x and by m at the step's start; d_xm g[u, v] is that derivative along "
            "u and v."
        )
    return Section("Order and local error", tuple(items))
