"""Embeddings: a vector for each of many whole numbers."""

from __future__ import annotations

from typing import Any

from ..ops.creation import empty
from ..ops.gather import embedding
from ..tensor import Tensor
from . import init
from .module import Module
from .parameter import Parameter


class Embedding(Module):
    """Indices (...,) → the rows (..., embedding_dim) of a table that they stand for.

    Args:
        num_embeddings: rows of the table.
        embedding_dim: numbers a row.
        dtype: float32 or float64; the default dtype unless given.

    Attributes:
        weight: (num_embeddings, embedding_dim), standard normal numbers at first.
    """

    def __init__(self, num_embeddings: int, embedding_dim: int, dtype: Any = None) -> None:
        super().__init__()
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        self.weight = Parameter(empty(num_embeddings, embedding_dim, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the table anew."""
        init.normal_(self.weight)

    def forward(self, input: Tensor) -> Tensor:
        return embedding(input, self.weight)

    def extra_repr(self) -> str:
        return f"{self.num_embeddings}, {self.embedding_dim}"
