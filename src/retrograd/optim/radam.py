"""RAdam."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from ..tape import state as thread
from .adam import Moments
from .optimizer import Ready, decay, remembered


class RAdam(Moments):
    """RAdam (Liu et al., arXiv:1908.03265): Adam, whose first steps do not divide by a mean square that is of too few
    gradients yet, and whose next ones are shorter by how uncertain it is.

    Args:
        params: tensors, or dicts of parameter groups.
        lr: the learning rate.
        betas: how much is kept of the running means of the gradient and of its square.
        eps: added to the quotient's denominator.
        weight_decay: factor of the parameter that is added to its gradient.
        decoupled_weight_decay: shrink the parameter by lr * weight_decay instead, as AdamW does.
        maximize: go up instead of down.

    Raises:
        ValueError: an option is out of range.

    Example:
        >>> import retrograd as rg
        >>> w = rg.nn.Parameter(rg.tensor([1.0, 100.0]))
        >>> optimizer = rg.optim.RAdam([w], lr=0.25)
        >>> (w * w).sum().backward()
        >>> optimizer.step()
        >>> w.tolist()
        [0.5, 50.0]
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        super().__init__(params, defaults)

    def update(self, group: Mapping[str, Any], ready: Ready) -> None:
        k = thread.kernels
        beta1, beta2, weight_decay = k.read(lambda: (*group["betas"], group["weight_decay"]), 3)
        self.count(ready)
        states = [self.state[p] for p, _, _ in ready]
        numbers = iter(k.host(lambda: [n for each in states for n in _rates(group, each["step"])], 3 * len(states)))
        if group["decoupled_weight_decay"]:
            decay(group, ready)
            weight_decay = 0.0
        for (_, w, g), kept in zip(ready, states, strict=True):
            m, v = remembered(kept, "exp_avg", w), remembered(kept, "exp_avg_sq", w)
            adaptive, eps, plain = next(numbers), next(numbers), next(numbers)
            k.adam_update(w, g, m, v, None, 0.0, beta1, beta2, 1.0, weight_decay)  # at a rate of 0: the means alone
            k.rmsprop_update(w, m, v, None, None, adaptive, 1.0, eps)  # alpha 1 keeps v
            k.sgd_update(w, m, None, plain)


def _rates(group: Mapping[str, Any], step: int) -> tuple[float, float, float]:
    """The rate of m / (sqrt(v) + eps), that eps, and the rate of m alone; one of the rates is 0."""
    beta1, beta2 = group["betas"]
    lr = group["lr"] / (1 - beta1**step)
    correction = 1 - beta2**step
    longest = 2 / (1 - beta2) - 1
    length = longest - 2 * step * beta2**step / correction
    if length <= 5:
        return 0.0, 1.0, lr
    certainty = (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
    return lr * math.sqrt(certainty * correction), group["eps"], 0.0
