"""A user's network as a sampler sees it: adapted to any process, guided, conditioned, or from the authors' files."""

from torch_backend.networks.adapt import AdaptedNetwork, adapt
from torch_backend.networks.authors import AuthorsNetwork, weights_of
from torch_backend.networks.conditions import classifier_free, conditioned
from torch_backend.networks.diffusers_network import DiffusersNetwork
from torch_backend.networks.guidance import classifier_guided, inpainting, prediction_on

__all__ = [
    "AdaptedNetwork",
    "AuthorsNetwork",
    "DiffusersNetwork",
    "adapt",
    "classifier_free",
    "classifier_guided",
    "conditioned",
    "inpainting",
    "prediction_on",
    "weights_of",
]
