"""Scattering by index arrays: NumPy's add.at sums repeated indices slowly."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...kernels.index import index_add as reference
from ...kernels.spec import Array
from .jit import FLOATS, core, plain

__all__ = ["index_add"]


def index_add(g: Array, key: Any, shape: tuple[int, ...]) -> Array:
    targets = _targets(key, shape)
    if g.dtype in FLOATS and targets is not None:
        axes = len(key) if isinstance(key, tuple) else 1
        if g.shape == (*targets.shape, *shape[axes:]):
            y = np.zeros((math.prod(shape[:axes]), math.prod(shape[axes:])), g.dtype)
            if scatter_rows(plain(g).reshape(targets.size, y.shape[1]), plain(targets).ravel(), y):
                return y.reshape(shape)
    return reference.reference(g, key, shape)


def _targets(key: Any, shape: tuple[int, ...]) -> Array | None:
    """Which row of the leading axes, taken as one, each element of the key means; None where the key holds
    anything but integer arrays, or an index that there is not."""
    keys = key if isinstance(key, tuple) else (key,)
    if not keys or not all(isinstance(k, np.ndarray) and k.dtype.kind == "i" for k in keys):
        return None
    if len(keys) == 1:
        return np.asarray(keys[0], np.int64)
    if len(keys) > len(shape):
        return None
    try:
        # ravel_multi_index knows no negative indices
        positive = [np.where(k < 0, k + n, k) for k, n in zip(keys, shape, strict=False)]
        return np.ravel_multi_index(positive, shape[: len(keys)])
    except ValueError:
        return None


@core
def scatter_rows(g, targets, y):
    """Add row i of g to row targets[i] of y, negative ones counting from the end; False at one that is not there.

    g (n, width), targets (n,) int64, y (rows, width).
    """
    rows, width = y.shape
    for i in range(targets.size):
        row = targets[i]
        if row < 0:
            row += rows
        if row < 0 or row >= rows:
            return False
        for j in range(width):
            y[row, j] += g[i, j]
    return True
