"""The gradient of each row's loss, for all rows in one pass; and that gradient's own derivatives, in the same way.

With L the loss of a row, s one of its inputs (shared by all rows or the row's own) and g its gradients by some of them:
the cotangents c of g give the gradient of <g, c> by s, and the tangents t of the inputs that of <the gradients by them,
t>, since second derivatives are symmetric. Both are gradients of a scalar function of a row again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..ops.rule import Op, hung
from ..tape import Node, carried_by, enable_grad, now, state
from ..tensor import Tensor
from .batching import RowArray, rows_at_once
from .checkpoint import Recorder, Replay
from .graph import Place, Region, outside, place
from .recording import check_inputs, flat, is_differentiated, like, structure
from .reverse import gradients


def per_sample_grad(loss_fn: Callable[..., Any], params: Any, *data: Any, create_graph: bool = False) -> Any:
    """The gradient of each row's loss, as `rg.grad(loss_fn)(params, *row)` gives it, for all rows in one pass.

    The function runs once, with each of its kernels on all rows together; a kernel without a rule for that (sorting,
    scans, linear algebra) runs row after row. The function sees the shapes of one row, and cannot look at values;
    what it draws at random is the same for all rows.

    Args:
        loss_fn: loss_fn(params, *row) gives a tensor of one element, the loss of one row.
        params: a floating tensor or a container of them. Leaves that require grad are differentiated by wherever
            loss_fn finds them: it may use a model, and params be its parameters.
        data: arrays or tensors, or containers of them, whose first axis is the rows.
        create_graph: whether the gradients have a history and can be differentiated again, in both modes: by params,
            by data, and by whatever else loss_fn uses. That runs loss_fn again, on all rows together.

    Returns:
        something like params, with tensors of shape (rows, *shape of the parameter).

    Raises:
        ValueError: the numbers of rows differ, or there are none. TypeError: a parameter is not floating.
        RuntimeError: loss_fn gives no tensor of one element, or looks at a value. NotImplementedError: a parameter or
            the data has a history, while recording, and the gradients are to have none.

    Example:
        >>> import retrograd as rg
        >>> w = rg.tensor([1.0, 2.0], requires_grad=True)
        >>> x, y = rg.tensor([[1.0, 0.0], [0.0, 1.0]]), rg.zeros(2)
        >>> rows = rg.per_sample_grad(lambda w, x, y: (w @ x - y) ** 2, w, x, y, create_graph=True)
        >>> rows.detach()
        tensor([[2., 0.],
                [0., 4.]])
        >>> rows.square().sum().backward()  # a penalty on the size of each row's gradient
        >>> w.grad
        tensor([ 8., 16.])
    """
    check_inputs("per_sample_grad", params)
    given = flat(params), flat(data)
    for t in given[0] + given[1]:
        if state.recording and not create_graph and is_differentiated(t):
            raise NotImplementedError(
                f"per_sample_grad: a tensor of shape {t.shape} has a history, or the function around is being "
                "differentiated by it, but the gradients of rows have none; pass create_graph=True to give them one, "
                "or detach() the tensor"
            )
    counts = {len(t.array) if t.ndim else 0 for t in given[1]}
    if len(counts) != 1 or 0 in counts:
        raise ValueError(f"per_sample_grad: expected data with equally many rows, got {[t.shape for t in given[1]]}")
    count, forms = len(given[0]), (structure(params), structure(data))

    def loss(inputs: Sequence[Tensor]) -> Tensor:
        value = loss_fn(like(forms[0], inputs[:count]), *like(forms[1], inputs[count:]))
        if not isinstance(value, Tensor) or value.size != 1 or value.dtype.kind != "f":
            made = f"{value.dtype} of shape {value.shape}" if isinstance(value, Tensor) else type(value).__name__
            raise RuntimeError(
                f"per_sample_grad: the function returned {made}, expected a floating tensor of one element"
            )
        return value

    draws: list[Any] = []
    rowwise = [False] * count + [True] * len(given[1])
    run = _Run(loss, given[0] + given[1], rowwise, range(count), Recorder(draws))
    return like(params, run.record(draws, run.outside()) if create_graph else run.results)


class _Run:
    """The gradients of a function of a row.

    Args:
        function: from the inputs' stand-ins, in the shapes of one row, to a tensor of one element.
        inputs: tensors; a leaf that requires grad, and is not cut into rows, stands in for itself.
        rowwise: for each of them, whether its first axis is the rows; not of all of them.
        by: the numbers of those that the gradients are taken by; numbers beyond are those of `others`.
        kernels: the table to run on.
        others: places beside the inputs.

    Attributes:
        results: the gradients, (rows, *the shape of one row's); None for one of the others that nothing hangs on.
    """

    def __init__(
        self,
        function: Callable[[Sequence[Tensor]], Tensor],
        inputs: Sequence[Tensor],
        rowwise: Sequence[bool],
        by: Sequence[int],
        kernels: Any,
        others: Sequence[Place] = (),
    ) -> None:
        self.function, self.inputs, self.rowwise, self.by, self.others = function, inputs, rowwise, by, others
        state.kernels.hold(inputs)
        count = next(len(x.array) for x, row in zip(inputs, rowwise, strict=True) if row)
        previous = state.kernels
        state.kernels = kernels
        try:
            with rows_at_once(count) as table, carried_by(None):
                self.stand_ins = [self._stand_in(i) for i in range(len(inputs))]
                self.since = now()
                with enable_grad():
                    self.value = function(self.stand_ins)
                places = [*map(place, self.stand_ins), *others]
                found = _gradients(self.value, [places[i] for i in by], self.since, create_graph=False)
                self.results = [self._whole(table, i, g) for i, g in zip(by, found, strict=True)]
        finally:
            state.kernels = previous

    def _stand_in(self, i: int) -> Tensor:
        x = self.inputs[i]
        if self.rowwise[i]:
            return Tensor(RowArray(x.array), x.requires_grad or i in self.by)  # type: ignore[arg-type]
        return x if x.requires_grad and x.is_leaf else Tensor(x.array, x.requires_grad or i in self.by)

    def _whole(self, table: Any, i: int, g: Tensor | None) -> Tensor | None:
        if g is not None:
            return Tensor(table.copy(g.array).array)
        if i >= len(self.inputs):
            return None
        x = self.stand_ins[i]
        return Tensor(table.copy(np.zeros(x.shape, x.dtype)).array)

    def outside(self) -> list[Place]:
        """The places beside the inputs that the function's value hangs on."""
        return outside([self.value], [place(x) for x in self.stand_ins], self.since)

    def record(self, draws: list[Any], others: list[Place]) -> list[Any]:
        """The results, with a history where something asks for one."""
        places = [place(x) if x.requires_grad else None for x in self.inputs] + others
        if not state.recording or all(p is None for p in places):
            return self.results
        facts = {
            "function": self.function,
            "rowwise": self.rowwise,
            "by": self.by,
            "draws": draws,
            "results": [None if y is None else (y.shape, y.dtype) for y in self.results],
        }
        node = Node(
            _row_gradients,
            facts,
            places,
            [x.shape for x in self.inputs] + [None] * len(others),
            [x.array for x in self.inputs],
            [(x._version, x._version[0]) for x in self.inputs],
            (),
            len(self.results),
        )
        for i, y in enumerate(self.results):
            if y is not None:
                y._requires_grad, y.edge = True, (node, i)
        return self.results


def _gradients(value: Tensor, places: Sequence[Place], since: int, create_graph: bool) -> list[Tensor | None]:
    one = Tensor(np.ones(value.shape, value.dtype))
    region = Region([p for p in places if p is not None], [place(value)], since)
    return gradients(region, places, [value], [one], create_graph, create_graph)


class RowGradients(Op):
    """The gradients of a function of a row, see _Run, by its inputs."""

    name = "per_sample_grad"

    def vjp(self, ctx: Node, *gs: Tensor | None) -> tuple[Tensor | None, ...]:
        moving = [n for n, g in enumerate(gs) if g is not None]
        wanted = [n for n in range(len(ctx.inputs)) if ctx.needs(n)]
        flags = [True] * len(moving)
        found = self._along(ctx, [ctx["by"][n] for n in moving], [gs[n] for n in moving], flags, wanted)
        own: list[Tensor | None] = [None] * len(ctx.inputs)
        for n, g in zip(wanted, found, strict=True):
            own[n] = g if g is None or ctx["rowwise"][n : n + 1] == [True] else g.sum(0)
        return tuple(own)

    def jvp(self, ctx: Node, *tangents: Tensor | None) -> tuple[Tensor | None, ...]:
        moving = [n for n, t in enumerate(tangents) if t is not None]
        flags = [ctx["rowwise"][n : n + 1] == [True] for n in moving]
        return tuple(self._along(ctx, moving, [tangents[n] for n in moving], flags, ctx["by"]))

    def _along(
        self, ctx: Node, moving: Sequence[int], vectors: Sequence[Any], flags: Sequence[bool], by: Sequence[int]
    ) -> list[Tensor | None]:
        """For each row, the derivatives by some of the inputs of a sum of products: of its gradients by the inputs
        `moving` with these vectors, of which the flags say whether they have rows."""
        count = len(ctx.arrays)
        function, others = ctx["function"], ctx.inputs[count:]

        def product(stand_ins: Sequence[Tensor]) -> Tensor:
            since = now()
            value = function(stand_ins[:count])
            places = [*map(place, stand_ins[:count]), *others]
            found = _gradients(value, [places[n] for n in moving], since, create_graph=True)
            total = Tensor(np.zeros((), value.dtype))
            for g, c in zip(found, stand_ins[count:], strict=True):
                total = total if g is None else total + (g * c).sum()
            return total

        saved = zip(ctx.arrays, ctx.versions, ctx.inputs[:count], strict=True)
        inputs = [hung(array, counter, where) for array, (counter, _), where in saved]
        shifted = [n if n < count else n + len(vectors) for n in by]
        rowwise = [*ctx["rowwise"], *flags]
        run = _Run(product, [*inputs, *vectors], rowwise, shifted, Replay(ctx["draws"]), others)
        return run.record(ctx["draws"], others)


_row_gradients = RowGradients()
