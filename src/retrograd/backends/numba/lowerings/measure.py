"""What training is measured by.

Each entry takes a parameter and what it is measured against; elements, elements of a block.
"""

from __future__ import annotations

import math

from .. import measure
from ..jit import inlined
from ..lowering import Call, Lowering, entry, extent_of, floating, lowers
from ..measure import TERM_CODES
from ..record import extent, integer, matrix, vector


@inlined
def _gradient_sums(dtype, record, start, sums_at, before):
    n, block = integer(record, 0), integer(record, 1)
    p, g = vector(dtype, record, 0, start, n), vector(dtype, record, 1, start, n)
    sums = matrix(dtype, record, sums_at, start, (n + block - 1) // block, 5)
    measure.gradient(p, g, before, block, sums, vector(dtype, record, sums_at + 1, start, n))
    return 0


@entry
def gradient_sums(dtype, record, start, rows):
    """p, g, sums, kept."""
    return _gradient_sums(dtype, record, start, 2, None)


@entry
def gradient_sums_with_before(dtype, record, start, rows):
    """p, g, before, sums, kept."""
    return _gradient_sums(dtype, record, start, 3, vector(dtype, record, 2, start, integer(record, 0)))


@entry
def update_sums(dtype, record, start, rows):
    """p, kept, sums."""
    n, block = integer(record, 0), integer(record, 1)
    p, kept = vector(dtype, record, 0, start, n), vector(dtype, record, 1, start, n)
    measure.update(p, kept, block, matrix(dtype, record, 2, start, (n + block - 1) // block, 1))
    return 0


@entry
def unit_sums(dtype, record, start, rows):
    """x, sums; [rows], units, the term's code."""
    count, units = extent(record, 0, rows), integer(record, 2)
    x = matrix(dtype, record, 0, start, count, units)
    measure.units(x, integer(record, 3), vector(dtype, record, 1, start, units))
    return 0


def _sums(low: Lowering, call: Call, name: str, given: tuple[str, ...]) -> None:
    views = [low.plain(call, a) for a in given]
    made = [low.made(call, n) for n in range(len(call.outputs))]
    integers = [math.prod(views[0].shape), call.arguments["block"]]
    low.entry(call, name, floating(call, *views), [*views, *made], integers)


@lowers("gradient_sums")
def lower_gradient_sums(low: Lowering, call: Call) -> None:
    if call.arguments["before"] is None:
        _sums(low, call, "gradient_sums", ("p", "g"))
    else:
        _sums(low, call, "gradient_sums_with_before", ("p", "g", "before"))


@lowers("update_sums")
def lower_update_sums(low: Lowering, call: Call) -> None:
    _sums(low, call, "update_sums", ("p", "kept"))


@lowers("unit_sums")
def lower_unit_sums(low: Lowering, call: Call) -> None:
    x = low.plain(call, "x")
    integers = [*extent_of(x, slice(0, 1), call), x.shape[1], TERM_CODES[call.arguments["term"]]]
    low.entry(call, "unit_sums", floating(call, x), [x, low.made(call)], integers)
