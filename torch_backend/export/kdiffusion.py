"""A sampler in the contract of k-diffusion: one Python file that needs torch alone, and that ComfyUI can load.

Knows the face of that file; computes nothing.
"""

import re
from collections.abc import Mapping
from typing import Any

from torch_backend.export.text import WALK, check_certified, header, importable_name, join, pieces
from torch_backend.source import facts_of_source

__all__ = ["check_on_sigmas", "sampler_function", "sampler_name"]

TEXTS = (*WALK, "networks/prediction.py", "export/exported_text/sigmas.py")
"""The modules whose text goes into the file, in an order in which each can run after those before it."""

NEEDS = """Needs Python 3.11 and torch. With k-diffusion, as one of its samplers:
    from {module} import sample_{name}
    x_0 = sample_{name}(model, x, sigmas)
In ComfyUI: put this file into the folder custom_nodes; the sampler is then in the list as {name}.
"""

FACE = '''

SCHEME = facts_of(SimpleNamespace(**globals()))


def sample_{name}(
    model: Any,
    x: Tensor,
    sigmas: Tensor | Sequence[float],
    extra_args: Mapping[str, Any] | None = None,
    callback: Callable[[dict[str, Any]], object] | None = None,
    disable: bool | None = None,{parameter}
) -> Tensor:
    """{spec} on sigmas: model(x, sigma, **extra_args) returns the denoised x_0. See ``sample_on_sigmas``."""
    return sample_on_sigmas(SCHEME, model, x, sigmas, extra_args, callback, disable{argument})


NODE_CLASS_MAPPINGS: dict[str, Any] = {{}}
add_to_comfyui("{name}", sample_{name})

if __name__ == "__main__":
    sys.exit(not is_certified())
'''


def sampler_name(spec: str) -> str:
    """What follows ``sample_``; the process stands first, so that no sampler of k-diffusion is replaced.

    >>> sampler_name("edm/DPM-Solver++2M")
    'edm_dpm_solver_pp_2m'
    """
    return re.sub(r"[^0-9a-z]+", "_", spec.lower().replace("++", "-pp-")).strip("_")


def check_on_sigmas(source: str) -> None:
    """Raise ValueError, one sentence, for a scheme that has no sigmas to walk."""
    facts = facts_of_source(source)
    if len(facts.blocks) > 1:
        raise ValueError(f"{facts.spec}: k-diffusion walks x_0 + sigma noise and knows no momentum; export a module")
    if facts.process != "edm":
        other = "edm/" + facts.spec.partition("/")[2]
        models = " (it walks ComfyUI's models of flow matching too)" * (facts.process == "flow")
        raise ValueError(
            f"{facts.spec}: k-diffusion walks x_0 + sigma noise; export the scheme on edm, as in {other}{models}"
        )
    if facts.takes_B:
        raise ValueError(f"{facts.spec} takes a B for every step, which no caller passes; export a module")


def sampler_function(source: str, certificate: Mapping[str, Any], file: str | None = None) -> str:
    """The text of the exported file: header, loop, contract, the certified scheme, ``sample_NAME``.

    ``file`` is the name that the text will be written to, under which its example imports it.
    Raises ValueError as ``check_on_sigmas`` does, and if the certificate was made for another source.
    """
    check_on_sigmas(source)
    certified = check_certified(source, certificate)
    facts = facts_of_source(source)
    name = sampler_name(facts.spec)
    imports, before = pieces(TEXTS)
    imports.add("from types import SimpleNamespace")
    options: dict[str, str] = {}
    if facts.noises:
        options |= {"noise_sampler": "NoiseSampler | None", "straight_path": "bool | None"}
    if facts.history and not facts.primed:
        options |= {"lower_order_final": "bool | None"}
    parameter = "".join(f"\n    {option}: {kind} = None," for option, kind in options.items())
    argument = "".join(f", {option}={option}" for option in options)
    face = FACE.format(name=name, spec=facts.spec, parameter=parameter, argument=argument)
    needs = NEEDS.format(module=importable_name(file, facts.spec), name=name)
    return join(header(source, certificate, needs.splitlines()), imports, certified, before, source, face)
