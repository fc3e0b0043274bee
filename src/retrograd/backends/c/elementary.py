"""Elementary functions in C."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...kernels.spec import TABLE, Array
from .native import by_dtype, contiguous, lib, pointer

_RUN = by_dtype("elementary")
_NAMES = ("exp", "exp2", "expm1", "log", "log2", "log1p", "sin", "cos", "erf")
_empty = np.empty


def _function(name: str) -> Callable[[Array], Array]:
    reference, opcode = TABLE[name].reference, getattr(lib, f"RG_{name.upper()}")

    def function(x: Array) -> Array:
        run = _RUN.get(x.dtype)
        if run is None:
            return reference(x)
        y = _empty(x.shape, x.dtype)
        run(pointer(y), contiguous(x), x.size, opcode)
        return y

    return function


KERNELS = {name: _function(name) for name in _NAMES}
