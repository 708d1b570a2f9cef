"""Truncated power series in one variable g whose coefficients are polynomials in the generators of a ring.

Knows ring arithmetic (ring.py) and truncation; knows nothing of what the generators mean. General sympy
expressions never enter: the same Taylor job is a thousand times slower there, and wrong from the third order on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sympy import QQ

from integrator_analysis.algebra.ring import PackedElement

__all__ = ["Series"]


@dataclass(frozen=True)
class Series:
    """c[0] + c[1] g + ... + c[n] g**n, everything beyond g**n dropped."""

    coefficients: tuple[PackedElement, ...]

    @property
    def truncation(self) -> int:
        """The highest power that is kept."""
        return len(self.coefficients) - 1

    @classmethod
    def of(cls, coefficients: Sequence[PackedElement], truncation: int) -> Series:
        """Pad with zeros, or cut, to ``truncation``."""
        zero = coefficients[0] * 0
        return cls(tuple(coefficients[: truncation + 1]) + (zero,) * (truncation + 1 - len(coefficients)))

    def __add__(self, other: Series) -> Series:
        return Series(
            tuple(a + b if a and b else a or b for a, b in zip(self.coefficients, other.coefficients, strict=True))
        )

    def __sub__(self, other: Series) -> Series:
        return Series(tuple(a - b if b else a for a, b in zip(self.coefficients, other.coefficients, strict=True)))

    def __neg__(self) -> Series:
        return Series(tuple(-a if a else a for a in self.coefficients))

    def __mul__(self, other: Series) -> Series:
        n = self.truncation
        out = [self.coefficients[0] * 0] * (n + 1)
        for i, a in enumerate(self.coefficients):
            if a:
                for j, b in enumerate(other.coefficients[: n + 1 - i]):
                    if b:
                        out[i + j] += a * b
        return Series(tuple(out))

    def scale(self, factor: PackedElement) -> Series:
        """Multiplied by a polynomial that does not depend on g."""
        return Series(tuple(a * factor if a else a for a in self.coefficients))

    def __pow__(self, exponent: int) -> Series:
        one = self.coefficients[0] * 0 + 1
        out = Series.of([one], self.truncation)
        for _ in range(exponent):
            out = out * self
        return out

    def compose_exp(self, k: int = 0) -> Series:
        """phi_k of a series without constant term; phi_0 is exp. Raises ArithmeticError if it has one."""
        if self.coefficients[0]:
            raise ArithmeticError(f"exp needs a series that vanishes at 0, its constant term is {self.coefficients[0]}")
        out = term = (self**0).scale(self.coefficients[0] * 0 + QQ(1, math.factorial(k)))
        for n in range(1, self.truncation + 1):
            term = (term * self).scale(self.coefficients[0] * 0 + QQ(1, n + k))
            out = out + term
        return out

    def shift(self, power: int) -> Series:
        """Multiplied by g**power (power >= 0), truncated as before."""
        zero = self.coefficients[0] * 0
        return Series.of((zero,) * power + self.coefficients, self.truncation)

    def divide(self, power: int) -> Series:
        """Divided by g**power; the lowest ``power`` coefficients must vanish. The truncation drops by ``power``."""
        if any(self.coefficients[:power]):
            raise ArithmeticError(f"the series does not vanish to order {power}")
        return Series(self.coefficients[power:])

    def truncate(self, truncation: int) -> Series:
        """Without the powers beyond ``truncation``; with zeros where there were fewer."""
        return Series.of(self.coefficients, truncation)
