"""Matrix products in C."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ...kernels import product as reference
from ...kernels.spec import Array
from .native import NULL, by_dtype, contiguous, lib, matrix, out_of_memory, pointer, strided

_MATMUL = by_dtype("matmul")
_FORWARD = by_dtype("linear_forward")
_BACKWARD = by_dtype("linear_backward")
_ACTIVATIONS = {name: getattr(lib, f"RG_{name.upper()}") for name in ("identity", "relu", "tanh", "sigmoid")}
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
    c = _empty((m, n), dtype)
    a_address, a_row, a_column = matrix(a)
    b_address, b_row, b_column = matrix(b)
    if run(pointer(c), a_address, 0, a_row, a_column, b_address, 0, b_row, b_column, 1, m, n, k):
        raise out_of_memory("matmul")
    return c


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


def linear_forward(x: Array, w: Array, b: Array | None = None, activation: str = "identity") -> Array:
    dtype = x.dtype
    run = _FORWARD.get(dtype)
    if run is None:
        return reference.linear_forward.reference(x, w, b, activation)
    rows, columns = x.shape
    out = w.shape[0]
    y = _empty((rows, out), dtype)
    x_address, x_row, x_column = matrix(x)
    w_address, w_row, w_column = matrix(w)
    bias = NULL if b is None else contiguous(b)
    if run(
        pointer(y), x_address, x_row, x_column, w_address, w_row, w_column, bias, rows, columns, out,
        _ACTIVATIONS[activation],
    ):  # fmt: skip
        raise out_of_memory("linear_forward")
    return y


def linear_backward(
    g: Array,
    x: Array,
    w: Array,
    y: Array | None = None,
    activation: str = "identity",
    need_x: bool = True,
    need_w: bool = True,
    need_b: bool = True,
) -> tuple[Array | None, Array | None, Array | None]:
    dtype = g.dtype
    run = _BACKWARD.get(dtype)
    if run is None:
        return reference.linear_backward.reference(g, x, w, y, activation, need_x, need_w, need_b)
    rows, columns = x.shape
    out = w.shape[0]
    dx = _empty((rows, columns), dtype) if need_x else None
    dw = _empty((out, columns), dtype) if need_w else None
    db = _empty(out, dtype) if need_b else None
    x_address, x_row, x_column = matrix(x)
    w_address, w_row, w_column = matrix(w)
    if run(
        pointer(dx) if need_x else NULL, pointer(dw) if need_w else NULL, pointer(db) if need_b else NULL,
        contiguous(g), NULL if activation == "identity" else contiguous(y), x_address, x_row, x_column,
        w_address, w_row, w_column, rows, columns, out, _ACTIVATIONS[activation],
    ):  # fmt: skip
        raise out_of_memory("linear_backward")
    return dx, dw, db


KERNELS: dict[str, Any] = {
    "matmul": matmul,
    "linear_forward": linear_forward,
    "linear_backward": linear_backward,
}
