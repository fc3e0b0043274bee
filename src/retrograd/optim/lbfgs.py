"""L-BFGS."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from ..kernels.spec import Array, active
from ..ops.creation import as_tensor
from ..tape import enable_grad
from ..tape import state as thread
from ..tensor import Tensor
from .line_search import Point, StrongWolfe
from .optimizer import POST_HOOKS, PRE_HOOKS, Optimizer


class LBFGS(Optimizer):
    """L-BFGS (Liu and Nocedal, Mathematical Programming 45, 1989): steps along -H g, H being the inverse Hessian that
    the last steps and the changes of the gradient g tell. For losses of all data at once, without noise: fits,
    physics-informed networks, often after some hundred steps of Adam.

    A step() is up to max_iter iterations, and evaluates the loss as often as it needs. The closure may be a compiled
    step (rg.compile); the search around it looks at losses, and cannot be in one.

    Args:
        params: tensors; one group.
        lr: the length that is tried first, as a share of the direction; in the first iteration of all at most lr over
            the sum of |g|.
        max_iter: iterations a step().
        max_eval: evaluations after which no iteration begins; by default 5/4 of max_iter.
        tolerance_grad: step() ends where no element of g is larger.
        tolerance_change: step() ends where the loss, or every parameter, changes by less.
        history_size: how many iterations H is made of.
        line_search_fn: None, each length is lr; or "strong_wolfe", one for the strong Wolfe conditions is searched for.

    Raises:
        ValueError: an option is out of range, or there are several groups.

    Example:
        >>> import retrograd as rg
        >>> w = rg.nn.Parameter(rg.tensor([-1.2, 1.0]))
        >>> optimizer = rg.optim.LBFGS([w], line_search_fn="strong_wolfe", max_iter=50)
        >>> @rg.compile
        ... def closure():
        ...     optimizer.zero_grad()
        ...     loss = (1 - w[0]) ** 2 + 100 * (w[1] - w[0] ** 2) ** 2
        ...     loss.backward()
        ...     return loss
        >>> optimizer.step(closure)
        tensor(24.2)
        >>> w.detach().round(decimals=3)
        tensor([1., 1.])
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        defaults = {
            "lr": lr,
            "max_iter": max_iter,
            "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
            "tolerance_grad": tolerance_grad,
            "tolerance_change": tolerance_change,
            "history_size": history_size,
            "line_search_fn": line_search_fn,
        }
        super().__init__(params, defaults)

    def check(self, group: Mapping[str, Any]) -> None:
        self.require(group["lr"] >= 0, "learning rate", group["lr"])
        for option in ("max_iter", "max_eval", "history_size"):
            self.require(group[option] >= 1, option, group[option])
        for option in ("tolerance_grad", "tolerance_change"):
            self.require(group[option] >= 0, option, group[option])
        search = group["line_search_fn"]
        self.require(search in (None, "strong_wolfe"), "line_search_fn, expected None or 'strong_wolfe'", search)

    def add_param_group(self, param_group: Mapping[str, Any]) -> None:
        """Take the tensors over.

        Raises:
            ValueError: there is a group already, or as the constructor.
            TypeError: as the constructor.
        """
        if self.param_groups:
            raise ValueError(
                "LBFGS: parameter groups with options of their own are not possible: the step is one vector"
            )
        super().add_param_group(param_group)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Iterate; see the class.

        Args:
            closure: clears the gradients, calculates the loss and its gradients, and returns the loss. It is called
                with recording on, often in one step(), and must give the same for the same parameters: no dropout, and
                the same data.

        Returns:
            what closure returned first: the loss before the step.

        Raises:
            TypeError: there is no closure, or it returns no number.
            RuntimeError: in a compiled step; a gradient has not its parameter's shape and dtype; a parameter is over
                read-only memory.
        """
        if closure is None:
            raise TypeError(
                "LBFGS: step() needs a closure that calculates the loss and the gradients, and returns the loss"
            )
        if thread.kernels is not active:
            raise RuntimeError(
                "LBFGS: step() looks at losses to choose what to do next, which a compiled step cannot hold; compile "
                "the closure instead: optimizer.step(rg.compile(closure))"
            )
        (group,) = self.param_groups
        loss = _Loss(self, group["params"], closure)
        first = loss.evaluate()
        self._call(PRE_HOOKS)
        self._iterate(group, self.state[group["params"][0]], loss)
        self._call(POST_HOOKS)
        return first

    def _iterate(self, group: Mapping[str, Any], kept: dict[str, Any], loss: _Loss) -> None:
        tolerance = group["tolerance_change"]
        for n in range(group["max_iter"]):
            if loss.evaluations >= group["max_eval"] or _largest(loss.gradient) <= group["tolerance_grad"]:
                break
            before = loss.value
            length = group["lr"] if "d" in kept else group["lr"] * min(1.0, 1.0 / float(np.abs(loss.gradient).sum()))
            direction = _direction(kept, loss.gradient, group["history_size"])
            slope = float(loss.gradient @ direction)
            if not slope <= -tolerance:
                break
            kept.update(d=Tensor(direction), prev_flat_grad=Tensor(loss.gradient), prev_loss=before)
            kept["n_iter"] = kept.get("n_iter", 0) + 1
            if group["line_search_fn"] is None:
                loss.move(length, direction)
                if n + 1 < group["max_iter"]:  # after the last, the next step() will
                    loss.evaluate()
            else:
                length = loss.search(length, direction, slope, tolerance)
            kept["t"] = length
            if not length:  # along no direction that the history gives does the loss fall: begin anew, along -g
                del kept["d"]
            if _largest(direction) * length <= tolerance or abs(loss.value - before) < tolerance:
                break
        kept["func_evals"] = kept.get("func_evals", 0) + loss.evaluations

    def _loaded(self, p: Tensor, kept: Mapping[str, Any]) -> dict[str, Any]:
        size = sum(q.size for q in self.param_groups[0]["params"])

        def vector(name: str, value: Any) -> Tensor:
            loaded = as_tensor(value)
            if loaded.shape != (size,):
                raise ValueError(
                    f"LBFGS: loaded {name} has shape {loaded.shape}, expected {(size,)}, one for all parameters"
                )
            return Tensor(loaded.array.astype(p.dtype))

        loaded: dict[str, Any] = {name: vector(name, kept[name]) for name in ("d", "prev_flat_grad") if name in kept}
        loaded |= {name: [vector(name, v) for v in kept[name]] for name in ("old_dirs", "old_stps") if name in kept}
        loaded |= {name: float(kept[name]) for name in ("t", "H_diag", "prev_loss") if name in kept}
        loaded |= {name: int(kept[name]) for name in ("n_iter", "func_evals") if name in kept}
        return loaded | ({"ro": list(map(float, kept["ro"]))} if "ro" in kept else {})


def _largest(vector: Array) -> float:
    return float(np.abs(vector).max(initial=0.0))


def _direction(kept: dict[str, Any], gradient: Array, history_size: int) -> Array:
    """-H g by the two loops of Nocedal and Wright's algorithm 7.4, after the latest step was taken into the history:
    `old_stps` are its steps s, `old_dirs` the changes of the gradient y, `ro` 1 / (s y)."""
    if "d" not in kept:
        kept.update(old_dirs=[], old_stps=[], ro=[], H_diag=1.0)
        return -gradient
    y, s = gradient - kept["prev_flat_grad"].array, kept["t"] * kept["d"].array
    curvature, square = float(s @ y), float(y @ y)
    if curvature > np.finfo(y.dtype).eps * math.sqrt(square * float(s @ s)):  # else H would not stay positive definite
        for name, value in ("old_dirs", Tensor(y)), ("old_stps", Tensor(s)), ("ro", 1.0 / curvature):
            kept[name] = [*kept[name], value][-history_size:]
        kept["H_diag"] = curvature / square
    history = [(y.array, s.array, ro) for y, s, ro in zip(kept["old_dirs"], kept["old_stps"], kept["ro"], strict=True)]
    direction = -gradient
    weights = []
    for y, s, ro in reversed(history):
        weights.append(ro * float(s @ direction))
        direction -= weights[-1] * y
    direction *= kept["H_diag"]
    for y, s, ro in history:
        direction += (weights.pop() - ro * float(y @ direction)) * s
    return direction


class _Loss:
    """The closure as a function of the parameters, all of them as one vector.

    Attributes:
        value, gradient: at the parameters as they are, once evaluated; the gradient as one vector.
        evaluations: how often the closure was called.
    """

    def __init__(self, optimizer: LBFGS, params: list[Tensor], closure: Callable[[], Any]) -> None:
        self._optimizer = optimizer
        self._params = params
        self._closure = closure
        self.evaluations = 0
        self.value = math.nan
        self.gradient = np.zeros(0)

    def evaluate(self) -> Any:
        """Call the closure; returns what it does."""
        with enable_grad():
            returned = self._closure()
        if returned is None:
            raise TypeError("LBFGS: the closure returned None, expected the loss")
        self.evaluations += 1
        self.value = float(returned)
        self.gradient = np.concatenate([self._gradient(p) for p in self._params])
        return returned

    def move(self, t: float, direction: Array) -> None:
        """Add t times the direction to the parameters."""
        self._place(self._vector() + t * direction)

    def search(self, t: float, direction: Array, slope: float, shortest: float) -> float:
        """Go to a step along the direction where the strong Wolfe conditions hold, trying t first; returns the step."""
        begin, latest = self._vector(), 0.0

        def point(t: float) -> Point:
            nonlocal latest
            latest = t
            self._place(begin + t * direction)
            self.evaluate()
            return Point(t, self.value, self.gradient, float(self.gradient @ direction))

        start = Point(0.0, self.value, self.gradient, slope)
        found = StrongWolfe(point, start, shortest=shortest / _largest(direction)).search(t)
        if found.t != latest:
            self._place(begin + found.t * direction)
        self.value, self.gradient = found.loss, found.gradient
        return found.t

    def _vector(self) -> Array:
        return np.concatenate([p.array.ravel() for p in self._params])

    def _place(self, vector: Array) -> None:
        begin = 0
        for p in self._params:
            p.array[...] = vector[begin : begin + p.size].reshape(p.shape)
            p.changed()
            begin += p.size

    def _gradient(self, p: Tensor) -> Array:
        if p.grad is None:
            return np.zeros(p.size, p.dtype)
        gradient = p.grad.array
        if gradient.shape != p.shape or gradient.dtype != p.dtype:
            self._optimizer._refuse(p, "gradient", gradient)
        return gradient.ravel()
