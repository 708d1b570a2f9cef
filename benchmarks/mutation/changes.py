"""Mutants: printed scheme source with one change of the kind that a slip in deriving, printing or copying makes.

Knows the syntax of printed source; runs nothing and judges nothing. Every change is an edit of the text, so that the
difference to the true source is one that a person can read.
"""

from __future__ import annotations

import ast
import random
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

__all__ = ["KINDS", "Mutant", "mutants", "replace_node"]

FACTS = ("ORDER", "NFE_PER_STEP", "HISTORY", "NOISES", "T_MAX", "T_MIN", "PRIOR_STD", "STOCHASTIC")
COEFFICIENT = re.compile(r"(decay|coupling|weight|noise|skip|scale)_\w+")
FACTOR = 1.001
"""A small change: a factor of two is seen by anything."""


@dataclass(frozen=True)
class Mutant:
    """One change: its kind, the line (from 1) and the function it is in, the text before and after, and the source."""

    kind: str
    line: int
    function: str
    before: str
    after: str
    source: str


_Edit = tuple[ast.AST, str]
"""A node and the text that takes its place."""


@dataclass(frozen=True)
class _Place:
    """A function of the source ("" for the module), with the names that it binds."""

    name: str
    body: Sequence[ast.AST]
    bound: frozenset[str]
    blocks: tuple[str, ...]

    def nodes(self) -> Iterator[ast.AST]:
        for statement in self.body:
            yield from ast.walk(statement)

    def names(self) -> Iterator[ast.Name]:
        """Names whose values are read; not those of modules, nor of tensors that are asked for their dtype."""
        asked = {id(n.value) for n in self.nodes() if isinstance(n, ast.Attribute)}
        return (
            n for n in self.nodes() if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load) and id(n) not in asked
        )

    def calls(self, name: str) -> Iterator[ast.Call]:
        return (
            n for n in self.nodes() if isinstance(n, ast.Call) and isinstance(n.func, ast.Name) and n.func.id == name
        )


def _sums(place: _Place) -> Iterator[ast.BinOp]:
    return (n for n in place.nodes() if isinstance(n, ast.BinOp) and isinstance(n.op, ast.Add | ast.Sub))


def _sign(place: _Place) -> Iterator[_Edit]:
    for total in _sums(place):
        flipped: ast.operator = ast.Sub() if isinstance(total.op, ast.Add) else ast.Add()
        yield total, f"({ast.unparse(ast.BinOp(total.left, flipped, total.right))})"
    for node in place.nodes():
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            yield node, f"({ast.unparse(node.operand)})"
    for value in _assigned(place):
        yield value, f"-({ast.unparse(value)})"


def _assigned(place: _Place) -> Iterator[ast.expr]:
    """What the coefficients and the functions they are made of are set to."""
    for node in place.nodes():
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and place.name not in ("", "step"):
            yield node.value


def _factor(place: _Place) -> Iterator[_Edit]:
    for node in place.nodes():
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult | ast.Div):
            for side in (node.left, node.right):
                if isinstance(side, ast.Constant):
                    yield side, repr(_value(side) + 1)
                elif isinstance(side, ast.Name) and place.name == "step":
                    yield side, f"{FACTOR} * {side.id}"
    for value in _assigned(place):
        yield value, f"{FACTOR} * ({ast.unparse(value)})"
    if place.name == "":
        for rule in ("RULE", "PANEL_RULE"):
            yield from ((n, repr(_value(n) * FACTOR)) for n in _numbers_of(rule, place))


def _exponent(place: _Place) -> Iterator[_Edit]:
    for node in place.nodes():
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow) and isinstance(node.right, ast.Constant):
            yield node.right, repr(_value(node.right) + 1)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("sqrt", "exp"):
            yield node, f"({ast.unparse(node)})**2"
    for name in place.names():
        if name.id in ("h", "elapsed", "clock", "t", "s") and place.name not in ("", "step"):
            yield name, f"{name.id}**2"


def _dropped_term(place: _Place) -> Iterator[_Edit]:
    for node in _sums(place):
        yield node, f"({ast.unparse(node.left)})"
        yield node, f"({'-' if isinstance(node.op, ast.Sub) else ''}({ast.unparse(node.right)}))"


