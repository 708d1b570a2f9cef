"""The functions of generated source that describe the process: perturbation kernel, log-SNR and their like.

Knows no scheme.
"""

from __future__ import annotations

from collections.abc import Sequence

import sympy

from integrator_analysis.algebra.symbols import t
from integrator_analysis.codegen.lower.calls import needed_functions, numbers_of
from integrator_analysis.codegen.lower.lines import SourceFunction, assignment_lines, return_lines, stacked_lines
from integrator_analysis.codegen.printer import SourcePrinter
from integrator_analysis.parametrisation.data_prediction import data_weights
from integrator_analysis.parametrisation.signal_to_noise import log_snr, measures
from integrator_analysis.processes import Process

__all__ = ["lower_data_weights", "lower_kernel", "lower_log_snr"]

TIMES, AS_TENSOR = "t: Tensor", "t = torch.as_tensor(t, dtype=torch.float64)"
"""How a function of times declares them, and how it takes numbers as well."""


def lower_kernel(
    functions: Sequence[sympy.Function], process: Process
) -> tuple[tuple[str, ...], tuple[sympy.Expr, ...]]:
    """Lines of torch that compute and return ``functions`` of t, and the expressions printed in them."""
    definitions = process.definitions
    chain, numbers = (
        needed_functions([f(t) for f in functions], definitions, 1),
        numbers_of(definitions, process.parameters),
    )
    printer = SourcePrinter(numbers, (t,))
    lines = [line for f in chain for line in assignment_lines(str(f), definitions[f].body, printer)]
    results = [f"torch.full_like(t, {f})" if f in numbers else str(f) for f in functions]
    return (*lines, *return_lines(results)), tuple(definitions[f].body for f in chain)


def lower_log_snr(process: Process) -> tuple[SourceFunction, tuple[sympy.Expr, ...]]:
    """``log_snr(t)`` of a process, for time grids; and every expression printed in it.

    On several blocks with a network for eps it follows from ``data_weights``: the factors of eps in the predicted x_0
    have the norm sigma/alpha.
    """
    docstring = "lambda(t), half the logarithm of the signal-to-noise ratio, at times of any shape."
    k = len(process.blocks)
    if k > 1 and process.network == "eps":
        lines = [f"return -torch.log(torch.linalg.vector_norm(data_weights(t)[..., {k}:], dim=-1))"]
        return SourceFunction(f"log_snr({TIMES})", docstring, tuple(lines), "Tensor"), ()
    definitions = process.definitions.with_(measures(process))
    *chain, last = needed_functions([log_snr(t)], definitions, 1)
    printer = SourcePrinter(numbers_of(definitions, process.parameters), (t,))
    lines = [AS_TENSOR]
    lines += [line for f in chain for line in assignment_lines(str(f), definitions[f].body, printer)]
    lines.append(f"return {printer.doprint(definitions[last].body)}")
    function = SourceFunction(f"log_snr({TIMES})", docstring, tuple(lines), "Tensor")
    return function, tuple(definitions[f].body for f in (*chain, last))


def lower_data_weights(process: Process) -> tuple[SourceFunction, tuple[sympy.Expr, ...]] | None:
    """``data_weights(t)`` of a process, for a step to no noise; and every expression printed in it.

    None where the network's output does not tell x_0.
    """
    weights, named = data_weights(process)
    if not weights:
        return None
    definitions = process.definitions.with_(named)
    chain = needed_functions(weights, definitions, 1)
    printer = SourcePrinter(numbers_of(definitions, process.parameters), (t,))
    lines = [AS_TENSOR]
    lines += [line for f in chain for line in assignment_lines(str(f), definitions[f].body, printer)]
    lines += stacked_lines([printer.doprint(weight) for weight in weights])
    docstring = (
        "Factors along a last dimension, of z's blocks and then of the network output's: the predicted x_0 at times t "
        "is the sum of the blocks times their factors."
    )
    function = SourceFunction(f"data_weights({TIMES})", docstring, tuple(lines), "Tensor")
    return function, (*(definitions[f].body for f in chain), *weights)
