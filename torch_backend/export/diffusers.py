"""A scheduler for diffusers: one Python file that needs torch, numpy and diffusers, with a class for one scheme.

Knows which schemes can be driven from outside and the text of the classes that do it; computes nothing.
"""

import re
from collections.abc import Mapping
from typing import Any

from torch_backend.export.exported_text.counterparts import counterpart
from torch_backend.export.exported_text.flow_counterparts import flow_counterpart
from torch_backend.export.exported_text.stages import check_starts_with_evaluation
from torch_backend.export.text import WALK, check_certified, header, importable_name, join, pieces
from torch_backend.scheme import SchemeFacts
from torch_backend.source import facts_of_source
from torch_backend.walk.table import tabulate

__all__ = ["check_schedulable", "class_name", "scheduler_module"]

TEXT = "export/exported_text/"
SHARED = ("stages.py", "beta_sigmas.py", "scheduler_engine.py")
IMAGES = (*WALK, "networks/prediction.py", *(TEXT + name for name in SHARED))
FLOW = ("counterparts", "config_keys", "flow_counterparts", "scheduler_flow")
KINDS = {
    "vp": (
        (*IMAGES, *(f"{TEXT}{name}.py" for name in ("counterparts", "config_keys", "scheduler_table"))),
        "TableScheduler",
        "",
    ),
    "flow": (
        (*IMAGES, *(f"{TEXT}{name}.py" for name in FLOW)),
        "FlowScheduler",
        "",
    ),
}
PHASE = (*WALK, "networks/conditions.py", TEXT + "scheduler_phase.py"), "PhaseSpaceScheduler", ', "PhaseSpacePipeline"'
"""The modules whose text goes into the file, the base class, and what else the file offers."""

NEEDS = """Needs Python 3.11, torch, numpy and diffusers. In a pipeline:
    from {module} import {name}
    pipeline.scheduler = {name}.from_config(pipeline.scheduler.config)
The file must be importable by its name for pipeline.save_pretrained and from_pretrained to find the class again.
"""

PHASE_NEEDS = """Needs Python 3.11, torch, numpy and diffusers. A pipeline for a network on position and momentum:
    from {module} import {name}, PhaseSpacePipeline
    images = PhaseSpacePipeline(unet, {name}(timestep_scale=1.0))(batch_size=4, num_inference_steps=50).images
The file must be importable by its name for save_pretrained and from_pretrained to find the classes again.
"""

FACE = '''

class {name}({base}):
    """{spec}: {summary}

    {kind} {order_of_accuracy} for a general smooth network; {nfe} evaluation(s), hence time-step entries, per step.
{place}    """

    __doc__ += {base}.__doc__ or ""
    scheme = facts_of(SimpleNamespace(**globals()))
    order = NFE_PER_STEP


__all__ = ["{name}"{more}]

if __name__ == "__main__":
    raise SystemExit(not is_certified())
'''


def class_name(spec: str) -> str:
    """The scheduler's class name: no name of diffusers, since a process stands before it.

    >>> class_name("vp/DPM-Solver++2M")
    'VPDPMSolverPP2MScheduler'
    >>> class_name("flow/Heun")
    'FlowHeunScheduler'
    """
    process, _, scheme = spec.partition("/")
    process = process.capitalize() if process == "flow" else process.upper()
    return re.sub(r"[^0-9A-Za-z]", "", process + scheme.replace("+", "P")) + "Scheduler"


def check_schedulable(source: str) -> None:
    """Raise ValueError, one sentence, for a scheme that no scheduler can drive."""
    facts = facts_of_source(source)
    spec, process = facts.spec, facts.process
    if process == "ddpm":
        raise ValueError(f"{spec}: export the scheme on vp; its scheduler takes the table of betas from the config")
    if facts.takes_B:
        raise ValueError(f"{spec} takes a B for every step, which no pipeline passes; export a module")
    if len(facts.blocks) > 1:
        return  # its pipeline hands over the network
    if process not in KINDS:
        accepted = ", ".join(KINDS)
        raise ValueError(f"{spec}: diffusers has schedulers for {accepted} and phase space only, not for {process}")
    if facts.primed:
        raise ValueError(f"{spec} needs an evaluation before its first step, which no pipeline makes; export a module")
    t, s = facts.t_max * 0.75, facts.t_max / 2
    row = tabulate(facts.coefficients, [t, s], facts.history)[0]
    check_starts_with_evaluation(facts, t, s, row)


def _place(facts: SchemeFacts) -> str:
    """The lines of a class's docstring on its counterpart in diffusers; none for phase space, which has no other."""
    if facts.process == "flow":
        name, same = flow_counterpart(facts)
    elif facts.process == "vp":
        name, same = counterpart(facts.spec, facts.history, facts.nfe_per_step)
    else:
        return ""
    steps = "makes the same steps" if same else "is the nearest"
    return f"    Evaluates by default where its counterpart in diffusers does, {name}, which {steps}.\n"


def scheduler_module(source: str, certificate: Mapping[str, Any], file: str | None = None) -> str:
    """The text of the exported file: header, loop, scheduler, the certified scheme, the scheme's scheduler class.

    ``file`` is the name that the text will be written to, under which its example imports it.
    Raises ValueError as ``check_schedulable`` does, and if the certificate was made for another source.
    """
    check_schedulable(source)
    certified = check_certified(source, certificate)
    facts = facts_of_source(source)
    parts, base, more = KINDS.get(facts.process, PHASE)
    name = class_name(facts.spec)
    imports, before = pieces(parts)
    imports.add("from types import SimpleNamespace")
    face = FACE.format(
        name=name,
        base=base,
        spec=facts.spec,
        summary=source.split(": ", 1)[1].split("\n", 1)[0],
        kind="Weak order" if facts.stochastic else "Order",
        order_of_accuracy=facts.order,
        nfe=facts.nfe_per_step,
        more=more,
        place=_place(facts),
    )
    needs = (PHASE_NEEDS if more else NEEDS).format(module=importable_name(file, facts.spec), name=name)
    return join(header(source, certificate, needs.splitlines()), imports, certified, before, source, face)
