"""The one loop: grids, tables, dtypes, noise, finiteness, and that nothing inside it waits for the device."""

import math
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from torch_backend.walk.grids import GRIDS, time_grid
from torch_backend.walk.loop import integrate
from torch_backend.walk.table import tabulate
from torch_backend.walk.validation import check_times

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


# --- grids and tables ------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(
    name=st.sampled_from(sorted(GRIDS)), steps=st.integers(1, 200),
    t_max=st.floats(0.5, 100), ratio=st.floats(1e-6, 0.5),
)  # fmt: skip
def test_grids_run_from_t_max_down_to_t_min_exactly(name, steps, t_max, ratio):
    times = time_grid(name, steps, t_max, t_max * ratio, lambda t: -math.log(t))
    assert (len(times), times[0], times[-1]) == (steps + 1, t_max, t_max * ratio)
    assert all(s < t for t, s in pairwise(times))


@pytest.mark.parametrize(("name", "power"), [("uniform", 1), ("quadratic", 1 / 2), ("karras", 1 / 7)])
def test_grids_are_equidistant_in_a_power_of_t(name, power):
    np.testing.assert_allclose(np.diff(np.power(time_grid(name, 10, 2.0, 1e-3), power), n=2), 0, atol=1e-14)


def test_measured_grids_are_equidistant_in_their_measure():
    def log_snr(t):
        return -math.log(math.expm1(0.1 * t + 9.95 * t**2)) / 2

    for name, place in (("log-SNR", lambda x: x), ("EDM", lambda x: math.exp(-x / 7))):
        places = [place(log_snr(t)) for t in time_grid(name, 12, 1.0, 1e-3, log_snr)]
        np.testing.assert_allclose(np.diff(places), (places[-1] - places[0]) / 12, rtol=1e-9)
    with pytest.raises(ValueError, match="is measured in the log-SNR; pass"):
        time_grid("EDM", 5, 1.0, 1e-3)


def test_a_grid_can_be_added(monkeypatch):
    monkeypatch.setitem(GRIDS, "log", lambda n, first, last: list(np.geomspace(first, last, n + 1)))
    np.testing.assert_allclose(time_grid("log", 2, 1.0, 0.01), [1, 0.1, 0.01])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("quadratc", 4, 1.0, 0.1),
            "unknown grid 'quadratc'; did you mean 'quadratic'. Known: EDM, cosine, karras, log-SNR, quadratic, uni",
        ),
        (("zzz", 4, 1.0, 0.1), "unknown grid 'zzz'; Known"),
        (("uniform", 0, 1.0, 0.1), "steps = 0 is not a number of steps; a positive integer"),
        (("uniform", 2.0, 1.0, 0.1), r"steps = 2.0 is not"),
        (("uniform", True, 1.0, 0.1), "steps = True is not"),
        (("uniform", 2, 0.1, 1.0), r"times\[1\] = 0.55 is not below times\[0\] = 0.1"),
    ],
)
def test_unusable_grids(arguments, message):
    with pytest.raises(ValueError, match=message):
        time_grid(*arguments)


def test_a_grid_of_the_wrong_length(monkeypatch):
    monkeypatch.setitem(GRIDS, "short", lambda n, first, last: [first, last])
    with pytest.raises(ValueError, match="grid 'short' gave 2 times for 3 steps; it must give 4"):
        time_grid("short", 3, 1.0, 0.1)


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([], "times has 0 entries; at least two"),
        ([1.0], "times has 1 entries"),
        ([1.0, 0.5, 0.5], r"times\[2\] = 0.5 is not below times\[1\] = 0.5; times must decrease strictly"),
        ([0.5, 1.0], r"times\[1\] = 1.0 is not below"),
        ([1.0, NAN], r"times\[1\] = nan .* every time must be in \(0, 2.0\]"),
        ([INF, 1.0], r"times\[0\] = inf"),
        ([1.0, 0.0], r"times\[1\] = 0.0 is not a usable diffusion time"),
        ([1.0, -1.0], r"times\[1\] = -1.0"),
        ([2.5, 1.0], r"times\[0\] = 2.5 .* in \(0, 2.0\]"),
    ],
)
def test_unusable_times(times, message):
    with pytest.raises(ValueError, match=message):
        check_times(times, 2.0)


def test_times_without_a_bound_are_finite_and_positive():
    with pytest.raises(ValueError, match="must be finite and positive"):
        check_times([1.0, 0.0])
    assert check_times(torch.tensor([2.0, 1.0])) == check_times(np.array([2, 1])) == [2.0, 1.0]


def test_the_table_is_float64_on_the_cpu():
    table = tabulate(lambda t, s: (t - s, math.exp(-t)), TIMES)
    assert (table.dtype, table.device.type, table.shape) == (torch.float64, "cpu", (4, 2))
    assert table[1].tolist() == [0.8 - 0.5, math.exp(-0.8)]
    assert tabulate(lambda t, s: (), TIMES).shape == (4, 0)


def test_a_coefficient_that_is_not_finite():
    with pytest.raises(ValueError, match=r"coefficient 1 of step 2, from time 0.5 to 0.25, is inf"):
        tabulate(lambda t, s: (1.0, INF if t == 0.5 else 0.0), TIMES)


# --- the walk --------------------------------------------------------------------------------------------------------


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


# --- no waiting ------------------------------------------------------------------------------------------------------


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


# --- values that are not finite --------------------------------------------------------------------------------------


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


# --- unusable input --------------------------------------------------------------------------------------------------


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


# --- progress --------------------------------------------------------------------------------------------------------


def test_progress(capsys):
    seen = []
    integrate(relax, TABLE, TIMES, minus, torch.ones(1, 1), progress=lambda *pair: seen.append(pair))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    integrate(relax, TABLE, TIMES, minus, torch.ones(1, 1), progress=True)
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "\r1 of 4\r2 of 4\r3 of 4\r4 of 4\n")
