"""Special functions, elementwise."""

from __future__ import annotations

import math
from typing import Any

from ..kernels import special as kernels
from ..kernels.spec import Array
from ..tape import Node
from ..tensor import Tensor
from .elementary import Unary, unary
from .elementwise import Elementwise, exp
from .rule import Operand, floating, method

_SLOPE = 2 / math.sqrt(math.pi)

erf: Unary = unary("erf", kernels.erf.__doc__, lambda x: exp(-x * x) * _SLOPE, gives="0.5205")
erfc: Unary = unary("erfc", kernels.erfc.__doc__, lambda x: exp(-x * x) * -_SLOPE, gives="0.4795")
lgamma: Unary = unary("lgamma", kernels.lgamma.__doc__, lambda x: digamma(x), gives="0.5724")
gammaln = lgamma


class Derivative(Elementwise):
    """The n-th derivative of a function, by a kernel of x and n."""

    saves = (0,)

    def __init__(self, name: str) -> None:
        self.name = name

    def forward(self, k: Any, x: Array, n: int) -> Array:
        return getattr(k, self.name)(x, n)

    def partial(self, ctx: Node, i: int) -> Tensor:
        return self(*self.saved(ctx), n=ctx["n"] + 1)


_polygamma, _sinc = Derivative("polygamma"), Derivative("sinc")


@method
def digamma(x: Operand) -> Tensor:
    """The derivative of lgamma; NaN at -1, -2 and so on.

    Example:
        >>> import retrograd as rg
        >>> rg.digamma(rg.tensor([1.0, 2.0]))
        tensor([-0.5772,  0.4228])
    """
    return _polygamma(floating("digamma", x), n=0)


def polygamma(n: int, x: Operand) -> Tensor:
    """The n-th derivative of digamma.

    Raises:
        ValueError: n is negative.

    Example:
        >>> import retrograd as rg
        >>> rg.polygamma(1, rg.tensor([1.0, 2.0]))
        tensor([1.6449, 0.6449])
    """
    if n < 0:
        raise ValueError(f"polygamma: n is {n}, expected a whole number >= 0")
    return _polygamma(floating("polygamma", x), n=int(n))


@method
def sinc(x: Operand) -> Tensor:
    """sin(pi x) / (pi x), and 1 at 0, smoothly.

    Example:
        >>> import retrograd as rg
        >>> rg.sinc(rg.tensor([0.0, 0.5, 1.0]))
        tensor([1.0000e+00, 6.3662e-01, 3.8982e-17])
    """
    return _sinc(floating("sinc", x), n=0)
