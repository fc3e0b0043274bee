"""The C backend: the kernels of csrc/, called through cffi.

A family of kernels is a module here, of the same name as its file in csrc/: functions with the vocabulary's
signatures, in a dict KERNELS by kernel name.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import shutil
from pathlib import Path

from ...kernels import precision
from ..registry import Backend, BackendUnavailable

FAMILIES = (
    *("activation", "elementary", "elementwise", "loss", "measure"),
    *("product", "random", "reduction", "update"),
)
"""The modules of this package that hold kernels."""

_REINSTALL = "pip install -v --force-reinstall --no-deps --no-cache-dir retrograd"


LOG = Path(__file__).with_name("build.log")
"""What a build of the extension that failed said (csrc/build_backend.py); not there after one that did not."""


def _why_not_built() -> str:
    """Why there is no extension, and, up to the command, what to do."""
    if LOG.exists():
        said = [line.strip() for line in LOG.read_text(encoding="utf-8", errors="replace").splitlines()]
        at = next((n for n, line in enumerate(said) if re.search(r"\berror\b", line, re.IGNORECASE)), len(said) - 1)
        complaint = " ".join(filter(None, said[at : at + 3]))
        return f"its build said {complaint!r}; all that it said is in {LOG}. When that is mended"
    if not any(map(shutil.which, ("cc", "gcc", "clang"))):
        return "no working C compiler was found at installation. Install gcc or clang, then"
    return "it was installed from a build without it. To build it here"


def load() -> Backend:
    try:
        from . import native
    except ModuleNotFoundError:
        raise BackendUnavailable(f"the C extension was not built: {_why_not_built()}: {_REINSTALL}") from None
    except ImportError as reason:
        raise BackendUnavailable(f"the C extension does not load ({reason}). Build it anew: {_REINSTALL}") from None
    lib, ffi = native.lib, native.ffi
    wanted = os.environ.get("RETROGRAD_ISA", "").strip().lower()
    complaint = lib.rg_select_isa(wanted.encode())
    if complaint != ffi.NULL:
        raise BackendUnavailable(f"RETROGRAD_ISA: {ffi.string(complaint).decode()}")

    def describe() -> dict[str, str]:
        return {
            "instruction set": ffi.string(lib.rg_isa()).decode(),
            "bfloat16 products": ffi.string(lib.rg_bf16()).decode(),
            "available": ffi.string(lib.rg_isas()).decode(),
            "caches": ffi.string(lib.rg_cache_words()).decode(),
            "compiler": ffi.string(lib.rg_compiler()).decode(),
            "threads": str(lib.rg_num_threads()),
        }

    table = {}
    try:
        precision.follow(lib.rg_round_products)
        for family in FAMILIES:
            table.update(importlib.import_module(f".{family}", __name__).KERNELS)
        from .program import COMPILED, Loaded
    except AttributeError as reason:
        raise BackendUnavailable(
            f"the C extension was built from other sources than these ({reason}). Build it anew: {_REINSTALL}"
        ) from None

    with contextlib.suppress(ImportError):
        importlib.import_module(".threadpool", __name__)  # which threadpoolctl is told of, where it is installed
    return Backend("c", table, lib.rg_set_num_threads, describe, Loaded, COMPILED)
