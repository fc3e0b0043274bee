"""Reductions, and the softmax family along the last axis.

A reduction's entry takes x, y; [before], [along], after: x has the shape (before, along, after) and is reduced over its
middle axis. One of the softmax family takes its operands; [rows], columns.
"""

from __future__ import annotations

import math
from typing import Any

from numba import types

from ...registry import Unsupported
from .. import reduction
from ..jit import inlined
from ..lowering import Call, Lowering, entry, extent_of, floating, lowers
from ..record import array, extent, integer, matrix, number, place, vector


@inlined
def _reduced(dtype, record, start, rows):
    before, along, after = extent(record, 0, rows), extent(record, 2, rows), integer(record, 4)
    return array(dtype, place(record, 0, start), (before, along, after)), before, after


@entry
def sum(dtype, record, start, rows):
    """…; scale."""
    x, before, after = _reduced(dtype, record, start, rows)
    if after == 1:
        y = vector(dtype, record, 1, start, before)
        reduction.sum_rows(x.reshape(before, x.shape[1]), number(record, 5), y)
    else:
        reduction.sum_middle(x, number(record, 5), matrix(dtype, record, 1, start, before, after))
    return 0


@entry
def amax(dtype, record, start, rows):
    x, before, after = _reduced(dtype, record, start, rows)
    y = matrix(dtype, record, 1, start, before, after)
    for i in range(before):
        for k in range(after):
            y[i, k] = x[i, 0, k]
        for j in range(1, x.shape[1]):
            for k in range(after):
                y[i, k] = y[i, k] if y[i, k] >= x[i, j, k] or y[i, k] != y[i, k] else x[i, j, k]
    return 0


@entry
def amin(dtype, record, start, rows):
    x, before, after = _reduced(dtype, record, start, rows)
    y = matrix(dtype, record, 1, start, before, after)
    for i in range(before):
        for k in range(after):
            y[i, k] = x[i, 0, k]
        for j in range(1, x.shape[1]):
            for k in range(after):
                y[i, k] = y[i, k] if y[i, k] <= x[i, j, k] or y[i, k] != y[i, k] else x[i, j, k]
    return 0


@entry
def argmax(dtype, record, start, rows):
    x, before, after = _reduced(dtype, record, start, rows)
    y = matrix(types.int64, record, 1, start, before, after)
    for i in range(before):
        for k in range(after):
            best = 0
            for j in range(1, x.shape[1]):
                if not (x[i, j, k] <= x[i, best, k] or x[i, best, k] != x[i, best, k]):
                    best = j
            y[i, k] = best
    return 0


@entry
def argmin(dtype, record, start, rows):
    x, before, after = _reduced(dtype, record, start, rows)
    y = matrix(types.int64, record, 1, start, before, after)
    for i in range(before):
        for k in range(after):
            best = 0
            for j in range(1, x.shape[1]):
                if not (x[i, j, k] >= x[i, best, k] or x[i, best, k] != x[i, best, k]):
                    best = j
            y[i, k] = best
    return 0


@entry
def count(dtype, record, start, rows):
    """The sum of integers or booleans."""
    x, before, after = _reduced(dtype, record, start, rows)
    y = matrix(types.int64, record, 1, start, before, after)
    for i in range(before):
        for k in range(after):
            total = 0
            for j in range(x.shape[1]):
                total += x[i, j, k]
            y[i, k] = total
    return 0


@entry
def logsumexp(dtype, record, start, rows):
    """…; after is 1."""
    before = extent(record, 0, rows)
    x = matrix(dtype, record, 0, start, before, extent(record, 2, rows))
    reduction.logsumexp_rows(x, vector(dtype, record, 1, start, before))
    return 0


@entry
def softmax(dtype, record, start, rows):
    m, n = extent(record, 0, rows), integer(record, 2)
    reduction.softmax_rows(matrix(dtype, record, 0, start, m, n), matrix(dtype, record, 1, start, m, n))
    return 0


@entry
def log_softmax(dtype, record, start, rows):
    m, n = extent(record, 0, rows), integer(record, 2)
    reduction.log_softmax_rows(matrix(dtype, record, 0, start, m, n), matrix(dtype, record, 1, start, m, n))
    return 0


@entry
def softmax_backward(dtype, record, start, rows):
    m, n = extent(record, 0, rows), integer(record, 2)
    g, y = matrix(dtype, record, 0, start, m, n), matrix(dtype, record, 1, start, m, n)
    reduction.softmax_backward_rows(g, y, matrix(dtype, record, 2, start, m, n))
    return 0


@entry
def log_softmax_backward(dtype, record, start, rows):
    m, n = extent(record, 0, rows), integer(record, 2)
    g, y = matrix(dtype, record, 0, start, m, n), matrix(dtype, record, 1, start, m, n)
    reduction.log_softmax_backward_rows(g, y, matrix(dtype, record, 2, start, m, n))
    return 0


@lowers("sum", "amax", "amin", "argmax", "argmin", "logsumexp")
def lower_reduction(low: Lowering, call: Call, name: str = "") -> None:
    x, axes = low.given(call, "x"), tuple(call.arguments["axes"])
    if axes and axes[-1] - axes[0] >= len(axes):  # they are not neighbours: those that are reduced go last
        if x.batch in axes:
            raise Unsupported(f"{call.kernel} over axes {axes}")
        order = [a for a in range(len(x.shape)) if a not in axes] + list(axes)
        x = x._replace(shape=tuple(x.shape[a] for a in order), strides=tuple(x.strides[a] for a in order))
        axes = tuple(range(len(x.shape) - len(axes), len(x.shape)))
    x, y = low.contiguous(x, call), low.made(call)
    start, stop = (axes[0], axes[-1] + 1) if axes else (len(x.shape), len(x.shape))
    before, along = slice(0, start), slice(start, stop)
    after = math.prod(x.shape[stop:])
    integers = [*extent_of(x, before, call), *extent_of(x, along, call), after]
    numbers: list[Any] = []
    if call.kernel == "sum":
        name, numbers = ("sum", [low.number(call.arguments["scale"])]) if x.dtype.kind == "f" else ("count", [])
    elif call.kernel == "logsumexp" and after != 1:
        raise Unsupported("logsumexp over axes that are not the last")
    dtype = x.dtype if name == "count" else floating(call, x)
    low.entry(call, name or call.kernel, dtype, [x, y], integers, numbers)


@lowers("softmax", "log_softmax", "softmax_backward", "log_softmax_backward")
def lower_softmax(low: Lowering, call: Call) -> None:
    names = ("g", "y") if call.kernel.endswith("backward") else ("x",)
    views = [low.plain(call, name) for name in names]
    shape = views[0].shape
    if call.arguments["axis"] != len(shape) - 1:
        raise Unsupported(f"{call.kernel} along an axis that is not the last")
    integers = [*extent_of(views[0], slice(0, -1), call), shape[-1]]
    low.entry(call, call.kernel, floating(call, *views), [*views, low.made(call)], integers)
