"""Backends: the tables of kernel implementations, and the switch between them (RETROGRAD_BACKEND)."""

from .registry import (
    MODULES,
    BackendUnavailable,
    available,
    current,
    describe,
    get_num_threads,
    missing,
    set_num_threads,
    use,
)

__all__ = [
    "MODULES",
    "BackendUnavailable",
    "available",
    "current",
    "describe",
    "get_num_threads",
    "missing",
    "set_num_threads",
    "use",
]
