"""Local errors as plain facts, and back: leading sums as exact rationals over named generators and trees.

Knows local errors and their rings; knows nothing of files. A recalled error has its order and its text at hand; program
and ring are made when something asks for them, so that it can be evaluated without the expansion.
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

__all__ = ["KeptError", "facts_of", "kept"]

Keep = Callable[..., None]
LAZY = ("program", "scalars", "sums")


class KeptError(LocalError):
    """A local error that remembers its texts, and that may be known by its facts alone."""

    def __getattr__(self, name: str) -> Any:
        """``program``, ``scalars`` and ``sums`` of an error that is known by its facts: made now."""
        make = self.__dict__.get("_make")
        if make is None or name not in LAZY:
            raise AttributeError(name)
        program, facts = make(), self.__dict__["_facts"]
        scalars = ring_of(program, facts["ring_order"], expanded_steps(program))
        position = {_frozen([kind, _label(label)]): n for n, (kind, label) in enumerate(scalars.keys)}
        sums = {
            block: {_differential(program, d): _element(scalars, position, terms) for d, terms in found}
            for block, found in facts["sums"].items()
        }
        self.__dict__.update(program=program, scalars=scalars, sums=sums)
        return self.__dict__[name]

    def text(self) -> Mapping[str, str]:
        return self._remembered("text", super().text)

    def latex(self) -> Mapping[str, str]:
        return self._remembered("latex", super().latex)

    def _remembered(self, name: str, make: Callable[[], Mapping[str, str]]) -> Mapping[str, str]:
        facts = self.__dict__.get("_facts")
        if facts is None:  # made by dataclasses.replace: another error
            return make()
        if name not in facts:
            self.__dict__["_keep"](**{name: dict(make())})
        return dict(facts[name])


def facts_of(error: LocalError) -> dict[str, Any]:
    """What an error is known by: numbers, text, lists and mappings only."""
    return {
        "exponents": dict(error.exponents),
        "startup": error.startup,
        "ring_order": error.scalars.order,
        "sums": {
            block: [[_listed(d.tree if isinstance(d, ElementaryDifferential) else d.index), _terms(error.scalars, e)]
                    for d, e in found.items()]
            for block, found in error.sums.items()
        },
    }  # fmt: skip


def kept(
    facts: dict[str, Any], keep: Keep, make: Callable[[], StepProgram], derived: LocalError | None = None
) -> KeptError:
    """The error with these facts. ``keep`` adds to them; ``make`` gives the program when it is needed.

    ``derived`` is the error that they were taken from, where there is one.
    """
    error = object.__new__(KeptError)
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


def _differential(program: StepProgram, listed: list[Any]) -> Differential:
    if program.stochastic:
        return Derivative(_frozen(listed), program.blocks)
    return ElementaryDifferential(_frozen(listed), program.blocks, components(program))


def _terms(scalars: JetRing, element: PackedElement) -> list[list[Any]]:
    """[coefficient as "p/q", [[kind, label, exponent], ...]] for each term."""
    names = [[kind, _label(label)] for kind, label in scalars.keys]
    return [
        [f"{c.numerator}/{c.denominator}", [[*names[n], e] for n, e in enumerate(exponents) if e]]
        for exponents, c in element.terms()
    ]


def _label(label: Any) -> Any:
    """A generator's label without sympy and tuples: a parameter by its name."""
    return label.name if isinstance(label, sympy.Symbol) else _listed(label)


def _listed(value: Any) -> Any:
    return [_listed(part) for part in value] if isinstance(value, tuple) else value


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _element(scalars: JetRing, position: Mapping[Any, int], terms: list[list[Any]]) -> PackedElement:
    out: dict[tuple[int, ...], Any] = {}
    for coefficient, factors in terms:
        exponents = [0] * len(scalars.keys)
        for kind, label, exponent in factors:
            exponents[position[_frozen([kind, label])]] = int(exponent)
        numerator, _, denominator = coefficient.partition("/")
        out[tuple(exponents)] = sympy.QQ(int(numerator), int(denominator))
    return scalars.ring.from_dict(out)
