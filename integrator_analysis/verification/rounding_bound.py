"""What a walk loses to rounding in low precision, bounded by the operations of the step program.

Knows network programs and how a sampler holds its numbers: coefficients are rounded once, the state is float32 where
the network is float32 or narrower, and the network takes and gives numbers of its own precision. Runs no torch.
Source: Higham, Accuracy and Stability of Numerical Algorithms, section 3.1: the computed sum of n products c v is off
by at most (n + 1) u sum |c v| to first order, one rounding of each coefficient and product and n - 1 of the sum. Each
sum and each network output adds one rounding error. The state at the end depends on each of them linearly, with a
factor that the program gives with its sign.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from integrator_analysis.analysis.coefficients import CoefficientTable
from integrator_analysis.program.network_program import NetworkProgram
from integrator_analysis.program.statements import Block, Evaluate, Output

__all__ = ["NETWORK", "ROUNDOFF", "rounding_bound"]

ROUNDOFF = {"float32": 2.0**-24, "bfloat16": 2.0**-8}
"""The unit roundoff u of each precision."""

NETWORK = (0.5, 0.25)
"""The network of the bound, z -> a z + b: the product is exact in every precision, so that it rounds once."""


@dataclass(frozen=True)
class _Number:
    """Values (n), and the factor with which each rounding error, by its number, is contained in them."""

    value: np.ndarray
    parts: Mapping[int, float] = field(default_factory=dict)


@dataclass
class _Walk:
    """A walk without rounding, which notes a bound (n) of every rounding error that a walk in ``dtype`` makes."""

    program: NetworkProgram
    dtype: str
    bounds: list[np.ndarray]

    @property
    def narrow(self) -> bool:
        """Whether the network's numbers have fewer digits than the state's."""
        return self.dtype != "float32"

    def round_off(self, value: np.ndarray, parts: Mapping[int, float], error: np.ndarray) -> _Number:
        """A number with one more rounding error in it, of the size ``error`` at most."""
        self.bounds.append(error)
        return _Number(value, {**parts, len(self.bounds) - 1: 1.0})

    def sum_products(self, terms: Sequence[tuple[float, _Number]], roundings: int) -> _Number:
        """The sum of factor * number over ``terms``, computed in float32 with so many ``roundings``."""
        parts: defaultdict[int, float] = defaultdict(float)
        for factor, number in terms:
            for error, part in number.parts.items():
                parts[error] += factor * part
        products = [factor * number.value for factor, number in terms]
        size = np.sum(np.abs(products), axis=0)
        return self.round_off(np.sum(products, axis=0), parts, roundings * ROUNDOFF["float32"] * size)

    def evaluate_network(self, number: _Number) -> _Number:
        """The network's output. Its input is rounded where it is narrower than the state, its output always."""
        slope, shift = NETWORK
        if self.narrow:
            number = self.round_off(number.value, number.parts, ROUNDOFF[self.dtype] * np.abs(number.value))
        value = slope * number.value + shift
        parts = {error: slope * part for error, part in number.parts.items()}
        return self.round_off(value, parts, ROUNDOFF[self.dtype] * np.abs(value))

    def step(
        self,
        state: Mapping[str, _Number],
        kept: Sequence[Mapping[str, _Number]],
        values: Mapping[str, Any],
        noise: np.ndarray,
    ) -> tuple[dict[str, _Number], list[Mapping[str, _Number]]]:
        """The state after one step, and the kept outputs, newest first; ``values`` are the step's coefficients."""
        program, state = self.program, dict(state)
        outputs = {(name, b): number for name, old in zip(program.past, kept, strict=True) for b, number in old.items()}
        for statement in program.statements:
            if isinstance(statement, Evaluate):
                places = zip(program.blocks, statement.state or program.blocks, strict=True)
                outputs |= {(statement.name, b): self.evaluate_network(state[place]) for b, place in places}
                continue
            before = dict(state)
            for block, terms in statement.updates:
                known = []
                for term in terms:
                    match term.operand:
                        case Block(name):
                            number = before[name]
                        case Output(evaluation, component):
                            number = outputs[evaluation, component]
                        case draw:
                            number = _Number(noise[program.noises.index(draw.name)])
                    known.append((float(np.real(values.get(str(term.coefficient), 1.0))), number))
                state[block] = self.sum_products(known, len(terms) + 1)
        if not program.history:
            return state, []
        now = {b: state.get(f"{program.kept}_{b}") or outputs[program.kept, b] for b in program.blocks}
        return state, [now, *kept[:-1]]


def rounding_bound(
    table: CoefficientTable, z: np.ndarray, times: Sequence[float], noise: np.ndarray, dtype: str
) -> tuple[np.ndarray, np.ndarray]:
    """The state (n, k) after a walk along ``times`` without rounding, and how far a walk in ``dtype`` is off at most.

    ``z`` (n, k) and ``noise`` (steps, noises, n) are numbers of that precision.
    """
    program = table.program
    walk = _Walk(program, dtype, [])

    def row(*step: Any) -> dict[str, Any]:
        return dict(zip(table.names, table(*step), strict=True))

    state: Mapping[str, _Number] = {b: _Number(z[:, n]) for n, b in enumerate(program.blocks)}
    kept: Sequence[Mapping[str, _Number]] = [{b: _Number(np.zeros(len(z))) for b in program.blocks}] * program.history
    if program.primed:
        kept = walk.step(state, kept, row(times[0], times[0]), noise[0])[1][:1] * program.history
    for i, (start, end) in enumerate(pairwise(times)):
        state, kept = walk.step(state, kept, row(start, end, times[:i][::-1]), noise[i])
    numbers = [state[b] for b in program.blocks]
    value = np.stack([number.value for number in numbers], axis=1)
    bounds = [sum(abs(part) * walk.bounds[error] for error, part in number.parts.items()) for number in numbers]
    return value, np.stack(bounds, axis=1) + walk.narrow * ROUNDOFF[dtype] * np.abs(value)
