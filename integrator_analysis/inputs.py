"""What users give, checked: the one error for bad input, numbers, tables of numbers, and names that may be misspelt.

Knows no file format and no part of the pipeline.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Sequence
from numbers import Real
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sympy

__all__ = ["NUMBER", "InputError", "Parameter", "as_rational", "did_you_mean", "require"]

Parameter = float | Sequence[float] | None
"""What a user gives for a parameter: a number, a table, or None for one that may be left out."""


def as_float(value: object, name: str) -> float:
    """A finite number as a plain float; InputError otherwise."""
    try:
        number = math.nan if isinstance(value, bool) or not isinstance(value, Real) else float(value)
    except OverflowError:
        raise InputError(f"parameter {name} is beyond the largest float; pass a smaller number") from None
    if not math.isfinite(number):
        raise InputError(f"parameter {name} = {value!r} is not a finite number; pass an int or a float")
    return number


def as_rational(value: object, name: str) -> sympy.Rational:
    """The decimal that ``value`` prints as, exactly: 0.01 is 1/100. Raises InputError unless it is a finite number."""
    import sympy  # here, so that an error for bad text needs no algebra

    if isinstance(value, sympy.Rational):
        return value
    return sympy.Rational(str(as_float(value, name)))


def as_table(values: object, name: str) -> tuple[sympy.Rational, ...]:
    """A row of numbers as exact decimals. Raises InputError unless it is a non-empty sequence of finite numbers."""
    if isinstance(values, (str, bytes)) or not hasattr(values, "__iter__"):
        raise InputError(
            f"parameter {name} = {values!r} is not a sequence of numbers; pass a tuple of floats in Python"
        )
    table = tuple(as_rational(value, f"{name}[{k}]") for k, value in enumerate(values))
    if not table:
        raise InputError(f"parameter {name} is empty; pass at least one number")
    return table


def require(holds: bool, process: str, conditions: str, **values: object) -> None:
    """Raise the InputError that says what ``process`` needs and what it got, unless ``holds``."""
    if not holds:
        got = ", ".join(f"{name}={value}" for name, value in values.items())
        raise InputError(f"process {process} needs {conditions}, got {got}")


NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"
"""A decimal number in text, as a regular expression."""


class InputError(ValueError):
    """Unusable input: one sentence that says what was wrong, where, and what would be accepted."""


def did_you_mean(name: str, known: Iterable[str], what: str) -> InputError:
    """The error for an unknown name, with the nearest known ones."""
    known = sorted(known)
    lower = list(dict.fromkeys(candidate.lower() for candidate in known))
    matches = difflib.get_close_matches(name.lower(), lower, n=3, cutoff=0.5)
    near = [candidate for match in matches for candidate in known if candidate.lower() == match]
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known)}"
    return InputError(f"unknown {what} {name!r}; {hint}")
