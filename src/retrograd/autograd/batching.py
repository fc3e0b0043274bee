"""One function for many rows at once: it is written for one row, and each of its kernel calls runs on all of them.

While such a function runs, `state.kernels` is a Rows table, and an array that differs between rows is a RowArray, which
shows the shape that one row's has: the ops and the rules of derivatives are the ones that run elsewhere. What is the
same for all rows, such as a model's weights, stays an array, and a product with it is one product.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..kernels import activation, elementary, elementwise
from ..kernels.spec import TABLE, Array, Composed
from ..tape import Cotangents, state
from ..tensor import ArrayCotangents


class RowArray:
    """An array for each row, all of one shape and dtype.

    Args:
        array: theirs together, the rows along its first axis.
    """

    __slots__ = ("array",)

    def __init__(self, array: Any) -> None:
        self.array = array

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape[1:]

    @property
    def dtype(self) -> np.dtype:
        return self.array.dtype

    @property
    def ndim(self) -> int:
        return self.array.ndim - 1

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def flags(self) -> Any:
        return self.array.flags

    def __len__(self) -> int:
        return self.shape[0]

    def __getattr__(self, name: str) -> Any:
        raise _refuse("NumPy's reading" if name.startswith("__array") else f"array.{name}")

    def __array__(self, *args: Any, **kwargs: Any) -> Array:
        raise _refuse("NumPy's reading")

    def __bool__(self) -> bool:
        raise _refuse("the truth")


def _refuse(what: str) -> RuntimeError:
    return RuntimeError(
        f"{what} of a value that is another one in each row, where a function runs once for many rows; for a branch "
        "use rg.where(), rg.maximum() or rg.clamp()"
    )


class Rows:
    """A kernel table that runs each call on all rows.

    Args:
        count: how many rows there are.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.kernels = state.kernels

    def __getattr__(self, name: str) -> Any:
        if name not in TABLE:
            return getattr(self.kernels, name)
        kernel, call = TABLE[name], getattr(self.kernels, name)
        rule = _composed if isinstance(kernel, Composed) else _RULES.get(name, _one_by_one)

        def run(*args: Any, **attributes: Any) -> Any:
            given = dict(zip(kernel.parameters, args, strict=False)) | attributes
            if name in _ALWAYS or _any_rows(given):
                return rule(self, name, given)
            return call(*args, **attributes)

        self.__dict__[name] = run
        return run

    def watch(self, algebra: Cotangents) -> Cotangents:
        if isinstance(algebra, ArrayCotangents):
            algebra.add = self._add  # type: ignore[method-assign]
        return algebra

    def _add(self, a: Any, b: Any, a_is_ours: bool) -> Any:
        return self.add(a, b)  # not in place: b may have rows where a has none

    def stretched(self, value: Any) -> Any:
        """The value's array for all rows."""
        if isinstance(value, RowArray):
            return value.array
        return self.kernels.broadcast_to(value, (self.count, *value.shape))

    def aligned(self, value: Any, ndim: int) -> Any:
        """The value's array, to broadcast with others whose rows have up to ndim axes."""
        if not isinstance(value, RowArray) or value.ndim == ndim:
            return value.array if isinstance(value, RowArray) else value
        return self.kernels.reshape(value.array, (self.count, *(1,) * (ndim - value.ndim), *value.shape))

    def folded(self, value: Any) -> Any:
        """The array with the rows' first axes joined into one."""
        array = self.stretched(value)
        return self.kernels.reshape(array, (self.count * array.shape[1], *array.shape[2:]))

    def unfolded(self, array: Any) -> RowArray:
        return RowArray(self.kernels.reshape(array, (self.count, array.shape[0] // self.count, *array.shape[1:])))


_ALWAYS = ("full", "copy")
"""What makes memory to be written in, perhaps with something else in each row."""


def _any_rows(given: dict[str, Any]) -> bool:
    return any(
        isinstance(v, RowArray) or (type(v) is tuple and any(isinstance(part, RowArray) for part in v))
        for v in given.values()
    )


# How each kernel runs on all rows: a function of the table, the kernel's name and its arguments


def _one_by_one(rows: Rows, name: str, given: dict[str, Any]) -> Any:
    """A kernel without a rule of its own."""
    k = rows.kernels

    def of_row(value: Any, n: int) -> Any:
        if isinstance(value, RowArray):
            return k.slice_view(value.array, (n,))
        return tuple(of_row(part, n) for part in value) if type(value) is tuple else value

    if TABLE[name].mutates:
        raise NotImplementedError(f"{name}: cannot run for many rows at once")
    made = [getattr(k, name)(**{p: of_row(v, n) for p, v in given.items()}) for n in range(rows.count)]
    if type(made[0]) is tuple:
        return tuple(None if part[0] is None else _stacked(k, part) for part in zip(*made, strict=True))
    return _stacked(k, made)


def _stacked(k: Any, parts: Sequence[Any]) -> RowArray:
    arrays = [np.asarray(p) if isinstance(p, np.generic) else p for p in parts]
    return RowArray(k.concatenate(tuple(k.reshape(a, (1, *a.shape)) for a in arrays), 0))


def _composed(rows: Rows, name: str, given: dict[str, Any]) -> Any:
    return TABLE[name].by(rows)(**given)  # type: ignore[attr-defined]


def _elementwise(rows: Rows, name: str, given: dict[str, Any]) -> Any:
    arrays = TABLE[name].arrays & given.keys()
    ndim = max(given[p].ndim for p in arrays)
    made = getattr(rows.kernels, name)(**{p: rows.aligned(v, ndim) if p in arrays else v for p, v in given.items()})
    return None if made is None else RowArray(made)


def _of_one_shape(rows: Rows, name: str, given: dict[str, Any]) -> Any:
    arrays = TABLE[name].arrays & given.keys()
    made = getattr(rows.kernels, name)(**{p: rows.stretched(v) if p in arrays else v for p, v in given.items()})
    return None if made is None else RowArray(made)


def _full(rows: Rows, name: str, given: dict[str, Any]) -> RowArray:
    return RowArray(rows.kernels.full(**{**given, "shape": (rows.count, *given["shape"])}))


def _assign(rows: Rows, name: str, given: dict[str, Any]) -> None:
    a, values, key = given["a"], given["values"], given.get("key", ...)
    if not isinstance(a, RowArray) or isinstance(key, RowArray):
        raise NotImplementedError("setitem: a tensor that many rows share cannot be changed in place by each of them")
    ndim = np.broadcast_to(np.empty((), bool), a.shape)[key].ndim
    lead = max(0, values.ndim - ndim)  # axes of size one, which assignment drops
    if isinstance(values, RowArray) and lead:
        values = RowArray(rows.kernels.reshape(values.array, (rows.count, *values.shape[lead:])))
    rows.kernels.assign(a.array, rows.aligned(values, ndim), ... if key is Ellipsis else _keyed(key))


def _reshape(rows: Rows, name: str, given: dict[str, Any]) -> RowArray:
    return RowArray(rows.kernels.reshape(given["x"].array, (rows.count, *given["shape"])))


def _transpose(rows: Rows, name: str, given: dict[str, Any]) -> RowArray:
    return RowArray(rows.kernels.transpose(given["x"].array, (0, *(a + 1 for a in given["axes"]))))


def _broadcast_to(rows: Rows, name: str, given: dict[str, Any]) -> RowArray:
    shape = tuple(given["shape"])
    return RowArray(rows.kernels.broadcast_to(rows.aligned(given["x"], len(shape)), (rows.count, *shape)))


def _keyed(key: Any) -> tuple[Any, ...]:
    return (slice(None), *(key if isinstance(key, tuple) else (key,)))


def _slice_view(rows: Rows, name: str, given: dict[str, Any]) -> RowArray:
    return RowArray(rows.kernels.slice_view(given["x"].array, _keyed(given["key"])))


def _index(rows: Rows, name: str, given: dict[str, Any]) -> RowArray:
    if isinstance(given["key"], (tuple, RowArray)):  # where arrays and slices mix, NumPy moves axes
        return _one_by_one(rows, name, given)
    return RowArray(rows.kernels.index(given["x"].array, _keyed(given["key"])))


def _index_add(rows: Rows, name: str, given: dict[str, Any]) -> RowArray:
    if isinstance(given["key"], (tuple, RowArray)):
        return _one_by_one(rows, name, given)
    return RowArray(rows.kernels.index_add(given["g"].array, _keyed(given["key"]), (rows.count, *given["shape"])))


def _over_axes(rows: Rows, name: str, given: dict[str, Any]) -> RowArray:
    axes = tuple(a + 1 for a in given["axes"])
    return RowArray(getattr(rows.kernels, name)(**{**given, "x": given["x"].array, "axes": axes}))


def _along_axis(rows: Rows, name: str, given: dict[str, Any]) -> RowArray:
    arrays = {p: rows.stretched(given[p]) for p in TABLE[name].arrays}
    return RowArray(getattr(rows.kernels, name)(**{**given, **arrays, "axis": given["axis"] + 1}))


def _concatenate(rows: Rows, name: str, given: dict[str, Any]) -> RowArray:
    return RowArray(rows.kernels.concatenate(tuple(map(rows.stretched, given["arrays"])), given["axis"] + 1))


def _matmul(rows: Rows, name: str, given: dict[str, Any]) -> RowArray:
    a, b = given["a"], given["b"]
    if isinstance(a, RowArray) and not isinstance(b, RowArray) and a.ndim == b.ndim == 2:
        return rows.unfolded(rows.kernels.matmul(rows.folded(a), b))
    ndim = max(a.ndim, b.ndim)
    return RowArray(rows.kernels.matmul(rows.aligned(a, ndim), rows.aligned(b, ndim)))


def _linear_forward(rows: Rows, name: str, given: dict[str, Any]) -> RowArray | tuple[RowArray, ...]:
    x, w, b = given["x"], given["w"], given.get("b")
    if not isinstance(w, RowArray) and not isinstance(b, RowArray):
        made = rows.kernels.linear_forward(**{**given, "x": rows.folded(x)})
        return tuple(map(rows.unfolded, made)) if isinstance(made, tuple) else rows.unfolded(made)
    z = rows.matmul(x, rows.transpose(w, (1, 0)))
    if b is not None:
        z = rows.add(z, b)
    activation = given.get("activation", "identity")
    y = z if activation == "identity" else rows.activation_forward(z, activation, given.get("alpha", 0.0))
    return (y, z) if given.get("need_z") else y


def _linear_backward(rows: Rows, name: str, given: dict[str, Any]) -> tuple[Any, Any, Any]:
    g, x, w, saved = (given.get(p) for p in ("g", "x", "w", "saved"))
    if saved is not None:
        g = rows.activation_backward(g, saved, given["activation"], given["alpha"])
    turned = rows.transpose(g, (1, 0))
    dx = rows.matmul(g, w) if given["need_x"] else None
    if dx is not None and given.get("x_activation", "identity") != "identity":
        dx = rows.activation_backward(dx, x, given["x_activation"], given["x_alpha"])
    return (
        dx,
        rows.matmul(turned, x) if given["need_w"] else None,
        rows.sum(g, (0,), False) if given["need_b"] else None,
    )


def _loss(rows: Rows, name: str, given: dict[str, Any]) -> tuple[RowArray, RowArray | None]:
    """Each row's loss is reduced by itself."""
    k, x, reduction = rows.kernels, given["x"], given["reduction"]
    by_class = name == "cross_entropy_loss"
    prepare = rows.folded if by_class else rows.stretched
    arrays = {"x": prepare(x), "target": prepare(given["target"])}
    loss, dx = getattr(k, name)(**{**given, **arrays, "reduction": "none"})
    if by_class:
        loss, dx = rows.unfolded(loss).array, None if dx is None else rows.unfolded(dx).array
    if reduction == "none":
        return RowArray(loss), None if dx is None else RowArray(dx)
    scale = 1.0
    if reduction == "mean":
        scale = 1 / (x.shape[0] if by_class else x.size) if x.size else math.nan
        dx = None if dx is None else k.multiply(dx, np.asarray(scale, dx.dtype))
    total = k.sum(loss, tuple(range(1, loss.ndim)), False, scale)
    return RowArray(total), None if dx is None else RowArray(dx)


_ELEMENTWISE = [
    name
    for name, kernel in TABLE.items()
    if kernel.reference.__module__ in (module.__name__ for module in (activation, elementary, elementwise))
]
_RULES: dict[str, Callable[[Rows, str, dict[str, Any]], Any]] = {
    **dict.fromkeys(_ELEMENTWISE, _elementwise),
    **dict.fromkeys(("sum", "amax", "amin", "logsumexp", "argmax", "argmin", "all", "any"), _over_axes),
    **dict.fromkeys(("softmax", "softmax_backward", "log_softmax", "log_softmax_backward"), _along_axis),
    **dict.fromkeys(("mse_loss", "l1_loss", "huber_loss", "bce_with_logits_loss", "cross_entropy_loss"), _loss),
    **dict.fromkeys(("copy", "accumulate", "activation_forward", "activation_backward"), _of_one_shape),
    "full": _full,
    "assign": _assign,
    "reshape": _reshape,
    "transpose": _transpose,
    "broadcast_to": _broadcast_to,
    "slice_view": _slice_view,
    "index": _index,
    "index_add": _index_add,
    "concatenate": _concatenate,
    "matmul": _matmul,
    "linear_forward": _linear_forward,
    "linear_backward": _linear_backward,
}


@contextmanager
def rows_at_once(count: int) -> Iterator[Rows]:
    """A block in which kernels run on this many rows."""
    previous = state.kernels
    table = Rows(count)
    state.kernels = table
    try:
        yield table
    finally:
        state.kernels = previous
