"""Rows, features or vectors brought to mean 0 and variance 1, or to norm 1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    if not shape or x.shape[x.ndim - len(shape) :] != shape:
        raise ValueError(f"layer_norm: input has shape {x.shape}, expected its last axes to be {shape}")
    axes = tuple(range(x.ndim - len(shape), x.ndim))
    centred = x - mean(x, axes, keepdim=True)
    return _scaled(centred * rsqrt(mean(centred * centred, axes, keepdim=True) + eps), weight, bias)


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
