"""Gathering along an axis at an index for each place, and its transpose."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..kernels.spec import Array
from ..tape import Node
from ..tensor import Tensor
from .rule import Op
from .shape import broadcast_to


class TakeAlongAxis(Op):
    name = "take_along_axis"
    saves = (1,)

    def forward(self, k: Any, x: Array, indices: Array, axis: int, size: int) -> Array:
        return k.take_along_axis(x, indices, axis)

    def vjp(self, ctx: Node, g: Tensor) -> tuple[Tensor, None]:
        return _add_along_axis(g, *self.saved(ctx), **ctx.attributes), None

    def jvp(self, ctx: Node, t: Tensor, _: None) -> Tensor:
        return self(t, *self.saved(ctx), **ctx.attributes)


class AddAlongAxis(Op):
    """The transpose of TakeAlongAxis: zeros with g added at the indices."""

    name = "add_along_axis"
    saves = (1,)

    def forward(self, k: Any, g: Array, indices: Array, axis: int, size: int) -> Array:
        return k.add_along_axis(g, indices, axis, size)

    def vjp(self, ctx: Node, g: Tensor) -> tuple[Tensor, None]:
        return _take_along_axis(g, *self.saved(ctx), **ctx.attributes), None

    def jvp(self, ctx: Node, t: Tensor, _: None) -> Tensor:
        return self(t, *self.saved(ctx), **ctx.attributes)


class PutAlongAxis(Op):
    """x with values in place of what stands at the indices."""

    name = "put_along_axis"
    saves = (2,)

    def forward(self, k: Any, x: Array, values: Array, indices: Array, axis: int) -> Array:
        y = k.copy(x)
        k.put_along_axis(y, values, indices, axis)
        return y

    def vjp(self, ctx: Node, g: Tensor) -> tuple[Tensor, Tensor, None]:
        (indices,) = self.saved(ctx)
        axis = ctx["axis"]
        zeros = broadcast_to(Tensor(np.zeros((), g.dtype)), indices.shape)
        taken = _take_along_axis(g, indices, axis=axis, size=g.shape[axis])
        return self(g, zeros, indices, axis=axis), taken, None

    def jvp(self, ctx: Node, t: Tensor | None, values: Tensor | None, _: None) -> Tensor:
        (indices,) = self.saved(ctx)
        dtype = (t if values is None else values).dtype
        given = [
            broadcast_to(Tensor(np.zeros((), dtype)), shape) if tangent is None else tangent
            for tangent, shape in zip((t, values), ctx.shapes, strict=False)
        ]
        return self(*given, indices, **ctx.attributes)


_take_along_axis, _add_along_axis, _put_along_axis = TakeAlongAxis(), AddAlongAxis(), PutAlongAxis()
