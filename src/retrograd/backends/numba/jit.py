"""How the cores are compiled, and which arrays they take.

A core is a function from arrays to arrays that writes into arrays it is given and knows no Python object, so
that one core can call another. Cores take C-contiguous, writeable arrays of one dtype, float32 or float64.
"""

from __future__ import annotations

import signal
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit

from ...kernels.spec import Array

FLOATS = frozenset({np.dtype(np.float32), np.dtype(np.float64)})
"""The dtypes that cores take; others run the references."""

SOURCES = zlib.crc32(b"".join(file.read_bytes() for file in sorted(Path(__file__).parent.rglob("*.py"))))
"""What cores are made of: what was kept on disk is theirs only where this is the same."""

# Products may be fused with the sums they go into; NaN, infinity and the order of what is written keep their meaning.
OPTIONS = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}}


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Ctrl-C waits for the end of the block. While Numba compiles, or loads what it kept, it may come within a callback
    or a finalizer of llvmlite's: there it is lost, or memory is freed twice."""
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield  # it is raised in the main thread only, and by a function of Python's
        return
    came: list[int] = []
    signal.signal(signal.SIGINT, lambda number, frame: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if came:
            signal.raise_signal(signal.SIGINT)


def core(function: Callable[..., Any]) -> Any:
    """Compile a core: once per dtype, when first called, and kept on disk for the processes that follow."""
    try:
        compiled = njit(cache=True, **OPTIONS)(function)
        # Numba would keep it until its own file changes; it is made of other files' functions too
        compiled._cache._cache_file._source_stamp = SOURCES
    except RuntimeError:  # there is no directory to keep it in that can be written
        compiled = njit(**OPTIONS)(function)
    compiled.compile = uninterrupted()(compiled.compile)
    return compiled


inlined = njit(forceinline=True, **OPTIONS)
"""Compile a function into the cores that call it."""


@njit(forceinline=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc"})
def plus(total, term):
    """total + term, in a sum that may be taken in any order, so that its loop vectorizes."""
    return total + term


def plain(x: Array) -> Array:
    """x itself where a core can take it, else a copy that it can."""
    return x if x.flags.carray else np.array(x, order="C")


def flat(x: Array) -> Array:
    """x's elements in C order, as one axis: a view where a core can take it, else a copy."""
    return x.ravel() if x.flags.carray else np.array(x, order="C").ravel()


def rows(x: Array) -> Array:
    """x as rows of its last axis, which has elements: a view where a core can take it, else a copy."""
    x = plain(x)
    return x if x.ndim == 2 else x.reshape(-1, x.shape[-1])
