"""Mutants that are right nearly everywhere: a circumstance in which a source is wrong, and what is wrong then.

Knows the names in generated source; judges nothing. A mutant is a statement in front of the others of a function.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["CircumstanceMutant", "all_mutants", "change_source"]


class CircumstanceMutant(NamedTuple):
    """A change of one function of one scheme. ``narrow`` says what would find it, where a certificate need not."""

    spec: str
    function: str
    where: str
    what: str
    statement: str
    narrow: str = ""


IN_STEP = {
    "a batch of one": "z.shape[0] == 1",
    "a batch of two": "z.shape[0] == 2",
    "more than 64 samples": "z.shape[0] > 64",
    "more than 100 samples": "z.shape[0] > 100",
    "three channels a block": "z.shape[1] == 3 * len(BLOCKS)",
    "four channels a block": "z.shape[1] == 4 * len(BLOCKS)",
    "one channel of an image": "z.dim() > 2 and z.shape[1] == len(BLOCKS)",
    "sequences": "z.dim() == 3",
    "images": "z.dim() == 4",
    "videos": "z.dim() == 5",
    "a last dimension of two": "z.dim() > 2 and z.shape[-1] == 2",
    "channels last": "z.dim() == 4 and z.stride(1) == 1 and z.shape[1] > 1",
    "states that are not contiguous": "not z.is_contiguous()",
    "images in float32": "z.dtype == torch.float32 and z.dim() > 2",
    "states that need gradients": "z.requires_grad",
    "gradients switched on": "torch.is_grad_enabled() and z.requires_grad",
    "the first time": "t == T_MAX",
    "the last time": "s == T_MIN",
    "starts close to t_max": "t > 0.995 * T_MAX",
    "ends close to t_min": "s < 1.05 * T_MIN",
    "steps over most of the interval": "t - s > 0.8 * T_MAX",
    "steps of a millionth": "t - s < 1e-6 * t",
    "a tenth of the times": "(t > 0.3 * T_MAX) & (t < 0.4 * T_MAX)",
    "late times": "t < 0.05 * T_MAX",
    "large states": "z.abs().max() > 1e3",
    "small states": "z.abs().max() < 1e-3",
    "a state of zeros": "not z.any()",
    "equal samples": "len(z) > 1 and torch.equal(z[0], z[1])",
    "from the hundredth call on": "(globals().__setitem__('_n', globals().get('_n', 0) + 1), _n > 100)[1]",
    "from the 250th call on": "(globals().__setitem__('_n', globals().get('_n', 0) + 1), _n > 250)[1]",
    "every seventh call": "(globals().__setitem__('_n', globals().get('_n', 0) + 1), _n % 7 == 0)[1]",
    "the first call": "(globals().__setitem__('_n', globals().get('_n', 0) + 1), _n == 1)[1]",
    "the same time twice": "(globals().get('_t') == float(t), globals().__setitem__('_t', float(t)))[0]",
}
"""Where a step is wrong: an expression of its arguments."""

EFFECTS = {
    "the state": "z = z * (1 + 1e-6 * bool({where}))",
    "the output": "wrong = bool({where}); asked = network; network = lambda y, r: asked(y, r) * (1 + 1e-6 * wrong)",
    "the time of an evaluation": "wrong = bool({where}); asked = network; "
    "network = lambda y, r: asked(y, r * (1 - 1e-4 * wrong))",
    "the coefficients": "c = c * (1 + 1e-6 * bool({where}))",
}
LARGER = {"images in float32": "1e-2"}
"""In place of 1e-6 and 1e-4, where rounding would hide it."""

WITHOUT_EFFECT = {
    ("a state of zeros", "the state"),
    ("the first time", "the past"),
    *(("steps of a millionth", what) for what in ("the time of an evaluation", "the noise", "the past")),
}
"""A factor of zeros, a past that nothing precedes, and what in so short a step changes less than rounding does."""

HARD_TO_MEET = {("starts close to t_max", "the past"): "a walk whose second step begins there"}
"""What would find these: a certificate's steps with a past begin earlier."""

IN_ROWS = {
    "the last of several rows": "rows[-1:] *= 1 + 1e-6",
    "the first of several rows": "rows[:1] *= 1 + 1e-6",
    "all rows but the first": "rows[1:] *= 1 + 1e-6",
    "rows of a square of times": "rows *= 1 + 1e-6 * (rows.dim() == 3)",
    "a single row": "rows *= 1 + 1e-6 * (rows.dim() == 1)",
    "two adjacent rows exchanged": "rows = rows if rows.dim() != 2 or len(rows) < 4 else "
    "torch.cat([rows[1:2], rows[:1], rows[2:]])",
    "rows sorted by time": "rows = rows if rows.dim() != 2 else rows[t.argsort(descending=True, stable=True)]",
    "rows rounded to seven digits": "rows = rows.float().double()",
    "every other row": "rows[::2] *= 1 + 1e-6 * (rows.dim() == 2)",
    "rows from the 32nd on": "rows[31:] *= 1 + 1e-6 * (rows.dim() == 2)",
}
"""Changes of what ``coefficients`` returns, as ``rows``."""

