"""Do the walk checks reject wrong walks? Seeded mutants of exported diffusers schedulers, judged by driving them.

    python benchmarks/mutation/of_walks.py [--count 200] [--seed 20231011]

A mutant is one change in the text of an exported file, in a function of its walk or scheduler; the certified step is
left as it is. Each is judged by torch_backend.measuring.walk_checks; what was rejected is not judged again while the
exported file is the same. Writes reports/walk_mutants.json as it goes and a section of reports/mutants.md.
Exit status 1 if a mutant survives unexplained.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import importlib.util
import logging
import os
import random
import sys
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"  # a changed from_config asks for a config of another name
import diffusers
from changes import Mutant, replace_node
from explained_walks import EXPLAINED
from expressions import alternatives, changed_lines, places
from jinja2 import StrictUndefined, Template
from of_sources import time_limit
from records import read_record, say, write_record, write_section

import integrator_analysis as ia
from integrator_analysis.verification.bench import SEED
from torch_backend.export.diffusers import class_name, scheduler_module
from torch_backend.measuring.device import one_thread
from torch_backend.measuring.walk_checks import Subject, first_failure
from torch_backend.scheme import facts_of
from torch_backend.source import BEGIN, END, body_hash, module_from_source

RECORD = "walk_mutants.json"
COUNT = 200
PATIENCE = 10.0
"""Seconds of computing for the checks of one mutant; the true walks take half a second. Bisections may never end."""
TABLE = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
TRAILING, LINSPACE = {"timestep_spacing": "trailing"}, {"timestep_spacing": "linspace"}
LEADING = {"timestep_spacing": "leading", "steps_offset": 1}
KARRAS, EXPONENTIAL = {"use_karras_sigmas": True}, {"use_exponential_sigmas": True}
FLOW = {"use_flow_sigmas": True}
SUBJECTS: Mapping[str, tuple[str, Mapping[str, Any], Sequence[Mapping[str, Any]]]] = {
    "vp/DDIM": ("DDIMScheduler", TABLE | {"clip_sample": False}, [TRAILING, LEADING, LINSPACE]),
    "vp/DDIM-eta": ("DDIMScheduler", TABLE | {"clip_sample": False}, [TRAILING]),
    "vp/UniPC-2": ("UniPCMultistepScheduler", TABLE, [TRAILING, EXPONENTIAL, LEADING]),
    "vp/DPM-Solver++3M": ("DPMSolverMultistepScheduler", TABLE, [TRAILING, EXPONENTIAL, LINSPACE]),
    "flow/Heun": ("FlowMatchHeunDiscreteScheduler", {}, [{}, {"shift": 3.0}]),
    "flow/UniPC-2": ("UniPCMultistepScheduler", FLOW, [{}, {"flow_shift": 3.0}]),
}
"""Spec -> counterpart, keys of the config that both take, and keys with which both have the same grid."""

MODULES = (
    "torch_backend.networks.prediction",
    *(f"torch_backend.export.exported_text.{name}" for name in ("stages", "counterparts", "flow_counterparts")),
    *(f"torch_backend.export.exported_text.scheduler_{name}" for name in ("engine", "table", "flow")),
)
"""The modules whose functions are changed where an exported file carries them, and of those of the walk:"""
WALK = ("tabulate", "lowers_final_order")
CONVERSIONS = ("to", "clamp", "double", "float", "clone", "unbind")
KINDS = {
    "operator": "+ and -, * and /, ** to *",
    "comparison": "< and <=, == and !=, in and not in, is and is not",
    "connective": "and and or",
    "sign": "- or not left out",
    "constant": "an integer one larger, True and False",
    "branch": "a condition negated",
    "stale attribute": "an attribute of the scheduler keeps its value",
    "dropped conversion": "a call of to, clamp, double, float, clone or unbind left out",
    "dropped argument": "the last argument of a call left out",
    "swapped arguments": "the first two arguments of a call exchanged",
    "swapped times": "t for s, alpha for sigma, skip for scale, and back",
}
TWINS = {"t": "s", "s": "t", "alpha": "sigma", "sigma": "alpha", "skip": "scale", "scale": "skip", "low": "high"}


def walk_alternatives(node: ast.AST) -> Iterator[tuple[str, ast.expr, str]]:
    """The changes of one node that are peculiar to walks: kind, expression and the text that takes its place."""
    match node:
        case ast.Assign([ast.Attribute(ast.Name("self")) as target], value):
            yield "stale attribute", value, ast.unparse(target)
        case ast.AugAssign(ast.Attribute(ast.Name("self")), _, value):
            yield "stale attribute", value, "0"
        case ast.Call(ast.Attribute(inner, name)) if name in CONVERSIONS:
            yield "dropped conversion", node, f"({ast.unparse(inner)})"
    if isinstance(node, ast.Call) and len(node.args) + len(node.keywords) > 1:
        shorter = node.args if node.keywords else node.args[:-1]
        yield "dropped argument", node, ast.unparse(ast.Call(node.func, shorter, node.keywords[:-1]))
    if isinstance(node, ast.Call) and len(node.args) > 1 and not isinstance(node.args[1], ast.GeneratorExp):
        turned = [node.args[1], node.args[0], *node.args[2:]]
        yield "swapped arguments", node, ast.unparse(ast.Call(node.func, turned, node.keywords))
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in TWINS:
        yield "swapped times", node, TWINS[node.id]


@cache
def functions_of_walks() -> frozenset[str]:
    """The names of the functions that a scheduler's walk is made of, in the modules that exported files carry."""
    names = set(WALK)
    for module in MODULES:
        found = importlib.util.find_spec(module)
        assert found is not None
        assert found.loader is not None
        text = found.loader.get_source(found.name)  # type: ignore[attr-defined]
        names |= {node.name for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)}
    return frozenset(names - {"_cosine_betas", "check_starts_with_evaluation"})


