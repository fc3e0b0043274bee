"""Memory for arrays that live for many steps, and for large ones that come and go with each."""

from __future__ import annotations

import math
import mmap
from collections.abc import Sequence
from typing import Any

import numpy as np

from .spec import Array

ALIGNMENT = 64
"""Bytes: a cache line, and the widest vector. NumPy's own arrays begin anywhere in a line, and then each vector of them
lies in two."""
HUGE = 1 << 22
"""From so many bytes on, huge pages pay."""


LENT = 1 << 17
"""From so many bytes on, a matrix's memory is used again: what the system gives anew costs a fault for each page, which
takes longer than to fill it."""
SPARE = 1 << 28
"""Bytes that wait to be lent again, at most."""


def aligned_zeros(shape: int | Sequence[int], dtype: Any) -> Array:
    """An array like numpy.zeros's, whose first element begins a cache line.

    Example:
        >>> import numpy as np
        >>> aligned_zeros((300, 7), np.float32).ctypes.data % ALIGNMENT
        0
    """
    dtype = np.dtype(dtype)
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    memory, address = _zeroed(math.prod(shape) * dtype.itemsize)
    return np.ndarray(shape, dtype, memory, address - _address(memory))


def aligned_copy(array: Array, dtype: Any = None) -> Array:
    """A copy in C order whose first element begins a cache line; of another dtype where one is given."""
    copy = aligned_zeros(array.shape, array.dtype if dtype is None else dtype)
    copy[...] = array
    return copy


def empty_matrix(rows: int, columns: int, dtype: np.dtype[Any]) -> Array:
    """An array like numpy.empty's; a large one in memory that an earlier one no longer needs, if there is any.

    Example:
        >>> import numpy as np
        >>> y = empty_matrix(512, 512, np.dtype(np.float32))
        >>> y.shape, y.ctypes.data % ALIGNMENT
        ((512, 512), 0)
    """
    nbytes = rows * columns * dtype.itemsize
    if nbytes < LENT:
        return np.empty((rows, columns), dtype)
    nbytes = -(-nbytes // mmap.PAGESIZE) * mmap.PAGESIZE
    try:
        memory = _spare[nbytes].pop()
    except LookupError:
        memory = _zeroed(nbytes)
    return np.asarray(_Lease(memory, nbytes, (rows, columns), dtype))


class _Lease:
    """Memory lent to an array and its views. They refer to this: when the last one goes, it can be lent again."""

    __slots__ = ("__array_interface__", "_memory", "_nbytes")

    def __init__(self, memory: tuple[_Memory, int], nbytes: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self._memory = memory
        self._nbytes = nbytes
        address = memory[1]
        self.__array_interface__ = {"version": 3, "shape": shape, "typestr": dtype.str, "data": (address, False)}

    def __del__(self) -> None:
        if self._nbytes + sum(n * len(memories) for n, memories in list(_spare.items())) > SPARE:
            _spare.clear()  # sizes that no longer occur would stay for ever
        if self._nbytes <= SPARE:
            _spare.setdefault(self._nbytes, []).append(self._memory)


def _zeroed(nbytes: int) -> tuple[_Memory, int]:
    """Memory, and the address in it from which so many bytes are free and aligned."""
    memory: _Memory
    if nbytes < HUGE or not hasattr(mmap, "MADV_HUGEPAGE"):
        memory = bytearray(nbytes + ALIGNMENT)
    else:
        memory = mmap.mmap(-1, nbytes + ALIGNMENT, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        memory.madvise(mmap.MADV_HUGEPAGE)
    address = _address(memory)
    return memory, address + -address % ALIGNMENT


def _address(memory: _Memory) -> int:
    address: int = np.frombuffer(memory, np.uint8).__array_interface__["data"][0]
    return address


_Memory = bytearray | mmap.mmap
_spare: dict[int, list[tuple[_Memory, int]]] = {}
