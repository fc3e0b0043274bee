"""The C extension: its functions by the NumPy dtype that they work on, and arrays as their arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...kernels.spec import Array
from ._native import ffi, lib

NULL = ffi.NULL

SUFFIXES: dict[np.dtype, str] = {np.dtype(np.float32): "f32", np.dtype(np.float64): "f64"}

pointer = ffi.from_buffer
"""The address of a C-contiguous array, as a C argument; ValueError where the array is not C-contiguous."""


def by_dtype(name: str) -> dict[np.dtype, Callable[..., Any]]:
    """dtype -> the C kernel `name` for it. A dtype without an entry is for the reference."""
    return {dtype: getattr(lib, f"rg_{name}_{suffix}") for dtype, suffix in SUFFIXES.items()}


def contiguous(x: Array) -> Any:
    """The address of x's elements in C order: x's own, or a copy's, which lives as long as the address."""
    try:
        return pointer(x)
    except ValueError:
        return pointer(np.ascontiguousarray(x))


def matrix(x: Array) -> tuple[Any, int, int]:
    """A matrix as C arguments: its address, and its strides in elements."""
    flags = x.flags
    if flags.c_contiguous:
        return pointer(x), x.shape[1], 1
    if flags.f_contiguous:
        return pointer(x.T), 1, x.shape[0]
    return strided(x)  # type: ignore[return-value]


def strided(x: Array) -> tuple[Any, ...]:
    """An array as C arguments: its address, which does not keep it alive, and its strides in elements."""
    size = x.itemsize
    if not x.flags.aligned or any(step % size for step in x.strides):  # a field of a record
        x = x.copy()
    strides = (step // size for step in x.strides)
    if x.flags.c_contiguous:
        return pointer(x), *strides
    return ffi.cast("void *", x.__array_interface__["data"][0]), *strides


def out_of_memory(name: str) -> MemoryError:
    return MemoryError(f"{name}: no working memory for the C kernel")
