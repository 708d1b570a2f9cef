"""The functions of generated source that describe the process: perturbation kernel, log-SNR and their like.

Knows no scheme.
"""

from __future__ import annotations

from collections.abc import Sequence

import sympy

from integrator_analysis.algebra.definitions import Definitions
from integrator_analysis.algebra.symbols import t
from integrator_analysis.codegen.lower.calls import needed_functions
from integrator_analysis.codegen.lower.lines import SourceFunction, assignment_lines, return_lines
from integrator_analysis.codegen.printer import SourcePrinter
from integrator_analysis.parametrisation.data_prediction import data_weights
from integrator_analysis.parametrisation.signal_to_noise import log_snr, measures
from integrator_analysis.processes import Process

__all__ = ["lower_data_weights", "lower_kernel", "lower_log_snr"]


def lower_kernel(
    functions: Sequence[sympy.Function], definitions: Definitions
) -> tuple[tuple[str, ...], tuple[sympy.Expr, ...]]:
    """Lines of torch that compute and return ``functions`` of t, and the expressions printed in them."""
    chain = needed_functions([f(t) for f in functions], definitions, 1)
    printer = SourcePrinter("torch", (t,))
    lines = [line for f in chain for line in assignment_lines(str(f), definitions[f].body, printer)]
    constant = {f for f in functions if not definitions[f].body.has(t)}
    results = [f"torch.full_like(t, {f})" if f in constant else str(f) for f in functions]
    return (*lines, *return_lines(results)), tuple(definitions[f].body for f in chain)


def lower_log_snr(process: Process) -> tuple[SourceFunction, tuple[sympy.Expr, ...]]:
    """``log_snr(t)`` of a process on the host, for time grids; and every expression printed in it.

    On several blocks with a network for eps it follows from ``data_weights``: the factors of eps in the predicted x_0
    have the norm sigma/alpha.
    """
    docstring = "lambda(t), half the logarithm of the signal-to-noise ratio."
    k = len(process.blocks)
    if k > 1 and process.network == "eps":
        lines = [f"return -math.log(math.hypot(*data_weights(t)[{k}:]))"]
        return SourceFunction("log_snr(t: float)", docstring, tuple(lines), "float"), ()
    definitions = process.definitions.with_(measures(process))
    *chain, last = needed_functions([log_snr(t)], definitions, 1)
    printer = SourcePrinter("math", (t,))
    lines = [line for f in chain for line in assignment_lines(str(f), definitions[f].body, printer)]
    lines.append(f"return {printer.doprint(definitions[last].body)}")
    function = SourceFunction("log_snr(t: float)", docstring, tuple(lines), "float")
    return function, tuple(definitions[f].body for f in (*chain, last))


def lower_data_weights(process: Process) -> tuple[SourceFunction, tuple[sympy.Expr, ...]] | None:
    """``data_weights(t)`` of a process on the host, for a step to no noise; and every expression printed in it.

    None where the network's output does not tell x_0.
    """
    weights, named = data_weights(process)
    if not weights:
        return None
    definitions = process.definitions.with_(named)
    chain = needed_functions(weights, definitions, 1)
    printer = SourcePrinter("math", (t,))
    lines = [line for f in chain for line in assignment_lines(str(f), definitions[f].body, printer)]
    lines += return_lines([printer.doprint(weight) for weight in weights])
    docstring = "The factors of z's blocks, then of the network output's: their sum is the predicted x_0 at time t."
    function = SourceFunction("data_weights(t: float)", docstring, tuple(lines))
    return function, (*(definitions[f].body for f in chain), *weights)
