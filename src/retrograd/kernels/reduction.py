"""Reductions over axes, and the softmax family.

`axes` are non-negative and ascending; an empty tuple reduces nothing. A sum over no elements is 0, an extremum
over none an error.
"""

from __future__ import annotations

import math

import numpy as np

from .spec import Array, Spec, kernel, reduced, same_dtype, same_shape

BOOL = np.dtype(bool)
INDEX = np.dtype(np.int64)


def _infer(x: Array, axes: tuple[int, ...], keepdims: bool = False) -> Spec:
    return Spec(reduced(x.shape, axes, keepdims), x.dtype)


def _infer_sum(x: Array, axes: tuple[int, ...], keepdims: bool = False, scale: float = 1.0) -> Spec:
    return Spec(reduced(x.shape, axes, keepdims), x.dtype if x.dtype.kind == "f" else INDEX)


def _infer_extremum(name: str, dtype: np.dtype | None = None):
    def infer(x: Array, axes: tuple[int, ...], keepdims: bool = False) -> Spec:
        if 0 in [x.shape[a] for a in axes]:
            raise ValueError(f"{name}: no elements to reduce over axes {axes} of shape {x.shape}")
        return Spec(reduced(x.shape, axes, keepdims), dtype or x.dtype)

    return infer


def _infer_softmax(name: str):
    def infer(x: Array, axis: int) -> Spec:
        return Spec(x.shape, same_dtype(name, x))

    return infer


def _infer_softmax_backward(name: str):
    def infer(g: Array, y: Array, axis: int) -> Spec:
        return Spec(same_shape(name, g=g, y=y), same_dtype(name, g, y))

    return infer


@kernel(_infer_sum)
def sum(x: Array, axes: tuple[int, ...], keepdims: bool = False, scale: float = 1.0) -> Array:
    """The sum over axes, times `scale` (1/n makes it a mean). Integers and booleans sum as int64, unscaled."""
    if x.dtype.kind != "f":
        return np.asarray(np.sum(x, axis=axes, keepdims=keepdims, dtype=INDEX))
    y = np.asarray(np.sum(x, axis=axes, keepdims=keepdims))
    return y if scale == 1.0 else np.asarray(y * x.dtype.type(scale))


@kernel(_infer_extremum("amax"))
def amax(x: Array, axes: tuple[int, ...], keepdims: bool = False) -> Array:
    """The largest element over axes; NaN where there is one."""
    return np.asarray(np.max(x, axis=axes, keepdims=keepdims))


@kernel(_infer_extremum("amin"))
def amin(x: Array, axes: tuple[int, ...], keepdims: bool = False) -> Array:
    """The smallest element over axes; NaN where there is one."""
    return np.asarray(np.min(x, axis=axes, keepdims=keepdims))


def _arg(find, x: Array, axes: tuple[int, ...], keepdims: bool) -> Array:
    kept = [a for a in range(x.ndim) if a not in axes]
    moved = x.transpose(*kept, *axes).reshape([x.shape[a] for a in kept] + [-1])
    return np.asarray(find(moved, axis=-1)).reshape(reduced(x.shape, axes, keepdims))


@kernel(_infer_extremum("argmax", INDEX))
def argmax(x: Array, axes: tuple[int, ...], keepdims: bool = False) -> Array:
    """The first index, in C order over axes, of the largest element; int64."""
    return _arg(np.argmax, x, axes, keepdims)


@kernel(_infer_extremum("argmin", INDEX))
def argmin(x: Array, axes: tuple[int, ...], keepdims: bool = False) -> Array:
    """The first index, in C order over axes, of the smallest element; int64."""
    return _arg(np.argmin, x, axes, keepdims)


def _finite_max(x: Array, axes: tuple[int, ...]) -> Array:
    # what exp is shifted by: an infinite maximum would make inf - inf
    top = np.max(x, axis=axes, keepdims=True, initial=-math.inf)
    return np.where(np.isinf(top), x.dtype.type(0), top)


@kernel(_infer)
def logsumexp(x: Array, axes: tuple[int, ...], keepdims: bool = False) -> Array:
    """log(sum(exp(x))) over axes, without overflow; -inf over no elements (Blanchard et al. 2021, eq. 1.3)."""
    top = _finite_max(x, axes)
    y = np.log(np.sum(np.exp(x - top), axis=axes, keepdims=True)) + top
    return y.reshape(reduced(x.shape, axes, keepdims))


@kernel(_infer_softmax("softmax"))
def softmax(x: Array, axis: int) -> Array:
    """exp(x) / sum(exp(x)) along one axis, without overflow."""
    if x.size == 0:
        return x.copy()
    e = np.exp(x - np.max(x, axis=axis, keepdims=True))
    return e / np.sum(e, axis=axis, keepdims=True)


@kernel(_infer_softmax_backward("softmax_backward"))
def softmax_backward(g: Array, y: Array, axis: int) -> Array:
    """The cotangent of softmax's input: y * (g - sum(g * y)), y being its output."""
    return y * (g - np.sum(g * y, axis=axis, keepdims=True))


@kernel(_infer_softmax("log_softmax"))
def log_softmax(x: Array, axis: int) -> Array:
    """x - logsumexp(x) along one axis, without overflow."""
    if x.size == 0:
        return x.copy()
    z = x - np.max(x, axis=axis, keepdims=True)
    return z - np.log(np.sum(np.exp(z), axis=axis, keepdims=True))


@kernel(_infer_softmax_backward("log_softmax_backward"))
def log_softmax_backward(g: Array, y: Array, axis: int) -> Array:
    """The cotangent of log_softmax's input: g - exp(y) * sum(g), y being its output."""
    return g - np.exp(y) * np.sum(g, axis=axis, keepdims=True)


@kernel(lambda x, axes, keepdims=False: Spec(reduced(x.shape, axes, keepdims), BOOL))
def all(x: Array, axes: tuple[int, ...], keepdims: bool = False) -> Array:
    """Whether every element over axes is true."""
    return np.asarray(np.all(x, axis=axes, keepdims=keepdims))


@kernel(lambda x, axes, keepdims=False: Spec(reduced(x.shape, axes, keepdims), BOOL))
def any(x: Array, axes: tuple[int, ...], keepdims: bool = False) -> Array:
    """Whether some element over axes is true."""
    return np.asarray(np.any(x, axis=axes, keepdims=keepdims))
