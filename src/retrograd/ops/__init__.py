"""Operations on tensors, a family a file; each op's forward and vjp stand side by side in its rule.

Importing this package attaches the operators and methods to Tensor.
"""

from . import (
    activation,
    arrange,
    contraction,
    creation,
    distributions,
    elementary,
    elementwise,
    gather,
    index,
    linalg,
    loss,
    measure,
    product,
    protocol,
    random,
    reduction,
    scan,
    shape,
    sorting,
    special,
)

__all__ = [
    "activation",
    "arrange",
    "contraction",
    "creation",
    "distributions",
    "elementary",
    "elementwise",
    "gather",
    "index",
    "linalg",
    "loss",
    "measure",
    "product",
    "protocol",
    "random",
    "reduction",
    "scan",
    "shape",
    "sorting",
    "special",
]
