"""Where the first number that is not finite came from."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import numpy as np

from ..nn.module import Module
from ..ops.rule import Op
from ..program.trace import user_line
from ..tape import Cotangents, Node, state
from ..tensor import Tensor
from .graph import TensorTangents


class detect_anomaly:
    """A block in which an op, forward or backward, that makes a NaN or an infinity out of finite numbers raises an
    error; it names the op, the layer and the line of one's own code. Steps that are compiled run op by op in it.

    Everything is looked at, which takes several times as long: a tool for finding faults.

    Args:
        infinite: whether infinities count; NaN always does.

    Raises (in the block):
        FloatingPointError: with the report.

    Example:
        >>> import retrograd as rg
        >>> x = rg.tensor([1.0, 0.0], requires_grad=True)
        >>> with rg.detect_anomaly():
        ...     x.sqrt().sum().backward()  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        FloatingPointError: backward: <sqrt of (2,)> gave the gradient of operand 0 1 infinite of 2, first at [1]; ...
    """

    def __init__(self, infinite: bool = True) -> None:
        self._infinite = infinite
        self._previous: list[Any] = []

    def __enter__(self) -> detect_anomaly:
        self._previous.append(state.kernels)
        state.kernels = _Watch(state.kernels, self._infinite)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        state.kernels = self._previous.pop()


class _Watch:
    """A kernel table that looks at what ops make.

    Attributes:
        rules: whether what runs now is an op's rule, whose results are looked at together when it is done.
    """

    def __init__(self, kernels: Any, infinite: bool) -> None:
        self._kernels = kernels
        self._infinite = infinite
        self._origins: weakref.WeakKeyDictionary[Node, str] = weakref.WeakKeyDictionary()
        self.rules = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._kernels, name)

    def made(self, op: Op, operands: Sequence[Tensor | None], results: Iterable[Tensor]) -> None:
        origin = _origin()
        for t in results:
            if t.edge is not None:
                self._origins[t.edge[0]] = origin
            fault = None if self.rules else self.fault(t.array)
            if fault is not None:
                faults = [(i, None if x is None else self.fault(x.array)) for i, x in enumerate(operands)]
                given = "".join(f"; operand {i} came in with {f}" for i, f in faults if f is not None)
                shapes = ", ".join("None" if x is None else str(x.shape) for x in operands)
                raise FloatingPointError(f"forward: {op.name} of {shapes} gave {fault}; {origin}{given}")

    def watch(self, algebra: Any) -> Any:
        watched = _WatchedCotangents if isinstance(algebra, Cotangents) else _WatchedTangents
        return watched(algebra, self)

    def origin(self, node: Node) -> str:
        """Where the node was recorded."""
        return self._origins.get(node, "recorded before detect_anomaly()")

    @contextmanager
    def rule(self) -> Iterator[None]:
        """A block that an op's rule runs in."""
        self.rules, before = True, self.rules
        try:
            yield
        finally:
            self.rules = before

    def check(self, node: Node, derivative: Any, what: str) -> None:
        """Raise an error where what a rule gave, a tensor, an array or None, is not finite."""
        if derivative is None:
            return
        fault = self.fault(derivative.array if isinstance(derivative, Tensor) else derivative)
        if fault is not None:
            raise FloatingPointError(f"{what} {fault}; the op was {self.origin(node)}")

    def fault(self, array: Any) -> str | None:
        """What is not finite in the array, in words."""
        if array.dtype.kind != "f" or np.isfinite(array).all():
            return None
        nan, infinity = np.isnan(array), np.isinf(array) & self._infinite
        if not (nan | infinity).any():
            return None
        words = [f"{count} {name}" for name, count in (("NaN", nan.sum()), ("infinite", infinity.sum())) if count]
        return f"{' and '.join(words)} of {array.size}, first at {np.argwhere(nan | infinity)[0].tolist()}"


class _WatchedCotangents(Cotangents):
    """Another algebra, whose cotangents are looked at."""

    def __init__(self, algebra: Cotangents, watch: _Watch) -> None:
        self._algebra = algebra
        self._watch = watch
        self.add = algebra.add  # type: ignore[method-assign]
        self.hook = algebra.hook  # type: ignore[method-assign]

    def pull(self, node: Node, gs: list[Any]) -> tuple[Iterable[Any], bool]:
        with self._watch.rule():
            arrived, fresh = self._algebra.pull(node, gs)
        arrived = list(arrived)
        for i, g in enumerate(arrived):
            if node.needs(i):
                self._watch.check(node, g, f"backward: {node} gave the gradient of operand {i}")
        return arrived, fresh


class _WatchedTangents(TensorTangents):
    """Another way of calculating tangents, which are looked at."""

    def __init__(self, algebra: TensorTangents, watch: _Watch) -> None:
        self._algebra = algebra
        self._watch = watch

    def push(self, node: Node, ts: list[Any]) -> Any:
        with self._watch.rule():
            made = self._algebra.push(node, ts)
        for i, t in enumerate(made if type(made) is tuple else (made,)):
            self._watch.check(node, t, f"forward mode: {node} gave the tangent of output {i}")
        return made


def _origin() -> str:
    """The layer and the line of the user's code that Python is in."""
    modules = []
    frame = sys._getframe(2)
    while frame is not None:
        if frame.f_code is Module.__call__.__code__:
            modules.append(frame.f_locals["self"])
        frame = frame.f_back
    layer = ""
    if modules:
        inner, root = modules[0], modules[-1]
        path = next((name for name, module in root.named_modules() if module is inner), "")
        kind = type(inner).__name__
        layer = f"in layer {path} ({kind}) of {type(root).__name__}, " if path else f"in {kind}, "
    return f"{layer}at {user_line()}"
