"""The section of reports/mutants.md on mutants of the derivation's own modules; judges nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from expressions import KINDS
from jinja2 import StrictUndefined, Template
from trials import ENDLESS, LIMIT, NOT_IMPORTED

__all__ = ["page_of"]

Row = Mapping[str, Any]

PAGE = """\
## The derivation's own modules

{{ rows | length }} mutants of the {{ total }} that there are, made by \
`python benchmarks/mutation/of_derivation.py` (seed {{ seed }}) and kept for as long as the lines that they change: \
every module has some, most those with most places that can be changed. A mutant is one \
change in a function body. The tests that are about the module are run, not the suite, without the cache; \
they pass on the true modules.

**{{ dead | length }} of {{ judged | length }} mutants that are judged are killed ({{ "%.1f" | format(share) }} %): \
{{ ways["a test"] }} by a failing test, {{ ways[not_imported] }} because a test file cannot be imported, \
{{ ways[endless] }} because the tests do not end within {{ limit }} s of computing. \
{{ same | length }} of the {{ survivors | length }} survivors are explained below; of all others \
{{ "%.1f" | format(rest) }} % are killed.**
{% if waiting %}

{{ waiting | length }} of the {{ rows | length }} mutants are not judged yet: their functions or tests were changed, \
or they are new. The program goes on with them.
{% endif %}

| module | places | mutants | killed | explained | survived | not judged yet |
|---|---|---|---|---|---|---|
{% for module, count in places.items() %}
| {{ module }} | {{ count }} | {{ counts("module", module) }} |
{% endfor %}

| kind of change | mutants | killed | explained | survived | not judged yet |
|---|---|---|---|---|---|
{% for kind, text in kinds.items() %}
| {{ kind }}: {{ text }} | {{ counts("kind", kind) }} |
{% endfor %}

### Survivors of the derivation's tests

{% for row in survivors %}
- {{ row.module }}, {{ row.function }} (line {{ row.line }}): `{{ row.before }}` to `{{ row.after }}`: \
{{ explain(row) or "Not explained." }}
{% else %}
None.
{% endfor %}
"""


def page_of(rows: Sequence[Row], places: Mapping[str, int], seed: int, explain: Callable[[Any], str]) -> str:
    """The section: what was drawn and killed, by module and by kind of change, and why the survivors pass.

    ``places`` says how many changes each module offers.
    """
    judged = [row for row in rows if "killed" in row]
    dead = [row for row in judged if row["killed"]]
    survivors = [row for row in judged if not row["killed"]]
    same = [row for row in survivors if explain(row)]

    def count_rows(field: str, value: str) -> str:
        own = [row for row in rows if row[field] == value]
        killed, explained = (sum(row in some for row in own) for some in (dead, same))
        waiting = sum(row not in judged for row in own)
        numbers = (len(own), killed, explained, len(own) - killed - explained - waiting, waiting)
        return " | ".join(map(str, numbers))

    page = Template(PAGE, undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True)
    return page.render(
        rows=rows,
        judged=judged,
        dead=dead,
        survivors=survivors,
        same=same,
        waiting=[row for row in rows if row not in judged],
        ways=Counter(r["killed"] if r["killed"] in (NOT_IMPORTED, ENDLESS) else "a test" for r in dead),
        share=100 * len(dead) / max(1, len(judged)),
        rest=100 * len(dead) / max(1, len(judged) - len(same)),
        total=sum(places.values()),
        places=places,
        kinds=KINDS,
        seed=seed,
        limit=LIMIT,
        not_imported=NOT_IMPORTED,
        endless=ENDLESS,
        counts=count_rows,
        explain=explain,
    )
