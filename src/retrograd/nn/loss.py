"""Losses as modules: the functions of `ops.loss` with their options kept."""

from __future__ import annotations

from typing import Any

from ..kernels.loss import check_reduction
from ..ops.creation import as_tensor
from ..ops.loss import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
    huber_loss,
    l1_loss,
    mse_loss,
    nll_loss,
    smooth_l1_loss,
)
from ..tensor import Tensor
from .module import Module


class Loss(Module):
    """A loss and its reduction: "mean", "sum" or "none".

    Raises:
        ValueError: an unknown reduction.
    """

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__()
        check_reduction(type(self).__name__, reduction)
        self.reduction = reduction

    def _register_factors(self, name: str, factors: Any) -> None:
        self.register_buffer(name, None if factors is None else as_tensor(factors))

    def extra_repr(self) -> str:
        return f"reduction={self.reduction!r}"


class MSELoss(Loss):
    """The squared error of input and target, which have one shape.

    Example:
        >>> import retrograd as rg
        >>> rg.nn.MSELoss()(rg.tensor([1.0, 2.0]), rg.tensor([0.0, 4.0]))
        tensor(2.5)
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return mse_loss(input, target, self.reduction)


class L1Loss(Loss):
    """The absolute error of input and target, which have one shape.

    Example:
        >>> import retrograd as rg
        >>> rg.nn.L1Loss()(rg.tensor([1.0, 2.0]), rg.tensor([0.0, 4.0]))
        tensor(1.5)
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return l1_loss(input, target, self.reduction)


class HuberLoss(Loss):
    """Quadratic up to an error of delta, linear beyond.

    Example:
        >>> import retrograd as rg
        >>> rg.nn.HuberLoss()(rg.tensor([1.0, 2.0]), rg.tensor([0.0, 4.0]))
        tensor(1.)
    """

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction)
        if not delta > 0:
            raise ValueError(f"HuberLoss: delta is {delta}, expected a positive number")
        self.delta = delta

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return huber_loss(input, target, self.reduction, self.delta)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, delta={self.delta}"


class SmoothL1Loss(Loss):
    """Quadratic up to an error of beta, linear with slope 1 beyond; see functional.smooth_l1_loss.

    Example:
        >>> import retrograd as rg
        >>> rg.nn.SmoothL1Loss()(rg.tensor([1.0, 2.0]), rg.tensor([0.0, 4.0]))
        tensor(1.)
    """

    def __init__(self, reduction: str = "mean", beta: float = 1.0) -> None:
        super().__init__(reduction)
        self.beta = beta

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return smooth_l1_loss(input, target, self.reduction, self.beta)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, beta={self.beta}"


class CrossEntropyLoss(Loss):
    """Cross entropy of logits (rows, classes, …) with class indices or probabilities; see functional.cross_entropy.

    Args:
        weight: (classes,) factors of the classes, kept as a buffer.
        ignore_index, reduction, label_smoothing: as in the function.

    Example:
        >>> import retrograd as rg
        >>> rg.nn.CrossEntropyLoss()(rg.tensor([[0.0, 0.0], [2.0, 0.0]]), rg.tensor([1, 0]))
        tensor(0.41)
    """

    def __init__(
        self,
        weight: Any = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(reduction)
        if not 0 <= label_smoothing <= 1:
            raise ValueError(f"CrossEntropyLoss: label_smoothing is {label_smoothing}, expected 0 to 1")
        self._register_factors("weight", weight)
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return cross_entropy(input, target, self.weight, self.ignore_index, self.reduction, self.label_smoothing)


class NLLLoss(Loss):
    """The negative log-probability of class indices; see functional.nll_loss.

    Args:
        weight: (classes,) factors of the classes, kept as a buffer.
        ignore_index, reduction: as in the function.

    Example:
        >>> import retrograd as rg
        >>> rg.nn.NLLLoss()(rg.tensor([[0.25, 0.75]]).log(), rg.tensor([1]))
        tensor(0.2877)
    """

    def __init__(self, weight: Any = None, ignore_index: int = -100, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self._register_factors("weight", weight)
        self.ignore_index = ignore_index

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return nll_loss(input, target, self.weight, self.ignore_index, self.reduction)


class BCELoss(Loss):
    """Binary cross entropy of probabilities with probabilities of one shape.

    Args:
        weight: factors of the elements, kept as a buffer.
        reduction: as in the function.

    Example:
        >>> import retrograd as rg
        >>> rg.nn.BCELoss()(rg.tensor([0.25, 0.75]), rg.tensor([0.0, 1.0]))
        tensor(0.2877)
    """

    def __init__(self, weight: Any = None, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self._register_factors("weight", weight)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return binary_cross_entropy(input, target, self.weight, self.reduction)


class BCEWithLogitsLoss(Loss):
    """Binary cross entropy of logits with probabilities of one shape.

    Args:
        weight: factors of the elements, kept as a buffer.
        reduction: as in the function.
        pos_weight: factors of the positive terms, kept as a buffer.

    Example:
        >>> import retrograd as rg
        >>> rg.nn.BCEWithLogitsLoss()(rg.tensor([0.0, 2.0]), rg.tensor([0.0, 1.0]))
        tensor(0.41)
    """

    def __init__(self, weight: Any = None, reduction: str = "mean", pos_weight: Any = None) -> None:
        super().__init__(reduction)
        self._register_factors("weight", weight)
        self._register_factors("pos_weight", pos_weight)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return binary_cross_entropy_with_logits(input, target, self.weight, self.reduction, self.pos_weight)
