"""Does `verify` reject code that is right nearly everywhere? Mutants by circumstance, judged by their claims.

    python benchmarks/mutation/of_circumstances.py [--jobs 1]

Writes reports/circumstances.json as it goes (an interrupted run goes on where it stopped) and a section of
reports/mutants.md; some minutes. Exit status 1 if a mutant survives that a certificate should meet.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from typing import Any

import numpy as np
import torch
from circumstances import CircumstanceMutant, all_mutants, change_source
from jinja2 import StrictUndefined, Template
from records import read_record, say, write_record, write_section

import integrator_analysis as ia
from integrator_analysis.verification.certify import CHECKS, first_failure
from torch_backend.source import body_hash

RECORD = "circumstances.json"

PAGE = """\
## Sources that are wrong in some circumstances

{{ rows | length }} mutants, made by `python benchmarks/mutation/of_circumstances.py`: a generated source is wrong in \
one circumstance (a shape, a layout, a dtype, an end of the interval, a size of numbers, a call, a row of many) and \
right in all others, or does something beside its work. The change is a factor 1 + 1e-6 where nothing else is said. \
Whether a mutant differs from the source in a step that somebody makes is clear from its circumstance.

**{{ rejected | length }} of {{ due | length }} are rejected.** {{ narrow | length }} more are wrong in circumstances \
that a certificate says it need not meet; {{ met | length }} of them are rejected all the same.

| what is wrong | mutants | rejected |
|---|---|---|
{% for what, (made, found) in by_what.items() %}
| {{ what }} | {{ made }} | {{ found }} |
{% endfor %}

| first claim that fails | mutants |
|---|---|
{% for claim, count in claims %}
| {{ claim }} | {{ count }} |
{% endfor %}

### Survivors

{% for row in survivors %}
- {{ row.spec }}, {{ row.function }}: {{ row.what }}, {{ row.where }}{{ "; found by " + row.narrow if row.narrow }}.
{% else %}
None.
{% endfor %}
"""


@cache
def _integrator(spec: str) -> ia.Integrator:
    return ia.derive(spec)


def judge(mutant: CircumstanceMutant) -> dict[str, Any]:
    """The mutant with the first claim that it fails, None where it passes all.

    What a mutant sets for the whole process is set back.
    """
    integrator = _integrator(mutant.spec)
    kept = torch.get_default_dtype(), torch.is_grad_enabled(), torch.random.get_rng_state()
    others = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        failed = first_failure(integrator, change_source(integrator.source, mutant))
    finally:
        torch.set_default_dtype(kept[0])
        torch.set_grad_enabled(kept[1])
        torch.random.set_rng_state(kept[2])
        random.setstate(others[0])
        np.random.set_state(others[1])  # noqa: NPY002
    row = mutant._asdict() | {"body": body_hash(integrator.source), "claim": None if failed is None else failed.name}
    return row | {"checks": [check.name for check in CHECKS]}


def report(rows: Sequence[Mapping[str, Any]]) -> str:
    """The section of the page."""
    narrow = [row for row in rows if row["narrow"]]
    due = [row for row in rows if not row["narrow"]]
    by_what: dict[str, tuple[int, int]] = {}
    for row in due:
        made, found = by_what.get(row["what"], (0, 0))
        by_what[row["what"]] = made + 1, found + (row["claim"] is not None)
    template = Template(PAGE, undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True)
    return template.render(
        rows=rows,
        due=due,
        rejected=[row for row in due if row["claim"]],
        narrow=narrow,
        met=[row for row in narrow if row["claim"]],
        by_what=by_what,
        claims=Counter(row["claim"] for row in rows if row["claim"]).most_common(),
        survivors=[row for row in rows if not row["claim"]],
    )


def _key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in CircumstanceMutant._fields)


def main() -> None:
    """Judge all mutants that are not on record for today's sources and checks; write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    jobs = parser.parse_args().jobs
    mutants = list(all_mutants())
    names = [check.name for check in CHECKS]
    known = {
        _key(row): row
        for row in read_record(RECORD)
        if row["claim"] and row["checks"] == names and row["body"] == body_hash(_integrator(row["spec"]).source)
    }
    todo = [mutant for mutant in mutants if tuple(mutant) not in known]
    say(f"{len(mutants) - len(todo)} of {len(mutants)} are judged already")
    try:
        with ProcessPoolExecutor(max_workers=jobs, mp_context=get_context("spawn")) as pool:
            for n, row in enumerate(pool.map(judge, todo, chunksize=4), start=1):
                known[_key(row)] = row
                if n % 20 == 0 or n == len(todo):
                    write_record(RECORD, known.values())
                    say(f"{n} of {len(todo)}; last: {row['what']}, {row['where']}: {row['claim']}")
    except KeyboardInterrupt:
        say("interrupted; what was judged is kept, the same command goes on from there")
        sys.exit(130)
    rows = [known[tuple(mutant)] for mutant in mutants]
    write_record(RECORD, rows)
    write_section("circumstances", report(rows))
    sys.exit(any(not row["claim"] and not row["narrow"] for row in rows))


if __name__ == "__main__":
    main()
