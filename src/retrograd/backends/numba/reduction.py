"""Sums, and the softmax family along the last axes."""

from __future__ import annotations

import math

import numpy as np

from ...kernels import reduction as reference
from ...kernels.spec import Array, reduced
from . import elementary
from .jit import FLOATS, core, inlined, plain, plus, rows
from .parallel import COSTLY, run
from .vector import BYTES, larger, load, store

__all__ = ["log_softmax", "log_softmax_backward", "logsumexp", "softmax", "softmax_backward", "sum"]

CHUNK = 4096
"""Elements whose sum is taken in their own precision, before it is added to a sum in double precision."""


def sum(x: Array, axes: tuple[int, ...], keepdims: bool = False, scale: float = 1.0) -> Array:
    if x.dtype not in FLOATS or not axes or axes[-1] - axes[0] >= len(axes):
        return reference.sum.reference(x, axes, keepdims, scale)
    y = np.empty(reduced(x.shape, axes, keepdims), x.dtype)
    before = math.prod(x.shape[: axes[0]])
    after = math.prod(x.shape[axes[-1] + 1 :])
    along = math.prod(x.shape[axes[0] : axes[-1] + 1])
    if after == 1:
        sum_rows(plain(x).reshape(before, along), scale, y.reshape(before))
    else:
        sum_middle(plain(x).reshape(before, along, after), scale, y.reshape(before, after))
    return y


def logsumexp(x: Array, axes: tuple[int, ...], keepdims: bool = False) -> Array:
    along = math.prod([x.shape[a] for a in axes])
    if x.dtype not in FLOATS or along == 0 or axes != tuple(range(x.ndim - len(axes), x.ndim)):
        return reference.logsumexp.reference(x, axes, keepdims)
    y = np.empty(reduced(x.shape, axes, keepdims), x.dtype)
    run(logsumexp_rows, COSTLY, (plain(x).reshape(-1, along), y.ravel()))
    return y


def _rowwise(x: Array, axis: int) -> bool:
    return x.dtype in FLOATS and axis == x.ndim - 1 and x.size > 0


def softmax(x: Array, axis: int) -> Array:
    if not _rowwise(x, axis):
        return reference.softmax.reference(x, axis)
    y = np.empty(x.shape, x.dtype)
    run(softmax_rows, COSTLY, (rows(x), rows(y)))
    return y


def softmax_backward(g: Array, y: Array, axis: int) -> Array:
    if not _rowwise(g, axis):
        return reference.softmax_backward.reference(g, y, axis)
    d = np.empty(g.shape, g.dtype)
    run(softmax_backward_rows, COSTLY, (rows(g), rows(y), rows(d)))
    return d


def log_softmax(x: Array, axis: int) -> Array:
    if not _rowwise(x, axis):
        return reference.log_softmax.reference(x, axis)
    y = np.empty(x.shape, x.dtype)
    run(log_softmax_rows, COSTLY, (rows(x), rows(y)))
    return y


def log_softmax_backward(g: Array, y: Array, axis: int) -> Array:
    if not _rowwise(g, axis):
        return reference.log_softmax_backward.reference(g, y, axis)
    d = np.empty(g.shape, g.dtype)
    run(log_softmax_backward_rows, COSTLY, (rows(g), rows(y), rows(d)))
    return d


@core
def sum_rows(x, scale, y):
    """y = scale * x summed over its last axis; x (n, along), y (n,)."""
    along = x.shape[1]
    for i in range(y.size):
        total = 0.0
        for start in range(0, along, CHUNK):
            chunk = x[i, start : start + CHUNK]
            part = x.dtype.type(0)
            for j in range(chunk.size):
                part = plus(part, chunk[j])
            total += part
        y[i] = total * scale


@core
def sum_middle(x, scale, y):
    """y = scale * x summed over its middle axis; x (before, along, after), y (before, after)."""
    before, along, after = x.shape
    for i in range(before):
        for k in range(after):
            y[i, k] = 0
        for j in range(along):
            for k in range(after):
                y[i, k] += x[i, j, k]
        for k in range(after):
            y[i, k] *= x.dtype.type(scale)


