"""Elementary functions: operands broadcast as NumPy's do; every result is a new array.

Each reference is NumPy's function of the same meaning.
"""

from __future__ import annotations

import numpy as np

from .elementwise import _binary, _unary
from .spec import Array, kernel

UNARY: dict[str, tuple[np.ufunc, str]] = {
    "sin": (np.sin, "The sine of x, in radians."),
    "cos": (np.cos, "The cosine of x, in radians."),
    "tan": (np.tan, "The tangent of x, in radians."),
    "asin": (np.arcsin, "The angle in [-pi/2, pi/2] whose sine is x."),
    "acos": (np.arccos, "The angle in [0, pi] whose cosine is x."),
    "atan": (np.arctan, "The angle in [-pi/2, pi/2] whose tangent is x."),
    "sinh": (np.sinh, "The hyperbolic sine of x."),
    "cosh": (np.cosh, "The hyperbolic cosine of x."),
    "asinh": (np.arcsinh, "The number whose hyperbolic sine is x."),
    "acosh": (np.arccosh, "The number >= 0 whose hyperbolic cosine is x."),
    "atanh": (np.arctanh, "The number whose hyperbolic tangent is x."),
    "exp2": (np.exp2, "2 to the x."),
    "expm1": (np.expm1, "exp(x) - 1, accurate near 0."),
    "log2": (np.log2, "The logarithm of x to the base 2."),
    "log10": (np.log10, "The logarithm of x to the base 10."),
    "log1p": (np.log1p, "log(1 + x), accurate near 0."),
    "cbrt": (np.cbrt, "The cube root of x."),
    "floor": (np.floor, "The largest whole number <= x."),
    "ceil": (np.ceil, "The smallest whole number >= x."),
    "trunc": (np.trunc, "x without its fraction."),
    "rint": (np.rint, "The whole number nearest to x; halves go to the even one."),
}
"""Kernels of one floating operand: NumPy's function, and what it gives."""

BINARY: dict[str, tuple[np.ufunc, str]] = {
    "atan2": (np.arctan2, "The angle in [-pi, pi] of the point with ordinate a and abscissa b."),
    "hypot": (np.hypot, "sqrt(a**2 + b**2), without overflow on the way."),
    "logaddexp": (np.logaddexp, "log(exp(a) + exp(b)), without overflow on the way."),
    "remainder": (np.remainder, "a - b * floor(a / b), which has the sign of b."),
    "fmod": (np.fmod, "a - b * trunc(a / b), which has the sign of a."),
    "floor_divide": (np.floor_divide, "floor(a / b)."),
    "copysign": (np.copysign, "|a| with the sign of b."),
}
"""Kernels of two operands of one dtype, floating but for remainder, fmod and floor_divide."""


def _declare_unary(name: str, function: np.ufunc, says: str) -> None:
    def reference(x: Array) -> Array:
        return function(x)

    reference.__name__, reference.__doc__ = name, says
    kernel(_unary)(reference)


def _declare_binary(name: str, function: np.ufunc, says: str) -> None:
    def reference(a: Array, b: Array) -> Array:
        return function(a, b)

    reference.__name__, reference.__doc__ = name, says
    kernel(_binary(name))(reference)


for _name, _facts in UNARY.items():
    _declare_unary(_name, *_facts)
for _name, _facts in BINARY.items():
    _declare_binary(_name, *_facts)
