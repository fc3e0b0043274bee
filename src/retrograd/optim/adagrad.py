"""Adagrad."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..tape import state as thread
from .optimizer import Optimizer, Ready, remembered


class Adagrad(Optimizer):
    """Adagrad (Duchi, Hazan and Singer, Journal of Machine Learning Research 12, 2011): each weight's learning rate
    falls with the sum of its squared gradients, so that rare features, an embedding's rows for one, keep a high one.

    Args:
        params: tensors, or dicts of parameter groups.
        lr: the learning rate, divided by 1 + lr_decay * t in the step after t others.
        lr_decay: see lr.
        weight_decay: factor of the parameter that is added to its gradient.
        initial_accumulator_value: what the sums of squares start with.
        eps: added to the quotient's denominator.
        maximize: go up instead of down.

    Raises:
        ValueError: an option is out of range.

    Example:
        >>> import retrograd as rg
        >>> w = rg.nn.Parameter(rg.tensor([1.0, 100.0]))
        >>> optimizer = rg.optim.Adagrad([w], lr=0.5)
        >>> (w * w).sum().backward()
        >>> optimizer.step()
        >>> w.tolist()
        [0.5, 99.5]
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "lr_decay": lr_decay,
            "eps": eps,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def check(self, group: Mapping[str, Any]) -> None:
        self.require(group["lr"] >= 0, "learning rate", group["lr"])
        self.require(group["lr_decay"] >= 0, "lr_decay value", group["lr_decay"])
        self.require(group["weight_decay"] >= 0, "weight_decay value", group["weight_decay"])
        start = group["initial_accumulator_value"]
        self.require(start >= 0, "initial_accumulator_value value", start)
        self.require(group["eps"] >= 0, "epsilon value", group["eps"])

    def update(self, group: Mapping[str, Any], ready: Ready) -> None:
        k = thread.kernels
        lr, eps, weight_decay = k.read(lambda: (group["lr"], group["eps"], group["weight_decay"]), 3)
        self.count(ready)
        kept = [self.state[p] for p, _, _ in ready]
        rates = [lr] * len(ready)
        if group["lr_decay"]:
            rates = k.host(
                lambda: [group["lr"] / (1 + (each["step"] - 1) * group["lr_decay"]) for each in kept], len(kept)
            )
        for (_, w, g), each, rate in zip(ready, kept, rates, strict=True):
            total = remembered(each, "sum", w, group["initial_accumulator_value"])
            k.rmsprop_update(w, g, total, None, None, rate, 1.0, eps, weight_decay, 0.0, True)
