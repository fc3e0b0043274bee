"""Gathering along an axis at an index for each place, and its transpose."""

from __future__ import annotations

from typing import Any

from ..kernels.spec import Array
from ..tape import Node
from ..tensor import Tensor
from .rule import Op


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


_take_along_axis, _add_along_axis = TakeAlongAxis(), AddAlongAxis()
