"""Memory for arrays that live for many steps."""

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


def aligned_zeros(shape: int | Sequence[int], dtype: Any) -> Array:
    """An array like numpy.zeros's, whose first element begins a cache line.

    Example:
        >>> import numpy as np
        >>> aligned_zeros((300, 7), np.float32).ctypes.data % ALIGNMENT
        0
    """
    dtype = np.dtype(dtype)
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    memory = _zeroed(math.prod(shape) * dtype.itemsize + ALIGNMENT)
    start = -np.frombuffer(memory, np.uint8).__array_interface__["data"][0] % ALIGNMENT
    return np.ndarray(shape, dtype, memory, start)


def aligned_copy(array: Array, dtype: Any = None) -> Array:
    """A copy in C order whose first element begins a cache line; of another dtype where one is given."""
    copy = aligned_zeros(array.shape, array.dtype if dtype is None else dtype)
    copy[...] = array
    return copy


def _zeroed(nbytes: int) -> bytearray | mmap.mmap:
    if nbytes < HUGE or not hasattr(mmap, "MADV_HUGEPAGE"):
        return bytearray(nbytes)
    memory = mmap.mmap(-1, nbytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_HUGEPAGE)
    return memory
