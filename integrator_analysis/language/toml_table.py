"""One table of a scheme or process file, read key by key with errors that say where.

Knows types and limits of values; knows no process and no scheme.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeVar

from integrator_analysis.inputs import InputError, as_float, did_you_mean
from integrator_analysis.language.expression import MAX_LENGTH, kind_of

MAX_ENTRY_TERMS = 6
"""Terms of a matrix entry. Closed forms of the covariance multiply four of them."""

MAX_PARAMETERS, MAX_STAGES, MAX_THROUGH = 12, 8, 6

T = TypeVar("T")


class TomlTable:
    """A TOML table whose keys are known and whose values are asked for by type."""

    def __init__(self, data: object, name: str, keys: Sequence[str]) -> None:
        if not isinstance(data, dict):
            raise InputError(f"{name} is {kind_of(data)}; a table is needed")
        self.data: dict[str, Any] = data
        self.name = name
        for key in data:
            if key not in keys:
                raise did_you_mean(key[:60], keys, f"key in {name}")

    def __contains__(self, key: str) -> bool:
        return key in self.data

    def table(self, key: str, keys: Sequence[str]) -> TomlTable:
        """The table under ``key``, of which ``keys`` are known."""
        return TomlTable(self.data[key], f"[{key}]", keys)

    def get(self, key: str, kind: type[T], default: T | None = None) -> T:
        """The value of ``key``, of type ``kind``. Raises InputError where it is missing without a default."""
        if key not in self.data:
            if default is None:
                raise InputError(f"{self.name} has no {key}; give one")
            return default
        value = self.data[key]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise InputError(f"{key} in {self.name} is {kind_of(value)}; {KINDS[kind]} is needed")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        """The finite number under ``key``. Raises InputError where it is missing without a default."""
        value = self.data.get(key, default)
        if value is None:
            raise InputError(f"{self.name} has no {key}; give one")
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise InputError(f"{key} in {self.name} is {kind_of(value)}; a number is needed")
        return as_float(value, key)

    def label(self, key: str, default: str | None = None) -> str:
        """One line of text without characters that would end a docstring."""
        text = self.get(key, str, default)
        if len(text) > MAX_LENGTH or not text.isprintable() or '"' in text or "\\" in text:
            raise InputError(
                f'{key} in {self.name} is not a line of at most {MAX_LENGTH} printable characters without " and \\'
            )
        return text

    def one_of(self, key: str, known: Collection[str], default: str) -> str:
        """The text under ``key``. Raises InputError unless it is ``known``."""
        value = self.get(key, str, default)
        if value not in known:
            raise did_you_mean(value[:60], known, f"{key} in {self.name}")
        return value


KINDS: Mapping[type, str] = {str: "text", list: "a list", dict: "a table"}
