"""Initial values, written into tensors in place; drawn from the default generator unless one is given.

Xavier: Glorot and Bengio, AISTATS 2010. Kaiming: He et al., arXiv:1502.01852. Orthogonal: Saxe et al.,
arXiv:1312.6120. Arguments and defaults are PyTorch's.
"""

from __future__ import annotations

import math

import numpy as np

from ..kernels.spec import Array
from ..ops.random import Generator, normal
from ..tape import no_grad
from ..tensor import Tensor


def _filled(tensor: Tensor, values: float | Array) -> Tensor:
    with no_grad():
        return tensor.copy_(values)


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Uniform numbers in [a, b)."""
    with no_grad():
        return tensor.uniform_(a, b, generator=generator)


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Normal numbers of this mean and standard deviation."""
    with no_grad():
        return tensor.normal_(mean, std, generator=generator)


def constant_(tensor: Tensor, val: float) -> Tensor:
    """One value everywhere."""
    return _filled(tensor, val)


def zeros_(tensor: Tensor) -> Tensor:
    """Zeros."""
    return _filled(tensor, 0.0)


def ones_(tensor: Tensor) -> Tensor:
    """Ones."""
    return _filled(tensor, 1.0)


def eye_(tensor: Tensor) -> Tensor:
    """Ones on the diagonal of a matrix, zeros elsewhere.

    Raises:
        ValueError: the tensor has not two axes.
    """
    if tensor.ndim != 2:
        raise ValueError(f"eye_: the tensor has shape {tensor.shape}, expected two axes")
    return _filled(tensor, np.eye(*tensor.shape, dtype=tensor.dtype))


_GAINS = {
    "linear": 1.0,
    "identity": 1.0,
    "sigmoid": 1.0,
    "tanh": 5 / 3,
    "relu": math.sqrt(2),
    "selu": 3 / 4,
}


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor by which weights are scaled so that a nonlinearity keeps the variance.

    Args:
        nonlinearity: one of linear, identity, sigmoid, tanh, relu, leaky_relu, selu.
        param: for leaky_relu its negative slope, 0.01 unless given.

    Raises:
        ValueError: another nonlinearity.
    """
    if nonlinearity == "leaky_relu":
        return math.sqrt(2 / (1 + (0.01 if param is None else param) ** 2))
    if nonlinearity not in _GAINS:
        known = ", ".join([*_GAINS, "leaky_relu"])
        raise ValueError(f"calculate_gain: unknown nonlinearity {nonlinearity!r}; expected one of {known}")
    return _GAINS[nonlinearity]


def _fans(name: str, tensor: Tensor) -> tuple[int, int]:
    """Inputs and outputs that meet in one element of a weight (out, in, …)."""
    if tensor.ndim < 2:
        raise ValueError(f"{name}: the tensor has shape {tensor.shape}, expected (out, in, …)")
    receptive = math.prod(tensor.shape[2:])
    return tensor.shape[1] * receptive, tensor.shape[0] * receptive


def _xavier_std(name: str, tensor: Tensor, gain: float) -> float:
    fan = sum(_fans(name, tensor))
    return gain * math.sqrt(2 / fan) if fan else 0.0


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Uniform in ±gain sqrt(6 / (fan_in + fan_out)).

    Raises:
        ValueError: the tensor has fewer than two axes.
    """
    bound = math.sqrt(3) * _xavier_std("xavier_uniform_", tensor, gain)
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Normal with standard deviation gain sqrt(2 / (fan_in + fan_out)).

    Raises:
        ValueError: the tensor has fewer than two axes.
    """
    return normal_(tensor, 0.0, _xavier_std("xavier_normal_", tensor, gain), generator)


def _kaiming_std(name: str, tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"{name}: mode is {mode!r}, expected 'fan_in' or 'fan_out'")
    fan = _fans(name, tensor)[mode == "fan_out"]
    return calculate_gain(nonlinearity, a) / math.sqrt(fan) if fan else 0.0


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Uniform in ±gain sqrt(3 / fan).

    Args:
        tensor: a weight (out, in, …).
        a: the negative slope, where nonlinearity is leaky_relu.
        mode: "fan_in" keeps the variance of the forward pass, "fan_out" that of the backward pass.
        nonlinearity: as in calculate_gain().
        generator: what to draw from.

    Raises:
        ValueError: the tensor has fewer than two axes; an unknown mode or nonlinearity.
    """
    bound = math.sqrt(3) * _kaiming_std("kaiming_uniform_", tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Normal with standard deviation gain / sqrt(fan); arguments as in kaiming_uniform_()."""
    return normal_(tensor, 0.0, _kaiming_std("kaiming_normal_", tensor, a, mode, nonlinearity), generator)


def orthogonal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """A matrix (rows, the other axes joined) with orthonormal rows or columns, whichever are fewer, times gain.

    Raises:
        ValueError: the tensor has fewer than two axes.
    """
    if tensor.ndim < 2:
        raise ValueError(f"orthogonal_: the tensor has shape {tensor.shape}, expected two axes or more")
    if tensor.size == 0:
        return tensor
    rows = tensor.shape[0]
    columns = tensor.size // rows
    drawn = normal(tensor.size, np.float64, generator).reshape(max(rows, columns), min(rows, columns))
    q, r = np.linalg.qr(drawn)
    q = q * np.where(np.diagonal(r) < 0, -1.0, 1.0)  # without it the distribution is not uniform (Mezzadri 2007)
    return _filled(tensor, gain * (q if rows >= columns else q.T).reshape(tensor.shape))
