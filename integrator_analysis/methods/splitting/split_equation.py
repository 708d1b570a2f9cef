"""The equation that a splitting word splits, and the times within its step.

In reverse time dz = [-F z + (1 + kappa^2)/2 G G^T s] dh + kappa G dw has the process's marginals for every kappa. With
R = (1/2) G G^T Sigma_inf^{-1}, the letters split its right-hand side into
    A, B  the position and the momentum row of [-F + kappa^2 R] z + (1 + kappa^2)/2 G G^T s;
    O     -kappa^2 R z with the noise, which leaves the stationary distribution alone;
or, with all rows at once,
    S     (1 + kappa^2) [R z + (1/2) G G^T s];
    O     [-F - (1 + kappa^2) R] z with the noise, which leaves the stationary distribution alone as well;
or, without noise,
    S     (1/2) G G^T s;         L     -F z.
Source: arXiv 2310.07894, section 3.2. Knows which terms belong to which letters; what a letter does with them,
sub_flows.py knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import sympy

from integrator_analysis.algebra.symbols import h, s, t
from integrator_analysis.inputs import InputError
from integrator_analysis.methods.splitting.words import NOISE, Factor
from integrator_analysis.processes import Process
from integrator_analysis.processes.equation import clock, elapsed, rate
from integrator_analysis.program.statements import Node

__all__ = ["SplitEquation", "StepTimes", "split"]


@dataclass(frozen=True)
class SplitEquation:
    """A process's equation as the letters of a word see it, per unit of the clock int beta.

    ``rows`` says whether the letters A and B take one row each, or S takes all. ``kappa`` is the strength of the
    noise. The letters with score have the terms ``linear`` z + ``score`` s, whatever ``relaxation`` R has left to O.
    """

    process: Process
    rows: bool
    kappa: sympy.Expr
    relaxation: sympy.Matrix
    linear: sympy.Matrix
    score: sympy.Matrix

    @property
    def blocks(self) -> tuple[str, ...]:
        return self.process.blocks

    @property
    def size(self) -> int:
        """The number of blocks."""
        return len(self.process.blocks)


def split(factors: Sequence[Factor], process: Process, noise: sympy.Expr, residual: bool) -> SplitEquation:
    """The equation of strength ``noise`` on a process, split for a word; without O the strength is 0.

    ``residual`` leaves the residual s + Sigma_inf^{-1} z in place of the score, so that R z is no linear term of A, B
    and S. Raises InputError on a process that lacks what the letters split.
    """
    letters = {f.letter for f in factors}
    rows, size = "A" in letters, len(process.blocks)
    if rows and size != 2:
        word = "".join(f.letter for f in factors)
        raise InputError(
            f"splitting {word} needs a phase-space process (position and momentum); "
            f"{process.name} has the block(s) {', '.join(process.blocks)}, which the letters S, O and L split"
        )
    stochastic = NOISE in letters
    kappa = noise if stochastic else sympy.S.Zero
    relaxation = _relaxation(process, rows) if stochastic or residual else sympy.zeros(size)
    whole = (1 + kappa**2) * relaxation
    # Beside O, S has R z, which O takes out of the drift; beside L, which has the whole drift, it has none.
    of_score = whole if stochastic else sympy.zeros(size)
    linear = -process.drift_per_unit + kappa**2 * relaxation if rows else of_score
    return SplitEquation(
        process=process,
        rows=rows,
        kappa=kappa,
        relaxation=relaxation,
        linear=linear - whole if residual else linear,
        score=(1 + kappa**2) / 2 * (process.diffusion / rate(t)).applyfunc(sympy.cancel),
    )


def _relaxation(process: Process, rows: bool) -> sympy.Matrix:
    """R per unit of the clock: (1/2) D Sigma_inf^{-1}; 0 where nothing drifts and noise alone grows."""
    if process.diffusion_per_unit.has(clock):
        raise InputError(
            f"O and flow residual on {process.name}: its diffusion is no multiple of its drift at all times"
        )
    if process.stationary_covariance is not None:
        relaxation = process.diffusion_per_unit * process.stationary_covariance**-1 / 2
        if rows and not relaxation.is_diagonal():
            raise InputError(f"O of a word over A and B: the noise of {process.name} couples position and momentum")
        return relaxation
    if rows or any(process.drift_per_unit):
        raise InputError(f"O and flow residual need a stationary distribution, or no drift; {process.name} has neither")
    return sympy.zeros(len(process.blocks))


@dataclass
class StepTimes:
    """The times within a step by their shares of the way from t to s; ``nodes`` names those that are asked for."""

    nodes: dict[sympy.Rational, Node] = field(default_factory=dict)

    def at(self, share: sympy.Expr) -> sympy.Expr:
        """The time at a share of the way, a node's symbol if it lies strictly between."""
        if share in (0, 1):
            return s if share == 1 else t
        if not share.is_Rational:
            return t - share * h
        if share not in self.nodes:
            self.nodes[share] = Node(sympy.Symbol(f"t_{len(self.nodes) + 1}", positive=True), share)
        return self.nodes[share].symbol

    def elapsed(self, start: sympy.Expr, end: sympy.Expr) -> sympy.Expr:
        """int beta over the part of the step between two shares."""
        return elapsed(self.at(start), self.at(end)) if start != end else sympy.S.Zero
