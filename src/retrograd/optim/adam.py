"""Adam."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..tape import state as thread
from .optimizer import Optimizer, Ready, remembered


class Moments(Optimizer):
    """What optimizers share that keep running means of the gradient and of its square: what their options may be."""

    def check(self, group: Mapping[str, Any]) -> None:
        self.require(group["lr"] >= 0, "learning rate", group["lr"])
        self.require(group["eps"] >= 0, "epsilon value", group["eps"])
        for i, beta in enumerate(group["betas"]):
            self.require(0 <= beta < 1, f"beta parameter at index {i}", beta)
        self.require(group["weight_decay"] >= 0, "weight_decay value", group["weight_decay"])


class Adam(Moments):
    """Adam (Kingma and Ba, arXiv:1412.6980).

    Args:
        params: tensors, or dicts of parameter groups.
        lr: the learning rate.
        betas: how much is kept of the running means of the gradient and of its square.
        eps: added to the quotient's denominator.
        weight_decay: factor of the parameter that is added to its gradient.
        amsgrad: divide by the largest mean square so far (Reddi et al. 2018).
        maximize: go up instead of down.

    Raises:
        ValueError: an option is out of range.

    Example:
        >>> import retrograd as rg
        >>> w = rg.nn.Parameter(rg.tensor([1.0]))
        >>> optimizer = rg.optim.Adam([w], lr=0.1)
        >>> (w * w).sum().backward()
        >>> optimizer.step()
        >>> w.tolist()[0] < 1.0
        True
    """

    decoupled = False
    """Whether weight decay acts on the parameter directly, past the running means."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def update(self, group: Mapping[str, Any], ready: Ready) -> None:
        k = thread.kernels
        lr, beta1, beta2, eps, weight_decay = k.read(
            lambda: (group["lr"], *group["betas"], group["eps"], group["weight_decay"]), 5
        )
        amsgrad = group["amsgrad"]
        for (p, w, g), step in zip(ready, self.count(ready), strict=True):
            kept = self.state[p]
            m = remembered(kept, "exp_avg", w)
            v = remembered(kept, "exp_avg_sq", w)
            v_max = remembered(kept, "max_exp_avg_sq", w) if amsgrad else None
            k.adam_update(w, g, m, v, v_max, lr, beta1, beta2, eps, weight_decay, self.decoupled, step)
