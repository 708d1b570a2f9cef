"""The sampler around the loop: what it accepts, what it refuses, seeds, priors, and convergence of known schemes."""

import inspect
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from beartype import beartype
from jaxtyping import jaxtyped

from torch_backend import Sampler
from torch_backend.measuring.convergence import observed_order
from torch_backend.scores import GaussianScore, MixtureScore
from torch_backend.walk.sample_scheme import sample_scheme


def mixture(vp):
    means = torch.tensor([[-1.0, 0.5], [1.0, -0.2], [0.3, 1.2]], dtype=torch.float64)[:, None]
    return MixtureScore(vp, means, 0.05)


def start(sampler, n=16, shape=(1, 2), dtype=torch.float64, seed=0):
    return sampler.prior(n, shape, seed).to(dtype)


def test_attributes(heun):
    sampler = Sampler(heun)
    assert (sampler.spec, sampler.process, sampler.blocks, sampler.order) == ("vp/Heun", "vp", ("x",), 2)
    assert (sampler.stochastic, sampler.nfe_per_step, sampler.t_max, sampler.t_min) == (False, 2, 1.0, 1e-3)
    assert repr(sampler) == "<Sampler vp/Heun: deterministic, order 2, 2 evaluation(s) per step>"
    table = jaxtyped(typechecker=beartype)(Sampler.table)(sampler, sampler.times(4))
    assert table.shape == (3, len(sampler.coefficient_names))  # the last step is the one to no noise
    assert sampler.table(sampler.times(4, end_at_zero=False)).shape == (4, len(sampler.coefficient_names))


def test_sample_takes_the_arguments_of_a_walk_with_the_sampler_for_the_scheme():
    ours, walks = (list(inspect.signature(f).parameters.values()) for f in (Sampler.sample, sample_scheme))
    assert [one.name for one in ours[:3]] == ["self", "network", "z_T"]
    assert ours[1:] == walks[1:]
    assert (Sampler.sample.__name__, Sampler.sample.__doc__) == ("sample", sample_scheme.__doc__)


def test_ddim_is_exact_on_point_data(vp, ddim, device):
    """eps is constant along the solution, which is psi mu + sigma eps: one step is as good as a hundred."""
    mean = torch.tensor([[0.4, -0.7]], dtype=torch.float64)
    network = GaussianScore(vp, mean, torch.zeros_like(mean)).to(device)
    z_T = start(Sampler(ddim)).to(device)
    one, hundred = (Sampler(ddim).sample(network, z_T, steps=steps, end_at_zero=False) for steps in (1, 100))
    torch.testing.assert_close(one, hundred, rtol=1e-11, atol=1e-11)
    first, last = (torch.tensor([time], dtype=torch.float64, device=device) for time in (1.0, 1e-3))
    eps = (z_T - vp.mean(first)[0] * mean.to(device)) / vp.cholesky(first)[0]
    torch.testing.assert_close(one, vp.mean(last)[0] * mean.to(device) + vp.cholesky(last)[0] * eps)


@pytest.mark.parametrize("name", ["ddim", "heun"])
def test_known_schemes_converge_at_their_order(vp, name, request):
    """On a mixture, against the exact solution of scipy's DOP853 (see the study), from five step counts."""
    from torch_backend.measuring.digits_study import probability_flow

    sampler, network = Sampler(request.getfixturevalue(name)), mixture(vp)
    z_T = start(sampler)
    reference = probability_flow(network, vp.drift, z_T, 1.0, 0.05, rtol=1e-12, atol=1e-12)
    counts = (64, 128, 256, 512, 1024)
    errors = [
        (sampler.sample(network, z_T, times=np.linspace(1, 0.05, n + 1)) - reference).square().mean().sqrt().item()
        for n in counts
    ]
    estimate = observed_order([1 / n for n in counts], errors)
    assert abs(estimate.order - sampler.order) < 0.15, errors
    assert estimate.window[1] == len(counts)


def test_euler_maruyama_samples_the_data(vp, euler_maruyama):
    """Mean and variance of Gaussian data, within the scheme's bias at 200 steps and four standard errors."""
    network = GaussianScore(vp, torch.tensor([[0.5]]), torch.tensor([[0.04]]))
    sampler = Sampler(euler_maruyama)
    z = sampler.sample(network, start(sampler, 4000, (1, 1)), steps=200, grid="quadratic", end_at_zero=False, seed=1)
    assert abs(z.mean() - 0.5) < 4 * 0.2 / 4000**0.5 + 0.005
    assert abs(z.std() - 0.2) < 0.02


