"""Gathering and scattering by index, and joining."""

from __future__ import annotations

from typing import Any

import numpy as np

from .spec import Array, Spec, kernel


def _infer_index(x: Array, key: Any) -> Spec:
    # a view of one element stands for x: its shape under the key costs no memory
    return Spec(np.broadcast_to(np.empty((), bool), x.shape)[key].shape, x.dtype)


@kernel(_infer_index, arithmetic=False)
def index(x: Array, key: Any) -> Array:
    """x[key] by NumPy's rules for integer arrays, boolean arrays, slices, None and Ellipsis; always a copy."""
    return np.array(x[key], order="C")


@kernel(lambda g, key, shape: Spec(tuple(shape), g.dtype))
def index_add(g: Array, key: Any, shape: tuple[int, ...]) -> Array:
    """Zeros of `shape` with g added at `key`, repeated indices adding up: the transpose of `index`."""
    y = np.zeros(shape, g.dtype)
    if y[key].base is y:  # a view has no repeated element
        y[key] = g
    else:
        np.add.at(y, key, g)
    return y


@kernel(lambda x, rows: Spec((*rows.shape, *x.shape[1:]), x.dtype), arithmetic=False)
def gather_rows(x: Array, rows: Array) -> Array:
    """x[rows] along the first axis; rows are int64 in [0, len(x))."""
    return np.take(x, rows, axis=0)


def _infer_concatenate(arrays: tuple[Array, ...], axis: int) -> Spec:
    shapes = [tuple(a.shape) for a in arrays]
    if not arrays or any(s[:axis] + s[axis + 1 :] != shapes[0][:axis] + shapes[0][axis + 1 :] for s in shapes):
        raise ValueError(f"concatenate: shapes {shapes} must be equal but for axis {axis}")
    joined = (*shapes[0][:axis], sum(s[axis] for s in shapes), *shapes[0][axis + 1 :])
    return Spec(joined, np.result_type(*(a.dtype for a in arrays)))


@kernel(_infer_concatenate, arithmetic=False)
def concatenate(arrays: tuple[Array, ...], axis: int) -> Array:
    """The arrays joined along an axis in [0, ndim)."""
    return np.concatenate(arrays, axis=axis)


@kernel(lambda a, values, key=...: None, mutates=("a",))
def assign(a: Array, values: Array, key: Any = ...) -> None:
    """a[key] = values, in place; values broadcast and are converted."""
    a[key] = values
