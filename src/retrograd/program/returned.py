"""Tensors that a step returns once more.

A new array and a new tensor for its loss take a quarter of a small network's step. So a plan keeps two, makes its
result in them in turn, and returns the one of the call before last where nobody else holds it any more: not the tensor,
nor its array, nor a view of that. CPython counts who does.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from typing import Any

from ..kernels.spec import Array
from ..tensor import Tensor

COUNTED = sys.implementation.name == "cpython" and getattr(sys, "_is_gil_enabled", lambda: True)()
"""Whether this Python counts references, at once and for all threads."""


class Returned:
    """One of the two.

    Args:
        array: where the result is made.
        step: what makes it there (see Loaded.step_into of the C backend).
    """

    __slots__ = ("array", "step", "tensor")

    def __init__(self, array: Array, step: Any) -> None:
        self.array = array
        self.tensor = Tensor(array)
        self.step = step

    def is_free(self, name: Callable[[Any], str], one: str) -> str:
        """Python, with names for values, that says whether nobody else holds tensor or array of `one` of these; this
        one is free."""
        count, weak = name(sys.getrefcount), name(weakref.getweakrefcount)
        of_tensor, of_array = sys.getrefcount(self.tensor), sys.getrefcount(self.array)
        same = f"{count}({one}.tensor) == {of_tensor} and {count}({one}.array) == {of_array}"
        return f"{same} and not {weak}({one}.tensor)"

    def renew(self, name: Callable[[Any], str], tensor: str) -> str:
        """Python, with names for values, that makes such a `tensor`, which nobody else holds, as this one is, which is
        new; but for the count of its changes."""
        fresh = {slot: getattr(self.tensor, slot) for slot in Tensor.__slots__}
        for slot in ("__weakref__", "_version", "array"):
            del fresh[slot]
        return "; ".join(f"{tensor}.{slot} = {name(value)}" for slot, value in fresh.items())
