"""A user's network as a sampler sees it: guidance, conditions, inpainting, and the authors' checkpoints."""

from torch_backend.networks.authors import AuthorsNetwork, weights_of
from torch_backend.networks.conditions import classifier_free, conditioned
from torch_backend.networks.guidance import classifier_guided, inpainting, prediction_on

__all__ = [
    "AuthorsNetwork",
    "classifier_free",
    "classifier_guided",
    "conditioned",
    "inpainting",
    "prediction_on",
    "weights_of",
]
