"""The checks of a certificate, one a file, each with its tolerances."""
