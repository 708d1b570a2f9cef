"""A derivation as a document: sections of prose and formulas, written as text, Markdown or HTML.

Knows how formulas are laid out; account.py decides what is said. Every text is escaped for where it goes; the HTML is
one file that needs no script and no network.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import sympy

from integrator_analysis.algebra import notation

__all__ = ["RENDERERS", "Derivation", "Formula", "Section"]


@dataclass(frozen=True)
class Formula:
    """``left`` ``relation`` ``right``, and what it is in words; the relation is "=" or "<-" (is replaced by)."""

    left: sympy.Expr
    right: sympy.Expr | sympy.MatrixBase
    relation: str = "="
    note: str = ""


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it, in order: sentences and formulas."""

    title: str
    items: tuple[str | Formula, ...]


@dataclass(frozen=True)
class Derivation:
    """The derivation of one spec, section by section."""

    title: str
    summary: str
    sections: tuple[Section, ...]

    def text(self) -> str:
        """Lines for a terminal, formulas in the names of the code."""
        lines = [f"{self.title}: {self.summary}"]
        for section in self.sections:
            lines += ["", section.title]
            lines += [f"  {line}" for item in section.items for line in _text_lines(item)]
        return "\n".join(lines) + "\n"

    def markdown(self) -> str:
        """Markdown with LaTeX between dollar signs."""
        lines = [f"# {_markdown(self.title)}", "", _markdown(self.summary)]
        for section in self.sections:
            lines += ["", f"## {_markdown(section.title)}"]
            for item in section.items:
                if isinstance(item, str):
                    lines += ["", _markdown(item)]
                    continue
                lines += ["", _markdown(item.note) + ":"] if item.note else []
                arrow = r"\leftarrow" if item.relation == "<-" else item.relation
                lines += ["", f"$$ {notation.latex(item.left)} {arrow} {notation.latex(item.right)} $$"]
        return "\n".join(lines) + "\n"

    def html(self) -> str:
        """One HTML file with MathML, which browsers lay out themselves."""
        body = [f"<h1>{html.escape(self.title)}</h1>", f"<p>{html.escape(self.summary)}</p>"]
        for section in self.sections:
            body.append(f"<h2>{html.escape(section.title)}</h2>")
            body += [_html_item(item) for item in section.items]
        return PAGE.format(title=html.escape(self.title), body="\n".join(body))


RENDERERS: Mapping[str, Callable[[Derivation], str]] = MappingProxyType(
    {"text": Derivation.text, "markdown": Derivation.markdown, "html": Derivation.html}
)
"""By the name of the format."""

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8"/>
<meta name="viewport" content="width=device-width, initial-scale=1"/>
<title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222; }}
h1 {{ font-size: 1.5rem; }}
h2 {{ font-size: 1.15rem; margin-top: 2rem; border-bottom: 1px solid #ddd; }}
.formula {{ overflow-x: auto; margin: 0.7rem 0 0.7rem 1.5rem; }}
.note {{ color: #666; font-size: 0.9rem; }}
math {{ font-size: 1.1rem; }}
</style>
</head>
<body>
{body}
</body>
</html>
"""


def _text_lines(item: str | Formula) -> Iterator[str]:
    if isinstance(item, str):
        yield item
    else:
        note = f"    ({item.note})" if item.note else ""
        yield f"{notation.text(item.left)} {item.relation} {notation.text(item.right)}{note}"


def _markdown(prose: str) -> str:
    """Prose with what Markdown would read as marks escaped."""
    return re.sub(r"([\\`*_{}\[\]<>#|$])", r"\\\1", prose)


def _html_item(item: str | Formula) -> str:
    if isinstance(item, str):
        return f"<p>{html.escape(item)}</p>"
    relation = "\u2190" if item.relation == "<-" else html.escape(item.relation)
    note = f'<div class="note">{html.escape(item.note)}</div>\n' if item.note else ""
    row = f"<mrow>{notation.mathml(item.left)}<mo>{relation}</mo>{notation.mathml(item.right)}</mrow>"
    return f'{note}<div class="formula"><math display="block">{row}</math></div>'
