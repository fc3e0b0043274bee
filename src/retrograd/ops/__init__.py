"""Operations on tensors, a family a file; each op's forward and vjp stand side by side in its rule.

Importing this package attaches the operators and methods to Tensor.
"""

from . import activation, creation, elementary, elementwise, index, loss, product, random, reduction, shape

__all__ = [
    "activation",
    "creation",
    "elementary",
    "elementwise",
    "index",
    "loss",
    "product",
    "random",
    "reduction",
    "shape",
]
