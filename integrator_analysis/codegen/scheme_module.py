"""Generated files: a scheme's module and a process's kernel module.

Knows what a file holds, and in which order; knows no mathematics. Output is the same text on every run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import sympy

from integrator_analysis.algebra.symbols import u
from integrator_analysis.analysis.accuracy.local_error import LocalError
from integrator_analysis.codegen.header import header, package_version
from integrator_analysis.codegen.lower.coefficients import lower_coefficients, special_functions, tail_of
from integrator_analysis.codegen.lower.kernel import lower_data_weights, lower_kernel, lower_log_snr
from integrator_analysis.codegen.lower.lines import SourceFunction
from integrator_analysis.codegen.lower.step import lower_step
from integrator_analysis.codegen.printer import SourcePrinter
from integrator_analysis.codegen.templates import render
from integrator_analysis.parametrisation.frames import variance
from integrator_analysis.processes import Process
from integrator_analysis.program.given_table import table_of
from integrator_analysis.program.network_program import NetworkProgram
from integrator_analysis.program.step_program import StepProgram

__all__ = ["kernel_source", "module_name", "scheme_source"]

PANEL_NODES = 8
"""For an integral in log u over a panel of a factor e**(1/4)."""


def module_name(spec: str) -> str:
    """The module name of a spec: every character that is not alphanumeric becomes an underscore.

    >>> module_name("vp/lambda-DDIM-I")
    'vp_lambda_DDIM_I'
    """
    return re.sub(r"[^0-9A-Za-z]+", "_", spec).strip("_")


def scheme_source(
    spec: str,
    title: str,
    citation: str,
    program: StepProgram,
    executed: NetworkProgram,
    error: LocalError,
    checks: Sequence[str],
) -> str:
    """The torch module of one scheme: a docstring, parameters, coefficient functions and ``step``.

    ``title``, ``citation`` and ``checks``, what a verification measures, are words for the docstring.
    """
    functions, printed = lower_coefficients(executed)
    for lowered in (lower_log_snr(program.process), lower_data_weights(program.process)):
        if lowered is not None:
            functions, printed = (*functions, lowered[0]), (*printed, *lowered[1])
    body = "\n\n" + _body(spec, executed, error.order, functions, printed)
    operations = sum(int(sympy.count_ops(e)) for e in dict.fromkeys(printed))
    return '"""' + header(spec, title, citation, program, executed, error, checks, operations, body) + '\n"""' + body


def _body(
    spec: str,
    program: NetworkProgram,
    order: int,
    functions: Sequence[SourceFunction],
    printed: Sequence[sympy.Expr],
) -> str:
    """The module below its docstring: ``functions``, in which the expressions ``printed`` stand, and ``step``."""
    k, table = len(program.blocks), table_of(program)
    given = {variance, *table}
    return render(
        "scheme.py.j2",
        spec=spec,
        process=program.process,
        blocks=_tuple_source(program.blocks),
        order=order,
        grid=program.process.grid_for(order),
        program=program,
        prior=_prior(program.process),
        names=tuple(program.coefficients),
        parameters=_parameters({p: x for p, x in program.parameters.items() if p not in given}, printed),
        special=special_functions(printed),
        rule=_rule(max((q.nodes for q in program.quadratures), default=0)),
        panel_rule=_rule(PANEL_NODES if any("_sum_over_panels" in line for f in functions for line in f.lines) else 0),
        tail=tail_of(program),
        ordered=any(f.signature.startswith("_generator") for f in functions),
        steady=_is_steady(program),
        size=k,
        anchor=program.parameters.get(variance),
        table=tuple(tuple(float(program.parameters[p]) for p in row) for row in table.tolist()),
        powers=max((len(q.functions) + q.lowest for q in program.quadratures), default=1),
        network=program.unknown,
        functions=functions,
        step=lower_step(program),
    )


def kernel_source(process: Process) -> str:
    """The torch module of a process's perturbation kernel: mean, covariance and its Cholesky factor."""
    k, blocks = len(process.blocks), process.blocks
    pairs = [blocks[i] + blocks[j] for i in range(k) for j in range(i + 1)]
    groups = {
        "mean": ([f"mean_{b}" for b in blocks], "psi with E[z_t | x_0] = (psi_x x_0, ...), one tensor per block."),
        "covariance": ([f"covariance_{p}" for p in pairs], "Sigma(t) given x_0, lower triangle row by row."),
        "cholesky": ([f"cholesky_{p}" for p in pairs], "The lower factor of Sigma(t), row by row."),
    }
    functions: list[dict[str, Any]] = []
    printed: list[sympy.Expr] = []
    for name, (names, docstring) in groups.items():
        lines, expressions = lower_kernel([sympy.Function(n) for n in names], process)
        functions.append({"name": name, "docstring": docstring, "lines": lines})
        printed += expressions
    return render(
        "kernel.py.j2",
        process=process,
        blocks=_tuple_source(blocks),
        version=package_version(),
        sympy_version=sympy.__version__,
        prior=_prior(process),
        parameters=_parameters(process.parameters, printed),
        special=special_functions(printed),
        host=any("math." in line for f in functions for line in f["lines"]),
        functions=functions,
    )


def _is_steady(program: NetworkProgram) -> bool:
    """Whether the generator of every ordered exponential is the same at all times."""
    generators = [d.generator for d in program.definitions.values() if d.generator is not None]
    return not any(program.definitions.resolve(e).has(u) for generator in generators for e in generator)


def _parameters(values: Mapping[sympy.Symbol, sympy.Expr], printed: Sequence[sympy.Expr]) -> list[tuple[str, str]]:
    used = {symbol for e in printed for symbol in e.free_symbols}
    printer = SourcePrinter()
    return [(printer.doprint(p), repr(float(v))) for p, v in values.items() if p in used]


def _prior(process: Process) -> tuple[float, ...]:
    """Standard deviation of each block under the prior."""
    covariance = process.prior_covariance.subs(dict(process.parameters))
    return tuple(float(sympy.sqrt(covariance[i, i])) for i in range(len(process.blocks)))


def _rule(nodes: int) -> list[tuple[str, str]]:
    """(node, weight) of the Gauss-Legendre rule on (0, 1); none for no nodes."""
    if not nodes:
        return []
    places, weights = np.polynomial.legendre.leggauss(nodes)
    return [(repr(float((1 + x) / 2)), repr(float(w / 2))) for x, w in zip(places, weights, strict=True)]


def _tuple_source(names: Sequence[str]) -> str:
    return "(" + ", ".join(f'"{name}"' for name in names) + ("," if len(names) == 1 else "") + ")"
