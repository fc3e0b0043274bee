"""Special functions, elementwise, of floating operands; float32 is calculated in float64 and rounded."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from .elementwise import _unary
from .spec import Array, Spec, kernel, same_dtype

_STEPS = 12
"""How far polygamma moves its argument before the asymptotic series is used."""

_BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510, 43867 / 798)
"""B_2, B_4, …, B_18 (Abramowitz and Stegun, table 23.2)."""

_SINC_TERMS = 16
"""Of sinc's series, which is used up to |x| = 1: the last is below 1e-16 of the first, up to the 5th derivative."""


def _by_element(function: Callable[[float], float], x: Array) -> Array:
    """A function of the standard library, which is right to a unit in the last place, element by element."""
    made = np.fromiter(map(function, x.astype(np.float64).ravel().tolist()), np.float64, x.size)
    return made.astype(x.dtype).reshape(x.shape)


def _lgamma(x: float) -> float:
    try:
        return math.lgamma(x)
    except (ValueError, OverflowError):  # at 0, -1, … and where the result is too large
        return math.inf


@kernel(_unary)
def erf(x: Array) -> Array:
    """The error function: 2 / sqrt(pi) times the integral of exp(-t**2) from 0 to x."""
    return _by_element(math.erf, x)


@kernel(_unary)
def erfc(x: Array) -> Array:
    """1 - erf(x), accurate where that is near 0."""
    return _by_element(math.erfc, x)


@kernel(_unary)
def lgamma(x: Array) -> Array:
    """The logarithm of the absolute value of the gamma function; inf at 0, -1, -2 and so on."""
    return _by_element(_lgamma, x)


def _infer_nth(name: str):
    return lambda x, n: Spec(x.shape, same_dtype(name, x))


@kernel(_infer_nth("polygamma"))
def polygamma(x: Array, n: int) -> Array:
    """The n-th derivative of digamma, the derivative of lgamma: digamma itself for n = 0.

    Abramowitz and Stegun (1964), chapter 6: below 0 the reflection 6.4.7; then the recurrence 6.4.6 to where the
    asymptotic series 6.3.18 and 6.4.11 is exact to rounding. At -1, -2 and so on it is NaN, or infinite for odd n.
    """
    z = x.astype(np.float64)
    w = np.where(z > 0, z, 1 - z)
    sign = (-1.0) ** n
    total = sum(sign * -math.factorial(n) * (w + k) ** -(n + 1.0) for k in range(_STEPS))
    w = w + _STEPS
    series = sum(
        b * math.factorial(2 * k + n - 1) / math.factorial(2 * k) * w ** -(2.0 * k + n)
        for k, b in enumerate(_BERNOULLI, 1)
    )
    first = -np.log(w) if n == 0 else math.factorial(n - 1) * w ** -float(n)
    total = total - sign * (first + 0.5 * math.factorial(n) * w ** -(n + 1.0) + series)
    reflected = sign * total - _cotangent(np.where(z == 0, z, z - np.rint(z)), n)
    pole = (z < 0) & (z == np.rint(z)) & (n % 2 == 0)
    return np.where(z > 0, total, np.where(pole, np.nan, reflected)).astype(x.dtype)


def _cotangent(x: Array, n: int) -> Array:
    """The n-th derivative of pi cot(pi x), |x| <= 1/2: each is a polynomial of the cotangent."""
    powers = np.polynomial.Polynomial([0.0, 1.0])
    for _ in range(n):
        powers = np.polynomial.Polynomial([-1.0, 0.0, -1.0]) * powers.deriv()
    y, *rest = powers.coef[::-1]
    cotangent = 1 / np.tan(math.pi * x)
    for coefficient in rest:
        y = y * cotangent + coefficient
    return math.pi ** (n + 1) * y


@kernel(_infer_nth("sinc"))
def sinc(x: Array, n: int) -> Array:
    """The n-th derivative of sin(pi x) / (pi x), which is 1 at 0.

    Near 0 by Taylor's series; elsewhere x f[n] + n f[n-1] = pi**(n-1) sin(pi x + n pi / 2), the n-th derivative of
    x sinc(x) = sin(pi x) / pi, gives one after the other.
    """
    z = x.astype(np.float64)
    near = np.abs(z) < 1
    far = np.where(near, 1.0, z)
    y = np.sinc(far)
    for i in range(1, n + 1):
        y = (math.pi ** (i - 1) * np.sin(math.pi * far + i * (math.pi / 2)) - i * y) / far
    small = np.where(near, z, 0.0)
    powers = np.zeros(n + 2 * _SINC_TERMS)
    for k in range(-(-n // 2), len(powers) // 2):
        falling = math.factorial(2 * k) // math.factorial(2 * k - n)
        powers[2 * k - n] = (-1) ** k * math.pi ** (2 * k) * falling / math.factorial(2 * k + 1)
    return np.where(near, np.polynomial.Polynomial(powers)(small), y).astype(x.dtype)
