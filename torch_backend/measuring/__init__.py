"""What measurements of generated modules need: steps, maps, errors, walks, distances."""
