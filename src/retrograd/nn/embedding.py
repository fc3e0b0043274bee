"""Embeddings: a vector for each of many whole numbers."""

from __future__ import annotations

from typing import Any

from ..ops.creation import empty
from ..ops.gather import embedding, padding_row
from ..tape import no_grad
from ..tensor import Tensor
from . import init
from .module import Module
from .parameter import Parameter


class Embedding(Module):
    """Indices (...,) → the rows (..., embedding_dim) of a table that they stand for.

    Args:
        num_embeddings: rows of the table.
        embedding_dim: numbers a row.
        padding_idx: a row that is zeros at first and gets no gradient; counted from the end where negative.
        dtype: float32 or float64; the default dtype unless given.

    Attributes:
        weight: (num_embeddings, embedding_dim), standard normal numbers at first.

    Raises:
        IndexError: padding_idx is out of range.

    Example:
        >>> import retrograd as rg
        >>> words = rg.nn.Embedding(10, 3, padding_idx=0)
        >>> words(rg.tensor([0, 4])).shape
        (2, 3)
        >>> words(rg.tensor([0])).tolist()
        [[0.0, 0.0, 0.0]]
    """

    def __init__(
        self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None, dtype: Any = None
    ) -> None:
        super().__init__()
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        self.padding_idx = None if padding_idx is None else padding_row("Embedding", padding_idx, num_embeddings)
        self.weight = Parameter(empty(num_embeddings, embedding_dim, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the table anew."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            with no_grad():
                self.weight[self.padding_idx].zero_()

    def forward(self, input: Tensor) -> Tensor:
        return embedding(input, self.weight, self.padding_idx)

    def extra_repr(self) -> str:
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"