@cache
def exported_text(spec: str) -> str:
    """The exported file of a spec, with a certificate of no claims: none is read here."""
    source = ia.derive(spec).source
    evidence = {"source_hash": f"sha256:{body_hash(source)}", "versions": {}, "dtype": "", "device": "", "seed": 0}
    return scheduler_module(source, {"passed": True, "evidence": evidence, "claims": []})


@cache
def all_edits(spec: str) -> dict[str, dict[str, list[tuple[ast.expr, str]]]]:
    """Kind -> function -> every edit of that kind in the walk of a spec's exported file: what, and what replaces it."""
    text = exported_text(spec)
    first, last = (text[: text.index(mark)].count("\n") + 1 for mark in (BEGIN, END))
    found: dict[str, dict[str, list[tuple[ast.expr, str]]]] = defaultdict(lambda: defaultdict(list))
    for function, node in places(ast.parse(text)):
        line = getattr(node, "lineno", 0)
        if function.name not in functions_of_walks() or first <= line <= last:
            continue
        for kind, target, after in (*alternatives(node), *walk_alternatives(node)):
            if ast.unparse(target) != after.strip("()"):
                found[kind][function.name].append((target, after))
    return found


def make_mutant(spec: str, kind: str, function: str, place: int) -> Mutant:
    """The mutant at a place among the edits of its kind and function."""
    return replace_node(exported_text(spec), kind, function, *all_edits(spec)[kind][function][place])


