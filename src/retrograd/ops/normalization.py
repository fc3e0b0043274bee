"""Rows, features or vectors brought to mean 0 and variance 1, or to norm 1."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..tape import no_grad
from ..tensor import Tensor
from .contraction import vector_norm
from .elementary import rsqrt
from .elementwise import clamp
from .reduction import mean, var
from .rule import Operand, as_tensor_operand, floating
from .shape import reshape


def _scaled(x: Tensor, weight: Operand | None, bias: Operand | None) -> Tensor:
    if weight is not None:
        x = x * weight
    return x if bias is None else x + bias


def _last_axes(name: str, x: Tensor, sizes: int | Sequence[int]) -> tuple[int, ...]:
    shape = (sizes,) if isinstance(sizes, int) else tuple(sizes)
    if not shape or x.shape[x.ndim - len(shape) :] != shape:
        raise ValueError(f"{name}: input has shape {x.shape}, expected its last axes to be {shape}")
    return tuple(range(x.ndim - len(shape), x.ndim))


def layer_norm(
    input: Operand,
    normalized_shape: int | Sequence[int],
    weight: Operand | None = None,
    bias: Operand | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """(x - mean) / sqrt(variance + eps) over the last axes, of each row by itself (Ba et al., arXiv:1607.06450).

    Args:
        input: any shape that ends with normalized_shape.
        normalized_shape: the sizes of the axes that mean and variance go over; one size for the last axis.
        weight, bias: of that shape: what the result is multiplied by, and what is added then.
        eps: keeps the root of a variance of 0 finite.

    Raises:
        ValueError: the shapes do not fit.

    Example:
        >>> import retrograd as rg
        >>> import retrograd.nn.functional as F
        >>> F.layer_norm(rg.tensor([[1.0, 3.0]]), (2,))
        tensor([[-1.,  1.]])
    """
    x = floating("layer_norm", input)
    axes = _last_axes("layer_norm", x, normalized_shape)
    centred = x - mean(x, axes, keepdim=True)
    return _scaled(centred * rsqrt(mean(centred * centred, axes, keepdim=True) + eps), weight, bias)


def rms_norm(
    input: Operand, normalized_shape: int | Sequence[int], weight: Operand | None = None, eps: float | None = None
) -> Tensor:
    """x / sqrt(mean of x² + eps) over the last axes, of each row by itself (Zhang and Sennrich, arXiv:1910.07467).

    Args:
        input: any shape that ends with normalized_shape.
        normalized_shape: the sizes of the axes that the mean goes over; one size for the last axis.
        weight: of that shape: what the result is multiplied by.
        eps: keeps the root of a mean of 0 finite; None for the dtype's distance from 1 to the next number.

    Raises:
        ValueError: the shapes do not fit.

    Example:
        >>> import retrograd as rg
        >>> rg.nn.functional.rms_norm(rg.tensor([[3.0, 4.0]]), (2,))
        tensor([[0.8485, 1.1314]])
    """
    x = floating("rms_norm", input)
    axes = _last_axes("rms_norm", x, normalized_shape)
    eps = float(np.finfo(x.dtype).eps) if eps is None else eps
    return _scaled(x * rsqrt(mean(x * x, axes, keepdim=True) + eps), weight, None)


def group_norm(
    input: Operand, num_groups: int, weight: Operand | None = None, bias: Operand | None = None, eps: float = 1e-5
) -> Tensor:
    """Each row's groups of features brought to mean 0 and variance 1 (Wu and He, arXiv:1803.08494).

    Args:
        input: (rows, features) or (rows, features, d1, …).
        num_groups: into how many groups of equal size the features are divided.
        weight, bias: (features,): what the result is multiplied by, and what is added then.
        eps: keeps the root of a variance of 0 finite.

    Raises:
        ValueError: the input has fewer than two axes, or its features are no multiple of num_groups.

    Example:
        >>> import retrograd as rg
        >>> rg.nn.functional.group_norm(rg.tensor([[1.0, 3.0, 0.0, 8.0]]), 2)
        tensor([[-1.,  1., -1.,  1.]])
    """
    x = floating("group_norm", input)
    if x.ndim < 2 or num_groups < 1 or x.shape[1] % num_groups:
        raise ValueError(
            f"group_norm: input has shape {x.shape}, expected (rows, features, …), features in {num_groups} groups"
        )
    groups = reshape(x, x.shape[0], num_groups, math.prod(x.shape[1:]) // num_groups)
    each = (-1, *(1,) * (x.ndim - 2))
    factors = [None if t is None else reshape(as_tensor_operand("group_norm", t), each) for t in (weight, bias)]
    return _scaled(reshape(layer_norm(groups, groups.shape[2:], eps=eps), x.shape), *factors)


def batch_norm(
    input: Operand,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Operand | None = None,
    bias: Operand | None = None,
    training: bool = False,
    momentum: Any = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """(x - mean) / sqrt(variance + eps) of each feature, over the batch (Ioffe and Szegedy, arXiv:1502.03167).

    Args:
        input: (rows, features) or (rows, features, d1, …).
        running_mean, running_var: (features,), used where not training, and where training moved, in place, by
            `momentum` towards the batch's mean and unbiased variance; None for neither.
        weight, bias: (features,): what the result is multiplied by, and what is added then.
        training: whether mean and variance are the batch's; they are too where there are no running ones.
        momentum: the share of the batch in the running numbers.
        eps: keeps the root of a variance of 0 finite.

    Raises:
        ValueError: the input has fewer than two axes, or a batch whose own mean is used has one value a feature.

    Example:
        >>> import retrograd as rg
        >>> import retrograd.nn.functional as F
        >>> F.batch_norm(rg.tensor([[1.0], [3.0]]), None, None, training=True)
        tensor([[-1.],
                [ 1.]])
    """
    x = floating("batch_norm", input)
    if x.ndim < 2:
        raise ValueError(f"batch_norm: input has shape {x.shape}, expected (rows, features, …)")
    axes = (0, *range(2, x.ndim))
    each = (1, -1, *(1,) * (x.ndim - 2))
    if training or running_mean is None or running_var is None:
        if x.size == x.shape[1]:
            raise ValueError(f"batch_norm: expected more than 1 value a feature in the batch, got shape {x.shape}")
        centre = mean(x, axes)
        centred = x - reshape(centre, each)
        variance = mean(centred * centred, axes)
        if training and running_mean is not None and running_var is not None:
            with no_grad():
                running_mean.lerp_(centre, momentum)
                running_var.lerp_(var(x, axes), momentum)
    else:
        centred, variance = x - reshape(running_mean, each), running_var
    factors = [None if t is None else reshape(as_tensor_operand("batch_norm", t), each) for t in (weight, bias)]
    return _scaled(centred * reshape(rsqrt(variance + eps), each), *factors)


def normalize(input: Operand, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Tensor:
    """x over its norm of order p along an axis, or over eps where that is larger.

    Example:
        >>> import retrograd as rg
        >>> import retrograd.nn.functional as F
        >>> F.normalize(rg.tensor([[3.0, 4.0]]))
        tensor([[0.6, 0.8]])
    """
    x = floating("normalize", input)
    return x / clamp(vector_norm(x, p, dim, keepdim=True), min=eps)
