"""Learning rate schedules.

Except for LambdaLR, OneCycleLR and CosineAnnealingWarmRestarts, a schedule changes the learning rate that it finds:
several can be combined, and a change from outside is kept.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Iterable
from typing import Any

from ..tape import state as thread
from .optimizer import Optimizer


class LRScheduler:
    """The base of schedules: counts epochs and writes `get_lr()` into the optimizer's groups.

    Making one takes the step to epoch 0. A subclass sets its own attributes first.

    Args:
        optimizer: whose groups' "lr" is set.
        last_epoch: the epoch after which to go on, with an optimizer that was scheduled before; -1 to start.

    Attributes:
        last_epoch: the number of calls of step() so far.
        base_lrs: the groups' learning rates at the start.

    Raises:
        TypeError: it is no Optimizer. KeyError: last_epoch is given for an optimizer that was not scheduled before.

    Example:
        >>> import retrograd as rg
        >>> optimizer = rg.optim.SGD([rg.ones(1, requires_grad=True)], lr=1.0)
        >>> class Halving(rg.optim.lr_scheduler.LRScheduler):
        ...     def get_lr(self):
        ...         return [lr / 2**self.last_epoch for lr in self.base_lrs]
        >>> schedule = Halving(optimizer)
        >>> schedule.step()
        >>> schedule.step()
        >>> schedule.get_last_lr(), optimizer.param_groups[0]["lr"]
        ([0.25], 0.25)
    """

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        self.optimizer = _optimizer(type(self).__name__, optimizer)
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise KeyError(
                    f"{type(self).__name__}: param 'initial_lr' is not specified in param_groups[{i}]; "
                    f"last_epoch={last_epoch} needs an optimizer that a schedule has set"
                )
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self.step()

    def get_lr(self) -> list[float]:
        """The learning rate of each group at `last_epoch`."""
        raise NotImplementedError(f"{type(self).__name__} defines no get_lr()")

    def get_last_lr(self) -> list[float]:
        """The learning rates that the last step() set."""
        return self._last_lr

    def step(self) -> None:
        """Go to the next epoch and set its learning rates; call it after the optimizer's step()."""
        thread.kernels.host(self._advance, 0)

    def _advance(self) -> None:
        self.last_epoch += 1
        self._last_lr = self.get_lr()
        for group, lr in zip(self.optimizer.param_groups, self._last_lr, strict=True):
            group["lr"] = lr

    def _found(self) -> list[float]:
        return [group["lr"] for group in self.optimizer.param_groups]

    def _scaled(self, factor: float) -> list[float]:
        return [lr * factor for lr in self._found()]

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer."""
        return {name: value for name, value in self.__dict__.items() if name != "optimizer"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what state_dict() returned."""
        self.__dict__.update(state_dict)


def _optimizer(name: str, optimizer: Any) -> Optimizer:
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"{name}: {type(optimizer).__name__} is not an Optimizer")
    return optimizer


def _per_group(name: str, value: Any, optimizer: Optimizer) -> list[Any]:
    """One value a group, from one for all or a list."""
    n = len(optimizer.param_groups)
    if not isinstance(value, (list, tuple)):
        return [value] * n
    if len(value) != n:
        raise ValueError(f"{name}: {len(value)} values for {n} parameter groups, expected {n}")
    return list(value)


class StepLR(LRScheduler):
    """gamma times the learning rate every step_size epochs.

    Raises:
        ValueError: step_size is less than 1.

    Example:
        >>> import retrograd as rg
        >>> optimizer = rg.optim.SGD([rg.ones(1, requires_grad=True)], lr=1.0)
        >>> schedule = rg.optim.lr_scheduler.StepLR(optimizer, step_size=2)
        >>> rates = []
        >>> for _ in range(5):
        ...     rates.append(round(optimizer.param_groups[0]["lr"], 3))
        ...     schedule.step()               # after the epoch's training
        >>> rates
        [1.0, 1.0, 0.1, 0.1, 0.01]
    """

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1) -> None:
        if step_size < 1:
            raise ValueError(f"StepLR: step_size is {step_size}, expected 1 or more")
        self.step_size = step_size
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        falls = self.last_epoch > 0 and self.last_epoch % self.step_size == 0
        return self._scaled(self.gamma) if falls else self._found()


