"""Minibatches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from .kernels.spec import Array
from .ops.creation import as_tensor
from .ops.random import Generator, permutation
from .tape import state
from .tensor import Tensor

_SHUFFLES = 2**62
"""The block of a seed's stream from which shuffles are drawn: far from where rg.manual_seed's draws begin."""


def epoch_order(n: int, seed: int, epoch: int) -> Array:
    """0 to n-1, int64, in the order in which an epoch (from 0) takes shuffled rows: a function of the three alone.

    Raises:
        ValueError: the seed is not in [0, 2**64).
    """
    generator = Generator(seed)
    generator.set_state((seed, _SHUFFLES + epoch * n))  # an order takes fewer than n blocks
    return permutation(n, generator)


class Batches:
    """One epoch of minibatches each time it is iterated; see batches().

    Attributes:
        epoch: how many epochs were begun: the number of the next. Set it to go on where a run was cut off.
    """

    def __init__(self, data: tuple[Any, ...], batch_size: int, shuffle: bool, seed: int, drop_last: bool) -> None:
        if isinstance(batch_size, bool) or not isinstance(batch_size, (int, np.integer)) or batch_size < 1:
            raise ValueError(f"batches: batch_size is {batch_size!r}, expected a whole number >= 1")
        self._data = tuple(_columns(f"argument {i}", given) for i, given in enumerate(data))
        self._rows = _common_length(self._data)
        self.batch_size = int(batch_size)
        self.shuffle = bool(shuffle)
        self.seed = Generator(seed).seed
        self.drop_last = bool(drop_last)
        self.epoch = 0

    def __len__(self) -> int:
        """The batches of an epoch."""
        whole, rest = divmod(self._rows, self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[Any]:
        order = epoch_order(self._rows, self.seed, self.epoch) if self.shuffle else None
        self.epoch += 1
        return (self._batch(order, i * self.batch_size) for i in range(len(self)))

    def _batch(self, order: Array | None, start: int) -> Any:
        rows = slice(start, start + self.batch_size)
        batch = tuple(_take(columns, rows if order is None else order[rows]) for columns in self._data)
        return batch[0] if len(batch) == 1 else batch


def batches(
    *data: Any, batch_size: int = 32, shuffle: bool = False, seed: int = 0, drop_last: bool = False
) -> Batches:
    """Minibatches of rows of as many arrays as are given, one epoch each time they are iterated.

    Args:
        data: arrays or tensors whose first axis counts the rows, or tuples of such: inputs and targets, say.
        batch_size: rows a batch; the last one of an epoch has what is left.
        shuffle: take the rows in another order each epoch, a function of seed and epoch alone, on every backend.
        seed: a whole number in [0, 2**64).
        drop_last: leave out a last batch that is not full.

    Returns:
        an iterable with a length, of tuples of batches, one of each of the data; of the batches themselves where there
        is one. They are tensors, or tuples of them where a tuple was given, of the dtypes given. Unshuffled, they share
        memory with what was given.

    Raises:
        ValueError: numbers of rows differ, batch_size is less than 1, or the seed is out of range.
        TypeError: a dtype that tensors cannot hold.

    Example:
        >>> import numpy as np, retrograd as rg
        >>> data = rg.data.batches(np.arange(6.0).reshape(3, 2), np.arange(3), batch_size=2)
        >>> len(data)
        2
        >>> for x, y in data:
        ...     print(x.shape, y)
        (2, 2) tensor([0, 1])
        (1, 2) tensor([2])
    """
    return Batches(data, batch_size, shuffle, seed, drop_last)


Columns = Tensor | tuple[Tensor, ...]


def _columns(name: str, given: Any) -> Columns:
    if isinstance(given, tuple):
        return tuple(_with_rows(f"{name}[{i}]", item) for i, item in enumerate(given))
    return _with_rows(name, given)


def _with_rows(name: str, given: Any) -> Tensor:
    tensor = as_tensor(given).detach()
    if tensor.ndim == 0:
        raise ValueError(
            f"batches: {name} has no axes, expected its first to count the rows; options are named, as batch_size="
        )
    return tensor


def _common_length(data: tuple[Columns, ...]) -> int:
    flat = [t for columns in data for t in (columns if isinstance(columns, tuple) else (columns,))]
    lengths = {len(t) for t in flat}
    if len(lengths) != 1:
        shapes = ", ".join(str(t.shape) for t in flat) or "none"
        raise ValueError(f"batches: expected arrays of one number of rows, got shapes {shapes}")
    return lengths.pop()


def _take(columns: Columns, rows: slice | Array) -> Any:
    if isinstance(columns, tuple):
        return tuple(_take(t, rows) for t in columns)
    return Tensor(columns.array[rows] if isinstance(rows, slice) else state.kernels.gather_rows(columns.array, rows))
