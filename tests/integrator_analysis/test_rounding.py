"""Rounding in float32 and bfloat16: predicted from the operations of the step program, measured on the source.

The prediction is the running error bound of a sum of n products (Higham, Accuracy and Stability of Numerical
Algorithms, section 3.1): (n + 1) u sum |c v|, one rounding of each coefficient and product and n - 1 of the sum, beside
what the operands bring along. The state is float32 where the caller's is bfloat16: there only the network rounds more.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import numpy as np
import pytest
import torch

import integrator_analysis as ia
from integrator_analysis.program import Block, Evaluate, Output

ROUNDOFF = {torch.float32: 2.0**-24, torch.bfloat16: 2.0**-8}
DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")),
]
SPECS = ("vp/DDIM", "vp/UniPC-2", "vp/RK4", "psld/RVV", "vp/DPM-Solver++2M", "psld/gDDIM")
Pair = tuple[np.ndarray, np.ndarray]
"""Values, and a bound of their errors."""


def network(z: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """z / 2 + 1/4: the product is exact, so that the network rounds once, in whatever precision it is asked."""
    return z / 2 + 0.25


@cache
def derived(spec: str) -> ia.Integrator:
    return ia.derive(spec)


def predicted(i: ia.Integrator, z: np.ndarray, times: list[float], dtype: torch.dtype) -> Pair:
    """The state (n, k) at the last time in float64, and the bound of what a walk in ``dtype`` loses."""
    program, u, wide = i.program.lowered(), 2.0**-24, ROUNDOFF[dtype]
    state: dict[str, Pair] = {b: (z[:, n], np.zeros(len(z))) for n, b in enumerate(program.blocks)}
    outputs: dict[tuple[str, str], Pair] = {}
    kept: list[dict[str, Pair]] = [dict.fromkeys(program.blocks, (0 * z[:, 0], 0 * z[:, 0]))] * program.history
    for step, (start, end) in enumerate(pairwise(times)):
        values = dict(zip(i.table.names, i.table(start, end, times[:step][::-1]), strict=True))
        for name, old in zip(program.past, kept, strict=True):
            outputs |= {(name, b): pair for b, pair in old.items()}
        for st in program.statements:
            if isinstance(st, Evaluate):
                for b, place in zip(program.blocks, st.state or program.blocks, strict=True):
                    value, error = state[place]
                    input_rounding = wide * np.abs(value) if dtype != torch.float32 else 0.0
                    result = value / 2 + 0.25
                    outputs[st.name, b] = result, (error + input_rounding) / 2 + wide * np.abs(result)
                continue
            before = dict(state)
            for block, terms in st.updates:
                total, error, size = 0.0, 0.0, 0.0
                for term in terms:
                    factor = float(np.real(values.get(str(term.coefficient), 1.0)))
                    operand = term.operand
                    assert isinstance(operand, Block | Output)
                    known = (
                        before[operand.name]
                        if isinstance(operand, Block)
                        else outputs[operand.evaluation, operand.component]
                    )
                    total = total + factor * known[0]
                    error = error + abs(factor) * known[1]
                    size = size + np.abs(factor * known[0])
                state[block] = total, error + (len(terms) + 1) * u * size
        if program.history:
            now = {b: state.get(f"{program.kept}_{b}", outputs.get((program.kept, b))) for b in program.blocks}
            kept = [now, *kept[:-1]]
    value, error = (np.stack([state[b][n] for b in program.blocks], axis=1) for n in (0, 1))
    return value, error + (wide * np.abs(value) if dtype != torch.float32 else 0.0)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", ROUNDOFF)
@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("times", [[0.5, 0.45], [0.5, 0.45, 0.4, 0.35, 0.3]], ids=["one step", "a walk"])
def test_what_low_precision_loses_is_what_the_operations_predict(
    spec: str, dtype: torch.dtype, device: str, times: list[float]
) -> None:
    i = derived(spec)
    z = torch.randn(200, len(i.program.blocks), generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    z = z.to(dtype).double()
    value, bound = predicted(i, z.numpy(), times, dtype)
    exact = i.to_torch(dtype=torch.float64).sample(network, z, times=times).numpy()
    np.testing.assert_allclose(exact, value, rtol=0, atol=1e-12 * np.abs(value).max())
    low = (
        i.to_torch(device=device, dtype=dtype).sample(network, z.to(device, dtype), times=times).double().cpu().numpy()
    )
    share = np.abs(low - exact) / bound
    assert share.max() <= 1
    assert share.max() >= (0.05 if len(times) == 2 else 0.002)  # a bound, and not a wish: worst cases do not add up


def test_one_rounding_more_than_the_program_has_is_seen() -> None:
    """Coefficients that were rounded to bfloat16 exceed the bound for float32 by far."""
    i = derived("psld/RVV")
    z = torch.randn(50, 2, generator=torch.Generator().manual_seed(2)).double()
    _, bound = predicted(i, z.numpy(), [0.5, 0.45], torch.float32)
    sampler = i.to_torch(dtype=torch.float32)
    exact = i.to_torch(dtype=torch.float64).sample(network, z, times=[0.5, 0.45])
    true = sampler.module.coefficients
    sampler.module.coefficients = lambda t, s: torch.tensor(true(t, s)).bfloat16().tolist()
    low = sampler.sample(network, z.float(), times=[0.5, 0.45]).double()
    assert float(((low - exact).abs() / torch.from_numpy(bound)).max()) > 100
