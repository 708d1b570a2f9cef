from .sampler import Sampler as Sampler
from .sampler import load as load
from .source import load_kernel as load_kernel
from .source import module_from_source as module_from_source
