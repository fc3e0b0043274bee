"""Indexing, and writing in place."""

from __future__ import annotations

import math
import types
import weakref
from typing import Any

import numpy as np

from ..kernels.spec import Array
from ..tape import Node, state
from ..tensor import Tensor
from . import along
from .elementwise import where
from .rule import Op, Operand, as_tensor_operand, method
from .shape import broadcast_to, permute, reshape, sum_to

_BASIC = (int, np.integer, slice, types.EllipsisType, type(None))


class Slice(Op):
    """Basic indexing: a view."""

    view = True
    linear = True

    def forward(self, k: Any, x: Array, key: Any) -> Array:
        return k.slice_view(x, key)

    def vjp(self, ctx: Node, g: Tensor) -> tuple[Tensor]:
        return (_index_add(g, key=ctx["key"], shape=ctx.shapes[0]),)


class Index(Op):
    """Indexing by integer or boolean arrays: a copy."""

    linear = True

    def forward(self, k: Any, x: Array, key: Any) -> Array:
        return k.index(x, key)

    def vjp(self, ctx: Node, g: Tensor) -> tuple[Tensor]:
        return (_index_add(g, key=ctx["key"], shape=ctx.shapes[0]),)


class IndexAdd(Op):
    """Zeros with g added at the key: the transpose of both."""

    linear = True

    def forward(self, k: Any, g: Array, key: Any, shape: tuple[int, ...]) -> Array:
        if not is_basic(key):
            return k.index_add(g, key, shape)
        y = k.full(shape, 0.0, g.dtype)  # no place is named twice
        k.assign(k.slice_view(y, key), g, ...)
        return y

    def vjp(self, ctx: Node, g: Tensor) -> tuple[Tensor]:
        return (_take(g, ctx["key"]),)


_slice, _index, _index_add = Slice(), Index(), IndexAdd()


def is_basic(key: Any) -> bool:
    """Whether indexing by this key gives a view."""
    parts = key if isinstance(key, tuple) else (key,)
    return all(isinstance(part, _BASIC) and not isinstance(part, bool) for part in parts)


def _plain(key: Any) -> Any:
    if isinstance(key, tuple):
        return tuple(_plain(part) for part in key)
    if isinstance(key, Tensor):
        key = key.array
    if isinstance(key, list):
        key = np.asarray(key, dtype=None if key else np.int64)
    if isinstance(key, np.ndarray):
        if key.dtype.kind not in "iub":
            raise IndexError(f"index: an array of {key.dtype} cannot index; expected integers or booleans")
        state.kernels.look(key)
        if key.ndim == 0 and key.dtype.kind != "b":
            return int(key)
    return key


def has_numbers(array: Any) -> bool:
    """Whether a value's numbers are there to look at; while a step is traced, those of what it works on are not."""
    return not hasattr(array, "dtype") or isinstance(array, (np.ndarray, np.generic))


def _is_index(part: Any) -> bool:
    return hasattr(part, "dtype") or isinstance(part, int)


def _at_unknown(x: Tensor, parts: tuple[Any, ...]) -> Tensor:
    """x[parts] where not all arrays among the parts have numbers yet: an axis at a time, by take_along_axis.

    As NumPy does (User Guide, "Advanced indexing"): integers count as arrays, all of them broadcast, and their axes
    stand where they stood, or in front where slices came between.

    Raises:
        IndexError: a boolean array without numbers, whose number of elements would not be known; too many parts.
    """
    if any(hasattr(p, "dtype") and p.dtype.kind == "b" for p in parts):
        raise IndexError(
            "a boolean array cannot index beside, or as, a tensor whose value is not known yet, because the result's "
            "shape would not be known; use rg.where(), or multiply by the mask"
        )
    at = next((n for n, part in enumerate(parts) if part is Ellipsis), len(parts))
    missing = x.ndim - sum(part is not None and part is not Ellipsis for part in parts)
    if missing < 0:
        raise IndexError(f"too many indices for {x.ndim} axes")
    parts = (*parts[:at], *(slice(None),) * missing, *parts[at + 1 :])
    axes = [n for n, part in enumerate(parts) if _is_index(part)]
    indices = [
        (as_tensor_operand("index", parts[n]) if has_numbers(parts[n]) else Tensor(parts[n])).to(np.int64) for n in axes
    ]
    shape = np.broadcast_shapes(*(i.shape for i in indices))
    count = math.prod(shape)

    x = _slice(x, key=tuple(slice(None) if _is_index(part) else part for part in parts))
    others = [n for n in range(x.ndim) if n not in axes]
    kept = tuple(x.shape[n] for n in others)
    y = permute(x, *axes, *others)
    for n, index in enumerate(indices):  # y: what is taken so far, this axis, all that follow
        size, rest = y.shape[n > 0], math.prod(y.shape[1 + (n > 0) :])
        y = reshape(y, *((count,) if n else ()), size, rest)
        places = broadcast_to(index, shape)
        places = broadcast_to(reshape(places, count, *(1,) * (y.ndim - 1)), (count, *((1,) if n else ()), rest))
        y = along._take_along_axis(y, places, axis=int(n > 0), size=size)
        y = reshape(y, count, *(x.shape[a] for a in axes[n + 1 :]), *kept)
    y = reshape(y, *shape, *kept)
    first = axes[0] if axes[-1] - axes[0] == len(axes) - 1 else 0
    order = (*range(len(shape), len(shape) + first), *range(len(shape)), *range(len(shape) + first, y.ndim))
    return permute(y, *order)


