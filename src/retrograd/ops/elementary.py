"""Elementary functions, a line each: trigonometric, hyperbolic, exponential, rounding, and of two operands.

A line gives the kernel's name, what it calculates, and the derivative in terms of what the rule saves: the operands,
or the result where that is cheaper. Derivatives: Abramowitz and Stegun (1964), sections 4.1 to 4.6.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import dtypes
from ..kernels.elementary import BINARY, UNARY
from ..kernels.spec import Array, broadcast
from ..tape import Node
from ..tensor import Tensor
from .activation import sigmoid
from .elementwise import (
    Elementwise,
    _reflected,
    abs,
    add,
    clamp,
    divide,
    equal,
    less,
    log,
    multiply,
    power,
    sign,
    sqrt,
    subtract,
    where,
)
from .rule import OUTPUT, Operand, as_tensor_operand, floating, method, named, operands

Derivative = Callable[..., Tensor]
Unary = Callable[[Operand], Tensor]


class Function(Elementwise):
    """A function by its kernel's name; `derivatives` has that by each operand, as a function of what is saved."""

    def __init__(self, name: str, derivatives: tuple[Derivative, ...], saves: tuple[int, ...]) -> None:
        self.name = name
        self.saves = saves
        self._derivatives = derivatives

    def forward(self, k: Any, *arrays: Array) -> Array:
        return getattr(k, self.name)(*arrays)

    def partial(self, ctx: Node, i: int) -> Tensor:
        return self._derivatives[i](*self.saved(ctx))


def unary(name: str, says: str, derivative: Derivative, reads: int = 0, at: float = 0.5, gives: str = "") -> Unary:
    """The public function, and method, of a kernel of one floating operand.

    Args:
        name: the kernel's.
        says: the docstring.
        derivative: a function of the operand, or of the result.
        reads: which of them: 0 for the operand, OUTPUT for the result.
        at, gives: the docstring's example: the operand, and the result as it prints.
    """
    op = Function(name, (derivative,), (reads,))

    def function(x: Operand) -> Tensor:
        return op(floating(name, x))

    return method(named(function, name, says, f"rg.tensor({at})", f"tensor({gives})"))


def _elementary(name: str, gives: str, derivative: Derivative, reads: int = 0, at: float = 0.5) -> Unary:
    return unary(name, UNARY[name][1], derivative, reads, at, gives)


def _constant(value: float) -> Derivative:
    return lambda x, *others: Tensor(np.full((), value, x.dtype))


_flat = _constant(0.0)


sin: Unary = _elementary("sin", "0.4794", lambda x: cos(x))
cos: Unary = _elementary("cos", "0.8776", lambda x: -sin(x))
tan = _elementary("tan", "0.5463", lambda y: 1.0 + y * y, OUTPUT)
asin = _elementary("asin", "0.5236", lambda x: rsqrt(1.0 - x * x))
acos = _elementary("acos", "1.0472", lambda x: -rsqrt(1.0 - x * x))
atan = _elementary("atan", "0.4636", lambda x: 1.0 / (1.0 + x * x))
sinh: Unary = _elementary("sinh", "0.5211", lambda x: cosh(x))
cosh: Unary = _elementary("cosh", "1.1276", lambda x: sinh(x))
asinh = _elementary("asinh", "0.4812", lambda x: rsqrt(x * x + 1.0))
acosh = _elementary("acosh", "1.317", lambda x: rsqrt(x * x - 1.0), at=2.0)
atanh = _elementary("atanh", "0.5493", lambda x: 1.0 / (1.0 - x * x))
exp2 = _elementary("exp2", "1.4142", lambda y: y * math.log(2), OUTPUT)
expm1 = _elementary("expm1", "0.6487", lambda y: y + 1.0, OUTPUT)
log2 = _elementary("log2", "-1.", lambda x: 1.0 / (x * math.log(2)))
log10 = _elementary("log10", "-0.301", lambda x: 1.0 / (x * math.log(10)))
log1p = _elementary("log1p", "0.4055", lambda x: 1.0 / (x + 1.0))
cbrt = _elementary("cbrt", "0.7937", lambda y: 1.0 / (3.0 * y * y), OUTPUT)
arcsin, arccos, arctan, arcsinh, arccosh, arctanh = asin, acos, atan, asinh, acosh, atanh


