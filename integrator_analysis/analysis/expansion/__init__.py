"""The expansion of a step and of the exact flow in powers of h."""
