"""The derivation of a scheme as a person follows it."""
