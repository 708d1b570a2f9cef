"""Local errors as plain facts that a cache can keep, and local errors made from such facts.

Facts are numbers, text, lists and mappings: leading sums as exact rationals over named generators and trees. An error
that is made from facts has its order and its text at hand. Its program and ring are made when something asks for them;
then it can be evaluated without the expansion. Knows local errors and their rings; knows nothing of files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import sympy

from integrator_analysis.algebra.ring import PackedElement
from integrator_analysis.analysis.accuracy.differentials import Derivative, Differential
from integrator_analysis.analysis.accuracy.local_error import LocalError
from integrator_analysis.analysis.expansion.jets import JetRing
from integrator_analysis.analysis.expansion.step import components, expanded_steps, ring_of
from integrator_analysis.analysis.expansion.trees import ElementaryDifferential
from integrator_analysis.program.step_program import StepProgram

__all__ = ["CachedError", "local_error_facts", "local_error_from_facts"]

Keep = Callable[..., None]
"""Adds facts, given by name, to those that are kept."""

LAZY = ("program", "scalars", "sums")
"""What of a LocalError is made from its facts when it is first asked for."""


class CachedError(LocalError):
    """A local error that remembers its texts among its facts, and may have been made from facts alone."""

    def __getattr__(self, name: str) -> Any:
        """Make ``program``, ``scalars`` and ``sums`` from the facts, when one of them is first asked for."""
        make = self.__dict__.get("_make")
        if make is None or name not in LAZY:
            raise AttributeError(name)
        # The ring is made anew from the program; generators are found again by their names, not by their places.
        program, facts = make(), self.__dict__["_facts"]
        scalars = ring_of(program, facts["ring_order"], expanded_steps(program))
        position = {_to_tuples([kind, _label(label)]): n for n, (kind, label) in enumerate(scalars.keys)}
        sums = {
            block: {_differential(program, d): _element(scalars, position, terms) for d, terms in found}
            for block, found in facts["sums"].items()
        }
        self.__dict__.update(program=program, scalars=scalars, sums=sums)
        return self.__dict__[name]

    def text(self) -> Mapping[str, str]:
        return self._remember("text", super().text)

    def latex(self) -> Mapping[str, str]:
        return self._remember("latex", super().latex)

    def _remember(self, name: str, make: Callable[[], Mapping[str, str]]) -> Mapping[str, str]:
        """Return the texts called ``name``: from the facts, or made now and kept among them."""
        facts = self.__dict__.get("_facts")
        if facts is None:  # made by dataclasses.replace: another error
            return make()
        if name not in facts:
            self.__dict__["_keep"](**{name: dict(make())})
        return dict(facts[name])


def local_error_facts(error: LocalError) -> dict[str, Any]:
    """Return the facts from which ``local_error_from_facts`` makes the error again."""
    return {
        "exponents": dict(error.exponents),
        "startup": error.startup,
        "ring_order": error.scalars.order,
        "sums": {
            block: [[_list_differential(d), _list_terms(error.scalars, e)] for d, e in found.items()]
            for block, found in error.sums.items()
        },
    }


def local_error_from_facts(
    facts: dict[str, Any], keep: Keep, make: Callable[[], StepProgram], derived: LocalError | None = None
) -> CachedError:
    """Return the error with these facts. ``keep`` adds to them; ``make`` returns the program when it is needed.

    ``derived`` is the error that the facts were taken from, where it has just been derived: nothing is made twice.
    """
    # Not by __init__, which would ask for the program and the sums: __getattr__ makes them when they are needed.
    error = object.__new__(CachedError)
    error.__dict__.update(
        exponents={str(block): int(n) for block, n in facts["exponents"].items()},
        startup=bool(facts["startup"]),
        _found={},
        _facts=facts,
        _keep=keep,
        _make=make,
    )
    if derived is not None:
        error.__dict__.update({name: getattr(derived, name) for name in LAZY})
    return error


def _list_differential(d: Differential) -> list[Any]:
    """Return the tree of a differential of the field, or the index of a derivative of f, as lists."""
    return _to_lists(d.tree if isinstance(d, ElementaryDifferential) else d.index)


def _differential(program: StepProgram, listed: list[Any]) -> Differential:
    if program.stochastic:
        return Derivative(_to_tuples(listed), program.blocks)
    return ElementaryDifferential(_to_tuples(listed), program.blocks, components(program))


def _list_terms(scalars: JetRing, element: PackedElement) -> list[list[Any]]:
    """Return [coefficient as "p/q", [[kind, label, exponent], ...]] for each term of an element."""
    names = [[kind, _label(label)] for kind, label in scalars.keys]
    return [
        [f"{c.numerator}/{c.denominator}", [[*names[n], e] for n, e in enumerate(exponents) if e]]
        for exponents, c in element.terms()
    ]


def _label(label: Any) -> Any:
    """Return a generator's label without sympy and tuples: a parameter by its name."""
    return label.name if isinstance(label, sympy.Symbol) else _to_lists(label)


def _to_lists(value: Any) -> Any:
    """Return nested tuples as lists, which JSON has."""
    return [_to_lists(part) for part in value] if isinstance(value, tuple) else value


def _to_tuples(value: Any) -> Any:
    """Return nested lists as tuples, which can be keys."""
    return tuple(map(_to_tuples, value)) if isinstance(value, list) else value


def _element(scalars: JetRing, position: Mapping[Any, int], terms: list[list[Any]]) -> PackedElement:
    """Return the element of the ring that ``_list_terms`` has written down."""
    out: dict[tuple[int, ...], Any] = {}
    for coefficient, factors in terms:
        exponents = [0] * len(scalars.keys)
        for kind, label, exponent in factors:
            exponents[position[_to_tuples([kind, label])]] = int(exponent)
        numerator, _, denominator = coefficient.partition("/")
        out[tuple(exponents)] = sympy.QQ(int(numerator), int(denominator))
    return scalars.ring.from_dict(out)
