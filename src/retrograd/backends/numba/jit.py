"""How the cores are compiled, and which arrays they take.

A core is a function from arrays to arrays that writes into arrays it is given and knows no Python object, so
that one core can call another. Cores take C-contiguous, writeable arrays of one dtype, float32 or float64.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit

from ...kernels.spec import Array

FLOATS = frozenset({np.dtype(np.float32), np.dtype(np.float64)})
"""The dtypes that cores take; others run the references."""

_SOURCES = zlib.crc32(b"".join(file.read_bytes() for file in sorted(Path(__file__).parent.glob("*.py"))))

# Sums may be reordered and products contracted, so that loops vectorize; NaN and infinity keep their meaning.
_compile = njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc", "nsz"})


def core(function: Callable[..., Any]) -> Any:
    """Compile a core: once per dtype, when first called, and kept on disk for the processes that follow."""
    compiled = _compile(function)
    # Numba would keep it until its own file changes; it is made of other files' functions too
    compiled._cache._cache_file._source_stamp = _SOURCES
    return compiled


inlined = njit(forceinline=True, nogil=True, error_model="numpy", fastmath={"contract"})
"""Compile a function into the cores that call it; its sums are taken in the order in which they are written."""


def plain(x: Array) -> Array:
    """x itself where a core can take it, else a copy that it can."""
    return x if x.flags.carray else np.array(x, order="C")


def flat(x: Array) -> Array:
    """x's elements in C order, as one axis: a view where a core can take it, else a copy."""
    return plain(x).ravel()


def rows(x: Array) -> Array:
    """x as rows of its last axis, which has elements: a view where a core can take it, else a copy."""
    x = plain(x)
    return x if x.ndim == 2 else x.reshape(-1, x.shape[-1])
