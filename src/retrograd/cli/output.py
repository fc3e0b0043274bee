"""Result files: checked before the work, written whole or not at all after it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import TextIO

from ..serialization import replacing
from .errors import CommandError


def check_writable(path: str, regular: bool = False) -> None:
    """Raise CommandError where a file, or if asked a regular one, cannot be written at this path; leaves no trace."""
    if os.path.isdir(path) or (regular and _is_special(path)):
        raise CommandError(f"{path}: is no regular file, expected the name of one to write")
    with writing(path):
        if os.path.exists(path) and not os.access(path, os.W_OK):
            raise PermissionError(0, "no permission to change it")
        if not _is_special(path):
            with contextlib.suppress(_Probed), replacing(os.path.realpath(path)) as new, open(new, "xb"):
                raise _Probed


class _Probed(Exception):
    """Leaves replacing() without replacing."""


@contextlib.contextmanager
def opened(path: str) -> Iterator[TextIO]:
    """A text file, UTF-8, that takes the place of `path` at the block's end, if nothing was raised in it; what is no
    regular file (/dev/stdout) is written to directly.

    Raises:
        CommandError: it cannot be written; what was there stays.
    """
    with writing(path), contextlib.ExitStack() as stack:
        name = path if _is_special(path) else stack.enter_context(replacing(os.path.realpath(path)))
        yield stack.enter_context(open(name, "w", encoding="utf-8", newline=""))


@contextlib.contextmanager
def writing(path: str) -> Iterator[None]:
    """Turn an OSError into a CommandError that names the file that was asked for."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise CommandError(f"{path}: cannot be written: {error.strerror or error}") from None


def _is_special(path: str) -> bool:
    return os.path.exists(path) and not os.path.isfile(path)
