"""Elementwise arithmetic, comparisons and casts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy import broadcast_shapes as broadcast_shape

from .. import dtypes
from ..kernels.spec import Array, broadcast
from ..tape import Node
from ..tensor import Tensor
from .rule import OPERANDS, OUTPUT, Op, Operand, as_tensor_operand, floating, method, named, operands
from .shape import broadcast_to, sum_arrays_to, sum_to


class Elementwise(Op):
    """An op whose output at each place depends on the operands there; they broadcast. One rule gives both modes."""

    def partial(self, ctx: Node, i: int) -> Tensor | None:
        """The derivative by operand i, of the output's shape or one that broadcasts to it; None where it is 0."""
        raise NotImplementedError

    def vjp(self, ctx: Node, g: Tensor) -> tuple[Tensor | None, ...]:
        return tuple(
            None if not ctx.needs(i) or (d := self.partial(ctx, i)) is None else sum_to(g * d, shape)
            for i, shape in enumerate(ctx.shapes)
        )

    def jvp(self, ctx: Node, *tangents: Tensor | None) -> Tensor | None:
        total = None
        for i, t in enumerate(tangents):
            if t is not None and (d := self.partial(ctx, i)) is not None:
                total = t * d if total is None else total + t * d
        return None if total is None else _stretched(total, ctx)


def _stretched(t: Tensor, ctx: Node) -> Tensor:
    """A tangent broadcast to the shape of the node's output, where it is not of that shape already."""
    shape = t.array.shape
    for s in ctx.shapes:
        if s != shape:
            return broadcast_to(t, broadcast_shape(*ctx.shapes))
    return t


# Binary arithmetic


class Add(Op):
    def forward(self, k: Any, a: Array, b: Array) -> Array:
        return k.add(a, b)

    def vjp(self, ctx: Node, g: Tensor) -> tuple[Tensor, Tensor]:
        return sum_to(g, ctx.shapes[0]), sum_to(g, ctx.shapes[1])

    def jvp(self, ctx: Node, a: Tensor | None, b: Tensor | None) -> Tensor:
        return _stretched(b if a is None else a if b is None else a + b, ctx)

    def vjp_kernels(self, k: Any, ctx: Node, g: Array) -> tuple[Array | None, Array | None]:
        a, b = ctx.shapes
        return (
            sum_arrays_to(k, g, a) if ctx.needs(0) else None,
            sum_arrays_to(k, g, b) if ctx.needs(1) else None,
        )


class Subtract(Op):
    def forward(self, k: Any, a: Array, b: Array) -> Array:
        return k.subtract(a, b)

    def vjp(self, ctx: Node, g: Tensor) -> tuple[Tensor | None, Tensor | None]:
        return (
            sum_to(g, ctx.shapes[0]) if ctx.needs(0) else None,
            sum_to(-g, ctx.shapes[1]) if ctx.needs(1) else None,
        )

    def jvp(self, ctx: Node, a: Tensor | None, b: Tensor | None) -> Tensor:
        return _stretched(-b if a is None else a if b is None else a - b, ctx)


class Multiply(Elementwise):
    saves = (0, 1)

    def forward(self, k: Any, a: Array, b: Array) -> Array:
        return k.multiply(a, b)

    def partial(self, ctx: Node, i: int) -> Tensor:
        return self.saved(ctx)[1 - i]

    def vjp_kernels(self, k: Any, ctx: Node, g: Array) -> tuple[Array | None, Array | None]:
        a, b = ctx.arrays
        return (
            sum_arrays_to(k, k.multiply(g, b), a.shape) if ctx.needs(0) else None,
            sum_arrays_to(k, k.multiply(g, a), b.shape) if ctx.needs(1) else None,
        )


class Divide(Elementwise):
    saves = (0, 1)

    def forward(self, k: Any, a: Array, b: Array) -> Array:
        return k.divide(a, b)

    def partial(self, ctx: Node, i: int) -> Tensor:
        a, b = self.saved(ctx)
        return 1.0 / b if i == 0 else -(a / b) / b


class Power(Elementwise):
    saves = (0, 1)

    def forward(self, k: Any, a: Array, b: Array) -> Array:
        return k.power(a, b)

    def partial(self, ctx: Node, i: int) -> Tensor:
        a, b = self.saved(ctx)
        if i == 0:  # x**0 is flat, though 0 * 0**-1 is not a number
            return where(b == 0, 0.0, b * a ** where(b == 0, 1.0, b - 1))
        flat = (a == 0) & (b >= 0)  # 0**b does not move with b > 0
        return where(flat, 0.0, a**b * log(where(flat, 1.0, a)))


