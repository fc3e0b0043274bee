"""Random numbers, and dropout.

An entry that draws takes y; elements; key, offset.
"""

from __future__ import annotations

import math

import numpy as np

from ...registry import Unsupported
from .. import random
from ..lowering import Call, Lowering, entry, extent_of, floating, lowers
from ..record import bits, extent, integer, number, vector


@entry
def dropout(dtype, record, start, rows):
    """x, y; elements of all rows or of each; key, offset, the least word that is kept; by what kept elements are
    multiplied."""
    n = extent(record, 0, rows)
    key, offset = np.uint64(bits(record, 2)), np.uint64(bits(record, 3))
    x, y = vector(dtype, record, 0, start, n), vector(dtype, record, 1, start, n)
    random.drop(x, bits(record, 4), number(record, 5), key, offset, integer(record, 1) * start, y)
    return 0


@entry
def uniform_single(dtype, record, start, rows):
    """y is float32."""
    n = integer(record, 0)
    key, offset = np.uint64(bits(record, 1)), np.uint64(bits(record, 2))
    random.uniform_single(key, offset, vector(dtype, record, 0, start, n))
    return 0


@entry
def uniform_double(dtype, record, start, rows):
    """y is float64."""
    n = integer(record, 0)
    key, offset = np.uint64(bits(record, 1)), np.uint64(bits(record, 2))
    random.uniform_double(key, offset, vector(dtype, record, 0, start, n))
    return 0


@entry
def random_bits(dtype, record, start, rows):
    """y is uint32."""
    n = integer(record, 0)
    key, offset = np.uint64(bits(record, 1)), np.uint64(bits(record, 2))
    random.bits(key, offset, vector(dtype, record, 0, start, n))
    return 0


@lowers("random_bits", "random_uniform")
def lower_draw(low: Lowering, call: Call) -> None:
    y = low.made(call)
    name = {"float32": "uniform_single", "float64": "uniform_double", "uint32": "random_bits"}[y.dtype.name]
    numbers = [low.bits(call.arguments[name]) for name in ("key", "offset")]
    low.entry(call, name, y.dtype, [y], [math.prod(y.shape)], numbers)


@lowers("dropout")
def lower_dropout(low: Lowering, call: Call) -> None:
    p = call.arguments["p"]
    if p == 1:
        raise Unsupported("dropout of everything")
    x, y = low.plain(call, "x"), low.made(call)
    numbers = [low.bits(call.arguments[name]) for name in ("key", "offset")]
    numbers += [low.bits(int(p * 2.0**32)), low.number(1 / (1 - p))]
    low.entry(call, "dropout", floating(call, x), [x, y], [*extent_of(y, slice(None), call)], numbers)
