"""Whole rows, by an array of indices."""

from __future__ import annotations

import math

import numpy as np
from numba import types

from ...registry import Unsupported
from .. import elementwise
from ..index import scatter_rows
from ..lowering import Call, Lowering, entry, floating, lowers
from ..record import integer, matrix, vector
from .elementwise import part_at


@entry
def gather_rows(dtype, record, start, rows):
    """x, indices, y; rows of x, indices, columns. Returns 1 + the first index that is out of range."""
    source, n, columns = integer(record, 0), integer(record, 1), integer(record, 2)
    x = matrix(dtype, record, 0, start, source, columns)
    indices = vector(types.int64, record, 1, start, n)
    y = matrix(dtype, record, 2, start, n, columns)
    for i in range(n):
        row = indices[i] + source if indices[i] < 0 else indices[i]
        if row < 0 or row >= source:
            return i + 1
        for j in range(columns):
            y[i, j] = x[row, j]
    return 0


@entry
def scatter_rows_add(dtype, record, start, rows):
    """g, indices, y; rows of y, indices, columns. Returns 1 + the first index that is out of range."""
    n, columns = integer(record, 1), integer(record, 2)
    y = matrix(dtype, record, 2, start, integer(record, 0), columns)
    y[:] = 0
    whole = scatter_rows(matrix(dtype, record, 0, start, n, columns), vector(types.int64, record, 1, start, n), y)
    return 0 if whole else 1


@lowers("index", "gather_rows")
def lower_rows(low: Lowering, call: Call) -> None:
    """Whole rows, by one axis of indices that are the same at each call or an operand."""
    adds = call.kernel == "index_add"
    source = low.plain(call, "g" if adds else "x")
    key = call.arguments["rows" if call.kernel == "gather_rows" else "key"]
    if hasattr(key, "buffer"):
        indices = low.plain(call, "rows")
        indices = indices._replace(shape=(math.prod(indices.shape),), strides=(1,))
    elif isinstance(key, np.ndarray) and key.dtype.kind == "i" and key.ndim == 1 and key.size:
        indices = low.constant(key.astype(np.int64))
    else:
        raise Unsupported(f"{call.kernel} by a key that is not one array of integers")
    y = low.made(call)
    of = y if adds else source  # what the indices are of
    integers = [of.shape[0], indices.shape[0], math.prod(of.shape[1:])]
    dtype = floating(call, source) if adds else source.dtype
    name = "scatter_rows_add" if adds else "gather_rows"
    low.entry(call, name, dtype, [source, indices, y], integers, fails=True)


@lowers("index_add")
def lower_index_add(low: Lowering, call: Call) -> None:
    key = call.arguments["key"]
    if isinstance(key, np.ndarray):
        lower_rows(low, call)
        return
    y = low.made(call)
    part = part_at(y, key)
    low.append(call, elementwise.statement("full", {"value": low.number(0.0)}, y))
    g = low.given(call, "g")
    low.append(call, elementwise.statement("copy", {"x": g}, part))