class Maximum(Elementwise):
    """Where both are equal, each gets half."""

    saves = (0, 1)

    def forward(self, k: Any, a: Array, b: Array) -> Array:
        return k.maximum(a, b)

    def partial(self, ctx: Node, i: int) -> Tensor:
        a, b = self.saved(ctx)
        return _share(a > b if i == 0 else b > a, a == b, a.dtype)


class Minimum(Elementwise):
    """Where both are equal, each gets half."""

    saves = (0, 1)

    def forward(self, k: Any, a: Array, b: Array) -> Array:
        return k.minimum(a, b)

    def partial(self, ctx: Node, i: int) -> Tensor:
        a, b = self.saved(ctx)
        return _share(a < b if i == 0 else b < a, a == b, a.dtype)


def _share(chosen: Tensor, tie: Tensor, dtype: np.dtype) -> Tensor:
    return chosen.to(dtype) + tie.to(dtype) * 0.5


class Where(Op):
    saves = (0,)

    def forward(self, k: Any, condition: Array, a: Array, b: Array) -> Array:
        return k.where(condition, a, b)

    def vjp(self, ctx: Node, g: Tensor) -> tuple[None, Tensor | None, Tensor | None]:
        (condition,) = self.saved(ctx)
        return (
            None,
            sum_to(where(condition, g, 0.0), ctx.shapes[1]) if ctx.needs(1) else None,
            sum_to(where(condition, 0.0, g), ctx.shapes[2]) if ctx.needs(2) else None,
        )

    def jvp(self, ctx: Node, _: None, a: Tensor | None, b: Tensor | None) -> Tensor:
        (condition,) = self.saved(ctx)
        return _stretched(where(condition, 0.0 if a is None else a, 0.0 if b is None else b), ctx)


class Comparison(Op):
    """A comparison by its kernel's name; its result is boolean and carries no gradient."""

    differentiable = False

    def __init__(self, name: str) -> None:
        self.name = name

    def forward(self, k: Any, *arrays: Array) -> Array:
        return getattr(k, self.name)(*arrays)


# Unary arithmetic


class Negative(Op):
    linear = True

    def forward(self, k: Any, x: Array) -> Array:
        return k.negative(x)

    def vjp(self, ctx: Node, g: Tensor) -> tuple[Tensor]:
        return (-g,)


class Absolute(Elementwise):
    saves = (0,)

    def forward(self, k: Any, x: Array) -> Array:
        return k.absolute(x)

    def partial(self, ctx: Node, i: int) -> Tensor:
        (x,) = self.saved(ctx)
        return sign(x)


class Sign(Op):
    """Flat wherever it has a derivative."""

    def forward(self, k: Any, x: Array) -> Array:
        return k.sign(x)

    def vjp(self, ctx: Node, g: Tensor) -> tuple[Tensor]:
        return (g * 0.0,)

    def jvp(self, ctx: Node, t: Tensor) -> Tensor:
        return t * 0.0


class Exp(Elementwise):
    saves = (OUTPUT,)

    def forward(self, k: Any, x: Array) -> Array:
        return k.exp(x)

    def partial(self, ctx: Node, i: int) -> Tensor:
        (y,) = self.saved(ctx)
        return y


class Log(Elementwise):
    saves = (0,)

    def forward(self, k: Any, x: Array) -> Array:
        return k.log(x)

    def partial(self, ctx: Node, i: int) -> Tensor:
        (x,) = self.saved(ctx)
        return 1.0 / x


class Sqrt(Elementwise):
    saves = (OUTPUT,)

    def forward(self, k: Any, x: Array) -> Array:
        return k.sqrt(x)

    def partial(self, ctx: Node, i: int) -> Tensor:
        (y,) = self.saved(ctx)
        return 0.5 / y


class Square(Elementwise):
    saves = (0,)

    def forward(self, k: Any, x: Array) -> Array:
        return k.square(x)

    def partial(self, ctx: Node, i: int) -> Tensor:
        (x,) = self.saved(ctx)
        return x * 2.0


