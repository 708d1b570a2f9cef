"""Certificates: each derived claim about a sampler beside its measurement on the generated torch source.

Measured is in float64, but for what rounding costs in lower precision.

Knows integrators, oracles (analysis.problems) and torch_backend.measurement; derives nothing and prints no source.
Tolerances are stated where they stand, with the accuracy that the measurement reaches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial
from itertools import pairwise
from types import ModuleType
from typing import Any, TypeVar

import numpy as np

from integrator_analysis.analysis.accuracy.problems import MixtureProblem, WaveObservable, normal_nodes
from integrator_analysis.analysis.gaussian import affine_step, gaussian_eps, marginal
from integrator_analysis.inputs import InputError
from integrator_analysis.parametrisation.prediction_conversion import network_from_eps
from integrator_analysis.program.statements import Combine
from integrator_analysis.properties import Properties
from integrator_analysis.verification.certificate import Claim, versions
from integrator_analysis.verification.checks.comparison import (
    CONSTANT_TOLERANCES,
    ORDER_TOLERANCE,
    SLOPE_TOLERANCE,
    farthest_entries,
    relative_unit,
)
from integrator_analysis.verification.checks.exactness import EXACT_TOLERANCE
from integrator_analysis.verification.checks.gaussian_map import MAP_TOLERANCE, SHORTEST
from integrator_analysis.verification.checks.rounding import ROUNDING_POINTS, ROUNDING_TIMES
from integrator_analysis.verification.checks.stated_facts import LOG_SNR_TIMES, LOG_SNR_TOLERANCE
from integrator_analysis.verification.checks.stiff_step import RADIUS_TOLERANCE, STIFF, spectral_radius
from integrator_analysis.verification.checks.strong_error import POINTS, STEP_SIZES
from integrator_analysis.verification.checks.tensor_layout import LAYOUT_TOLERANCE
from integrator_analysis.verification.checks.weak_error import (
    CUBATURE_POINTS,
    GLOBAL_STEPS,
    LAW_NODES,
    LAW_TOLERANCE,
    NOISE_NODES,
    WEAK_DIGITS,
    WEAK_NODES,
    WEAK_STEP_SIZES,
    WEAK_TOLERANCE,
)
from integrator_analysis.verification.exact_problems import ExactProblem, exact_problems
from integrator_analysis.verification.rounding_bound import NETWORK, ROUNDOFF, rounding_bound

__all__ = ["describe_device"]

T = TypeVar("T")

TIMES = (0.1, 0.4)
"""Fractions of t_max at which steps are measured. Later, near equilibrium, factors such as 1 + d_x s_x vanish and take
the leading constants of some schemes with them: there h**2 wins over h**3 only below rounding."""

WEAK_TIMES = (0.35, 0.7)
"""The same for weak errors, which are averages over the law of z_t: at 0.1 it takes more nodes."""

SEED = 20231011

GAUSSIAN = (0.3, 0.2)
"""Mean and variance of the data of the affine-map claim."""


def describe_device(device: str) -> str:
    """The device in words, once it is known to do what certificates need. Raises InputError where it does not."""
    import torch

    from torch_backend.measuring.device import check_device

    try:
        check_device(device)
    except ValueError as error:
        raise InputError(f"{error}; accepted: cpu, or a device that torch finds here and that has float64") from error
    return f"{device} ({torch.cuda.get_device_name(device)})" if device.startswith("cuda") else device


class Laboratory:
    """One source under test: its module, the network with the exact score, and the evidence gathered."""

    def __init__(self, integrator: Properties, source: str, device: str = "cpu") -> None:
        self.integrator, self.source, self.device = integrator, source, device
        self.program, self.process = integrator.program, integrator.process
        self.problem = MixtureProblem(self.process)
        self.t_max = self.process.t_max
        self.evidence: dict[str, Any] = {
            "source_hash": None,
            "terms_hash": self.program.lowered().terms_hash,
            "versions": versions(),
            "device": describe_device(device),
            "dtype": "float64",
            "seed": SEED,
            "problem": "exact score of 0.35 N(-0.9, 0.09) + 0.65 N(0.6, 0.25), one dimension per block",
            "reference": "scipy DOP853, rtol 2.3e-14" if not self.program.stochastic else "closed-form expectations",
            "times": [float(time) for time in self._starts(WEAK_TIMES if self.program.stochastic else TIMES)],
        }

    def claims(self) -> Iterator[Claim]:
        """Every claim with its measurement, in order of cost; what cannot be measured is a claim that fails."""
        from torch_backend.measuring.device import one_thread

        for measure in (
            self.stated,
            self.evaluations,
            self.noise_ratio,
            self.maps,
            self.stability,
            self.layout,
            self.rounding,
            self.exactness,
            self.local,
        ):
            try:
                with one_thread():
                    measured = measure()
            except Exception as error:  # whatever a source under test raises is a verdict on it
                reason = f"{type(error).__name__}: {error}"
                measured = [Claim(measure.__name__, "measurable", reason, np.inf, 0.0, "source")]
            yield from measured

    def _once(self, *key: Any, find: Callable[[], T]) -> T:
        """What ``find`` gives; found once for an integrator, whose reference solutions do not depend on the source."""
        known = self.integrator.references
        if key not in known:
            known[key] = find()
        return known[key]

    @cached_property
    def plain_module(self) -> ModuleType:
        from torch_backend.source import module_from_source

        return module_from_source(self.source, f"certified_{self.integrator.name}")

    @cached_property
    def module(self) -> ModuleType:
        """The module, its steps made on the device from tensors on the CPU."""
        from torch_backend.measuring.device import module_stepping_on

        return self.plain_module if self.device == "cpu" else module_stepping_on(self.device, self.plain_module)

    @cached_property
    def kernel(self) -> ModuleType:
        from integrator_analysis.codegen import kernel_source
        from torch_backend.source import module_from_source

        return module_from_source(kernel_source(self.process), f"certified_kernel_{self.process.name}")

    @cached_property
    def network(self) -> Callable:
        import torch

        from torch_backend.scores.mixture import MixtureScore

        means, variances, weights = (
            torch.tensor(values, dtype=torch.float64)
            for values in (self.problem.means, self.problem.variances, self.problem.weights)
        )
        return self._converted(MixtureScore(self.kernel, means[:, None], variances, weights))

    def _converted(self, eps: Callable) -> Callable:
        """A network that returns what networks of this process return, made from an exact eps."""
        import torch

        if self.process.network == "eps":
            return eps
        convert = network_from_eps(self.process)

        def network(z: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            skip, scale = (torch.from_numpy(m) for m in convert(float(t[0])))
            return z @ skip.T + eps(z, t) @ scale.T

        return network

    # -- what the module says of itself ------------------------------------------------------------------------
    def stated(self) -> list[Claim]:
        """The facts that the module states and a sampler relies on: order, cost, interval, prior, blocks."""
        from torch_backend.source import body_hash

        self.evidence["source_hash"] = f"sha256:{body_hash(self.source)}"
        process = self.process
        prior = np.array(process.prior_covariance.subs(dict(process.parameters))).astype(float)
        derived = {
            "SPEC": self.integrator.spec,
            "PROCESS": process.name,
            "BLOCKS": process.blocks,
            "ORDER": self.integrator.order,
            "STOCHASTIC": self.program.stochastic,
            "NFE_PER_STEP": self.program.nfe_per_step,
            "HISTORY": self.program.history,
            **({"PRIMED": True} if self.program.primed else {}),
            "NOISES": len(self.program.noises),
            "T_MAX": process.t_max,
            "T_MIN": process.t_min,
            "PRIOR_STD": tuple(np.sqrt(np.diag(prior)).tolist()),
            "COEFFICIENTS": tuple(self.program.lowered().coefficients),
        }
        wrong = {name: value for name, value in derived.items() if getattr(self.module, name, None) != value}
        said = {name: getattr(self.module, name, None) for name in wrong}
        shown = (str(wrong), str(said)) if wrong else (f"{len(derived)} facts", f"{len(derived)} facts")
        return [Claim("stated_facts", *shown, float(len(wrong)), 0.0, "constants of the module")]

    # -- order and leading constant ----------------------------------------------------------------------------
    def local(self) -> list[Claim]:
        return self._weak() if self.program.stochastic else self._strong()

    def _strong(self) -> list[Claim]:
        """Per block: the slope of the one-step error, and its limit error / h**exponent at several points."""
        from torch_backend.measuring.errors import local_errors

        error = self.integrator.local_error
        h = np.array(STEP_SIZES) * 2.0 ** (error.order - 1) * self._unit
        errors, derived = [], []
        for n, start in enumerate(self._starts()):
            z = self.problem.sample(POINTS, start, SEED + n)
            ends = list(start - h)
            exact, pasts = self._once("solutions", start, find=partial(self._solutions, z, start, h))
            mending = self._mending() if self.program.cycle else None
            errors.append(local_errors(self.module, self.network, z, start, ends, exact, pasts, mending))
            derived.append(self._once("constants", start, find=partial(self._constants, z, start)))
        all_errors, constants = np.concatenate(errors, axis=1), np.concatenate(derived)
        claims = []
        for i, block in enumerate(self.program.blocks):
            claims += self._compare(
                block, h, all_errors[..., i], constants[:, i], error.exponents[block], "mixture, one step"
            )
        return claims

    def _solutions(self, z: np.ndarray, start: float, h: np.ndarray) -> tuple[np.ndarray, list[Any]]:
        """The exact states after each step, and the exact past before it."""
        exact = self.problem.solve(z, start, list(start - h)[::-1])[::-1]  # the solver walks away from the start
        return exact, [self._past(z, start, step) for step in h]

    def _constants(self, z: np.ndarray, start: float) -> list[list[float]]:
        error, field_ = self.integrator.local_error, self.problem.field(self.program.unknown)
        return [[error.evaluate(p, start, field_)[b] for b in self.program.blocks] for p in z]

    def _past(self, z: np.ndarray, start: float, h: float) -> Any:
        """The exact states at start + h, start + 2 h, ..., as many as the scheme reads; None for a one-step scheme."""
        import torch

        from torch_backend.measuring.one_step import Past

        if not self.program.history:
            return None
        times = [start + (j + 1) * h for j in range(self.program.history)]
        states = self.problem.solve(z, start, times)
        return Past(times, [torch.from_numpy(state) for state in states])

    def _mending(self) -> tuple[list[bool], list[float]]:
        """Per coefficient: whether it belongs to the mending of the last step, and its value in a step that rests."""
        lowered = self.program.lowered()
        combines = [st for st in lowered.statements if isinstance(st, Combine)]
        *_, mend, step = [
            {str(term.coefficient): term.operand for _, terms in st.updates for term in terms} for st in combines
        ]
        rest = {name: float(name.startswith("decay")) for name in step}
        names = list(lowered.coefficients)
        return [name in mend for name in names], [rest.get(name, np.nan) for name in names]

    def _weak(self) -> list[Claim]:
        """Per observable, averaged over the law of z_t: the same, by cubature, without sampling error."""
        from torch_backend.measuring.errors import weak_errors

        error, h = self.integrator.local_error, np.array(WEAK_STEP_SIZES) * self._unit
        k = len(self.program.blocks)
        wide = self._size  # waves as long as states are wide, or their means vanish
        observables = [
            WaveObservable(tuple(w / wide for w in wave[:k]), phase)
            for wave, phase in (((0.9, 0.6), 0.4), ((-0.5, 1.1), 0.1))
        ]
        errors, derived = [], []
        for start in self._starts(WEAK_TIMES):
            law, noises = self.problem.nodes(start, LAW_NODES, LAW_TOLERANCE), len(self.program.noises) * error.steps
            exact = np.array([[self.problem.expectation(f, start - error.steps * x) for f in observables] for x in h])
            errors.append(
                weak_errors(
                    self.module,
                    self.network,
                    law,
                    normal_nodes(noises, min(NOISE_NODES, int((CUBATURE_POINTS / len(law[1])) ** (1 / noises)))),
                    start,
                    list(start - h),
                    [f.numpy for f in observables],
                    exact,
                )
            )
            derived += self._once("weak constants", start, find=partial(self._weak_constants, start, observables))
        exponent = error.exponents["f"]
        after = self._after_startup() if error.startup else []
        return after + self._compare(
            "f",
            h,
            np.concatenate(errors, axis=1),
            np.array(derived),
            exponent,
            "mixture, E cos(a.z + b) after one step",
        )

    def _weak_constants(self, start: float, observables: Sequence[WaveObservable]) -> list[float]:
        error, field_ = self.integrator.local_error, self.problem.field(self.program.unknown)
        nodes, weights = self.problem.nodes(start, WEAK_NODES, WEAK_TOLERANCE)
        return [
            float(weights @ np.array([error.evaluate(z, start, field_, f, WEAK_DIGITS)["f"] for z in nodes]))
            for f in observables
        ]

    def _after_startup(self) -> list[Claim]:
        """The slope of the global error in the covariance of Gaussian data, by the measured maps of all steps."""
        import torch

        from torch_backend.measuring.convergence import observed_order
        from torch_backend.measuring.maps import affine_map
        from torch_backend.scores.gaussian import GaussianScore

        mean, variance = GAUSSIAN
        data = torch.tensor([[mean], [variance]], dtype=torch.float64)
        network = self._converted(GaussianScore(self.kernel, data[0], data[1]))
        k, kept = len(self.program.blocks), self.program.history * len(self.program.blocks)
        errors = []
        for steps in GLOBAL_STEPS:
            times = np.linspace(0.6 * self.t_max, 0.1 * self.t_max, steps + 1)
            covariance = np.pad(marginal(self.process, times[0], mean, variance)[1], (0, kept))
            for i, (start, end) in enumerate(pairwise(times)):
                matrix, _, noise = affine_map(self.module, network, start, end, list(times[:i][::-1]))
                covariance = matrix @ covariance @ matrix.T + noise @ noise.T
            exact = marginal(self.process, times[-1], mean, variance)[1]
            errors.append(float(np.abs(covariance[:k, :k] - exact).max()))
        found = observed_order(1 / np.array(GLOBAL_STEPS), errors, tolerance=SLOPE_TOLERANCE)
        derived = self.integrator.order
        return [
            Claim(
                "order_after_startup",
                derived,
                round(found.order, 4),
                abs(found.order - derived),
                ORDER_TOLERANCE,
                f"N({mean}, {variance}), covariance after {', '.join(map(str, GLOBAL_STEPS))} steps",
            )
        ]

    def _compare(
        self, name: str, h: np.ndarray, errors: np.ndarray, constants: np.ndarray, exponent: int, problem: str
    ) -> list[Claim]:
        from torch_backend.measuring.convergence import consecutive_slopes, leading_constant, observed_order

        floor, largest_error = 1e-14 * self._size, np.abs(errors).max(axis=1)
        slope = observed_order(h, largest_error, tolerance=SLOPE_TOLERANCE, floor=floor)
        measured = leading_constant(h, errors, exponent, rounding=2.0**-52 * self._size)
        scale = np.abs(constants).max()
        distance = float(np.abs(measured.value - constants).max() / scale)
        self.evidence[f"errors[{name}]"] = {
            "h": h.tolist(),
            "largest_error": largest_error.tolist(),
            "rounding_floor": floor,
            "constants_derived": constants.tolist(),
            "constants_measured": measured.value.tolist(),
            "constants_uncertainty": measured.uncertainty.tolist(),
            "slopes": consecutive_slopes(h, largest_error),
            "window": list(slope.window),
            "slope_interval": [slope.low, slope.high],
        }
        largest = int(np.argmax(np.abs(constants)))
        return [
            Claim(
                f"order[{name}]",
                exponent - 1,
                round(slope.order - 1, 4),
                abs(slope.order - exponent),
                ORDER_TOLERANCE,
                problem,
            ),
            Claim(
                f"constant[{name}]",
                float(constants[largest]),
                float(measured.value[largest]),
                distance,
                CONSTANT_TOLERANCES[min(exponent - 2, 3)],
                f"{problem}, largest of {len(constants)} points",
            ),
        ]

    # -- evaluations and maps ----------------------------------------------------------------------------------
    def evaluations(self) -> list[Claim]:
        from torch_backend.measuring.maps import count_evaluations

        start = self._starts()[0]
        measured = count_evaluations(self.module, start, start * 0.9)
        derived = self.program.nfe_per_step
        return [
            Claim("nfe_per_step", derived, measured, float(abs(derived - measured)), 0.0, "calls counted in one step")
        ]

    def maps(self) -> list[Claim]:
        """The affine map of one step on Gaussian data: matrix, offset and noise covariance, at short and long steps."""
        import torch

        from torch_backend.measuring.maps import affine_map
        from torch_backend.scores.gaussian import GaussianScore

        mean, variance = GAUSSIAN
        data = torch.tensor([[mean], [variance]], dtype=torch.float64)
        network = self._converted(GaussianScore(self.kernel, data[0], data[1]))
        eps = gaussian_eps(self.process, mean, variance)

        def cases() -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
            for start, end, past in self._steps_with_pasts():
                derive = partial(affine_step, self.program, self.integrator.table, start, end, eps, past)
                derived = self._once("map", start, end, *past, find=derive)
                sizes = self._once("sizes", start, end, *past, find=partial(derive, sizes=True))
                matrix, offset, noise = affine_map(self.module, network, start, end, past)
                unit = np.max([sizes.matrix.max(axis=1), sizes.offset, np.ones(len(offset))], axis=0)
                yield derived.matrix, matrix, unit[:, None]
                yield derived.offset, offset, unit
                spread = sizes.noise @ sizes.noise.T
                yield derived.noise @ derived.noise.T, noise @ noise.T, np.maximum(1.0, spread)

        worst, shown = farthest_entries(cases())
        pasts = ", with every length of past" if self.program.history else ""
        problem = f"N({mean}, {variance}), {len(self._steps())} steps{pasts}, worst entry"
        return [Claim("gaussian_map", *shown, worst, MAP_TOLERANCE, problem), *self._fewer_read()]

    def _fewer_read(self) -> list[Claim]:
        """Of a predictor-corrector: the row of a step that reads fewer earlier steps than its mending does."""
        if not self.program.cycle:
            return []
        mends, _ = self._mending()

        def cases() -> Iterator[tuple[np.ndarray, np.ndarray, float]]:
            for start, end, past in self._steps_with_pasts():
                for read in range(len(past)):
                    whole, fewer = (np.array(self.integrator.table(start, end, p), float) for p in (past, past[:read]))
                    derived = np.where(mends, whole, fewer)
                    yield derived, np.array(self.module.coefficients(start, end, past, read)), relative_unit(derived)

        worst, shown = farthest_entries(cases())
        return [
            Claim("lower_order_row", *shown, worst, MAP_TOLERANCE, "steps that read fewer steps, worst coefficient")
        ]

    def noise_ratio(self) -> list[Claim]:
        """The log-SNR on which time grids are measured: half the log of Psi_1^T Sigma^{-1} Psi_1."""

        def cases() -> Iterator[tuple[np.ndarray, np.ndarray, float]]:
            for time in (self.process.t_min, *(f * self.t_max for f in LOG_SNR_TIMES)):
                psi, sigma = self.process.mean(time)[:, 0], self.process.covariance(time)
                derived = np.log(psi @ np.linalg.solve(sigma, psi)) / 2
                yield np.array([derived]), np.array([float(self.module.log_snr(time))]), 1.0

        worst, shown = farthest_entries(cases())
        return [Claim("log_snr", *shown, worst, LOG_SNR_TOLERANCE, f"{1 + len(LOG_SNR_TIMES)} times, the worst")]

    def stability(self) -> list[Claim]:
        """The spectral radius of one step for a stiff linear score, by repeated squaring of the measured map."""
        import torch

        from torch_backend.measuring.maps import affine_map

        stability, (at, by, eigenvalue) = self.integrator.stability, STIFF
        start, h = at * self.t_max, by * self.t_max
        past = [start + (j + 1) * h for j in range(self.program.history)]

        def network(z: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            return z @ torch.from_numpy(stability.score_jacobian(eigenvalue, float(t[0]))).T

        matrix, _, _ = affine_map(self.module, network, start, start - h, past)
        derived = self._once("radius", find=lambda: stability.radius(h, eigenvalue, start))
        measured = spectral_radius(matrix)
        problem = f"score of slope {eigenvalue:g}, from t = {start:g} to {start - h:g}"
        distance = abs(measured - derived) / max(1.0, derived)
        return [Claim("spectral_radius", derived, measured, distance, RADIUS_TOLERANCE, problem)]

    def exactness(self) -> list[Claim]:
        """Problems on which the derived step is exact, whatever its size: the source's steps there, from an exact past.

        Tried are constant eps, and the Gaussian data of the anchor's variance; where the derived step is not exact, no
        claim is made.
        """
        import torch

        from torch_backend.measuring.one_step import Past, take_step

        claims = []
        for problem in self._once("exact problems", find=lambda: exact_problems(self.program, self.integrator.table)):

            def network(z: torch.Tensor, t: torch.Tensor, problem: ExactProblem = problem) -> torch.Tensor:
                matrix, offset = map(torch.from_numpy, problem.eps(float(t[0])))
                return z @ matrix.T + offset

            cases = []
            for z, start, end, times in problem.steps(self.program.history):
                states, exact = self._once(
                    *("exact", problem.name, start),
                    find=partial(problem.solution, z, start, end, times),
                )
                past = Past(times, [torch.from_numpy(state) for state in states]) if times else None
                found = take_step(self.module, network, torch.from_numpy(z), start, end, past=past).numpy()
                cases.append((exact, found, relative_unit(exact)))
            worst, _ = farthest_entries(cases)
            text = f"{len(cases)} long steps, against scipy DOP853"
            claims.append(Claim(f"exact[{problem.name}]", 0.0, worst, worst, EXACT_TOLERANCE, text))
        return claims

    def rounding(self) -> list[Claim]:
        """What a walk loses in lower precision, as a share of what its operations can lose at most; the largest."""
        import torch

        from torch_backend.measuring.walks import end_of_walk

        scale, shift = NETWORK
        times = self._starts(ROUNDING_TIMES)
        steps, generator = len(times) - 1, torch.Generator().manual_seed(SEED)
        drawn = torch.randn(ROUNDING_POINTS, len(self.program.blocks), generator=generator, dtype=torch.float64)
        draws = torch.randn(steps, len(self.program.noises), ROUNDING_POINTS, generator=generator, dtype=torch.float64)
        claims = []
        for name in ROUNDOFF:
            dtype = getattr(torch, name)
            z, noise = (self._size * drawn).to(dtype), draws.to(dtype)
            exact, bound = rounding_bound(
                self.integrator.table, z.double().numpy(), times, noise.double().numpy(), name
            )
            found = end_of_walk(self.plain_module, lambda y, t: scale * y + shift, z.to(self.device), times, noise)
            lost = np.abs(found - exact)
            share = lost / bound
            at = np.unravel_index(np.argmax(share), share.shape)
            text = (
                f"network {scale:g} z + {shift:g}, {steps} steps from {times[0]:g} to {times[-1]:g}, in units of bound"
            )
            worst = np.inf if np.isnan(share).any() else float(share[at])
            claims.append(Claim(f"rounding[{name}]", float(bound[at]), float(lost[at]), worst, 1.0, text))
        return claims

    def layout(self) -> list[Claim]:
        """A step on images of two channels is the step on each of their entries: blocks lie on dimension 1."""
        from torch_backend.measuring.maps import layout_error

        start = self._starts()[0]
        error = layout_error(self.module, self.network, start, 0.8 * start, SEED)
        return [
            Claim("tensor_layout", 0.0, error, error, LAYOUT_TOLERANCE, "images (2, blocks * 2, 2, 3), entry by entry")
        ]

    @cached_property
    def _size(self) -> float:
        """The size of states, for rounding: one, or the prior's standard deviation where that is larger."""
        covariance = np.array(self.process.prior_covariance.subs(dict(self.process.parameters))).astype(float)
        return max(1.0, float(np.sqrt(covariance.max())))

    @cached_property
    def _unit(self) -> float:
        """The unit of step sizes: t_max, or so much less that steps stay within one segment of a table of betas."""
        return 3.0 if self.process.tables else self.t_max

    def _starts(self, fractions: Sequence[float] = TIMES) -> list[float]:
        times = [fraction * self.t_max for fraction in fractions]
        return [np.floor(time) + 0.5 for time in times] if self.process.tables else times

    def _steps(self) -> Sequence[tuple[float, float]]:
        low, high, whole = self.process.t_min, 0.97 * self.t_max, self.t_max
        short = [(high, 0.9 * high), (0.5 * whole, 0.499 * whole), (0.1 * whole, low)]
        return [
            *short,
            (0.35 * whole, 0.1 * whole),
            (0.04 * whole, 0.03 * whole),
            (0.3 * whole, 0.3 * whole * (1 - SHORTEST)),
            (0.98 * whole, low),  # phi functions of large arguments
        ]

    def _steps_with_pasts(self) -> Iterator[tuple[float, float, list[float]]]:
        """Steps with every length of past, close by and far away: none at the start of a walk, then one more a step."""
        history = self.program.history
        for start, end in self._steps():
            for gap in (min(0.005 * self.t_max, start - end), (self.t_max - start) / (history + 1)):
                for known in range(history + 1):
                    yield start, end, [start + gap * (j + 1) for j in range(known)]
                if not history:
                    break
