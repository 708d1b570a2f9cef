"""Every parametrisation recovers the exact score of mixture data from the posterior mean that it stands for.

The oracle is Tweedie's formula on a mixture of Gaussians: the score, E[x_0 | z] and E[noise | z] in closed form, with
alpha, sigma and the matrices of phase space typed in here. s = C_skip z + C_out n must give the score back when n is
the posterior mean of what the network of that parametrisation is trained to return. In 40 digits, to 1e-20.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache

import mpmath
import pytest

import integrator_analysis as ia
from integrator_analysis.algebra.numeric import function
from integrator_analysis.algebra.symbols import t
from integrator_analysis.analysis.coefficients import CoefficientTable
from integrator_analysis.inputs import InputError
from integrator_analysis.methods.base_methods import Interpolatory
from integrator_analysis.methods.conjugation.conjugate import Conjugate
from integrator_analysis.parametrisation.parametrisation import Parametrisation
from integrator_analysis.parametrisation.prediction_conversion import conversion
from integrator_analysis.parametrisation.registry import PARAMETRISATIONS, parametrisation
from integrator_analysis.program.network_program import in_network_outputs

Number, Matrix = mpmath.mpf, mpmath.matrix
DIGITS, TOLERANCE = 40, mpmath.mpf(10) ** -20
SHARES, MEANS, VARIANCES = ("0.5", "0.3", "0.2"), ("-1.2", "0.4", "2"), ("0.09", "0.5", "0.01")
"""The data: three Gaussians on one direction."""


# processes on paper
def vp_clock(time: Number) -> Number:
    return mpmath.mpf("0.1") * time + mpmath.mpf("19.9") * time**2 / 2


def cosine(time: Number) -> Number:
    shift = mpmath.mpf("0.008")
    return mpmath.cos((time + shift) / (1 + shift) * mpmath.pi / 2) / mpmath.cos(shift / (1 + shift) * mpmath.pi / 2)


def ddpm_signal(time: Number) -> Number:
    """The square root of alphas_cumprod, whose logarithm is linear between integers."""
    first, last = mpmath.mpf("0.0001"), mpmath.mpf("0.02")
    kept, whole = mpmath.mpf(1), int(mpmath.floor(time))
    for k in range(whole + 1):
        kept *= (1 - first - (last - first) * k / 999) ** (1 if k < whole else time - whole)
    return mpmath.sqrt(kept)


def spread(alpha: Callable[[Number], Number]) -> Callable[[Number], Number]:
    """sigma of a variance-preserving process."""
    return lambda time: mpmath.sqrt(1 - alpha(time) ** 2)


LINES: dict[str, tuple[Callable[[Number], Number], Callable[[Number], Number]]] = {
    "vp": (lambda u: mpmath.exp(-vp_clock(u) / 2), lambda u: mpmath.sqrt(1 - mpmath.exp(-vp_clock(u)))),
    "subvp": (lambda u: mpmath.exp(-vp_clock(u) / 2), lambda u: 1 - mpmath.exp(-vp_clock(u))),
    "vp_cosine": (cosine, spread(cosine)),
    "ddpm": (ddpm_signal, spread(ddpm_signal)),
    "ve": (lambda _: mpmath.mpf(1), lambda u: 5000**u / 100),
    "edm": (lambda _: mpmath.mpf(1), lambda u: u),
    "flow": (lambda u: 1 - u, lambda u: u),
}
"""alpha and sigma: z = alpha x_0 + sigma noise."""


@dataclass(frozen=True)
class Posterior:
    """The score at z, E[x_0 | z] and the noise's mean K^{-1} (z - Psi E[x_0 | z]), for a time and a state."""

    psi: Matrix
    factor: Matrix
    z: Matrix

    def mixture(self) -> tuple[list[Number], list[Matrix], list[Number], list[Number]]:
        """Responsibilities, covariances of z, and the means and variances of the components."""
        means, variances = ([mpmath.mpf(x) for x in row] for row in (MEANS, VARIANCES))
        covariances = [v * self.psi * self.psi.T + self.factor * self.factor.T for v in variances]
        densities = []
        for share, m, s in zip(SHARES, means, covariances, strict=True):
            d = self.z - self.psi * m
            densities.append(mpmath.mpf(share) * mpmath.exp(-(d.T * s**-1 * d)[0] / 2) / mpmath.sqrt(mpmath.det(s)))
        return [d / sum(densities) for d in densities], covariances, means, variances

    @property
    def score(self) -> Matrix:
        shares, covariances, means, _ = self.mixture()
        parts = zip(shares, covariances, means, strict=True)
        return sum((p * s**-1 * (self.psi * m - self.z) for p, s, m in parts), 0 * self.z)

    @property
    def data(self) -> Number:
        out = mpmath.mpf(0)
        for p, s, m, v in zip(*self.mixture(), strict=True):
            out += p * (m + v * (self.psi.T * s**-1 * (self.z - self.psi * m))[0])
        return out

    @property
    def noise(self) -> Matrix:
        return self.factor**-1 * (self.z - self.psi * self.data)