class Clamp(Op):
    """At a limit itself the derivative is that of the inside."""

    saves = (0,)

    def forward(self, k: Any, x: Array, low: float | None, high: float | None) -> Array:
        return k.clamp(x, low, high)

    def vjp(self, ctx: Node, g: Tensor) -> tuple[Tensor]:
        return (self.jvp(ctx, g),)

    def jvp(self, ctx: Node, t: Tensor) -> Tensor:
        (x,) = self.saved(ctx)
        if ctx["low"] is not None:
            t = where(x < ctx["low"], 0.0, t)
        if ctx["high"] is not None:
            t = where(x > ctx["high"], 0.0, t)
        return t


class Cast(Op):
    linear = True

    def forward(self, k: Any, x: Array, dtype: np.dtype, source: np.dtype) -> Array:
        return k.cast(x, dtype)

    def vjp(self, ctx: Node, g: Tensor) -> tuple[Tensor]:
        return (g.to(ctx["source"]),)


class Copy(Op):
    name = "clone"
    linear = True

    def forward(self, k: Any, x: Array) -> Array:
        return k.copy(x)

    def vjp(self, ctx: Node, g: Tensor) -> tuple[Tensor]:
        return (g,)


_add, _subtract, _multiply, _divide, _power = Add(), Subtract(), Multiply(), Divide(), Power()
_maximum, _minimum, _where = Maximum(), Minimum(), Where()
_negative, _absolute, _sign, _exp, _log = Negative(), Absolute(), Sign(), Exp(), Log()
_sqrt, _square, _clamp, _cast, _copy = Sqrt(), Square(), Clamp(), Cast(), Copy()
_comparisons = {
    name: Comparison(name)
    for name in (
        *("equal", "not_equal", "less", "less_equal", "greater", "greater_equal"),
        *("logical_and", "logical_or", "logical_not"),
    )
}


def _pair(name: str, a: Operand, b: Operand) -> tuple[Tensor, Tensor]:
    if not (isinstance(a, Tensor) and isinstance(b, Tensor) and a.array.dtype is b.array.dtype):
        a, b = operands(name, a, b)
    if a.array.shape != b.array.shape and b.array.shape:
        broadcast(name, a.array, b.array)
    return a, b


@method
def add(a: Operand, b: Operand, *, alpha: float = 1) -> Tensor:
    """a + alpha * b; shapes broadcast.

    Example:
        >>> import retrograd as rg
        >>> rg.add(rg.tensor([1.0, -2.0]), rg.tensor([3.0, 4.0]))
        tensor([4., 2.])
    """
    return _add(*_pair("add", a, b if alpha == 1 else multiply(b, alpha)))


@method
def subtract(a: Operand, b: Operand, *, alpha: float = 1) -> Tensor:
    """a - alpha * b; shapes broadcast.

    Example:
        >>> import retrograd as rg
        >>> rg.subtract(rg.tensor([1.0, -2.0]), rg.tensor([3.0, 4.0]))
        tensor([-2., -6.])
    """
    return _subtract(*_pair("subtract", a, b if alpha == 1 else multiply(b, alpha)))


@method
def multiply(a: Operand, b: Operand) -> Tensor:
    """a * b; shapes broadcast.

    Example:
        >>> import retrograd as rg
        >>> rg.multiply(rg.tensor([1.0, -2.0]), rg.tensor([3.0, 4.0]))
        tensor([ 3., -8.])
    """
    return _multiply(*_pair("multiply", a, b))


@method
def divide(a: Operand, b: Operand) -> Tensor:
    """a / b; shapes broadcast. Integers become the default dtype.

    Example:
        >>> import retrograd as rg
        >>> rg.divide(rg.tensor([1.0, -2.0]), rg.tensor([3.0, 4.0]))
        tensor([ 0.3333, -0.5   ])
    """
    a, b = _pair("divide", a, b)
    return _divide(floating("divide", a), floating("divide", b))


@method
def power(a: Operand, b: Operand) -> Tensor:
    """a to the power b; shapes broadcast. Booleans count as integers.

    Example:
        >>> import retrograd as rg
        >>> rg.power(rg.tensor([1.0, 2.0]), 3.0)
        tensor([1., 8.])
    """
    if isinstance(b, (int, float)) and b == 2 and isinstance(a, Tensor) and a.dtype.kind == "f":
        return square(a)
    base, exponent = _pair("power", a, b)
    if base.dtype == dtypes.bool_:
        base, exponent = base.to(dtypes.int64), exponent.to(dtypes.int64)
    if base.dtype.kind in "iu" and exponent.size and exponent.array.min() < 0:
        raise ValueError("power: integers to a negative power are not integers; make the base floating")
    return _power(base, exponent)


