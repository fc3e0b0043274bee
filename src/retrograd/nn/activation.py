"""Activations as modules.

A class that declares `fused_activation` tells a layer before it, which may do the activation in its own pass, the
activation's name and its number, if it has one; or None where that layer cannot.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..ops.activation import gelu, leaky_relu, relu, sigmoid, silu, softplus, tanh
from ..ops.elementary import elu, logsigmoid
from ..ops.index import become
from ..ops.reduction import log_softmax, softmax
from ..tensor import Tensor
from .module import Module


def overwriting(function: Callable[..., Tensor], input: Tensor, *options: Any) -> Tensor:
    """The function's result, in the input's place; its derivative may read the input, so it is given a copy."""
    return become(input, function(input.clone(), *options), f"{function.__name__}_")


class ReLU(Module):
    """max(x, 0); overwrites its input if `inplace`.

    Example:
        >>> import retrograd as rg
        >>> rg.nn.ReLU()(rg.tensor([-1.0, 0.0, 2.0]))
        tensor([0., 0., 2.])
    """

    fused_activation = ("relu",)

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return overwriting(relu, input) if self.inplace else relu(input)

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""


class LeakyReLU(Module):
    """x where x > 0, negative_slope * x elsewhere; overwrites its input if `inplace`.

    Example:
        >>> import retrograd as rg
        >>> rg.nn.LeakyReLU(0.1)(rg.tensor([-1.0, 0.0, 2.0]))
        tensor([-0.1,  0. ,  2. ])
    """

    def __init__(self, negative_slope: float = 1e-2, inplace: bool = False) -> None:
        super().__init__()
        self.negative_slope = negative_slope
        self.inplace = inplace

    @property
    def fused_activation(self) -> tuple[str, float]:
        return "leaky_relu", self.negative_slope

    def forward(self, input: Tensor) -> Tensor:
        if self.inplace:
            return overwriting(leaky_relu, input, self.negative_slope)
        return leaky_relu(input, self.negative_slope)

    def extra_repr(self) -> str:
        return f"negative_slope={self.negative_slope}" + (", inplace=True" if self.inplace else "")


class ELU(Module):
    """x where x > 0, alpha * (exp(x) - 1) elsewhere; overwrites its input if `inplace`.

    Example:
        >>> import retrograd as rg
        >>> rg.nn.ELU()(rg.tensor([-1.0, 0.0, 2.0]))
        tensor([-0.6321,  0.    ,  2.    ])
    """

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.alpha = alpha
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return overwriting(elu, input, self.alpha) if self.inplace else elu(input, self.alpha)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}" + (", inplace=True" if self.inplace else "")


class Tanh(Module):
    """The hyperbolic tangent.

    Example:
        >>> import retrograd as rg
        >>> rg.nn.Tanh()(rg.tensor([-1.0, 0.0, 2.0]))
        tensor([-0.7616,  0.    ,  0.964 ])
    """

    fused_activation = ("tanh",)

    def forward(self, input: Tensor) -> Tensor:
        return tanh(input)


class Sigmoid(Module):
    """1 / (1 + exp(-x)).

    Example:
        >>> import retrograd as rg
        >>> rg.nn.Sigmoid()(rg.tensor([-1.0, 0.0, 2.0]))
        tensor([0.2689, 0.5   , 0.8808])
    """

    fused_activation = ("sigmoid",)

    def forward(self, input: Tensor) -> Tensor:
        return sigmoid(input)


class LogSigmoid(Module):
    """log(1 / (1 + exp(-x))).

    Example:
        >>> import retrograd as rg
        >>> rg.nn.LogSigmoid()(rg.tensor([-1.0, 0.0, 2.0]))
        tensor([-1.3133, -0.6931, -0.1269])
    """

    def forward(self, input: Tensor) -> Tensor:
        return logsigmoid(input)


class GELU(Module):
    """x Phi(x); by its tanh approximation where approximate="tanh".

    Example:
        >>> import retrograd as rg
        >>> rg.nn.GELU()(rg.tensor([-1.0, 0.0, 2.0]))
        tensor([-0.1587,  0.    ,  1.9545])
    """

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        self.approximate = approximate

    @property
    def fused_activation(self) -> tuple[str] | None:
        return {"none": ("gelu",), "tanh": ("gelu_tanh",)}.get(self.approximate)

    def forward(self, input: Tensor) -> Tensor:
        return gelu(input, self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class SiLU(Module):
    """x sigmoid(x); overwrites its input if `inplace`.

    Example:
        >>> import retrograd as rg
        >>> rg.nn.SiLU()(rg.tensor([-1.0, 0.0, 2.0]))
        tensor([-0.2689,  0.    ,  1.7616])
    """

    fused_activation = ("silu",)

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return overwriting(silu, input) if self.inplace else silu(input)

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""


class Softplus(Module):
    """log(1 + exp(beta x)) / beta; x itself where beta x > threshold.

    Example:
        >>> import retrograd as rg
        >>> rg.nn.Softplus()(rg.tensor([-1.0, 0.0, 2.0]))
        tensor([0.3133, 0.6931, 2.1269])
    """

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__()
        self.beta = beta
        self.threshold = threshold

    @property
    def fused_activation(self) -> tuple[str, float] | None:
        return ("softplus", self.beta) if self.threshold >= 20 else None

    def forward(self, input: Tensor) -> Tensor:
        return softplus(input, self.beta, self.threshold)

    def extra_repr(self) -> str:
        return f"beta={self.beta}, threshold={self.threshold}"


class Softmax(Module):
    """exp(x) over its sum along `dim`, the last axis unless given.

    Example:
        >>> import retrograd as rg
        >>> rg.nn.Softmax()(rg.tensor([[0.0, 1.0]]))
        tensor([[0.2689, 0.7311]])
    """

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        return softmax(input, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class LogSoftmax(Module):
    """The logarithm of the softmax along `dim`, the last axis unless given.

    Example:
        >>> import retrograd as rg
        >>> rg.nn.LogSoftmax()(rg.tensor([[0.0, 1.0]]))
        tensor([[-1.3133, -0.3133]])
    """

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        return log_softmax(input, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"
