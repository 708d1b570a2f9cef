"""The one loop: the product of its steps, dtypes, noise, values that are not finite, and no waiting for the device."""

import math
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from torch_backend.walk.loop import integrate

TIMES = [1.0, 0.8, 0.5, 0.25, 0.125]
NAN, INF = float("nan"), float("inf")


def relax(z, t, s, c, network, noise):
    """z <- z + c_0 eps(z, t) [+ c_1 noise]; two evaluations, the second at time s on the result of the first."""
    moved = z + c[0] * network(z, t)
    moved = moved + c[0] * network(moved, s)
    return moved if noise is None else moved + c[1] * noise[0]


TABLE = torch.tensor([[t - s, 0.1] for t, s in pairwise(TIMES)], dtype=torch.float64)


def minus(z, t):
    return -z


def test_the_walk_is_the_product_of_its_steps(device):
    z = torch.ones(2, 3, dtype=torch.float64, device=device)
    expected = np.prod([(1 - (t - s)) ** 2 for t, s in pairwise(TIMES)])
    result = integrate(relax, TABLE, TIMES, minus, z)
    assert result.device.type == device
    np.testing.assert_allclose(result.cpu().numpy(), expected, rtol=1e-15)
    assert (z == 1).all()


@pytest.mark.parametrize(
    ("dtype", "state"),
    [(torch.float64, torch.float64), (torch.float32, torch.float32), (torch.float16, torch.float32),
     (torch.bfloat16, torch.float32)],
)  # fmt: skip
def test_dtypes(dtype, state, device):
    """The network sees the caller's dtype, the state and the times are at least float32."""
    seen = []

    def network(z, t):
        seen.append((z.dtype, t.dtype, t.shape, t.device.type))
        return -z

    states = []
    result = integrate(relax, TABLE, TIMES, network, torch.ones(5, 2, dtype=dtype, device=device),
                       callback=lambda i, s, z: states.append((i, s, z.dtype)))  # fmt: skip
    assert result.dtype == dtype
    assert seen == [(dtype, state, (5,), device)] * 8
    assert states == [(i, s, state) for i, s in enumerate(TIMES[1:])]


def test_small_updates_are_not_lost_in_bfloat16():
    """1e-3 is below bfloat16's resolution at 1: a state kept in bfloat16 would never move."""
    table = torch.full((100, 1), 0.5e-3, dtype=torch.float64)
    times = np.linspace(1, 0.1, 101)
    result = integrate(relax, table, times, lambda z, t: torch.ones_like(z), torch.ones(1, 1, dtype=torch.bfloat16))
    torch.testing.assert_close(result.double(), torch.full((1, 1), 1.1, dtype=torch.float64), rtol=1e-2, atol=0)


def test_evaluations_see_the_times_they_ask_for():
    seen = []

    def network(z, t):
        seen.append(t[0].item())
        return -z

    integrate(relax, TABLE, TIMES, network, torch.ones(1, 1, dtype=torch.float64))
    assert seen == [time for pair in pairwise(TIMES) for time in pair]


def test_gradients_are_left_to_the_caller():
    z = torch.ones(1, 2, dtype=torch.float64, requires_grad=True)
    integrate(relax, TABLE, TIMES, minus, z).sum().backward()
    expected = np.prod([(1 - (t - s)) ** 2 for t, s in pairwise(TIMES)])
    np.testing.assert_allclose(z.grad.numpy(), expected)


def noisy(z, seed=0, **options):
    generator = torch.Generator(z.device).manual_seed(seed)
    return integrate(relax, TABLE, TIMES, minus, z, blocks=2, noises=1, generator=generator, **options)


def blockwise(z, t, s, c, network, noise):
    assert noise.shape == (3, 4, 2, 5)
    return z


def test_noise_has_one_blocks_shape():
    integrate(blockwise, TABLE, TIMES, minus, torch.zeros(4, 4, 5), blocks=2, noises=3, generator=torch.Generator())


def test_noise_comes_from_the_generator_alone(device):
    z = torch.zeros(3, 2, 1, device=device)
    first = noisy(z)
    assert torch.equal(first, noisy(z))
    assert not torch.equal(first, noisy(z, seed=1))
    assert torch.equal(first, noisy(z, callback=lambda *_: torch.randn(3, device=device), progress=lambda *_: None))


def test_noise_has_mean_zero_and_variance_one():
    """One step of z + 0.1 noise from zero: 20000 draws, four standard errors."""
    generator = torch.Generator().manual_seed(0)
    z = integrate(relax, TABLE[:1], TIMES[:2], lambda z, t: 0 * z, torch.zeros(20000, 1), noises=1, generator=generator)
    assert abs(z.mean()) < 4 * 0.1 / math.sqrt(20000)
    assert abs(z.var() / 0.01 - 1) < 4 * math.sqrt(2 / 20000)


