"""What becomes of each setting in the config of another scheduler of diffusers, on a table of betas.

Knows the settings of diffusers' schedulers by name; knows no schedule. A setting that would change what the network or
the grid means is honoured or refused, none is dropped in silence. Exported schedulers carry this text.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Idle(NamedTuple):
    """A setting that changes nothing here, and why."""

    why: str


class Refused(NamedTuple):
    """A setting that is refused unless its value is among ``accepted`` or None."""

    accepted: tuple[object, ...]
    why: str


HONOURED = frozenset({
    "num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas", "prediction_type", "clip_sample",
    "clip_sample_range", "timestep_spacing", "steps_offset", "use_karras_sigmas", "use_exponential_sigmas",
    "use_lu_lambdas", "use_beta_sigmas", "sigma_min", "sigma_max", "lambda_min_clipped", "final_sigmas_type",
    "set_alpha_to_one", "lower_order_final", "euler_at_final",
})  # fmt: skip
"""Settings of the scheduler on a table of betas; its docstring says what each does."""

SCHEME, LEARNED = "the class fixes the scheme", "read where thresholding is set, which is refused"
FLOW_ONLY = "read where use_flow_sigmas is set, which is refused"

SETTINGS: Mapping[str, Idle | Refused] = {
    "algorithm_type": Idle(SCHEME),
    "corrector_order": Idle(SCHEME),
    "predict_x0": Idle(SCHEME),
    "predictor_order": Idle(SCHEME),
    "skip_prk_steps": Idle(SCHEME),
    "solver_order": Idle(SCHEME),
    "solver_type": Idle(SCHEME),
    "tau_func": Idle("how much noise a step adds is part of the scheme"),
    "dynamic_thresholding_ratio": Idle(LEARNED),
    "sample_max_value": Idle(LEARNED),
    "flow_shift": Idle(FLOW_ONLY),
    "time_shift_type": Idle("read where use_dynamic_shifting is set, which is refused"),
    "timestep_scaling": Idle("of consistency models, whose configs original_inference_steps refuses"),
    "disable_corrector": Refused(([],), "the certified scheme corrects every step"),
    "eta": Refused((0.0,), "how much noise a step adds is part of the scheme"),
    "interpolation_type": Refused(("linear",), "another grid"),
    "original_inference_steps": Refused((), "a consistency model, which no step of an equation samples from"),
    "rescale_betas_zero_snr": Refused((False,), "alpha would be 0 at the last entry of the table"),
    "shift_terminal": Refused((), "a grid for networks on straight paths; export a scheme of the process flow"),
    "snr_shift_scale": Refused((1.0,), "another table of betas; give it as trained_betas"),
    "solver_p": Refused((), "another scheduler's steps"),
    "thresholding": Refused((False,), "the predicted x_0 would be scaled"),
    "timestep_type": Refused(("discrete",), "a network that is told a function of sigma, not a time step"),
    "use_dynamic_shifting": Refused((False,), "for networks on straight paths; export a scheme of the process flow"),
    "use_flow_sigmas": Refused((False,), "for networks on straight paths; export a scheme of the process flow"),
    "variance_type": Refused(
        ("fixed_small", "fixed_small_log", "fixed_large", "fixed_large_log"),
        "the network returns a variance too; cut it off and pass variance_type=None",
    ),
}
"""Settings of other schedulers on a table of betas, in which the scheduler here has no part."""

FOREIGN = frozenset({
    "alpha_cum_end", "alpha_cum_start", "base_image_seq_len", "base_shift", "beta_max", "beta_min", "block_length",
    "clip_denoised", "correct_steps", "corrector_k", "corrector_selection", "corrector_selection_tau",
    "corrector_steps", "editing_threshold", "entropy_bound", "eps", "final_step_size_scale", "gamma", "gamma_cum_end",
    "gamma_cum_start", "invert_sigmas", "mask_token_id", "masking_schedule", "max_image_seq_len", "max_shift",
    "minimal_topk", "n_grid", "noise_mode", "num_inference_steps", "num_policy_substeps", "num_vec_classes", "rho",
    "s", "s_churn", "s_max", "s_min", "s_noise", "sampling_eps", "scale_factors", "scaler", "schedule_mode",
    "scheduler_type", "shift", "sigma_data", "sigma_schedule", "snr", "stage_range", "stages", "stochastic_sampling",
    "t_lim_ode", "t_lim_ode_below", "t_max", "t_min", "tail_step_multiplier", "tail_steps", "threshold", "tsr_k",
    "tsr_sigma", "upscale_mode",
})  # fmt: skip
"""Settings of schedulers without a table of betas. A config with one is of another kind of network and is refused."""


def check_config(config: Mapping[str, Any], name: str) -> None:
    """Raise ValueError, one sentence, unless ``config`` is of a network that the class ``name`` can sample from.

    Refused are configs that say nothing of the betas though they are of another scheduler, and settings that would be
    ignored though they change what the network or the grid means.
    """
    no_betas = config.get("beta_schedule") is None and config.get("trained_betas") is None
    others = sorted(set(config) - HONOURED)
    if no_betas and (others or {"beta_schedule", "trained_betas"} & set(config)):
        told = [*others, "beta_schedule = None"][0]
        raise ValueError(f"a config with {told} and no betas; {name} needs that of a table of betas")
    for key in others:
        if key in FOREIGN:
            raise ValueError(f"the config has {key}, a setting of schedulers without a table of betas; leave it out")
        rule, value = SETTINGS.get(key), config[key]
        if isinstance(rule, Refused) and value is not None and value not in rule.accepted:
            accepted = " or ".join(repr(one) for one in rule.accepted or (None,))
            raise ValueError(
                f"the config has {key} = {value!r}, which is not covered ({rule.why}); {accepted} would be"
            )