class MultiStepLR(LRScheduler):
    """gamma times the learning rate at each of the milestones, which are epochs; twice at one named twice.

    Example:
        >>> import retrograd as rg
        >>> optimizer = rg.optim.SGD([rg.ones(1, requires_grad=True)], lr=1.0)
        >>> schedule = rg.optim.lr_scheduler.MultiStepLR(optimizer, milestones=[1, 3])
        >>> rates = []
        >>> for _ in range(5):
        ...     rates.append(round(optimizer.param_groups[0]["lr"], 3))
        ...     schedule.step()               # after the epoch's training
        >>> rates
        [1.0, 0.1, 0.1, 0.01, 0.01]
    """

    def __init__(
        self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.milestones = sorted(milestones)
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return self._scaled(self.gamma ** self.milestones.count(self.last_epoch))


class ExponentialLR(LRScheduler):
    """gamma times the learning rate every epoch.

    Example:
        >>> import retrograd as rg
        >>> optimizer = rg.optim.SGD([rg.ones(1, requires_grad=True)], lr=1.0)
        >>> schedule = rg.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.5)
        >>> rates = []
        >>> for _ in range(4):
        ...     rates.append(round(optimizer.param_groups[0]["lr"], 3))
        ...     schedule.step()               # after the epoch's training
        >>> rates
        [1.0, 0.5, 0.25, 0.125]
    """

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return self._scaled(self.gamma) if self.last_epoch > 0 else self._found()


class LinearLR(LRScheduler):
    """A factor of the learning rate that goes from start_factor to end_factor in total_iters epochs.

    Raises:
        ValueError: start_factor is not in (0, 1], or end_factor not in [0, 1].

    Example:
        >>> import retrograd as rg
        >>> optimizer = rg.optim.SGD([rg.ones(1, requires_grad=True)], lr=1.0)
        >>> schedule = rg.optim.lr_scheduler.LinearLR(optimizer, start_factor=0.25, total_iters=3)
        >>> rates = []
        >>> for _ in range(5):
        ...     rates.append(round(optimizer.param_groups[0]["lr"], 3))
        ...     schedule.step()               # after the epoch's training
        >>> rates
        [0.25, 0.5, 0.75, 1.0, 1.0]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        if not 0 < start_factor <= 1:
            raise ValueError(f"LinearLR: start_factor is {start_factor}, expected more than 0 and at most 1")
        if not 0 <= end_factor <= 1:
            raise ValueError(f"LinearLR: end_factor is {end_factor}, expected 0 to 1")
        self.start_factor = start_factor
        self.end_factor = end_factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def _factor(self, epoch: int) -> float:
        if epoch >= self.total_iters:
            return self.end_factor
        return self.start_factor + (self.end_factor - self.start_factor) * epoch / self.total_iters

    def get_lr(self) -> list[float]:
        if self.last_epoch == 0:
            return self._scaled(self.start_factor)
        if self.last_epoch > self.total_iters:
            return self._found()
        return self._scaled(self._factor(self.last_epoch) / self._factor(self.last_epoch - 1))


class ConstantLR(LRScheduler):
    """The learning rate times `factor` until epoch total_iters.

    Raises:
        ValueError: factor is not in (0, 1].

    Example:
        >>> import retrograd as rg
        >>> optimizer = rg.optim.SGD([rg.ones(1, requires_grad=True)], lr=1.0)
        >>> schedule = rg.optim.lr_scheduler.ConstantLR(optimizer, factor=0.5, total_iters=2)
        >>> rates = []
        >>> for _ in range(4):
        ...     rates.append(round(optimizer.param_groups[0]["lr"], 3))
        ...     schedule.step()               # after the epoch's training
        >>> rates
        [0.5, 0.5, 1.0, 1.0]
    """

    def __init__(self, optimizer: Optimizer, factor: float = 1 / 3, total_iters: int = 5, last_epoch: int = -1) -> None:
        if not 0 < factor <= 1:
            raise ValueError(f"ConstantLR: factor is {factor}, expected more than 0 and at most 1")
        self.factor = factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self.last_epoch == 0:
            return self._scaled(self.factor)
        return self._scaled(1 / self.factor) if self.last_epoch == self.total_iters else self._found()


class PolynomialLR(LRScheduler):
    """The learning rate times (1 - epoch / total_iters)**power, 0 from epoch total_iters on.

    Example:
        >>> import retrograd as rg
        >>> optimizer = rg.optim.SGD([rg.ones(1, requires_grad=True)], lr=1.0)
        >>> schedule = rg.optim.lr_scheduler.PolynomialLR(optimizer, total_iters=4)
        >>> rates = []
        >>> for _ in range(6):
        ...     rates.append(round(optimizer.param_groups[0]["lr"], 3))
        ...     schedule.step()               # after the epoch's training
        >>> rates
        [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]
    """

    def __init__(self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1) -> None:
        self.total_iters = total_iters
        self.power = power
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        epoch, total = self.last_epoch, self.total_iters
        if epoch == 0 or epoch > total:
            return self._found()
        return self._scaled(((total - epoch) / (total - epoch + 1)) ** self.power)


class CosineAnnealingLR(LRScheduler):
    """Half a cosine from the learning rate to eta_min in T_max epochs, then back (Loshchilov and Hutter,
    arXiv:1608.03983, without restarts).

    Example:
        >>> import retrograd as rg
        >>> optimizer = rg.optim.SGD([rg.ones(1, requires_grad=True)], lr=1.0)
        >>> schedule = rg.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=4)
        >>> rates = []
        >>> for _ in range(6):
        ...     rates.append(round(optimizer.param_groups[0]["lr"], 3))
        ...     schedule.step()               # after the epoch's training
        >>> rates
        [1.0, 0.854, 0.5, 0.146, 0.0, 0.146]
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        self.T_max = T_max
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def _height(self, epoch: int) -> float:
        return (1 + math.cos(math.pi * epoch / self.T_max)) / 2

    def get_lr(self) -> list[float]:
        epoch, low = self.last_epoch, self.eta_min
        if epoch == 0:
            return self._found()
        if (epoch - 1 - self.T_max) % (2 * self.T_max) == 0:  # it was at eta_min, from where no factor leads away
            rise = self._height(self.T_max - 1)
            return [lr + (base - low) * rise for lr, base in zip(self._found(), self.base_lrs, strict=True)]
        factor = self._height(epoch) / self._height(epoch - 1)
        return [low + (lr - low) * factor for lr in self._found()]


