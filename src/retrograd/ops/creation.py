"""Tensors out of nothing, and out of what other libraries hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..kernels.spec import Array, aligned
from ..tape import state
from ..tensor import Tensor, _floating

Shape = int | Sequence[int]


def _made(array: Array, requires_grad: bool) -> Tensor:
    if requires_grad:
        _floating("requires_grad", array.dtype)
    return Tensor(state.kernels.new(array), requires_grad)


def _dtype(dtype: Any) -> np.dtype:
    return dtypes.get_default_dtype() if dtype is None else dtypes.supported(dtype)


def _shape(sizes: tuple[Any, ...]) -> tuple[int, ...]:
    return tuple(sizes[0]) if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)) else sizes


def _array_of(name: str, data: Any, dtype: Any = None) -> Array:
    """An array over data's memory where that is possible; of the dtype, or of data's own where it is None."""
    array = _converted(name, data, dtype)
    given = data.array if isinstance(data, Tensor) else data
    if array is not given and isinstance(given, np.ndarray):
        state.kernels.look(given)
    return array


def _converted(name: str, data: Any, dtype: Any) -> Array:
    if isinstance(data, Tensor):
        return data.array if dtype is None else data.array.astype(dtypes.supported(dtype, name), copy=False)
    if hasattr(data, "__dlpack__") and not isinstance(data, (np.ndarray, np.generic)):
        data = np.from_dlpack(data)
    python = not hasattr(data, "__array__")
    if python and isinstance(data, (list, tuple)):
        data = _plain(data)
    try:
        array = aligned(data)
    except ValueError as error:
        raise ValueError(f"{name}: the nested lists are not of one shape: {error}") from None
    own = dtypes.supported(array.dtype, name)
    if dtype is not None:
        own = dtypes.supported(dtype, name)
    elif python and own == dtypes.float64:
        own = dtypes.get_default_dtype()
    return array.astype(own, copy=False)


def _plain(data: Any) -> Any:
    if isinstance(data, (list, tuple)):
        return [_plain(item) for item in data]
    return data.array if isinstance(data, Tensor) else data


def tensor(data: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """A leaf tensor with a copy of data.

    Args:
        data: a number, nested lists of numbers, an array, a tensor, or anything with __array__ or __dlpack__.
        dtype: float32, float64, an integer dtype or bool; by default data's own, for Python floats the default
            dtype (float32), for Python integers int64.
        requires_grad: whether backward() fills its grad.

    Raises:
        TypeError: a dtype that tensors cannot hold. ValueError: nested lists of uneven lengths.
        RuntimeError: requires_grad of a tensor that is not floating.

    Example:
        >>> import retrograd as rg
        >>> rg.tensor([[1, 2], [3, 4]], dtype="float64")
        tensor([[1., 2.],
                [3., 4.]], dtype=float64)
    """
    array = _array_of("tensor", data, dtype)
    if isinstance(data, (Tensor, np.ndarray)):
        state.kernels.look(array)
    return _made(np.array(array, order="C"), requires_grad)


def as_tensor(data: Any, dtype: Any = None) -> Tensor:
    """A tensor over data's memory where its dtype allows, else with a copy; a tensor of that dtype is returned itself.

    Raises:
        TypeError, ValueError: as in tensor().

    Example:
        >>> import retrograd as rg
        >>> rg.as_tensor([1.0, 2.0])
        tensor([1., 2.])
    """
    if isinstance(data, Tensor) and (dtype is None or data.dtype == np.dtype(dtype)):
        return data
    if isinstance(data, Tensor):
        return data.to(dtype)
    return Tensor(_array_of("as_tensor", data, dtype))


def from_numpy(array: Array) -> Tensor:
    """A tensor over the memory of a NumPy array: what is written to the one is seen in the other.

    Raises:
        TypeError: it is no NumPy array, or of a dtype that tensors cannot hold (nothing is converted here).
        ValueError: its elements do not lie at multiples of their size.

    Example:
        >>> import retrograd as rg
        >>> import numpy as np
        >>> rg.from_numpy(np.ones(2, np.float32))
        tensor([1., 1.])
    """
    if not isinstance(array, np.ndarray):
        raise TypeError(f"from_numpy: expected a NumPy array, got {type(array).__name__}; use as_tensor()")
    if dtypes.supported(array.dtype, "from_numpy") != array.dtype:
        raise TypeError(f"from_numpy: {array.dtype} is not in this machine's byte order; use as_tensor()")
    if not array.flags.aligned:
        raise ValueError("from_numpy: the array's elements lie at odd addresses; use as_tensor(), which copies them")
    return Tensor(array)


def zeros(*shape: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Zeros of a shape, given as sizes or one tuple; default dtype unless given.

    Example:
        >>> import retrograd as rg
        >>> rg.zeros(2)
        tensor([0., 0.])
    """
    return _made(np.zeros(_shape(shape), _dtype(dtype)), requires_grad)


