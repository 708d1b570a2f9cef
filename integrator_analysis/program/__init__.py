"""The step program: the one form that every sampler is lowered to and every analysis reads."""