@core
def maximum(x, start, n, lanes):
    """The largest of the n elements from `start` on; NaN are passed over, and -inf is that of none.

    x has one axis; `lanes` is scratch, a vector long.
    """
    width = BYTES // x.itemsize
    top = x.dtype.type(-np.inf)
    vectors = n // width * width
    if vectors:
        lanes[:] = top
        tops = load(lanes, 0, 1)
        for j in range(start, start + vectors, width):
            tops = larger(load(x, j, 1), tops)
        store(lanes, 0, tops)
        for j in range(width):
            top = max(top, lanes[j])
    for j in range(start + vectors, start + n):
        top = x[j] if x[j] > top else top
    return top


@inlined
def rows_at_once(x):
    """How many rows of x to work on between one pass over them and the next, so that they stay in the cache."""
    return max(1, CHUNK // x.shape[1])


@core
def shifted_exp(x, tops, e):
    """tops = the largest element of each row and e = exp(x - tops); x, e (rows, n), tops (rows or more,)."""
    n = x.shape[1]
    each, lanes = x.reshape(x.size), np.empty(BYTES // x.itemsize, x.dtype)
    for i in range(len(x)):
        top = maximum(each, i * n, n, lanes)
        tops[i] = top
        for j in range(n):
            e[i, j] = x[i, j] - top
    # rows may be short: in one loop over all of them exp fills the vectors
    flat = e.reshape(e.size)
    for i in range(flat.size):
        flat[i] = elementary.exp(flat[i])


@core
def row_sum(x, i):
    """The sum of row i of x."""
    total = x.dtype.type(0)
    for j in range(x.shape[1]):
        total = plus(total, x[i, j])
    return total


@core
def logsumexp_rows(x, y):
    """y = log(sum(exp(x))) over each row; x (rows, n), y (rows,)."""
    step = rows_at_once(x)
    scratch, tops = np.empty((step, x.shape[1]), x.dtype), np.empty(step, x.dtype)
    for start in range(0, len(x), step):
        a, b = x[start : start + step], y[start : start + step]
        e = scratch[: len(a)]
        shifted_exp(a, tops, e)
        for i in range(len(a)):
            if math.isinf(tops[i]):  # and inf - inf made NaN
                tops[i] = 0
                for j in range(a.shape[1]):
                    e[i, j] = elementary.exp(a[i, j])
            b[i] = math.log(row_sum(e, i)) + tops[i]


@core
def softmax_rows(x, y):
    """y = softmax(x) along each row; (rows, n)."""
    rows, n = x.shape
    step = rows_at_once(x)
    tops = np.empty(step, x.dtype)
    for start in range(0, rows, step):
        e = y[start : start + step]
        shifted_exp(x[start : start + step], tops, e)
        for i in range(len(e)):
            total = row_sum(e, i)
            for j in range(n):
                e[i, j] /= total


@core
def softmax_backward_rows(g, y, d):
    """d = y * (g - sum(g * y)) along each row; (rows, n)."""
    rows, n = g.shape
    for i in range(rows):
        total = g.dtype.type(0)
        for j in range(n):
            total = plus(total, g[i, j] * y[i, j])
        for j in range(n):
            d[i, j] = y[i, j] * (g[i, j] - total)


@core
def log_softmax_rows(x, y):
    """y = x - log(sum(exp(x))) along each row; (rows, n)."""
    rows, n = x.shape
    step = rows_at_once(x)
    tops = np.empty(step, x.dtype)
    for start in range(0, rows, step):
        a, b = x[start : start + step], y[start : start + step]
        shifted_exp(a, tops, b)
        for i in range(len(a)):
            log_total = math.log(row_sum(b, i))
            for j in range(n):
                b[i, j] = (a[i, j] - tops[i]) - log_total


@core
def log_softmax_backward_rows(g, y, d):
    """d = g - exp(y) * sum(g) along each row; (rows, n)."""
    rows, n = g.shape
    for i in range(rows):
        total = row_sum(g, i)
        for j in range(n):
            d[i, j] = g[i, j] - elementary.exp(y[i, j]) * total
