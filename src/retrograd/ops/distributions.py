"""Draws from distributions as functions of their parameters, which gradients flow to.

Each is noise that depends on nothing, moved and scaled by the parameters (Kingma and Welling, "Auto-encoding
variational Bayes", arXiv:1312.6114, section 2.4).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import dtypes
from ..kernels.spec import broadcast
from ..tensor import Tensor
from .creation import Shape, arange
from .elementary import cos, log1p, sin
from .elementwise import clamp, equal, less, log, sqrt
from .random import Generator, rand
from .reduction import argmax, softmax
from .rule import Operand, as_tensor_operand, floating, known, normalize_axis, operands
from .shape import concatenate, expand, reshape, unsqueeze
from .sorting import topk

_LEAST = 2.0**-25
"""Half of the distance between uniform numbers in float32, where they are 0."""


def _parameters(name: str, a: Operand, b: Operand, shape: Shape | None) -> tuple[Tensor, Tensor, tuple[int, ...]]:
    """The parameters as floating tensors of one dtype, and the shape of the draw.

    Raises:
        ValueError: the parameters do not broadcast, or not to the shape.
    """
    a, b = operands(name, a, b)
    a, b = floating(name, a), floating(name, b)
    joint = broadcast(name, a.array, b.array)
    if shape is None:
        return a, b, joint
    asked = (shape,) if isinstance(shape, int) else tuple(shape)
    if len(asked) < len(joint) or any(n not in (1, m) for n, m in zip(joint[::-1], asked[::-1], strict=False)):
        raise ValueError(f"{name}: parameters of shape {joint} do not broadcast to shape {asked}")
    return a, b, asked


def _scale(name: str, scale: Tensor) -> Tensor:
    if known(scale) and (scale.array < 0).any():
        raise ValueError(f"{name}: the scale is negative in some element; expected numbers >= 0")
    return scale


def _standard_normal(shape: tuple[int, ...], dtype: Any, generator: Generator | None) -> Tensor:
    """Box and Muller's transform (1958) of uniform numbers, in double precision; what randn draws."""
    n = math.prod(shape)
    u = rand(2, -(-n // 2), dtype=dtypes.float64, generator=generator)
    radius, angle = sqrt(-2.0 * log1p(-u[0])), 2 * math.pi * u[1]
    return reshape(concatenate([radius * cos(angle), radius * sin(angle)])[:n].to(dtype), shape)


def normal(
    mean: Operand = 0.0, std: Operand = 1.0, shape: Shape | None = None, generator: Generator | None = None
) -> Tensor:
    """Normal numbers: mean + std * a standard normal draw.

    Args:
        mean, std: numbers or tensors; they broadcast, to `shape` where it is given.
        shape: of the draw; by default that of the parameters.
        generator: what to draw from; the default one for None.

    Raises:
        ValueError: std is negative, or shapes do not broadcast.

    Example:
        >>> import retrograd as rg
        >>> mean = rg.tensor(1.0, requires_grad=True)
        >>> rg.normal(mean, 0.1, shape=5).sum().backward()
        >>> mean.grad
        tensor(5.)
    """
    mean, std, shape = _parameters("normal", mean, std, shape)
    return mean + _scale("normal", std) * _standard_normal(shape, mean.dtype, generator)


def uniform(
    low: Operand = 0.0, high: Operand = 1.0, shape: Shape | None = None, generator: Generator | None = None
) -> Tensor:
    """Uniform numbers in [low, high): low + (high - low) * a draw from [0, 1). Arguments as in normal.

    Example:
        >>> import retrograd as rg
        >>> rg.uniform(rg.tensor(0.0), rg.tensor(1.0), (2, 3)).shape
        (2, 3)
    """
    low, high, shape = _parameters("uniform", low, high, shape)
    return low + (high - low) * rand(shape, dtype=low.dtype, generator=generator)


def gumbel(
    loc: Operand = 0.0, scale: Operand = 1.0, shape: Shape | None = None, generator: Generator | None = None
) -> Tensor:
    """Gumbel's distribution of extremes: loc - scale * log(-log(u)), u being uniform. Arguments as in normal.

    Raises:
        ValueError: scale is negative, or shapes do not broadcast.

    Example:
        >>> import retrograd as rg
        >>> rg.gumbel(rg.tensor(0.0), rg.tensor(1.0), (2, 3)).shape
        (2, 3)
    """
    loc, scale, shape = _parameters("gumbel", loc, scale, shape)
    u = clamp(rand(shape, dtype=loc.dtype, generator=generator), min=_LEAST)
    return loc - _scale("gumbel", scale) * log(-log(u))


def bernoulli(p: Operand, generator: Generator | None = None) -> Tensor:
    """1 with probability p, else 0, for each element of p; of p's shape and dtype, without a derivative.

    Raises:
        ValueError: a probability is not in [0, 1].

    Example:
        >>> import retrograd as rg
        >>> rg.bernoulli(rg.tensor([0.0, 1.0]))
        tensor([0., 1.])
    """
    p = floating("bernoulli", p).detach()
    if known(p) and not ((p.array >= 0) & (p.array <= 1)).all():
        raise ValueError("bernoulli: p has elements outside of [0, 1]")
    return less(rand(p.shape, dtype=p.dtype, generator=generator), p).to(p.dtype)


def multinomial(
    probabilities: Operand, num_samples: int, replacement: bool = False, generator: Generator | None = None
) -> Tensor:
    """Classes drawn by their probabilities, as int64 without a derivative: the largest of log p + Gumbel noise
    (Kool, van Hoof and Welling, arXiv:1903.06059).

    Args:
        probabilities: (classes,) or (rows, classes), not negative; they need not sum to 1.
        num_samples: how many to draw of each row.
        replacement: whether a class can be drawn again.
        generator: what to draw from; the default one for None.

    Returns:
        (num_samples,) or (rows, num_samples).

    Raises:
        ValueError: the shape does not fit, a probability is negative or not finite, or fewer classes than num_samples,
            with replacement than 1, have one above 0.

    Example:
        >>> import retrograd as rg
        >>> rg.multinomial(rg.tensor([0.0, 1.0, 0.0]), 1)
        tensor([1])
    """
    p = floating("multinomial", probabilities).detach()
    if p.ndim not in (1, 2):
        raise ValueError(f"multinomial: probabilities have shape {p.shape}, expected (classes,) or (rows, classes)")
    needed = 1 if replacement else num_samples
    if known(p) and not (((p.array >= 0) & np.isfinite(p.array)).all() and ((p.array > 0).sum(-1) >= needed).all()):
        raise ValueError(
            f"multinomial: expected probabilities >= 0, at least {needed} of each row above 0, to draw {num_samples}"
        )
    if replacement:
        p = expand(unsqueeze(p, -2), *p.shape[:-1], num_samples, p.shape[-1])
        return argmax(log(p) + gumbel(shape=p.shape, generator=generator), -1)
    return topk(log(p) + gumbel(shape=p.shape, generator=generator), num_samples).indices


def one_hot(x: Operand, num_classes: int, dtype: Any = None) -> Tensor:
    """Whole numbers x in [0, num_classes) as vectors, along a new last axis, that are 1 there and 0 elsewhere.

    Example:
        >>> import retrograd as rg
        >>> rg.nn.functional.one_hot([1, 0], 3)
        tensor([[0, 1, 0],
                [1, 0, 0]])
    """
    x = as_tensor_operand("one_hot", x)
    return equal(unsqueeze(x, -1), arange(num_classes)).to(dtypes.int64 if dtype is None else dtype)


def gumbel_softmax(
    logits: Operand, tau: float = 1.0, hard: bool = False, dim: int = -1, generator: Generator | None = None
) -> Tensor:
    """A draw of a class, relaxed: softmax((logits + Gumbel noise) / tau) along an axis (Jang, Gu and Poole,
    arXiv:1611.01144; Maddison, Mnih and Teh, arXiv:1611.00712).

    Args:
        logits: the logarithms of the classes' probabilities, up to a constant.
        tau: the temperature, > 0: the smaller, the nearer to one class.
        hard: give the class itself, as ones and zeros, with the derivative of the relaxed draw.
        dim: the axis of the classes.
        generator: what to draw from; the default one for None.

    Raises:
        ValueError: tau is not positive.

    Example:
        >>> import retrograd as rg
        >>> import retrograd.nn.functional as F
        >>> F.gumbel_softmax(rg.tensor([[0.0, 1.0, 2.0]]), hard=True).sum()
        tensor(1.)
    """
    if not tau > 0:
        raise ValueError(f"gumbel_softmax: tau is {tau}, expected a positive number")
    x = floating("gumbel_softmax", logits)
    axis = normalize_axis("gumbel_softmax", dim, x.ndim)
    y = softmax(gumbel(x, 1.0, generator=generator) / tau, axis)
    if not hard:
        return y
    classes = reshape(arange(x.shape[axis]), (-1,) + (1,) * (x.ndim - axis - 1))
    chosen = equal(argmax(y.detach(), axis, keepdim=True), classes).to(y.dtype)
    return chosen - y.detach() + y
