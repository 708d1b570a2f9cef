"""Processes and schemes as text: TOML files. The text in them is read by expression.py, never evaluated.

Knows the tables and keys of a file, and the types of what stands there; what a process or a scheme must satisfy is
checked where it is made.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from integrator_analysis.catalogue import SCHEMES, Scheme, register
from integrator_analysis.files import read_utf8
from integrator_analysis.inputs import InputError
from integrator_analysis.language.process_file import PROCESS_KEYS, read_process
from integrator_analysis.language.scheme_file import SCHEME_KEYS, read_scheme
from integrator_analysis.language.toml_table import TomlTable
from integrator_analysis.processes import FAMILIES, Process, register_process

__all__ = ["Loaded", "load_text", "read_text"]

MAX_FILE = 65_536
"""Bytes. The longest file that makes sense has a tenth of it."""


@dataclass(frozen=True)
class Loaded:
    """What was read from one file and registered: names of processes and schemes, empty where it holds none."""

    process: str = ""
    scheme: str = ""
    processes: tuple[str, ...] = field(default=())

    @property
    def specs(self) -> tuple[str, ...]:
        """The file's scheme on the processes that it names, and the catalogue's schemes on the file's process."""
        own = [f"{name}/{self.scheme}" for name in self.processes if self.scheme]
        if not self.process:
            return tuple(own)
        made = FAMILIES[self.process]()
        alike = "vp" if len(made.blocks) == 1 else "psld"
        named = [scheme for scheme in SCHEMES.values() if alike in scheme.processes]
        fitting = [f"{self.process}/{scheme.name}" for scheme in named if _can_be_lowered(scheme, made)]
        return tuple(dict.fromkeys(own + fitting))


def _can_be_lowered(scheme: Scheme, process: Process) -> bool:
    """Whether the scheme has a step on the process."""
    try:
        scheme.method.lower(process)
    except InputError:
        return False
    return True


def load_text(path: str | Path) -> Loaded:
    """Register the process, the scheme or both that a TOML file holds, so that specs can name them in this session.

    Raises InputError, one sentence that begins with the file's name, for a file that cannot be read or used, and for a
    name that is taken; then nothing is registered.
    """
    text = read_utf8(path, MAX_FILE)
    try:
        return read_text(text)
    except InputError as error:
        raise InputError(f"{Path(path)}: {error}") from error


def read_text(text: str) -> Loaded:
    """Do what ``load_text`` does, for the text of a file."""
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: also numbers of more digits than Python converts
        reason = "nested too deeply" if isinstance(error, RecursionError) else " ".join(str(error).split())
        raise InputError(f"not a TOML file: {reason[:200]}") from error
    top = TomlTable(data, "the file", ("process", "scheme"))
    if not data:
        raise InputError("the file holds neither a [process] nor a [scheme]")
    family = read_process(top.table("process", PROCESS_KEYS)) if "process" in data else None
    scheme = read_scheme(top.table("scheme", SCHEME_KEYS), family) if "scheme" in data else None
    if family is not None:
        register_process(family)
    if scheme is not None:
        register(scheme)
    return Loaded(family.name if family else "", scheme.name if scheme else "", scheme.processes if scheme else ())
