"""Measuring generated source against the derived claims."""
