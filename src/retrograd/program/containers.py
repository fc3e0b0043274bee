"""Containers of arrays: tuples, lists and dicts, nested, of arrays and plain values; what a step takes and returns."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np

from ..dtypes import supported
from ..kernels.spec import Array, aligned
from ..tensor import Tensor

logger = logging.getLogger("retrograd")


def is_array(value: Any) -> bool:
    """Whether a value is an array of some kind: a tensor, a NumPy array, or what lends its memory by DLPack."""
    return isinstance(value, (Tensor, np.ndarray)) or hasattr(value, "__dlpack__")


def array_of(value: Any) -> Array:
    """The C-contiguous array, of a dtype that tensors hold, that an argument stands for; its own memory if possible."""
    if isinstance(value, Tensor):
        array = value.array
    else:
        array = value if isinstance(value, np.ndarray) else np.from_dlpack(value)
        array = aligned(np.asarray(array, supported(array.dtype, "compile")))
    given = value.array if isinstance(value, Tensor) else value
    if not array.flags.c_contiguous:
        array = np.ascontiguousarray(array).reshape(array.shape)
    if array is not given:
        logger.debug("compile: an argument of shape %s is copied at each call, as %s", array.shape, array.dtype)
    return array


def map_arrays(function: Callable[[Any], Any], value: Any, chosen: Callable[[Any], bool] = is_array) -> Any:
    """The container with function(array) in place of each array, or of each value that is chosen and no container."""
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, dict):  # of parameters, most often: without a call for each
        return {k: function(v) if isinstance(v, Tensor) else map_arrays(function, v, chosen) for k, v in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*[map_arrays(function, v, chosen) for v in value])
    if isinstance(value, (tuple, list)):
        return type(value)([function(v) if isinstance(v, Tensor) else map_arrays(function, v, chosen) for v in value])
    return function(value) if chosen(value) else value


def arrays_in(value: Any) -> list[Any]:
    """The arrays in a container, in the order in which map_arrays meets them."""
    found: list[Any] = []
    _collect(value, found)
    return found


def _collect(value: Any, found: list[Any]) -> None:
    if isinstance(value, Tensor):
        found.append(value)
    elif isinstance(value, dict):
        for v in value.values():
            if isinstance(v, Tensor):
                found.append(v)
            else:
                _collect(v, found)
    elif isinstance(value, (tuple, list)):
        for v in value:
            _collect(v, found)
    elif is_array(value):
        found.append(value)


def signature(value: Any, arrays: list[Array]) -> Any:
    """What a program is made for: the container with shape and dtype, and whether it requires grad, in place of each
    array, hashable. The arrays go on the list.

    Raises:
        TypeError: a value in it is neither an array nor hashable.
    """
    if is_array(value):
        array = array_of(value)
        arrays.append(array)
        asks = isinstance(value, Tensor) and value.requires_grad
        return (array.shape, array.dtype, "requires grad") if asks else (array.shape, array.dtype)
    if isinstance(value, (tuple, list)):
        return type(value), tuple(signature(v, arrays) for v in value)
    if isinstance(value, dict):
        return dict, tuple((k, signature(v, arrays)) for k, v in value.items())
    try:
        hash(value)
    except TypeError:
        raise TypeError(
            f"compile: an argument of type {type(value).__name__} is neither an array nor hashable; pass arrays by "
            "themselves, or in a dict, list or named tuple"
        ) from None
    return type(value), value


def describe_signature(key: Any) -> str:
    """A signature in words: the shapes and dtypes of the arrays, and the plain values, in order."""
    if isinstance(key, tuple) and len(key) > 1 and isinstance(key[1], np.dtype):
        return " ".join(map(str, (key[1], key[0], *key[2:])))
    if isinstance(key, tuple) and len(key) == 2 and isinstance(key[0], type):
        return describe_signature(key[1]) if isinstance(key[1], tuple) else repr(key[1])
    if isinstance(key, tuple):
        return ", ".join(filter(None, map(describe_signature, key)))
    return str(key)
