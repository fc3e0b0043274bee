"""A function's run, recorded from fresh places for its inputs: what every derivative of a function starts with."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..ops.rule import Op
from ..program.containers import arrays_in, is_array, map_arrays
from ..tape import Node, carried_by, now, set_grad_enabled, state
from ..tensor import Tensor
from .graph import Place, Region, cut, place, push, push_once, tangents_of
from .reverse import gradients


class Alias(Op):
    """The same tensor in another place of the graph."""

    view = True
    linear = True

    def forward(self, k: Any, x: Any) -> Any:
        return k.reshape(x, x.shape)

    def vjp(self, ctx: Node, g: Tensor) -> tuple[Tensor]:
        return (g,)


_alias = Alias()


class _Running(threading.local):
    """Of each thread: what the functions that run now, one in the other, are differentiated by."""

    def __init__(self) -> None:
        self.inputs: list[list[Tensor]] = []


_running = _Running()


def is_differentiated(x: Tensor) -> bool:
    """Whether a function that runs now is differentiated by this tensor, or the tensor has a history."""
    return x.edge is not None or any(x is t for inputs in _running.inputs for t in inputs)


def fresh(x: Tensor) -> Tensor:
    """The tensor in a place of its own: so the derivatives that start here cannot be taken for those of a function
    around, which may start from the same tensor."""
    if x.requires_grad and state.recording:
        return _alias(x)
    state.kernels.hold([x])
    return leaf(x)


def leaf(x: Tensor) -> Tensor:
    """The tensor as a leaf that requires grad."""
    made = Tensor(x.array, requires_grad=True)
    made._version = x._version
    return made


def flat(value: Any) -> list[Tensor]:
    """The tensors in a container, arrays as tensors."""
    if isinstance(value, Tensor):
        return [value]
    return [t if isinstance(t, Tensor) else Tensor(np.asarray(t)) for t in arrays_in(value)]


def like(value: Any, tensors: Sequence[Any]) -> Any:
    """The container with these in the places of its tensors."""
    if isinstance(value, Tensor):
        return tensors[0]
    rest = iter(tensors)
    return map_arrays(lambda _: next(rest), value)


def structure(value: Any) -> Any:
    """The container itself, without the memory of its tensors: for like()."""
    return map_arrays(lambda _: _NOTHING, value)


_NOTHING = Tensor(np.empty(0))


def stop_gradient(value: Any) -> Any:
    """The tensor, or the container's tensors, as constants: over the same memory, with no derivative.

    Example:
        >>> import retrograd as rg
        >>> rg.grad(lambda x: x * rg.stop_gradient(x))(3.0)
        tensor(3.)
    """
    return map_arrays(lambda t: t.detach() if isinstance(t, Tensor) else t, value)


def _without_history(x: Any) -> Any:
    return x.detach() if isinstance(x, Tensor) and x._requires_grad else x


def zeros_like(x: Tensor) -> Tensor:
    return Tensor(np.zeros(x.shape, x.dtype))


def check_inputs(name: str, value: Any) -> Any:
    """An argument to differentiate by; arrays and Python floats in it as tensors.

    Raises:
        TypeError: there is nothing floating in it to differentiate by, or something that is not.
    """
    value = map_arrays(as_tensor, value, is_differentiable)
    tensors = flat(value)
    if not tensors:
        raise TypeError(
            f"{name}: cannot differentiate by an argument of type {type(value).__name__}; expected a floating "
            "tensor, array or number, or tuples, lists and dicts of tensors"
        )
    for t in tensors:
        if t.array.dtype.kind != "f":
            instead = "give its real and imaginary parts" if t.dtype.kind == "c" else "convert it, as with x.double()"
            raise TypeError(
                f"{name}: cannot differentiate by a tensor of {t.dtype} and shape {t.shape}; only floating ones have "
                f"derivatives: {instead}, or differentiate by other arguments"
            )
    return value


def is_differentiable(value: Any) -> bool:
    return isinstance(value, float) or is_array(value)


def as_tensor(value: Any) -> Tensor:
    """The tensor that an array or a Python float stands for."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, float):
        return Tensor(np.asarray(value, value.dtype if isinstance(value, np.floating) else dtypes.get_default_dtype()))
    return Tensor(np.asarray(value))


def in_order_of(model: Any, value: Any) -> Any:
    """The container with its dicts in the order of the model's, where they have the same keys."""
    if isinstance(model, dict) and isinstance(value, dict) and model.keys() == value.keys():
        return {key: in_order_of(m, value[key]) for key, m in model.items()}
    if isinstance(model, (tuple, list)) and isinstance(value, (tuple, list)) and len(model) == len(value):
        return [in_order_of(m, v) for m, v in zip(model, value, strict=True)]
    return value


