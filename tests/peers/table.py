"""Measures the tables of docs/peers.md and writes them between its markers: ``python -m tests.peers.table``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import diffusers
import torch

from tests.peers.pairs import (
    DDPM_ALPHAS,
    FRAMES,
    MISPRINTS,
    MIXTURE,
    PAIRS,
    SPAN,
    STEPS,
    VP,
    Pair,
    derived,
    describe,
    difference,
    first_principles_end,
    jittered,
    our_errors,
    relative,
    runs,
    shipped_ddim,
    slope,
    start_state,
    their_end,
    their_errors,
    walk,
)
from tests.peers.peers import PEERS, run_peer

DOCUMENT = Path(__file__).parents[2] / "docs" / "peers.md"
HIDDEN = ("lower_order_final", "final_sigmas_type", "clip_sample", "sigma_data")

NEAR = (
    ("DPM-Solver-3, inner points at 1/3 and 2/3", Pair("vp/DPM-Solver-3", "DPM-Solver-3S", 3)),
    ("DPM-Solver-3, inner points at 1/3 and 2/3", Pair("vp/DPM-Solver-3", "DPM-Solver-3S(integral)", 3)),
    ("DEIS, two evaluations", Pair("vp/DEIS-tAB1", "DEIS-2")),
    ("DEIS, two evaluations", Pair("vp/rhoAB1", "DEIS-2")),
    ("DEIS, three evaluations", Pair("vp/DEIS-tAB2", "DEIS-3")),
    ("DEIS, three evaluations", Pair("vp/DEIS-rhoAB2", "DEIS-3")),
    ("DPM-Solver of order two: rule for the slope", Pair("vp/ERK2", "DPM-Solver-2S", 2)),
    ("UniPC-2: choice of B(h)", Pair("vp/UniPC-2", "UniPC-2-bh1")),
    ("UniPC-3: choice of B(h)", Pair("vp/UniPC-3", "UniPC-3-bh1")),
)
"""Same name or same idea, not the same method."""

ROUNDED = (
    Pair("vp/DPM-Solver++2M", "DPM-Solver++2M"),
    Pair("ve/DDIM", "Euler"),
    Pair("edm/DDIM", "EDM-Euler"),
    Pair("flow/DDIM", "FlowMatch-Euler"),
    Pair("flow/Heun", "FlowMatch-Heun"),
)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows))


def settings(peer: str) -> str:
    """Class and constructor arguments of a peer."""
    entry = PEERS[peer]
    chosen = {k: v for k, v in {**entry.config, **entry.options}.items() if k not in HIDDEN}
    return f"{entry.scheduler.removesuffix('Scheduler')}({', '.join(f'{k}={v}' for k, v in chosen.items())})"


def slopes(pair: Pair) -> tuple[str, str]:
    """Ours and theirs, from exact past states; a process with a table of betas has no grids to refine."""
    if pair.spec.startswith("ddpm"):
        return "-", "-"
    mine, theirs = our_errors(pair.spec, pair.runs, pair.intervals), their_errors(pair.peer, pair.runs)
    return f"{slope(mine):.2f}", f"{slope(theirs):.2f}"


def equal() -> str:
    """Every pair."""
    rows = []
    for pair in PAIRS:
        print(pair, flush=True)
        shares = f" at {', '.join(f'{share:.3g}' for share in pair.shares)}" if pair.shares else ""
        rows.append(
            (
                f"`{pair.spec}`",
                pair.peer,
                settings(pair.peer),
                f"{pair.intervals}{shares}",
                f"{difference(pair)[0]:.0e}",
                f"{derived(pair.spec).order}" + (" (weak)" if derived(pair.spec).stochastic else ""),
                *slopes(pair),
            )
        )
    head = ("ours", "peer", "class", "intervals a step", "difference", "order, derived", "slope, ours", "slope, peer")
    return table(head, rows)


def built() -> str:
    """What the specs stand for that cannot be typed."""
    specs = dict.fromkeys(spec for pair in PAIRS for spec in (pair.spec, *(m.spec for m in MISPRINTS)))
    return table(("spec", "method"), [(f"`{spec}`", text) for spec in specs if (text := describe(spec))])


def wrong() -> str:
    """The misprints: errors and slopes of both, and how well the misprint explains the peer."""
    rows = []
    for misprint in MISPRINTS:
        print(misprint.peer, flush=True)
        cases = misprint.runs
        if misprint.spec:
            mine = our_errors(misprint.spec, cases)
        else:
            mine = [float((first_principles_end(misprint.peer, case) - case.end).abs().max()) for case in cases]
        theirs = their_errors(misprint.peer, cases)
        left = max(relative(their_end(misprint.peer, c), first_principles_end(misprint.printed, c)) for c in cases)
        rows.append(
            (
                misprint.peer,
                f"`{misprint.spec}`" if misprint.spec else "by quadrature",
                listed(mine),
                listed(theirs),
                f"{slope(mine):.2f}",
                f"{slope(theirs):.2f}",
                f"{left:.0e}",
            )
        )
    head = (
        "peer",
        "ours",
        "errors, ours",
        "errors, peer",
        "slope, ours",
        "slope, peer",
        "peer less its printed formula",
    )
    return table(head, rows)


def listed(errors: Sequence[float]) -> str:
    """Errors in a cell."""
    return " ".join(f"{error:.1e}" for error in errors)


def lines() -> str:
    """What the misprints say and what is due."""
    return table(
        ("peer", "place", "printed", "due"), [(m.peer, m.place, f"`{m.line}`", f"`{m.due}`") for m in MISPRINTS]
    )


def near() -> str:
    """Methods of one name that are two."""
    rows = [(what, f"`{pair.spec}`", pair.peer, f"{difference(pair)[0]:.0e}", *slopes(pair)) for what, pair in NEAR]
    return table(("what", "ours", "peer", "difference", "slope, ours", "slope, peer"), rows)


def inner_points() -> str:
    """Third order on grids that have their points elsewhere than at the nodes."""
    cases = {"at 1/3 and 2/3": (1 / 3, 2 / 3), "at 1/3 and 1/2": (1 / 3, 1 / 2)}
    peers = ("DPM-Solver-3S", "DPM-Solver-3S(integral)", "DPM-Solver++3S", "DPM-Solver++3S(integral)")
    end, uniform = runs(1.0, 0)[0].end, {}
    for peer in peers:
        grids = [VP.ratio(torch.linspace(*SPAN, 3 * n + 1, dtype=torch.float64)) for n in STEPS]
        uniform[peer] = [float((run_peer(peer, MIXTURE.eps, start_state(), g) - end).abs().max()) for g in grids]
    rows = [
        (
            peer,
            *(f"{slope(their_errors(peer, runs(1.0, 0, shares))):.2f}" for shares in cases.values()),
            f"{slope(uniform[peer]):.2f}",
        )
        for peer in peers
    ]
    return table(("peer", *(f"inner points {where}" for where in cases), "grid points uniform in t"), rows)


def rounding() -> str:
    """What the casts to float32 cost, and the float32 table of DDIM."""
    rows = [
        (f"`{pair.spec}`", pair.peer, f"{difference(pair)[0]:.0e}", f"{difference(pair, casts=True)[0]:.0e}")
        for pair in ROUNDED
    ]
    shipped = f"{shipped_ddim(DDPM_ALPHAS):.0e}", f"{shipped_ddim(None):.0e}"
    rows.append(("`ddpm/DDIM`", "DDIM as shipped, 50 steps", *shipped))
    return table(("ours", "peer", "in float64", "at its own rounding"), rows)


def ending() -> str:
    """What the peer's default lower order at the end does, and that our option does the same."""
    own = PEERS["DPM-Solver++2M"]
    default = replace(own, config={k: v for k, v in own.config.items() if k != "lower_order_final"})
    rows = []
    for steps in (10, 14, 15):
        grid, z = jittered(FRAMES["vp"], steps), start_state()
        theirs = run_peer(default, MIXTURE.eps, z, grid)
        ours = (walk("vp/DPM-Solver++2M", z, grid, lower_order_final=lower) for lower in (False, None))
        rows.append((str(steps), *(f"{relative(end, theirs):.0e}" for end in ours)))
    return table(("steps", "lower_order_final=False", "our default"), rows)


TABLES = {
    "equal": equal,
    "built": built,
    "wrong": wrong,
    "lines": lines,
    "near": near,
    "inner points": inner_points,
    "rounding": rounding,
    "ending": ending,
}


def main() -> None:
    """Write every table of the document anew."""
    torch.set_num_threads(1)
    if diffusers.__version__ != "0.42.1":
        raise SystemExit(f"docs/peers.md is about diffusers 0.42.1; this is {diffusers.__version__}")
    text = DOCUMENT.read_text(encoding="utf-8")
    for name, make in TABLES.items():
        begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
        pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
        if not pattern.search(text):
            raise SystemExit(f"{DOCUMENT} has no place for the table {name!r}")
        body = make()
        text = pattern.sub(lambda _, body=body, begin=begin, end=end: f"{begin}{body}\n{end}", text)
    DOCUMENT.write_text(text, encoding="utf-8")
    print(f"wrote {DOCUMENT}")


if __name__ == "__main__":
    main()
