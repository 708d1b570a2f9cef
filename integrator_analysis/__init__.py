"""Integrators of diffusion generative models: derived with sympy, generated as torch source, verified by measurement.

    import integrator_analysis as ia
    i = ia.derive("psld/RVV")        # order, local error, stability, coefficients, source
    ia.verify("psld/RVV").passed     # every derived claim measured on the generated source

Conventions: t is forward diffusion time, t = 0 is data; a step goes from t to s = t - h, h > 0; the state z has k
blocks (position, momentum) of the data's shape, concatenated on dimension 1; network(z, t) returns eps.

The public names and the modules that they come from are listed in ``__init__.pyi``, and nowhere else. Each is imported
when it is first used, so that importing the package loads neither sympy nor scipy nor torch (PEP 562).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__version__ = "0.1.0"
