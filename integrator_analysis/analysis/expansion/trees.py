"""Elementary differentials of one unknown vector field as typed rooted trees, and series in h whose terms they are.

Knows how to expand an evaluation of the field at a nearby point, for blocks of any dimension. There derivatives of the
field are symmetric multilinear maps, not numbers: two trees are two terms even where numbers would commute.
Coefficients are elements of a JetRing without jets of the field. Knows nothing of schemes.

A tree is a leaf or a node. A leaf ``(block,)`` is a block of the state itself. A node ``(component, times, children)``
is a component of the field, differentiated ``times`` times by t and once along each child. A child is a pair (block
that is differentiated by, subtree). Children are sorted, so that equal differentials are equal tuples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sympy import QQ

from integrator_analysis.algebra.ring import PackedElement
from integrator_analysis.algebra.series import Series
from integrator_analysis.analysis.expansion.jets import Index, JetRing

__all__ = ["ElementaryDifferential", "Forest", "Tree", "TreeAlgebra", "jet", "size"]

Tree = tuple[Any, ...]
Child = tuple[int, Tree]


def size(tree: Tree) -> int:
    """Return the number of evaluations and time derivatives in a tree: its order in rooted-tree theory.

    >>> size((0,)), size((0, 1, ((0, (0, 0, ())), (0, (0,)))))
    (0, 3)
    """
    return 0 if len(tree) == 1 else 1 + tree[1] + sum(size(child) for _, child in tree[2])


def nodes(tree: Tree) -> Iterator[Tree]:
    """Yield the nodes of a tree that are not leaves, the root first."""
    if len(tree) > 1:
        yield tree
        for _, child in tree[2]:
            yield from nodes(child)


def jet(node: Tree, blocks: int) -> tuple[int, Index]:
    """Return a node's component, and how often it is differentiated by each block and by t."""
    slots = [slot for slot, _ in node[2]]
    return node[0], (*(slots.count(b) for b in range(blocks)), node[1])


@dataclass(frozen=True)
class ElementaryDifferential:
    """A tree with names to be read by: ``blocks`` of the state and ``components`` of the field.

    In text, d_xm s_x[u, v] is the second derivative of s_x by x and by m, applied to u in the place of x and to v in
    the place of m; a t among the letters is a derivative by time, which takes no argument.

    >>> tree = (0, 1, ((0, (0,)), (1, (1, 0, ()))))
    >>> print(ElementaryDifferential(tree, ("x", "m"), ("s_x", "s_m")))
    d_xmt s_x[x, s_m]
    """

    tree: Tree
    blocks: tuple[str, ...]
    components: tuple[str, ...]

    def __str__(self) -> str:
        return self._write(self.tree, lambda letters, name: f"d_{letters} {name}" if letters else name, "[", "]")

    def latex(self, name: Callable[[str], str]) -> str:
        r"""Return LaTeX; ``name`` gives that of a component or a block."""

        def derivative(letters: str, component: str) -> str:
            return "".join(rf"\partial_{{{v}}}" for v in letters) + name(component)

        return self._write(self.tree, derivative, r"\left[", r"\right]", name)

    def _write(
        self,
        tree: Tree,
        derivative: Callable[[str, str], str],
        opening: str,
        closing: str,
        name: Callable[[str], str] = str,
    ) -> str:
        if len(tree) == 1:
            return name(self.blocks[tree[0]])
        component, times, children = tree
        # The letters name what is differentiated by, child by child and t last; arguments follow in the same order.
        letters = "".join(self.blocks[slot] for slot, _ in children) + "t" * times
        head = derivative(letters, self.components[component])
        if not children:
            return head
        inner = ", ".join(self._write(child, derivative, opening, closing, name) for _, child in children)
        return f"{head}{opening}{inner}{closing}"

    @property
    def degree(self) -> tuple[int, int]:
        """The size, then the number of leaves, by which terms are sorted."""
        return size(self.tree), str(self.tree).count(",)")

    @property
    def linear(self) -> bool:
        """Whether it occurs for a field that is linear in the state: it has no second derivative by the state."""
        return all(len(node[2]) <= 1 for node in nodes(self.tree))

    def jets(self) -> list[tuple[str, Any]]:
        """Return the factors of its value where blocks are one-dimensional, as keys of a JetRing."""
        return list(self._jets(self.tree))

    def _jets(self, tree: Tree) -> Iterator[tuple[str, Any]]:
        if len(tree) == 1:
            yield "state", self.blocks[tree[0]]
            return
        component, index = jet(tree, len(self.blocks))
        yield "unknown", (self.components[component], index)
        for _, child in tree[2]:
            yield from self._jets(child)


@dataclass(frozen=True)
class Forest:
    """A block-valued series: a sum of trees, each with a series in h as its coefficient."""

    terms: Mapping[Tree, Series]

    def __add__(self, other: Forest) -> Forest:
        return self._add_terms(other, other.terms)

    def __sub__(self, other: Forest) -> Forest:
        return self._add_terms(other, {tree: -series for tree, series in other.terms.items()})

    def _add_terms(self, other: Forest, terms: Mapping[Tree, Series]) -> Forest:
        out = dict(self.terms)
        for tree, series in terms.items():
            out[tree] = out[tree] + series if tree in out else series
        return Forest(out)

    def __neg__(self) -> Forest:
        return Forest({tree: -series for tree, series in self.terms.items()})

    def __mul__(self, factor: Series) -> Forest:
        return self._map_series(lambda series: series * factor)

    def _map_series(self, change: Callable[[Series], Series]) -> Forest:
        changed = ((tree, change(series)) for tree, series in self.terms.items())
        return Forest({tree: series for tree, series in changed if any(series.coefficients)})

    def coefficient(self, power: int) -> dict[Tree, PackedElement]:
        """Return the coefficient of h**power: a sum of trees."""
        found = ((tree, series.coefficients[power]) for tree, series in self.terms.items())
        return {tree: element for tree, element in found if element}