class CosineAnnealingWarmRestarts(LRScheduler):
    """Half a cosine from the learning rate to eta_min, again and again (Loshchilov and Hutter, arXiv:1608.03983).

    Args:
        optimizer: whose groups' "lr" is set.
        T_0: the epochs of the first fall.
        T_mult: how many times as long as the one before each later fall is.
        eta_min: where a fall ends.
        last_epoch: as in LRScheduler.

    Raises:
        ValueError: T_0 or T_mult is no whole number >= 1.

    Example:
        >>> import retrograd as rg
        >>> optimizer = rg.optim.SGD([rg.ones(1, requires_grad=True)], lr=1.0)
        >>> schedule = rg.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=2)
        >>> rates = []
        >>> for _ in range(5):
        ...     rates.append(round(optimizer.param_groups[0]["lr"], 3))
        ...     schedule.step()               # after the epoch's training
        >>> rates
        [1.0, 0.5, 1.0, 0.5, 1.0]
    """

    def __init__(
        self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        for name, value in (("T_0", T_0), ("T_mult", T_mult)):
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"CosineAnnealingWarmRestarts: {name} is {value!r}, expected a whole number >= 1")
        self.T_0 = T_0
        self.T_mult = T_mult
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        since, length = self.last_epoch, self.T_0
        while since >= length:
            since, length = since - length, length * self.T_mult
        height = (1 + math.cos(math.pi * since / length)) / 2
        return [self.eta_min + (base - self.eta_min) * height for base in self.base_lrs]


