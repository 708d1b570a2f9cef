"""The section of reports/mutants.md on mutants of the generated sources; judges nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from changes import KINDS
from jinja2 import StrictUndefined, Template

__all__ = ["find_survivors", "page_of"]

Row = Mapping[str, Any]
PAGE = """\
## Generated sources

{{ rows | length }} mutants of the generated sources of {{ records | length }} schemes, made by \
`python benchmarks/mutation/of_sources.py` (count {{ records[0].count }}, seed {{ records[0].seed }}). A mutant is \
one change of the text, equivalent if it moves no step by more than {{ "%.0e" | format(rounding) }} of the largest \
term that a result is a sum of, on ten random \
pairs of times, with every length of past, a network that is not linear, and random states, noises and kept \
outputs; the log-SNR and the rows of lower order are compared too. Every other one is given to `verify`.

**{{ rejected | length }} of {{ changed | length }} mutants that are not equivalent are rejected \
({{ "%.1f" | format(share) }} %).**

| kind of change | mutants | equivalent | rejected | survived |
|---|---|---|---|---|
{% for kind in kinds %}
| {{ kind }} | {{ counts(kind) }} |
{% endfor %}

| first claim that fails (cheap ones are tried first) | mutants |
|---|---|
{% for claim, number in claims %}
| {{ claim }} | {{ number }} |
{% endfor %}

### Survivors

{% for row in survivors %}
- {{ describe(row) }}: {% if row.moved is not none %}moves a step by {{ "%.1e" | format(row.moved) }}\
{% else %}cannot be compared{% endif %}.
{% else %}
None.
{% endfor %}

### Equivalent mutants

{% for row in equivalent %}
- {{ describe(row) }}
{% else %}
None.
{% endfor %}
"""


def find_survivors(records: Iterable[Mapping[str, Any]]) -> list[Row]:
    """The mutants that change what a step gives and fail no claim."""
    return [row for record in records for row in record["rows"] if not row["equivalent"] and row["claim"] is None]


def page_of(records: Sequence[Mapping[str, Any]], rounding: float) -> str:
    """The section on the mutants of the records; ``rounding`` is the distance below which a step is the same."""
    rows = [{**row, "spec": record["spec"]} for record in records for row in record["rows"]]
    changed = [row for row in rows if not row["equivalent"]]
    rejected = [row for row in changed if row["claim"]]

    def count_rows(kind: str) -> str:
        own = [row for row in rows if row["kind"] == kind]
        same = sum(row["equivalent"] for row in own)
        caught = sum(row["claim"] is not None for row in own)
        return " | ".join(map(str, (len(own), same, caught, len(own) - same - caught)))

    page = Template(PAGE, undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True)
    return page.render(
        records=records,
        rows=rows,
        changed=changed,
        rejected=rejected,
        share=100 * len(rejected) / max(1, len(changed)),
        survivors=[row for row in changed if not row["claim"]],
        equivalent=[row for row in rows if row["equivalent"]],
        kinds=KINDS,
        claims=Counter(row["claim"] for row in rejected).most_common(),
        counts=count_rows,
        describe=describe_row,
        rounding=rounding,
    )


def describe_row(row: Row) -> str:
    """Where a change was made and what it is, cut to a line."""
    before, after = (" ".join(row[key].split()) for key in ("before", "after"))
    short = [text if len(text) < 90 else text[:87] + "..." for text in (before, after)]
    where = f"{row['spec']}, {row['kind']}, {row['function'] or 'module'} (line {row['line']})"
    return f"{where}: `{short[0]}` to `{short[1]}`"
