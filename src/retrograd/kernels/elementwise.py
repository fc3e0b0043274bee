"""Elementwise kernels: operands broadcast as NumPy's do; every result is a new array."""

from __future__ import annotations

import numpy as np

from .spec import Array, Spec, broadcast, kernel, same_shape

BOOL = np.dtype(bool)


def _unary(x: Array) -> Spec:
    return Spec(x.shape, x.dtype)


def _binary(name: str, dtype: np.dtype | None = None):
    def infer(a: Array, b: Array) -> Spec:
        return Spec(broadcast(name, a, b), dtype or np.result_type(a.dtype, b.dtype))

    return infer


@kernel(_unary, arithmetic=False)
def negative(x: Array) -> Array:
    """-x."""
    return np.negative(x)


@kernel(_unary)
def absolute(x: Array) -> Array:
    """|x|."""
    return np.absolute(x)


@kernel(_unary)
def sign(x: Array) -> Array:
    """-1, 0 or 1 by the sign of x; NaN stays NaN."""
    return np.sign(x)


@kernel(_unary)
def exp(x: Array) -> Array:
    """e to the x."""
    return np.exp(x)


@kernel(_unary)
def log(x: Array) -> Array:
    """The natural logarithm of x."""
    return np.log(x)


@kernel(_unary)
def sqrt(x: Array) -> Array:
    """The square root of x."""
    return np.sqrt(x)


@kernel(_unary)
def square(x: Array) -> Array:
    """x * x."""
    return np.square(x)


@kernel(_binary("add"))
def add(a: Array, b: Array) -> Array:
    """a + b."""
    return np.add(a, b)


@kernel(_binary("subtract"))
def subtract(a: Array, b: Array) -> Array:
    """a - b."""
    return np.subtract(a, b)


@kernel(_binary("multiply"))
def multiply(a: Array, b: Array) -> Array:
    """a * b."""
    return np.multiply(a, b)


@kernel(_binary("divide"))
def divide(a: Array, b: Array) -> Array:
    """a / b, of floating operands."""
    return np.divide(a, b)


@kernel(_binary("power"))
def power(a: Array, b: Array) -> Array:
    """a to the power b."""
    return np.power(a, b)


@kernel(_binary("maximum"))
def maximum(a: Array, b: Array) -> Array:
    """The larger of a and b; NaN where either is."""
    return np.maximum(a, b)


@kernel(_binary("minimum"))
def minimum(a: Array, b: Array) -> Array:
    """The smaller of a and b; NaN where either is."""
    return np.minimum(a, b)


@kernel(_binary("equal", BOOL))
def equal(a: Array, b: Array) -> Array:
    """a == b, as booleans."""
    return np.equal(a, b)


@kernel(_binary("not_equal", BOOL))
def not_equal(a: Array, b: Array) -> Array:
    """a != b, as booleans."""
    return np.not_equal(a, b)


@kernel(_binary("less", BOOL))
def less(a: Array, b: Array) -> Array:
    """a < b, as booleans."""
    return np.less(a, b)


@kernel(_binary("less_equal", BOOL))
def less_equal(a: Array, b: Array) -> Array:
    """a <= b, as booleans."""
    return np.less_equal(a, b)


@kernel(_binary("greater", BOOL))
def greater(a: Array, b: Array) -> Array:
    """a > b, as booleans."""
    return np.greater(a, b)


@kernel(_binary("greater_equal", BOOL))
def greater_equal(a: Array, b: Array) -> Array:
    """a >= b, as booleans."""
    return np.greater_equal(a, b)


@kernel(_binary("logical_and", BOOL))
def logical_and(a: Array, b: Array) -> Array:
    """a and b, as booleans; what is not zero is true."""
    return np.logical_and(a, b)


@kernel(_binary("logical_or", BOOL))
def logical_or(a: Array, b: Array) -> Array:
    """a or b, as booleans; what is not zero is true."""
    return np.logical_or(a, b)


@kernel(lambda x: Spec(x.shape, BOOL))
def logical_not(x: Array) -> Array:
    """not x, as booleans; what is not zero is true."""
    return np.logical_not(x)


@kernel(
    lambda condition, a, b: Spec(broadcast("where", condition, a, b), np.result_type(a.dtype, b.dtype)),
    arithmetic=False,
)
def where(condition: Array, a: Array, b: Array) -> Array:
    """a where the boolean condition holds, b elsewhere."""
    return np.where(condition, a, b)


@kernel(lambda x, low=None, high=None: Spec(x.shape, x.dtype))
def clamp(x: Array, low: float | None = None, high: float | None = None) -> Array:
    """x limited to [low, high]; None is no limit. NaN stays NaN."""
    if low is not None:
        x = np.maximum(x, x.dtype.type(low))
    if high is not None:
        x = np.minimum(x, x.dtype.type(high))
    return x if low is not None or high is not None else x.copy()


@kernel(lambda x, dtype: Spec(x.shape, np.dtype(dtype)))
def cast(x: Array, dtype: np.dtype) -> Array:
    """x converted to dtype, in C order; always a copy."""
    return x.astype(dtype, order="C")


@kernel(_unary, arithmetic=False)
def copy(x: Array) -> Array:
    """A copy of x in C order."""
    return np.array(x, order="C")


@kernel(lambda shape, value, dtype: Spec(tuple(shape), np.dtype(dtype)), arithmetic=False)
def full(shape: tuple[int, ...], value: float, dtype: np.dtype) -> Array:
    """An array of the shape and dtype, filled with the value."""
    return np.full(shape, value, dtype)


@kernel(lambda a, b: same_shape("accumulate", a=a, b=b) and None, mutates=("a",))
def accumulate(a: Array, b: Array) -> None:
    """a += b, in place, of equal shapes."""
    np.add(a, b, out=a)