def on_a_line(name: str, time: Number, z: str) -> Posterior:
    alpha, sigma = LINES[name]
    return Posterior(*(mpmath.matrix([[value]]) for value in (alpha(time), sigma(time), mpmath.mpf(z))))


def target(name: str, prediction: str, time: Number, z: str) -> Number:
    """The posterior mean of what a network of this prediction is trained to return."""
    posterior = on_a_line(name, time, z)
    (alpha, sigma), x0, noise = (f(time) for f in LINES[name]), posterior.data, posterior.noise[0]
    state = mpmath.mpf(z)
    match prediction:
        case "score":
            return posterior.score[0]
        case "residual":  # less the score of the stationary distribution, which is standard normal where there is one
            return posterior.score[0] + state
        case "eps" | "eps-rotated":
            return noise
        case "x0":
            return x0
        case "v":  # arXiv 2202.00512, appendix D; alpha and sigma scaled to the unit circle off VP
            return (alpha * noise - sigma * x0) / mpmath.sqrt(alpha**2 + sigma**2)
        case "velocity":  # of the path alpha x_0 + sigma noise: arXiv 2210.02747
            slopes = [mpmath.diff(f, time, h=mpmath.mpf(10) ** -13) for f in LINES[name]]
            return slopes[0] * x0 + slopes[1] * noise
        case "edm":  # arXiv 2206.00364, table 1: D(x; s) = c_skip x + c_out F at x = z / alpha, s = sigma / alpha
            s, width = sigma / alpha, mpmath.mpf("0.5")
            c_skip, c_out = width**2 / (s**2 + width**2), s * width / mpmath.sqrt(s**2 + width**2)
            return (x0 - c_skip * state / alpha) / c_out
        case "mixed":  # arXiv 2106.05931: the noise beyond what it would be for standard normal data
            return noise - sigma * state / (alpha**2 + sigma**2)
        case "anchor":  # the noise in units in which Gaussian data of variance 1/4 give n of variance one
            return mpmath.sqrt(alpha**2 / 4 + sigma**2) / sigma * noise
    raise KeyError(prediction)


# the package's side
@cache
def matrices(name: str, prediction: str, given: str = "") -> Callable[[Number], list[Matrix]]:
    """time -> C_skip, C_out, L, eta; with ``given`` (skip, scale) of the conversion from it."""
    process = ia.process(name)
    par = parametrisation(prediction, process)
    table, parameters = process.definitions.with_(par.definitions), {**process.parameters, **par.parameters}
    wanted = [par.c_skip, par.c_out, par.drift, par.eta]
    if given:
        other = parametrisation(given, process)
        wanted = list(conversion(par, other))
        table, parameters = table.with_(other.definitions), {**parameters, **other.parameters}
    k, values = len(process.blocks), function([e for m in wanted for e in m], (t,), table, parameters, "mpmath")

    def at(time: Number) -> list[Matrix]:
        entries = [mpmath.mpf(e) for e in values(time)]
        return [mpmath.matrix(k, k) + _square(entries[n : n + k * k], k) for n in range(0, len(entries), k * k)]

    return at


def _square(entries: Sequence[Number], k: int) -> Matrix:
    return mpmath.matrix([list(entries[i * k : (i + 1) * k]) for i in range(k)])


