"""The C backend: the kernels of csrc/, called through cffi.

A family of kernels is a module here, of the same name as its file in csrc/: functions with the vocabulary's
signatures, in a dict KERNELS by kernel name.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil

from ...kernels import precision
from ..registry import Backend, BackendUnavailable

FAMILIES = (
    *("activation", "elementary", "elementwise", "loss", "measure"),
    *("product", "random", "reduction", "update"),
)
"""The modules of this package that hold kernels."""

_REINSTALL = "pip install -v --force-reinstall --no-deps --no-cache-dir retrograd"


def load() -> Backend:
    try:
        from . import native
    except ModuleNotFoundError:
        compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
        because = (
            "no working C compiler was found at installation. Install gcc or clang, then"
            if compiler is None
            else f"its build failed at installation, or {compiler} was not there yet. To try again, and see what the "
            "build says"
        )
        raise BackendUnavailable(f"the C extension was not built: {because}: {_REINSTALL}") from None
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

    precision.follow(lib.rg_round_products)
    table = {}
    for family in FAMILIES:
        table.update(importlib.import_module(f".{family}", __name__).KERNELS)
    from .program import COMPILED, Loaded

    with contextlib.suppress(ImportError):
        importlib.import_module(".threadpool", __name__)  # which threadpoolctl is told of, where it is installed
    return Backend("c", table, lib.rg_set_num_threads, describe, Loaded, COMPILED)