@dataclass(frozen=True)
class TreeAlgebra:
    """The algebra of forests over the ring ``scalars``; ``unknown`` names the field's components, one for each block.

    ``linear``: the field is linear in the state, so that its second derivatives by the state are zero.
    """

    scalars: JetRing
    unknown: tuple[str, ...]
    linear: bool = False

    @property
    def blocks(self) -> tuple[str, ...]:
        return self.scalars.blocks

    @property
    def order(self) -> int:
        """The highest power of h kept."""
        return self.scalars.order

    @property
    def zero(self) -> Forest:
        return Forest({})

    @cached_property
    def _one(self) -> Series:
        return self.scalars.constant(1)

    def initial_state(self) -> dict[str, Forest]:
        return {block: Forest({(n,): self._one}) for n, block in enumerate(self.blocks)}

    def unknown_at(self, state: Mapping[str, Forest], offset: Series, through: int | None = None) -> dict[str, Forest]:
        """Return the field's components at (state, t + offset), expanded about (z, t) through h**through.

        With delta = sum_i c_i u_i the symmetric derivative of order n along (delta, ..., delta) over n! is the sum over
        multisets of the u_i of the derivative along them times prod c_i**m_i / m_i!.
        Raises NotImplementedError for a state that does not tend to z as h tends to zero.
        """
        top = self.order if through is None else min(through, self.order)
        # Time is a number, so that its powers commute with everything and stand in the node; a displacement is a block.
        times = self._time_powers(offset.truncate(top))
        found: tuple[dict[Tree, Series], ...] = tuple({} for _ in self.unknown)
        for children, product in self._products(self._displacements(state, top), top):
            ordered = tuple(sorted(children))
            # The series of a multiset is the same for all components of the field, which differ in their jets alone.
            for n, power in enumerate(times):
                series = (product * power if n else product).truncate(self.order)
                if not any(series.coefficients):
                    break  # every further power of the offset is smaller still
                for component, terms in enumerate(found):
                    terms[component, n, ordered] = series
        return {name: Forest(terms) for name, terms in zip(self.unknown, found, strict=True)}

    def _time_powers(self, offset: Series) -> list[Series]:
        """Return offset**n / n! for n = 0, 1, ..., as many as are not beyond the truncation."""
        out = [offset**0]
        while any((power := (out[-1] * offset).scale(self.scalars.ring(QQ(1, len(out))))).coefficients):
            out.append(power)
        return out

    def _displacements(self, state: Mapping[str, Forest], top: int) -> list[tuple[int, Child, Series]]:
        """Return state - z as (power of h it begins with, (block, tree), series), the lowest power first."""
        out = []
        for slot, (block, start) in enumerate(self.initial_state().items()):
            for tree, displacement in (state[block] - start).terms.items():
                # Only the normal form shows with which power of h a series begins.
                series = self.scalars.normal(displacement)
                lowest = next((n for n, c in enumerate(series.coefficients) if c), self.order + 1)
                if lowest == 0:
                    raise NotImplementedError(f"an evaluation at a {block} that does not tend to {block} as h -> 0")
                if lowest <= top:
                    out.append((lowest, (slot, tree), series.truncate(top)))
        return sorted(out, key=lambda item: item[0])

    def _products(
        self, items: Sequence[tuple[int, Child, Series]], top: int
    ) -> Iterable[tuple[tuple[Child, ...], Series]]:
        """Yield multisets of displacements with the product of their coefficients, over factorials of multiplicities.

        ``items`` are sorted by the lowest power of h, so that the search ends where the next product would be beyond
        h**top. A multiset grows by items from its last one on; every one is met once.
        """
        # A linear field has no second derivative by the state: one child at most.
        most = 1 if self.linear else top
        # (children, product, the last item's number, how often it is there, the sum of lowest powers)
        waiting: list[tuple[tuple[Child, ...], Series, int, int, int]] = [((), self._one.truncate(top), 0, 0, 0)]
        while waiting:
            children, product, first, repeated, used = waiting.pop()
            yield children, product
            if len(children) == most:
                continue
            for n in range(first, len(items)):
                lowest, child, series = items[n]
                if used + lowest > top:
                    break  # and so are all items after this one
                times = repeated + 1 if n == first else 1
                grown = product * series
                # One factor of 1 / m! for each multiplicity m, as it grows.
                grown = grown.scale(self.scalars.ring(QQ(1, times))) if times > 1 else grown
                waiting.append(((*children, child), grown, n, times, used + lowest))

    def along(self, forest: Forest, offset: Series) -> Forest:
        """Return f(t + offset) from the series in h of f(t - h)."""
        return forest._map_series(lambda series: self.scalars.along(series, offset))

    def integrate(self, forest: Forest, through: int) -> Forest:
        """Return int_0^h of a series in h, through h**through."""
        return forest._map_series(lambda series: self.scalars.integrate(series).truncate(through).truncate(self.order))
