"""Calculus on polynomials in jets: partial derivatives, a smooth observable of the state, expectation over the noises.

Knows the ring of jets (jets.py); this is what a weak error needs beyond it. Knows nothing of schemes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from sympy import QQ

from integrator_analysis.algebra.ring import PackedElement
from integrator_analysis.algebra.series import Series
from integrator_analysis.analysis.expansion.jets import Index, JetRing, Key, multi_indices, powers

__all__ = ["differentiate", "expectation", "observable_at"]


def differentiate(jets: JetRing, element: PackedElement, block: str | None) -> PackedElement:
    """Return the partial derivative by a block of the state, or by t for block None, of a polynomial in jets."""
    variable = len(jets.blocks) if block is None else jets.blocks.index(block)
    out = jets.ring(0)
    for n in _list_used(element):
        # The chain rule: a jet's own derivative is the jet of one order more.
        raised = _differentiate_generator(jets, jets.keys[n], variable)
        if raised is not None:
            out += element.diff(jets.generators[n]) * raised
    return out


def _differentiate_generator(jets: JetRing, key: Key, variable: int) -> PackedElement | None:
    """Return the derivative of one generator by variable number ``variable``, the last being t; None if it is 0."""
    kind, name = key
    of_time = variable == len(jets.blocks)
    if kind == "time":
        return jets.ring(1) if of_time else None
    if kind == "state":
        return jets.ring(1) if not of_time and jets.blocks[variable] == name else None
    if kind == "function":
        f, i = name
        return jets["function", (f, i + 1)] if of_time and not jets.functions[f] else None
    if kind == "unknown":
        component, index = name
        raised = _raise_index(index, variable)
        return None if jets.linear and sum(raised[:-1]) > 1 else jets["unknown", (component, raised)]
    if kind == "observable":
        return None if of_time else jets["observable", _raise_index(name, variable)]
    return None


def _list_used(element: PackedElement) -> Iterable[int]:
    """Return the positions of the generators that occur in an element."""
    seen: set[int] = set()
    for exponents in element.monoms():
        seen.update(n for n, e in enumerate(exponents) if e)
    return sorted(seen)


def _raise_index(index: Sequence[int], variable: int) -> Index:
    return tuple(i + (n == variable) for n, i in enumerate(index))


def observable_at(jets: JetRing, state: Mapping[str, Series]) -> Series:
    """Return the observable at ``state``, expanded about z."""
    known = [powers(state[b] - jets.series(jets["state", b])) for b in jets.blocks]
    out = jets.constant(0)
    for index in multi_indices(len(jets.blocks), jets.truncation):
        product = jets.constant(QQ(1, math.prod(math.factorial(i) for i in index)))
        for p, i in zip(known, index, strict=True):
            product = product * p[i]
        out = out + product.scale(jets["observable", index])
    return out


def expectation(jets: JetRing, series: Series, variances: Mapping[str, Series]) -> Series:
    """Return E over the noises: odd powers vanish, n**(2k) becomes (2k - 1)!! variances[n]**k."""
    out = jets.constant(0)
    known = {n: powers(variances[n].truncate(jets.truncation)) for n in jets.noises}
    positions = {n: jets.position["noise", n] for n in jets.noises}
    for degree, element in enumerate(series.coefficients):
        for exponents, coefficient in element.terms():
            if any(exponents[p] % 2 for p in positions.values()):
                continue
            rest, term = list(exponents), jets.constant(1)
            for n, p in positions.items():
                half = exponents[p] // 2
                rest[p] = 0
                moment = math.prod(range(1, 2 * half, 2))
                term = term * known[n][half].scale(jets.ring(moment))
            # The noise's own factors g stay in ``degree``; its variance may add powers of h.
            out = out + term.scale(jets.ring.from_dict({tuple(rest): coefficient})).shift(degree)
    return out
