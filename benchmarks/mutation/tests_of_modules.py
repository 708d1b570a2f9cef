"""Which tests are about which of the modules that derive and analyse schemes, and about the verifier's own oracles.

Of each module the quick ones stand first: they end at the first failure. Doctests are not the first: pytest would load
their module a second time, under another name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

__all__ = ["TESTS"]

T, P = "tests/integrator_analysis/", "tests/properties/"
ACCURACY, EXPANSION, STABILITY = (f"{T}analysis/{room}/" for room in ("accuracy", "expansion", "stability"))
LOCAL, TERMS, TREES = (
    ACCURACY + f"test_{name}.py" for name in ("local_error", "leading_terms", "elementary_differentials")
)
MODIFIED, GAUSSIAN = ACCURACY + "test_modified.py", T + "analysis/test_gaussian_and_stability.py"
BAD, SPLITTING = T + "methods/test_bad_methods.py", T + "methods/splitting/test_splitting.py"
PROGRAM, CONJUGATION = T + "program/test_program.py", T + "methods/conjugation/test_conjugation.py"
AMPLIFICATION, LIMITS, GROWTH = (
    STABILITY + f"test_{name}.py" for name in ("amplification", "stability_limits", "growth_and_moments")
)
COMMITTED = T + "codegen/test_codegen.py::test_the_committed_folder_is_what_the_catalogue_derives"
CACHED = [
    f"{T}test_cache.py::{name}"
    for name in (
        "test_a_warm_start_says_what_the_cold_one_said",
        "test_an_error_is_evaluated_at_any_precision_after_a_warm_start",
    )
]
VERIFIED = [
    f"{T}verification/test_certificate.py::test_every_catalogue_entry_is_verified[{spec}]"
    for spec in ("vp/DDIM", "vp/Euler", "vp/DEIS-tAB2", "vp/anchored-AB2", "psld/anchored-DDIM", "psld/Euler")
]
TRIAL = "tests/torch_backend/export/test_export.py::test_the_answer_of_the_trial_is_that_of_the_kernels_drift"


def doctests_of(*modules: str) -> list[str]:
    return [f"integrator_analysis/{module}.py" for module in modules]


CONJUGATE = [LOCAL, BAD, CONJUGATION, TREES, P + "test_transformed_ode.py", COMMITTED]
WORDS = [
    SPLITTING,
    *doctests_of("methods/splitting/splitting", "methods/splitting/words"),
    T + "methods/splitting/test_harmonic_oscillator.py",
    TERMS,
    P + "test_words.py",
    COMMITTED,
]
ERRORS = [LOCAL, *doctests_of("analysis/accuracy/local_error"), TERMS, TREES, MODIFIED]
STEPS = [
    AMPLIFICATION,
    GAUSSIAN,
    LIMITS,
    GROWTH,
    *doctests_of("analysis/stability/one_step", "analysis/stability/along_grid", "analysis/stability/stability"),
]

TESTS: Mapping[str, Sequence[str]] = {
    "methods/base_methods.py": [
        BAD,
        *doctests_of("methods/base_methods"),
        T + "language/test_spec_base_methods.py",
        T + "methods/conjugation/test_exponential.py",
        COMMITTED,
    ],
    "methods/conjugate_splitting.py": [
        P + "test_conjugate_splitting.py",
        T + "derivation/test_derivation.py",
        COMMITTED,
    ],
    "methods/euler.py": [LOCAL, PROGRAM, GAUSSIAN, COMMITTED],
    **{
        f"methods/conjugation/{name}.py": CONJUGATE
        for name in ("ancestral", "b_matrix", "conjugate", "psi_weights", "transformed_ode")
    },
    "methods/conjugation/propagator.py": [
        *CONJUGATE[:2],
        *doctests_of("methods/conjugation/propagator"),
        *CONJUGATE[2:],
    ],
    "methods/conjugation/prose.py": [T + "derivation/test_derivation.py", *CONJUGATE],
    "methods/conjugation/stages.py": [*CONJUGATE[:2], *doctests_of("methods/conjugation/stages"), *CONJUGATE[2:]],
    "methods/splitting/prose.py": [T + "derivation/test_derivation.py", *WORDS],
    **{f"methods/splitting/{name}.py": WORDS for name in ("split_equation", "splitting", "sub_flows", "words")},
    "program/mending.py": [T + "verification/test_walk_error.py", T + "verification/test_rounding.py"],
    "program/given_table.py": ["tests/torch_backend/walk/test_table_of_b.py", CONJUGATION, COMMITTED],
    **{
        f"program/{name}.py": [PROGRAM, SPLITTING, P + "test_gaussian_map.py", COMMITTED]
        for name in ("network_program", "statements", "step_program")
    },
    "analysis/coefficients.py": [
        GAUSSIAN,
        BAD,
        T + "codegen/test_codegen.py::test_generated_table_equals_the_analysis_table",
        TREES,
        P + "test_gaussian_map.py",
    ],
    "analysis/gaussian.py": [
        GAUSSIAN,
        *doctests_of("analysis/gaussian"),
        P + "test_steps_by_hand.py::test_moments_after_many_steps_are_those_of_the_composed_maps",
        P + "test_steps_by_hand.py::test_a_full_covariance_is_treated_in_its_eigenbasis",
        P + "test_gaussian_map.py",
    ],
    "analysis/accuracy/cached_error.py": CACHED,
    "analysis/accuracy/cost.py": [ACCURACY + "test_cost.py"],
    "analysis/accuracy/differentials.py": ERRORS,
    "analysis/accuracy/global_error.py": [ACCURACY + "test_global_error.py"],
    "analysis/accuracy/local_error.py": ERRORS,
    "analysis/accuracy/modified.py": [MODIFIED, *doctests_of("analysis/accuracy/modified")],
    "analysis/accuracy/order_conditions.py": [
        ACCURACY + "test_order_conditions.py",
        *doctests_of("analysis/accuracy/order_conditions"),
        MODIFIED,
    ],
    "analysis/accuracy/point.py": ERRORS,
    "analysis/accuracy/problems.py": [ACCURACY + "test_law_nodes.py", LOCAL, ACCURACY + "test_global_error.py"],
    "analysis/accuracy/terms.py": ERRORS,
    "analysis/accuracy/walk_order.py": [
        *doctests_of("analysis/accuracy/walk_order"),
        ACCURACY + "test_walk_order.py",
    ],
    "analysis/accuracy/terms_to_print.py": [T + "derivation/test_derivation.py", LOCAL, COMMITTED],
    "analysis/expansion/calculus.py": [EXPANSION + "test_jets_and_series.py", LOCAL, TERMS, TREES, MODIFIED],
    "analysis/expansion/jets.py": [EXPANSION + "test_jets_and_series.py", LOCAL, TERMS, TREES, MODIFIED],
    "analysis/expansion/step.py": [LOCAL, TERMS, TREES, MODIFIED, *doctests_of("analysis/accuracy/local_error")],
    "analysis/expansion/trees.py": [EXPANSION + "test_trees.py", LOCAL, TERMS, TREES, MODIFIED],
    "analysis/expansion/two_times.py": [EXPANSION + "test_two_times.py", LOCAL, TERMS, TREES],
    "analysis/stability/along_grid.py": STEPS,
    "analysis/stability/frozen.py": [AMPLIFICATION, LIMITS, GROWTH, *doctests_of("analysis/stability/stability")],
    "analysis/stability/growth.py": [GROWTH, *doctests_of("analysis/stability/growth")],
    "analysis/stability/limits.py": [LIMITS, *doctests_of("analysis/stability/limits", "analysis/stability/plane")],
    "analysis/stability/one_step.py": STEPS,
    "analysis/stability/plane.py": [*STEPS, *doctests_of("analysis/stability/plane")],
    "analysis/stability/stability.py": STEPS,
    "verification/exact_problems.py": VERIFIED,
    "verification/rounding_bound.py": [T + "verification/test_rounding.py"],
    "verification/trial.py": [TRIAL],
}
