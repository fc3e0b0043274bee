"""Checkpoints: a function is run again in the backward pass, in the place of storing what it calculated.

Griewank, Achieving logarithmic growth of temporal and spatial complexity in reverse automatic differentiation (1992).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ..ops.rule import Op, hung
from ..program.containers import map_arrays
from ..tape import Node, carried_by, enable_grad, now, state
from ..tensor import Tensor
from .function import filled
from .graph import Place, Region, outside, place, push, tangents_of
from .recording import flat, fresh, like, structure
from .reverse import gradients


def checkpoint(f: Callable[..., Any], *args: Any) -> Any:
    """f(*args), of which only the arguments are stored for the backward pass: that runs f again.

    What f draws at random is the same then. Gradients go to the arguments and to whatever else f uses, such as a
    model's parameters; that must not change before the backward pass.

    Args:
        f: gives a tensor or a container of them.
        args: tensors, containers of them, or plain values.

    Raises (in the backward pass):
        RuntimeError: an argument was changed in place since.

    Example:
        >>> import retrograd as rg
        >>> x = rg.tensor([0.0, 1.0], requires_grad=True)
        >>> rg.checkpoint(lambda x: x.exp().exp(), x).sum().backward()
        >>> x.grad
        tensor([ 2.7183, 41.1936])
    """
    if not state.recording:
        return f(*args)
    inputs, form = flat(args), structure(args)

    def call(inputs: Sequence[Tensor]) -> Any:
        return f(*like(form, inputs))

    draws: list[Any] = []
    run = _Run(call, inputs, Recorder(draws))
    others = run.others()
    value = map_arrays(lambda y: y.detach(), run.value)
    if not others and not any(x.requires_grad for x in inputs):
        return value
    results = flat(value)
    node = Node(
        _checkpoint,
        {"call": call, "draws": draws, "others": others, "results": [(y.shape, y.dtype) for y in results]},
        [place(x) if x.requires_grad else None for x in inputs] + others,
        [x.shape for x in inputs] + [None] * len(others),
        [x.array for x in inputs],
        [(x._version, x._version[0]) for x in inputs],
        (),
        len(results),
    )
    for i, y in enumerate(results):
        if y.dtype.kind == "f":
            y._requires_grad, y.edge = True, (node, i)
    return value


class _Run:
    """The function's run, recorded from fresh places for those of its inputs that require grad."""

    def __init__(self, call: Callable[[Sequence[Tensor]], Any], inputs: Sequence[Tensor], kernels: Any) -> None:
        self.inputs = [fresh(x) if x.requires_grad else x for x in inputs]
        self.since = now()
        previous = state.kernels
        state.kernels = kernels
        try:
            with enable_grad(), carried_by(None):
                self.value = call(self.inputs)
        finally:
            state.kernels = previous
        self.outputs = flat(self.value)

    def places(self) -> list[Place]:
        """Where the inputs that require grad stand; None for the others."""
        return [place(x) if x.requires_grad else None for x in self.inputs]

    def others(self) -> list[Place]:
        """The places outside, beside the inputs, that the outputs hang on."""
        return outside(self.outputs, self.places(), self.since)


class _Checkpoint(Op):
    """A function that runs again where its derivative is asked for."""

    name = "checkpoint"

    def vjp(self, ctx: Node, *gs: Tensor | None) -> tuple[Tensor | None, ...]:
        run, places = self._again(ctx)
        region = Region([p for p in places if p is not None], map(place, run.outputs), run.since)
        given = filled(gs, ctx["results"])
        found = gradients(region, places, run.outputs, given, create_graph=state.recording, retain=state.recording)
        return tuple(found)

    def jvp(self, ctx: Node, *tangents: Tensor | None) -> tuple[Tensor | None, ...]:
        run, places = self._again(ctx)
        known = {p: t for p, t in zip(places, tangents, strict=True) if t is not None}
        push(Region(known, map(place, run.outputs), run.since).nodes, known, tangents_of(create_graph=True))
        return tuple(known.get(place(y)) for y in run.outputs)

    def _again(self, ctx: Node) -> tuple[_Run, list[Place]]:
        count = len(ctx.arrays)
        saved = zip(ctx.arrays, ctx.versions, ctx.inputs[:count], strict=True)
        inputs = [hung(array, counter, where) for array, (counter, _), where in saved]
        run = _Run(ctx["call"], inputs, Replay(ctx["draws"]))
        return run, run.places() + ctx["others"]


_checkpoint = _Checkpoint()


class Recorder:
    """The kernel table in force, writing down the numbers that Python draws: the places in a random stream."""

    def __init__(self, draws: list[Any]) -> None:
        self._kernels = state.kernels
        self._draws = draws

    def __getattr__(self, name: str) -> Any:
        return getattr(self._kernels, name)

    def host(self, function: Callable[[], Any], count: int) -> Any:
        self._draws.append(self._kernels.host(function, count))
        return self._draws[-1]


class Replay(Recorder):
    """The kernel table in force, giving the numbers again that were drawn the first time."""

    def __init__(self, draws: list[Any]) -> None:
        super().__init__(draws)
        self._rest: Iterator[Any] = iter(draws)

    def host(self, function: Callable[[], Any], count: int) -> Any:
        return next(self._rest)