def close(found: Matrix, exact: Matrix) -> bool:
    return max(map(abs, found - exact)) <= TOLERANCE * (1 + max(map(abs, exact)))


def times(name: str) -> list[Number]:
    """Near t_min, inside, and near t_max; never an integer, where the betas of DDPM jump."""
    process = ia.process(name)
    low, high = mpmath.mpf(process.t_min), mpmath.mpf(process.t_max)
    return [low + (high - low) * mpmath.mpf(share) for share in ("0.0003", "0.0717", "0.4619", "0.9783")]


LINE_PREDICTIONS = [
    (name, prediction)
    for name in LINES
    for prediction in PARAMETRISATIONS
    if (name, prediction) != ("flow", "anchor")  # refused: a velocity network would see the centred state
    and (prediction != "residual" or name not in ("ve", "edm", "flow"))  # no stationary distribution
]


@pytest.mark.parametrize(("name", "prediction"), LINE_PREDICTIONS)
def test_the_posterior_mean_gives_the_score_back(name: str, prediction: str) -> None:
    with mpmath.workdps(DIGITS):
        for time in times(name):
            c_skip, c_out, *_ = matrices(name, prediction)(time)
            for z in ("-2.1", "0.35", "1.7"):
                posterior = on_a_line(name, time, z)
                found = c_skip * posterior.z + c_out * target(name, prediction, time, z)
                assert close(found, posterior.score), (time, z)


@pytest.mark.parametrize(("name", "prediction"), LINE_PREDICTIONS)
def test_the_ode_of_each_is_the_mean_velocity(name: str, prediction: str) -> None:
    """L z + eta n = E[d/dt (alpha x_0 + sigma noise) | z]: F and G G^T agree with alpha' and sigma'."""
    with mpmath.workdps(DIGITS):
        for time in times(name):
            *_, drift, eta = matrices(name, prediction)(time)
            for z in ("-2.1", "0.35"):
                found = drift[0] * mpmath.mpf(z) + eta[0] * target(name, prediction, time, z)
                exact = target(name, "velocity", time, z)
                assert abs(found - exact) <= TOLERANCE * (1 + abs(exact)), (time, z)


@pytest.mark.parametrize(
    ("name", "wanted", "given"),
    [
        (name, wanted, given)
        for name, wanted in [*(("vp", p) for p in PARAMETRISATIONS), ("subvp", "x0"), ("edm", "v")]
        for given in PARAMETRISATIONS
        if given != "eps-rotated" and (name, given) in LINE_PREDICTIONS
    ],
)
def test_one_target_converts_to_another(name: str, wanted: str, given: str) -> None:
    """Each stands for its own matrices, in one table of definitions too."""
    with mpmath.workdps(DIGITS):
        time, z = times(name)[1], "0.35"
        skip, scale = matrices(name, wanted, given)(time)
        found = skip[0] * mpmath.mpf(z) + scale[0] * target(name, given, time, z)
        assert abs(found - target(name, wanted, time, z)) <= TOLERANCE * (1 + abs(found))


def test_a_sampler_on_edms_output_takes_a_network_that_returns_v() -> None:
    """Both have a factor of a marginal covariance, for data of variance 1/4 and of variance 1."""
    process = replace(ia.process("vp"), network="v")
    table = CoefficientTable(in_network_outputs(Conjugate(parametrisation="edm").lower(process)), "mpmath")
    with mpmath.workdps(DIGITS):
        time = times("vp")[1]
        found = dict(zip(table.names, table(time, time / 2), strict=True))
        n = found["skip_xx_0"] * mpmath.mpf("0.35") + found["scale_xx_0"] * target("vp", "v", time, "0.35")
        assert abs(n - target("vp", "edm", time, "0.35")) <= TOLERANCE


def test_for_gaussian_data_of_variance_a_quarter() -> None:
    """The anchor's n has variance one; EDM's F, whose target's mean z does not determine, is zero."""
    with mpmath.workdps(DIGITS):
        time = times("vp")[1]
        alpha, sigma = (f(time) for f in LINES["vp"])
        total = alpha**2 / 4 + sigma**2  # of z, whose score is -z / total
        for prediction, variance in (("anchor", 1), ("edm", 0)):
            c_skip, c_out, *_ = matrices("vp", prediction)(time)
            slope = (-1 / total - c_skip[0]) / c_out[0]  # n = slope z
            assert abs(slope**2 * total - variance) < TOLERANCE


