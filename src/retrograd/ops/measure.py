"""What training is measured by: sums over a parameter, its gradient and its update, and over the rows of results and
signals. They have no derivatives."""

from __future__ import annotations

from ..kernels.spec import Array
from .rule import Op


class GradientSums(Op):
    """Of a parameter, its gradient and that of an earlier step, or None: the kernel gradient_sums."""

    differentiable = False

    def forward(self, k, p: Array, g: Array, before: Array | None) -> tuple[Array, Array]:
        return k.gradient_sums(p, g, before)


class UpdateSums(Op):
    """Of a parameter and a copy of what it was: the kernel update_sums."""

    differentiable = False

    def forward(self, k, p: Array, kept: Array) -> Array:
        return k.update_sums(p, kept)


class UnitSums(Op):
    """Of a layer's results or signals (rows, units): the kernel unit_sums."""

    differentiable = False

    def forward(self, k, x: Array, term: str) -> Array:
        return k.unit_sums(x, term)


gradient_sums = GradientSums()
update_sums = UpdateSums()
unit_sums = UnitSums()
