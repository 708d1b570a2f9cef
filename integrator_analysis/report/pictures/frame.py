"""What every picture of the report shares: groups of integrators by process, and how a figure is saved."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import integrator_analysis as ia
from integrator_analysis import figures

Pictures = dict[str, list[dict[str, str]]]

Integrators = Mapping[str, ia.Integrator]


def members_by_process(integrators: Integrators) -> dict[str, dict[str, ia.Integrator]]:
    out: dict[str, dict[str, ia.Integrator]] = {}
    for spec, integrator in integrators.items():
        out.setdefault(integrator.process.name, {})[spec] = integrator
    return out


def save_picture(output: Path, figure: Any, name: str, caption: str) -> dict[str, str]:
    path = output / "figures" / f"{name}.png"
    figures.save(figure, path)
    return {"path": f"figures/{name}.png", "caption": caption, "alt": caption}


def common_deterministic_process(members: Integrators) -> ia.Process:
    for spec, integrator in members.items():
        if integrator.stochastic:
            raise ia.InputError(f"{spec} is stochastic and has no trajectory error; plot deterministic schemes")
    return common_process(members)


def common_process(members: Integrators) -> ia.Process:
    first, *others = (i.process for i in members.values())
    for other in others:
        facts = ((p.name, p.parameters, p.t_max, p.t_min) for p in (first, other))
        if next(facts) != next(facts):
            raise ia.InputError(
                f"{', '.join(members)} run on different processes or parameters; give schemes on one process"
            )
    return first
