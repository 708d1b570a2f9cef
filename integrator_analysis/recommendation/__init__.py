"""Which grid, scheme and parameters to use: chosen by the error that a whole walk makes."""
