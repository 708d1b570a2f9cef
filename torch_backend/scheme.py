"""What a generated scheme module states, and what holds where it states nothing.

Knows the names in a generated module; knows no formula of a scheme, and runs nothing. Exported files carry this text.
"""

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Protocol


class SchemeModule(Protocol):
    """The names that every generated scheme module has. Any object with the same names may take its place.

    Some modules state more: see the fields of ``SchemeFacts`` that have a default.
    """

    SPEC: str
    PROCESS: str
    BLOCKS: tuple[str, ...]
    ORDER: int
    STOCHASTIC: bool
    NFE_PER_STEP: int
    HISTORY: int
    NOISES: int
    T_MAX: float
    T_MIN: float
    PRIOR_STD: tuple[float, ...]
    COEFFICIENTS: tuple[str, ...]
    coefficients: Callable[..., Any]
    step: Callable[..., Any]


@dataclass(frozen=True)
class SchemeFacts:
    """What a generated scheme module states, read once; the facts that it may leave out have a default here.

    Times are forward diffusion times, from noise at ``t_max`` down to data at ``t_min``.
    """

    spec: str
    """Process and scheme, such as "psld/RVV"."""
    process: str
    blocks: tuple[str, ...]
    """Names of the k blocks of the state: ("x",) or ("x", "m")."""
    order: int
    """Order of accuracy for a general smooth network; the weak order where ``stochastic``."""
    stochastic: bool
    nfe_per_step: int
    """Network evaluations of one step."""
    history: int
    """How many earlier steps a step reads from."""
    noises: int
    """How many standard normal draws of one block's shape a step takes."""
    t_max: float
    t_min: float
    prior_std: tuple[float, ...]
    """Standard deviation of the prior, per block."""
    coefficient_names: tuple[str, ...]
    """One per entry of what ``coefficients`` returns."""
    coefficients: Callable[..., Any]
    """``coefficients(t, s)``, with ``history`` ``coefficients(t, s, past)``: the numbers of the steps from t to s, two
    float64 tensors of any one shape, along a last dimension."""
    step: Callable[..., Any]
    """``step(z, t, s, row, network, noise)``, with ``history`` also ``past``: the step itself."""
    log_snr: Callable[..., Any] | None = None
    """``log_snr(t)``: half the logarithm of the signal-to-noise ratio at times of any shape; None where grids cannot be
    measured in it."""
    data_weights: Callable[..., Any] | None = None
    """``data_weights(t)``: along a last dimension, factors a_1, ..., a_k, b_1, ..., b_k of the blocks of the state and
    of the network's output, such that the predicted x_0 at time t is the sum of the blocks times their factors. None
    where a walk has no step to no noise."""
    grid: str = "uniform"
    """The name of the time grid that walks take by default."""
    network: str = "eps"
    """What the network returns, by name: eps, score, x0, v, velocity or edm."""
    primed: bool = False
    """Whether the first step reads an evaluation at the start of the walk as its past."""
    mends: bool = False
    """Whether a step first corrects the end of the step before it: a predictor-corrector."""
    variance: float | None = None
    """The data variance that the coefficients assume; None where they assume none. Anchored schemes take another."""
    takes_B: bool = False
    """Whether the coefficients take a matrix B for every step."""


Scheme = SchemeFacts | SchemeModule | ModuleType
"""A generated scheme, as its module or as the facts read from it."""


def facts_of(scheme: Scheme) -> SchemeFacts:
    """The facts of a scheme; those of a module are read anew. Raises TypeError where a name is missing."""
    if isinstance(scheme, SchemeFacts):
        return scheme
    missing = [name for name in SchemeModule.__annotations__ if not hasattr(scheme, name)]
    if missing:
        raise TypeError(f"{scheme!r} is not a scheme module; it lacks {', '.join(missing)}")
    return SchemeFacts(
        spec=scheme.SPEC,
        process=scheme.PROCESS,
        blocks=tuple(scheme.BLOCKS),
        order=scheme.ORDER,
        stochastic=scheme.STOCHASTIC,
        nfe_per_step=scheme.NFE_PER_STEP,
        history=scheme.HISTORY,
        noises=scheme.NOISES,
        t_max=scheme.T_MAX,
        t_min=scheme.T_MIN,
        prior_std=tuple(scheme.PRIOR_STD),
        coefficient_names=tuple(scheme.COEFFICIENTS),
        coefficients=scheme.coefficients,
        step=scheme.step,
        log_snr=getattr(scheme, "log_snr", None),
        data_weights=getattr(scheme, "data_weights", None),
        grid=getattr(scheme, "GRID", "uniform"),
        network=getattr(scheme, "NETWORK", "eps"),
        primed=getattr(scheme, "PRIMED", False),
        mends=getattr(scheme, "MENDS", False),
        variance=getattr(scheme, "VARIANCE", None),
        takes_B=hasattr(scheme, "B"),
    )
