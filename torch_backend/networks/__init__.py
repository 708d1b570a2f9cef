"""A user's network as a sampler sees it."""