def matching(name: str, what: str, tensors: Sequence[Tensor], model: Any, value: Any) -> list[Tensor]:
    """The tangents or cotangents given for these tensors, which lie in the model.

    Raises:
        ValueError: they are not as many, or not of their shapes and dtypes.
    """
    if isinstance(value, float):
        value = Tensor(np.asarray(value, tensors[0].dtype))
    given = flat(in_order_of(model, value))
    if len(given) != len(tensors):
        raise ValueError(f"{name}: {len(given)} {what}s for {len(tensors)} tensors; expected one for each")
    for i, (t, x) in enumerate(zip(given, tensors, strict=True)):
        a, b = t.array, x.array
        if a.shape != b.shape or (a.dtype is not b.dtype and a.dtype != b.dtype):
            raise ValueError(
                f"{name}: {what} {i} is {t.dtype} of shape {t.shape}, expected {x.dtype} of shape {x.shape}"
            )
    state.kernels.hold(given)
    return given


class Recording:
    """A function's run.

    Args:
        function: called with the inputs' stand-ins.
        inputs: floating tensors.

    Attributes:
        inputs: the stand-ins.
        value: what the function returned.
        outputs: those of the tensors in it that derivatives are taken of.
        recorded: whether those derivatives are recorded: something around asks for the derivatives of what they hang
            on beside the inputs, or of the inputs themselves.
    """

    def __init__(self, function: Callable[[list[Tensor]], Any], inputs: Sequence[Tensor]) -> None:
        self._around = state.recording
        self.inputs = [fresh(x) for x in inputs]
        self._since = now()
        with carried_by(None):
            self._run(function)

    def _run(self, function: Callable[[list[Tensor]], Any]) -> None:
        state.recording = True
        _running.inputs.append(self.inputs)
        try:
            self.value = function(self.inputs)
        finally:
            _running.inputs.pop()
            state.recording = self._around

    def differentiate(self, value: Any) -> None:
        """Say which part of what the function returned derivatives are taken of."""
        self.outputs = flat(value)
        self._region = Region(self._starts(), map(place, self.outputs), self._since)
        hangs = not self._region.closed or any(x.edge is not None for x in self.inputs)
        self.recorded = self._kept = self._around and hangs

    def _starts(self) -> Iterable[Place]:
        """The places that tangents are known in."""
        return map(place, self.inputs)

    def push(self, tangents: Sequence[Tensor], retain: bool = False) -> list[Tensor]:
        """The outputs' tangents for these of the inputs."""
        recorded = self._records(tangents)
        known: dict[Place, Any] = {
            place(x): t if recorded else t.array for x, t in zip(self.inputs, tangents, strict=True)
        }
        return self._carry(known, recorded, retain)

    def _carry(self, known: dict[Place, Any], recorded: bool, retain: bool) -> list[Tensor]:
        """The outputs' tangents for those that are known, as tensors or, where it is not recorded, arrays."""
        algebra, outputs = tangents_of(recorded), [place(y) for y in self.outputs]
        with set_grad_enabled(recorded), carried_by(None):
            if retain or recorded:
                push(self._region.nodes, known, algebra)
            else:
                push_once(self._region.nodes, known, algebra, outputs)
        found = [known.get(p) for p in outputs]
        return [
            zeros_like(y) if t is None else t if recorded else Tensor(t)
            for t, y in zip(found, self.outputs, strict=True)
        ]

    def pull(self, cotangents: Sequence[Tensor], retain: bool = False, create_graph: bool = False) -> list[Tensor]:
        """The inputs' cotangents for these of the outputs; with create_graph recorded in any case."""
        recorded = create_graph or self._records(cotangents)
        places = [place(x) for x in self.inputs]
        with carried_by(None):
            found = gradients(self._region, places, self.outputs, cotangents, recorded, retain or recorded)
        return [zeros_like(x) if g is None else g for g, x in zip(found, self.inputs, strict=True)]

    def _records(self, given: Sequence[Tensor]) -> bool:
        records = self.recorded or (self._around and any(t.requires_grad for t in given))
        self._kept = self._kept or records
        return records

    def release(self, value: Any) -> Any:
        """The container of results, without the history that leads to stand-ins; none of it can be used after."""
        if not self._kept:
            return map_arrays(_without_history, value)
        leaves = {x for x in self.inputs if x.edge is None}
        if not leaves:
            return value
        cut(leaves, flat(value), self._since)
        return map_arrays(lambda t: t.detach() if isinstance(t, Tensor) and t in leaves else t, value)

    def show(self, value: Any) -> Any:
        """The container of results, with their history where something around asks for it."""
        return value if self.recorded else stop_gradient(value)
