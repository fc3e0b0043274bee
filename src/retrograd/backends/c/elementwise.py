"""Elementwise kernels in C."""

from __future__ import annotations

from ...kernels import elementwise as reference
from ...kernels.spec import Array
from .native import by_dtype, pointer

_ACCUMULATE = by_dtype("accumulate")


def accumulate(a: Array, b: Array) -> None:
    run = _ACCUMULATE.get(a.dtype)
    if run is None or b.dtype != a.dtype or not (a.flags.c_contiguous and b.flags.c_contiguous):
        return reference.accumulate.reference(a, b)
    run(pointer(a), pointer(b), a.size)
    return None


KERNELS = {"accumulate": accumulate}
