"""The numbers that jets and trees become at one time and state, for a given field.

Knows how elements of a ring of jets, trees and functions of time are evaluated in mpmath; knows no error.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable
from weakref import WeakKeyDictionary

import mpmath
import sympy

from integrator_analysis.algebra.ring import PackedElement
from integrator_analysis.analysis.accuracy.differentials import Differential, Field, Sum
from integrator_analysis.analysis.expansion.jets import Index, JetRing
from integrator_analysis.analysis.expansion.trees import ElementaryDifferential, Tree
from integrator_analysis.program.step_program import StepProgram

__all__ = ["DifferentiableObservable", "Moment", "Point"]

_Partial = list[tuple[tuple[tuple[int, int], ...], mpmath.mpf]]
"""A polynomial in some generators: of each monomial (generator, exponent) pairs, and its coefficient as a number."""

_PARTIALS: WeakKeyDictionary[Field, dict[tuple, mpmath.mpf]] = WeakKeyDictionary()
"""Partial derivatives of a field by component, index, point and precision, kept as long as the field: numerical ones
are the costly part of a weak constant, and all schemes on a process ask for those of the same field."""


@runtime_checkable
class DifferentiableObservable(Protocol):
    """An observable that knows its derivatives in closed form."""

    def derivative(self, z: Sequence[mpmath.mpf], index: Index) -> mpmath.mpf:
        """Return the derivative at z, ``index`` times by each of its numbers."""


class Moment:
    """What jets and sums of them are at one time, whatever the state: computed as asked for, and shared by all points.

    ``jets`` is the ring of the coefficients, and ``functions`` returns a function of time by its name. Derivatives are
    numerical, at mpmath's working precision, which is that of the first who asks.
    """

    def __init__(
        self, jets: JetRing, program: StepProgram, functions: Callable[[str], Callable[..., Any]], time: mpmath.mpf
    ) -> None:
        self.jets, self.program, self.functions, self.time = jets, program, functions, time
        self._generators: dict[int, mpmath.mpf] = {}
        self._sums: dict[int, tuple[PackedElement, _Partial]] = {}

    def partly_evaluate(self, polynomial: PackedElement) -> _Partial:
        """Return a polynomial in the jets that depend on the state, with a number for each of its monomials."""
        # By identity, for sums are long; the sum is kept, so that no other takes its place in memory.
        if id(polynomial) not in self._sums:
            found: dict[tuple[tuple[int, int], ...], mpmath.mpf] = {}
            for exponents, coefficient in polynomial.terms():
                number = mpmath.mpf(int(coefficient.numerator)) / int(coefficient.denominator)
                rest = []
                for n, exponent in enumerate(exponents):
                    if exponent and self.jets.keys[n][0] in ("state", "unknown"):
                        rest.append((n, exponent))
                    elif exponent:
                        number *= self._generator(n) ** exponent
                found[tuple(rest)] = found.get(tuple(rest), 0) + number
            self._sums[id(polynomial)] = polynomial, list(found.items())
        return self._sums[id(polynomial)][1]

    def _generator(self, n: int) -> mpmath.mpf:
        if n not in self._generators:
            self._generators[n] = self._evaluate(*self.jets.keys[n])
        return self._generators[n]

    def _evaluate(self, kind: str, label: Any) -> mpmath.mpf:
        if kind == "time":
            return self.time
        if kind in ("parameter", "reciprocal"):
            value = self.program.parameters[label]
            number = mpmath.mpmathify(sympy.N(value, mpmath.mp.dps + 5))
            return number if kind == "parameter" else 1 / number
        if kind == "function":
            name, order = label
            f = self.functions(name)
            return mpmath.diff(lambda time: f(time)[0], self.time, order)
        if kind == "reciprocal slope":
            return 1 / self._evaluate("function", (label, 1))
        if kind == "reciprocal value":
            return 1 / self._evaluate("function", (label, 0))
        raise NotImplementedError(f"generator {kind} {label} in an error term")


class Point:
    """Values of jets and trees at one point, computed as they are asked for.

    ``moment`` knows what depends on time alone. ``z`` holds the numbers of the state block by block. ``field`` returns
    the unknown at (z, time); ``observable`` is the f of a weak error. Derivatives are numerical, at mpmath's working
    precision, but for those of an observable that knows its own.
    """

    def __init__(self, moment: Moment, z: list, field: Field, observable: Any) -> None:
        self.moment, self.program, self.time = moment, moment.program, moment.time
        self.z, self.field, self.observable = z, field, observable
        self.size = len(z) // len(self.program.blocks)
        self.cache: dict[Any, Any] = {}
        self.fields: dict[tuple, Sequence[mpmath.mpf]] = {}
        self.partials = _PARTIALS.setdefault(field, {})

    def total(self, found: Sum) -> list[mpmath.mpf]:
        """Return the value of a sum of differentials, as many numbers as a block has."""
        total = [mpmath.mpf(0)] * self.size
        for differential, element in found.items():
            factor = self.value(element)
            total = [a + factor * b for a, b in zip(total, self.differential(differential), strict=True)]
        return total

    def weighted(self, factors: Mapping[Differential, mpmath.mpf], observable: Any) -> mpmath.mpf:
        """Return the sum of the differentials of ``observable`` times their factors."""
        self.observable, total = observable, mpmath.mpf(0)
        for differential, factor in factors.items():
            total = total + factor * self.differential(differential)[0]
        return total

    def value(self, polynomial: PackedElement) -> mpmath.mpf:
        """Return the value of an element of the ring."""
        total = mpmath.mpf(0)
        for powers, number in self.moment.partly_evaluate(polynomial):
            term = number
            for n, exponent in powers:
                term *= self.generator(n) ** exponent
            total += term
        return total

    def differential(self, d: Differential) -> list[mpmath.mpf]:
        """Return the value of a differential: one number for a derivative of f, else as many as a block has."""
        if isinstance(d, ElementaryDifferential):
            return self.tree(d.tree)
        if isinstance(self.observable, DifferentiableObservable):
            return [self.observable.derivative(self.z, d.index)]
        return [mpmath.diff(lambda *a: self.observable(a), tuple(self.z), d.index)]

    def tree(self, tree: Tree) -> list[mpmath.mpf]:
        """Return the value of a tree: a derivative of the field, contracted with the values of the children."""
        if tree not in self.cache:
            blocks, size = len(self.program.blocks), self.size
            if len(tree) == 1:
                self.cache[tree] = self.z[tree[0] * size : (tree[0] + 1) * size]
                return self.cache[tree]
            component, times, children = tree
            values = [self.tree(child) for _, child in children]
            total = [mpmath.mpf(0)] * size
            # The derivative is a multilinear map: sum over one entry of every child the partial derivative by these
            # entries, times the product of the children's values there.
            for entries in itertools.product(range(size), repeat=len(children)):
                places = [slot * size + e for (slot, _), e in zip(children, entries, strict=True)]
                factor = mpmath.fprod(v[e] for v, e in zip(values, entries, strict=True))
                index = (*(places.count(n) for n in range(blocks * size)), times)
                partials = (self.partial(component * size + n, index) for n in range(size))
                total = [a + factor * b for a, b in zip(total, partials, strict=True)]
            self.cache[tree] = total
        return self.cache[tree]

    def partial(self, component: int, index: Index) -> mpmath.mpf:
        """Return a partial derivative of one number of the field; ``index`` counts it by each of (*z, time)."""
        key = component, index, *self.z, self.time, mpmath.mp.prec
        if key not in self.partials:
            self.partials[key] = mpmath.diff(lambda *a: self._field(a)[component], (*self.z, self.time), index)
        return self.partials[key]

    def generator(self, n: int) -> mpmath.mpf:
        """Return the value of generator number n of the ring, one that depends on the state."""
        if n not in self.cache:
            kind, label = self.moment.jets.keys[n]
            if kind == "state":
                self.cache[n] = self.z[self.program.blocks.index(label)]
            else:
                self.cache[n] = self.partial(self.moment.jets.unknown.index(label[0]), label[1])
        return self.cache[n]

    def _field(self, at: tuple) -> Sequence[mpmath.mpf]:
        """Return the field at (*z, time). Values are kept: all components are differentiated on the same points."""
        key = (*at, mpmath.mp.prec)  # mpmath raises its precision while it differentiates
        if key not in self.fields:
            self.fields[key] = self.field(at[:-1], at[-1])
        return self.fields[key]
