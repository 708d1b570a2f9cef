"""The common look of the figures, the fixed line style of every scheme's name, and atomic, reproducible saving.

Knows colours, markers and files. Does not know what is drawn.
"""

from __future__ import annotations

import io
import os
import re
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = ["LineStyle", "family", "legend", "line_styles", "new_figure", "save", "style"]

# Okabe and Ito's palette, told apart under the common colour-vision deficiencies. Its yellow is left out: it is hard to
# see as a thin line on white.
BLACK, ORANGE, SKY, GREEN, BLUE, VERMILLION, PURPLE, GREY = (
    "#000000",
    "#E69F00",
    "#56B4E9",
    "#009E73",
    "#0072B2",
    "#D55E00",
    "#CC79A7",
    "#7F7F7F",
)
# A colour names a family, so members of one family differ by marker and by dashes.
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">")
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.5, 1.2, 1.5)))
FAMILIES: dict[str, tuple[str, tuple[str, ...]]] = {
    "Euler": (BLACK, ("Euler", "EM", "Euler-Maruyama")),
    "naive splitting": (VERMILLION, ("NSE", "NVV", "NOBA", "BAO", "OBAB", "ABOBA", "BAOAB")),
    "reduced splitting": (BLUE, ("RSE", "RVV", "ROBA", "RBAO", "ROBAB")),
    "conjugate": (GREEN, ("DDIM", "lambda-DDIM-I", "lambda-DDIM-II", "gDDIM", "anchor", "conjugate")),
    "conjugate splitting": (PURPLE, ("CSE", "CVV", "COBA")),
    "multistep": (ORANGE, ("DPM-Solver++2M", "DPM-Solver++3M", "DEIS-tAB2", "DEIS-tAB3", "UniPC-2", "UniPC-3")),
    "one-step": (SKY, ("Heun", "midpoint", "DPM-Solver-2", "DPM-Solver-3", "DPM-Solver++2S", "EDM-Heun", "RK4")),
    "baseline": (GREY, ("SSCS", "RK45")),
}
OTHER = "other"

_PROCESS = re.compile(r"^[A-Za-z0-9_-]+/")
_WORD = re.compile(r"^[ABO]{2,}$")

RC: Any = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.labelsize": 9,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 10,
    "figure.facecolor": "white",
    "font.family": ["DejaVu Sans"],  # shipped with matplotlib: the same glyphs on every machine
    "font.size": 9,
    "grid.alpha": 0.35,
    "grid.linewidth": 0.5,
    "legend.fontsize": 8,
    "legend.framealpha": 0.9,
    "legend.handlelength": 3.2,  # long enough to tell the dashes apart
    "lines.linewidth": 1.4,
    "lines.markersize": 4.5,
    "svg.fonttype": "path",
    "svg.hashsalt": "integrator-analysis",  # matplotlib otherwise draws random identifiers
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
}


@dataclass(frozen=True)
class LineStyle:
    """Colour, marker and dashes of one label."""

    color: str
    marker: str
    dashes: Any


@contextmanager
def style() -> Iterator[None]:
    """The toolkit's settings inside the block, over matplotlib's defaults; the caller's settings return afterwards."""
    with matplotlib.rc_context():
        # Defaults first: the same file whatever the caller's matplotlibrc says. The backend is left alone.
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(RC)
        yield


def new_figure(width: float = 6.4, height: float = 4.2) -> Figure:
    """An empty figure (inches) outside pyplot's global state, laid out so that outside legends are not clipped."""
    return Figure(figsize=(width, height), layout="constrained")


def family(label: str) -> str:
    """The family of a label: a spec ("psld/RVV"), a bare scheme name, or "other".

    >>> family("psld/RVV"), family("vp/conjugate(B=lambda*I, lambda=0.3)"), family("psld/BAOAB(reduced)")
    ('reduced splitting', 'conjugate', 'reduced splitting')
    >>> family("psld/conjugate(B=0)+BAB(reduced)"), family("exact solution")
    ('conjugate splitting', 'other')
    """
    name = _PROCESS.sub("", label.strip())
    if name.startswith("conjugate(") and re.search(r"\)\s*\+", name):
        return "conjugate splitting"
    bare = name.partition("(")[0].strip()
    if "reduced" in name and _WORD.match(bare):
        return "reduced splitting"
    for title, (_, members) in FAMILIES.items():
        if bare in members:
            return title
    return "naive splitting" if _WORD.match(bare) else OTHER