def draw_mutants(count: int, seed: int) -> list[tuple[str, Mutant, int]]:
    """``count`` distinct mutants, with the spec of each and its place among those of its kind and function.

    Kinds and specs take turns, functions have equal chances.
    """
    generator = random.Random(seed)
    drawn: dict[tuple[str, ...], tuple[str, Mutant, int]] = {}
    kinds, specs = list(KINDS), list(SUBJECTS)
    for turn in range(100 * count):
        kind, spec = kinds[turn % len(kinds)], specs[(turn // len(kinds)) % len(specs)]
        functions = all_edits(spec)[kind]
        if len(drawn) == count:
            break
        if not functions:
            continue
        function = generator.choice(sorted(functions))
        place = generator.randrange(len(functions[function]))
        mutant = make_mutant(spec, kind, function, place)
        key = (spec.split("/")[0], kind, function, mutant.before, mutant.after, str(place))
        drawn.setdefault(key, (spec, mutant, place))
    return list(drawn.values())


def same_mutants(spec: str, mutant: Mutant, place: int) -> Iterator[tuple[str, Mutant]]:
    """The same change in the exported files of all specs of the process, which share the text; ``spec`` first."""
    yield spec, mutant
    for other in SUBJECTS:
        if other != spec and other.split("/")[0] == spec.split("/")[0]:
            made = make_mutant(other, mutant.kind, mutant.function, place)
            assert (made.before, made.after) == (mutant.before, mutant.after)
            yield other, made


def subject_of(spec: str, text: str) -> Subject:
    """The scheduler of an exported file's ``text``, with the generated step of the spec and its counterpart."""
    counterpart, config, grids = SUBJECTS[spec]
    module = module_from_source(text, f"walk_mutant_{class_name(spec)}")
    kind = getattr(module, class_name(spec))
    more = [KARRAS] if EXPONENTIAL in grids else []
    facts = facts_of(module_from_source(ia.derive(spec).source, f"walk_true_{class_name(spec)}"))
    return Subject(kind, facts, getattr(diffusers, counterpart), config, grids, more)


def judge_text(spec: str, text: str) -> str | None:
    """The first check that the exported file of a spec fails with this ``text``; None where it passes all."""
    with warnings.catch_warnings(), one_thread():
        warnings.simplefilter("ignore")  # diffusers uses what numpy and torch have deprecated
        try:
            with time_limit(PATIENCE):
                subject = subject_of(spec, text)
        except Exception as error:  # a change that does not even import
            return f"import: raises {type(error).__name__}"
        with time_limit(PATIENCE):
            return first_failure(subject)


def judge(spec: str, mutant: Mutant, place: int) -> dict[str, Any]:
    """A row of the record: the change, and the first check that fails or the reason why none has to.

    The change is in a text that all exports of the process share, so that each of them may reject it.
    """
    before, after = changed_lines(exported_text(spec), mutant.source)
    failed = None
    for name, made in same_mutants(spec, mutant, place):
        failed = judge_text(name, made.source)
        if failed:
            break
    return {
        "spec": spec,
        "text": hash_of(spec),
        "kind": mutant.kind,
        "function": mutant.function,
        "before": before,
        "after": after,
        "rejected_on": name if failed else None,
        "check": failed,
        "reason": None if failed else EXPLAINED.get((mutant.function, before, after)),
    }


def hash_of(spec: str) -> str:
    """The hash of a spec's exported file: a verdict holds for as long as it stays the same."""
    return hashlib.sha256(exported_text(spec).encode()).hexdigest()[:16]


def identity(row: Mapping[str, Any]) -> tuple[str, ...]:
    """What tells a mutant from the others of its exported file."""
    return tuple(row[key] for key in ("spec", "kind", "function", "before", "after"))


def find_survivors(rows: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The mutants that pass every check, without a reason."""
    return [row for row in rows if row["check"] is None and row["reason"] is None]


PAGE = """\
## Walks and schedulers

{{ rows | length }} mutants of the exported diffusers schedulers of {{ specs | join(", ") }}, made by \
`python benchmarks/mutation/of_walks.py` (seed {{ seed }}). A mutant is one change of a function of the walk or the \
scheduler in the exported file; the certified step stays. It is judged on all these exports of its process, as a \
pipeline drives it: grids against the counterpart in diffusers, walks against the generated step on the exact \
predictions of a mixture, beginnings in the middle, clipping, noise, dtypes and devices, configs, and what must be \
refused (torch_backend/measuring/walk_checks.py).

**{{ rejected | length }} of {{ rows | length }} are rejected, {{ explained | length }} explained, \
{{ survivors | length }} survive.**

| kind of change | what is changed | mutants | rejected | explained |
|---|---|---|---|---|
{% for kind, meaning in kinds.items() %}
| {{ kind }} | {{ meaning }} | {{ counts(kind) }} |
{% endfor %}

| first check that fails | mutants |
|---|---|
{% for check, number in checks %}
| {{ check }} | {{ number }} |
{% endfor %}

### Survivors

{% for row in survivors %}
- {{ describe(row) }}
{% else %}
None.
{% endfor %}

### Explained

{% for row in explained %}
- {{ describe(row) }}: {{ row.reason }}
{% else %}
None.
{% endfor %}
"""


def page_of(rows: Sequence[Mapping[str, Any]], seed: int) -> str:
    """The section on these mutants."""
    rejected = [row for row in rows if row["check"]]

    def count_rows(kind: str) -> str:
        own = [row for row in rows if row["kind"] == kind]
        found = (len(own), sum(bool(row["check"]) for row in own), sum(bool(row["reason"]) for row in own))
        return " | ".join(map(str, found))

    page = Template(PAGE, undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True)
    return page.render(
        rows=rows,
        rejected=rejected,
        explained=[row for row in rows if row["reason"]],
        survivors=find_survivors(rows),
        specs=list(SUBJECTS),
        seed=seed,
        kinds=KINDS,
        counts=count_rows,
        checks=Counter(row["check"].split(":")[0] for row in rejected).most_common(),
        describe=describe_row,
    )


def describe_row(row: Mapping[str, Any]) -> str:
    """Where a change was made and what it is, each text cut to a line."""
    short = [text if len(text) < 110 else text[:107] + "..." for text in (row["before"], row["after"])]
    return f"{row['spec']}, {row['kind']}, {row['function']}: `{short[0]}` to `{short[1]}`"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--count", type=int, default=COUNT)
    parser.add_argument("--seed", type=int, default=SEED)
    arguments = parser.parse_args()
    logging.getLogger("diffusers").setLevel(logging.ERROR)
    for spec in SUBJECTS:
        failed = judge_text(spec, exported_text(spec))
        if failed:
            say(f"{spec} as it is fails {failed}")
            sys.exit(2)
    known = {identity(row): row for row in read_record(RECORD) if row["check"] and row["text"] == hash_of(row["spec"])}
    rows = []
    for n, (spec, mutant, place) in enumerate(draw_mutants(arguments.count, arguments.seed), start=1):
        before, after = changed_lines(exported_text(spec), mutant.source)
        kept = known.get((spec, mutant.kind, mutant.function, before, after))
        rows.append(kept or judge(spec, mutant, place))
        if find_survivors(rows[-1:]):
            say(describe_row(rows[-1]))
        if n % 20 == 0 or n == arguments.count:
            write_record(RECORD, rows)
            say(f"{n} of {arguments.count}: {len(find_survivors(rows))} survive")
    write_section("walks", page_of(rows, arguments.seed))
    sys.exit(bool(find_survivors(rows)))


if __name__ == "__main__":
    main()
