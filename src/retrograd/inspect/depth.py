"""Depth as a choice: how far back the backward pass goes.

What asks for no gradient below a layer is not recorded, so the sweep ends there, and a compiled step's program loses
the calls: both become shorter for good, not by hiding a result.
"""

from __future__ import annotations

from types import TracebackType

import numpy as np

from ..nn.module import Module
from .layers import Layer, layers_of
from .responsibility import required


class Stop:
    """What stop_at() returns: `release()`, or the end of a `with` block, puts things back as they were.

    Attributes:
        frozen: the paths of the layers that learn no more.

    Example:
        >>> from retrograd import inspect, nn
        >>> model = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
        >>> stop = inspect.stop_at(model, "2")
        >>> stop.frozen, model[0].weight.requires_grad
        (['0'], False)
        >>> stop.release()
        >>> model[0].weight.requires_grad
        True
    """

    def __init__(self, frozen: list[Layer]) -> None:
        self.frozen = [layer.path for layer in frozen]
        self._before = [(p, p.requires_grad) for layer in frozen for p in layer.parameters.values()]
        for p, _ in self._before:
            p.requires_grad_(False)
            p.grad = None  # an optimizer would go on applying it

    def release(self) -> None:
        """Let the layers learn again that did before."""
        for p, learned in self._before:
            p.requires_grad_(learned)
        self._before = []

    def __enter__(self) -> Stop:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def stop_at(model: Module, layer: str | Module) -> Stop:
    """End the backward pass at a layer: it is the deepest that learns, those registered before it are frozen.

    Args:
        model: its layers, in the order in which they were registered, are taken to follow one another.
        layer: a module of the model with parameters in or below it, or its path.

    Raises:
        TypeError: model is no Module. KeyError: the model has no such layer.

    Example:
        >>> from retrograd import inspect, nn
        >>> model = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 1))
        >>> with inspect.stop_at(model, "4") as stop:
        ...     stop.frozen, [name for name, p in model.named_parameters() if p.requires_grad]
        (['0', '2'], ['4.weight', '4.bias'])
    """
    layers = layers_of(required("stop_at", model))
    path = layer if isinstance(layer, str) else next((p for p, m in model.named_modules() if m is layer), None)
    inside = [n for n, known in enumerate(layers) if path in ("", known.path) or known.path.startswith(f"{path}.")]
    if path is None or not inside:
        raise KeyError(
            f"stop_at: {type(model).__name__} has no layer {path or layer!r} with parameters; "
            f"expected one of {', '.join(repr(known.path) for known in layers)}"
        )
    return Stop(layers[: inside[0]])


class Thaw:
    """A schedule that lets a network learn from the top down: gradual unfreezing (Howard and Ruder 2018, section 3.3).

    At first only the last layers learn; each step() lets some more, until all do.

    Args:
        model: its layers, in the order in which they were registered, are taken to follow one another.
        first: how many of the last layers learn at first.
        more: how many more do after each step().

    Raises:
        TypeError: model is no Module. ValueError: first or more is no whole number >= 1.

    Example:
        >>> from retrograd import inspect, nn
        >>> model = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 1))
        >>> thaw = inspect.Thaw(model)
        >>> thaw.learning
        ['4']
        >>> thaw.step()                       # once an epoch, say
        >>> thaw.learning
        ['2', '4']
    """

    def __init__(self, model: Module, first: int = 1, more: int = 1) -> None:
        if not all(isinstance(n, (int, np.integer)) and n >= 1 for n in (first, more)):
            raise ValueError(f"Thaw: first is {first!r} and more is {more!r}, expected whole numbers >= 1")
        self._layers = layers_of(required("Thaw", model))
        self._more = more
        self._count = min(first, len(self._layers))
        self._stop = self._freeze()

    @property
    def learning(self) -> list[str]:
        """The paths of the layers that learn now."""
        return [layer.path for layer in self._layers[len(self._layers) - self._count :]]

    def step(self) -> None:
        """Let the next layers learn."""
        self._stop.release()
        self._count = min(self._count + self._more, len(self._layers))
        self._stop = self._freeze()

    def release(self) -> None:
        """Let all layers learn that did before."""
        self._stop.release()
        self._count = len(self._layers)

    def _freeze(self) -> Stop:
        return Stop(self._layers[: len(self._layers) - self._count])
