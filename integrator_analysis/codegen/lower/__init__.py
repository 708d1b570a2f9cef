"""From expressions to lines of torch and math: the only door out of sympy."""
