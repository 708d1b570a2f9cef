"""The layouts of generated files, one template each, and ``render``, which fills them in."""

from __future__ import annotations

from functools import cache
from typing import Any

import jinja2

__all__ = ["render"]


def render(name: str, **facts: Any) -> str:
    """The text of template ``name`` with these facts; a fact that is missing raises jinja2.UndefinedError."""
    return _environment().get_template(name).render(**facts)


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("integrator_analysis.codegen"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
