"""Optimizer: parameter groups, state, and the frame of a step.

A subclass is its defaults, `check` for what a group may say, and `update`, which calls one fused kernel a parameter:
the frame has looked at every gradient before the first parameter changes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..kernels.memory import aligned_zeros
from ..kernels.spec import Array, active, revise
from ..nn.module import clear_gradients
from ..ops.creation import as_tensor
from ..tape import RemovableHandle, enable_grad
from ..tape import state as thread
from ..tensor import Tensor

Ready = list[tuple[Tensor, Array, Array]]
"""What a step updates: (parameter, its values, its gradient), the arrays as kernels take them."""


class Group(dict[str, Any]):
    """A parameter group: its options by name. Compiled steps read them again after one was set; a step that is traced
    cannot set one, which it would do at no other call."""

    def __setitem__(self, name: str, value: Any) -> None:
        require_number(name, value)
        require_no_trace(name)
        super().__setitem__(name, value)
        revise()

    def update(self, *args: Any, **options: Any) -> None:
        require_no_trace(", ".join(dict(*args, **options)))
        super().update(*args, **options)
        revise()


WORDS = frozenset({"line_search_fn"})
"""Options whose values are words."""

NUMBERS: dict[str, type] = {"step": int, "mu_product": float}
"""What is remembered of a parameter as one number."""


def require_number(name: str, value: Any) -> None:
    """Raise TypeError where an option is a tensor or a text: kernels take numbers."""
    if isinstance(value, Tensor) or (isinstance(value, str) and name not in WORDS):
        raise TypeError(f"optimizer: {name} is {value!r}, expected a number; a tensor's is tensor.item()")


def require_no_trace(names: str) -> None:
    """Raise RuntimeError where options are set in a compiled step."""
    if thread.kernels is not active:
        raise RuntimeError(
            f"optimizer: {names} is set in a compiled step; Python runs while the step is traced, not at each call. "
            "Set it before the step is called, or call a scheduler's step(), which may stand inside"
        )


class Optimizer:
    """The base of optimizers.

    Args:
        params: tensors, or dicts with "params" (tensors) and the options that differ for them.
        defaults: the options of groups that do not give them.

    Attributes:
        param_groups: dicts of options, with the tensors under "params"; read anew at each step.
        state: tensor → what the optimizer remembers of it, by PyTorch's names.

    Raises:
        ValueError: no parameters, one given twice, or an option out of range.
        TypeError: something else than tensors.
    """

    def __init__(self, params: Iterable[Tensor] | Iterable[dict[str, Any]], defaults: dict[str, Any]) -> None:
        if isinstance(params, (Tensor, dict)):
            raise TypeError(f"{self._name}: params is a {type(params).__name__}, expected an iterable of them")
        given = list(params)
        if not given:
            raise ValueError(f"{self._name}: optimizer got an empty parameter list")
        self.defaults = defaults
        self.state: defaultdict[Tensor, dict[str, Any]] = defaultdict(dict)
        self.param_groups: list[dict[str, Any]] = []
        groups: list[Any] = given if isinstance(given[0], dict) else [{"params": given}]
        for group in groups:
            self.add_param_group(group)

    @property
    def _name(self) -> str:
        return type(self).__name__

    def check(self, group: Mapping[str, Any]) -> None:
        """Raise ValueError where an option of the group is out of range."""
        raise NotImplementedError(f"{self._name} defines no check()")

    def update(self, group: Mapping[str, Any], ready: Ready) -> None:
        """Change the values of the parameters, in place, by the group's options."""
        raise NotImplementedError(f"{self._name} defines no update()")

    def count(self, ready: Ready) -> Any:
        """Count a step of each parameter; returns the counts, the first step's being 1."""
        kept = [self.state[p] for p, _, _ in ready]

        def advance() -> list[int]:
            counts = []
            for each in kept:
                each["step"] = count = each.get("step", 0) + 1
                counts.append(count)
            return counts

        return thread.kernels.host(advance, len(kept))

    def require(self, holds: bool, option: str, value: Any) -> None:
        """Raise ValueError where an option's value does not hold."""
        if not holds:
            raise ValueError(f"{self._name}: Invalid {option}: {value}")

    def add_param_group(self, param_group: Mapping[str, Any]) -> None:
        """Add tensors, with options of their own, to those that are updated.

        Raises:
            ValueError, TypeError: as the constructor.
        """
        given = param_group["params"]
        if isinstance(given, (set, frozenset)):
            raise TypeError(f"{self._name}: params is a set, which has no order; expected a list")
        params = [given] if isinstance(given, Tensor) else list(given)
        for i, p in enumerate(params):
            if not isinstance(p, Tensor):
                raise TypeError(
                    f"{self._name}: parameter {i} is a {type(p).__name__}, expected a Tensor; pass module.parameters()"
                )
            if not p.is_leaf:
                raise ValueError(f"{self._name}: can't optimize a non-leaf Tensor: parameter {i}, {p.grad_fn}")
        known = {p for group in self.param_groups for p in group["params"]}
        if len(set(params)) != len(params) or known.intersection(params):
            raise ValueError(f"{self._name}: some parameters appear twice, or in more than one group")
        group = Group({**self.defaults, **param_group, "params": params})
        for name, value in group.items():
            require_number(name, value)
        self.check(group)
        self.param_groups.append(group)
        revise()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear the gradients: to None, or else to zeros."""
        for group in self.param_groups:
            clear_gradients(group["params"], set_to_none)

    # A step

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update each parameter that has a gradient.

        Args:
            closure: called first, with recording on; it calculates the loss and the gradients and returns the loss.

        Returns:
            what closure returned, or None.

        Raises:
            RuntimeError: a gradient, or what is remembered of a parameter, has not the parameter's shape and dtype;
                or a parameter is over read-only memory. Nothing is changed then.
        """
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        self._call(PRE_HOOKS)
        thread.kernels.guard(self._structure)
        steps = [(group, self._ready(group)) for group in self.param_groups]
        for group, ready in steps:
            self.update(group, ready)
            for p, w, _ in ready:
                if w is not p.array:
                    thread.kernels.assign(p.array, w)
                p.changed()
        self._call(POST_HOOKS)
        return loss

    def _call(self, hooks: dict[int, Callable[[Optimizer], Any]]) -> None:
        for hook in list(hooks.values()):
            hook(self)

    def _structure(self) -> tuple[Any, ...]:
        """What decides which kernels a step calls, beside the gradients; their numbers are read at each step."""
        options = [
            {name: bool(value) for name, value in group.items() if name != "params"} | {"params": len(group["params"])}
            for group in self.param_groups
        ]
        return id(self.state), options

    def _ready(self, group: Mapping[str, Any]) -> Ready:
        ready = []
        maximize = group["maximize"]
        thread.kernels.hold(group["params"])
        for p in group["params"]:
            gradient = p.grad
            if gradient is None:
                continue
            w, g = p.array, gradient.array
            if g.shape != w.shape or g.dtype != w.dtype:
                self._refuse(p, "gradient", g)
            for name, kept in self.state[p].items():
                if isinstance(kept, Tensor) and (kept.array.shape != w.shape or kept.array.dtype != w.dtype):
                    self._refuse(p, name, kept.array)
            if not w.flags.carray:
                if not w.flags.writeable:
                    raise RuntimeError(f"{self._name}: a parameter of shape {w.shape} is over read-only memory")
                w = thread.kernels.copy(w)
            if maximize:
                g = thread.kernels.negative(g)
            ready.append((p, w, g if g.flags.carray else thread.kernels.copy(g)))
        return ready

    def _refuse(self, p: Tensor, name: str, array: Array) -> None:
        raise RuntimeError(
            f"{self._name}: the {name} of a parameter is {array.dtype} of shape {array.shape}, "
            f"expected {p.dtype} of shape {p.shape} like the parameter"
        )

    # State

    def state_dict(self) -> dict[str, Any]:
        """The state and the groups' options in PyTorch's layout, parameters numbered from 0 in order:
        {"state": {number: {name: tensor or number}}, "param_groups": [{option: value, "params": [numbers]}]}.

        Its tensors share memory with the optimizer's."""
        numbers = {p: i for i, p in enumerate(self._all())}
        return {
            "state": {numbers[p]: dict(kept) for p, kept in self.state.items() if kept},
            "param_groups": [{**group, "params": [numbers[p] for p in group["params"]]} for group in self.param_groups],
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over copies of what state_dict() returned, here or in PyTorch; tensors take the parameters' dtypes.

        Raises:
            ValueError: groups or shapes do not fit this optimizer's parameters, or an option is out of range.
                Nothing is changed then.
        """
        saved = state_dict["param_groups"]
        if len(saved) != len(self.param_groups):
            raise ValueError(
                f"{self._name}: loaded state dict has a different number of parameter groups: {len(saved)}, "
                f"expected {len(self.param_groups)}"
            )
        for ours, theirs in zip(self.param_groups, saved, strict=True):
            if len(theirs["params"]) != len(ours["params"]):
                raise ValueError(
                    f"{self._name}: loaded state dict contains a parameter group of {len(theirs['params'])} "
                    f"parameters, expected {len(ours['params'])}"
                )
        groups: list[Any] = [
            Group({**ours, **theirs, "params": ours["params"]})
            for ours, theirs in zip(self.param_groups, saved, strict=True)
        ]
        for group in groups:
            self.check(group)
        numbers = [number for group in saved for number in group["params"]]
        own = dict(zip(numbers, self._all(), strict=True))
        unknown = [number for number in state_dict["state"] if number not in own]
        if unknown:
            raise ValueError(f"{self._name}: loaded state dict has state of parameters that no group names: {unknown}")
        state = {own[number]: self._loaded(own[number], kept) for number, kept in state_dict["state"].items()}
        self.param_groups = groups
        self.state = defaultdict(dict, state)
        revise()

    def _loaded(self, p: Tensor, kept: Mapping[str, Any]) -> dict[str, Any]:
        loaded: dict[str, Any] = {}
        for name, value in kept.items():
            if value is None:
                continue
            if name in NUMBERS:
                loaded[name] = NUMBERS[name](value)
                continue
            tensor = as_tensor(value)
            if tensor.shape != p.shape:
                raise ValueError(
                    f"{self._name}: loaded {name} has shape {tensor.shape}, expected {p.shape} like the parameter"
                )
            loaded[name] = Tensor(tensor.array.astype(p.dtype, order="C"))
        return loaded

    def _all(self) -> list[Tensor]:
        return [p for group in self.param_groups for p in group["params"]]

    def __repr__(self) -> str:
        lines = [f"{self._name} ("]
        for i, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {i}: {len(group['params'])} tensors")
            lines += [f"    {option}: {value}" for option, value in sorted(group.items()) if option != "params"]
        return "\n".join([*lines, ")"])


PRE_HOOKS: dict[int, Callable[[Optimizer], Any]] = {}
POST_HOOKS: dict[int, Callable[[Optimizer], Any]] = {}


def register_optimizer_step_pre_hook(hook: Callable[[Optimizer], Any]) -> RemovableHandle:
    """Call `hook(optimizer)` in each step of every optimizer, when the gradients are there and nothing has changed."""
    return RemovableHandle(PRE_HOOKS, hook)


def register_optimizer_step_post_hook(hook: Callable[[Optimizer], Any]) -> RemovableHandle:
    """Call `hook(optimizer)` after each step of every optimizer."""
    return RemovableHandle(POST_HOOKS, hook)


def remembered(kept: dict[str, Any], name: str, like: Array, value: float = 0.0) -> Array:
    """The array that a parameter's state keeps under a name; like the parameter, of one value, the first time."""
    tensor = kept.get(name)
    if tensor is None:
        tensor = kept[name] = Tensor(aligned_zeros(like.shape, like.dtype))
        tensor.array[...] = value
    thread.kernels.hold([tensor])
    return tensor.array


def decay(group: Mapping[str, Any], ready: Ready) -> None:
    """Shrink the parameters by lr * weight_decay, whatever their gradients are."""
    k = thread.kernels
    lr, weight_decay = k.read(lambda: (group["lr"], group["weight_decay"]), 2)
    for _, w, _ in ready:
        k.sgd_update(w, k.full(w.shape, 0.0, w.dtype), None, lr, 0.0, 0.0, weight_decay)