# Rounding: flat wherever there is a derivative


def _rounding(name: str, gives: str) -> Unary:
    op = Function(name, (_flat,), (0,))

    def function(x: Operand) -> Tensor:
        t = as_tensor_operand(name, x)
        return op(t) if t.dtype.kind == "f" else t

    return method(named(function, name, UNARY[name][1] + " Its derivative is 0.", "rg.tensor([-1.5, 2.5])", gives))


floor = _rounding("floor", "tensor([-2.,  2.])")
ceil = _rounding("ceil", "tensor([-1.,  3.])")
trunc = _rounding("trunc", "tensor([-1.,  2.])")
rint = _rounding("rint", "tensor([-2.,  2.])")


@method
def round(x: Operand, decimals: int = 0) -> Tensor:
    """x rounded to so many decimals, halves to the even one; its derivative is 0.

    Example:
        >>> import retrograd as rg
        >>> rg.round(rg.tensor([1.25, 2.5]), 1)
        tensor([1.2, 2.5])
    """
    if decimals == 0:
        return rint(x)
    x = floating("round", x)
    return rint(x * 10.0**decimals) / 10.0**decimals if decimals > 0 else rint(x / 10.0**-decimals) * 10.0**-decimals


@method
def frac(x: Operand) -> Tensor:
    """x - trunc(x).

    Example:
        >>> import retrograd as rg
        >>> rg.frac(rg.tensor([1.25, -2.5]))
        tensor([ 0.25, -0.5 ])
    """
    x = floating("frac", x)
    return x - trunc(x)


# Of two operands


def _binary(name: str, gives: str, a: Derivative, b: Derivative, reads: tuple[int, ...] = (0, 1)):
    op = Function(name, (a, b), reads)

    def function(a: Operand, b: Operand) -> Tensor:
        a, b = operands(name, a, b)
        if name not in ("remainder", "fmod", "floor_divide"):
            a, b = floating(name, a), floating(name, b)
        broadcast(name, a.array, b.array)
        return op(a, b)

    says = BINARY[name][1] + " Shapes broadcast."
    return method(named(function, name, says, "rg.tensor([3.0, -3.0]), 2.0", f"tensor({gives})"))


def _nonzero(x: Tensor) -> Tensor:
    return where(x == 0, 1.0, x)


atan2 = _binary(
    "atan2", "[ 0.9828, -0.9828]", lambda a, b: b / _nonzero(a * a + b * b), lambda a, b: -a / _nonzero(a * a + b * b)
)
hypot = _binary(
    "hypot", "[3.6056, 3.6056]", lambda a, b, y: a / _nonzero(y), lambda a, b, y: b / _nonzero(y), (0, 1, OUTPUT)
)
logaddexp = _binary("logaddexp", "[3.3133, 2.0067]", lambda a, b: sigmoid(_gap(a, b)), lambda a, b: sigmoid(_gap(b, a)))
remainder = _binary("remainder", "[1., 1.]", _constant(1.0), lambda a, b: -floor(a / b))
fmod = _binary("fmod", "[ 1., -1.]", _constant(1.0), lambda a, b: -trunc(a / b))
floor_divide = _binary("floor_divide", "[ 1., -2.]", _flat, _flat)
copysign = _binary("copysign", "[3., 3.]", lambda a, b, y: sign(a) * sign(y), _flat, (0, 1, OUTPUT))
arctan2, mod = atan2, remainder
for _symbol, _function in {"mod": remainder, "floordiv": floor_divide}.items():
    setattr(Tensor, f"__{_symbol}__", _function)
    setattr(Tensor, f"__r{_symbol}__", _reflected(_function))


