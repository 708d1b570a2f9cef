"""What every picture of the report shares: groups of integrators by process, and how a figure is saved."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import integrator_analysis as ia
from integrator_analysis import figures

Pictures = dict[str, list[dict[str, str]]]
"""For each section of the page its pictures, {path, caption, alt}."""

Integrators = Mapping[str, ia.Integrator]


def members_by_process(integrators: Integrators) -> dict[str, dict[str, ia.Integrator]]:
    """The integrators of each process, {process: {spec: integrator}}: a picture shows one process."""
    out: dict[str, dict[str, ia.Integrator]] = {}
    for spec, integrator in integrators.items():
        out.setdefault(integrator.process.name, {})[spec] = integrator
    return out


def save_picture(output: Path, figure: Any, name: str, caption: str) -> dict[str, str]:
    """Write ``figure`` to figures/NAME.png below ``output``; return what the page needs of it."""
    path = output / "figures" / f"{name}.png"
    figures.save(figure, path)
    return {"path": f"figures/{name}.png", "caption": caption, "alt": caption}


def common_deterministic_process(members: Integrators) -> ia.Process:
    """As ``common_process``. Raises InputError too where a scheme is stochastic, since it has no trajectory error."""
    for spec, integrator in members.items():
        if integrator.stochastic:
            raise ia.InputError(f"{spec} is stochastic and has no trajectory error; plot deterministic schemes")
    return common_process(members)


def common_process(members: Integrators) -> ia.Process:
    """The process that all schemes run on. Raises InputError where there are two, or two sets of parameters."""
    first, *others = (i.process for i in members.values())
    for other in others:
        facts = ((p.name, p.parameters, p.t_max, p.t_min) for p in (first, other))
        if next(facts) != next(facts):
            raise ia.InputError(
                f"{', '.join(members)} run on different processes or parameters; give schemes on one process"
            )
    return first