# phase space
@dataclass(frozen=True, eq=False)
class Phase:
    """F and G G^T, constant; Sigma from the momentum variance 0.04 M to diag(1, M)."""

    drift: Matrix
    diffusion: Matrix

    @cache  # noqa: B019 (two processes in all)
    def propagator(self, time: Number) -> Matrix:
        """exp(F t), which signal and covariance both need at every node of the angle's integral."""
        return mpmath.expm(self.drift * time)

    def signal(self, time: Number) -> Matrix:
        return self.propagator(time)[:, 0]

    def covariance(self, time: Number) -> Matrix:
        mass, e = mpmath.mpf("0.25"), self.propagator(time)
        limit = mpmath.diag([1, mass])
        return limit + e * (mpmath.diag([0, mpmath.mpf("0.04") * mass]) - limit) * e.T

    def marginal(self, time: Number, variance: str) -> Matrix:
        psi = self.signal(time)
        return self.covariance(time) + mpmath.mpf(variance) * psi * psi.T

    @cache  # noqa: B019 (two processes in all)
    def rotated(self, time: Number, variance: str) -> Matrix:
        """R, R R^T = S, R' = (F + G G^T S^{-1} / 2) R, lower triangular at time 1: S's factor times a rotation."""

        def turning(u: Number) -> Number:
            factor = mpmath.cholesky(self.marginal(u, variance))
            inverse = factor**-1
            return (inverse * self.drift * factor + inverse * self.diffusion * inverse.T / 2)[0, 1]

        angle = -mpmath.quad(lambda w: mpmath.exp(w) * turning(mpmath.exp(w)), mpmath.linspace(mpmath.log(time), 0, 4))
        cos, sin = mpmath.cos(angle), mpmath.sin(angle)
        return mpmath.cholesky(self.marginal(time, variance)) * mpmath.matrix([[cos, sin], [-sin, cos]])


@cache
def phase(name: str) -> Phase:
    with mpmath.workdps(DIGITS):
        if name == "psld":
            gamma, nu = mpmath.mpf("0.01"), mpmath.mpf("4.01")
            return Phase(4 * mpmath.matrix([[-gamma, 4], [-1, -nu]]), 8 * mpmath.diag([gamma, nu / 4]))
        return Phase(4 * mpmath.matrix([[0, 4], [-1, -4]]), 8 * mpmath.diag([0, 1]))


def phase_target(process: Phase, prediction: str, time: Number, posterior: Posterior) -> Matrix:
    """The posterior mean of what a network of this prediction is trained to return."""
    residual = posterior.factor * posterior.noise  # z - Psi E[x_0 | z]
    match prediction:
        case "eps":
            return posterior.noise
        case "score":
            return posterior.score
        case "residual":
            return posterior.score + mpmath.diag([1, 4]) * posterior.z
        case "x0":
            return mpmath.matrix([posterior.data, 0])
        case "mixed":
            return posterior.noise - posterior.factor.T * process.marginal(time, "1") ** -1 * posterior.z
        case "eps-rotated":
            return process.rotated(time, "0") ** -1 * residual
        case "anchor":
            return process.rotated(time, "0.25").T * process.covariance(time) ** -1 * residual
    raise KeyError(prediction)


STATES = (("0.3", "-0.4"), ("-1.1", "0.2"))
PHASE_TIMES = ("0.04", "0.62")
PHASE_PREDICTIONS = ("eps", "eps-rotated", "score", "x0", "mixed", "anchor", "residual")


@pytest.mark.parametrize("prediction", PHASE_PREDICTIONS)
@pytest.mark.parametrize("name", ["psld", "cld"])
def test_on_phase_space_the_posterior_mean_gives_the_score_back(name: str, prediction: str) -> None:
    """x_0 stands for the whole initial state, (x_0, 0) in the mean: P^{-1} Psi x_0, P = exp(F t)."""
    with mpmath.workdps(DIGITS):
        process = phase(name)
        for time in map(mpmath.mpf, PHASE_TIMES):
            c_skip, c_out, *_ = matrices(name, prediction)(time)
            psi, factor = process.signal(time), mpmath.cholesky(process.covariance(time))
            for state in STATES:
                posterior = Posterior(psi, factor, mpmath.matrix(list(state)))
                n = phase_target(process, prediction, time, posterior)
                assert close(c_skip * posterior.z + c_out * n, posterior.score), (time, state)


