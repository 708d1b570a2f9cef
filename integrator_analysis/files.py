"""Text files of bounded size, and JSON documents held against a schema: one sentence says where one is not as asked.

Knows the keywords that this project's schemas use, and refuses a schema with others; knows no document's meaning.
"""

from __future__ import annotations

import json
import math
import os
import re
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from integrator_analysis.inputs import InputError

__all__ = ["check", "read_json", "read_utf8", "write_text"]


def write_text(path: str | Path, text: str) -> Path:
    """Write to a temporary name beside ``path``, then rename. Raises InputError if that is not possible."""
    return write_bytes(path, text.encode())


def write_bytes(path: str | Path, data: bytes) -> Path:
    """As ``write_text``, for data of any kind."""
    target = Path(path)
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".partial")
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
        os.chmod(temporary, 0o644)
        os.replace(temporary, target)
    except OSError as error:
        if temporary is not None and os.path.exists(temporary):
            os.unlink(temporary)
        raise InputError(
            f"cannot write {target}: {error.strerror}; give a path in an existing, writable folder"
        ) from error
    return target


MAX_FILE = 4_194_304
"""Bytes. A certificate has ten thousand, with the longest error of the catalogue 180,000."""

TYPES: Mapping[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
}


def read_utf8(path: str | Path, most: int) -> str:
    """The text of a file of at most ``most`` bytes in UTF-8. Raises InputError that begins with the file's name."""
    source = Path(path)
    try:
        if not source.is_file():
            raise InputError(f"{source}: there is no such file")
        with source.open("rb") as stream:
            data = stream.read(most + 1)
    except OSError as error:
        raise InputError(f"{source}: cannot be read ({error.strerror or error})") from error
    if len(data) > most:
        raise InputError(f"{source}: the file has more than {most} bytes")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{source}: is not text in UTF-8 (byte {error.start + 1})") from error


def read_json(path: str | Path) -> Any:
    """The document in a file: UTF-8, at most MAX_FILE bytes, without NaN and without numbers beyond float64.

    Raises InputError, one sentence that begins with the file's name.
    """
    source, text = Path(path), read_utf8(path, MAX_FILE)
    try:
        return json.loads(text, parse_constant=_refuse, parse_float=_finite, parse_int=_integer)
    except RecursionError as error:
        raise InputError(f"{source}: is nested too deeply") from error
    except ValueError as error:
        raise InputError(f"{source}: is not a JSON document ({error})") from error


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:20]} is beyond float64")
    return value


def _integer(text: str) -> int:
    if len(text) > 300:
        raise ValueError(f"the number {text[:20]}... is beyond float64")
    return int(text)


def check(document: Any, schema: Mapping[str, Any], where: str = "the document") -> None:
    """Raise InputError, one sentence, where ``document`` is not what ``schema`` asks; the first place is named."""
    for keyword, asked in schema.items():
        KEYWORDS[keyword](document, asked, schema, where)


def _type(value: Any, asked: Any, _: Mapping[str, Any], where: str) -> None:
    names = [asked] if isinstance(asked, str) else asked
    if not any(TYPES[name](value) for name in names):
        raise InputError(f"{where} is {_kind(value)}; {' or '.join(names)} is needed")


def _const(value: Any, asked: Any, _: Mapping[str, Any], where: str) -> None:
    if value != asked or isinstance(value, bool) != isinstance(asked, bool):
        raise InputError(f"{where} is {_kind(value)}; {asked!r} is needed")


def _pattern(value: Any, asked: str, _: Mapping[str, Any], where: str) -> None:
    if isinstance(value, str) and not re.search(asked, value):
        raise InputError(f"{where} is {value[:60]!r}; text of the form {asked} is needed")


def _minimum(value: Any, asked: float, _: Mapping[str, Any], where: str) -> None:
    if TYPES["number"](value) and value < asked:
        raise InputError(f"{where} is {_kind(value)}; at least {asked} is needed")


def _required(value: Any, asked: list[str], _: Mapping[str, Any], where: str) -> None:
    missing = [name for name in asked if isinstance(value, dict) and name not in value]
    if missing:
        raise InputError(f"{where} has no {', '.join(missing)}; give it")


def _properties(value: Any, asked: Mapping[str, Any], _: Mapping[str, Any], where: str) -> None:
    if isinstance(value, dict):
        for name, schema in asked.items():
            if name in value:
                check(value[name], schema, f"{name} of {where}")


def _pattern_properties(value: Any, asked: Mapping[str, Any], _: Mapping[str, Any], where: str) -> None:
    if isinstance(value, dict):
        for pattern, schema in asked.items():
            for name in value:
                if re.search(pattern, name):
                    check(value[name], schema, f"{name[:60]!r} of {where}")


def _additional(value: Any, asked: Any, schema: Mapping[str, Any], where: str) -> None:
    if not isinstance(value, dict):
        return
    patterns = schema.get("patternProperties", {})
    known = schema.get("properties", {})
    extra = [name for name in value if name not in known and not any(re.search(p, name) for p in patterns)]
    if asked is False and extra:
        raise InputError(f"{where} has an entry {extra[0][:60]!r} that is not known; known: {', '.join(known)}")
    if isinstance(asked, Mapping):
        for name in extra:
            check(value[name], asked, f"{name[:60]!r} of {where}")


def _items(value: Any, asked: Mapping[str, Any], _: Mapping[str, Any], where: str) -> None:
    if isinstance(value, list):
        for n, item in enumerate(value):
            check(item, asked, f"entry {n} of {where}")


def _least(value: Any, asked: int, _: Mapping[str, Any], where: str) -> None:
    if isinstance(value, list) and len(value) < asked:
        raise InputError(f"{where} has {len(value)} entries; at least {asked} are needed")


def _kind(value: Any) -> str:
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "an array"
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _nothing(*_: Any) -> None:
    """Of a keyword that asks nothing of a document."""


KEYWORDS: Mapping[str, Callable[[Any, Any, Mapping[str, Any], str], None]] = {
    "$schema": _nothing,
    "title": _nothing,
    "description": _nothing,
    "type": _type,
    "const": _const,
    "pattern": _pattern,
    "minimum": _minimum,
    "required": _required,
    "properties": _properties,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional,
    "items": _items,
    "minItems": _least,
}
