"""The dense layer."""

from __future__ import annotations

import math
from typing import Any

from ..kernels.memory import aligned_zeros
from ..ops.creation import _dtype
from ..ops.product import linear
from ..tensor import Tensor
from . import init
from .module import Module
from .parameter import Parameter


class Identity(Module):
    """Its input; arguments are taken and ignored.

    Example:
        >>> import retrograd as rg
        >>> rg.nn.Identity()(rg.tensor([1.0, 2.0]))
        tensor([1., 2.])
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, input: Tensor) -> Tensor:
        return input


class Linear(Module):
    """A dense layer: (..., in_features) → (..., out_features), input @ weight.T + bias.

    Weight and bias are drawn uniformly from ±1/sqrt(in_features), as in PyTorch.

    Args:
        in_features: inputs a row.
        out_features: outputs a row.
        bias: whether there is one.
        dtype: float32 or float64; the default dtype unless given.

    Attributes:
        weight: (out_features, in_features).
        bias: (out_features,), or None.

    Example:
        >>> import retrograd as rg
        >>> rg.nn.Linear(3, 2)(rg.ones(5, 3)).shape
        (5, 2)
    """

    takes_activation = True
    """forward() can do the activation that follows in the same pass; see Sequential."""

    def __init__(self, in_features: int, out_features: int, bias: bool = True, dtype: Any = None) -> None:
        super().__init__()
        if in_features < 0 or out_features < 0:
            raise ValueError(f"Linear: sizes are {in_features} and {out_features}, expected none below 0")
        self.in_features = in_features
        self.out_features = out_features
        self.weight = Parameter(aligned_zeros((out_features, in_features), _dtype(dtype)))
        self.register_parameter("bias", Parameter(aligned_zeros(out_features, _dtype(dtype))) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(self.in_features) if self.in_features else 0.0
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input: Tensor, activation: str | None = None, alpha: float | None = None) -> Tensor:
        return linear(input, self.weight, self.bias, activation, alpha)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"
