"""The tape: what was recorded, and the reverse sweep over it.

A Node is one op that ran. It points backwards only: to the nodes, or leaf tensors, that made its operands; nothing
points from a node to its results. So a graph has no cycles, and reference counting alone frees what is abandoned. The
tape knows no op by name: it asks a node's op for the cotangents of its inputs.

The sweep is reverse accumulation (Griewank and Walther, Evaluating Derivatives (2008), section 3.2): nodes in the
reverse of the order in which they were recorded, which needs neither recursion nor a sort.
"""

from __future__ import annotations

import functools
import heapq
import itertools
import threading
import weakref
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from .kernels.spec import Array, active, revise

F = TypeVar("F", bound=Callable[..., Any])


class PythonThreadState(threading.local):
    """What each thread has of its own: a new thread starts with the values below.

    Args:
        active: the kernels in force.

    Attributes:
        recording: whether ops go on the tape.
        running: whether this is in a compiled step's turn to run: a finalizer or a callback that comes meanwhile must
            not wait for that.
        kernels: the table that ops call: the backend in force, or, while a step is traced, a table that writes the
            calls down.
        carrier: a run of forward mode that carries tangents along at once: what is to be recorded is offered to its
            carry(op, operands, attributes, results, residuals) first, which says whether that took its place; an op
            that has a rule for both at once, to run(op, operands, arrays, attributes) before it runs.
    """

    recording = True
    running = False
    carrier: Any = None

    def __init__(self, active: Any) -> None:
        self.kernels: Any = active


if TYPE_CHECKING:
    ThreadState = PythonThreadState
else:
    try:
        from ._speedups import ThreadState  # the same in C (csrc/python/thread_state.c): ops look at it several times
    except ImportError:  # built without a C compiler
        ThreadState = PythonThreadState

state = ThreadState(active)

counter = itertools.count()
now: Callable[[], int] = counter.__next__
"""The place in the order of recording between what was recorded and what will be; no two calls return the same."""


FREED: tuple[Any, ...] = ("freed",)


class Node:
    """One recorded op.

    Attributes:
        op: the rule that ran, see retrograd.ops.rule.Op.
        attributes: what it was given beside its operands, by name.
        inputs: where each operand came from: (node, output index), the leaf Tensor itself, or None where no
            gradient is asked for.
        wanted: the same, None also where the sweep that is under way asks for no cotangent.
        shapes: the shapes of the operands.
        arrays: the operands and outputs that the op's vjp reads (`op.saves`), or FREED.
        versions: for each of those, its version counter and the count when it was saved.
        residuals: arrays that the op's forward kept for its vjp beside them.
        outputs: how many outputs there are.
        hooks: output index → functions to call on its cotangent.
        retained: output index → weak reference to the tensor that wants its cotangent in `grad`.
    """

    __slots__ = (
        "__weakref__",
        "arrays",
        "attributes",
        "hooks",
        "inputs",
        "op",
        "order",
        "outputs",
        "residuals",
        "retained",
        "shapes",
        "versions",
        "wanted",
    )

    def __init__(
        self,
        op: Any,
        attributes: dict[str, Any],
        inputs: list[Any],
        shapes: list[Any],
        arrays: Sequence[Array],
        versions: list[tuple[list[int], int]],
        residuals: tuple[Any, ...],
        outputs: int,
    ) -> None:
        self.op = op
        self.attributes = attributes
        self.inputs = self.wanted = inputs
        self.shapes = shapes
        self.arrays = arrays
        self.versions = versions
        self.residuals = residuals
        self.outputs = outputs
        self.hooks: dict[int, dict[int, Callable[..., Any]]] | None = None
        self.retained: dict[int, weakref.ref[Any]] | None = None
        self.order = now()

    @property
    def name(self) -> str:
        return self.op.name

    def __getitem__(self, attribute: str) -> Any:
        return self.attributes[attribute]

    def needs(self, i: int) -> bool:
        """Whether a gradient with respect to operand i is asked for."""
        return self.wanted[i] is not None

    def release(self) -> None:
        """Free what was saved; a later backward through this node is an error, unless it saved nothing."""
        if self.arrays or self.residuals:
            self.arrays = FREED
            self.residuals = ()

    def check(self) -> None:
        """Raise RuntimeError where what the vjp reads is gone or was changed since."""
        if self.arrays is FREED:
            raise RuntimeError(
                f"backward: the graph through {self} was freed by an earlier backward; "
                "pass retain_graph=True to the earlier one, or run the forward pass again"
            )
        for array, (counter, version) in zip(self.arrays, self.versions, strict=True):
            if counter[0] != version:
                raise RuntimeError(
                    f"backward: {self} needs a tensor of shape {array.shape} as it was in the forward pass, but it "
                    f"was changed in place since (version {counter[0]}, expected {version}); "
                    "change a clone() instead, or change it after backward"
                )

    def __repr__(self) -> str:
        shapes = ", ".join("None" if s is None else str(tuple(s)) for s in self.shapes)
        return f"<{self.name} of {shapes}>"


class carried_by:
    """A block in which this is the carrier, or None for none, in this thread."""

    def __init__(self, carrier: Any) -> None:
        self.carrier = carrier

    def __enter__(self) -> None:
        self._around = state.carrier
        state.carrier = self.carrier

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        state.carrier = self._around


