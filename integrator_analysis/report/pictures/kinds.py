"""The kinds of plot that the command draws, each by the name that users give. KINDS is the one list of them.

Knows names and where the figures are made; loads neither matplotlib nor an analysis until a figure is drawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from integrator_analysis.inputs import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["KINDS", "Kind"]


@dataclass(frozen=True)
class Kind:
    """One kind of plot: the ``function``, "module:name", that makes a Figure of {spec: Integrator}.

    ``options`` names what the function takes beside the integrators: "samples", digits per scheme; "steps" and "grid",
    a named grid of times.
    """

    function: str
    options: tuple[str, ...] = ()

    def draw(self, integrators: Mapping[str, Any], **given: Any) -> Figure:
        """The figure; an option that is not given has the function's default.

        Raises InputError for an option that the kind does not take.
        """
        for name in given:
            if name not in self.options:
                accepted = ", ".join(self.options) or "none"
                raise InputError(f"this kind of plot takes no option {name!r}; accepted: {accepted}")
        module, _, name = self.function.partition(":")
        figure: Figure = getattr(import_module(module), name)(integrators, **given)
        return figure


ROOM = "integrator_analysis.report.pictures."
KINDS: Mapping[str, Kind] = {
    "stability": Kind(ROOM + "stability:stability_figure"),
    "region": Kind(ROOM + "stability:region_figure"),
    "order-star": Kind(ROOM + "stability:order_star_figure"),
    "dispersion": Kind(ROOM + "stability:dispersion_figure"),
    "growth": Kind(ROOM + "stability:growth_figure"),
    "evaluations": Kind(ROOM + "stability:evaluations_figure", ("grid",)),
    "spectrum": Kind(ROOM + "stability:spectrum_figure", ("steps", "grid")),
    "convergence": Kind(ROOM + "global_error:convergence_figure"),
    "constants": Kind(ROOM + "constants:constants_figure"),
    "global-error": Kind(ROOM + "global_error:global_error_figure"),
    "heat-map": Kind(ROOM + "constants:heat_map_figure"),
    "work-precision": Kind(ROOM + "digits:work_precision_figure", ("samples", "grid")),
}
"""By name. A new kind is one function and its line here."""
