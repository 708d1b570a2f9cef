"""A sampler in the contract of k-diffusion: one Python file that needs torch alone, and that ComfyUI can load.

Knows the face of that file; computes nothing.
"""

import re
import textwrap
from collections.abc import Mapping
from typing import Any

from torch_backend.export.text import WALK, check_certified, header, importable_name, join, pieces
from torch_backend.source import facts_of_source

__all__ = ["check_on_sigmas", "sampler_function", "sampler_name"]

TEXTS = (*WALK, "networks/prediction.py", "export/exported_text/sigmas.py")
"""The modules whose text goes into the file, in an order in which each can run after those before it."""

PHASE_TEXTS = (
    *TEXTS,
    "export/exported_text/stages.py",
    "networks/whitened.py",
    "export/exported_text/phase_sigmas.py",
)
"""The same for a scheme on several blocks."""

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
    """{spec} on sigmas: model(x, sigma, **extra_args) returns the denoised x_0. See ``{walk}``."""
    return {walk}(SCHEME, {kernel}model, x, sigmas, extra_args, callback, disable{argument})


NODE_CLASS_MAPPINGS: dict[str, Any] = {{}}
add_to_comfyui("{name}", sample_{name})

if __name__ == "__main__":
    sys.exit(not is_certified())
'''


KERNEL = '''

def _kernel() -> Any:
    """The perturbation kernel of the process."""

{body}

    return SimpleNamespace(PROCESS=PROCESS, T_MAX=T_MAX, mean=mean, cholesky=cholesky)


PROCESS_KERNEL = _kernel()
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
        if facts.network != "eps":
            raise ValueError(f"{facts.spec} asks its network for {facts.network}; on sigmas only eps can be made")
    elif facts.process != "edm":
        other = "edm/" + facts.spec.partition("/")[2]
        models = " (it walks ComfyUI's models of flow matching too)" * (facts.process == "flow")
        raise ValueError(
            f"{facts.spec}: k-diffusion walks x_0 + sigma noise; export the scheme on edm, as in {other}{models}"
        )
    if facts.takes_B:
        raise ValueError(f"{facts.spec} takes a B for every step, which no caller passes; export a module")


def sampler_function(
    source: str, certificate: Mapping[str, Any], file: str | None = None, kernel: str | None = None
) -> str:
    """The text of the exported file: header, loop, contract, the certified scheme, ``sample_NAME``.

    ``file`` is the name that the text will be written to, under which its example imports it. ``kernel``: for a scheme
    on several blocks, the generated source of its process's kernel. Raises ValueError as ``check_on_sigmas`` does,
    without that kernel, and if the certificate was made for another source.
    """
    check_on_sigmas(source)
    certified = check_certified(source, certificate)
    facts = facts_of_source(source)
    hidden = len(facts.blocks) > 1
    if hidden and kernel is None:
        raise ValueError(f"{facts.spec} has several blocks; pass the source of the kernel of {facts.process}")
    name = sampler_name(facts.spec)
    imports, before = pieces(PHASE_TEXTS if hidden else TEXTS)
    imports.add("from types import SimpleNamespace")
    if hidden and kernel is not None:
        before += KERNEL.format(body=_body_of_kernel(kernel))
    options: dict[str, str] = {}
    if facts.noises:
        options["noise_sampler"] = "NoiseSampler | None"
    if facts.noises or hidden:  # where the times depend on the model's coordinates
        options["straight_path"] = "bool | None"
    if facts.history and not facts.primed:
        options |= {"lower_order_final": "bool | None"}
    parameter = "".join(f"\n    {option}: {kind} = None," for option, kind in options.items())
    argument = "".join(f", {option}={option}" for option in options)
    walk, first = ("sample_phase_space", "PROCESS_KERNEL, ") if hidden else ("sample_on_sigmas", "")
    face = FACE.format(name=name, spec=facts.spec, parameter=parameter, argument=argument, walk=walk, kernel=first)
    needs = NEEDS.format(module=importable_name(file, facts.spec), name=name)
    return join(header(source, certificate, needs.splitlines()), imports, certified, before, source, face)


def _body_of_kernel(kernel: str) -> str:
    """The statements of a kernel's generated source, indented, without its docstring and imports."""
    body = kernel.split('"""', 2)[2]
    lines = [line for line in body.strip().splitlines() if not line.startswith("import ")]
    return textwrap.indent("\n".join(lines).strip(), "    ")
