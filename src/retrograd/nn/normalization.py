"""Normalizing layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..ops.creation import empty, zeros
from ..ops.elementary import reciprocal
from ..ops.normalization import batch_norm, group_norm, layer_norm, rms_norm
from ..tape import no_grad
from ..tensor import Tensor
from . import init
from .module import Module
from .parameter import Parameter


class Normalization(Module):
    """What normalizing layers share: eps, and a factor and an offset for each element that is normalized, or neither.

    Attributes:
        weight, bias: of the given shape, ones and zeros at first; or None.
    """

    def __init__(self, shape: tuple[int, ...], eps: float | None, affine: bool, bias: bool, dtype: Any) -> None:
        super().__init__()
        self.eps = eps
        self.register_parameter("weight", Parameter(empty(shape, dtype=dtype)) if affine else None)
        self.register_parameter("bias", Parameter(empty(shape, dtype=dtype)) if affine and bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Make the weight ones and the bias zeros."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)


class LayerNorm(Normalization):
    """Each row brought to mean 0 and variance 1 over its last axes; see functional.layer_norm.

    Args:
        normalized_shape: the sizes of those axes; one size for the last axis.
        eps: added to the variance.
        elementwise_affine: whether there are a weight and a bias.
        bias: whether there is a bias beside the weight.
        dtype: float32 or float64; the default dtype unless given.

    Example:
        >>> import retrograd as rg
        >>> rg.nn.LayerNorm(2)(rg.tensor([[1.0, 3.0], [0.0, 8.0]]))
        tensor([[-1.,  1.],
                [-1.,  1.]], grad_fn=<add>)
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        dtype: Any = None,
    ) -> None:
        shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        super().__init__(shape, eps, elementwise_affine, bias, dtype)
        self.normalized_shape = shape
        self.elementwise_affine = elementwise_affine

    def forward(self, input: Tensor) -> Tensor:
        return layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class RMSNorm(Normalization):
    """Each row divided by its root mean square over its last axes; see functional.rms_norm.

    Args:
        normalized_shape: the sizes of those axes; one size for the last axis.
        eps: added to the mean of squares; None for the dtype's distance from 1 to the next number.
        elementwise_affine: whether there is a weight.
        dtype: float32 or float64; the default dtype unless given.

    Example:
        >>> import retrograd as rg
        >>> rg.nn.RMSNorm(2)(rg.tensor([[3.0, 4.0]]))
        tensor([[0.8485, 1.1314]], grad_fn=<multiply>)
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        dtype: Any = None,
    ) -> None:
        shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        super().__init__(shape, eps, elementwise_affine, False, dtype)
        self.normalized_shape = shape
        self.elementwise_affine = elementwise_affine

    def forward(self, input: Tensor) -> Tensor:
        return rms_norm(input, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class GroupNorm(Normalization):
    """Each row's groups of features brought to mean 0 and variance 1; see functional.group_norm.

    Args:
        num_groups: into how many groups the features are divided.
        num_channels: how many features there are, a multiple of it.
        eps: added to the variance.
        affine: whether there are a weight and a bias.
        dtype: float32 or float64; the default dtype unless given.

    Raises:
        ValueError: num_channels is no multiple of num_groups.

    Example:
        >>> import retrograd as rg
        >>> rg.nn.GroupNorm(2, 4)(rg.tensor([[1.0, 3.0, 0.0, 8.0]]))
        tensor([[-1.,  1., -1.,  1.]], grad_fn=<add>)
    """

    def __init__(
        self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True, dtype: Any = None
    ) -> None:
        super().__init__((num_channels,), eps, affine, affine, dtype)
        if num_groups < 1 or num_channels % num_groups:
            raise ValueError(f"GroupNorm: num_channels is {num_channels}, expected a multiple of {num_groups} groups")
        self.num_groups = num_groups
        self.num_channels = num_channels
        self.affine = affine

    def forward(self, input: Tensor) -> Tensor:
        return group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}"


class BatchNorm1d(Normalization):
    """Each feature brought to mean 0 and variance 1: over the batch in training, else by the running numbers.

    Takes (rows, features), or (rows, features, length); see functional.batch_norm.

    Args:
        num_features: how many features there are.
        eps: added to the variance.
        momentum: the batch's share in the running numbers; None for that which makes them the mean over all batches.
        affine: whether there are a weight and a bias.
        track_running_stats: whether there are running numbers; without, the batch's are used always.
        dtype: float32 or float64; the default dtype unless given.

    Attributes:
        running_mean, running_var: (num_features,) buffers, or None.
        num_batches_tracked: how many batches were trained on, a buffer, or None.

    Example:
        >>> import retrograd as rg
        >>> norm = rg.nn.BatchNorm1d(2)
        >>> norm(rg.tensor([[1.0, 0.0], [3.0, 8.0]]))
        tensor([[-1., -1.],
                [ 1.,  1.]], grad_fn=<add>)
        >>> norm.eval()(rg.tensor([[0.2, 0.4]]))
        tensor([[0., 0.]], grad_fn=<add>)
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        dtype: Any = None,
    ) -> None:
        super().__init__((num_features,), eps, affine, affine, dtype)
        self.num_features = num_features
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        tracked = track_running_stats
        self.register_buffer("running_mean", zeros(num_features, dtype=dtype) if tracked else None)
        self.register_buffer("running_var", zeros(num_features, dtype=dtype) + 1.0 if tracked else None)
        self.register_buffer("num_batches_tracked", zeros((), dtype="int64") if tracked else None)

    def forward(self, input: Tensor) -> Tensor:
        if input.ndim not in (2, 3) or input.shape[1] != self.num_features:
            raise ValueError(
                f"BatchNorm1d: input has shape {input.shape}, expected (rows, {self.num_features}) or "
                f"(rows, {self.num_features}, length)"
            )
        momentum: Any = self.momentum
        if self.training and self.num_batches_tracked is not None:
            with no_grad():
                self.num_batches_tracked.add_(1)
                if momentum is None:
                    momentum = reciprocal(self.num_batches_tracked.to(self.running_mean.dtype))
        return batch_norm(
            input,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training,
            momentum,
            self.eps,
        )

    def extra_repr(self) -> str:
        options = f"eps={self.eps}, momentum={self.momentum}, affine={self.affine}"
        return f"{self.num_features}, {options}, track_running_stats={self.track_running_stats}"
