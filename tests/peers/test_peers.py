"""Generated samplers against the schedulers of diffusers: equal, or who is right where they differ.

In float64 through the peer's own code: every pair of ``PAIRS``. The peer's tables hold float64 values of our grid, and
casts to float32 inside ``step`` are lifted (see peers.py); nothing of its formulas is touched. DDIM on DDPM's betas is
run a second time as it is shipped, with its own time steps, on its own table made of float64 numbers.
At the peer's own rounding: the schedulers that cast to float32 inside ``step`` (DPMSolverMultistep, EulerDiscrete,
EDMEuler, FlowMatchEuler, FlowMatchHeun) with their casts left in, and DDIM with its float32 table.
Not compared by value: third-order multistep and SDE formulas, which are measured against the exact flow instead.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import diffusers
import pytest
import torch
from torch import Tensor

from tests.peers.first_principles import METHODS, PRINTED, Multistep, Singlestep, clock_ratio, clock_time, run_method
from tests.peers.first_principles import Method as FirstPrinciples
from tests.peers.pairs import (
    CITED,
    DDPM_ALPHAS,
    FRAMES,
    MISPRINTS,
    MIXTURE,
    PAIRS,
    SPAN,
    VP,
    Misprint,
    Pair,
    derived,
    difference,
    drive,
    first_principles_end,
    jittered,
    network_of_arrays,
    our_errors,
    ours,
    relative,
    runs,
    shipped_ddim,
    slope,
    start_state,
    their_end,
    their_errors,
    time_of_ratio,
    walk,
)
from tests.peers.peers import PEERS, Peer, run_peer

TOLERANCE = 1e-8
SLOPE = 0.15
DOCUMENT = Path(__file__).parents[2] / "docs" / "peers.md"


# --- equal -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_our_spec_is_the_peer(pair: Pair) -> None:
    assert difference(pair)[0] < TOLERANCE


@pytest.mark.parametrize(
    "pair",
    [
        Pair("vp/DPM-Solver++2M", "DPM-Solver++2M"),
        Pair("vp/conjugate(base=AB3, variable=log-SNR)", "DEIS-3"),
        Pair("vp/DEIS-rhoAB2", "LMS-3"),
        Pair("vp/SDE-DPM-Solver++2M", "SDE-DPM++2M"),
        Pair("edm/DPM-Solver++2M", "EDM-DPM++2M"),
    ],
    ids=str,
)
def test_one_step_from_exact_past_states_is_the_peers(pair: Pair) -> None:
    case = runs(pair.strength, PEERS[pair.peer].history)[0]
    frame, grid = pair.frame, case.grid[: len(case.states) + 1]
    first = [state / frame.scale(ratio) for state, ratio in zip(case.states, grid, strict=False)]
    mine = drive(ours(pair.spec), frame.network, first[-1], frame.time(grid).tolist(), first[:-1])
    theirs = run_peer(pair.peer, MIXTURE.eps, case.states[-1], grid, past=case.states[:-1])
    assert relative(mine * frame.scale(grid[-1]), theirs) < TOLERANCE


@pytest.mark.parametrize(
    "pair",
    [
        Pair("vp/DPM-Solver++2M", "DPM-Solver++2M"),
        Pair("vp/conjugate(base=AB2-middle)", "DPM-Solver-2M(middle)"),
        Pair("vp/conjugate(base=AB2, variable=log-SNR)", "DEIS-2"),
        Pair("vp/conjugate(base=AB3, variable=log-SNR)", "DEIS-3"),
        *(pair for pair in PAIRS if pair.peer.startswith("UniPC")),
        Pair("edm/DPM-Solver++2M", "EDM-DPM++2M"),
        Pair("flow/DPM-Solver++2M", "Flow-DPM++2M"),
        Pair("flow/UniPC-2", "Flow-UniPC-2-bh2"),
    ],
    ids=str,
)
def test_lower_order_final_is_the_peers(pair: Pair) -> None:
    """On twelve steps: the peers other than UniPC lower the order on fewer than fifteen only."""
    peer, grid, z = PEERS[pair.peer], jittered(pair.frame, 12), start_state()
    theirs = run_peer(replace(peer, config={**peer.config, "lower_order_final": True}), MIXTURE.eps, z, grid)
    assert relative(walk(pair.spec, z, grid, lower_order_final=True), theirs) < TOLERANCE
    if peer.history:
        assert relative(walk(pair.spec, z, grid), theirs) > 1e-5


def test_ddim_as_shipped_on_ddpms_betas() -> None:
    assert shipped_ddim(DDPM_ALPHAS) < TOLERANCE


def test_ddim_as_shipped_rounds_its_table_to_float32() -> None:
    assert TOLERANCE < shipped_ddim(None) < 1e-4


@pytest.mark.parametrize(
    "pair",
    [
        Pair("vp/DPM-Solver++2M", "DPM-Solver++2M"),
        Pair("ve/DDIM", "Euler"),
        Pair("edm/DDIM", "EDM-Euler"),
        Pair("flow/DDIM", "FlowMatch-Euler"),
        Pair("flow/Heun", "FlowMatch-Heun"),
    ],
    ids=str,
)
def test_casts_left_in_cost_float32(pair: Pair) -> None:
    assert 1e-9 < difference(pair, casts=True)[0] < 1e-5


def test_the_two_b_of_unipc_3_differ_in_the_start_up_only() -> None:
    times = [0.9, 0.7, 0.6, 0.52, 0.4]
    one, two = (ours(spec).module.coefficients for spec in ("vp/UniPC-3", "vp/UniPC-3-bh1"))
    assert one(0.52, 0.4, times[2::-1]) == pytest.approx(two(0.52, 0.4, times[2::-1]), rel=1e-12)
    assert one(0.7, 0.6, times[:1]) != pytest.approx(two(0.7, 0.6, times[:1]), rel=1e-3)
    case = runs(1.0, 2)[0]
    assert relative(their_end("UniPC-3-bh1", case), their_end("UniPC-3-bh2", case)) < 1e-12


# --- different, and who is right -------------------------------------------------------------------------------------


@pytest.mark.parametrize("misprint", [m for m in MISPRINTS if m.spec], ids=lambda m: m.peer)
def test_ours_has_the_order_and_the_peer_has_not(misprint: Misprint) -> None:
    assert slope(our_errors(misprint.spec, misprint.runs)) == pytest.approx(misprint.order, abs=SLOPE)
    assert slope(their_errors(misprint.peer, misprint.runs)) == pytest.approx(misprint.theirs, abs=SLOPE)
    assert derived(misprint.spec).stochastic or derived(misprint.spec).order == misprint.order


@pytest.mark.parametrize("misprint", [m for m in MISPRINTS if not m.spec], ids=lambda m: m.peer)
def test_first_principles_has_the_order_and_the_peer_has_not(misprint: Misprint) -> None:
    cases = misprint.runs
    right = [float((first_principles_end(misprint.peer, case) - case.end).abs().max()) for case in cases]
    assert slope(right) == pytest.approx(misprint.order, abs=SLOPE)
    assert slope(their_errors(misprint.peer, cases)) == pytest.approx(misprint.theirs, abs=SLOPE)


@pytest.mark.parametrize("misprint", MISPRINTS, ids=lambda m: m.peer)
def test_the_misprint_explains_the_peer_and_nothing_else_is_wrong(misprint: Misprint) -> None:
    case = misprint.runs[0]
    assert relative(their_end(misprint.peer, case), first_principles_end(misprint.printed, case)) < 1e-12
    assert relative(their_end(misprint.peer, case), first_principles_end(misprint.peer, case)) > 1e-5


def _from_noise(method: str | FirstPrinciples, seed: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    """A jittered grid, normal numbers, and the end of a first-principles method with its own start-up."""
    grid = jittered(FRAMES["vp"], 24)
    noise = torch.randn(24, 4, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    noisy = isinstance(method, str) and PEERS[method].noisy
    chosen = PRINTED[method] if isinstance(method, str) else method
    draws = noise.numpy() if noisy else None
    z = start_state().numpy()
    end = run_method(chosen, network_of_arrays, z, grid.tolist(), time=time_of_ratio, noise=draws)
    return grid, noise, torch.from_numpy(end)


@pytest.mark.parametrize("peer", PRINTED)
def test_the_misprint_explains_the_peer_from_its_own_start(peer: str) -> None:
    grid, noise, printed = _from_noise(peer)
    theirs = run_peer(peer, MIXTURE.eps, start_state(), grid, noise=noise if PEERS[peer].noisy else None)
    assert relative(theirs, printed) < TOLERANCE


@pytest.mark.parametrize(
    ("spec", "method"),
    [
        ("vp/conjugate(base=AB3, variable=log-SNR)", METHODS["DPM-Solver-3M(integral)"]),
        ("vp/DPM-Solver++3M", METHODS["DPM-Solver++3M(integral)"]),
        ("vp/DEIS-tAB1", Multistep("eps", 2, clock=clock_time(time_of_ratio))),
        ("vp/DEIS-tAB2", Multistep("eps", 3, clock=clock_time(time_of_ratio))),
        ("vp/DEIS-rhoAB2", Multistep("eps", 3, clock=clock_ratio)),
    ],
)
def test_ours_is_the_published_formula_integrated_by_quadrature(spec: str, method: FirstPrinciples) -> None:
    grid, _, end = _from_noise(method)
    assert relative(walk(spec, start_state(), grid), end) < TOLERANCE


@pytest.mark.parametrize(
    ("peer", "specs"), [("DEIS-2", ("vp/DEIS-tAB1", "vp/rhoAB1")), ("DEIS-3", ("vp/DEIS-tAB2", "vp/DEIS-rhoAB2"))]
)
def test_deis_of_the_peer_is_neither_t_ab_nor_rho_ab(peer: str, specs: tuple[str, ...]) -> None:
    assert min(difference(Pair(spec, peer))[0] for spec in specs) > 1e-3


def test_deis_has_full_order_all_the_same() -> None:
    assert slope(their_errors("DEIS-3", runs(1.0, 2))) == pytest.approx(3, abs=SLOPE)
    assert slope(our_errors("vp/DEIS-tAB2", runs(1.0, 2))) == pytest.approx(3, abs=SLOPE)


# --- three stages in three grid intervals ----------------------------------------------------------------------------


@pytest.mark.parametrize("peer", ["DPM-Solver-3S", "DPM-Solver-3S(integral)"])
def test_algorithm_2_is_neither_setting_of_the_singlestep_peer(peer: str) -> None:
    assert difference(Pair("vp/DPM-Solver-3", peer, 3))[0] > 1e-3
    algorithm = Singlestep("eps", ((0,), (0, 1), (0, 2)), ("integral",) * 3)
    case = runs(1.0, 0, (1 / 3, 2 / 3))[0]
    mine = drive(ours("vp/DPM-Solver-3"), FRAMES["vp"].network, case.states[0], VP.time(case.grid[::3]).tolist())
    assert relative(mine, first_principles_end(algorithm, case)) < TOLERANCE


@pytest.mark.parametrize("peer", ["DPM-Solver-3S", "DPM-Solver-3S(integral)", "DPM-Solver++3S"])
@pytest.mark.parametrize(("shares", "order"), [((1 / 3, 2 / 3), 3), ((1 / 3, 1 / 2), 2)])
def test_the_peer_has_third_order_where_grid_points_lie_at_the_nodes(
    peer: str, shares: tuple[float, ...], order: int
) -> None:
    steps = (20, 40, 80, 160)
    assert slope(their_errors(peer, runs(1.0, 0, shares, steps)), steps) == pytest.approx(order, abs=SLOPE)


def test_ours_has_third_order_whatever_the_grid_between() -> None:
    assert slope(our_errors("vp/DPM-Solver-3", runs(1.0, 0))) == pytest.approx(3, abs=SLOPE)


def test_the_order_of_other_nodes_is_derived() -> None:
    assert derived("vp/3S-middle-at-half").order == 2
    assert derived("vp/3S-middle").order == 3


def test_grids_whose_points_tend_to_the_nodes_keep_the_third_order() -> None:
    steps, errors = (20, 40, 80, 160), []
    end = runs(1.0, 0)[0].end
    for n in steps:
        grid = VP.ratio(torch.linspace(*SPAN, 3 * n + 1, dtype=torch.float64))
        errors.append(float((run_peer("DPM-Solver-3S", MIXTURE.eps, start_state(), grid) - end).abs().max()))
    assert slope(errors, steps) == pytest.approx(3, abs=SLOPE)


# --- the places ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", CITED)
def test_cited_lines_stand_where_they_are_said_to(place: str) -> None:
    if diffusers.__version__ != "0.42.1":
        pytest.skip("lines are cited of diffusers 0.42.1")
    name, _, number = place.partition(":")
    origin = importlib.util.find_spec("diffusers.schedulers." + name.removesuffix(".py"))
    assert origin is not None
    assert origin.origin is not None
    lines = Path(origin.origin).read_text(encoding="utf-8").splitlines()
    assert lines[int(number) - 1].strip() == CITED[place]


def _sde(scheduler: str, algorithm: str) -> Callable[[], Tensor]:
    multistep = PEERS["SDE-DPM++3M" if scheduler.startswith("DPM") else "EDM-SDE-DPM++2M"]
    config = {**multistep.config, "algorithm_type": algorithm, "solver_order": 3}
    peer = Peer(scheduler, multistep.place, config, multistep.coordinates, multistep.output, history=2, noisy=True)
    return lambda: run_peer(peer, MIXTURE.eps, start_state(), jittered(FRAMES["vp"], 6))


@pytest.mark.parametrize(
    ("scheduler", "algorithm"),
    [("DPMSolverMultistepScheduler", "sde-dpmsolver"), ("EDMDPMSolverMultistepScheduler", "sde-dpmsolver++")],
)
def test_two_third_order_settings_have_no_formula(scheduler: str, algorithm: str) -> None:
    with pytest.raises(UnboundLocalError):
        _sde(scheduler, algorithm)()


def test_the_document_names_every_pair_and_every_place() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert [str(pair) for pair in PAIRS if f"| {pair.peer} |" not in text or f"`{pair.spec}`" not in text] == []
    assert [place for place in CITED if place not in text] == []
