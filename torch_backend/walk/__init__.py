"""A walk, which is a whole sampling run: its times, its coefficients, its steps, and what it refuses."""
