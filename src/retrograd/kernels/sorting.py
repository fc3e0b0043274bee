"""Order along an axis."""

from __future__ import annotations

import numpy as np

from .spec import Array, Spec, kernel


@kernel(lambda x, axis, descending=False: Spec(x.shape, np.dtype(np.int64)), arithmetic=False)
def argsort(x: Array, axis: int, descending: bool = False) -> Array:
    """The indices along an axis that put x in ascending (or descending) order, as int64; equal elements stay in
    order, NaN counts as the largest."""
    if not descending:
        return np.argsort(x, axis=axis, kind="stable")
    # the order of the reversed axis, read backwards, keeps equal elements in order
    back = np.argsort(np.flip(x, axis), axis=axis, kind="stable")
    return np.ascontiguousarray(x.shape[axis] - 1 - np.flip(back, axis))
