"""Starts of walks: where their times lie, what is refused, and that a multistep scheme keeps its order."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch

import integrator_analysis as ia
from torch_backend import load
from torch_backend.scheme import facts_of
from torch_backend.walk import start_up
from torch_backend.walk.sample_scheme import grid_of_steps
from torch_backend.walk.start_up import default_start, graded_shares, grid_with_start

FIRST_STEPS = pytest.mark.parametrize("start", ["plain", "halved", "graded"])


@FIRST_STEPS
@pytest.mark.parametrize("steps", [4, 9, 30])
def test_a_start_takes_no_evaluation_more(start: str, steps: int) -> None:
    sampler = load("vp/DEIS-tAB3")
    times = sampler.times(steps, start=start)
    assert len(times) == steps + 1
    assert times[0] == 1
    assert times[-2:] == [0.001, 0]
    assert all(a > b for a, b in pairwise(times))


def test_a_halved_start_divides_the_first_interval_at_the_geometric_mean_of_the_noise() -> None:
    """The log-SNR of a process with sigma(t) = t is -log t."""
    times = grid_with_start("uniform", 4, 8.0, 0.5, lambda t: -torch.log(t), "halved", spec="any", order=2, history=1)
    coarse = [8.0, 5.5, 3.0, 0.5]
    assert times == pytest.approx([8.0, math.sqrt(8 * 5.5), *coarse[1:]], rel=1e-9)


def test_a_graded_start_has_steps_whose_errors_are_alike() -> None:
    """A step of length l that reads j earlier outputs has an error of l**(j + 2): here n**-p of the interval's."""
    for order, steps in ((3, 50), (4, 50), (5, 200)):
        shares = graded_shares(order, steps)
        assert len(shares) == order - 2
        for j, share in enumerate(shares):
            assert (share / steps) ** (j + 2) == pytest.approx(steps**-order, rel=1e-12)


@pytest.mark.parametrize(
    ("spec", "steps", "start", "words"),
    [
        ("vp/DEIS-tAB3", 8, "grade", "did you mean 'graded'"),
        ("vp/DEIS-tAB3", 3, "graded", "takes 3 steps or more"),
        ("vp/DEIS-tAB3", 1, "halved", "takes 2 steps or more"),
        ("vp/DPM-Solver++2M", 8, "graded", "of order three and above"),
        ("vp/RK4", 8, "graded", "of order three and above"),
    ],
)
def test_what_a_start_cannot_be(spec: str, steps: int, start: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        load(spec).times(steps, start=start)


def test_explicit_times_are_walked_as_given() -> None:
    sampler = load("vp/DEIS-tAB3")
    z = torch.zeros(1, 1, dtype=torch.float64)
    with pytest.raises(ValueError, match="walked as given"):
        sampler.sample(lambda z, t: z, z, times=[1.0, 0.5, 0.1], start="graded")


def test_too_few_steps_for_the_default_start_are_walked_plainly(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = facts_of(load("vp/DEIS-tAB3").module)
    monkeypatch.setitem(start_up.START_BY_DEFAULT, facts.spec, ("quadratic", "graded"))
    assert grid_of_steps(facts, 3) == grid_of_steps(facts, 3, start="plain")
    assert grid_of_steps(facts, 4) == grid_of_steps(facts, 4, start="graded")
    assert grid_of_steps(facts, 4, "karras") == grid_of_steps(facts, 4, "karras", start="plain")


def test_a_default_start_is_one_of_the_default_grid() -> None:
    for spec, (grid, start) in start_up.START_BY_DEFAULT.items():
        integrator = ia.derive(spec)
        assert integrator.process.grid_for(integrator.order) == grid
        assert default_start(spec, grid) == start != "plain"
        assert default_start(spec, "EDM") == "plain"
