"""Order and leading constant of the one-step error of a deterministic scheme."""

from __future__ import annotations

POINTS = 4

STEP_SIZES = tuple(0.004 * 2.0**-k for k in range(11))
"""Down to 4e-6, because the reduced schemes' h**2 term is a thousandth of their h**3 term: at 4e-3 they look second
order. There the smallest error is 1e-12, four digits above rounding. Times 2**(order - 1), because errors of a higher
order reach rounding sooner."""
