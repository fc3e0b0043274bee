"""The package's build backend: scikit-build-core's. Where the C extension cannot be built, the package is built without
it, and with a log of what the build said, which `retrograd info` points to."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from scikit_build_core import build
from scikit_build_core.build import (
    build_sdist,
    get_requires_for_build_editable,
    get_requires_for_build_sdist,
    get_requires_for_build_wheel,
)
from scikit_build_core.errors import FailedProcessError, ScikitBuildError

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
]  # not what prepares metadata: whether there is C in the wheel is seen when it has been built

Settings = dict[str, "list[str] | str"] | None
LOG = Path("src/retrograd/backends/c/build.log")
KEPT = 1 << 17
"""Bytes of the log, the last ones."""


def build_wheel(directory: str, settings: Settings = None, metadata: str | None = None) -> str:
    try:
        return _with_or_without_c(build.build_wheel, directory, settings)
    finally:
        LOG.unlink(missing_ok=True)


def build_editable(directory: str, settings: Settings = None, metadata: str | None = None) -> str:
    return _with_or_without_c(build.build_editable, directory, settings)


def _with_or_without_c(make: Callable[[str, Settings], str], directory: str, settings: Settings) -> str:
    LOG.unlink(missing_ok=True)
    with tempfile.TemporaryFile() as said:
        try:
            with _copied_output(said):
                return make(directory, settings)
        except (SystemExit, ScikitBuildError, FailedProcessError) as error:
            said.seek(max(0, said.tell() - KEPT))
            LOG.write_bytes(said.read() + ("" if isinstance(error, SystemExit) else f"error: {error}\n").encode())
    print("*** The C extension was not built; the package is installed without it", flush=True)
    return make(
        directory,
        {**(settings or {}), "wheel.cmake": "false", "wheel.py-api": "py3", "sdist.include": str(LOG)},
    )


@contextlib.contextmanager
def _copied_output(file: BinaryIO) -> Iterator[None]:
    """What this process and those that it starts write goes to the file too."""
    begin, end = os.pipe()
    stdout, stderr = os.dup(1), os.dup(2)

    def copy() -> None:
        while data := os.read(begin, 1 << 16):
            os.write(stdout, data)
            file.write(data)

    copier = threading.Thread(target=copy)
    copier.start()
    os.dup2(end, 1)
    os.dup2(end, 2)
    os.close(end)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(stdout, 1)
        os.dup2(stderr, 2)
        copier.join()
        for descriptor in (begin, stdout, stderr):
            os.close(descriptor)
