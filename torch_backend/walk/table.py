"""The coefficients of a walk, one row a step, computed once in float64 before the first step.

Knows a scheme's function ``coefficients`` and which past each step has; knows no formula. Exported files carry this
text.
"""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from torch_backend.scheme import Scheme, facts_of
from torch_backend.walk.validation import check_times, without_zero


def tabulate(
    coefficients: Callable[..., Tensor],
    times: Iterable[float],
    history: int = 0,
    mends: bool = False,
    lower_order_final: bool = False,
    to_zero: bool = False,
) -> Tensor:
    """The scheme's coefficients on a grid: a float64 CPU tensor of shape ``(n_steps, n_coefficients)``.

    ``coefficients(t, s)`` takes float64 tensors of one shape, the times at which steps start and end, and gives their
    numbers along a last dimension. A multistep scheme, with ``history``, also takes the start times of that many
    earlier steps, newest first. With ``lower_order_final`` a step reads at most as many of them as steps follow it;
    with ``to_zero``, or where the last time is 0, a step to no noise, which has order one and no row, follows the last.
    A predictor-corrector, which ``mends``, takes the number of steps that follow as an argument of its own: it first
    corrects the step before, and that one read more. Raises ValueError for times that ``check_times`` refuses, for a
    coefficient that is not finite, and for ``lower_order_final`` without ``history``.
    """
    walk = check_times(times, to_zero=True)
    to_zero, walk = to_zero or walk[-1] == 0, without_zero(walk)
    if lower_order_final and not history:
        raise ValueError("this scheme reads no earlier steps, so that it has no lower_order_final; leave it out")
    count = len(walk) - 1
    # Steps that read equally many earlier ones are computed together; ``left`` steps follow a step.
    alike: dict[tuple[int, ...], list[int]] = {}
    for i in range(count):
        known, left = min(i, history), count - 1 - i + to_zero
        read: tuple[int, ...] = ()
        if lower_order_final:
            known, read = (min(known, left + 2), (min(left, history),)) if mends else (min(known, left), ())
        alike.setdefault((known, *read), []).append(i)
    grid, rows = torch.tensor(walk, dtype=torch.float64, device="cpu"), dict[int, Tensor]()
    for (known, *later), steps in alike.items():
        places = torch.tensor(steps)
        past = ([grid[places - 1 - j] for j in range(known)],) if history else ()
        found = coefficients(grid[places], grid[places + 1], *past, *later)
        rows.update(zip(steps, found, strict=True))
    table = torch.stack([rows[i] for i in range(count)]) if rows else torch.zeros(0, 0, dtype=torch.float64)
    for i, j in (~table.isfinite()).nonzero().tolist():
        raise ValueError(
            f"coefficient {j} of step {i}, from time {walk[i]!r} to {walk[i + 1]!r}, is {table[i, j].item()!r}; "
            "the scheme has no such step, take other times"
        )
    return table


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
        of_step = dict(zip(walk, table, strict=False))

        def coefficients(t: Tensor, s: Tensor) -> Tensor:
            return facts.coefficients(t, s, B=torch.stack([of_step[time] for time in t.tolist()]))
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
    start = torch.tensor(walk[0], dtype=torch.float64)
    return facts.coefficients(start, start)
