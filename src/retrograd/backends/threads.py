"""How many threads the kernels may use: a setting of the process, from its environment until it is set."""

from __future__ import annotations

import operator
import os

_count: int | None = None


def count() -> int:
    """The number of threads in force (>= 1)."""
    return _count or _from_environment()[0]


def source() -> str:
    """Where that number comes from, in words."""
    return "as set by set_num_threads" if _count else _from_environment()[1]


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


def _from_environment() -> tuple[int, str]:
    for name in ("RETROGRAD_NUM_THREADS", "OMP_NUM_THREADS"):
        # OMP_NUM_THREADS may be a list, a number for each level of nesting: ours is the outermost
        text = os.environ.get(name, "").split(",")[0].strip()
        if text:
            if not text.isdecimal() or int(text) < 1:
                raise ValueError(f"{name}={os.environ[name]!r}: expected a whole number >= 1")
            return int(text), f"from {name}"
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0)), "the processors that this process may run on"
    return os.cpu_count() or 1, "the processors of this machine"