@pytest.mark.parametrize("prediction", PHASE_PREDICTIONS)
@pytest.mark.parametrize("name", ["psld", "cld"])
def test_on_phase_space_each_gives_the_probability_flow(name: str, prediction: str) -> None:
    """L z + eta n = F z - G G^T s / 2 for n = C_out^{-1} (s - C_skip z), and so does the conversion to the velocity."""
    with mpmath.workdps(DIGITS):
        process, z, score = phase(name), mpmath.matrix(["0.3", "-0.4"]), mpmath.matrix(["1.1", "-0.6"])
        for time in map(mpmath.mpf, PHASE_TIMES):
            c_skip, c_out, drift, eta = matrices(name, prediction)(time)
            n = c_out**-1 * (score - c_skip * z)
            exact = process.drift * z - process.diffusion * score / 2
            assert close(drift * z + eta * n, exact)
            skip, scale = matrices(name, "velocity", prediction)(time)
            assert close(skip * z + scale * n, exact)


@pytest.mark.parametrize("prediction", ["eps-rotated", "score", "x0", "mixed", "anchor"])
def test_on_phase_space_targets_convert_through_the_score(prediction: str) -> None:
    """n = C_out^{-1} (s - C_skip z) with s = -K^{-T} eps: the inverse that conversions state, against C_out itself."""
    with mpmath.workdps(DIGITS):
        time, z, eps = mpmath.mpf("0.37"), mpmath.matrix(["0.3", "-0.4"]), mpmath.matrix(["1.1", "-0.6"])
        c_skip, c_out, *_ = matrices("psld", prediction)(time)
        skip, scale = matrices("psld", prediction, "eps")(time)
        score = -(mpmath.cholesky(phase("psld").covariance(time)).T ** -1) * eps
        assert close(c_skip * z + c_out * (skip * z + scale * eps), score)


# what has no meaning
@pytest.mark.parametrize(
    ("name", "prediction", "message"),
    [
        ("vp", "x1", "unknown parametrisation 'x1'; did you mean x0"),
        ("vp", "noise", "known: anchor, edm, eps"),
        ("psld", "edm", "parametrisation edm is defined on one block; process psld has x, m; accepted there: eps,"),
        ("cld", "v", "parametrisation v is defined on one block; process cld has x, m; accepted there: eps,"),
        ("flow", "anchor", "process flow is not accepted, those with eps networks are"),
    ],
)
def test_a_parametrisation_without_meaning_is_refused(name: str, prediction: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parametrisation(prediction, ia.process(name))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_refusal_names_every_parametrisation_that_phase_space_has() -> None:
    """A list that a user is offered is complete, and nothing on it is refused."""
    with pytest.raises(InputError) as caught:
        parametrisation("edm", ia.process("psld"))
    offered = set(str(caught.value).split("accepted there: ")[1].split(", "))
    made = set()
    for name, build in PARAMETRISATIONS.items():
        try:
            assert isinstance(build(ia.process("psld")), Parametrisation)
        except InputError:
            continue
        made.add(name)
    assert offered == made


def test_a_velocity_gives_nothing_else_on_phase_space() -> None:
    process = ia.process("psld")
    with pytest.raises(InputError, match=r"a velocity does not give eps on process psld: G G\^T is singular"):
        conversion(parametrisation("eps", process), parametrisation("velocity", process))


@pytest.mark.parametrize(("name", "prediction"), [("vp", "eps"), ("psld", "x0"), ("vp", "anchor")])
def test_noise_is_for_x0_on_one_block(name: str, prediction: str) -> None:
    message = (
        f"parametrisation {prediction} on process {name}: the weights of the reverse SDE are derived for x0 on one"
    )
    with pytest.raises(InputError, match=message):
        Conjugate(base=Interpolatory(variable="log-SNR"), parametrisation=prediction, noise=0.25).lower(
            ia.process(name)
        )
