"""Networks as a sampler sees them, network(z, t): under conditions and guidance, or from the authors' checkpoints."""
