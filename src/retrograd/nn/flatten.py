"""Flatten as a module."""

from __future__ import annotations

from ..ops.shape import flatten
from ..tensor import Tensor
from .module import Module


class Flatten(Module):
    """The axes from start_dim to end_dim (inclusive) joined into one; all but the first unless given.

    Example:
        >>> import retrograd as rg
        >>> rg.nn.Flatten()(rg.ones(5, 2, 3)).shape
        (5, 6)
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, input: Tensor) -> Tensor:
        return flatten(input, self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"
