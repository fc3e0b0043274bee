"""The C backend."""

from .registry import Backend, BackendUnavailable


def load() -> Backend:
    raise BackendUnavailable("not written yet")
