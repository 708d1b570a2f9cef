"""Problems on which the derived step is exact: the source is exact there too."""

from __future__ import annotations

EXACT_TOLERANCE = 1e-10
"""Relative to the largest entry of the state, against scipy's solution."""
