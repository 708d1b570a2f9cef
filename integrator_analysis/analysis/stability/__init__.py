"""How errors grow: amplification of one step, regions in the plane, growth along a grid."""
