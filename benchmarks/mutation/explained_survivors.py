"""Mutants of the project's own modules that pass their tests, and why: they compute the same, or nothing is claimed."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["EXPLAINED"]

EXPLAINED: Mapping[tuple[str, str], str] = {
    (
        "rest = tuple(0 if n in positions else e for n, e in enumerate(exponents))",
        "rest = tuple(1 if n in positions else e for n, e in enumerate(exponents))",
    ): "It is what monomials are grouped by: any constant in the places of the free symbols will do.",
    (
        "return bool(np.abs(result - exact).max() <= EXACT * max(1.0, np.abs(exact).max()))",
        "return bool((np.abs(result - exact).max() < EXACT * max(1.0, np.abs(exact).max())))",
    ): "A comparison of rounding errors with a tolerance: they are never equal.",
    (
        "at = {b: self.state[name] for b, name in zip(self.program.blocks, names, strict=True)}",
        "at = {b: self.state[name] for b, name in zip(self.program.blocks, names, strict=False)}",
    ): "An assertion: a state has a name for every block.",
    (
        "shifted = z[..., None, None] * np.eye(matrix.shape[-1]) - matrix",
        "shifted = z[..., None, None] * np.eye(matrix.shape[(1)]) - matrix",
    ): "Both are the size of a square matrix.",
    (
        "return replace(program, statements=(first, *program.statements), history=0, primed=False)",
        "return replace(program, statements=(first, *program.statements), history=0, primed=True)",
    ): "A step that takes its own first evaluation has the same leading error again after a second one; it "
    "only costs more.",
    (
        "return float(center @ m @ center + np.sum(m * covariance) + np.array(self.vector) @ center + self.constant)",
        "return float(center @ m @ center + np.sum(m * covariance) + (center @ np.array(self.vector)) + self.constant)",
    ): "The inner product of two vectors, in the other order.",
    (
        "if found == 0 or excess(before := scan[found - 1]) > tolerance / 2:",
        "if found == 0 or excess(before := scan[found - 1]) > tolerance / 3:",
    ): "A threshold in a gap: growth that sets in slowly exceeds it by the whole tolerance, rounding falls below both.",
    (
        "values[symbol] = 0 if None in ends else self._weight(call.func, *ends)",
        "values[symbol] = 1 if None in ends else self._weight(call.func, *ends)",
    ): "A weight of a step that is missing is multiplied by the shares of its nodes, which are 0 then.",
    (
        "for share, z in ((0.31, (0.4, -0.3, 0.2)), (0.63, (-0.7, 0.5, 0.1))):",
        "for share, z in ((0.31, (0.4, (0.3), 0.2)), (0.63, (-0.7, 0.5, 0.1))):",
    ): "Another point at which two errors are compared: any two without symmetry will do.",
    (
        "number = mpmath.mpmathify(sympy.N(value, mpmath.mp.dps + 5))",
        "number = mpmath.mpmathify(sympy.N(value, (mpmath.mp.dps - 5)))",
    ): "Parameters to 35 digits in place of 45, for a result in float64.",
    (
        "if not np.all(np.isfinite(values)) or values.min() < -1e-12 * max(values.max(), 1e-300):",
        "if not np.all(np.isfinite(values)) or (values.min() <= -1e-12 * max(values.max(), 1e-300)):",
    ): "A comparison of a rounding error with a tolerance: they are never equal.",
    (
        "if count - 1 not in self._found and count > 1:",
        "if count - 1 not in self._found and (count >= 1):",
    ): "It expands anew for a count of one, and keeps nothing of it.",
    (
        "knots = range(math.floor(first), math.ceil(last) - 1, -1) if process.tables else ()",
        "knots = range(math.floor(first), math.ceil(last) - 1, -2) if process.tables else ()",
    ): "DOP853 then finds every second kink itself, by shorter steps: on ddpm the answer moves by 4e-11.",
    (
        "score = (shares * pulls).sum(axis=0) / shares.sum(axis=0) * spreads.max()",
        "score = ((shares * pulls).sum(axis=0) / shares.sum(axis=0) / spreads.max())",
    ): "The unit of the score in the test that ends the refinement: another weight of its powers, to the "
    "same tolerance.",
    (
        "tolerance = 1e-7 if abs(unit.imag) < 1e-3 else 1e-10",
        "tolerance = 1e-7 if (not (abs(unit.imag) < 0.001)) else 1e-10",
    ): "A tolerance: crossings are found by root finding, and rounding of radii is met neither way in the "
    "schemes that are tried.",
    (
        "last, after, n = 0, 1, 1",
        "last, after, n = 1, 1, 1",
    ): "n = 1 is tried first: if it is not stable last becomes 1, and if all are, the answer is 1 either way.",
    (
        'return sympy.Matrix(k, k, lambda i, j: sympy.Symbol(f"B_{i}{j}", real=True))',
        'return sympy.Matrix(k, k, lambda i, j: sympy.Symbol(f"B_{i}{j}", real=False))',
    ): "An assumption that only lets sympy simplify: every reader takes the symbols from here, and the printed "
    "coefficients of a table of B are the same.",
}
"""By the changed lines, before and after."""
