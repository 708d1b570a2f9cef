"""Derivations on disk: facts about a spec, kept under a hash of its definition and of the code that derived them.

Knows keys, files and JSON; knows nothing of what the facts mean. A key holds everything that a derivation reads: the
process with its parameters, the method field by field, the text of the modules that derive, the versions of Python and
sympy. So an edit or another version finds nothing rather than something stale. A method or a function of the user's own
code cannot be written down so: it has no key, and nothing of it is kept. Files are plain JSON with a checksum of their
content, written to a temporary name and renamed: one that is cut off, foreign or changed is ignored, and replaced in
time.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import sympy
from sympy.core.function import AppliedUndef
from sympy.external.gmpy import GROUND_TYPES

from integrator_analysis.algebra.special import Table
from integrator_analysis.files import write_text
from integrator_analysis.inputs import InputError
from integrator_analysis.processes import Process

__all__ = ["MAX_BYTES", "VARIABLE", "Record", "Usage", "clear", "find", "folder", "key_of", "usage"]

VARIABLE = "INTEGRATOR_ANALYSIS_CACHE"
"""The environment variable that names another folder; if it is empty, nothing is kept."""

MAX_BYTES = 64 * 2**20
"""What all entries may take; the oldest go first. The whole catalogue takes 3 MB."""
MAX_ENTRY = 4 * 2**20
"""A longer file is not read. The longest of the catalogue, UniPC-eps-2 on PSLD, has 0.4 MB."""
STALE = 3600.0
"""Seconds after which a temporary file is one that an interrupted process left."""

APART = (
    *("__init__.py", "cache.py", "cli.py", "files.py", "integrator.py"),
    *("catalogue", "codegen", "derivation", "figures", "language", "recommendation", "report", "verification"),
)
"""Modules that no kept fact depends on: an edit there keeps the entries. Catalogue and language only make processes and
methods, which are in the key themselves; the others come after a derivation. All that is not named here counts, so that
a new module cannot leave stale facts behind."""


class _Unwritable(Exception):
    """A value whose definition cannot be written down, so that nothing that depends on it is kept."""


def key_of(process: Process, method: object) -> str | None:
    """The key of ``method`` on ``process``, or None where their definitions do not determine what is derived from them.

    The name of a scheme is not part of it: a scheme of the same name and other content has another key.
    """
    if type(process) is not Process:  # a subclass may override anything
        return None
    try:
        parts = [_as_text(list(process.content)), _as_text(method), code_hash()]
    except _Unwritable:
        return None
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _as_text(value: object) -> str:
    """``value`` as text that tells it from every other value; raises _Unwritable where there is no such text.

    Numbers, text, sympy expressions, and dataclasses of this package have one.
    """
    if isinstance(value, sympy.Basic | sympy.MatrixBase):
        return _expression_as_text(value)
    if value is None or type(value) in (str, int, float, bool, Fraction):
        return repr(value)
    if type(value) in (list, tuple):
        return "[" + ", ".join(map(_as_text, value)) + "]"  # type: ignore[call-overload]
    if is_dataclass(value) and type(value).__module__.startswith("integrator_analysis."):
        entries = ", ".join(f"{f.name}={_as_text(getattr(value, f.name))}" for f in fields(value))
        return f"{type(value).__qualname__}({entries})"
    raise _Unwritable(type(value).__name__)


def _expression_as_text(value: sympy.Basic | sympy.MatrixBase) -> str:
    """srepr, for expressions whose nodes are sympy's or this package's; tables of numbers with their values."""
    nodes = [node for entry in (value if isinstance(value, sympy.MatrixBase) else [value]) for node in _nodes(entry)]
    for node in nodes:
        module = type(node).__module__ or ""
        if not isinstance(node, AppliedUndef) and not module.startswith(("sympy.", "integrator_analysis.")):
            raise _Unwritable(type(node).__name__)
    tables = sorted({f"{node.name}={node.values}" for node in nodes if isinstance(node, Table)})
    return sympy.srepr(value) + "".join(tables)


def _nodes(entry: sympy.Basic) -> Iterator[sympy.Basic]:
    return iter(sympy.preorder_traversal(entry))


@cache
def code_hash() -> str:
    """sha256 of the modules that derivations depend on, and of the versions of what computes: once in a process."""
    root = Path(__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        name = path.relative_to(root)
        if name.parts[0] not in APART:
            digest.update(str(name).encode() + b"\0" + path.read_bytes() + b"\0")
    digest.update(f"{sympy.__version__} {GROUND_TYPES} {sys.version_info[:2]}".encode())
    return digest.hexdigest()


@dataclass
class Record:
    """What is kept of one spec: ``facts`` by name, numbers, text, lists and mappings only. No key: kept in memory."""

    key: str | None
    facts: dict[str, Any]

    def keep(self, **facts: Any) -> None:
        """Add facts, on disk too where that is possible. A fact that a second process adds meanwhile may be lost."""
        self.facts |= facts
        path = _path(self.key)
        if path is None or self.key is None:
            return
        body = json.dumps(self.facts, sort_keys=True)
        if len(body) > MAX_ENTRY // 2:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(path, json.dumps({"key": self.key, "checksum": _checksum(self.key, body), "facts": self.facts}))
            _prune(path.parent)
        except (InputError, OSError):
            return  # no cache, then


def find(key: str | None) -> Record:
    """What is kept under ``key``: nothing for None, and for a file that is not what ``keep`` writes."""
    path = _path(key)
    if path is None or key is None:
        return Record(key, {})
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_ENTRY:
            return Record(key, {})
        data = json.loads(path.read_text(encoding="utf-8"))
        whole = data["key"] == key and data["checksum"] == _checksum(key, json.dumps(data["facts"], sort_keys=True))
        return Record(key, data["facts"] if whole and isinstance(data["facts"], dict) else {})
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return Record(key, {})


def _checksum(key: str, body: str) -> str:
    return hashlib.sha256(f"{key}\n{body}".encode()).hexdigest()


def folder() -> Path | None:
    """Where entries lie; None where nothing is kept."""
    named = os.environ.get(VARIABLE)
    if named is not None:
        return Path(named) if named else None
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(base) / "integrator-analysis" if os.path.isabs(base) else None


def _path(key: str | None) -> Path | None:
    where = folder()
    return None if where is None or key is None else where / f"{key}.json"


def _files(where: Path) -> list[tuple[Path, os.stat_result]]:
    """The entries of a folder, and what interrupted writers left; oldest first. Other files are not touched."""
    found = []
    for entry in os.scandir(where):
        name = entry.name.removeprefix(".")
        ours = len(name) >= 69 and name[64:69] == ".json" and all(c in "0123456789abcdef" for c in name[:64])
        if ours and (name[69:] == "" or name.endswith(".partial")) and entry.is_file(follow_symlinks=False):
            try:
                found.append((Path(entry.path), entry.stat(follow_symlinks=False)))
            except FileNotFoundError:
                continue  # renamed or removed by another process just now
    return sorted(found, key=lambda item: item[1].st_mtime)


def _prune(where: Path) -> None:
    files, now = _files(where), time.time()
    total = sum(status.st_size for _, status in files)
    for path, status in files:
        left = path.suffix == ".partial" and now - status.st_mtime > STALE
        if total <= MAX_BYTES and not left:
            continue
        path.unlink(missing_ok=True)
        total -= status.st_size


@dataclass(frozen=True)
class Usage:
    """Where entries lie (None: nothing is kept), how many, and their size in bytes."""

    folder: Path | None
    entries: int
    size: int


def usage() -> Usage:
    """What is kept at present."""
    where = folder()
    if where is None or not where.is_dir():
        return Usage(where, 0, 0)
    entries = [status.st_size for path, status in _files(where) if path.suffix == ".json"]
    return Usage(where, len(entries), sum(entries))


def clear() -> int:
    """Remove all entries, and say how many. Raises InputError where they cannot be removed."""
    where = folder()
    if where is None or not where.is_dir():
        return 0
    removed = 0
    for path, _ in _files(where):
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise InputError(f"cannot remove {path}: {error.strerror}; remove the folder by hand") from error
        removed += path.suffix == ".json"
    return removed
