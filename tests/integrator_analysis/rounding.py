"""Rounding of a walk in low precision, predicted from the operations of the step program.

The prediction is the running error bound of a sum of n products (Higham, Accuracy and Stability of Numerical
Algorithms, section 3.1): (n + 1) u sum |c v|, one rounding of each coefficient and product and n - 1 of the sum, beside
what the operands bring along. The state is float32 where the caller's is bfloat16: there only the network rounds more.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch

import integrator_analysis as ia
from integrator_analysis.program import Block, Evaluate, Output

__all__ = ["ROUNDOFF", "network", "predicted"]

ROUNDOFF = {torch.float32: 2.0**-24, torch.bfloat16: 2.0**-8}
Pair = tuple[np.ndarray, np.ndarray]
"""Values, and a bound of their errors."""


def network(z: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """z / 2 + 1/4: the product is exact, so that the network rounds once, in whatever precision it is asked."""
    return z / 2 + 0.25


def predicted(i: ia.Integrator, z: np.ndarray, times: list[float], dtype: torch.dtype) -> Pair:
    """The state (n, k) at the last time in float64, and the bound of what a walk in ``dtype`` loses."""
    program, u, wide = i.program.lowered(), 2.0**-24, ROUNDOFF[dtype]
    state: dict[str, Pair] = {b: (z[:, n], np.zeros(len(z))) for n, b in enumerate(program.blocks)}
    outputs: dict[tuple[str, str], Pair] = {}
    kept: list[dict[str, Pair]] = [dict.fromkeys(program.blocks, (0 * z[:, 0], 0 * z[:, 0]))] * program.history
    for step, (start, end) in enumerate(pairwise(times)):
        values = dict(zip(i.table.names, i.table(start, end, times[:step][::-1]), strict=True))
        for name, old in zip(program.past, kept, strict=True):
            outputs |= {(name, b): pair for b, pair in old.items()}
        for st in program.statements:
            if isinstance(st, Evaluate):
                for b, place in zip(program.blocks, st.state or program.blocks, strict=True):
                    value, error = state[place]
                    input_rounding = wide * np.abs(value) if dtype != torch.float32 else 0.0
                    result = value / 2 + 0.25
                    outputs[st.name, b] = result, (error + input_rounding) / 2 + wide * np.abs(result)
                continue
            before = dict(state)
            for block, terms in st.updates:
                total, error, size = 0.0, 0.0, 0.0
                for term in terms:
                    factor = float(np.real(values.get(str(term.coefficient), 1.0)))
                    operand = term.operand
                    assert isinstance(operand, Block | Output)
                    known = (
                        before[operand.name]
                        if isinstance(operand, Block)
                        else outputs[operand.evaluation, operand.component]
                    )
                    total = total + factor * known[0]
                    error = error + abs(factor) * known[1]
                    size = size + np.abs(factor * known[0])
                state[block] = total, error + (len(terms) + 1) * u * size
        if program.history:
            now = {b: state.get(f"{program.kept}_{b}", outputs.get((program.kept, b))) for b in program.blocks}
            kept = [now, *kept[:-1]]
    value, error = (np.stack([state[b][n] for b in program.blocks], axis=1) for n in (0, 1))
    return value, error + (wide * np.abs(value) if dtype != torch.float32 else 0.0)