def ones(*shape: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Ones of a shape, given as sizes or one tuple; default dtype unless given.

    Example:
        >>> import retrograd as rg
        >>> rg.ones(2)
        tensor([1., 1.])
    """
    return _made(np.ones(_shape(shape), _dtype(dtype)), requires_grad)


def empty(*shape: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor of a shape whose elements are whatever the memory holds.

    Example:
        >>> import retrograd as rg
        >>> rg.empty(2, 3).shape
        (2, 3)
    """
    return _made(np.empty(_shape(shape), _dtype(dtype)), requires_grad)


def full(shape: Shape, fill_value: float, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """A shape filled with one value; of the value's own dtype (floats: the default dtype) unless given.

    Example:
        >>> import retrograd as rg
        >>> rg.full((2,), 3.0)
        tensor([3., 3.])
    """
    if dtype is None:
        dtype = dtypes.of_scalar(fill_value, dtypes.bool_)
    return _made(np.full(shape, fill_value, dtypes.supported(dtype)), requires_grad)


def eye(n: int, m: int | None = None, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """The (n, m) matrix with ones on its diagonal; m is n unless given.

    Example:
        >>> import retrograd as rg
        >>> rg.eye(2)
        tensor([[1., 0.],
                [0., 1.]])
    """
    return _made(np.eye(n, m, dtype=_dtype(dtype)), requires_grad)


def arange(start: float, end: float | None = None, step: float = 1, dtype: Any = None) -> Tensor:
    """start, start + step, … below end; 0, 1, … below start where end is None. Integers unless one is a float.

    Example:
        >>> import retrograd as rg
        >>> rg.arange(0, 6, 2)
        tensor([0, 2, 4])
    """
    if end is None:
        start, end = 0, start
    if dtype is None:
        floating = any(isinstance(v, float) for v in (start, end, step))
        dtype = dtypes.get_default_dtype() if floating else dtypes.int64
    if step == 0:
        raise ValueError("arange: step is 0")
    return _made(np.arange(start, end, step, dtype=dtypes.supported(dtype)), False)


def linspace(start: float, end: float, steps: int, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """`steps` evenly spaced numbers from start to end, both included.

    Example:
        >>> import retrograd as rg
        >>> rg.linspace(0.0, 1.0, 5)
        tensor([0.  , 0.25, 0.5 , 0.75, 1.  ])
    """
    return _made(np.linspace(start, end, steps, dtype=_dtype(dtype)), requires_grad)


def zeros_like(x: Tensor, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Zeros of x's shape, and dtype unless given.

    Example:
        >>> import retrograd as rg
        >>> rg.zeros_like(rg.ones(2))
        tensor([0., 0.])
    """
    return zeros(x.shape, dtype=dtype or x.dtype, requires_grad=requires_grad)


def ones_like(x: Tensor, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Ones of x's shape, and dtype unless given.

    Example:
        >>> import retrograd as rg
        >>> rg.ones_like(rg.zeros(2))
        tensor([1., 1.])
    """
    return ones(x.shape, dtype=dtype or x.dtype, requires_grad=requires_grad)


def empty_like(x: Tensor, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor of x's shape, and dtype unless given, whose elements are whatever the memory holds.

    Example:
        >>> import retrograd as rg
        >>> rg.empty_like(rg.ones(2, 3)).shape
        (2, 3)
    """
    return empty(x.shape, dtype=dtype or x.dtype, requires_grad=requires_grad)


def full_like(x: Tensor, fill_value: float, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """x's shape, and dtype unless given, filled with one value.

    Example:
        >>> import retrograd as rg
        >>> rg.full_like(rg.ones(2), 3.0)
        tensor([3., 3.])
    """
    return full(x.shape, fill_value, dtype or x.dtype, requires_grad)
