"""What the source states of itself: evaluations, blocks, parameters, log-SNR."""

from __future__ import annotations

LOG_SNR_TIMES, LOG_SNR_TOLERANCE = (0.01, 0.1, 0.5, 0.97), 1e-10
"""Fractions of t_max, and the absolute error; measured is 2e-15."""
