"""A conjugation in sentences, for the derivation that a person reads."""

from __future__ import annotations

from collections.abc import Sequence

RULE_TEXT = {
    "integral": "",
    "middle": "; of two, the value in the middle taken for all of the interval",
    "end": "; of two, the slope integrated against the propagator's value at the end",
}


def join_values(values: Sequence[object]) -> str:
    return ", ".join(map(str, values))
