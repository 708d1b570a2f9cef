"""The header of a generated module: what it is, its process, its order and leading error, what was checked.

Knows words and line widths; the code below the header comes from the other modules of this folder.
"""

from __future__ import annotations

import textwrap
from importlib.metadata import PackageNotFoundError, version

from integrator_analysis.program.step_program import Step

WIDTH = 116


def parameter_values(program: Step) -> list[str]:
    return [f"{p} = {float(v):g}" for p, v in program.parameters.items()]


def wrap(text: str) -> list[str]:
    indent = " " * (len(text) - len(text.lstrip()))
    return textwrap.wrap(text, WIDTH, subsequent_indent=indent + "    ", break_long_words=False) or [""]


def package_version() -> str:
    """This project's version, installed or not."""
    try:
        return version("integrator-analysis")
    except PackageNotFoundError:
        return "0.1.0"
