"""Whole programs: one graph without a break, the numbers of Sampler, and files that hold tensor operations only."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import integrator_analysis as ia
from tests.torch_backend.exporting import exported_text
from torch_backend import load
from torch_backend.export.torch_program import (
    SamplingLoop,
    export_loop,
    export_step,
    program_file,
    step_facts,
)

SPECS = ("vp/DPM-Solver++2M", "psld/NOBA", "psld/SPS-2M")


class Small(nn.Module):
    """A convolution that looks at the time."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, z: Tensor, t: Tensor) -> Tensor:
        return torch.tanh(self.layer(z)) * (0.5 + t[:, None, None, None])


def setting(spec: str, steps: int = 2) -> tuple[Any, SamplingLoop, tuple[Tensor, ...]]:
    sampler = load(spec)
    k = len(sampler.blocks)
    loop = SamplingLoop(sampler.module, Small(k).eval(), sampler.times(steps, "quadratic"))
    generator = torch.Generator().manual_seed(3)
    z = torch.randn(3, k, 4, 6, generator=generator)
    if not sampler.stochastic:
        return sampler, loop, (z,)
    return sampler, loop, (z, torch.randn(steps, sampler.module.NOISES, 3, 1, 4, 6, generator=generator))


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
@pytest.mark.parametrize("spec", SPECS)
@torch.no_grad()
def test_the_loop_is_one_graph_and_gives_samplers_numbers(spec: str) -> None:
    sampler, loop, given = setting(spec)
    plain = loop(*given)
    if not sampler.stochastic:  # a generator's numbers depend on how many are drawn at once
        expected = sampler.sample(loop.network, given[0], times=loop.ends.tolist())
        assert (plain - expected).abs().max() < 1e-5 * expected.abs().max()
    torch._dynamo.reset()
    compiled = torch.compile(loop, fullgraph=True, backend="eager")
    assert torch.equal(compiled(*given), plain)


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
def test_a_graph_break_would_be_seen() -> None:
    _, loop, given = setting("vp/DDIM")

    class Reads(nn.Module):
        def forward(self, z: Tensor, t: Tensor) -> Tensor:
            return z if z.sum() > 0 else -z

    loop.network = Reads()
    torch._dynamo.reset()
    with pytest.raises(Exception, match=r"[Dd]ata-dependent"):
        torch.compile(loop, fullgraph=True, backend="eager")(*given)


def only_tensor_operations(program: Any) -> bool:
    calls = [node.target for node in program.graph.nodes if node.op == "call_function"]
    return all(str(target).startswith(("aten.", "<built-in function")) for target in calls)


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
@torch.no_grad()
def test_the_saved_loop_takes_any_batch_and_holds_tensor_operations_only() -> None:
    _, loop, given = setting("psld/RVV")
    data = program_file(export_loop(loop, *given), {"spec": "psld/RVV"})
    facts: dict[str, Any] = {"facts.json": ""}
    program = torch.export.load(io.BytesIO(data), extra_files=facts)
    assert json.loads(facts["facts.json"]) == {"spec": "psld/RVV"}
    assert only_tensor_operations(program)
    for z in (given[0], given[0][:1], torch.cat([given[0]] * 3)):
        torch.testing.assert_close(program.module()(z), loop(z), rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
@pytest.mark.parametrize("spec", ["vp/DPM-Solver++2M", "psld/NOBA"])
@torch.no_grad()
def test_a_saved_step_and_a_network_are_the_sampler(spec: str) -> None:
    """The caller's loop as the file's facts describe it, for a batch and a size that the program was not made with."""
    sampler, network = load(spec), Small(len(load(spec).blocks)).eval()
    times = sampler.times(3, "quadratic")
    extra: dict[str, Any] = {"facts.json": ""}
    data = program_file(export_step(sampler.module, times), step_facts(sampler.module, times))
    program = torch.export.load(io.BytesIO(data), extra_files=extra)
    facts = json.loads(extra["facts.json"])
    assert only_tensor_operations(program)

    step, k, nfe = program.module(), len(facts["blocks"]), facts["evaluations_per_step"]
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(2, k, 5, 7, generator=generator)
    generator = torch.Generator().manual_seed(9)
    flat = z.reshape(2, k, -1)
    past = torch.zeros(facts["history"], *flat.shape)
    for i, at in enumerate(facts["evaluation_times"]):
        options = {"past": past} if facts["history"] else {}
        if facts["noises"]:
            options["noise"] = torch.randn(facts["noises"], 2, 1, 5, 7, generator=generator).reshape(-1, 2, 1, 35)
        outputs = torch.full((nfe, *flat.shape), float("nan"))
        for j, t in enumerate(at):
            states = step(flat, torch.tensor(i), outputs, **options)[0]
            outputs[j] = network(states[j].reshape(z.shape), torch.full((2,), t)).reshape(flat.shape)
        _, flat, *kept = step(flat, torch.tensor(i), outputs, **options)
        past = torch.cat([kept[0][None], past[:-1]]) if kept else past
    ending = facts["step_to_no_noise"]
    output = network(flat.reshape(z.shape), torch.full((2,), ending["evaluation_time"]))
    parts = [*flat.unbind(1), *output.reshape(flat.shape).unbind(1)]
    found = sum(weight * part for weight, part in zip(ending["weights"], parts, strict=True))
    expected = sampler.sample(network, z, times=times, generator=torch.Generator().manual_seed(9))
    torch.testing.assert_close(found.reshape(expected[:, :1].shape), expected[:, :1], rtol=1e-5, atol=1e-5)


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
def test_the_exported_file_carries_its_certificate_and_grid(tmp_path: Any) -> None:
    integrator = ia.derive("vp/DDIM")
    path = integrator.export(tmp_path / "step.pt2", format="torch-export", times=[1.0, 0.5, 0.1])
    extra: dict[str, Any] = {"facts.json": ""}
    torch.export.load(str(path), extra_files=extra)
    facts = json.loads(extra["facts.json"])
    assert facts["times"] == [1.0, 0.5, 0.1]
    assert facts["evaluation_times"] == [[1.0], [0.5]]
    assert facts["step_to_no_noise"] is None
    assert facts["certificate"]["passed"]


def test_what_cannot_be_a_step_alone_is_refused(tmp_path: Any) -> None:
    for spec, sentence in [("psld/SPS-2M", "before its first step"), ("vp/conjugate(B=table)", "takes a B")]:
        with pytest.raises(ValueError, match=sentence):
            exported_text(spec, "torch-export")
    with pytest.raises(ia.InputError, match="leave times out"):
        ia.derive("vp/DDIM").export(tmp_path / "x.py", times=[1.0, 0.5])
    with pytest.raises(ValueError, match="hold no step of vp/DDIM; two times above 0"):
        export_step(load("vp/DDIM").module, [1.0, 0.0])
    with pytest.raises(ValueError, match="must decrease strictly"):
        SamplingLoop(load("vp/DDIM").module, Small(1), [0.5, 1.0])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@torch.no_grad()
def test_the_loop_is_captured_in_a_cuda_graph() -> None:
    _, loop, given = setting("psld/RVV")
    loop, z = loop.cuda(), given[0].cuda()
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        plain = loop(z)
    torch.cuda.current_stream().wait_stream(side)
    graph, still = torch.cuda.CUDAGraph(), z.clone()
    with torch.cuda.graph(graph):
        end = loop(still)
    still.zero_()
    graph.replay()
    zero = end.clone()
    still.copy_(z)
    graph.replay()
    torch.testing.assert_close(end, plain, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(zero, plain)
