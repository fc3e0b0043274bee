"""What training is measured by, in one pass over each array: sums over a parameter, its gradient and its update, and
over the rows of a layer's results and signals.

Sums over parameters are taken over blocks of `block` elements, in C order, the last block having what is left: so
threads can share them out and give the same bits however many there are, and whoever adds the blocks up chooses the
precision.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .spec import Array, Spec, kernel, same_dtype, same_shape

BLOCK = 1024

TERMS: dict[str, Callable[[Array], Array]] = {
    "absolute": np.abs,
    "relu": np.sign,
    "tanh": lambda y: 1 - y * y,
    "sigmoid": lambda y: (y - y * y) * 4,
}
"""What unit_sums adds up: the absolute value; or, of an activation's result, its derivative there, as a share of the
greatest that it can be."""


def blocks(size: int, block: int) -> int:
    """How many blocks so many elements make."""
    return -(-size // block)


def _infer_gradient(p: Array, g: Array, before: Array | None = None, block: int = BLOCK) -> tuple[Spec, Spec]:
    dtype = same_dtype("gradient_sums", p, g, before)
    shape = same_shape("gradient_sums", p=p, g=g, before=before)
    return Spec((blocks(int(np.prod(shape)), block), 5), dtype), Spec(shape, dtype)


def _infer_update(p: Array, kept: Array, block: int = BLOCK) -> Spec:
    dtype, shape = same_dtype("update_sums", p, kept), same_shape("update_sums", p=p, kept=kept)
    return Spec((blocks(int(np.prod(shape)), block), 1), dtype)


def _block_sums(terms: list[Array], block: int) -> Array:
    size = terms[0].size
    padded = np.zeros((len(terms), blocks(size, block) * block), terms[0].dtype)
    for row, term in zip(padded, terms, strict=True):
        row[:size] = term.reshape(-1)
    return np.ascontiguousarray(padded.reshape(len(terms), -1, block).sum(2).T)


@kernel(_infer_gradient)
def gradient_sums(p: Array, g: Array, before: Array | None = None, block: int = BLOCK) -> tuple[Array, Array]:
    """The sums of p², g², |p g|, before² and g before of each block, (blocks, 5), and a copy of p.

    p is a parameter, g its gradient and `before` that of an earlier step; without it the last two sums are 0.
    """
    with_before = [np.zeros_like(g)] * 2 if before is None else [before * before, g * before]
    return _block_sums([p * p, g * g, np.abs(p * g), *with_before], block), p.copy()


@kernel(_infer_update)
def update_sums(p: Array, kept: Array, block: int = BLOCK) -> Array:
    """The sum of (p - kept)² of each block, (blocks, 1)."""
    return _block_sums([(p - kept) ** 2], block)


def _infer_units(x: Array, term: str = "absolute") -> Spec:
    if len(x.shape) != 2 or x.dtype.kind != "f" or term not in TERMS:
        raise ValueError(
            f"unit_sums: got {x.dtype} of shape {x.shape} and term {term!r}, "
            f"expected floating numbers (rows, units) and one of {', '.join(TERMS)}"
        )
    return Spec((x.shape[1],), x.dtype)


@kernel(_infer_units)
def unit_sums(x: Array, term: str = "absolute") -> Array:
    """The sum over the rows of a term of each element: x (rows, units), (units,). The term is one of TERMS."""
    return TERMS[term](x).sum(0)
