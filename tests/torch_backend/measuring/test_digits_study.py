"""The study on digits, small: references, budgets, shared noise, failures that do not stop it, and the floor."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.special import erf

from torch_backend import Sampler
from torch_backend.measuring.digits_study import SHOWN, baseline, probability_flow, run
from torch_backend.scores import GaussianScore, digits_score

SMALL = {"bandwidth": 0.2, "seed": 0, "n": 48, "projections": 50, "reference_count": 4, "budgets": (20, 80)}


@pytest.fixture(scope="module")
def study(vp, ddim, heun, euler_maruyama):
    samplers = {module.SPEC: Sampler(module) for module in (ddim, heun, euler_maruyama)}
    return list(run(samplers, {"vp": digits_score(vp, 0.2)}, {"vp": vp.drift}, **SMALL))


def test_one_record_per_scheme_and_budget_ready_for_json(study):
    records = json.loads(json.dumps([result.record for result in study], allow_nan=False))
    assert [(r["spec"], r["budget"], r["evaluations"], r["steps"]) for r in records] == [
        ("vp/DDIM", 20, 20, 20), ("vp/DDIM", 80, 80, 80), ("vp/Heun", 20, 19, 10), ("vp/Heun", 80, 79, 40),
        ("vp/EM", 20, 20, 20), ("vp/EM", 80, 80, 80),
    ]  # fmt: skip
    assert all(record["failure"] is None for record in records)
    assert all(result.images.shape == (SHOWN, 8, 8) for result in study)


def test_trajectories_approach_the_reference(study):
    errors = {(r.record["spec"], r.record["budget"]): r.record["trajectory_median"] for r in study}
    assert 0 < errors["vp/DDIM", 80] < errors["vp/DDIM", 20] / 2
    assert 0 < errors["vp/Heun", 80] < errors["vp/Heun", 20] / 8
    assert errors["vp/EM", 20] is errors["vp/EM", 80] is None
    for result in study:
        assert (result.record["trajectory_rmse"] is None) == result.record["spec"].endswith("EM")


def test_samples_approach_the_data(study):
    floor = baseline(bandwidth=0.2, n=48, seed=1, projections=50)
    for result in study:
        if result.record["spec"] == "vp/DDIM" and result.record["budget"] == 80:
            assert result.record["frechet"] < 1.5 * floor["frechet"]
            assert result.record["sliced_wasserstein"] < 1.5 * floor["sliced_wasserstein"]


def test_the_floor_shrinks_with_the_sample():
    few, many = (baseline(bandwidth=0.1, n=n, seed=0, projections=50, draws=3) for n in (50, 500))
    assert many["frechet"] < few["frechet"]
    assert set(many) == {"sliced_wasserstein", "frechet", "sliced_wasserstein_std", "frechet_std"}


def test_schemes_of_one_process_start_from_the_same_noise(vp, ddim):
    starts, network = [], digits_score(vp, 0.2)

    def note(_, inputs):
        if inputs[1][0] == 1:
            starts.append(inputs[0])

    network.register_forward_pre_hook(note)
    twins = {name: Sampler(SimpleNamespace(**{**vars(ddim), "SPEC": name})) for name in ("one", "two")}
    results = list(run(twins, {"vp": network}, {"vp": vp.drift}, **{**SMALL, "budgets": (10,)}))
    assert len(starts) == 2
    assert torch.equal(*starts)
    assert results[0].record["trajectory_rmse"] == results[1].record["trajectory_rmse"]


def test_a_walk_that_breaks_is_a_record_and_the_study_goes_on(vp, ddim):
    broken = SimpleNamespace(**{**vars(ddim), "SPEC": "vp/broken", "step": lambda z, *_: z / 0})
    samplers = {"vp/broken": Sampler(broken), "vp/DDIM": Sampler(ddim)}
    seen = []
    options = {**SMALL, "budgets": (10,), "progress": lambda *pair: seen.append(pair)}
    results = list(run(samplers, {"vp": digits_score(vp, 0.2)}, {"vp": vp.drift}, **options))
    assert "left the finite numbers" in results[0].record["failure"]
    assert results[0].record["frechet"] is results[0].record["trajectory_rmse"] is None
    assert np.isnan(results[0].images).all()
    json.dumps(results[0].record, allow_nan=False)
    assert results[1].record["failure"] is None
    assert seen == [(1, 2), (2, 2)]


def test_results_come_one_by_one(vp, ddim):
    cells = run({"vp/DDIM": Sampler(ddim)}, {"vp": digits_score(vp, 0.2)}, {"vp": vp.drift}, **SMALL)
    assert next(cells).record["budget"] == 20
    cells.close()


def test_the_reference_is_the_closed_form_on_gaussian_data(kernel):
    """One coordinate, Gaussian data: the flow keeps a state's quantile, so a marginal with one block is matched."""
    network = GaussianScore(kernel, torch.tensor([[0.5]]), torch.tensor([[0.3]]))
    z_T = torch.linspace(-2, 2, 5, dtype=torch.float64)[:, None].repeat(1, len(kernel.BLOCKS))[:, :, None]
    z_0 = probability_flow(network, kernel.drift, z_T, 1.0, 0.05, rtol=1e-8, atol=1e-8)
    back = probability_flow(network, kernel.drift, z_0, 0.05, 1.0, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(back, z_T, rtol=1e-5, atol=1e-5)
    if len(kernel.BLOCKS) == 1:

        def quantile(z, t):
            time = torch.tensor([t], dtype=torch.float64)
            psi, variance = kernel.mean(time)[0], kernel.covariance(time)[0]
            return erf(((z - psi * 0.5) / torch.sqrt(2 * (psi**2 * 0.3 + variance))).numpy())

        np.testing.assert_allclose(quantile(z_0, 0.05), quantile(z_T, 1.0), atol=1e-6)


def test_a_reference_that_fails_says_so(vp):
    network = GaussianScore(vp, torch.zeros(1, 1), torch.ones(1, 1))
    start = torch.ones(1, 1, 1, dtype=torch.float64)
    with pytest.raises(RuntimeError, match=r"the reference solution failed between times 1 and 0\.001"):
        probability_flow(network, lambda z, t, score: z**2 * 1e3, -start * 10, 1.0, 1e-3)


@pytest.mark.parametrize(
    ("networks", "budgets", "message"),
    [
        ({}, (10,), "vp/Heun runs on process 'vp', for which no network and drift were given"),
        (
            {"vp": None},
            (10, 1),
            "vp/Heun takes 2 evaluations per step and one at the end, the smallest budget is 1; leave one",
        ),
    ],
)
def test_unusable_input(vp, heun, networks, budgets, message):
    with pytest.raises(ValueError, match=message):
        next(run({"vp/Heun": Sampler(heun)}, networks, {"vp": vp.drift}, **{**SMALL, "budgets": budgets}))
