"""Order and leading constant of the weak one-step error of a stochastic scheme."""

from __future__ import annotations

WEAK_NODES, WEAK_TOLERANCE = 8, 1e-7
"""Gauss-Hermite nodes of what z_t does not say about the data, and the accuracy of the rule for what it says, for the
derived constants: ``MixtureProblem.nodes``. 164 points on PSLD, 390 with M = 2, whose score is steeper."""

WEAK_STEP_SIZES = tuple(0.02 * 2.0**-k for k in range(10))

CUBATURE_POINTS = 400_000
"""Most points of one weak measurement (law of z_t times noise): 3 MB a number, a second for all step sizes."""

LAW_NODES, LAW_TOLERANCE, NOISE_NODES = 12, 1e-13, 16
"""The same for the measurement, whose smallest errors are of 1e-12; and Gauss-Hermite nodes of the noise: q leave an
error of order h**q in a noise of size sqrt(h), so that four are enough where a scheme draws many."""

GLOBAL_STEPS = (40, 80, 160, 320)
"""Numbers of steps of the global error of a scheme whose local error is that of its start-up."""

WEAK_DIGITS = 20
"""Digits for the derived weak constants; their derivatives are numerical and lose about half."""
