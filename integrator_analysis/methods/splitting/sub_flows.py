"""What each letter of a splitting word does to the state, exactly or by Euler's method, and how much noise O makes.

Knows letters and processes; splitting.py puts them in order.
"""

from __future__ import annotations

import sympy

from integrator_analysis.program.statements import Term

__all__ = ["lambda_s"]

lambda_s = sympy.Symbol("lambda_s", positive=True)
"""What the position noise of O is scaled by (arXiv 2310.07894, section 3.2); 1 is consistent with the reverse SDE."""

Update = tuple[str, tuple[Term, ...]]
