"""Matrix products in C."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ...kernels import product as reference
from ...kernels.memory import empty_matrix
from ...kernels.product import with_small
from ...kernels.spec import Array
from .activation import ACTIVATIONS
from .native import NULL, by_dtype, contiguous, matrix, out_of_memory, pointer, strided

_MATMUL = by_dtype("matmul")
_FORWARD = by_dtype("linear_forward")
_BACKWARD = by_dtype("linear_backward")
_JVP = by_dtype("linear_jvp")
_empty = np.empty


def matmul(a: Array, b: Array) -> Array:
    dtype = a.dtype
    run = _MATMUL.get(dtype)
    if run is None or b.dtype != dtype:
        return reference.matmul.reference(a, b)
    if a.ndim > 2 or b.ndim > 2:
        return _batched(run, a, b)
    m, k = a.shape
    n = b.shape[1]
    c = empty_matrix(m, n, dtype)
    if a.flags.c_contiguous and b.flags.c_contiguous:
        operands = pointer(a), 0, k, 1, pointer(b), 0, n, 1
    else:
        operands = _one_matrix(a) + _one_matrix(b)
    if run(pointer(c), *operands, 1, m, n, k):
        raise out_of_memory("matmul")
    return c


def _one_matrix(x: Array) -> tuple[Any, ...]:
    address, row, column = matrix(x)
    return address, 0, row, column


def _batched(run: Callable[..., int], a: Array, b: Array) -> Array:
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    c = _empty((*batch, a.shape[-2], b.shape[-1]), a.dtype)
    if c.size == 0:
        return c
    a, b = _one_batch_axis(a, batch), _one_batch_axis(b, batch)
    a_address, *a_strides = strided(a)
    b_address, *b_strides = strided(b)
    if run(pointer(c), a_address, *a_strides, b_address, *b_strides, len(a), a.shape[1], b.shape[2], a.shape[2]):
        raise out_of_memory("matmul")
    return c


def _one_batch_axis(x: Array, batch: tuple[int, ...]) -> Array:
    """x broadcast over the batch axes, made one; a view where strides can say that."""
    return np.broadcast_to(x, (*batch, *x.shape[-2:])).reshape(math.prod(batch), *x.shape[-2:])


def linear_forward(
    x: Array,
    w: Array,
    b: Array | None = None,
    activation: str = "identity",
    alpha: float = 0.0,
    need_z: bool = False,
) -> Array | tuple[Array, Array]:
    dtype = x.dtype
    run = _FORWARD.get(dtype)
    if run is None:
        return reference.linear_forward.reference(x, w, b, activation, alpha, need_z)
    rows, columns = x.shape
    out = len(w)
    y = empty_matrix(rows, out, dtype)
    z = empty_matrix(rows, out, dtype) if need_z else None
    try:
        operands = pointer(x), columns, 1, pointer(w), columns, 1, NULL if b is None else pointer(b)
    except ValueError:
        operands = *matrix(x), *matrix(w), NULL if b is None else contiguous(b)
    z_at = NULL if z is None else pointer(z)
    if run(pointer(y), z_at, *operands, rows, columns, out, ACTIVATIONS[activation], alpha):
        raise out_of_memory("linear_forward")
    return y if z is None else (y, z)


def linear_backward(
    g: Array,
    x: Array,
    w: Array,
    saved: Array | None = None,
    activation: str = "identity",
    alpha: float = 0.0,
    need_x: bool = True,
    need_w: bool = True,
    need_b: bool = True,
    x_activation: str = "identity",
    x_alpha: float = 0.0,
) -> tuple[Array | None, Array | None, Array | None]:
    dtype = g.dtype
    run = _BACKWARD.get(dtype)
    if run is None:
        return reference.linear_backward.reference(
            g, x, w, saved, activation, alpha, need_x, need_w, need_b, x_activation, x_alpha
        )
    if x_activation != "identity":
        x = np.ascontiguousarray(x)
    rows, columns = x.shape
    out = len(w)
    dx = empty_matrix(rows, columns, dtype) if need_x else None
    dw = empty_matrix(out, columns, dtype) if need_w else None
    db = _empty(out, dtype) if need_b else None
    if activation == "identity":
        saved = None
    try:
        operands = pointer(g), NULL if saved is None else pointer(saved), pointer(x), columns, 1, pointer(w), columns, 1
    except ValueError:
        operands = contiguous(g), NULL if saved is None else contiguous(saved), *matrix(x), *matrix(w)
    if run(
        NULL if dx is None else pointer(dx),
        NULL if dw is None else pointer(dw),
        NULL if db is None else pointer(db),
        *operands,
        rows,
        columns,
        out,
        ACTIVATIONS[activation],
        alpha,
        ACTIVATIONS[x_activation],
        x_alpha,
    ):
        raise out_of_memory("linear_backward")
    return dx, dw, db


_NO_MATRIX = NULL, 0, 0


def linear_tangent(
    x: Array,
    w: Array,
    saved: Array | None = None,
    tx: Array | None = None,
    tw: Array | None = None,
    tb: Array | None = None,
    activation: str = "identity",
    alpha: float = 0.0,
) -> Array:
    dtype = x.dtype
    run = _JVP.get(dtype)
    if run is None:
        return reference.linear_tangent.reference(x, w, saved, tx, tw, tb, activation, alpha)
    t = _empty((len(x), len(w)), dtype)
    operands = _layer(x, w, None, None if activation == "identity" else saved, tx, tw, tb)
    if run(NULL, pointer(t), *operands, ACTIVATIONS[activation], alpha):
        raise out_of_memory("linear_tangent")
    return t


def linear_jvp(
    x: Array,
    w: Array,
    b: Array | None = None,
    tx: Array | None = None,
    tw: Array | None = None,
    tb: Array | None = None,
    activation: str = "identity",
    alpha: float = 0.0,
) -> tuple[Array, Array]:
    dtype = x.dtype
    run = _JVP.get(dtype)
    if run is None:
        return reference.linear_jvp.reference(x, w, b, tx, tw, tb, activation, alpha)
    shape = len(x), len(w)
    y, t = _empty(shape, dtype), _empty(shape, dtype)
    if run(pointer(y), pointer(t), *_layer(x, w, b, None, tx, tw, tb), ACTIVATIONS[activation], alpha):
        raise out_of_memory("linear_jvp")
    return y, t


def _layer(
    x: Array, w: Array, b: Array | None, saved: Array | None, tx: Array | None, tw: Array | None, tb: Array | None
) -> tuple[Any, ...]:
    """A dense layer's operands, their tangents and its sizes, as C arguments."""
    rows, n = x.shape
    out = len(w)
    try:
        bias = NULL if b is None else pointer(b)
        slope = NULL if saved is None else pointer(saved)
        by_x = NULL if tx is None else pointer(tx)
        by_w = NULL if tw is None else pointer(tw)
        moved = NULL if tb is None else pointer(tb)
        return pointer(x), n, 1, pointer(w), n, 1, bias, slope, by_x, n, 1, by_w, n, 1, moved, rows, n, out
    except ValueError:
        bias, slope, moved = (NULL if a is None else contiguous(a) for a in (b, saved, tb))
        by_x, by_w = (_NO_MATRIX if m is None else matrix(m) for m in (tx, tw))
        return *matrix(x), *matrix(w), bias, slope, *by_x, *by_w, moved, rows, n, out


KERNELS: dict[str, Any] = {
    "matmul": with_small(matmul),
    "linear_forward": linear_forward,
    "linear_backward": linear_backward,
    "linear_tangent": linear_tangent,
    "linear_jvp": linear_jvp,
}
