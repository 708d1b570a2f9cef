"""The coefficients of a walk, one row a step, computed once in float64 before the first step.

Knows a scheme's function ``coefficients`` and which past each step has; knows no formula. Exported files carry this
text.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from torch_backend.scheme import Scheme, facts_of
from torch_backend.walk.validation import check_times, without_zero


def tabulate(
    coefficients: Callable[..., Sequence[float]],
    times: Iterable[float],
    history: int = 0,
    mends: bool = False,
    lower_order_final: bool = False,
    to_zero: bool = False,
) -> Tensor:
    """The scheme's coefficients on a grid: a float64 CPU tensor of shape ``(n_steps, n_coefficients)``.

    ``coefficients(t, s)`` gives the numbers of the step from time t to s < t. A multistep scheme, with ``history``,
    also takes the start times of that many earlier steps, newest first. With ``lower_order_final`` a step reads at most
    as many of them as steps follow it; with ``to_zero``, or where the last time is 0, a step to no noise, which has
    order one and no row, follows the last. A predictor-corrector, which ``mends``, takes the number of steps that
    follow as an argument of its own: it first corrects the step before, and that one read more. Raises ValueError for
    times that ``check_times`` refuses, for a coefficient that is not finite or does not exist, and for
    ``lower_order_final`` without ``history``.
    """
    walk = check_times(times, to_zero=True)
    to_zero, walk = to_zero or walk[-1] == 0, without_zero(walk)
    if lower_order_final and not history:
        raise ValueError("this scheme reads no earlier steps, so that it has no lower_order_final; leave it out")
    rows = []
    # The past of step i: starts of at most ``history`` steps before it, newest first; ``left`` steps follow.
    for i, (t, s) in enumerate(pairwise(walk)):
        past, left = walk[max(0, i - history) : i][::-1], len(walk) - 2 - i + to_zero
        read: tuple[object, ...] = (past,) if history else ()
        if lower_order_final:
            read = (past[: left + 2], left) if mends else (past[:left],)
        try:
            rows.append(tuple(coefficients(t, s, *read)))
        except ArithmeticError as error:  # where a process ends, as rectified flow at 1, alpha may be 0
            raise ValueError(
                f"the coefficients of step {i}, from time {t!r} to {s!r}, do not exist ({error}); "
                "the scheme has no such step, take other times"
            ) from error
    for i, row in enumerate(rows):
        for j, value in enumerate(row):
            if not math.isfinite(value):
                raise ValueError(
                    f"coefficient {j} of step {i}, from time {walk[i]!r} to {walk[i + 1]!r}, is {value!r}; "
                    "the scheme has no such step, take other times"
                )
    return torch.tensor(rows, dtype=torch.float64).reshape(len(rows), len(rows[0]) if rows else 0)


def tabulate_scheme(
    scheme: Scheme,
    times: Iterable[float],
    lower_order_final: bool | None = None,
    B: object = None,
) -> Tensor:
    """The coefficients of a scheme on a grid, (n_steps, n_coefficients); ``B`` for one that takes it at every step.

    ``lower_order_final``: None for the default of ``lowers_final_order``. ``B``: numbers of shape ``(n_steps, k, k)``,
    k blocks. A last time of 0, the step to no noise, adds no row. Raises ValueError as ``tabulate`` does, and for a B
    that is missing, not taken, of another shape or not finite. ``lower_order_final`` is refused where every step needs
    a past.
    """
    facts = facts_of(scheme)
    walk, coefficients = check_times(times, facts.t_max, to_zero=True), facts.coefficients
    if facts.takes_B:
        shape = (len(without_zero(walk)) - 1, len(facts.blocks), len(facts.blocks))
        if B is None:
            raise ValueError(f"{facts.spec} takes a B for every step; pass B of shape {shape}")
        table = torch.as_tensor(B, dtype=torch.float64)
        if table.shape != shape or not table.isfinite().all():
            raise ValueError(f"B has shape {tuple(table.shape)}; finite numbers of shape {shape} are needed")
        of_step = dict(zip(walk, table.tolist(), strict=False))

        def coefficients(t: float, s: float) -> Sequence[float]:
            return facts.coefficients(t, s, B=of_step[t])
    elif B is not None:
        raise ValueError(f"{facts.spec} takes no B; leave it out")
    if lower_order_final and facts.primed:
        raise ValueError(f"{facts.spec} reads an earlier evaluation in every step; leave lower_order_final out")
    lowered = lowers_final_order(facts, len(walk) - 1, lower_order_final)
    return tabulate(coefficients, walk, facts.history, facts.mends, lowered)


FEW_STEPS = 15
"""Below this number of steps diffusers lowers the order of a multistep scheme's final steps by default."""


def lowers_final_order(scheme: Scheme, steps: int, wanted: bool | None = None) -> bool:
    """Whether a walk of so many ``steps``, a step to no noise included, ends with steps of lower order.

    ``wanted`` decides where it is not None. Otherwise the answer is the default of diffusers' schedulers: yes for a
    predictor-corrector (UniPCMultistepScheduler), for other multistep schemes below 15 steps
    (DPMSolverMultistepScheduler), and no for a scheme that reads no earlier steps or cannot do without them.
    """
    facts = facts_of(scheme)
    if wanted is not None:
        return wanted
    return bool(facts.history) and not facts.primed and (facts.mends or steps < FEW_STEPS)


def priming_row(scheme: Scheme, walk: Sequence[float]) -> Tensor | None:
    """The coefficients of a step of no length at the start of a walk; None for a scheme that needs no such step.

    A scheme whose first step needs a past takes that step first, for the evaluation that it keeps.
    """
    facts = facts_of(scheme)
    if not facts.primed:
        return None
    return torch.tensor(facts.coefficients(walk[0], walk[0]), dtype=torch.float64)