class LambdaLR(LRScheduler):
    """The initial learning rate times lr_lambda(epoch).

    Args:
        optimizer: whose groups' "lr" is set.
        lr_lambda: a function from the epoch to the factor, or a list of one a group.
        last_epoch: as in LRScheduler.

    Raises:
        ValueError: a list of another length than the groups'.

    Example:
        >>> import retrograd as rg
        >>> optimizer = rg.optim.SGD([rg.ones(1, requires_grad=True)], lr=1.0)
        >>> schedule = rg.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 1 / (1 + epoch))
        >>> rates = []
        >>> for _ in range(4):
        ...     rates.append(round(optimizer.param_groups[0]["lr"], 3))
        ...     schedule.step()               # after the epoch's training
        >>> rates
        [1.0, 0.5, 0.333, 0.25]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | list[Callable[[int], float]],
        last_epoch: int = -1,
    ) -> None:
        self.lr_lambdas = _per_group("LambdaLR", lr_lambda, _optimizer("LambdaLR", optimizer))
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return [base * f(self.last_epoch) for base, f in zip(self.base_lrs, self.lr_lambdas, strict=True)]

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer and the functions, which are code."""
        return {name: value for name, value in super().state_dict().items() if name != "lr_lambdas"}


class SequentialLR(LRScheduler):
    """Schedules one after the other, each from the initial learning rate, with its own epochs counted from 0.

    Args:
        optimizer: that of all of them.
        schedulers: the schedules, in order.
        milestones: the epochs at which the second, the third … begins, ascending.

    Raises:
        ValueError: a schedule is of another optimizer, or there is not one milestone fewer than schedules.

    Example:
        >>> import retrograd as rg
        >>> optimizer = rg.optim.SGD([rg.ones(1, requires_grad=True)], lr=1.0)
        >>> warmup = rg.optim.lr_scheduler.LinearLR(optimizer, 0.5, total_iters=2)
        >>> fall = rg.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
        >>> schedule = rg.optim.lr_scheduler.SequentialLR(optimizer, [warmup, fall], milestones=[2])
        >>> rates = []
        >>> for _ in range(5):
        ...     rates.append(optimizer.param_groups[0]["lr"])
        ...     schedule.step()               # after the epoch's training
        >>> rates
        [0.5, 0.75, 1.0, 0.5, 0.25]
    """

    def __init__(self, optimizer: Optimizer, schedulers: list[LRScheduler], milestones: list[int]) -> None:
        if len(milestones) != len(schedulers) - 1:
            raise ValueError(
                f"SequentialLR: {len(milestones)} milestones for {len(schedulers)} schedulers, expected one fewer"
            )
        if any(s.optimizer is not optimizer for s in schedulers):
            raise ValueError("SequentialLR: a scheduler is of another optimizer")
        self.schedulers = list(schedulers)
        self.milestones = list(milestones)
        super().__init__(optimizer)

    def _advance(self) -> None:
        self.last_epoch += 1
        current = self.schedulers[bisect.bisect_right(self.milestones, self.last_epoch)]
        if self.last_epoch in (0, *self.milestones):
            for group, lr in zip(self.optimizer.param_groups, self.base_lrs, strict=True):
                group["lr"] = lr
            current.last_epoch = -1
        current._advance()
        self._last_lr = current.get_last_lr()

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer, with the schedules' own."""
        return {**super().state_dict(), "schedulers": [s.state_dict() for s in self.schedulers]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what state_dict() returned."""
        for scheduler, saved in zip(self.schedulers, state_dict["schedulers"], strict=True):
            scheduler.load_state_dict(saved)
        super().load_state_dict({name: value for name, value in state_dict.items() if name != "schedulers"})


class OneCycleLR(LRScheduler):
    """Up from max_lr / div_factor to max_lr in the first pct_start of the steps, then down to the initial rate over
    final_div_factor; momentum (or beta1) the other way (Smith and Topin, arXiv:1708.07120).

    Args:
        optimizer: whose groups' "lr", and "momentum" or "betas", are set.
        max_lr: the largest learning rate, or a list of one a group.
        total_steps: how many steps the cycle has; or else epochs times steps_per_epoch.
        epochs, steps_per_epoch: see total_steps.
        pct_start: the rising share of the steps, in [0, 1].
        anneal_strategy: "cos" or "linear".
        cycle_momentum: whether momentum changes too.
        base_momentum, max_momentum: its smallest and largest value, or lists of one a group.
        div_factor: max_lr over the first learning rate.
        final_div_factor: the first learning rate over the last.
        three_phase: go down symmetrically first, then to the end.
        last_epoch: as in LRScheduler, counted in steps.

    Raises:
        ValueError: the number of steps is not given or not positive; an option is out of range; the optimizer has no
            momentum to cycle; step() is called more often than total_steps.

    Example:
        >>> import retrograd as rg
        >>> optimizer = rg.optim.SGD([rg.ones(1, requires_grad=True)], lr=0.1, momentum=0.9)
        >>> schedule = rg.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=5, div_factor=4)
        >>> rates = []
        >>> for _ in range(5):
        ...     rates.append([round(optimizer.param_groups[0][name], 2) for name in ("lr", "momentum")])
        ...     if schedule.last_epoch < 4:
        ...         schedule.step()           # after each batch, not each epoch
        >>> rates
        [[0.25, 0.95], [0.95, 0.85], [0.61, 0.89], [0.19, 0.93], [0.0, 0.95]]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | list[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.85,
        max_momentum: float | list[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        groups = _optimizer("OneCycleLR", optimizer).param_groups
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                raise ValueError("OneCycleLR: expected total_steps, or epochs and steps_per_epoch")
            total_steps = epochs * steps_per_epoch
        if total_steps < 1:
            raise ValueError(f"OneCycleLR: the cycle has {total_steps} steps, expected 1 or more")
        if not 0 <= pct_start <= 1:
            raise ValueError(f"OneCycleLR: pct_start is {pct_start}, expected 0 to 1")
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"OneCycleLR: anneal_strategy is {anneal_strategy!r}, expected 'cos' or 'linear'")
        if cycle_momentum and not {"momentum", "betas"} & optimizer.defaults.keys():
            raise ValueError("OneCycleLR: the optimizer has no momentum or betas; pass cycle_momentum=False")
        self.total_steps = total_steps
        self.anneal_strategy = anneal_strategy
        self.cycle_momentum = cycle_momentum
        self._phases = _phases(total_steps, pct_start, three_phase)
        peaks = _per_group("OneCycleLR: max_lr", max_lr, optimizer)
        lows = _per_group("OneCycleLR: base_momentum", base_momentum, optimizer)
        highs = _per_group("OneCycleLR: max_momentum", max_momentum, optimizer)
        if last_epoch == -1:
            for group, peak, low, high in zip(groups, peaks, lows, highs, strict=True):
                first = peak / div_factor
                group.update(initial_lr=first, max_lr=peak, min_lr=first / final_div_factor)
                if cycle_momentum:
                    group.update(base_momentum=low, max_momentum=high)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self.last_epoch > self.total_steps:
            raise ValueError(
                f"OneCycleLR: tried to step {self.last_epoch} times; the cycle has {self.total_steps} steps"
            )
        past = [phase[0] for phase in self._phases[:-1] if phase[0] < self.last_epoch]
        start = past[-1] if past else 0.0
        end, lr_from, lr_to, momentum_from, momentum_to = self._phases[len(past)]
        share = (self.last_epoch - start) / (end - start) if end > start else 1.0
        if self.cycle_momentum:
            for group in self.optimizer.param_groups:
                momentum = self._anneal(group[momentum_from], group[momentum_to], share)
                if "betas" in group:
                    group["betas"] = (momentum, *group["betas"][1:])
                else:
                    group["momentum"] = momentum
        return [self._anneal(group[lr_from], group[lr_to], share) for group in self.optimizer.param_groups]

    def _anneal(self, start: float, end: float, share: float) -> float:
        if self.anneal_strategy == "linear":
            return start + (end - start) * share
        return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


def _phases(steps: int, rising: float, three: bool) -> list[tuple[float, str, str, str, str]]:
    """(last step, learning rate from, to, momentum from, to) of each, as names of a group's options."""
    up = (rising * steps - 1, "initial_lr", "max_lr", "max_momentum", "base_momentum")
    if not three:
        return [up, (steps - 1, "max_lr", "min_lr", "base_momentum", "max_momentum")]
    down = (2 * rising * steps - 2, "max_lr", "initial_lr", "base_momentum", "max_momentum")
    return [up, down, (steps - 1, "initial_lr", "min_lr", "max_momentum", "max_momentum")]


class ReduceLROnPlateau:
    """factor times the learning rate when a metric has not become better for more than `patience` epochs.

    Args:
        optimizer: whose groups' "lr" is set.
        mode: "min" where less is better, "max" where more is.
        factor: below 1.
        patience: how many epochs without a better metric are allowed.
        threshold: how much better it must be to count.
        threshold_mode: "rel" for a share of the best so far, "abs" for a difference.
        cooldown: epochs after a reduction in which none is counted.
        min_lr: the least learning rate, or a list of one a group.
        eps: a smaller change of the learning rate is not made.

    Raises:
        ValueError: an option is out of range. TypeError: it is no Optimizer.

    Example:
        >>> import retrograd as rg
        >>> optimizer = rg.optim.SGD([rg.ones(1, requires_grad=True)], lr=1.0)
        >>> schedule = rg.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=1)
        >>> rates = []
        >>> for loss in (3.0, 2.0, 2.5, 2.2, 1.0):
        ...     schedule.step(loss)           # after the epoch's training
        ...     rates.append(optimizer.param_groups[0]["lr"])
        >>> rates
        [1.0, 1.0, 1.0, 0.1, 0.1]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | list[float] = 0.0,
        eps: float = 1e-8,
    ) -> None:
        if factor >= 1:
            raise ValueError(f"ReduceLROnPlateau: factor is {factor}, expected less than 1")
        if mode not in ("min", "max"):
            raise ValueError(f"ReduceLROnPlateau: mode is {mode!r}, expected 'min' or 'max'")
        if threshold_mode not in ("rel", "abs"):
            raise ValueError(f"ReduceLROnPlateau: threshold_mode is {threshold_mode!r}, expected 'rel' or 'abs'")
        self.optimizer = _optimizer("ReduceLROnPlateau", optimizer)
        self.mode = mode
        self.factor = factor
        self.patience = patience
        self.threshold = threshold
        self.threshold_mode = threshold_mode
        self.cooldown = cooldown
        self.min_lrs = _per_group("ReduceLROnPlateau: min_lr", min_lr, optimizer)
        self.eps = eps
        self.best = math.inf if mode == "min" else -math.inf
        self.num_bad_epochs = 0
        self.cooldown_counter = 0
        self.last_epoch = 0
        self._last_lr = [group["lr"] for group in optimizer.param_groups]

    def step(self, metrics: Any) -> None:
        """Take note of an epoch's metric, a number or a tensor of one element, and reduce if it is time."""
        metric = float(metrics)
        self.last_epoch += 1
        if self._is_better(metric):
            self.best, self.num_bad_epochs = metric, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self._reduce()
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def _is_better(self, metric: float) -> bool:
        sign = 1 if self.mode == "max" else -1
        if self.threshold_mode == "abs":
            return sign * metric > sign * self.best + self.threshold
        return sign * metric > sign * self.best * (1 + sign * self.threshold)

    def _reduce(self) -> None:
        for group, least in zip(self.optimizer.param_groups, self.min_lrs, strict=True):
            lr = max(group["lr"] * self.factor, least)
            if group["lr"] - lr > self.eps:
                group["lr"] = lr

    get_last_lr = LRScheduler.get_last_lr
    state_dict = LRScheduler.state_dict
    load_state_dict = LRScheduler.load_state_dict
