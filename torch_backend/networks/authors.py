"""Checkpoints of the PSLD authors' repository (github.com/mandt-lab/PSLD) as networks for the samplers here.

Knows the signature of their networks, score_fn(u, t) -> eps in float32, channels [x, m], t the forward diffusion time
in [0, 1], and their two factors of the covariance (main/models/sde/psld.py, main/losses.py). Knows no network and no
scheme.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from torch_backend.scores.exact import Kernel, in_float64
from torch_backend.walk.validation import unknown_name_message

__all__ = ["AuthorsNetwork", "weights_of"]

FACTORS = ("lower", "upper")
"""Which triangular factor K of the covariance K K^T a network's eps belongs to."""


class AuthorsNetwork(nn.Module):
    """A network (u, t) -> eps trained in their repository, as the eps network that samplers here take.

    In their code the score is -K^-T eps with Sigma = K K^T, and their ``decomp_mode`` says which K. "lower" is the
    Cholesky factor L, the convention here. "upper" is upper triangular: eps is then turned by the rotation L^T K^-T,
    whose cosine and sine are l_mm and l_mx over the deviation of m.

    A network may return half of the channels: those of momentum where Gamma = 0 ("lower"), those of position where
    nu = 0 ("upper"). The other half is filled with zeros, which no step reads then.

    ``kernel``: the process's kernel, such as ``load_kernel("psld")``; needed for "upper" only. ``dtype``: what the
    network is called with. Raises ValueError for another ``factor``, and for "upper" without a kernel.
    """

    def __init__(
        self, network: Any, factor: str = "lower", kernel: Kernel | None = None, dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__()
        if factor not in FACTORS:
            raise ValueError(unknown_name_message("factor", factor, FACTORS))
        if factor == "upper" and kernel is None:
            raise ValueError('factor "upper" is turned by the kernel\'s Cholesky factor; pass kernel')
        self.network, self.factor, self.kernel, self.dtype = network, factor, kernel, dtype

    def forward(
        self, z: Float[Tensor, "n channels *space"], t: Float[Tensor, " n"]
    ) -> Float[Tensor, "n channels *space"]:
        """eps in the lower Cholesky frame, of z's shape and dtype. Raises ValueError for an output of another shape."""
        eps = self.network(z.to(self.dtype), t.to(self.dtype))
        if eps.shape[1] * 2 == z.shape[1]:
            halves = [torch.zeros_like(eps), eps]
            eps = torch.cat(halves if self.factor == "lower" else halves[::-1], dim=1)
        if eps.shape != z.shape:
            raise ValueError(
                f"the network returned shape {tuple(eps.shape)} for a state of shape {tuple(z.shape)}; "
                "the same, or half of its channels, is needed"
            )
        if self.kernel is not None and self.factor == "upper":
            _, l_mx, l_mm = (entry.reshape(-1, *[1] * (z.dim() - 1)) for entry in self.kernel.cholesky(in_float64(t)))
            deviation = torch.hypot(l_mx, l_mm)
            cosine, sine = (l_mm / deviation).to(eps), (l_mx / deviation).to(eps)
            x, m = eps.chunk(2, dim=1)
            eps = torch.cat([cosine * x + sine * m, cosine * m - sine * x], dim=1)
        return eps.to(z.dtype)


def weights_of(checkpoint: str | Path | Mapping[str, Any], which: str = "ema_score_fn") -> dict[str, Tensor]:
    """The weights of one network in a checkpoint of their training program, for ``network.load_state_dict``.

    ``which``: "ema_score_fn", the averaged weights that their samplers use, or "score_fn". A file is read with
    ``weights_only``: tensors and plain containers, nothing is run. Raises ValueError where there are no such weights.
    """
    loaded = checkpoint if isinstance(checkpoint, Mapping) else torch.load(checkpoint, "cpu", weights_only=True)
    state = loaded.get("state_dict", loaded)
    found = {name.removeprefix(f"{which}."): value for name, value in state.items() if name.startswith(f"{which}.")}
    if not found:
        raise ValueError(
            unknown_name_message("network in the checkpoint", which, {name.partition(".")[0] for name in state})
        )
    return found
