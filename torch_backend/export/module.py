"""A standalone sampler: one Python file that needs torch alone, carries its certificate's claims, and samples.

Knows the face of that file; computes nothing. The exported file holds the same step and the same loop as ``Sampler``
runs, not a second version of either.
"""

import ast
import inspect
from collections.abc import Mapping
from typing import Any

from torch_backend.export.text import WALK, check_certified, header, importable_name, join, pieces
from torch_backend.source import facts_of_source
from torch_backend.walk.sample_scheme import sample_scheme

__all__ = ["standalone_module"]

NEEDS = """Needs Python 3.11 and torch, nothing else. With network(z, t), which returns eps:
    from {module} import prior, sample
    z_0 = sample(network, prior(4, (3, 32, 32), seed=0), steps=50{seed})
"""

FACE = '''

def sample(
    {parameters},
) -> Tensor:
    """Walk z_T, of shape (n, len(BLOCKS) * channels, ...), from the first time to the last; returns the state there.

    network(z, t) takes z and forward diffusion times t of shape (n,), and returns eps of z's shape, or the velocity on
    rectified flow. Arguments and errors are those of ``sample_scheme``.
    """
    return sample_scheme(
        sys.modules[__name__],
        {names},
    )


def prior(
    n: int,
    shape: Iterable[int],
    seed: int | Sequence[int],
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    indices: Iterable[int] | None = None,
) -> Tensor:
    """n draws of the state at T_MAX for data of ``shape`` (channels, ...): (n, len(BLOCKS) * channels, ...).

    ``seed``: a number, with ``indices`` of the samples, None for 0, 1, ...; or n numbers, one for each sample.
    """
    return draw_prior(sys.modules[__name__], n, shape, seed, device, dtype, indices)


TRIAL: dict[str, Any] | None = {trial}
"""A problem with a known answer: float64 states at a start time, and the exact flow's at an end time, by scipy's DOP853
on the process's equation with ``trial_network`` in it. None where noise is drawn: errors then need the data's law."""


def trial_network(z: Tensor, t: Tensor) -> Tensor:
    """A network that is neither linear nor constant in time, on points (n, len(BLOCKS))."""
    return (0.5 + t / T_MAX)[:, None] * torch.sin(z / PRIOR_STD[0]) + 0.2


def trial_errors(counts: Sequence[int] = (8, 16, 32, 64, 128), seconds: float = 1.0) -> list[float]:
    """The largest error at the end of TRIAL after so many equal steps; at least three, no more after ``seconds``."""
    import time

    if TRIAL is None:
        return []
    start, end = (torch.tensor(TRIAL[name], dtype=torch.float64) for name in ("start", "end"))
    (first, last), began, errors = TRIAL["times"], time.monotonic(), []
    for n in counts:
        times = [first + (last - first) * i / n for i in range(n)] + [last]
        reached = sample(trial_network, start, times=times, lower_order_final=False)
        errors.append(float((reached - end).abs().max()))
        if len(errors) > 2 and time.monotonic() - began > seconds:
            break
    return errors


def converges() -> bool:
    """Print the errors on TRIAL and the order between the finest of them; whether it is what it should be.

    A multistep scheme begins with steps of order one, which leaves order two over all. Below 1e-11 rounding is seen.
    """
    errors, due = trial_errors(), min(ORDER, 2) if HISTORY else ORDER
    if not errors:
        print("stochastic: convergence is not checked here, see the certificate above")
        return True
    print("errors after 8, 16, 32, ... steps: " + ", ".join(f"{{error:.2e}}" for error in errors))
    seen = [error for error in errors if error > 1e-11]
    if len(seen) < 2:
        return len(seen) < len(errors)
    order = math.log2(seen[-2] / seen[-1])
    print(f"order {{order:.2f}} between the finest; {{due}} is due")
    return order > due - 0.25


if __name__ == "__main__":
    verdicts = is_certified(), converges()
    sys.exit(not all(verdicts))
'''


def standalone_module(
    source: str, certificate: Mapping[str, Any], file: str | None = None, trial: Mapping[str, Any] | None = None
) -> str:
    """The text of the exported file: header with claims and hash, the loop, the certified scheme, ``sample``.

    ``source`` is the generated scheme, ``certificate`` the plain data of its certificate, ``file`` the name that the
    text will be written to, ``trial`` the problem on which the file measures its order when it is run: times, and
    float64 states (n, k) at the start and at the end.
    Raises ValueError if the certificate was made for another source.
    """
    certified = check_certified(source, certificate)
    imports, loop = pieces(WALK)
    facts = facts_of_source(source)
    needs = NEEDS.format(module=importable_name(file, facts.spec), seed=", seed=1" if facts.noises else "")
    docstring = header(source, certificate, needs.splitlines())
    problem = None if trial is None else dict(trial)
    declared = _arguments_of_sample_scheme()
    face = FACE.format(
        parameters=",\n    ".join(declared.values()), names=",\n        ".join(declared), trial=_lay_out(problem)
    )
    return join(docstring, imports, certified, loop, source, face)


def _arguments_of_sample_scheme() -> dict[str, str]:
    """The arguments of ``sample_scheme`` but the scheme, by name: each as it is declared, with type and default."""
    (function,) = ast.parse(inspect.getsource(sample_scheme)).body
    assert isinstance(function, ast.FunctionDef)
    names = function.args.args[1:]
    defaults = [None] * (len(names) - len(function.args.defaults)) + [*function.args.defaults]
    return {
        name.arg: ast.unparse(name) + ("" if default is None else f" = {ast.unparse(default)}".replace("'", '"'))
        for name, default in zip(names, defaults, strict=True)
    }


def _lay_out(problem: Mapping[str, Any] | None) -> str:
    """A problem as the text of a Python literal, one entry a line."""
    if problem is None:
        return "None"
    return "{\n" + "".join(f'    "{name}": {value!r},\n' for name, value in problem.items()) + "}"