@method
def maximum(a: Operand, b: Operand) -> Tensor:
    """The larger of a and b; shapes broadcast; NaN where either is. At a tie each gets half of the gradient.

    Example:
        >>> import retrograd as rg
        >>> rg.maximum(rg.tensor([1.0, -2.0]), rg.tensor([3.0, 4.0]))
        tensor([3., 4.])
    """
    return _maximum(*_pair("maximum", a, b))


@method
def minimum(a: Operand, b: Operand) -> Tensor:
    """The smaller of a and b; shapes broadcast; NaN where either is. At a tie each gets half of the gradient.

    Example:
        >>> import retrograd as rg
        >>> rg.minimum(rg.tensor([1.0, -2.0]), rg.tensor([3.0, 4.0]))
        tensor([ 1., -2.])
    """
    return _minimum(*_pair("minimum", a, b))


def where(condition: Operand, a: Operand, b: Operand) -> Tensor:
    """a where the boolean condition holds, b elsewhere; shapes broadcast.

    Example:
        >>> import retrograd as rg
        >>> x = rg.tensor([1.0, -2.0])
        >>> rg.where(x > 0, x, 0.0)
        tensor([1., 0.])
    """
    condition = as_tensor_operand("where", condition)
    if condition.dtype != dtypes.bool_:
        raise TypeError(f"where: condition is {condition.dtype}, expected bool; compare it with something first")
    a, b = operands("where", a, b)
    broadcast("where", condition.array, a.array, b.array)
    return _where(condition, a, b)


@method
def negative(x: Operand) -> Tensor:
    """-x.

    Example:
        >>> import retrograd as rg
        >>> rg.negative(rg.tensor([1.0, 4.0]))
        tensor([-1., -4.])
    """
    return _negative(as_tensor_operand("negative", x))


@method
def abs(x: Operand) -> Tensor:
    """|x|, with derivative 0 at 0.

    Example:
        >>> import retrograd as rg
        >>> rg.abs(rg.tensor([1.0, -4.0]))
        tensor([1., 4.])
    """
    return _absolute(as_tensor_operand("abs", x))


@method
def sign(x: Operand) -> Tensor:
    """-1, 0 or 1 by the sign of x; its derivative is 0.

    Example:
        >>> import retrograd as rg
        >>> rg.sign(rg.tensor([-2.0, 0.0, 3.0]))
        tensor([-1.,  0.,  1.])
    """
    return _sign(as_tensor_operand("sign", x))


@method
def exp(x: Operand) -> Tensor:
    """e to the x.

    Example:
        >>> import retrograd as rg
        >>> rg.exp(rg.tensor([1.0, 4.0]))
        tensor([ 2.7183, 54.5982])
    """
    return _exp(floating("exp", x))


@method
def log(x: Operand) -> Tensor:
    """The natural logarithm.

    Example:
        >>> import retrograd as rg
        >>> rg.log(rg.tensor([1.0, 4.0]))
        tensor([0.    , 1.3863])
    """
    return _log(floating("log", x))


@method
def sqrt(x: Operand) -> Tensor:
    """The square root.

    Example:
        >>> import retrograd as rg
        >>> rg.sqrt(rg.tensor([1.0, 4.0]))
        tensor([1., 2.])
    """
    return _sqrt(floating("sqrt", x))


@method
def square(x: Operand) -> Tensor:
    """x * x.

    Example:
        >>> import retrograd as rg
        >>> rg.square(rg.tensor([1.0, 4.0]))
        tensor([ 1., 16.])
    """
    return _square(as_tensor_operand("square", x))


@method
def clamp(x: Operand, min: Operand | None = None, max: Operand | None = None) -> Tensor:
    """x limited to [min, max], numbers, or tensors that broadcast and get gradients; None is no limit, not both.

    Raises:
        ValueError: neither limit is given.

    Example:
        >>> import retrograd as rg
        >>> rg.clamp(rg.tensor([-1.0, 0.5, 2.0]), 0.0, 1.0)
        tensor([0. , 0.5, 1. ])
    """
    if min is None and max is None:
        raise ValueError("clamp: expected min, max or both")
    if not all(limit is None or isinstance(limit, (bool, int, float)) for limit in (min, max)):
        x = as_tensor_operand("clamp", x) if min is None else maximum(x, min)
        return x if max is None else minimum(x, max)
    whole = all(limit is None or isinstance(limit, int) for limit in (min, max))
    x = as_tensor_operand("clamp", x) if whole else floating("clamp", x)
    return _clamp(x, low=None if min is None else float(min), high=None if max is None else float(max))


