"""NumPy's functions on tensors: np.sin(t), np.sum(t, axis=0), np.matmul(a, t) record as the ops of this package do.

NumPy hands a call over to an operand that has `__array_ufunc__` (NEP 13) or `__array_function__` (NEP 18). A function
that is in the tables here runs as an op; any other runs on the arrays underneath where no operand requires grad, and
is an error where one does, because its derivative would be lost.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ..kernels import elementary as kernels
from ..tensor import Tensor
from . import (
    activation,
    arrange,
    contraction,
    creation,
    elementary,
    elementwise,
    gather,
    linalg,
    product,
    reduction,
    scan,
    sorting,
    special,
)
from . import shape as shape_ops

_LOG_2 = math.log(2)


def _beside_nan(op: Callable[[Any, Any], Tensor]) -> Callable[[Any, Any], Tensor]:
    """The op, which gives the other operand where one is NaN."""

    def chosen(a: Any, b: Any) -> Tensor:
        return elementwise.where(elementary.isnan(a), b, elementwise.where(elementary.isnan(b), a, op(a, b)))

    return chosen


def _logaddexp2(a: Any, b: Any) -> Tensor:
    natural = elementary.logaddexp(elementwise.multiply(a, _LOG_2), elementwise.multiply(b, _LOG_2))
    return natural / _LOG_2


UFUNCS: dict[np.ufunc, Callable[..., Any]] = {
    **{
        getattr(np, name): getattr(elementwise, name)
        for name in (
            *("add", "subtract", "multiply", "divide", "power", "maximum", "minimum", "negative", "sign"),
            *("exp", "log", "sqrt", "square", "equal", "not_equal", "less", "less_equal", "greater", "greater_equal"),
            *("logical_and", "logical_or", "logical_not"),
        )
    },
    **{
        getattr(np, name): getattr(elementary, name)
        for name in ("reciprocal", "float_power", "deg2rad", "rad2deg", "isnan", "isinf", "isfinite")
    },
    **{function: getattr(elementary, name) for name, (function, _) in (kernels.UNARY | kernels.BINARY).items()},
    np.tanh: activation.tanh,
    np.fmax: _beside_nan(elementwise.maximum),
    np.fmin: _beside_nan(elementwise.minimum),
    np.logaddexp2: _logaddexp2,
    np.vecdot: lambda a, b, *, axis=-1: contraction.vecdot(a, b, axis),
    np.absolute: elementwise.abs,
    np.fabs: elementwise.abs,
    np.radians: elementary.deg2rad,
    np.degrees: elementary.rad2deg,
    np.positive: lambda x: x,
    np.conjugate: lambda x: x,
    np.matmul: product.matmul,
    np.bitwise_and: elementwise.logical_and,
    np.bitwise_or: elementwise.logical_or,
    np.invert: elementwise.logical_not,
}
"""NumPy's elementwise functions, and matmul, each with the op that it stands for; & and | are logical on tensors."""

_REDUCE: dict[np.ufunc, Callable[..., Any]] = {
    np.add: reduction.sum,
    np.multiply: scan.prod,
    np.maximum: reduction.amax,
    np.minimum: reduction.amin,
    np.logical_and: reduction.all,
    np.logical_or: reduction.any,
}
_ACCUMULATE: dict[np.ufunc, Callable[..., Any]] = {np.add: scan.cumsum, np.multiply: scan.cumprod}


def _over_axis(op: Callable[..., Any]) -> Callable[..., Any]:
    """A reduction as NumPy calls it."""
    return lambda a, axis=None, *, keepdims=False: op(a, axis, keepdim=keepdims)


def _with_ddof(op: Callable[..., Any]) -> Callable[..., Any]:
    return lambda a, axis=None, *, ddof=0, keepdims=False: op(a, axis, ddof, keepdims)


def _scanned(op: Callable[..., Any]) -> Callable[..., Any]:
    return lambda a, axis=None: op(arrange.ravel(a), 0) if axis is None else op(a, axis)