def _kept(key: Any) -> Any:
    """The key as it is now, whatever becomes of its arrays before backward."""
    if isinstance(key, tuple):
        return tuple(_kept(part) for part in key)
    return key.copy() if isinstance(key, np.ndarray) else key


def _take(x: Tensor, key: Any) -> Tensor:
    parts = key if isinstance(key, tuple) else (key,)
    if not all(map(has_numbers, parts)):
        return _at_unknown(x, parts)
    return (_slice if is_basic(key) else _index)(x, key=key)


def _getitem(x: Tensor, key: Any) -> Tensor:
    """x[key] by NumPy's rules: integers, slices, None and Ellipsis give a view; integer or boolean arrays (or
    tensors) a copy, whose gradient adds up where an index repeats.

    Raises:
        IndexError: the key does not fit the shape.
    """
    key = _plain(key)
    if state.recording and x._requires_grad:
        key = _kept(key)
    try:
        return _take(x, key)
    except IndexError as error:
        raise IndexError(f"index: {error}; the tensor's shape is {x.shape}") from None


Tensor.__getitem__ = _getitem  # type: ignore[method-assign,assignment]


# In place


class Overwrite(Op):
    """x with values in place of what stands at the key; what `x[key] = values` records."""

    name = "setitem"
    linear = True

    def forward(self, k: Any, x: Array, values: Array, key: Any) -> Array:
        y = k.copy(x)
        k.assign(y, values, key)
        return y

    def vjp(self, ctx: Node, g: Tensor) -> tuple[Tensor, Tensor]:
        taken = _take(g, ctx["key"])
        lead = len(ctx.shapes[1]) - taken.ndim  # axes of size one that NumPy dropped
        if lead > 0:
            taken = reshape(taken, *(1,) * lead, *taken.shape)
        return _overwrite(g, Tensor(np.zeros((), g.dtype)), key=ctx["key"]), sum_to(taken, ctx.shapes[1])


class Stale(Op):
    """What made a tensor whose memory something recorded has changed through another tensor: a view of it, or one
    that it is a view of. `before` is what made it until then; assigning the view to its place brings that back."""

    differentiable = False

    def vjp(self, ctx: Node, g: Tensor) -> tuple[()]:
        self.refuse(ctx)
        return ()

    def refuse(self, ctx: Node) -> None:
        raise RuntimeError(
            f"backward: {ctx['name']} changed the memory of a tensor of shape {ctx['shape']} in place through another "
            "tensor, a view of it or one that it is a view of; take a view again after such a change, assign a "
            "changed view to its place (tensor[key] = view), or work out of place"
        )


_overwrite, _stale = Overwrite(), Stale()


def become(x: Tensor, result: Tensor, name: str, written: Tensor | None = None) -> Tensor:
    """Give x, in place, the values of `result`, which an op made from it; where that was recorded, x is from then
    on what the op made, and the other tensors over its memory but `written` are stale.

    Raises:
        RuntimeError: x is a leaf that requires grad, or a view of one, while recording; or its memory is read-only.
        ValueError: result's shape is not x's.
    """
    array = x.writable(name)
    if result.shape != x.shape:
        raise ValueError(f"{name}: the result's shape {result.shape} does not fit into the tensor's {x.shape} in place")
    others = [] if result.edge is None else [t for t in x.family() if t is not x and t is not written]
    for t in others:
        if t.requires_grad and t.is_leaf:
            raise RuntimeError(
                f"{name}: in-place change of a view of shape {x.shape} of a leaf tensor of shape {t.shape} that "
                "requires grad; do it under rg.no_grad(), or clone() the leaf first"
            )
    state.kernels.hold([x])
    state.kernels.assign(array, result.array)
    x.changed()
    if result.edge is not None:
        x._requires_grad, x.edge = True, result.edge
    for t in others:
        facts = {"name": name, "shape": t.shape, "through": weakref.ref(x), "before": (t._requires_grad, t.edge)}
        t._requires_grad, t.edge = True, (Node(_stale, facts, [], [], [], [], (), 1), 0)
    return x


