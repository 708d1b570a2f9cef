"""Schedulers in the contract of diffusers, around the step of any generated scheme. Needs the package diffusers."""
