"""Compiling source text that is made at run time, and keeping the machine code on disk.

Numba keeps what it compiled from a file beside that file. So the text is written into a directory of the user's, under
a name that tells what it is made of; the file is never read back.
"""

from __future__ import annotations

import builtins
import functools
import hashlib
import logging
import math
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numba import cfunc, config, njit, types
from numba.np.numpy_support import from_dtype as as_dtype

from . import elementary, record
from .jit import OPTIONS, SOURCES, uninterrupted

_log = logging.getLogger("retrograd")

_NAMES = {
    name: getattr(module, name)
    for module, names in (
        (record, ("array", "call", "extent", "integer", "number", "place")),
        (types, ("float32", "float64", "boolean")),
        (types, [f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)]),
        (math, ("log", "sqrt", "erf", "erfc", "lgamma")),
    )
    for name in names
}
"""What a text may speak of, beside `elementary`, `numpy` and, in a record's code, `entry`."""


def entry(source: str, entry: Any = None) -> int:
    """The address of the entry (see record) that a text defines, which may call another."""
    return _entry(source, entry).address


@functools.cache  # which also keeps the machine code alive
def _entry(source: str, entry: Any) -> Any:
    return _compile(source, lambda function, **kept: cfunc(record.ENTRY, **kept, **OPTIONS)(function), entry)


@functools.cache
def stepper() -> int:
    """The address of a C function of a table's address, which runs the record that the table begins with."""
    source = "def step(table):\n    return call(table, 0, 0, 0)"
    compiled = _compile(source, lambda function, **kept: cfunc(types.intp(record.WORDS), **kept, **OPTIONS)(function))
    _steppers.append(compiled)
    return compiled.address  # type: ignore[no-any-return]


_steppers: list[Any] = []  # which keeps the machine code alive


@functools.cache
def launcher(arrays: tuple[tuple[np.dtype, int], ...]) -> Callable[..., int]:
    """A function launch(table, *arrays) that writes the arrays' addresses into the words after the table's first, and
    runs the record that the table begins with.

    Args:
        arrays: the dtype and the number of axes of each; all are C contiguous, and nothing is checked.
    """
    given = [f"a{i}" for i in range(len(arrays))]
    lines = [f"def launch({', '.join(['table', *given])}):"]
    lines += [f"    table[{i}] = {name}.ctypes.data" for i, name in enumerate(given, 1)]
    lines += ["    return call(table, 0, 0, 0)"]
    kinds = (types.Array(as_dtype(dtype), ndim, "C") for dtype, ndim in arrays)
    signature = types.intp(types.int64[::1], *kinds)
    compiled = _compile("\n".join(lines), lambda function, **kept: njit(signature, **kept, **OPTIONS)(function))
    # called itself, and not through the dispatcher, which would find out its arguments' types again at each call
    return next(iter(compiled.overloads.values())).entry_point


@uninterrupted()
def _compile(source: str, compile: Callable[..., Any], entry: Any = None) -> Any:
    """Compile the one function that a text defines."""
    name = source[len("def ") : source.index("(")]
    made_of = f"{numba.__version__} {sys.version_info} {SOURCES} {source}"
    path = _directory() / f"{name}_{hashlib.sha256(made_of.encode()).hexdigest()[:24]}.py"
    namespace: dict[str, Any] = {"__name__": __name__, "elementary": elementary, "entry": entry, "numpy": np}
    namespace |= _NAMES
    exec(builtins.compile(source, str(path), "exec"), namespace)
    try:
        _write(path, source)
        return compile(namespace[name], cache=True)
    except (OSError, RuntimeError) as reason:  # there is no directory that can be written
        _log.debug("numba: %s is not kept on disk: %s", name, reason)
        return compile(namespace[name])


def _directory() -> Path:
    if config.CACHE_DIR:
        return Path(config.CACHE_DIR) / "retrograd"
    if sys.platform == "win32":
        caches = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        caches = Path.home() / "Library" / "Caches"
    else:
        caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(caches) / "retrograd" / "numba"


def _write(path: Path, text: str) -> None:
    """Write the file whole or not at all; one that is there is the same, and keeps its date, which Numba looks at."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".py", delete=False) as file:
        file.write(text)
    os.replace(file.name, path)