def _gap(a: Tensor, b: Tensor) -> Tensor:
    return where((a == b) & isinf(a), 0.0, a - b)  # inf - inf is not a number


# In terms of other ops


@method
def reciprocal(x: Operand) -> Tensor:
    """1 / x.

    Example:
        >>> import retrograd as rg
        >>> rg.reciprocal(rg.tensor([1.0, 4.0]))
        tensor([1.  , 0.25])
    """
    return divide(1.0, floating("reciprocal", x))


@method
def rsqrt(x: Operand) -> Tensor:
    """1 / sqrt(x).

    Example:
        >>> import retrograd as rg
        >>> rg.rsqrt(rg.tensor([1.0, 4.0]))
        tensor([1. , 0.5])
    """
    return reciprocal(sqrt(x))


@method
def deg2rad(x: Operand) -> Tensor:
    """Degrees to radians.

    Example:
        >>> import retrograd as rg
        >>> rg.deg2rad(rg.tensor([0.0, 180.0]))
        tensor([0.    , 3.1416])
    """
    return multiply(floating("deg2rad", x), math.pi / 180)


@method
def rad2deg(x: Operand) -> Tensor:
    """Radians to degrees.

    Example:
        >>> import retrograd as rg
        >>> rg.rad2deg(rg.tensor([0.0, 3.1415927]))
        tensor([  0., 180.])
    """
    return multiply(floating("rad2deg", x), 180 / math.pi)


@method
def float_power(a: Operand, b: Operand) -> Tensor:
    """a to the power b, in float64; shapes broadcast.

    Example:
        >>> import retrograd as rg
        >>> rg.float_power(rg.tensor([2, 3]), 0.5)
        tensor([1.4142, 1.7321], dtype=float64)
    """
    return power(*(as_tensor_operand("float_power", t).to(dtypes.float64) for t in (a, b)))


@method
def xlogy(a: Operand, b: Operand) -> Tensor:
    """a * log(b), and 0 where a is 0, unless b is NaN; shapes broadcast.

    Example:
        >>> import retrograd as rg
        >>> rg.xlogy(rg.tensor([0.0, 2.0]), rg.tensor([0.0, 1.0]))
        tensor([0., 0.])
    """
    a, b = operands("xlogy", a, b)
    a, b = floating("xlogy", a), floating("xlogy", b)
    gone = (a == 0) & (b <= 0)
    return where(gone, 0.0, a) * log(where(gone, 1.0, b))


@method
def logit(x: Operand, eps: float | None = None) -> Tensor:
    """log(x / (1 - x)), the inverse of sigmoid; x limited to [eps, 1 - eps] first where eps is given.

    Example:
        >>> import retrograd as rg
        >>> rg.logit(rg.tensor([0.5]))
        tensor([0.])
    """
    x = floating("logit", x)
    if eps is not None:
        x = clamp(x, eps, 1 - eps)
    return log(x / (1.0 - x))


@method
def lerp(start: Operand, end: Operand, weight: Operand) -> Tensor:
    """start + weight * (end - start); shapes broadcast.

    Example:
        >>> import retrograd as rg
        >>> rg.lerp(rg.tensor(1.0), rg.tensor(3.0), 0.25)
        tensor(1.5)
    """
    start, end, weight = operands("lerp", start, end, weight)
    return start + weight * subtract(end, start)


@method
def isnan(x: Operand) -> Tensor:
    """Whether each element is NaN.

    Example:
        >>> import retrograd as rg
        >>> rg.isnan(rg.tensor([1.0, float("nan")]))
        tensor([False,  True])
    """
    x = as_tensor_operand("isnan", x)
    return x != x


@method
def isinf(x: Operand) -> Tensor:
    """Whether each element is infinite.

    Example:
        >>> import retrograd as rg
        >>> rg.isinf(rg.tensor([1.0, float("inf")]))
        tensor([False,  True])
    """
    return equal(abs(as_tensor_operand("isinf", x).detach()), math.inf)


