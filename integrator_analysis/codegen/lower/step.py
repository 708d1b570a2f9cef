"""The function ``step`` of a generated module: statements of the step program as lines of torch.

Knows statements and operands; coefficients reach it by name, as one row of a table.
"""

from __future__ import annotations

from collections.abc import Sequence

from integrator_analysis.algebra.symbols import s, t
from integrator_analysis.codegen.lower.lines import WIDTH, bracketed_lines, unpacking_target
from integrator_analysis.program.network_program import NetworkProgram
from integrator_analysis.program.statements import Block, Combine, Evaluate, Noise, Operand, Output, Term

__all__ = ["lower_step"]


def lower_step(program: NetworkProgram) -> tuple[str, ...]:
    """The body of ``step``: each Evaluate and Combine as a line of torch source."""
    blocks, changed = program.blocks, False
    used = {(o.evaluation, o.component) for term in program.terms if isinstance(o := term.operand, Output)}
    used |= {(program.kept, b) for b in blocks}
    lines = bracketed_lines(list(program.coefficients), "(", ") = c", unpacking_target(program.coefficients) + " = c")
    if program.noises:
        lines.append(unpacking_target(program.noises) + " = noise")
    lines.append(_split(blocks, "z"))
    for j, name in enumerate(program.past):
        lines.append(_split([f"{name}_{b}" if (name, b) in used else "_" for b in blocks], f"past[{j}]"))
    for st in program.statements:
        if isinstance(st, Evaluate):
            # Until a statement changes a block, z is the state: it is not put together again.
            state = _cat(st.state) if st.state else _cat(blocks) if changed else "z"
            time = st.time if st.time in (t, s) else f"time_{st.name}"
            names = [f"{st.name}_{b}" if (st.name, b) in used else "_" for b in blocks]
            lines.append(_split(names, f"network({state}, {time})"))
        else:
            changed |= any(block in blocks for block, _ in st.updates)
            lines += _combine_lines(st)
    out = _cat(blocks)
    if program.history:
        out += ", " + _cat([f"{program.kept}_{b}" for b in blocks])
    lines.append(f"return {out}")
    return tuple(lines)


def _combine_lines(combine: Combine) -> list[str]:
    """One assignment, of all right-hand sides at once: they read the state before it."""
    targets = ", ".join(block for block, _ in combine.updates)
    sums = [_sum(terms) for _, terms in combine.updates]
    single = f"{targets} = {', '.join(sums)}"
    lines = [f"# {combine.label}"]
    if len(sums) == 1 and len(single) > WIDTH:
        first, *rest = map(_term, combine.updates[0][1])
        return [*lines, f"{targets} = (", f"    {first}", *(f"    + {term}" for term in rest), ")"]
    return lines + bracketed_lines(sums, f"{targets} = (", ")", single)


def _split(names: Sequence[str], source: str) -> str:
    """names = the blocks of a tensor."""
    if len(names) == 1:
        return f"{names[0]} = {source}"
    return f"{', '.join(names)} = {source}.chunk({len(names)}, dim=1)"


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