@method
def to(x: Tensor, dtype: Any) -> Tensor:
    """x converted to another dtype; x itself where it has that dtype.

    Raises:
        TypeError: tensors cannot hold that dtype.
    """
    x = as_tensor_operand("to", x)
    dtype = dtypes.supported(dtype, "to")
    if x.dtype == dtype:
        return x
    return _cast(x if dtype.kind == "f" else x.detach(), dtype=dtype, source=x.dtype)


@method
def clone(x: Tensor) -> Tensor:
    """A copy of x that gradients flow through.

    Example:
        >>> import retrograd as rg
        >>> rg.clone(rg.tensor([1.0, 4.0]))
        tensor([1., 4.])
    """
    return _copy(as_tensor_operand("clone", x))


def _comparison(name: str, gives: str, given: str = "rg.tensor([1.0, 2.0, 3.0]), 2.0"):
    op = _comparisons[name]

    def compare(a: Operand, b: Operand) -> Tensor:
        return op(*_pair(name, a, b))

    says = f"{name.replace('_', ' ')}, elementwise, as booleans; shapes broadcast."
    return method(named(compare, name, says, given, f"tensor({gives})"))


equal = _comparison("equal", "[False,  True, False]")
not_equal = _comparison("not_equal", "[ True, False,  True]")
less = _comparison("less", "[ True, False, False]")
less_equal = _comparison("less_equal", "[ True,  True, False]")
greater = _comparison("greater", "[False, False,  True]")
greater_equal = _comparison("greater_equal", "[False,  True,  True]")
_truths = "rg.tensor([True, False]), rg.tensor([True, True])"
logical_and = _comparison("logical_and", "[ True, False]", _truths)
logical_or = _comparison("logical_or", "[ True,  True]", _truths)


@method
def logical_not(x: Operand) -> Tensor:
    """not x, elementwise, as booleans.

    Example:
        >>> import retrograd as rg
        >>> rg.logical_not(rg.tensor([True, False]))
        tensor([False,  True])
    """
    return _comparisons["logical_not"](as_tensor_operand("logical_not", x))


sub, mul, div, true_divide, pow, neg, clip = subtract, multiply, divide, divide, power, negative, clamp
eq, ne, lt, le, gt, ge = equal, not_equal, less, less_equal, greater, greater_equal
for _name in ("sub", "mul", "div", "true_divide", "pow", "neg", "clip", "eq", "ne", "lt", "le", "gt", "ge"):
    setattr(Tensor, _name, globals()[_name])


def _reflected(function: Any) -> Any:
    return lambda a, b: function(b, a)


def _or_not_implemented(function: Any) -> Any:
    """As Python wants == to be: with what is no operand, such as None, it is for the other to say, or False."""
    return lambda a, b: function(a, b) if isinstance(b, OPERANDS) else NotImplemented


for _name, _function in {
    "add": add,
    "sub": subtract,
    "mul": multiply,
    "truediv": divide,
    "pow": power,
}.items():
    setattr(Tensor, f"__{_name}__", _function)
    setattr(Tensor, f"__r{_name}__", _reflected(_function))
for _name, _function in {
    "neg": negative,
    "abs": abs,
    "eq": _or_not_implemented(equal),
    "ne": _or_not_implemented(not_equal),
    "lt": less,
    "le": less_equal,
    "gt": greater,
    "ge": greater_equal,
    "and": logical_and,
    "or": logical_or,
    "invert": logical_not,
}.items():
    setattr(Tensor, f"__{_name}__", _function)
Tensor.__rand__ = _reflected(logical_and)  # type: ignore[attr-defined]
Tensor.__ror__ = _reflected(logical_or)  # type: ignore[attr-defined]
Tensor.float = lambda x: to(x, dtypes.float32)  # type: ignore[attr-defined]
Tensor.double = lambda x: to(x, dtypes.float64)  # type: ignore[attr-defined]
Tensor.long = lambda x: to(x, dtypes.int64)  # type: ignore[attr-defined]
Tensor.bool = lambda x: to(x, dtypes.bool_)  # type: ignore[attr-defined]
