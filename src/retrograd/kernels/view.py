"""Views: other shapes and strides over the same memory. No backend replaces these: no arithmetic is done."""

from __future__ import annotations

from typing import Any

import numpy as np

from .index import _infer_index
from .spec import Array, Spec, kernel


@kernel(lambda x, shape: Spec(tuple(shape), x.dtype))
def reshape(x: Array, shape: tuple[int, ...]) -> Array:
    """x's elements in C order under another shape (no -1); a copy only where strides cannot express it."""
    return x.reshape(shape)


@kernel(lambda x, axes: Spec(tuple(x.shape[a] for a in axes), x.dtype))
def transpose(x: Array, axes: tuple[int, ...]) -> Array:
    """x with its axes permuted; axes in [0, ndim)."""
    return x.transpose(axes)


@kernel(lambda x, shape: Spec(tuple(shape), x.dtype))
def broadcast_to(x: Array, shape: tuple[int, ...]) -> Array:
    """x repeated to shape by zero strides; read-only."""
    return np.broadcast_to(x, shape)


@kernel(_infer_index)
def slice_view(x: Array, key: Any) -> Array:
    """x[key] for integers, slices, None and Ellipsis: a view."""
    return x[key] if not isinstance(key, tuple) or Ellipsis in key else x[(*key, ...)]
