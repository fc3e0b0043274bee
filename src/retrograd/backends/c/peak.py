"""What the machine can do at most, measured by loops in C: the denominators of the kernels' speed."""

from __future__ import annotations

from time import perf_counter
from typing import Any

import numpy as np

from .native import by_dtype, pointer

_MULTIPLY_ADDS = by_dtype("peak_multiply_adds")
_TRIAD = by_dtype("peak_triad")
_READ = by_dtype("peak_read")

TURNS = 5
"""The best of so many counts."""

TURN_SECONDS = 0.01


def flops(dtype: Any = np.float32, threads: int = 1) -> float:
    """Floating-point operations a second, two a multiply-add, of `threads` threads together, in registers.

    Args:
        dtype: float32 or float64.
        threads: at least 1; more than `retrograd.set_num_threads` allows take turns.

    Example:
        >>> from retrograd.backends.c import peak
        >>> peak.flops() > 1e8
        True
    """
    run = _MULTIPLY_ADDS[np.dtype(dtype)]
    results = np.zeros(threads, dtype)
    rounds, best = 1000, 0.0
    for _ in range(TURNS):
        begin = perf_counter()
        done = run(pointer(results), rounds, threads)
        seconds = perf_counter() - begin
        best = max(best, done / seconds)
        rounds = max(1000, int(rounds * TURN_SECONDS / seconds))
    return best


def bandwidth(nbytes: int, threads: int = 1) -> tuple[float, float]:
    """Bytes a second of a sum of so many bytes and of a triad a = b + c/2 over arrays of so many together.

    Args:
        nbytes: what is worked on over and over, by all threads together.
        threads: as in `flops`.

    Returns:
        the bandwidth of reading, and of the triad's two reads and one write (without the read of a line before it
        is written, which most processors add).
    """
    n = nbytes // (3 * 4)
    read, (a, b, c) = np.ones(3 * n, np.float32), np.ones((3, n), np.float32)
    results = np.zeros(threads, np.float32)

    def best(run: Any) -> float:
        rounds, fastest = 1, 0.0
        for _ in range(TURNS):
            begin = perf_counter()
            run(rounds)
            seconds = perf_counter() - begin
            fastest = max(fastest, rounds * n * 12 / seconds)
            rounds = max(1, int(rounds * TURN_SECONDS / seconds))
        return fastest

    float32 = np.dtype(np.float32)
    return (
        best(lambda rounds: _READ[float32](pointer(results), pointer(read), 3 * n, rounds, threads)),
        best(lambda rounds: _TRIAD[float32](pointer(a), pointer(b), pointer(c), n, rounds, threads)),
    )
