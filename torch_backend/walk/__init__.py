"""A whole sampling run: grid, coefficients, steps, ending."""
