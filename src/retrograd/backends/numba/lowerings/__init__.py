"""How calls become records, a family a file: a kernel's lowering, and the entries that read its records."""

from __future__ import annotations

from ..lowering import LOWERINGS
from . import elementwise, index, loss, measure, product, random, reduction, update

__all__ = ["COMPILED", "elementwise", "index", "loss", "measure", "product", "random", "reduction", "update"]

COMPILED = frozenset(LOWERINGS)
"""The kernels that programs may call."""
