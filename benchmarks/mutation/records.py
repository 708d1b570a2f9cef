"""What both programs of this folder share: where records and the page lie, progress on stderr, sections of the page."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from integrator_analysis.files import write_text

__all__ = ["REPORTS", "ROOT", "read_record", "say", "write_record", "write_section"]

ROOT = Path(__file__).parents[2]
REPORTS = ROOT / "reports"
PAGE = REPORTS / "mutants.md"
TITLE = "# Mutants: does a wrong program get through?\n"
START = time.perf_counter()


def say(text: str) -> None:
    """Print a line to stderr with the seconds since the start."""
    print(f"[{time.perf_counter() - START:5.0f} s] {text}", file=sys.stderr, flush=True)


def read_record(name: str) -> list[dict[str, Any]]:
    """The rows of a record in reports/, none if there is no such file."""
    path = REPORTS / name
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else []


def write_record(name: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write the rows to a record in reports/, whole or not at all."""
    write_text(REPORTS / name, json.dumps(list(rows), indent=1) + "\n")


def write_section(name: str, text: str, page: Path = PAGE) -> None:
    """Write ``text`` to the page between the marks of that name, which are added to a page that lacks them."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    old = page.read_text(encoding="utf-8") if page.exists() else TITLE
    if begin not in old:
        write_text(page, f"{old}\n{begin}\n{text}{end}\n")
    else:
        write_text(page, old.split(begin, 1)[0] + f"{begin}\n{text}{end}" + old.split(end, 1)[1])
