"""The numbers that jets and trees become at one time and state, for a given field.

Knows how elements of a ring of jets, trees and functions of time are evaluated in mpmath; knows no error.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import mpmath
import sympy

from integrator_analysis.algebra.ring import PackedElement
from integrator_analysis.analysis.accuracy.differentials import Differential, Field, Sum
from integrator_analysis.analysis.expansion.jets import Index, JetRing
from integrator_analysis.analysis.expansion.trees import ElementaryDifferential, Tree
from integrator_analysis.program.step_program import StepProgram

__all__ = ["Point"]


class Point:
    """Values of jets and trees at one point, computed as they are asked for.

    ``jets`` is the ring of the coefficients, and ``functions`` returns a function of time by its name. ``z`` holds the
    numbers of the state block by block. ``field`` returns the unknown at (z, time); ``observable`` is the f of a weak
    error. Derivatives are numerical, at mpmath's working precision.
    """

    def __init__(
        self,
        jets: JetRing,
        program: StepProgram,
        functions: Callable[[str], Callable[..., Any]],
        z: list,
        time: mpmath.mpf,
        field: Field,
        observable: Any,
    ) -> None:
        self.jets, self.program, self.functions = jets, program, functions
        self.z, self.time, self.field, self.observable = z, time, field, observable
        self.size = len(z) // len(self.program.blocks)
        self.cache: dict[Any, Any] = {}
        self.fields: dict[tuple, Sequence[mpmath.mpf]] = {}

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
        for exponents, coefficient in polynomial.terms():
            term = mpmath.mpf(int(coefficient.numerator)) / int(coefficient.denominator)
            for n, exponent in enumerate(exponents):
                if exponent:
                    term *= self.generator(n) ** exponent
            total += term
        return total

    def differential(self, d: Differential) -> list[mpmath.mpf]:
        """Return the value of a differential: one number for a derivative of f, else as many as a block has."""
        if isinstance(d, ElementaryDifferential):
            return self.tree(d.tree)
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
        key = ("partial", component, index)
        if key not in self.cache:
            self.cache[key] = mpmath.diff(lambda *a: self._field(a)[component], (*self.z, self.time), index)
        return self.cache[key]

    def generator(self, n: int) -> mpmath.mpf:
        """Return the value of generator number n of the ring."""
        if n not in self.cache:
            self.cache[n] = self._evaluate_jet(*self.jets.keys[n])
        return self.cache[n]

    def _field(self, at: tuple) -> Sequence[mpmath.mpf]:
        """Return the field at (*z, time). Values are kept: all components are differentiated on the same points."""
        key = (*at, mpmath.mp.prec)  # mpmath raises its precision while it differentiates
        if key not in self.fields:
            self.fields[key] = self.field(at[:-1], at[-1])
        return self.fields[key]

    def _evaluate_jet(self, kind: str, label: Any) -> mpmath.mpf:
        if kind == "state":
            return self.z[self.program.blocks.index(label)]
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
        if kind == "unknown":
            component, index = label
            return self.partial(self.jets.unknown.index(component), index)
        if kind == "reciprocal slope":
            return 1 / self._evaluate_jet("function", (label, 1))
        if kind == "reciprocal value":
            return 1 / self._evaluate_jet("function", (label, 0))
        raise NotImplementedError(f"generator {kind} {label} in an error term")
