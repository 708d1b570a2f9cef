"""A standalone sampler: one Python file that needs torch alone, carries its certificate's claims, and samples.

Knows the face of that file; computes nothing. The exported file holds the same step and the same loop as ``Sampler``
runs, not a second version of either.
"""

from collections.abc import Mapping
from typing import Any

from torch_backend.export.text import check_certified, header, join, pieces

__all__ = ["standalone_module"]

FACE = '''

def sample(
    network: Network,
    z_T: Tensor,
    steps: int | None = None,
    times: Iterable[float] | None = None,
    grid: str = "uniform",
    seed: int | None = None,
    generator: torch.Generator | None = None,
    callback: Callback | None = None,
    progress: Progress = False,
    lower_order_final: bool = False,
    B: object = None,
) -> Tensor:
    """Walk z_T, of shape (n, len(BLOCKS) * channels, ...), from the first time to the last; returns the state there.

    network(z, t) takes z and forward diffusion times t of shape (n,), and returns eps of z's shape. Arguments and
    errors are those of ``sample_scheme``.
    """
    return sample_scheme(
        sys.modules[__name__], network, z_T, steps, times, grid, seed, generator, callback, progress,
        lower_order_final, B,
    )


def prior(n: int, shape: Iterable[int], seed: int, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Tensor:
    """n draws of the state at T_MAX for data of ``shape`` (channels, ...): (n, len(BLOCKS) * channels, ...)."""
    return draw_prior(sys.modules[__name__], n, shape, seed, device, dtype)


if __name__ == "__main__":
    state = "as certified" if source_hash() == CERTIFIED_HASH else "NOT the code that was certified"
    print(f"{SPEC}: order {ORDER}, {NFE_PER_STEP} evaluation(s) per step; the source is {state}")
    sys.exit(state != "as certified")
'''


def standalone_module(source: str, certificate: Mapping[str, Any]) -> str:
    """The text of the exported file: header with claims and hash, the loop, the certified scheme, ``sample``.

    ``source`` is the generated scheme, ``certificate`` the plain data of its certificate. Raises ValueError if the
    certificate was made for another source.
    """
    certified = check_certified(source, certificate)
    imports, loop = pieces(["loop.py"])
    docstring = header(source, certificate, ["Needs Python 3.11 and torch, nothing else."])
    return join(docstring, imports, certified, loop, source, FACE)