def _swapped_blocks(place: _Place) -> Iterator[_Edit]:
    if len(place.blocks) < 2:
        return
    turned = dict(zip(place.blocks, (*place.blocks[1:], place.blocks[0]), strict=True))
    for name in place.names():
        letters = [turned.get(c, c) for c in name.id.split("_")]
        doubled = ["".join(turned.get(c, c) for c in part) if set(part) <= set(turned) else part for part in letters]
        other = "_".join(doubled)
        if other != name.id and other in place.bound:
            yield name, other


def _swapped_coefficients(place: _Place) -> Iterator[_Edit]:
    """One coefficient for another of the same step."""
    if place.name != "step":
        return
    known = sorted(n for n in place.bound if COEFFICIENT.fullmatch(n))
    for name in place.names():
        if name.id in known:
            yield name, known[(known.index(name.id) + 1) % len(known)]


def _time(place: _Place) -> Iterator[_Edit]:
    for name in place.names():
        head, _, tail = name.id.rpartition("_")
        other = f"{head}_{ {'t': 's', 's': 't'}.get(tail, '') }" if head else {"t": "s", "s": "t"}.get(name.id, "")
        if other in place.bound:
            yield name, other


def _stale_state(place: _Place) -> Iterator[_Edit]:
    if place.name != "step":
        return
    k = len(place.blocks)
    for i, block in enumerate(place.blocks):
        old = f"z.chunk({k}, dim=1)[{i}]" if k > 1 else "z"
        stores = [
            n.lineno for n in place.nodes() if isinstance(n, ast.Name) and n.id == block and n not in place.names()
        ]
        yield from ((n, old) for n in place.names() if n.id == block and n.lineno > sorted(stores)[1])
    for call in place.calls("network"):
        if ast.unparse(call.args[0]) != "z":
            yield call.args[0], "z"


def _drawn(place: _Place) -> list[ast.Name]:
    return [name for name in place.names() if name.id.startswith("xi_")]


def _dropped_noise(place: _Place) -> Iterator[_Edit]:
    yield from ((name, f"0.0 * {name.id}") for name in _drawn(place))


def _reused_noise(place: _Place) -> Iterator[_Edit]:
    known = sorted(n for n in place.bound if n.startswith("xi_"))
    for name in _drawn(place):
        yield from ((name, other) for other in known if other != name.id)


def _index(place: _Place) -> Iterator[_Edit]:
    for node in place.nodes():
        if isinstance(node, ast.Subscript):
            yield from ((n, repr(_value(n) + 1)) for n in ast.walk(node.slice) if _integer(n))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("_phi", "range", "min"):
            yield from ((n, repr(_value(n) + 1)) for n in node.args if _integer(n))
    for name in place.names():
        for match in re.finditer(r"\d", name.id):
            i = match.start()
            for digit in (int(name.id[i]) + 1, int(name.id[i]) - 1):
                other = f"{name.id[:i]}{digit}{name.id[i + 1 :]}"
                if other in place.bound:
                    yield name, other


def _value(node: ast.AST) -> float:
    """The number that a constant stands for, an integer where it is one."""
    value = ast.literal_eval(ast.unparse(node))
    assert isinstance(value, int | float)
    return value


def _integer(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and type(node.value) is int


def _branch(place: _Place) -> Iterator[_Edit]:
    for node in place.nodes():
        if isinstance(node, ast.Compare) and place.name:
            yield node, f"not ({ast.unparse(node)})"


def _parameter(place: _Place) -> Iterator[_Edit]:
    if place.name:
        return
    for node in place.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant | ast.UnaryOp):
            name, value = ast.unparse(node.targets[0]), ast.literal_eval(node.value)
            if isinstance(value, float) and name not in FACTS:
                yield node.value, repr(value * FACTOR if value else FACTOR - 1)


def _stated_fact(place: _Place) -> Iterator[_Edit]:
    for name in FACTS if place.name == "" else ():
        for number in _numbers_of(name, place):
            value = _value(number)
            yield number, repr(not value if isinstance(value, bool) else value + 1 if value else 1)


def _numbers_of(name: str, place: _Place) -> Iterator[ast.Constant]:
    for node in place.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            yield from (n for n in ast.walk(node.value) if isinstance(n, ast.Constant))


