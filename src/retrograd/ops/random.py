"""Random tensors and dropout, drawn from a counter-based generator.

A generator is a key and the number of blocks drawn so far; each draw is a pure function of both
(kernels/random.py), so every backend, machine and number of threads draws the same.
"""

from __future__ import annotations

import math
import os
import threading
from typing import Any

import numpy as np

from .. import dtypes
from ..kernels.spec import Array, active, references
from ..tape import Node, state
from ..tensor import Tensor
from .creation import _dtype, _made, _shape
from .rule import Op, floating, method

_WORDS_PER_BLOCK = 4


class Generator:
    """A stream of random numbers: a key (the seed), and the count of 128-bit blocks drawn from it.

    Args:
        seed: a whole number in [0, 2**64); None takes one from the operating system.

    Raises:
        ValueError: the seed is out of range.

    Example:
        >>> import retrograd as rg
        >>> generator = rg.Generator(3)
        >>> state = generator.get_state()
        >>> first = rg.randn(2, generator=generator)
        >>> generator.set_state(state)
        >>> rg.equal(rg.randn(2, generator=generator), first)
        tensor([ True,  True])
    """

    def __init__(self, seed: int | None = None) -> None:
        self._lock = threading.Lock()
        self.manual_seed(int.from_bytes(os.urandom(8), "little") if seed is None else seed)

    def manual_seed(self, seed: int) -> Generator:
        """Start the stream of this seed from its beginning; returns the generator."""
        if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**64:
            raise ValueError(f"manual_seed: {seed!r} is not a whole number in [0, 2**64)")
        self.seed, self.offset = int(seed), 0
        return self

    def take(self, words: int) -> tuple[int, int]:
        """Reserve 32-bit words: (key, offset of the first block) to draw them with."""
        with self._lock:
            start = self.offset
            self.offset += -(-words // _WORDS_PER_BLOCK)
        return self.seed, start

    def get_state(self) -> tuple[int, int]:
        """(seed, blocks drawn)."""
        return self.seed, self.offset

    def set_state(self, state: tuple[int, int]) -> None:
        """Go on from what get_state() returned."""
        self.manual_seed(state[0])
        self.offset = int(state[1])


default_generator = Generator()


def manual_seed(seed: int) -> Generator:
    """Seed the default generator: what is drawn after is a function of the seed alone, on every backend.

    Raises:
        ValueError: the seed is not in [0, 2**64).

    Example:
        >>> import retrograd as rg
        >>> _ = rg.manual_seed(0)
        >>> a = rg.rand(2)
        >>> _ = rg.manual_seed(0)
        >>> rg.equal(a, rg.rand(2))
        tensor([ True,  True])
    """
    return default_generator.manual_seed(seed)


def uniform(n: int, dtype: Any, generator: Generator | None = None) -> Array:
    """n numbers in [0, 1) as an array."""
    dtype = np.dtype(dtype)
    k = state.kernels
    words = n if dtype == dtypes.float32 else 2 * n
    key, offset = k.host(lambda: (generator or default_generator).take(words), 2)
    return k.random_uniform(n, key, offset, dtype)


def _arithmetic() -> Any:
    """The kernels that work on what was drawn: the references, for the same bits on every backend, unless a step is
    traced."""
    return references if state.kernels is active else state.kernels


def normal(n: int, dtype: Any, generator: Generator | None = None) -> Array:
    """n standard normal numbers as an array, by Box and Muller's transform (1958) in double precision."""
    half = -(-n // 2)
    drawn, k = uniform(2 * half, dtypes.float64, generator), _arithmetic()
    radius = k.sqrt(k.multiply(np.float64(-2), k.log1p(k.negative(k.slice_view(drawn, slice(half))))))
    angle = k.multiply(np.float64(2 * math.pi), k.slice_view(drawn, slice(half, None)))
    pairs = tuple(k.multiply(radius, turn(angle)) for turn in (k.cos, k.sin))
    return k.cast(k.slice_view(k.concatenate(pairs, 0), slice(n)), np.dtype(dtype))


def rand(*shape: Any, dtype: Any = None, requires_grad: bool = False, generator: Generator | None = None) -> Tensor:
    """Uniform numbers in [0, 1), of a shape given as sizes or one tuple.

    Example:
        >>> import retrograd as rg
        >>> rg.rand(2, 3).shape
        (2, 3)
    """
    sizes = _shape(shape)
    return _made(state.kernels.reshape(uniform(math.prod(sizes), _dtype(dtype), generator), sizes), requires_grad)


def randn(*shape: Any, dtype: Any = None, requires_grad: bool = False, generator: Generator | None = None) -> Tensor:
    """Standard normal numbers, of a shape given as sizes or one tuple.

    Example:
        >>> import retrograd as rg
        >>> rg.randn(2, 3).shape
        (2, 3)
    """
    sizes = _shape(shape)
    return _made(state.kernels.reshape(normal(math.prod(sizes), _dtype(dtype), generator), sizes), requires_grad)


def rand_like(x: Tensor, requires_grad: bool = False) -> Tensor:
    """Uniform numbers in [0, 1), of x's shape and dtype.

    Example:
        >>> import retrograd as rg
        >>> rg.rand_like(rg.ones(2, 3)).shape
        (2, 3)
    """
    return rand(x.shape, dtype=x.dtype, requires_grad=requires_grad)


def randn_like(x: Tensor, requires_grad: bool = False) -> Tensor:
    """Standard normal numbers, of x's shape and dtype.

    Example:
        >>> import retrograd as rg
        >>> rg.randn_like(rg.ones(2, 3)).shape
        (2, 3)
    """
    return randn(x.shape, dtype=x.dtype, requires_grad=requires_grad)


def _drawn(name: str, x: Tensor, generator: Generator | None, draw: Any, scale: float, start: float) -> Tensor:
    """x with start + scale * (what is drawn) in place of its elements."""
    array = x.writable(name)
    if array.dtype.kind != "f":
        raise TypeError(f"{name}: a tensor of {array.dtype} cannot hold drawn numbers, expected a floating dtype")
    numbers = Tensor(state.kernels.reshape(draw(array.size, array.dtype, generator), array.shape))
    return x.copy_(numbers * scale + start)


@method
def uniform_(x: Tensor, from_: float = 0.0, to: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Uniform numbers in [from_, to) in place of the elements; returns the tensor itself.

    Raises:
        TypeError: the tensor is not floating.
        ValueError: from_ is larger than to.
        RuntimeError: the tensor is a leaf that requires gradients, and recording is on.

    Example:
        >>> import retrograd as rg
        >>> w = rg.nn.Parameter(rg.empty(3, 4))
        >>> with rg.no_grad():
        ...     bool((abs(w.uniform_(-0.5, 0.5)) <= 0.5).all())
        True
    """
    if not from_ <= to:
        raise ValueError(f"uniform_: expected from_ <= to, got {from_} and {to}")
    return _drawn("uniform_", x, generator, uniform, to - from_, from_)


@method
def normal_(x: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Normal numbers in place of the elements; returns the tensor itself.

    Raises:
        TypeError: the tensor is not floating.
        ValueError: std is below 0.
        RuntimeError: the tensor is a leaf that requires gradients, and recording is on.

    Example:
        >>> import retrograd as rg
        >>> rg.empty(2, 3).normal_(5.0, 0.1).shape
        (2, 3)
    """
    if not std >= 0:
        raise ValueError(f"normal_: std is {std}, expected a number >= 0")
    return _drawn("normal_", x, generator, normal, std, mean)


def randint(low: int, high: int, shape: Any, generator: Generator | None = None) -> Tensor:
    """Whole numbers in [low, high), as int64 of a shape.

    Raises:
        ValueError: the range is empty, or reaches beyond 2**53.

    Example:
        >>> import retrograd as rg
        >>> rg.randint(0, 10, (2, 3)).shape
        (2, 3)
    """
    if not -(2**53) <= low < high <= 2**53:
        raise ValueError(f"randint: expected low < high within 2**53 of 0, got {low} and {high}")
    sizes = _shape((shape,) if isinstance(shape, int) else (tuple(shape),))
    drawn, k = uniform(math.prod(sizes), dtypes.float64, generator), _arithmetic()
    numbers = k.add(k.floor(k.multiply(drawn, np.float64(high - low))), np.float64(low))
    return Tensor(k.reshape(k.cast(numbers, np.dtype(np.int64)), sizes))


def permutation(n: int, generator: Generator | None = None) -> Array:
    """0 to n-1 in random order, as an int64 array."""
    k = state.kernels
    key, offset = k.host(lambda: (generator or default_generator).take(2 * n), 2)
    return k.random_permutation(n, key, offset)


def randperm(n: int, generator: Generator | None = None) -> Tensor:
    """0 to n-1 in random order, as int64.

    Example:
        >>> import retrograd as rg
        >>> rg.randperm(4).sort().values
        tensor([0, 1, 2, 3])
    """
    return Tensor(permutation(n, generator))


class Dropout(Op):
    """Its mask is drawn again in the backward pass, not stored."""

    fresh = True
    linear = True

    def forward(self, k: Any, x: Array, p: float, key: int, offset: int) -> Array:
        return k.dropout(x, p, key, offset)

    def vjp(self, ctx: Node, g: Tensor) -> tuple[Tensor]:
        return (_dropout(g, **ctx.attributes),)

    def vjp_kernels(self, k: Any, ctx: Node, g: Array) -> tuple[Array]:
        return (k.dropout(g, ctx["p"], ctx["key"], ctx["offset"]),)


_dropout = Dropout()


def dropout(input: Tensor, p: float = 0.5, training: bool = True, generator: Generator | None = None) -> Tensor:
    """Each element zeroed with probability p, the rest divided by 1 - p (Srivastava et al. 2014); the input itself
    where not training.

    Raises:
        ValueError: p is not in [0, 1].

    Example:
        >>> import retrograd as rg
        >>> import retrograd.nn.functional as F
        >>> F.dropout(rg.ones(3), p=0.5, training=False)
        tensor([1., 1., 1.])
    """
    if not 0 <= p <= 1:
        raise ValueError(f"dropout: p is {p}, expected a probability in [0, 1]")
    x = floating("dropout", input)
    if not training or p == 0:
        return x
    key, offset = state.kernels.host(lambda: (generator or default_generator).take(x.size), 2)
    return _dropout(x, p=float(p), key=key, offset=offset)