@method
def isfinite(x: Operand) -> Tensor:
    """Whether each element is neither infinite nor NaN.

    Example:
        >>> import retrograd as rg
        >>> rg.isfinite(rg.tensor([1.0, float("nan")]))
        tensor([ True, False])
    """
    return less(abs(as_tensor_operand("isfinite", x).detach()), math.inf)


@method
def isclose(a: Operand, b: Operand, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Tensor:
    """Whether |a - b| <= atol + rtol |b|, or a and b are equal; shapes broadcast.

    Example:
        >>> import retrograd as rg
        >>> rg.isclose(rg.tensor([1.0, 2.0]), rg.tensor([1.0, 2.1]))
        tensor([ True, False])
    """
    a, b = (t.detach() for t in operands("isclose", a, b))
    near = (a == b) | ((abs(a - b) <= atol + rtol * abs(b)) & isfinite(b))
    return near | (isnan(a) & isnan(b)) if equal_nan else near


@method
def allclose(a: Operand, b: Operand, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> bool:
    """Whether isclose() holds for all elements.

    Example:
        >>> import retrograd as rg
        >>> rg.allclose(rg.tensor([1.0, 2.0]), rg.tensor([1.0, 2.1]))
        False
    """
    return isclose(a, b, rtol, atol, equal_nan).all().item()


@method
def nan_to_num(x: Operand, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None) -> Tensor:
    """x with other numbers in place of NaN and the infinities; the dtype's largest and smallest unless given.

    Example:
        >>> import retrograd as rg
        >>> rg.nan_to_num(rg.tensor([1.0, float("nan")]))
        tensor([1., 0.])
    """
    x = as_tensor_operand("nan_to_num", x)
    if x.dtype.kind != "f":
        return x
    limits = np.finfo(x.dtype)
    x = where(isnan(x), float(nan), x)
    x = where(x == math.inf, float(limits.max if posinf is None else posinf), x)
    return where(x == -math.inf, float(limits.min if neginf is None else neginf), x)


@method
def addcmul(x: Operand, a: Operand, b: Operand, value: float = 1) -> Tensor:
    """x + value * a * b; shapes broadcast.

    Example:
        >>> import retrograd as rg
        >>> rg.addcmul(rg.tensor([1.0]), rg.tensor([2.0]), rg.tensor([3.0]), value=0.5)
        tensor([4.])
    """
    return add(x, multiply(a, b), alpha=value)


@method
def addcdiv(x: Operand, a: Operand, b: Operand, value: float = 1) -> Tensor:
    """x + value * a / b; shapes broadcast.

    Example:
        >>> import retrograd as rg
        >>> rg.addcdiv(rg.tensor([1.0]), rg.tensor([6.0]), rg.tensor([3.0]), value=0.5)
        tensor([2.])
    """
    return add(x, divide(a, b), alpha=value)


def elu(x: Operand, alpha: float = 1.0) -> Tensor:
    """x where x > 0, alpha (exp(x) - 1) elsewhere (Clevert et al., arXiv:1511.07289).

    Example:
        >>> import retrograd as rg
        >>> import retrograd.nn.functional as F
        >>> F.elu(rg.tensor([-1.0, 0.0, 1.0]))
        tensor([-0.6321,  0.    ,  1.    ])
    """
    x = floating("elu", x)
    return where(x > 0, x, expm1(clamp(x, max=0)) * alpha)


def logsigmoid(x: Operand) -> Tensor:
    """log(sigmoid(x)), without overflow.

    Example:
        >>> import retrograd as rg
        >>> import retrograd.nn.functional as F
        >>> F.logsigmoid(rg.tensor([-1.0, 0.0, 1.0]))
        tensor([-1.3133, -0.6931, -0.3133])
    """
    return -logaddexp(0.0, -floating("logsigmoid", x))
