"""How many threads the kernels may use: a setting of the process, from its environment until it is set."""

from __future__ import annotations

import operator
import os

_count: int | None = None


def count() -> int:
    """The number of threads in force (>= 1)."""
    return _count or _from_environment()


def set_count(n: int) -> None:
    """Set it; ValueError where n is not a whole number >= 1."""
    global _count
    try:
        whole = operator.index(n)
    except TypeError:
        whole = 0
    if whole < 1 or isinstance(n, bool):
        raise ValueError(f"set_num_threads: {n!r} is not a whole number >= 1")
    _count = whole


def _from_environment() -> int:
    for name in ("RETROGRAD_NUM_THREADS", "OMP_NUM_THREADS"):
        # OMP_NUM_THREADS may be a list, a number for each level of nesting: ours is the outermost
        text = os.environ.get(name, "").split(",")[0].strip()
        if text:
            if not text.isdecimal() or int(text) < 1:
                raise ValueError(f"{name}={os.environ[name]!r}: expected a whole number >= 1")
            return int(text)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