def _overwritten_at_unknown(x: Tensor, key: Any, values: Tensor) -> Tensor:
    """x with one value in place of what stands where a boolean array holds, which has no numbers yet.

    Raises:
        IndexError: the key is another, or there are more values, whose places would not be known.
    """
    if isinstance(key, tuple) or key.dtype.kind != "b" or key.shape != x.shape[: key.ndim] or values.size != 1:
        raise IndexError(
            "setitem: at indices that are not known yet only one value can be set, where a boolean array holds whose "
            f"axes are the tensor's first; the tensor's shape is {x.shape}, the values' {values.shape}; use rg.where() "
            "or index_add()"
        )
    mask = reshape(Tensor(key), *key.shape, *(1,) * (x.ndim - key.ndim))
    return where(mask, reshape(values.to(x.dtype), ()), x.clone())


def _setitem(x: Tensor, key: Any, values: Operand) -> None:
    key = _plain(key)
    values = as_tensor_operand("setitem", values, x)
    if not all(map(has_numbers, key if isinstance(key, tuple) else (key,))):
        become(x, _overwritten_at_unknown(x, key, values), "setitem", values)
        return
    if x.edge is not None and x.edge[0].op is _stale and x.edge[0]["through"]() is values:
        x._requires_grad, x.edge = x.edge[0]["before"]
    array = x.writable("setitem")
    try:
        if state.recording and (x.requires_grad or values.requires_grad):
            result = _overwrite(x, values.to(x.dtype), key=key)
        else:
            state.kernels.hold([x])
            state.kernels.assign(array, values.array, key)
            x.changed()
            return
    except (IndexError, ValueError, TypeError) as error:
        raise type(error)(f"setitem: {error}; the tensor's shape is {x.shape}, the values' {values.shape}") from None
    become(x, result, "setitem", values)


Tensor.__setitem__ = _setitem  # type: ignore[method-assign,assignment]


def _in_place(name: str, function: str):
    def change(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        x.writable(name)
        source = x
        if state.recording and any(isinstance(t, Tensor) and t.requires_grad for t in (x, *args)):
            source = x.clone()  # what the derivative reads must outlast the change
            args = tuple(source if a is x else a for a in args)
        result = getattr(source, function)(*args, **kwargs)
        if result.dtype != x.dtype and not np.can_cast(result.dtype, x.dtype, "same_kind"):
            raise TypeError(f"{name}: the result is {result.dtype}, which a {x.dtype} tensor cannot take in place")
        return become(x, result, name)

    change.__name__ = change.__qualname__ = name
    change.__doc__ = f"{function}, in place; returns the tensor itself."
    return change


for _name in (
    *("add", "sub", "mul", "div", "pow", "clamp", "clip", "neg", "abs", "exp", "log", "sqrt", "square", "reciprocal"),
    *("lerp", "addcmul", "addcdiv", "round", "floor", "nan_to_num", "masked_fill"),
    *("index_add", "index_copy", "index_fill", "scatter", "scatter_add"),
    *("relu", "tanh", "sigmoid"),
):
    setattr(Tensor, f"{_name}_", _in_place(f"{_name}_", _name))
for _name, _function in {"iadd": "add", "isub": "sub", "imul": "mul", "itruediv": "div", "ipow": "pow"}.items():
    setattr(Tensor, f"__{_name}__", _in_place(f"__{_name}__", _function))


@method
def fill_(x: Tensor, value: float) -> Tensor:
    """Every element set to value, in place; returns the tensor itself."""
    _setitem(x, ..., value)
    return x


@method
def zero_(x: Tensor) -> Tensor:
    """Every element set to 0, in place; returns the tensor itself."""
    return fill_(x, 0)


@method
def copy_(x: Tensor, source: Operand) -> Tensor:
    """The elements of source, broadcast and converted, in place; returns the tensor itself."""
    _setitem(x, ..., source)
    return x
