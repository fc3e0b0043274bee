"""Views: other shapes and strides over the same memory. No backend replaces these: no arithmetic is done."""

from __future__ import annotations

from typing import Any

import numpy as np

from .index import _infer_index
from .spec import Array, Spec, kernel


@kernel(lambda x, shape: Spec(tuple(shape), x.dtype), arithmetic=False)
def reshape(x: Array, shape: tuple[int, ...]) -> Array:
    """x's elements in C order under another shape (no -1); a copy only where strides cannot express it."""
    return x.reshape(shape)


@kernel(lambda x, axes: Spec(tuple(x.shape[a] for a in axes), x.dtype), arithmetic=False)
def transpose(x: Array, axes: tuple[int, ...]) -> Array:
    """x with its axes permuted; axes in [0, ndim)."""
    return x.transpose(axes)


@kernel(lambda x, shape: Spec(tuple(shape), x.dtype), arithmetic=False)
def broadcast_to(x: Array, shape: tuple[int, ...]) -> Array:
    """x repeated to shape by zero strides; read-only."""
    return np.broadcast_to(x, shape)


@kernel(_infer_index, arithmetic=False)
def slice_view(x: Array, key: Any) -> Array:
    """x[key] for integers, slices, None and Ellipsis: a view."""
    key = key if isinstance(key, tuple) else (key,)
    return x[key if Ellipsis in key else (*key, ...)]  # with an Ellipsis, one element is a view too, not a scalar
