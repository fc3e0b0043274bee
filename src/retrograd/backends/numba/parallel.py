"""Several threads on one core: each gets a slice of the first axis of every array.

The threads are Python's, since cores release the GIL. Numba's own parallel loops are not used: between two of them the
OpenMP layer's threads spin, and starve those of NumPy's BLAS (a product of 512 x 512 with one such loop
after it took five times as long as with none); its workqueue layer allows one caller at a time.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

from ...kernels.spec import Array

CHEAP = 1 << 19
"""Elements a thread needs to be worth its start, in cores that mostly move memory."""

COSTLY = 1 << 17
"""The same for cores that take an exponential, or as much work, an element."""

_processor = ctypes.CDLL(None).sched_getcpu if sys.platform == "linux" else None
"""Which processor the calling thread is on."""

_count = 1
_pool: ThreadPoolExecutor | None = None
_native_ids: list[int] = []
"""The pool's threads, as the system knows them."""


def set_num_threads(n: int) -> None:
    """Set how many threads a core may use (>= 1)."""
    global _count
    if n != _count:
        _forget_pool()
        _count = n


def get_num_threads() -> int:
    """How many threads a core may use."""
    return _count


def _forget_pool() -> None:
    global _pool, _native_ids
    _pool, _native_ids = None, []


# a forked child has the pool, but not its threads
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)


def run(core: Callable[..., None], grain: int, arrays: Sequence[Array | None], *scalars: Any) -> None:
    """core(*arrays, *scalars), on slices of the arrays where each thread gets at least `grain` elements.

    The arrays have equally long first axes (None stands for one that is absent), and no row of a result may depend
    on another row. The slices depend on shapes and the number of threads alone.
    """
    first = arrays[0]
    if _count == 1 or first.size < 2 * grain:
        core(*arrays, *scalars)
        return
    rows = len(first)
    parts = min(_count, first.size // grain, rows)
    ends = [rows * i // parts for i in range(parts + 1)]
    slices = [tuple(a if a is None else a[i:j] for a in arrays) for i, j in pairwise(ends)]
    together(core, [(*part, *scalars) for part in slices])


def together(core: Callable[..., Any], calls: Sequence[tuple[Any, ...]]) -> list[Any]:
    """What core(*call) returns for each of the calls, each in a thread; no more of them than there are threads."""
    pool, allowed = _threads(), _keep_off_this_processor()
    others = [pool.submit(_run_on, allowed, core, call) for call in calls[1:]]
    return [core(*calls[0]), *(other.result() for other in others)]


def _keep_off_this_processor() -> set[int] | None:
    """A thread that is woken may be put on the processor of the one that woke it, and wait there for milliseconds: keep
    the pool's threads off it; returns where they may go on, None for where they are."""
    if _processor is None or not _native_ids:
        return None
    allowed = os.sched_getaffinity(0)
    others = allowed - {_processor()}
    if not others:
        return None
    try:
        for thread in _native_ids:
            os.sched_setaffinity(thread, others)
    except OSError:  # which a sandbox may not allow
        return None
    return allowed


def _run_on(processors: set[int] | None, core: Callable[..., Any], call: tuple[Any, ...]) -> Any:
    if processors is not None:
        with contextlib.suppress(OSError):  # they may have been taken from the process meanwhile
            os.sched_setaffinity(0, processors)
    return core(*call)


def _threads() -> ThreadPoolExecutor:
    global _pool
    if _pool is None:
        native_ids = _native_ids
        _pool = ThreadPoolExecutor(_count, "retrograd-numba", lambda: native_ids.append(threading.get_native_id()))
    return _pool