def _float32(place: _Place) -> Iterator[_Edit]:
    for name in place.names() if place.name == "step" else ():
        if name.id == "c":
            yield name, "c.float().double()"
    for node in place.nodes():
        if isinstance(node, ast.Return) and node.value is not None and place.name == "coefficients":
            yield node.value, f"{ast.unparse(node.value)}.float().double()"


KINDS: dict[str, Callable[[_Place], Iterator[_Edit]]] = {
    "sign": _sign,
    "factor": _factor,
    "exponent": _exponent,
    "dropped term": _dropped_term,
    "swapped blocks": _swapped_blocks,
    "swapped coefficients": _swapped_coefficients,
    "wrong time": _time,
    "stale state": _stale_state,
    "dropped noise": _dropped_noise,
    "reused noise": _reused_noise,
    "off-by-one index": _index,
    "negated branch": _branch,
    "parameter": _parameter,
    "stated fact": _stated_fact,
    "float32 table": _float32,
}
"""Kinds of change, each a function of a place in the source that yields nodes and what replaces them."""


def mutants(source: str, count: int, seed: int) -> list[Mutant]:
    """``count`` distinct mutants of a printed scheme, or all there are; the kinds take turns, in an order by ``seed``.

    Within a kind the functions of the source have equal chances, however long they are. That a mutant does anything is
    not said: what it changes may cancel, or not be read. Raises SyntaxError for a source that is no Python.

    >>> text = '\"\"\"Header.\"\"\"\\nBLOCKS = ("x",)\\nnu = 2.0\\n\\ndef coefficients(t, s):\\n    return (t - s,)\\n'
    >>> [(m.kind, m.before, m.after) for m in mutants(text, 20, seed=2) if m.kind == "parameter"]
    [('parameter', '2.0', '2.002')]
    """
    generator = random.Random(seed)
    sites = _sites(source)
    kinds = [kind for kind in KINDS if sites[kind]]
    generator.shuffle(kinds)
    found: dict[str, Mutant] = {}
    while len(found) < count and any(sites[kind] for kind in kinds):
        for kind in kinds:
            if len(found) == count or not sites[kind]:
                continue
            function = generator.choice(sorted(sites[kind]))
            edits = sites[kind][function]
            node, after = edits.pop(generator.randrange(len(edits)))
            if not edits:
                del sites[kind][function]
            made = replace_node(source, kind, function, node, after)
            if made.source != source:
                found.setdefault(made.source, made)
    return list(found.values())


def _sites(source: str) -> dict[str, dict[str, list[_Edit]]]:
    """Per kind and function, every edit there is."""
    sites: dict[str, dict[str, list[_Edit]]] = {kind: defaultdict(list) for kind in KINDS}
    for place in _places(ast.parse(source)):
        for kind, find in KINDS.items():
            edits = list(find(place))
            if edits:
                sites[kind][place.name].extend(edits)
    return sites


def _places(tree: ast.Module) -> Iterator[_Place]:
    constants = {ast.unparse(n.targets[0]): n.value for n in tree.body if isinstance(n, ast.Assign)}
    blocks = ast.literal_eval(constants["BLOCKS"])
    functions = [n for n in tree.body if isinstance(n, ast.FunctionDef)]
    yield _Place("", [n for n in tree.body if isinstance(n, ast.Assign)], frozenset(), blocks)
    for function in functions:
        body = function.body[1:] if isinstance(function.body[0], ast.Expr) else function.body  # no docstring
        bound = {a.arg for a in function.args.args}
        bound |= {n.id for st in body for n in ast.walk(st) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        yield _Place(function.name, body, frozenset(bound - {"_"}), blocks)


def replace_node(source: str, kind: str, function: str, node: ast.AST, after: str) -> Mutant:
    """The mutant in which ``after`` takes the place of ``node``, an expression of ``source`` as parsed."""
    lines = source.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line.encode()))
    data = source.encode()  # columns count bytes
    assert isinstance(node, ast.expr)
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    begin, end = starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset
    before = data[begin:end].decode()
    text = (data[:begin] + after.encode() + data[end:]).decode()
    return Mutant(kind, node.lineno, function, before, after, text)