def test_seeds(vp, euler_maruyama, device):
    sampler, network = Sampler(euler_maruyama), mixture(vp).to(device)
    z_T = start(sampler, dtype=torch.float32).to(device)
    first = sampler.sample(network, z_T, steps=5, seed=3)
    assert first.device.type == device
    assert torch.equal(first, sampler.sample(network, z_T, steps=5, seed=3))
    assert not torch.equal(first, sampler.sample(network, z_T, steps=5, seed=4))


def test_a_generator_is_advanced_by_a_walk(vp, euler_maruyama, device):
    sampler, network, generator = Sampler(euler_maruyama), mixture(vp).to(device), torch.Generator(device)
    z_T = start(sampler, dtype=torch.float32).to(device)
    first = sampler.sample(network, z_T, steps=5, generator=generator.manual_seed(3))
    assert not torch.equal(first, sampler.sample(network, z_T, steps=5, generator=generator))
    assert torch.equal(first, sampler.sample(network, z_T, steps=5, generator=generator.manual_seed(3)))


def test_a_generator_on_the_cpu_gives_every_device_the_same_noise(vp, euler_maruyama, device):
    sampler, network = Sampler(euler_maruyama), mixture(vp)
    z_T = start(sampler)
    runs = [
        sampler.sample(network.to(d), z_T.to(d), steps=5, generator=torch.Generator().manual_seed(0)).cpu()
        for d in ("cpu", device)
    ]
    torch.testing.assert_close(*runs)


def test_global_randomness_is_neither_read_nor_advanced(vp, euler_maruyama):
    sampler, before = Sampler(euler_maruyama), torch.get_rng_state()
    sampler.sample(mixture(vp), start(sampler), steps=3, seed=0)
    assert torch.equal(before, torch.get_rng_state())


def test_gradients_are_off(vp, ddim):
    z = Sampler(ddim).sample(mixture(vp), start(Sampler(ddim)).requires_grad_(), steps=2)
    assert not z.requires_grad


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_the_result_has_the_starts_dtype(vp, ddim, dtype):
    sampler = Sampler(ddim, dtype=dtype)
    z_T = sampler.prior(8, (1, 2), seed=0)
    assert z_T.dtype == sampler.sample(mixture(vp), z_T, steps=20).dtype == dtype


def test_float32_follows_float64(vp, ddim):
    sampler, network = Sampler(ddim), mixture(vp)
    z_T = start(sampler, dtype=torch.float32)
    low, high = (sampler.sample(network, z, steps=50).double() for z in (z_T, z_T.double()))
    torch.testing.assert_close(low, high, rtol=1e-4, atol=1e-4)


def test_the_prior_has_its_blocks_spread():
    phase = SimpleNamespace(
        SPEC="phase/none", PROCESS="phase", BLOCKS=("x", "m"), ORDER=1, STOCHASTIC=False, NFE_PER_STEP=1, HISTORY=0,
        NOISES=0, T_MAX=1.0, T_MIN=0.01, PRIOR_STD=(1.0, 0.5), COEFFICIENTS=(), coefficients=lambda t, s: (), step=None,
    )  # fmt: skip
    z = jaxtyped(typechecker=beartype)(Sampler.prior)(Sampler(phase), 5000, (3, 2), seed=0)
    assert (z.shape, z.dtype) == ((5000, 6, 2), torch.float32)
    np.testing.assert_allclose([z[:, :3].std(), z[:, 3:].std()], [1.0, 0.5], rtol=0.02)
    assert torch.equal(z, Sampler(phase).prior(5000, (3, 2), seed=0))
    assert not torch.equal(z, Sampler(phase).prior(5000, (3, 2), seed=1))


def test_processes_share_their_position_noise(ddim, euler_maruyama):
    two = SimpleNamespace(**{**vars(ddim), "BLOCKS": ("x", "m"), "PRIOR_STD": (1.0, 0.5)})
    assert torch.equal(Sampler(two).prior(4, (1, 3), seed=7)[:, :1], Sampler(ddim).prior(4, (1, 3), seed=7))


