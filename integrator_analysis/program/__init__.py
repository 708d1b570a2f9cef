"""The step program: the one form that every sampler is lowered to. Every analysis and all generated source read it."""
