"""A part of a graph: what leads from some places to others, and how tangents and cotangents travel along it.

A place is where a tensor came from, as in Node.inputs: (node, output index), or the leaf tensor itself.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np

from ..ops.index import Stale
from ..ops.rule import Op
from ..tape import Cotangents, Node, now, state, sweep
from ..tensor import Tensor

Place = Any


def place(tensor: Tensor) -> Place:
    """Where a tensor came from."""
    return tensor.edge or tensor


def reached(outputs: Iterable[Place], since: int = 0) -> list[Node]:
    """The nodes that the outputs hang on, in the order in which they were recorded; none from before `since`."""
    found: dict[int, Node] = {}
    stack = [p[0] for p in outputs if type(p) is tuple]
    while stack:
        node = stack.pop()
        if node.order >= since and node.order not in found:
            found[node.order] = node
            for p in node.inputs:
                if type(p) is tuple:
                    stack.append(p[0])
    return [found[order] for order in sorted(found)]


def outside(outputs: Iterable[Tensor], own: Iterable[Place], since: int) -> list[Place]:
    """The places that the outputs hang on beside their own and beside what was recorded since."""
    outputs, own = list(outputs), set(own)
    inside = reached(map(place, outputs), since)
    ends = [p for node in inside for p in node.inputs if p is not None]
    ends += [place(y) for y in outputs if y.requires_grad]
    found = [p for p in ends if p not in own and (type(p) is not tuple or p[0].order < since)]
    return list(dict.fromkeys(found))


class NoHistory(RuntimeError):
    """A derivative asks for what led to a tensor, and that was forgotten."""


class Forgotten(Op):
    """What stands in the place of the op of a node that has forgotten what it was made of."""

    differentiable = False

    def vjp(self, ctx: Any, *gs: Any) -> tuple[()]:
        raise NoHistory(
            f"backward: {ctx.made_by} ran in a function that rg.jvp differentiated, and has no history after that; "
            "differentiate inside the function, or run the op again"
        )


_forgotten = Forgotten()


class Carried(Node):
    """What is left of an op whose tangents were calculated as it ran: nothing but these.

    Args:
        name: the op's.
        tangents: of its outputs, as arrays; None for zero.
        run: the mark of the function's run that it belongs to.
    """

    __slots__ = ("made_by", "run", "tangents")
    op = _forgotten  # type: ignore[assignment]
    inputs = wanted = shapes = arrays = residuals = ()  # type: ignore[assignment]

    def __init__(self, name: str, tangents: tuple[Any, ...], run: Any) -> None:
        self.made_by = name
        self.tangents = tangents
        self.run = run
        self.hooks = self.retained = None
        self.order = now()

    @property
    def outputs(self) -> int:  # type: ignore[override]
        return len(self.tangents)


class Passing(Node):
    """What a rule of forward mode reads of an op that just ran, and is not recorded.

    Args:
        op, attributes, arrays, residuals, outputs: as a Node's.
        operands: the op's.
    """

    __slots__ = ("operands",)

    def __init__(
        self,
        op: Any,
        attributes: dict[str, Any],
        operands: tuple[Tensor | None, ...],
        arrays: list[Any],
        residuals: tuple[Any, ...],
        outputs: int,
    ) -> None:
        self.op = op
        self.attributes = attributes
        self.operands = operands
        self.arrays = arrays
        self.residuals = residuals
        self.outputs = outputs

    @property
    def inputs(self) -> list[None]:  # type: ignore[override]
        return [None] * len(self.operands)

    wanted = inputs  # type: ignore[assignment]

    @property
    def shapes(self) -> list[Any]:  # type: ignore[override]
        return [None if x is None else x.array.shape for x in self.operands]

    @property
    def versions(self) -> list[tuple[list[int], int]]:  # type: ignore[override]
        return [([0], 0)] * len(self.arrays)


class Region:
    """What lies between places.

    Args:
        inputs, outputs: places.
        since: what was recorded before is outside.

    Attributes:
        nodes: those that lead from the inputs to the outputs, in the order in which they were recorded; leading: the
            same, to look them up.
        closed: whether the outputs hang on nothing but the inputs.

    Raises:
        NoHistory: what led to a node between them was forgotten.
        RuntimeError: the outputs hang on a tensor whose memory was changed through another one.
    """

    def __init__(self, inputs: Iterable[Place], outputs: Iterable[Place], since: int = 0) -> None:
        outputs = list(outputs)
        starts = self.inputs = set(inputs)
        leading: dict[Node, None] = {}
        inside: set[Node] = set()
        closed = True
        for node in reached(outputs, since):
            inside.add(node)
            if type(node) is Carried and (node, 0) not in starts:
                _forgotten.vjp(node)
            if isinstance(node.op, Stale):  # what it was made from is not known, and may be the inputs
                node.op.refuse(node)
            for p in node.inputs:
                if p is None:
                    continue
                if p in starts or (type(p) is tuple and p[0] in leading):
                    leading[node] = None
                elif type(p) is not tuple or p[0] not in inside:
                    closed = False
        for p in outputs:
            if p not in starts and (p._requires_grad if type(p) is not tuple else p[0] not in inside):
                closed = False
        self.leading = leading
        self.nodes = list(leading)
        self.closed = closed

    def leads_to(self, p: Place) -> bool:
        """Whether p is an input or hangs on one."""
        return p is not None and (p in self.inputs or (type(p) is tuple and p[0] in self.leading))


class TensorTangents:
    """How tangents are calculated that are recorded, to be differentiated again: on tensors."""

    def push(self, node: Node, ts: list[Any]) -> Any:
        """The tangents of the node's outputs, one or a tuple, given those of its operands (None: zero)."""
        return node.op.jvp(node, *ts)