def test_one_seed_for_prior_and_walk_is_safe(euler_maruyama):
    """The first noise must not be a copy of z_T."""
    module = SimpleNamespace(**{**vars(euler_maruyama), "step": lambda z, t, s, c, network, noise: noise[0]})
    z_T = Sampler(module).prior(2000, (1, 1), seed=5)
    noise = Sampler(module).sample(lambda z, t: z, z_T, times=[1.0, 0.5], seed=5)
    assert abs(np.corrcoef(z_T.flatten(), noise.flatten())[0, 1]) < 4 / 2000**0.5


@pytest.mark.parametrize(
    ("scheme", "options", "kind", "message"),
    [
        ("ddim", {}, ValueError, "neither of steps and times given; pass exactly one"),
        ("ddim", {"steps": 2, "times": [1.0, 0.5]}, ValueError, "both of steps and times given"),
        ("ddim", {"steps": 0}, ValueError, "steps = 0 is not a number of steps"),
        ("ddim", {"steps": 2.5}, ValueError, "steps = 2.5 is not a number of steps"),
        ("ddim", {"steps": 2, "grid": "unifrm"}, ValueError, "unknown grid 'unifrm'; did you mean 'uniform'"),
        ("ddim", {"times": 5}, TypeError, "times = 5 is one number; pass the sequence of times"),
        ("ddim", {"times": [1.5, 0.5]}, ValueError, r"times\[0\] = 1.5 .* every time must be in \(0, 1.0\]"),
        ("ddim", {"times": [1.0, 0.0, -1.0]}, ValueError, r"times\[1\] = 0.0 .*the last one may be 0"),
        ("ddim", {"times": [1.0, 0.0], "end_at_zero": False}, ValueError, "times end in 0 and end_at_zero is False"),
        ("ddim", {"times": [1.0, 0.5], "grid": "uniform"}, ValueError, "grid = 'uniform' beside times"),
        ("ddim", {"steps": 2, "seed": "7"}, TypeError, "seed = '7' is no integer, nor a sequence"),
        ("ddim", {"steps": 2, "seed": [1, 2.5]}, TypeError, "seed = 2.5 is no integer"),
        (
            "ddim",
            {"steps": 2, "seed": [1, 2, 3]},
            ValueError,
            "3 seeds for a batch of 2; one for each sample is needed",
        ),
        ("euler_maruyama", {"steps": 2, "generator": [torch.Generator()]}, ValueError, "1 generators for a batch of 2"),
        ("ddim", {"times": [1.0, 0.5, 0.7]}, ValueError, r"times\[2\] = 0.7 is not below times\[1\]"),
        ("euler_maruyama", {"steps": 2}, ValueError, "vp/EM is stochastic; pass seed or generator"),
        ("euler_maruyama", {"steps": 2, "seed": 1, "generator": torch.Generator()}, ValueError, "both seed and gen"),
        ("ddim", {"steps": 2, "z_T": torch.ones(2, 2, dtype=torch.int32)}, TypeError, "the state is torch.int32"),
        ("ddim", {"steps": 2, "seed": 0, "z_T": [1.0]}, TypeError, "the state is list"),
        ("ddim", {"steps": 2, "BLOCKS": ("x", "m"), "z_T": torch.ones(2, 3)}, ValueError, "dimension 1 must hold 2 bl"),
        ("ddim", {"steps": 2, "progress": 1}, TypeError, "progress = 1; it must be"),
    ],
)
def test_unusable_input(scheme, options, kind, message, request):
    module = request.getfixturevalue(scheme)
    if "BLOCKS" in options:
        module = SimpleNamespace(**{**vars(module), "BLOCKS": options["BLOCKS"]})
    arguments = {"z_T": torch.ones(2, 2), **{key: value for key, value in options.items() if key != "BLOCKS"}}
    with pytest.raises(kind, match=message):
        Sampler(module).sample(lambda z, t: -z, **arguments)


def test_a_module_that_is_no_scheme(ddim):
    lacking = {name: value for name, value in vars(ddim).items() if name not in ("ORDER", "step")}
    with pytest.raises(TypeError, match="is not a scheme module; it lacks ORDER, step"):
        Sampler(SimpleNamespace(**lacking))
