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


def _infer_along(name: str, x: Array, indices: Array, axis: int) -> tuple[int, ...]:
    if x.ndim != indices.ndim or any(
        n != m for i, (n, m) in enumerate(zip(x.shape, indices.shape, strict=True)) if i != axis
    ):
        raise ValueError(f"{name}: shapes {x.shape} and {indices.shape} must be equal but for axis {axis}")
    return indices.shape


def _places(indices: Array, axis: int) -> tuple[Array, ...]:
    """The key that indexes by `indices` along an axis, and by the place itself along the others."""
    grid = np.ogrid[tuple(slice(n) for n in indices.shape)]
    return tuple(indices if i == axis else places for i, places in enumerate(grid))


@kernel(
    lambda x, indices, axis: Spec(_infer_along("take_along_axis", x, indices, axis), x.dtype),
    arithmetic=False,
)
def take_along_axis(x: Array, indices: Array, axis: int) -> Array:
    """x at `indices` along an axis, at each place of the others; int64 in [-n, n), shapes equal but for the axis."""
    return x[_places(indices, axis)]


def _infer_add_along(g: Array, indices: Array, axis: int, size: int) -> Spec:
    shape = _infer_along("add_along_axis", g, indices, axis)
    if g.shape != shape:
        raise ValueError(f"add_along_axis: g {g.shape} and indices {shape} must have equal shapes")
    return Spec((*shape[:axis], size, *shape[axis + 1 :]), g.dtype)


@kernel(_infer_add_along)
def add_along_axis(g: Array, indices: Array, axis: int, size: int) -> Array:
    """Zeros, `size` of them along the axis, with g added at `indices`: the transpose of take_along_axis."""
    y = np.zeros((*g.shape[:axis], size, *g.shape[axis + 1 :]), g.dtype)
    np.add.at(y, _places(indices, axis), g)
    return y


def _infer_put_along(y: Array, values: Array, indices: Array, axis: int) -> None:
    shape = _infer_along("put_along_axis", y, indices, axis)
    if values.shape != shape:
        raise ValueError(f"put_along_axis: values {values.shape} and indices {shape} must have equal shapes")


@kernel(_infer_put_along, mutates=("y",), arithmetic=False)
def put_along_axis(y: Array, values: Array, indices: Array, axis: int) -> None:
    """values in place of y's elements at `indices` along an axis, at each place of the others; int64 in [-n, n). Where
    an index repeats, the last value in C order stays."""
    y[_places(indices, axis)] = values


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