class ArrayTangents(TensorTangents):
    """How tangents are calculated that nothing differentiates: on arrays."""

    def __init__(self) -> None:
        self.kernels = state.kernels

    def push(self, node: Node, ts: list[Any]) -> Any:
        made = node.op.jvp_kernels(self.kernels, node, *ts)
        if made is None:
            made = node.op.jvp(node, *[None if t is None else Tensor(t) for t in ts])
            made = made if type(made) is tuple else (made,)
            return tuple([None if t is None else t.array for t in made])
        return np.asarray(made) if isinstance(made, np.generic) else made


def tangents_of(create_graph: bool) -> TensorTangents:
    """How tangents are calculated that are recorded, or not."""
    return state.kernels.watch(TensorTangents() if create_graph else ArrayTangents())


def push(nodes: Sequence[Node], tangents: dict[Place, Any], algebra: TensorTangents) -> None:
    """Carry tangents forwards along the nodes, given in the order in which they were recorded: the tangents of what
    they made are added to the dictionary, but for those that are zero."""
    for node in nodes:
        _push(node, tangents, algebra)


def push_once(
    nodes: Sequence[Node], tangents: dict[Place, Any], algebra: TensorTangents, outputs: Collection[Place]
) -> None:
    """The same, where only the outputs' tangents are asked for, and the nodes are not used again: what is not needed
    any more, of what they saved and of the tangents, is freed on the way."""
    last = {p: n for n, node in enumerate(nodes) for p in node.inputs if p is not None}
    for p in outputs:
        last[p] = len(nodes)
    for n, node in enumerate(nodes):
        _push(node, tangents, algebra)
        node.release()
        for p in node.inputs:
            if p is not None and last[p] == n:
                tangents.pop(p, None)


def _push(node: Node, tangents: dict[Place, Any], algebra: TensorTangents) -> None:
    given = [tangents.get(p) for p in node.inputs]
    for t in given:
        if t is not None:
            break
    else:
        return
    if node.arrays:
        node.check()
    made = algebra.push(node, given)
    for i, t in enumerate(made if type(made) is tuple else (made,)):
        if t is not None:
            tangents[node, i] = t


class Towards(Cotangents):
    """A sweep towards a region's inputs only: it calculates the cotangents that lead there and no others.

    Args:
        region: where the sweep goes.
        algebra: how cotangents are calculated.
        retain: whether the nodes keep what they saved.

    Attributes:
        found: place of an input, that an op made → its cotangent.
    """

    def __init__(self, region: Region, algebra: Cotangents, retain: bool) -> None:
        self.region = region
        self.algebra = algebra
        self.retain = retain
        self.add = algebra.add  # type: ignore[method-assign]
        self.hook = algebra.hook  # type: ignore[method-assign]
        self.found: dict[Place, Any] = {}

    def pull(self, node: Node, gs: list[Any]) -> tuple[list[Any], bool]:
        for i, g in enumerate(gs):
            if g is not None and (node, i) in self.region.inputs:
                self.found[node, i] = g
        if node not in self.region.leading:
            return [None] * len(node.inputs), False
        kept = node.wanted
        node.wanted = [p if self.region.leads_to(p) else None for p in node.inputs]
        try:
            arrived, fresh = self.algebra.pull(node, gs)
            arrived = [None if p is None else g for p, g in zip(node.wanted, arrived, strict=True)]
        finally:
            node.wanted = kept
        if not self.retain:
            node.release()
        return arrived, fresh


def pull(
    region: Region, cotangents: list[tuple[Place, Any]], algebra: Cotangents, retain: bool
) -> dict[Place, tuple[Any, bool]]:
    """Carry cotangents backwards to the region's inputs: place → (cotangent, whether nothing else holds it)."""
    towards = Towards(region, algebra, retain)
    found = sweep([(p, g) for p, g in cotangents if region.leads_to(p)], towards, retain=True)
    made = {p: (g, False) for p, g in towards.found.items()}
    for leaf, (g, ours) in found.items():
        if leaf in region.inputs:
            for hook in list((leaf._hooks or {}).values()):
                g, ours = algebra.hook(hook, g), False
            made[leaf] = g, ours
    return made


def cut(leaves: set[Any], results: Iterable[Tensor], since: int) -> None:
    """Make the graph that was recorded since as though these leaves, and what was carried along from them, had asked
    for no gradient."""
    dead: set[Node] = set()
    results = list(results)
    for node in reached(map(place, results), since):
        if type(node) is Carried:
            dead.add(node)
        if not node.inputs:
            continue
        for i, p in enumerate(node.inputs):
            if p is not None and (p[0] in dead if type(p) is tuple else p in leaves):
                node.inputs[i] = None
        if all(p is None for p in node.inputs):
            dead.add(node)
    for t in results:
        if t.edge is not None and t.edge[0] in dead:
            t.edge, t._requires_grad = None, False
