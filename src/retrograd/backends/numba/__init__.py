"""The Numba backend: cores compiled when first called, for the processor at hand, and kept on disk.

A module a family, as in `retrograd.kernels`; the kernels that a module's `__all__` names replace their
references. Each is a thin Python function around cores (see `jit`). Numba keeps what it compiled beside the source
or, where that cannot be written, in the user's cache directory (NUMBA_CACHE_DIR overrides both).
"""

from __future__ import annotations

import importlib

from ..registry import Backend, BackendUnavailable

FAMILIES = ("product", "activation", "reduction", "loss", "update", "measure", "random", "index")


def load() -> Backend:
    try:
        import llvmlite
        import numba
    except ModuleNotFoundError as missing:
        if missing.name not in ("numba", "llvmlite"):
            raise BackendUnavailable(f"numba does not load: {missing}") from missing
        raise BackendUnavailable("numba is not installed; pip install 'retrograd[numba]'") from None
    except Exception as reason:  # whatever a numba that does not fit this NumPy or Python raises
        raise BackendUnavailable(f"numba does not load: {reason}") from reason
    if numba.config.DISABLE_JIT:
        raise BackendUnavailable("NUMBA_DISABLE_JIT is set; unset it")

    from . import lowerings, parallel, program, vector

    modules = [importlib.import_module(f".{family}", __package__) for family in FAMILIES]
    table = {name: getattr(module, name) for module in modules for name in module.__all__}

    def describe() -> dict[str, str]:
        return {
            "numba": numba.__version__,
            "llvmlite": llvmlite.__version__,
            "vectors": f"{vector.BYTES} bytes",
            "threads": f"{parallel.get_num_threads()} of Python's (no Numba threading layer)",
        }

    return Backend("numba", table, parallel.set_num_threads, describe, program.CompiledProgram, lowerings.COMPILED)
