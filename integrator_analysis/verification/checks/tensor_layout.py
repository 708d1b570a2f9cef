"""The same step on states of several shapes and batch sizes."""

from __future__ import annotations

LAYOUT_TOLERANCE = 1e-12
"""Absolute, on states of size one: the same operations in another arrangement."""