def line_styles(labels: Iterable[str]) -> dict[str, LineStyle]:
    """One distinct style per label. A catalogue scheme has the same style in every figure, whatever stands beside it.

    Other labels start from a hash of their text. Where two labels clash (one scheme on two processes, two hashes), the
    later takes the next free style.
    """
    labels = list(labels)
    chosen: dict[str, LineStyle] = {}
    for named in (True, False):  # catalogue names first: they never give way
        for label in labels:
            place = _place(label)
            if (place is not None) != named or label in chosen:
                continue
            colors, start = place if place is not None else _colors_by_hash(label)
            every = list(_styles(colors, start))
            chosen[label] = next((one for one in every if one not in chosen.values()), every[0])
    return {label: chosen[label] for label in labels}


def _place(label: str) -> tuple[tuple[str, ...], int] | None:
    bare = _PROCESS.sub("", label.strip())
    offset = 0  # families start at different markers, so that equal curves of two families both show
    for title, (color, members) in FAMILIES.items():
        if title == family(label) and bare in members:
            return (color,), offset + members.index(bare)
        offset += len(members)
    return None


def _colors_by_hash(label: str) -> tuple[tuple[str, ...], int]:
    number = zlib.crc32(label.encode())  # Python's own hash of text differs between runs
    if family(label) in FAMILIES:
        return (FAMILIES[family(label)][0],), number
    colors = [color for color, _ in FAMILIES.values()]
    first = number % len(colors)
    return tuple(colors[first:] + colors[:first]), number


def _styles(colors: tuple[str, ...], start: int) -> Iterator[LineStyle]:
    # Ten markers and four dashes: stepping both together visits 20 pairs, the shift by one the other 20.
    for color in colors:
        for i in range(start, start + len(MARKERS) * len(DASHES)):
            shift = (i - start) // 20
            yield LineStyle(color, MARKERS[i % len(MARKERS)], DASHES[(i + shift) % len(DASHES)])


def legend(ax: Axes, *, inside: int = 6) -> None:
    """The axes' legend: inside where it has at most ``inside`` entries, else to the right of the axes."""
    handles, labels = ax.get_legend_handles_labels()
    if not handles:
        return
    if len(handles) <= inside:
        ax.legend(handles, labels, loc="best")
    else:
        columns = 1 if len(handles) <= 22 else 2
        ax.legend(handles, labels, loc="upper left", bbox_to_anchor=(1.02, 1.0), borderaxespad=0.0, ncols=columns)


def save(figure: Figure, path: str | os.PathLike[str], *, svg: bool = False) -> tuple[Path, ...]:
    """Write ``path`` (PNG, 150 dots per inch) and, if ``svg``, the same picture beside it as SVG; return the paths.

    The bytes depend on the figure and on matplotlib's version only: no timestamps. Files appear whole or not at all:
    everything is rendered first, written under a temporary name and then renamed.
    Raises ValueError if ``path`` does not end in .png.
    """
    path = Path(path)
    if path.suffix != ".png":
        raise ValueError(f"figures are saved under a name that ends in .png, not {path.name!r}")
    rendered = {path: _render(figure, "png", {"Software": None})}
    if svg:
        rendered[path.with_suffix(".svg")] = _render(figure, "svg", {"Date": None, "Creator": None})
    path.parent.mkdir(parents=True, exist_ok=True)
    for target, content in rendered.items():
        _replace(target, content)
    return tuple(rendered)


def _render(figure: Figure, kind: str, metadata: dict[str, None]) -> bytes:
    buffer = io.BytesIO()
    with style():
        figure.savefig(buffer, format=kind, dpi=150, bbox_inches="tight", pad_inches=0.08, metadata=metadata)
    return buffer.getvalue()


def _replace(target: Path, content: bytes) -> None:
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
