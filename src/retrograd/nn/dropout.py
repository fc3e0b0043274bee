"""Dropout as a module."""

from __future__ import annotations

from ..ops.random import dropout
from ..tensor import Tensor
from .activation import overwriting
from .module import Module


class Dropout(Module):
    """In training, each element zeroed with probability p and the rest divided by 1 - p; else its input.

    Raises:
        ValueError: p is not in [0, 1].

    Example:
        >>> import retrograd as rg
        >>> drop = rg.nn.Dropout(0.5)
        >>> sorted(set(drop(rg.ones(100)).tolist()))
        [0.0, 2.0]
        >>> drop.eval()(rg.ones(2))
        tensor([1., 1.])
    """

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"Dropout: p is {p}, expected a probability in [0, 1]")
        self.p = p
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        if self.inplace and self.training:
            return overwriting(dropout, input, self.p)
        return dropout(input, self.p, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}" + (", inplace=True" if self.inplace else "")
