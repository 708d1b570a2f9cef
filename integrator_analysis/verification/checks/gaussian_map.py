"""One step on Gaussian data is an affine map: that of the source beside the derived one."""

from __future__ import annotations

MAP_TOLERANCE = 1e-12
"""On the one-step map, relative to the sizes of what its entries are sums of: coefficients agree to about 1e-13."""

SHORTEST = 1e-9
"""A step of this share of t: functions such as phi_3 lose nine digits in it where they are not summed as a series."""
