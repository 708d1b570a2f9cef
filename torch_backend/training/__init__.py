"""Small score networks trained on real images, the 8 x 8 digits: ``python -m torch_backend.training``.

Knows where the names live. Needs diffusers and safetensors, which are imported when a network is first made or read.
"""

from torch_backend.training.fit import Settings, Training, fit, loss
from torch_backend.training.networks import PROBLEMS, EpsNetwork, load_network, make_network, save_network

__all__ = [
    "PROBLEMS",
    "EpsNetwork",
    "Settings",
    "Training",
    "fit",
    "load_network",
    "loss",
    "make_network",
    "save_network",
]
