"""Scans: what has been added up so far along an axis."""

from __future__ import annotations

import numpy as np

from .spec import Array, Spec, kernel

INDEX = np.dtype(np.int64)


def _infer(x: Array, axis: int, reverse: bool = False) -> Spec:
    return Spec(x.shape, x.dtype if x.dtype.kind == "f" else INDEX)


@kernel(_infer)
def cumsum(x: Array, axis: int, reverse: bool = False) -> Array:
    """The sums along an axis up to and with each element; with `reverse`, from each element to the end: the transpose.
    Integers and booleans sum as int64."""
    dtype = x.dtype if x.dtype.kind == "f" else INDEX
    if reverse:
        return np.ascontiguousarray(np.flip(np.cumsum(np.flip(x, axis), axis=axis, dtype=dtype), axis))
    return np.cumsum(x, axis=axis, dtype=dtype)
