"""What a walk loses to rounding in float32 and in bfloat16."""

from __future__ import annotations

ROUNDING_TIMES, ROUNDING_POINTS = (0.5, 0.45, 0.4, 0.35, 0.3), 64
"""Fractions of t_max of the walk in low precision, and the number of states."""
