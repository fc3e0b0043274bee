"""The dtypes that tensors hold, and what an op on several of them gives."""

from __future__ import annotations

from typing import Any

import numpy as np

from .kernels.spec import revise

float32 = np.dtype(np.float32)
float64 = np.dtype(np.float64)
int32 = np.dtype(np.int32)
int64 = np.dtype(np.int64)
bool_ = np.dtype(np.bool_)

_default = float32


def get_default_dtype() -> np.dtype:
    """The dtype of tensors made from Python floats, and of creation functions: float32 until it is set.

    Example:
        >>> import retrograd as rg
        >>> rg.get_default_dtype()
        dtype('float32')
    """
    return _default


def set_default_dtype(dtype: Any) -> None:
    """Set it to float32 or float64.

    Raises:
        TypeError: any other dtype.

    Example:
        >>> import retrograd as rg
        >>> rg.set_default_dtype('float64')
        >>> rg.ones(1).dtype
        dtype('float64')
        >>> rg.set_default_dtype('float32')
    """
    global _default
    dtype = np.dtype(dtype)
    if dtype not in (float32, float64):
        raise TypeError(f"set_default_dtype: {dtype} is not float32 or float64")
    _default = dtype
    revise()


def supported(dtype: Any, name: str = "tensor") -> np.dtype:
    """The NumPy dtype that is meant, where tensors can hold it: float32, float64, any integer or bool.

    Raises:
        TypeError: it is another one; names the op.
    """
    dtype = np.dtype(dtype)
    native = dtype if dtype.isnative else dtype.newbyteorder("=")
    if native in (float32, float64) or native.kind in "iub":
        return native
    hint = {"f": "convert it to float32 or float64 first", "c": "give the real and imaginary parts, as two tensors"}
    raise TypeError(f"{name}: dtype {dtype} is not supported; {hint.get(dtype.kind, 'tensors hold numbers')}")


def promote(dtypes: list[np.dtype]) -> np.dtype:
    """The dtype of an op on tensors of these: the widest floating one, if there is one, else NumPy's rule."""
    floating = [d for d in dtypes if d.kind == "f"]
    return np.result_type(*(floating or dtypes))


def of_scalar(value: bool | int | float, beside: np.dtype) -> np.dtype:
    """The dtype that a Python number takes beside a tensor: the tensor's, unless it is of a higher kind."""
    if beside.kind == "f" or isinstance(value, bool):
        return beside
    if isinstance(value, float):
        return _default
    return int64 if beside == bool_ else beside
