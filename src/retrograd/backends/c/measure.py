"""What training is measured by, in C."""

from __future__ import annotations

import numpy as np

from ...kernels import measure as reference
from ...kernels.measure import BLOCK, blocks
from ...kernels.spec import Array
from .native import NULL, by_dtype, contiguous, lib, pointer

_GRADIENT = by_dtype("gradient_sums")
_UPDATE = by_dtype("update_sums")
_UNIT = by_dtype("unit_sums")
TERM_CODES = {term: getattr(lib, f"RG_TERM_{term.upper()}") for term in reference.TERMS}


def gradient_sums(p: Array, g: Array, before: Array | None = None, block: int = BLOCK) -> tuple[Array, Array]:
    run = _GRADIENT.get(p.dtype)
    if run is None:
        return reference.gradient_sums.reference(p, g, before, block)
    sums, kept = np.empty((blocks(p.size, block), 5), p.dtype), np.empty(p.shape, p.dtype)
    earlier = NULL if before is None else contiguous(before)
    run(pointer(sums), pointer(kept), contiguous(p), contiguous(g), earlier, p.size, block)
    return sums, kept


def update_sums(p: Array, kept: Array, block: int = BLOCK) -> Array:
    run = _UPDATE.get(p.dtype)
    if run is None:
        return reference.update_sums.reference(p, kept, block)
    sums = np.empty((blocks(p.size, block), 1), p.dtype)
    run(pointer(sums), contiguous(p), contiguous(kept), p.size, block)
    return sums


def unit_sums(x: Array, term: str = "absolute") -> Array:
    run = _UNIT.get(x.dtype)
    if run is None:
        return reference.unit_sums.reference(x, term)
    sums = np.empty(x.shape[1], x.dtype)
    run(pointer(sums), contiguous(x), *x.shape, TERM_CODES[term])
    return sums


KERNELS = {"gradient_sums": gradient_sums, "update_sums": update_sums, "unit_sums": unit_sums}