class set_grad_enabled:
    """Record operations or not, in this thread, until the block ends; also a decorator.

    Example:
        >>> import retrograd as rg
        >>> w = rg.ones(2, requires_grad=True)
        >>> with rg.set_grad_enabled(False):
        ...     (w * 2).requires_grad
        False
    """

    def __init__(self, mode: bool) -> None:
        self.mode = bool(mode)
        self._previous: list[bool] = []

    def __enter__(self) -> None:
        self._previous.append(state.recording)
        state.recording = self.mode

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        state.recording = self._previous.pop()

    def __call__(self, function: F) -> F:
        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with set_grad_enabled(self.mode):
                return function(*args, **kwargs)

        return wrapped  # type: ignore[return-value]


class no_grad(set_grad_enabled):
    """Record nothing, in this thread, until the block ends; also a decorator.

    Example:
        >>> import retrograd as rg
        >>> w = rg.ones(2, requires_grad=True)
        >>> with rg.no_grad():
        ...     w -= 0.5
        >>> w
        tensor([0.5, 0.5], requires_grad=True)
    """

    def __init__(self) -> None:
        super().__init__(False)


class enable_grad(set_grad_enabled):
    """Record again inside a no_grad block, in this thread; also a decorator."""

    def __init__(self) -> None:
        super().__init__(True)


def is_grad_enabled() -> bool:
    """Whether this thread records operations.

    Example:
        >>> import retrograd as rg
        >>> rg.is_grad_enabled()
        True
    """
    return state.recording


class RemovableHandle:
    """What registering a hook returns: `remove()` takes the hook away; as a context manager, at the block's end."""

    _ids = itertools.count()

    def __init__(self, hooks: dict[int, Callable[..., Any]], hook: Callable[..., Any]) -> None:
        self._hooks = hooks
        self._id = next(self._ids)
        hooks[self._id] = hook
        revise()

    def remove(self) -> None:
        self._hooks.pop(self._id, None)
        revise()

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()


class Cotangents:
    """How a sweep calculates: on arrays for a first derivative, on tensors where the sweep itself is recorded."""

    def pull(self, node: Node, gs: list[Any]) -> tuple[Iterable[Any], bool]:
        """The cotangents of the node's inputs, given those of its outputs (None: zero), and whether they are fresh:
        held by nothing else, so that the sweep may add to them in place.

        Raises:
            RuntimeError: what the node saved is needed, and is gone or was changed, see Node.check.
        """
        raise NotImplementedError

    def add(self, a: Any, b: Any, a_is_ours: bool) -> Any:
        """a + b; into a itself where the sweep made it (`a_is_ours`)."""
        raise NotImplementedError

    def hook(self, function: Callable[..., Any], g: Any) -> Any:
        """What the hook makes of g."""
        raise NotImplementedError


def sweep(roots: list[tuple[Any, Any]], algebra: Cotangents, retain: bool) -> dict[Any, tuple[Any, bool]]:
    """Carry cotangents from the roots to the leaves.

    Args:
        roots: (where, cotangent) pairs, `where` as in Node.inputs.
        algebra: how cotangents are calculated.
        retain: whether the nodes keep what they saved, for another sweep.

    Returns:
        leaf tensor, or one that retains its gradient → (its cotangent, whether the sweep made that array, so that
        nothing else can hold it).
    """
    pending: dict[int, tuple[Node, list[Any], list[bool]]] = {}  # order → the node, its cotangents, which are ours
    leaves: dict[Any, tuple[Any, bool]] = {}
    heap: list[int] = []  # of the orders of what is pending, negated
    arrived: Iterable[Any]
    places, arrived, fresh = [where for where, _ in roots], [g for _, g in roots], False
    while True:
        for where, g in zip(places, arrived, strict=True):
            if where is None or g is None:
                continue
            if type(where) is tuple:
                node, i = where
                order = -node.order
                if order not in pending:
                    heapq.heappush(heap, order)
                    pending[order] = node, [None] * node.outputs, [False] * node.outputs
                _, gs, ours = pending[order]
                if gs[i] is None:
                    gs[i], ours[i] = g, fresh
                else:
                    gs[i], ours[i] = algebra.add(gs[i], g, ours[i]), True
            elif where in leaves:
                have, is_ours = leaves[where]
                leaves[where] = algebra.add(have, g, is_ours), True
            else:
                leaves[where] = g, fresh
        if not heap:
            return leaves
        node, gs, _ = pending.pop(heapq.heappop(heap))
        if node.hooks:
            _run_hooks(node.hooks, gs, algebra)
        if node.retained:
            _retain(node.retained, gs, leaves)
        places = node.inputs
        arrived, fresh = algebra.pull(node, gs)
        if not retain:
            node.release()


def _retain(retained: dict[int, weakref.ref[Any]], gs: list[Any], leaves: dict[Any, tuple[Any, bool]]) -> None:
    for i, reference in retained.items():
        tensor = reference()
        if tensor is not None and gs[i] is not None:
            leaves[tensor] = gs[i], False


def _run_hooks(hooks: dict[int, dict[int, Callable[..., Any]]], gs: list[Any], algebra: Cotangents) -> None:
    for i, functions in hooks.items():
        for function in list(functions.values()):
            if gs[i] is not None:
                gs[i] = algebra.hook(function, gs[i])