BESIDE = {
    "torch's generator drawn from": "torch.rand(())",
    "torch's generator seeded": "torch.manual_seed(0)",
    "the default dtype set": "torch.set_default_dtype(torch.float64)",
    "gradients switched off": "torch.set_grad_enabled(False)",
    "the state multiplied in place": "z.mul_(1 + 1e-9)",
    "the coefficients multiplied in place": "c.mul_(1 + 1e-9)",
    "the time moved in place": "t.mul_(1 - 1e-9)",
    "the state detached": "z = z.detach()",
    "the output detached": "asked = network; network = lambda y, r: asked(y, r).detach()",
    "the output clamped": "asked = network; network = lambda y, r: asked(y, r).clamp(-1e4, 1e4)",
    "the state clamped": "z = z.clamp(-1e5, 1e5)",
    "tiny states flushed": "z = torch.where(z.abs() < 1e-6, torch.zeros_like(z), z)",
    "the state in half precision where it is float32": "z = z.half().float() if z.dtype == torch.float32 else z",
    "sine in place of large states": "z = torch.where(z.abs() > 1e6, z.sin(), z)",
}
"""What a step does beside its work, always."""

OF_TIME = {
    "the first time": "t == T_MAX",
    "the last time": "t == T_MIN",
    "late times": "t < 0.02 * T_MAX",
    "the middle": "(t > 0.2 * T_MAX) & (t < 0.4 * T_MAX)",
    "tensors of two dimensions": "torch.tensor(t.dim() == 2)",
    "a single time": "torch.tensor(t.dim() == 0)",
    "many times": "torch.tensor(t.numel() > 3)",
}
"""Where ``log_snr`` and ``data_weights`` are wrong."""

NARROW = {
    "a hundredth of the times": "(t > 0.61 * T_MAX) & (t < 0.62 * T_MAX)",
    "a thousandth of the times": "(t > 0.61 * T_MAX) & (t < 0.611 * T_MAX)",
    "steps of one length": "((t - s) > 0.1 * T_MAX) & ((t - s) < 0.1005 * T_MAX)",
    "more than 500 samples": "z.shape[0] > 500",
    "from the 2000th call on": "(globals().__setitem__('_n', globals().get('_n', 0) + 1), _n > 2000)[1]",
    "states above 1e12": "z.abs().max() > 1e12",
}
"""Circumstances that a certificate need not meet, and says so."""

ONE_BLOCK, MULTISTEP, TWO_BLOCKS, NOISY = "vp/DDIM", "vp/DPM-Solver++2M", "psld/RVV", "vp/DDIM-eta"


def all_mutants() -> Iterator[CircumstanceMutant]:
    """Every mutant, in the order of the lists above."""
    for (what, effect), spec in zip(EFFECTS.items(), (ONE_BLOCK, MULTISTEP, TWO_BLOCKS, ONE_BLOCK), strict=True):
        for where, condition in IN_STEP.items():
            statement = effect.format(where=condition)
            if where in LARGER:
                statement = statement.replace("1e-6", LARGER[where]).replace("1e-4", LARGER[where])
            if (where, what) not in WITHOUT_EFFECT:
                yield CircumstanceMutant(spec, "step", where, what, statement)
    others = (
        (NOISY, "the noise", "noise = noise * (1 + 1e-5 * bool({where}))"),
        (MULTISTEP, "the past", "past = [old * (1 + 1e-6 * bool({where})) for old in past]"),
    )
    for spec, what, effect in others:
        for where, condition in IN_STEP.items():
            if "float32" not in where and "gradients" not in where and (where, what) not in WITHOUT_EFFECT:
                found_by = HARD_TO_MEET.get((where, what), "")
                yield CircumstanceMutant(spec, "step", where, what, effect.format(where=condition), found_by)
    for what, statement in BESIDE.items():
        for spec in (ONE_BLOCK, MULTISTEP):
            yield CircumstanceMutant(spec, "step", "always", what, statement)
    for where, statement in IN_ROWS.items():
        for spec in (ONE_BLOCK, MULTISTEP):
            yield CircumstanceMutant(spec, "coefficients", where, "the coefficients", statement)
    for function, spec in (("log_snr", ONE_BLOCK), ("data_weights", TWO_BLOCKS)):
        for where, condition in OF_TIME.items():
            statement = f"t = torch.where({condition}, t * (1 - 1e-6), t)"
            yield CircumstanceMutant(spec, function, where, "the result", statement)
    for where, condition in NARROW.items():
        statement = EFFECTS["the state"].format(where=condition)
        found_by = "`verify --thorough`" if "times" in where or "length" in where else "nothing that is run here"
        yield CircumstanceMutant(ONE_BLOCK, "step", where, "the state", statement, found_by)


def change_source(source: str, mutant: CircumstanceMutant) -> str:
    """The source with the mutant's statement in it. Raises ValueError where the function is not as expected."""
    if mutant.function == "coefficients":
        changed = re.sub(
            r"(\ndef coefficients\(.*?)    return (_stack\(.*?\))\n\n\n",
            lambda found: f"{found[1]}    rows = {found[2]}\n    {mutant.statement}\n    return rows\n\n\n",
            source,
            count=1,
            flags=re.DOTALL,
        )
    else:
        head = rf'(\ndef {mutant.function}\((?:(?!\ndef ).)*?"""\n)'
        if mutant.function != "step":
            head = head.removesuffix(")") + r"    t = torch\.as_tensor\(t, dtype=torch\.float64\)\n)"
        changed = re.sub(head, lambda found: f"{found[1]}    {mutant.statement}\n", source, count=1, flags=re.DOTALL)
    if changed == source:
        raise ValueError(f"{mutant.spec} has no {mutant.function} that the statement fits into")
    return changed
