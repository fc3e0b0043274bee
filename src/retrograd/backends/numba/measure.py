"""What training is measured by: sums over a parameter, its gradient and its update."""

from __future__ import annotations

import numpy as np

from ...kernels import measure as reference
from ...kernels.measure import BLOCK, blocks
from ...kernels.spec import Array
from .jit import FLOATS, core, flat, inlined, plus, rows

__all__ = ["gradient_sums", "unit_sums", "update_sums"]

TERM_CODES = {term: code for code, term in enumerate(reference.TERMS)}


def gradient_sums(p: Array, g: Array, before: Array | None = None, block: int = BLOCK) -> tuple[Array, Array]:
    if p.dtype not in FLOATS:
        return reference.gradient_sums.reference(p, g, before, block)
    sums, kept = np.empty((blocks(p.size, block), 5), p.dtype), np.empty(p.shape, p.dtype)
    gradient(flat(p), flat(g), None if before is None else flat(before), block, sums, kept.ravel())
    return sums, kept


def update_sums(p: Array, kept: Array, block: int = BLOCK) -> Array:
    if p.dtype not in FLOATS:
        return reference.update_sums.reference(p, kept, block)
    sums = np.empty((blocks(p.size, block), 1), p.dtype)
    update(flat(p), flat(kept), block, sums)
    return sums


def unit_sums(x: Array, term: str = "absolute") -> Array:
    if x.dtype not in FLOATS:
        return reference.unit_sums.reference(x, term)
    sums = np.empty(x.shape[1], x.dtype)
    units(rows(x), TERM_CODES[term], sums)
    return sums


@core
def gradient(p, g, before, block, sums, kept):
    """The sums of each block, (blocks, 5), and kept = p; before may be None."""
    zero = p.dtype.type(0)
    for b in range(len(sums)):
        # slices, so that their loops count from 0: an index that might be negative keeps a loop from being vectorized
        part = slice(b * block, (b + 1) * block)
        own, its, copy = p[part], g[part], kept[part]
        weight, gradient, product, earlier, both = zero, zero, zero, zero, zero
        for i in range(own.size):
            copy[i] = own[i]
            weight = plus(weight, own[i] * own[i])
            gradient = plus(gradient, its[i] * its[i])
            product = plus(product, abs(own[i] * its[i]))
        if before is not None:
            then = before[part]
            for i in range(then.size):
                earlier = plus(earlier, then[i] * then[i])
                both = plus(both, its[i] * then[i])
        sums[b, 0], sums[b, 1], sums[b, 2], sums[b, 3], sums[b, 4] = weight, gradient, product, earlier, both


@core
def update(p, kept, block, sums):
    """The sum of each block, (blocks, 1)."""
    for b in range(len(sums)):
        total = p.dtype.type(0)
        now, then = p[b * block : (b + 1) * block], kept[b * block : (b + 1) * block]
        for i in range(now.size):
            total = plus(total, (now[i] - then[i]) * (now[i] - then[i]))
        sums[b, 0] = total


@inlined
def term_of(x, code, one, four):
    """A number's term of reference.TERMS, by its place among them; one and four in its type."""
    if code == 0:
        return abs(x)
    if code == 1:
        return one if x > 0 else -one if x < 0 else x
    return one - x * x if code == 2 else (x - x * x) * four


@core
def units(x, code, sums):
    """The sums over the rows of x (rows, units)."""
    one, four = x.dtype.type(1), x.dtype.type(4)
    for k in range(sums.size):
        sums[k] = 0
    for i in range(len(x)):
        for k in range(sums.size):
            sums[k] += term_of(x[i, k], code, one, four)
