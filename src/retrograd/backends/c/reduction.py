"""Reductions over adjacent axes, and the softmax family, in C."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np

from ...kernels import reduction as reference
from ...kernels.spec import Array, reduced
from .native import by_dtype, contiguous, pointer

_empty = np.empty


@lru_cache(4096)
def _collapse(
    shape: tuple[int, ...], axes: tuple[int, ...], keepdims: bool
) -> tuple[tuple[int, ...], int, int, int] | None:
    """What is left of the shape without the axes, and the sizes before, of and after them; None where others
    stand between them."""
    wide = [a for a in axes if shape[a] != 1]
    first, last = (wide[0], wide[-1]) if wide else (0, -1)
    if any(shape[a] != 1 and a not in wide for a in range(first, last + 1)):
        return None
    before, within, after = (math.prod(s) for s in (shape[:first], shape[first : last + 1], shape[last + 1 :]))
    return reduced(shape, axes, keepdims), before, within, after


def _reduction(name: str) -> Callable[..., Array]:
    runs = by_dtype(name)
    fallback = getattr(reference, name).reference

    def reduce(x: Array, axes: tuple[int, ...], keepdims: bool = False) -> Array:
        run = runs.get(x.dtype)
        sizes = _collapse(x.shape, axes, keepdims)
        if run is None or sizes is None:
            return fallback(x, axes, keepdims)
        shape, outer, n, inner = sizes
        y = _empty(shape, x.dtype)
        run(pointer(y), contiguous(x), outer, n, inner)
        return y

    return reduce


_SUM = by_dtype("sum")


def sum(x: Array, axes: tuple[int, ...], keepdims: bool = False, scale: float = 1.0) -> Array:
    run = _SUM.get(x.dtype)
    sizes = _collapse(x.shape, axes, keepdims)
    if run is None or sizes is None:
        return reference.sum.reference(x, axes, keepdims, scale)
    shape, outer, n, inner = sizes
    y = _empty(shape, x.dtype)
    run(pointer(y), contiguous(x), outer, n, inner, scale)
    return y


@lru_cache(4096)
def _around(shape: tuple[int, ...], axis: int) -> tuple[int, int, int]:
    """The sizes before, of and after an axis."""
    return math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])


def _normalization(name: str) -> Callable[..., Array]:
    runs = by_dtype(name)
    fallback = getattr(reference, name).reference

    def normalize(x: Array, axis: int) -> Array:
        run = runs.get(x.dtype)
        if run is None:
            return fallback(x, axis)
        y = _empty(x.shape, x.dtype)
        run(pointer(y), contiguous(x), *_around(x.shape, axis))
        return y

    return normalize


def _normalization_backward(name: str) -> Callable[..., Array]:
    runs = by_dtype(name)
    fallback = getattr(reference, name).reference

    def backward(g: Array, y: Array, axis: int) -> Array:
        run = runs.get(g.dtype)
        if run is None:
            return fallback(g, y, axis)
        dx = _empty(g.shape, g.dtype)
        run(pointer(dx), contiguous(g), contiguous(y), *_around(g.shape, axis))
        return dx

    return backward


KERNELS = {
    "sum": sum,
    "amax": _reduction("amax"),
    "amin": _reduction("amin"),
    "logsumexp": _reduction("logsumexp"),
    "softmax": _normalization("softmax"),
    "softmax_backward": _normalization_backward("softmax_backward"),
    "log_softmax": _normalization("log_softmax"),
    "log_softmax_backward": _normalization_backward("log_softmax_backward"),
}
