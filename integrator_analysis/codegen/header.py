"""The header of a generated module: what it is, its process, its order and leading error, what was checked, hashes.

Knows words and line widths; the code below the header comes from the other modules of this folder.
"""

from __future__ import annotations

import hashlib
import textwrap
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version

import sympy

from integrator_analysis.analysis.accuracy.local_error import LocalError
from integrator_analysis.analysis.accuracy.terms_to_print import PrintedError, errors_to_print, sentence_on_omissions
from integrator_analysis.analysis.expansion.trees import ElementaryDifferential
from integrator_analysis.codegen.printer import join_sum
from integrator_analysis.codegen.templates import render
from integrator_analysis.program.network_program import NetworkProgram
from integrator_analysis.program.step_program import StepProgram

__all__ = ["MAX_LINES", "header", "package_version"]

WIDTH = 116

MAX_LINES = 40
"""Lines of a header. Where there would be more, the end of the scheme's account is left to `derive`."""


def header(
    spec: str,
    title: str,
    citation: str,
    program: StepProgram,
    executed: NetworkProgram,
    error: LocalError,
    checks: Sequence[str],
    operations: int,
    body: str,
) -> str:
    """The docstring's text for the module of ``program``, at most MAX_LINES lines.

    ``checks`` names what a verification measures; ``operations`` counts those that tabulate a step; the hash is that
    of ``body``, which is what is certified.
    """
    printed = errors_to_print(error)
    facts = {
        "spec": spec,
        "title": title,
        "version": package_version(),
        "sympy_version": sympy.__version__,
        "citation": citation,
        "program": program,
        "values": "".join(f", {p} = {float(value):g}" for p, value in program.parameters.items()),
        "error": error,
        "power": _power(error),
        "unknown": "s_x: score component" if program.unknown == "score" else _component(program.unknown),
        "derivatives": _notation_of_derivatives(program.blocks[-1], printed),
        "leading": {block: _sum(p) for block, p in printed.items()},
        "omissions": sentence_on_omissions(printed, spec),
        "operations": operations,
        "multiply_adds": len(executed.terms),
        "checks": checks,
        "terms_hash": executed.terms_hash,
        "body_hash": hashlib.sha256(body.encode()).hexdigest(),
    }
    account = list(program.account)
    # What has to be known stands in every header; the account gives way where there is no room for all of it.
    lines = _wrapped(render("header.py.j2", account=account, **facts))
    if len(lines) > MAX_LINES:
        account = _wrapped("\n".join(account))[: MAX_LINES - len(lines) - 1]
        account.append(f"...: the whole account is printed by `integrator-analysis derive {spec}`.")
        lines = _wrapped(render("header.py.j2", account=account, **facts))
    return "\n".join(lines)


def package_version() -> str:
    """This project's version, installed or not."""
    try:
        return version("integrator-analysis")
    except PackageNotFoundError:
        return "0.1.0"


def _power(error: LocalError) -> str:
    """h**3; by block where blocks differ: h**3 (x), h**4 (m)."""
    powers = {f"h**{n}" for n in error.exponents.values()}
    return powers.pop() if len(powers) == 1 else ", ".join(f"h**{n} ({b})" for b, n in error.exponents.items())


def _component(unknown: str) -> str:
    return f"{unknown}_x: {unknown} prediction's component"


def _notation_of_derivatives(block: str, printed: Mapping[str, PrintedError]) -> str:
    """How derivatives are written, in words, as far as the header needs it."""
    words = f"d_{block}: derivative by {block}"
    applied = any(isinstance(term.differential, ElementaryDifferential) for p in printed.values() for term in p.terms)
    return f"{words}; d_{block} g[u]: that of g along u" if applied else words


def _sum(printed: PrintedError) -> str:
    """One block's leading coefficient, with an ellipsis where terms are left out."""
    if printed.whole is not None:
        return str(printed.whole)
    terms = join_sum([str(term) for term in printed.terms])
    return f"{terms} + ..." if len(printed.terms) < printed.total else terms


def _wrapped(text: str) -> list[str]:
    """The lines of a text, each broken at WIDTH, with its continuation further in."""
    lines: list[str] = []
    for line in text.splitlines():
        indent = " " * (len(line) - len(line.lstrip()))
        further = indent + "    "
        lines += textwrap.wrap(line, WIDTH, subsequent_indent=further, break_long_words=False, break_on_hyphens=False)
        lines += [""] * (not line)
    return lines
