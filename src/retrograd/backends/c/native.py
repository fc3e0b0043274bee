"""The C extension, its functions looked up by the NumPy dtype that they work on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ._native import ffi, lib

pointer = ffi.from_buffer
"""The address of a C-contiguous array, as a C argument; ValueError where the array is not C-contiguous."""

SUFFIXES = {np.dtype(np.float32): "f32", np.dtype(np.float64): "f64"}


def by_dtype(name: str) -> dict[np.dtype, Callable[..., Any]]:
    """dtype -> the C kernel `name` for it. A dtype without an entry is for the reference."""
    return {dtype: getattr(lib, f"rg_{name}_{suffix}") for dtype, suffix in SUFFIXES.items()}
