"""Elementary functions in plain arithmetic, without branches or calls, so that LLVM vectorizes the loops around them.

Each is within 4 units in the last place over its whole range and keeps NaN and infinity. The argument is split
as in Muller et al., Handbook of Floating-Point Arithmetic (2018), section 10.2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ...kernels import activation
from .jit import inlined


def _polynomial(single: Sequence[float], double: Sequence[float]):
    """A function of x that evaluates a polynomial of x's precision, by Horner's rule.

    The coefficients of the highest powers come first; a single one makes a constant.
    """

    @intrinsic
    def horner(typing, x):
        coefficients = single if x == types.float32 else double

        def emit(context, builder, signature, arguments):
            (value,) = arguments
            contract = ("contract",)
            y = ir.Constant(value.type, coefficients[0])
            for c in coefficients[1:]:
                y = builder.fmul(y, value, flags=contract)
                y = builder.fadd(y, ir.Constant(value.type, c), flags=contract)
            return y

        return x(x), emit

    return horner


def _constant(single: float, double: float | None = None):
    return _polynomial([single], [single if double is None else double])


@intrinsic
def _times_power_of_2(typing, y, shifted):
    """y * 2**n, where n = shifted - 1.5 * 2**(mantissa bits) is a whole number."""
    width, mantissa, bias = (32, 23, 127) if y == types.float32 else (64, 52, 1023)

    def emit(context, builder, signature, arguments):
        y, shifted = arguments
        whole = ir.IntType(width)
        mantissa_bits = ir.Constant(whole, mantissa)
        # the low bits of `shifted` hold n; the number it is shifted by has the bits (mantissa + bias).1000…
        zero = ((mantissa + bias) << mantissa) | (1 << (mantissa - 1))
        n = builder.sub(builder.bitcast(shifted, whole), ir.Constant(whole, zero))
        # two factors, because 2**n itself leaves the range before the product does
        half = builder.ashr(n, ir.Constant(whole, 1))
        for exponent in (half, builder.sub(n, half)):
            power = builder.shl(builder.add(exponent, ir.Constant(whole, bias)), mantissa_bits)
            y = builder.fmul(y, builder.bitcast(power, y.type))
        return y

    return y(y, shifted), emit


_ZERO, _ONE, _TWO = _constant(0.0), _constant(1.0), _constant(2.0)

# exp(x) is 0 below the first and infinite above the second
_EXP_LOW, _EXP_HIGH = _constant(-104.0, -746.0), _constant(89.0, 710.0)
_ROUND = _constant(1.5 * 2.0**23, 1.5 * 2.0**52)
_LOG2_E = _constant(math.log2(math.e))
# ln 2 in two parts, the first with enough trailing zero bits for its product with n to be exact
_LN2_HIGH = _constant(0.693359375, 6.93145751953125e-1)
_LN2_LOW = _constant(-2.12194440e-4, 1.42860682030941723212e-6)
# Taylor's series: |r| <= ln(2) / 2
_EXP_SERIES = _polynomial(
    [1 / math.factorial(n) for n in range(7, -1, -1)], [1 / math.factorial(n) for n in range(13, -1, -1)]
)


@inlined
def exp(x):
    """e to the x."""
    x = _EXP_LOW(x) if x < _EXP_LOW(x) else x
    x = _EXP_HIGH(x) if x > _EXP_HIGH(x) else x
    shifted = x * _LOG2_E(x) + _ROUND(x)
    n = shifted - _ROUND(x)
    r = x - n * _LN2_HIGH(x) - n * _LN2_LOW(x)
    return _times_power_of_2(_EXP_SERIES(r), shifted)


# log(1+u) = 2 artanh(s) with s = u / (2+u) <= 1/3, as a series in s²
_ARTANH_SERIES = _polynomial([1 / (2 * n + 1) for n in range(7, -1, -1)], [1 / (2 * n + 1) for n in range(16, -1, -1)])


@inlined
def log1p(u):
    """log(1 + u), for u in [0, 1]."""
    s = u / (_TWO(u) + u)
    return _TWO(u) * s * _ARTANH_SERIES(s * s)


@intrinsic
def _power_of_2(typing, shifted):
    """2**n, in the range of normal numbers, where n = shifted - 1.5 * 2**(mantissa bits) is a whole number."""
    width, mantissa, bias = (32, 23, 127) if shifted == types.float32 else (64, 52, 1023)

    def emit(context, builder, signature, arguments):
        whole = ir.IntType(width)
        # what stands above the mantissa's low bits is shifted out
        n = builder.add(builder.bitcast(arguments[0], whole), ir.Constant(whole, bias))
        return builder.bitcast(builder.shl(n, ir.Constant(whole, mantissa)), arguments[0].type)

    return shifted(shifted), emit


_TANH_HIGH = _constant(10.0, 20.0)  # its tanh rounds to 1
# (exp(r) - 1 - r) / r**2
_EXPM1_SERIES = _polynomial(
    [1 / math.factorial(n) for n in range(7, 1, -1)], [1 / math.factorial(n) for n in range(13, 1, -1)]
)


@inlined
def tanh(x):
    """The hyperbolic tangent: e / (2 + e), where e = exp(2|x|) - 1."""
    a = abs(x)
    y = _TWO(x) * (_TANH_HIGH(x) if a > _TANH_HIGH(x) else a)
    shifted = y * _LOG2_E(x) + _ROUND(x)
    n = shifted - _ROUND(x)
    r = y - n * _LN2_HIGH(x) - n * _LN2_LOW(x)
    power = _power_of_2(shifted)
    e = power * (r + r * r * _EXPM1_SERIES(r)) + (power - _ONE(x))
    return math.copysign(e / (_TWO(x) + e), x)


@inlined
def sigmoid(x):
    """1 / (1 + exp(-x))."""
    # exp of a non-positive number only, so that neither end overflows
    e = exp(-abs(x))
    return (_ONE(x) if x >= _ZERO(x) else e) / (_ONE(x) + e)


@inlined
def log1p_exp(x):
    """log(1 + exp(x))."""
    return (_ZERO(x) if x <= _ZERO(x) else x) + log1p(exp(-abs(x)))


# Activations by their names, and what their derivatives make of a cotangent g; the number that some have comes last;
# formulas in retrograd/kernels/activation.py

_HALF, _THREE = _constant(0.5), _constant(3.0)
_SQRT_HALF, _NORMAL_SCALE = _constant(math.sqrt(0.5)), _constant(1 / math.sqrt(2 * math.pi))
_LEAST = _constant(-120.0, -800.0)  # its exponential, and that times it, are 0
_TANH_SCALE, _TANH_CUBIC = _constant(2 * activation._SQRT_2_PI), _constant(activation._GELU_CUBIC)


@inlined
def relu(x):
    return _ZERO(x) if x <= _ZERO(x) else x


@inlined
def relu_backward(g, y):
    return _ZERO(g) if y <= _ZERO(y) else g


@inlined
def tanh_backward(g, y):
    return g * (_ONE(y) - y * y)


@inlined
def sigmoid_backward(g, y):
    return g * y * (_ONE(y) - y)


@inlined
def leaky_relu(x, slope):
    return slope * x if x <= _ZERO(x) else x


@inlined
def leaky_relu_backward(g, x, slope):
    return slope * g if x <= _ZERO(x) else g


@inlined
def _above(x):
    """x, or so little that the functions below are 0 there: an infinity would not be, times that 0."""
    return _LEAST(x) if x < _LEAST(x) else x


@inlined
def _near(x):
    """Likewise at both ends."""
    return -_LEAST(x) if x > -_LEAST(x) else _above(x)


@inlined
def _normal_cdf(x):
    return _HALF(x) * math.erfc(-x * _SQRT_HALF(x))


@inlined
def gelu(x):
    return _above(x) * _normal_cdf(x)


@inlined
def gelu_backward(g, x):
    return g * (_normal_cdf(x) + _near(x) * (exp(-_HALF(x) * x * x) * _NORMAL_SCALE(x)))


@inlined
def gelu_tanh(x):
    return _above(x) * sigmoid(_TANH_SCALE(x) * (x + _TANH_CUBIC(x) * x * x * x))


@inlined
def gelu_tanh_backward(g, x):
    x = _near(x)
    y = sigmoid(_TANH_SCALE(x) * (x + _TANH_CUBIC(x) * x * x * x))
    slope = _TANH_SCALE(x) * (_ONE(x) + _THREE(x) * _TANH_CUBIC(x) * x * x)
    return g * (y + x * y * (_ONE(x) - y) * slope)


@inlined
def silu(x):
    return _above(x) * sigmoid(x)


@inlined
def silu_backward(g, x):
    s = sigmoid(x)
    return g * (s + _near(x) * s * (_ONE(x) - s))


@inlined
def softplus(x, sharpness):
    return log1p_exp(x * sharpness) / sharpness


@inlined
def softplus_backward(g, x, sharpness):
    return g * sigmoid(x * sharpness)
