"""Philox4x32-10, a block at a time, and what is drawn from it; the references' bits."""

from __future__ import annotations

import numpy as np

from ...kernels import random as reference
from ...kernels.random import ROUNDS
from ...kernels.spec import Array
from .jit import FLOATS, core, flat, inlined

__all__ = ["dropout", "random_bits", "random_permutation", "random_uniform"]

_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_LOW = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)


CHUNK = 4096
"""Elements whose words are drawn at a time."""


def random_bits(n: int, key: int, offset: int) -> Array:
    words = np.empty(n, np.uint32)
    bits(np.uint64(key), np.uint64(offset), words)
    return words


def random_permutation(n: int, key: int, offset: int) -> Array:
    order = np.empty(n, np.int64)
    permute(random_uniform(n, key, offset, np.dtype(np.float64)), order)
    return order


def random_uniform(n: int, key: int, offset: int, dtype: np.dtype) -> Array:
    single = np.dtype(dtype) == np.float32
    numbers = np.empty(n, np.float32 if single else np.float64)
    draw = uniform_single if single else uniform_double
    draw(np.uint64(key), np.uint64(offset), numbers)
    return numbers


def dropout(x: Array, p: float, key: int, offset: int, first: int = 0) -> Array:
    if x.dtype not in FLOATS or p == 1:
        return reference.dropout.reference(x, p, key, offset, first)
    y = np.empty(x.shape, x.dtype)
    drop(flat(x), int(p * 2.0**32), 1 / (1 - p), np.uint64(key), np.uint64(offset), first, y.ravel())
    return y


@inlined
def block(key, counter):
    """The four words of a block, in the low halves of 64 bits."""
    k0, k1 = key & _LOW, key >> _32
    c0, c1 = counter & _LOW, counter >> _32
    c2 = c3 = np.uint64(0)
    for _ in range(ROUNDS):
        p0, p1 = _M0 * c0, _M1 * c2
        c0, c1, c2, c3 = (p1 >> _32) ^ c1 ^ k0, p1 & _LOW, (p0 >> _32) ^ c3 ^ k1, p0 & _LOW
        k0, k1 = (k0 + _W0) & _LOW, (k1 + _W1) & _LOW
    return c0, c1, c2, c3


@core
def bits(key, offset, words):
    """The words of the blocks from `offset` on."""
    whole = words.size // 4
    for i in range(whole):
        words[4 * i], words[4 * i + 1], words[4 * i + 2], words[4 * i + 3] = block(key, offset + np.uint64(i))
    if 4 * whole < words.size:
        last = block(key, offset + np.uint64(whole))
        for j in range(words.size - 4 * whole):
            words[4 * whole + j] = last[j]


@core
def uniform_single(key, offset, numbers):
    """A word each: its upper 24 bits."""
    words = np.empty(CHUNK, np.uint32)
    for start in range(0, numbers.size, CHUNK):
        chunk = numbers[start : start + CHUNK]
        bits(key, offset + np.uint64(start // 4), words[: chunk.size])
        for i in range(chunk.size):
            chunk[i] = np.float32(np.int32(words[i] >> np.uint32(8))) * np.float32(2.0**-24)


@core
def uniform_double(key, offset, numbers):
    """Two words each: 27 bits of the first above 26 of the second."""
    words = np.empty((CHUNK, 2), np.uint32)
    for start in range(0, numbers.size, CHUNK):
        chunk = numbers[start : start + CHUNK]
        bits(key, offset + np.uint64(start // 2), words.reshape(2 * CHUNK)[: 2 * chunk.size])
        for i in range(chunk.size):
            high, low = words[i, 0] >> np.uint32(5), words[i, 1] >> np.uint32(6)
            chunk[i] = (np.float64(high) * 2.0**26 + np.float64(low)) * 2.0**-53


@core
def permute(numbers, order):
    """Number i at place numbers[i] * (i + 1), whose owner moves to place i."""
    for i in range(order.size):
        place = np.int64(numbers[i] * (i + 1))
        order[i] = order[place]
        order[place] = i


@core
def drop(x, threshold, scale, key, offset, first, y):
    """y = scale * x where the element's word is at least the threshold, else 0; one axis. Element 0's word is the
    first-th of the stream."""
    gain, zero = x.dtype.type(scale), x.dtype.type(0)
    least = np.uint32(threshold)
    words = np.empty(CHUNK + 3, np.uint32)
    skipped = first % 4
    for start in range(0, x.size, CHUNK):
        a, b = x[start : start + CHUNK], y[start : start + CHUNK]
        bits(key, offset + np.uint64((first + start) // 4), words[: skipped + a.size])
        for i in range(a.size):
            b[i] = gain * a[i] if words[skipped + i] >= least else zero