class Waits(TorchDispatchMode):
    """Counts the operations that would make the host wait for a device."""

    def __init__(self):
        super().__init__()
        self.seen = Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        if name in {"_local_scalar_dense", "is_nonzero", "item", "equal", "nonzero", "masked_select"}:
            self.seen[name] += 1
        return function(*args, **(kwargs or {}))


def test_the_loop_reads_the_device_once_at_the_end():
    with Waits() as waits:
        during = []
        noisy(torch.zeros(3, 2, 1), callback=lambda *_: during.append(sum(waits.seen.values())))
    assert during == [0, 0, 0, 0]
    assert sum(waits.seen.values()) == 1


def test_every_step_runs_on_tensors_without_data():
    """On the meta device any look at a value raises: only the check after the last step does."""
    done = []
    with pytest.raises((RuntimeError, NotImplementedError), match="meta"):
        integrate(relax, TABLE, TIMES, minus, torch.zeros(3, 2, device="meta"), callback=lambda i, *_: done.append(i))
    assert done == [0, 1, 2, 3]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_does_not_synchronise_between_the_steps():
    def callback(i, s, z):
        torch.cuda.set_sync_debug_mode("error" if i < len(TIMES) - 2 else "default")

    try:
        noisy(torch.zeros(3, 2, 1, device="cuda"), callback=callback)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
@pytest.mark.parametrize(("call", "where"), [
    (0, "evaluation 0 .*, at time 1, of step 0 of 4 .*, from time 1 to 0.8"),
    (5, r"evaluation 1 .*, at time 0.25, of step 2 of 4 \(counted from 0\), from time 0.5 to 0.25"),
])  # fmt: skip
def test_a_network_that_breaks_is_located(bad, call, where, device):
    calls = []

    def network(z, t):
        calls.append(t)
        eps = -z
        if len(calls) == call + 1:
            eps[1, 0] = bad
        return eps

    with pytest.raises(FloatingPointError, match=f"network returned NaN or infinity in {where}"):
        integrate(relax, TABLE, TIMES, network, torch.ones(2, 2, device=device))
    assert len(calls) == 8


def test_an_unstable_scheme_is_not_blamed_on_the_network():
    table = torch.full((4, 1), 1e30, dtype=torch.float64)
    with pytest.raises(FloatingPointError, match=r"state left the finite numbers in step 0 of 4.*take more steps"):
        integrate(relax, table, TIMES, minus, torch.ones(2, 2))
    with pytest.raises(FloatingPointError, match="state left the finite numbers in step 1 of 4"):
        integrate(lambda z, t, s, c, network, noise: z + c[0] * network(z, t), table, TIMES, minus, torch.ones(2, 2))
    # Infinite between the evaluations: the second one would pass infinity on.
    with pytest.raises(FloatingPointError, match="state left the finite numbers in step 0 of 4"):
        integrate(relax, table, TIMES, minus, torch.full((2, 2), 1e20))


def test_a_start_that_is_not_finite():
    with pytest.raises(FloatingPointError, match="before the first step"):
        integrate(relax, TABLE, TIMES, minus, torch.full((2, 2), NAN))


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"z": torch.ones(2, 3)}, ValueError, r"shape \(2, 3\); dimension 1 must hold 2 block\(s\) of channels"),
        ({"z": torch.ones(2)}, ValueError, r"shape \(2,\)"),
        ({"z": torch.ones(2, 0)}, ValueError, r"shape \(2, 0\)"),
        ({"z": torch.ones(2, 2, dtype=torch.int64)}, TypeError, "the state is torch.int64; a floating-point tensor"),
        ({"z": np.ones((2, 2))}, TypeError, "the state is float64; a floating-point tensor"),
        ({"z": [1.0]}, TypeError, "the state is list"),
        ({"table": TABLE[1:]}, ValueError, r"table has shape \(3, 2\); 4 steps need as many rows"),
        ({"noises": 1}, ValueError, "draws noise from a generator; pass one"),
        ({"progress": "yes"}, TypeError, "progress = 'yes'; it must be True, False or a callable"),
        ({"network": lambda z, t: z[:, :1]}, ValueError, r"returned shape \(2, 1\) for input of shape \(2, 2\)"),
        ({"network": lambda z, t: None}, TypeError, "the network returned NoneType; it must return a tensor"),
        ({"times": [1.0, 0.5, 0.6, 0.2, 0.1]}, ValueError, r"times\[2\] = 0.6 is not below"),
    ],
)
def test_unusable_input(changes, kind, message):
    arguments = {"step": relax, "table": TABLE, "times": TIMES, "network": minus, "z": torch.ones(2, 2), "blocks": 2}
    with pytest.raises(kind, match=message):
        integrate(**{**arguments, **changes})


def test_progress(capsys):
    seen = []
    integrate(relax, TABLE, TIMES, minus, torch.ones(1, 1), progress=lambda *pair: seen.append(pair))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    integrate(relax, TABLE, TIMES, minus, torch.ones(1, 1), progress=True)
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "\r1 of 4\r2 of 4\r3 of 4\r4 of 4\n")
