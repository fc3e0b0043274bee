"""The kernel vocabulary: every function from arrays to arrays that the engine is made of.

Call one as a function of NumPy arrays, whichever engine is your own: operands are checked, then the backend in
force runs. The NumPy references stand in this package's files, one family a file.

Example:
    >>> import numpy as np, retrograd as rg
    >>> rg.kernels.mse_loss(np.array([1.0, 2.0]), np.array([1.0, 4.0]))
    (array(2.), array([ 0., -2.]))
"""

from importlib import import_module as _import_module

from .spec import TABLE as _TABLE

FAMILIES = (
    "activation",
    "elementary",
    "elementwise",
    "index",
    "linalg",
    "loss",
    "measure",
    "product",
    "random",
    "reduction",
    "scan",
    "sorting",
    "special",
    "update",
    "view",
)
"""The modules of this package that declare kernels."""

for _family in FAMILIES:
    _import_module(f".{_family}", __name__)
globals().update(_TABLE)
__all__ = sorted(_TABLE)
