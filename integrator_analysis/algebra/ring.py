"""A polynomial ring with many generators and few of them in a term: monomials packed into integers, over the rationals.

Knows ring arithmetic, derivatives and conversion to sympy; knows nothing of what the generators mean. The interface is
that of sympy.polys.rings as far as jets use it. There a product of two monomials adds two tuples, one entry per
generator, and a coefficient is a fraction that is reduced in every operation; here it is one addition of integers, and
a polynomial has integer coefficients over one common denominator. On the jets of phase space, with a hundred
generators, that is ten times faster.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import sympy
from sympy import QQ

__all__ = ["PackedElement", "PackedRing"]

MAX_DEGREE = 255
"""An exponent fills one byte. A product whose total degree may exceed this is refused, not wrapped around."""


class PackedRing:
    """Polynomials over the rationals in the generators ``names``.

    >>> ring = PackedRing(["x", "y"])
    >>> x, y = ring.gens
    >>> (x + y / 2) ** 2 - x**2
    x*y + y**2/4
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self.gens = tuple(PackedElement(self, {1 << (8 * n): 1}, 1, 1) for n in range(len(self.names)))

    def __call__(self, value: Any) -> PackedElement:
        """The constant ``value``, a rational number; an element stays what it is."""
        if isinstance(value, PackedElement):
            return value
        if type(value) is int:
            return PackedElement(self, {0: value} if value else {}, 1, 0)
        number = QQ.convert(value)
        numerator, denominator = int(number.numerator), int(number.denominator)
        return PackedElement(self, {0: numerator} if numerator else {}, denominator if numerator else 1, 0)

    def from_dict(self, terms: Mapping[tuple[int, ...], Any]) -> PackedElement:
        """The element with these coefficients by exponents. Raises OverflowError for an exponent above 255."""
        rational = {exponents: QQ.convert(c) for exponents, c in terms.items() if c}
        common = math.lcm(*(int(c.denominator) for c in rational.values()))
        packed = {self._pack(e): int(c.numerator) * (common // int(c.denominator)) for e, c in rational.items()}
        return _in_lowest_terms(self, packed, common, max((sum(e) for e in rational), default=0))

    def _pack(self, exponents: Sequence[int]) -> int:
        if max(exponents, default=0) > MAX_DEGREE:
            raise OverflowError(f"an exponent above {MAX_DEGREE}")
        return int.from_bytes(bytes(exponents), "little")

    def unpack(self, monomial: int) -> tuple[int, ...]:
        """The exponents, one per generator."""
        return tuple(monomial.to_bytes(len(self.names), "little"))


class PackedElement:
    """sum of ``terms[monomial]`` * monomial / ``denominator``, in lowest terms; ``degree`` bounds its total degree."""

    __slots__ = ("_hash", "degree", "denominator", "packed", "ring")

    def __init__(self, ring: PackedRing, packed: dict[int, int], denominator: int, degree: int) -> None:
        self.ring, self.packed, self.denominator, self.degree = ring, packed, denominator, degree
        self._hash: int | None = None

    def __bool__(self) -> bool:
        return bool(self.packed)

    def __len__(self) -> int:
        return len(self.packed)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, PackedElement):
            return self.denominator == other.denominator and self.packed == other.packed
        return self == self.ring(other)

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = hash((self.denominator, frozenset(self.packed.items())))
        return self._hash

    def __neg__(self) -> PackedElement:
        return PackedElement(self.ring, {m: -c for m, c in self.packed.items()}, self.denominator, self.degree)

    def __add__(self, other: Any) -> PackedElement:
        return self._plus(self.ring(other), 1)

    __radd__ = __add__

    def __sub__(self, other: Any) -> PackedElement:
        return self._plus(self.ring(other), -1)

    def __rsub__(self, other: Any) -> PackedElement:
        return (-self)._plus(self.ring(other), 1)

    def _plus(self, other: PackedElement, sign: int) -> PackedElement:
        """The sum for ``sign`` 1, the difference for -1."""
        if not other.packed:
            return self
        if not self.packed and sign == 1:
            return other
        common = math.lcm(self.denominator, other.denominator)
        mine, theirs = common // self.denominator, sign * (common // other.denominator)
        out = {m: c * mine for m, c in self.packed.items()} if mine != 1 else dict(self.packed)
        for m, c in other.packed.items():
            total = out.get(m, 0) + c * theirs
            if total:
                out[m] = total
            else:
                del out[m]
        return _in_lowest_terms(self.ring, out, common, max(self.degree, other.degree))

    def __mul__(self, other: Any) -> PackedElement:
        factor = self.ring(other)
        if len(factor.packed) > len(self.packed):
            return factor * self
        degree = self.degree + factor.degree
        if degree > MAX_DEGREE:
            raise OverflowError(f"a product of total degree {degree}; {MAX_DEGREE} is the most that is kept")
        out: dict[int, int] = {}
        # Packed exponents add without a carry from one byte to the next: the degree was checked above.
        for m, c in factor.packed.items():
            if out:
                for n, d in self.packed.items():
                    out[m + n] = out.get(m + n, 0) + c * d
            else:
                out = {m + n: c * d for n, d in self.packed.items()}
        if len(factor.packed) > 1:
            out = {m: c for m, c in out.items() if c}
        return _in_lowest_terms(self.ring, out, self.denominator * factor.denominator, degree)

    __rmul__ = __mul__

    def __truediv__(self, number: Any) -> PackedElement:
        return self * (1 / QQ.convert(number))

    def __pow__(self, exponent: int) -> PackedElement:
        out = self.ring(1)
        for _ in range(exponent):
            out = out * self
        return out

    def diff(self, generator: PackedElement) -> PackedElement:
        """The partial derivative by a generator of the ring."""
        ((unit, _),) = generator.packed.items()  # unit is 1 in the generator's byte
        shift = unit.bit_length() - 1
        out = {}
        for m, c in self.packed.items():
            if exponent := (m >> shift) & 0xFF:
                out[m - unit] = c * exponent
        return _in_lowest_terms(self.ring, out, self.denominator, self.degree)

    def terms(self) -> list[tuple[tuple[int, ...], Any]]:
        """(exponents, rational coefficient), in lexicographic order of the exponents, highest first."""
        unpack, denominator = self.ring.unpack, self.denominator
        return sorted(((unpack(m), QQ(c, denominator)) for m, c in self.packed.items()), reverse=True)

    def monoms(self) -> list[tuple[int, ...]]:
        """The exponents of the terms, highest first."""
        return sorted(map(self.ring.unpack, self.packed), reverse=True)

    def as_expr(self, *symbols: sympy.Expr) -> sympy.Expr:
        """The sympy expression, with the ring's names or these ``symbols``, one per generator."""
        at = symbols or sympy.symbols(self.ring.names)
        summands = []
        for exponents, c in self.terms():
            factors = [at[n] ** e for n, e in enumerate(exponents) if e]
            summands.append(sympy.Mul(sympy.Rational(int(c.numerator), int(c.denominator)), *factors))
        return sympy.Add(*summands)

    def __repr__(self) -> str:
        return str(self.as_expr())


def _in_lowest_terms(ring: PackedRing, packed: dict[int, int], denominator: int, degree: int) -> PackedElement:
    """The element in lowest terms, so that equal elements are alike."""
    if denominator != 1:
        common = math.gcd(denominator, *packed.values())
        if common != 1:
            denominator //= common
            packed = {m: c // common for m, c in packed.items()}
    return PackedElement(ring, packed, denominator, degree if packed else 0)
