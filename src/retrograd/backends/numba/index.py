"""Scattering whole rows by index: NumPy's add.at takes them element by element."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...kernels.index import index_add as reference
from ...kernels.spec import Array
from .jit import FLOATS, core, plain

__all__ = ["index_add"]


def index_add(g: Array, key: Any, shape: tuple[int, ...]) -> Array:
    whole_rows = isinstance(key, np.ndarray) and key.dtype.kind == "i" and g.shape == (*key.shape, *shape[1:])
    if whole_rows and len(shape) > 1 and g.dtype in FLOATS:
        y = np.zeros((shape[0], math.prod(shape[1:])), g.dtype)
        if scatter_rows(plain(g).reshape(key.size, y.shape[1]), plain(key).astype(np.int64).ravel(), y):
            return y.reshape(shape)
    return reference.reference(g, key, shape)


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
