"""How products of float32 matrices treat their factors: a setting of the process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .spec import Array, revise

PRECISIONS = ("float32", "bf16")

_precision = "float32"
_followers: list[Callable[[bool], Any]] = []


def set_matmul_precision(precision: str) -> None:
    """Set how products of float32 matrices treat their factors, in the whole process; double ones never change.

    Args:
        precision: "float32", as at the start: factors are what they are. "bf16": factors are rounded to bfloat16, 8
            significant bits, to nearest, ties to even (subnormal numbers may become 0), and their products added up
            in float32. Parameters, gradients and all else stay float32. Processors with a unit for bfloat16 products
            then train large networks in a fraction of the time; others take as long as before.

    Raises:
        ValueError: precision is neither.

    Example:
        >>> import numpy as np, retrograd as rg
        >>> rg.set_matmul_precision("bf16")
        >>> rg.kernels.matmul(np.full((1, 1), 1.001, np.float32), np.ones((1, 1), np.float32))
        array([[1.]], dtype=float32)
        >>> rg.set_matmul_precision("float32")
    """
    global _precision
    if precision not in PRECISIONS:
        raise ValueError(f"set_matmul_precision: {precision!r} is not one of {', '.join(map(repr, PRECISIONS))}")
    if precision != _precision:
        _precision = precision
        revise()
        for changed in _followers:
            changed(precision == "bf16")


def get_matmul_precision() -> str:
    """How products of float32 matrices treat their factors: "float32" or "bf16".

    Example:
        >>> import retrograd as rg
        >>> rg.get_matmul_precision()
        'float32'
    """
    return _precision


def follow(changed: Callable[[bool], Any]) -> None:
    """Call changed(whether factors are rounded) now, and at each change."""
    _followers.append(changed)
    changed(_precision == "bf16")


def rounds(dtype: np.dtype) -> bool:
    """Whether products of this dtype round their factors."""
    return _precision == "bf16" and dtype == np.float32


def factors(*matrices: Array) -> tuple[Array, ...]:
    """The matrices as products take them."""
    return tuple(round_to_bf16(m) if rounds(m.dtype) else m for m in matrices)


def round_to_bf16(x: Array) -> Array:
    """The float32 numbers nearest to x whose lower 16 bits are 0; of two, the one whose last bit left is 0."""
    bits = np.ascontiguousarray(x).view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + (bits >> 16 & 1)) & np.uint32(0xFFFF0000)
    return np.where(np.isnan(x), x, rounded.view(np.float32))
