"""Random numbers from a counter: Philox4x32-10 (Salmon, Moraes, Dror and Shaw, SC 2011).

Block i of a key is a pure function of (key, i), so every backend and every number of threads draws the same.
The counter of block i is the 128-bit integer i, the key is 64 bits; a block gives four 32-bit words, and word j of
a draw that starts at block `offset` is word j mod 4 of block offset + j // 4.
"""

from __future__ import annotations

import numpy as np

from .spec import Array, Spec, kernel, same_dtype

_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = 0x9E3779B9, 0xBB67AE85
_LOW = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)
ROUNDS = 10


@kernel(lambda n, key, offset: Spec((n,), np.dtype(np.uint32)))
def random_bits(n: int, key: int, offset: int) -> Array:
    """n uniform 32-bit words of the key's stream (key in [0, 2**64)), from block `offset` (in [0, 2**64)) on."""
    blocks = np.arange(-(-n // 4), dtype=np.uint64) + np.uint64(offset)
    c0, c1 = blocks & _LOW, blocks >> _32
    c2 = c3 = np.zeros_like(blocks)
    k0, k1 = key & 0xFFFFFFFF, key >> 32
    for _ in range(ROUNDS):
        p0, p1 = _M0 * c0, _M1 * c2
        c0, c1, c2, c3 = (p1 >> _32) ^ c1 ^ np.uint64(k0), p1 & _LOW, (p0 >> _32) ^ c3 ^ np.uint64(k1), p0 & _LOW
        k0, k1 = (k0 + _W0) & 0xFFFFFFFF, (k1 + _W1) & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3], axis=1).reshape(-1)[:n].astype(np.uint32)


@kernel(lambda n, key, offset, dtype: Spec((n,), np.dtype(dtype)))
def random_uniform(n: int, key: int, offset: int, dtype: np.dtype) -> Array:
    """n uniform numbers in [0, 1), equally spaced: the top 24 bits of word i for float32, 53 bits of words 2i
    (upper 27) and 2i+1 (lower 26) for float64."""
    if np.dtype(dtype) == np.float32:
        return (random_bits.reference(n, key, offset) >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24)
    words = random_bits.reference(2 * n, key, offset).astype(np.float64).reshape(n, 2)
    return (np.floor(words[:, 0] / 32) * 2.0**26 + np.floor(words[:, 1] / 64)) * 2.0**-53


@kernel(lambda x, p, key, offset, first=0: Spec(x.shape, same_dtype("dropout", x)))
def dropout(x: Array, p: float, key: int, offset: int, first: int = 0) -> Array:
    """x with each element zeroed with probability p and the rest divided by 1 - p (Srivastava et al. 2014).

    Element i, in C order, is zeroed where word first + i of the draw is below floor(p * 2**32); p in [0, 1]. Its own
    transpose: the same call on a cotangent is the backward pass, so no mask is kept.
    """
    if p == 1:
        return np.zeros_like(x, order="C")
    words = random_bits.reference(first % 4 + x.size, key, offset + first // 4)[first % 4 :]
    keep = words >= np.uint64(p * 2.0**32)
    return np.where(keep.reshape(x.shape), x * x.dtype.type(1 / (1 - p)), x.dtype.type(0))


@kernel(lambda n, key, offset: Spec((n,), np.dtype(np.int64)))
def random_permutation(n: int, key: int, offset: int) -> Array:
    """0 to n-1 in random order, int64.

    Fisher and Yates's shuffle, inside out (Knuth, The Art of Computer Programming, vol. 2, section 3.4.2): number i
    takes place floor(u[i] * (i + 1)), whose owner moves to place i; u is float64 random_uniform of the same stream.
    """
    numbers = random_uniform.reference(n, key, offset, np.dtype(np.float64))
    order = [0] * n
    for i, place in enumerate((numbers * np.arange(1, n + 1)).astype(np.int64).tolist()):
        order[i] = order[place]
        order[place] = i
    return np.array(order, np.int64)