def _split(ary: Tensor, indices_or_sections: Any, axis: int = 0) -> list[Tensor]:
    n = ary.shape[axis]
    if isinstance(indices_or_sections, (int, np.integer)):
        if n % indices_or_sections:
            raise ValueError(f"np.split: {n} elements of axis {axis} do not make {indices_or_sections} equal parts")
        return list(shape_ops.split(ary, [n // int(indices_or_sections)] * int(indices_or_sections), axis))
    ends = [min(max(int(i), 0), n) for i in indices_or_sections]
    axis %= ary.ndim
    return [ary[arrange.at(axis, slice(a, b))] for a, b in zip([0, *ends], [*ends, n], strict=True)]


def _sort(a: Tensor, axis: int | None = -1) -> Tensor:
    return sorting.sort(arrange.ravel(a), 0).values if axis is None else sorting.sort(a, axis).values


def _argsort(a: Tensor, axis: int | None = -1) -> Tensor:
    return sorting.argsort(arrange.ravel(a), 0) if axis is None else sorting.argsort(a, axis)


def _repeat(a: Tensor, repeats: Any, axis: int | None = None) -> Tensor:
    return arrange.repeat_interleave(a, repeats, axis)


def _dot(a: Any, b: Any) -> Tensor:
    if np.ndim(a) == 0 or np.ndim(b) == 0:
        return elementwise.multiply(a, b)
    return contraction.tensordot(a, b, ([-1], [-2 if np.ndim(b) > 1 else -1]))


def _where(condition: Any, *choices: Any) -> Any:
    return elementwise.where(condition, *choices) if choices else np.nonzero(_arrays(condition))


def _clip(a: Tensor, a_min: Any = None, a_max: Any = None, *, min: Any = None, max: Any = None) -> Tensor:
    low, high = a_min if min is None else min, a_max if max is None else max
    a = a if low is None else elementwise.maximum(a, low)
    return a if high is None else elementwise.minimum(a, high)


def _pad(array: Tensor, pad_width: Any, mode: str = "constant", *, constant_values: float = 0) -> Tensor:
    modes = {"constant": "constant", "edge": "replicate", "reflect": "reflect", "wrap": "circular"}
    if mode not in modes:
        raise TypeError(f"np.pad: mode {mode!r} is not available on tensors; those are: {', '.join(modes)}")
    pairs = np.broadcast_to(pad_width, (array.ndim, 2))
    return arrange.pad(array, pairs[::-1].reshape(-1).tolist(), modes[mode], constant_values)


def _reshape(a: Tensor, /, shape: Any) -> Tensor:
    return shape_ops.reshape(a, *((shape,) if isinstance(shape, int) else tuple(shape)))


def _transpose(a: Tensor, axes: Any = None) -> Tensor:
    return shape_ops.permute(a, *(range(a.ndim)[::-1] if axes is None else axes))


def _concatenate(arrays: Any, /, axis: int | None = 0) -> Tensor:
    return shape_ops.concatenate([arrange.ravel(t) for t in arrays] if axis is None else list(arrays), axis or 0)


def _like(op: Callable[..., Any]) -> Callable[..., Any]:
    return lambda a, dtype=None: op(a, dtype=dtype)


def _norm(x: Tensor, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Tensor:
    return linalg.norm(x, ord, axis, keepdims)


def _svd(a: Tensor, full_matrices: bool = True, compute_uv: bool = True) -> Any:
    return linalg.svd(a, full_matrices) if compute_uv else linalg.svdvals(a)


FUNCTIONS: dict[Callable[..., Any], Callable[..., Any]] = {
    **{getattr(np, name): _over_axis(getattr(reduction, name)) for name in ("sum", "mean", "all", "any")},
    **dict.fromkeys((np.max, np.amax), _over_axis(reduction.amax)),
    **dict.fromkeys((np.min, np.amin), _over_axis(reduction.amin)),
    np.argmax: _over_axis(reduction.argmax),
    np.argmin: _over_axis(reduction.argmin),
    np.prod: _over_axis(scan.prod),
    np.var: _with_ddof(reduction.var),
    np.std: _with_ddof(reduction.std),
    np.cumsum: _scanned(scan.cumsum),
    np.cumprod: _scanned(scan.cumprod),
    np.diff: lambda a, n=1, axis=-1: scan.diff(a, n, axis),
    np.sort: _sort,
    np.argsort: _argsort,
    np.round: lambda a, decimals=0: elementary.round(a, decimals),
    np.clip: _clip,
    np.where: _where,
    np.reshape: _reshape,
    np.transpose: _transpose,
    np.concatenate: _concatenate,
    np.stack: lambda arrays, axis=0: shape_ops.stack(list(arrays), axis),
    np.split: _split,
    np.repeat: _repeat,
    np.pad: _pad,
    np.dot: _dot,
    np.copy: lambda a: elementwise.clone(a),
    np.squeeze: lambda a, axis=None: shape_ops.squeeze(a, axis),
    np.expand_dims: lambda a, axis: arrange.expand_dims(a, axis),
    np.swapaxes: lambda a, axis1, axis2: shape_ops.transpose(a, axis1, axis2),
    np.moveaxis: lambda a, source, destination: arrange.moveaxis(a, source, destination),
    np.broadcast_to: lambda array, shape: shape_ops.broadcast_to(array, shape),
    np.ravel: lambda a: arrange.ravel(a),
    np.flip: lambda m, axis=None: arrange.flip(m, axis),
    np.roll: lambda a, shift, axis=None: arrange.roll(a, shift, axis),
    np.rot90: lambda m, k=1, axes=(0, 1): arrange.rot90(m, k, axes),
    np.tile: lambda A, reps: arrange.tile(A, reps),
    np.take: lambda a, indices, axis=None: gather.take(a, indices, axis),
    np.take_along_axis: lambda arr, indices, axis=-1: gather.take_along_axis(arr, indices, axis),
    np.trace: lambda a, offset=0, axis1=0, axis2=1: arrange.trace(a, offset, axis1, axis2),
    np.diagonal: lambda a, offset=0, axis1=0, axis2=1: arrange.diagonal(a, offset, axis1, axis2),
    np.tensordot: lambda a, b, axes=2: contraction.tensordot(a, b, axes),
    np.einsum: contraction.einsum,
    np.meshgrid: lambda *xi, indexing="xy": list(arrange.meshgrid(*xi, indexing=indexing)),
    **{getattr(np, n): getattr(arrange, n) for n in ("fliplr", "flipud", "tril", "triu", "diag")},
    **{getattr(np, n): getattr(arrange, n) for n in ("atleast_1d", "atleast_2d", "atleast_3d")},
    **{getattr(np, n): getattr(arrange, n) for n in ("hstack", "vstack", "dstack", "column_stack")},
    **{getattr(np, n): getattr(contraction, n) for n in ("inner", "outer", "vdot", "kron")},
    **dict.fromkeys((np.cross, np.linalg.cross), lambda a, b, *, axis=-1: contraction.cross(a, b, axis)),
    np.sinc: special.sinc,
    np.nan_to_num: lambda x, *, nan=0.0, posinf=None, neginf=None: elementary.nan_to_num(x, nan, posinf, neginf),
    np.zeros_like: _like(creation.zeros_like),
    np.ones_like: _like(creation.ones_like),
    np.empty_like: _like(creation.empty_like),
    np.full_like: lambda a, fill_value, dtype=None: creation.full_like(a, fill_value, dtype),
    np.linalg.norm: _norm,
    np.linalg.matrix_norm: lambda x, /, *, keepdims=False, ord="fro": linalg.matrix_norm(x, ord, keepdim=keepdims),
    np.linalg.svdvals: linalg.svdvals,
    np.linalg.matmul: product.matmul,
    np.linalg.vecdot: lambda x1, x2, /, *, axis=-1: contraction.vecdot(x1, x2, axis),
    np.linalg.diagonal: lambda x, /, *, offset=0: arrange.diagonal(x, offset, -2, -1),
    np.linalg.svd: _svd,
    np.linalg.pinv: lambda a, rcond=None: linalg.pinv(a, rcond),
    **{
        getattr(np.linalg, n): getattr(linalg, n)
        for n in ("inv", "solve", "cholesky", "qr", "eigh", "eigvalsh", "det", "slogdet", "matrix_power", "multi_dot")
    },
}
"""NumPy's other functions, each with an op of NumPy's own signature."""

_OF_VALUES = {
    *(np.shape, np.ndim, np.size, np.result_type, np.can_cast, np.iscomplexobj, np.isrealobj),
    *(np.allclose, np.isclose, np.array_equal, np.array_equiv, np.shares_memory, np.may_share_memory),
    *(np.array_repr, np.array_str, np.array2string, np.count_nonzero, np.nonzero, np.argwhere, np.save, np.savetxt),
}
"""Functions whose results carry no gradient, so that arrays do."""


def _tensors(values: Any) -> Iterable[Tensor]:
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, (list, tuple)):
        for value in values:
            yield from _tensors(value)
    elif isinstance(values, dict):
        yield from _tensors(tuple(values.values()))


def _arrays(values: Any) -> Any:
    if isinstance(values, Tensor):
        return values.detach().numpy()
    if isinstance(values, (list, tuple)):
        return type(values)(map(_arrays, values)) if type(values) in (list, tuple) else values
    return {name: _arrays(value) for name, value in values.items()} if isinstance(values, dict) else values


def _called(name: str, op: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
    """The op's result; an argument of NumPy's that it has not is an error that names it."""
    try:
        inspect.signature(op).bind(*args, **kwargs)
    except TypeError as error:
        raise TypeError(f"np.{name}: on tensors, {error}") from None
    return op(*args, **kwargs)


def _without_rule(name: str, args: Any, kwargs: dict[str, Any], function: Callable[..., Any]) -> Any:
    if any(t.requires_grad for t in _tensors((args, kwargs))):
        raise TypeError(
            f"np.{name} has no derivative here, and an operand requires grad; call it on tensor.detach().numpy(), "
            "or write an op for it with rg.autograd.Function"
        )
    return function(*_arrays(args), **_arrays(kwargs))


def _array_ufunc(self: Tensor, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
    name = ufunc.__name__ if method == "__call__" else f"{ufunc.__name__}.{method}"
    if kwargs.get("out") is not None:
        raise TypeError(f"np.{name}: out= cannot take tensors or their results; assign the result instead")
    kwargs = {key: value for key, value in kwargs.items() if key != "out"}
    if method == "__call__" and ufunc in UFUNCS:
        return _called(name, UFUNCS[ufunc], inputs, kwargs)
    if method == "reduce" and ufunc in _REDUCE:
        reduce = lambda a, axis=0, *, keepdims=False: _REDUCE[ufunc](a, axis, keepdim=keepdims)  # noqa: E731
        return _called(name, reduce, inputs, kwargs)
    if method == "accumulate" and ufunc in _ACCUMULATE:
        return _called(name, lambda a, axis=0: _ACCUMULATE[ufunc](a, axis), inputs, kwargs)
    return _without_rule(name, inputs, kwargs, getattr(ufunc, method))


def _array_function(self: Tensor, function: Callable[..., Any], types: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    name = function.__name__ if function.__module__ == "numpy" else f"{function.__module__}.{function.__name__}"[6:]
    if function in FUNCTIONS:
        return _called(name, FUNCTIONS[function], args, kwargs)
    if function in _OF_VALUES:
        return function(*_arrays(args), **_arrays(kwargs))
    return _without_rule(name, args, kwargs, function)


Tensor.__array_ufunc__ = _array_ufunc  # type: ignore[assignment]
Tensor.__array_function__ = _array_function  # type: ignore[attr-defined]
