"""The counter-based generator in C."""

from __future__ import annotations

import numpy as np

from ...kernels import random as reference
from ...kernels.spec import Array
from .native import by_dtype, contiguous, lib, pointer

_UNIFORM = by_dtype("random_uniform")
_DROPOUT = by_dtype("dropout")


def random_bits(n: int, key: int, offset: int) -> Array:
    words = np.empty(n, np.uint32)
    lib.rg_random_bits_f32(pointer(words), n, key, offset)  # words are the same for every dtype
    return words


def random_permutation(n: int, key: int, offset: int) -> Array:
    order = np.empty(n, np.int64)
    lib.rg_permute_f64(pointer(order), pointer(random_uniform(n, key, offset, np.dtype(np.float64))), n)
    return order


def random_uniform(n: int, key: int, offset: int, dtype: np.dtype) -> Array:
    run = _UNIFORM.get(np.dtype(dtype))
    if run is None:
        return reference.random_uniform.reference(n, key, offset, dtype)
    numbers = np.empty(n, dtype)
    run(pointer(numbers), n, key, offset)
    return numbers


def dropout(x: Array, p: float, key: int, offset: int, first: int = 0) -> Array:
    run = _DROPOUT.get(x.dtype)
    if run is None:
        return reference.dropout.reference(x, p, key, offset, first)
    y = np.empty(x.shape, x.dtype)
    run(pointer(y), contiguous(x), x.size, p, key, offset, first)
    return y


KERNELS = {
    "random_bits": random_bits,
    "random_permutation": random_permutation,
    "random_uniform": random_uniform,
    "dropout": dropout,
}
