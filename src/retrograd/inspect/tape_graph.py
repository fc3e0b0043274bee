"""The graph of what was recorded on the tape, to be drawn."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..nn.module import Module
from ..nn.parameter import Parameter
from ..tape import FREED, Node
from ..tensor import Tensor
from .graph import RESULT, VALUE, Box, Edge, Graph
from .layers import Place, nodes_of
from .probe import listen
from .sweep import gradients_of


def tape_graph(result: Tensor, model: Module | None, gradients: bool) -> Graph:
    """The graph that `result` comes from.

    Args:
        model: gives parameters their names, and groups.
        gradients: whether the edges carry the sizes of their gradients, from a sweep that changes no `grad`; where the
            graph was freed, only parameters do.
    """
    nodes = nodes_of([result])
    names = {} if model is None else {p: name for name, p in model.named_parameters()}
    freed = any(node.arrays is FREED for node in nodes)
    sizes = _signal_sizes(result, nodes) if gradients and not freed else {}
    kinds = {} if model is None else {path: type(module).__name__ for path, module in model.named_modules()}
    groups = {
        node: tuple(f"{p}: {kinds[p]}" for p in (".".join(path[: i + 1]) for i in range(len(path))))
        for node, path in _groups(nodes, names).items()
    }
    boxes: list[Box] = []
    edges: list[Edge] = []
    number: dict[Any, int] = {}
    for step, node in enumerate(nodes):
        sources: list[tuple[int, str, list[float]]] = []
        for where, shape in zip(node.inputs, node.shapes, strict=True):
            if where in names or (where is None and not shape):
                continue  # a parameter stands in the op's own box; a number is no value to draw
            known = where[0] if type(where) is tuple else where
            if known not in number:
                value = _append(boxes, Box([_leaf(where), _shape(shape)], VALUE, form=shape))
                if where is not None:
                    number[where] = value
            else:
                value = number[known]
            sources.append((value, _shape(shape), [sizes[where]] if where in sizes else []))
        gradients_at, own = _parameters(node, names, sizes)
        form = str((node.name, own, node.shapes, node.attributes))
        box = Box([node.name, *gradients_at], group=groups[node], form=form, step=step, gradients=gradients_at)
        number[node] = _append(boxes, box)
        edges += [Edge(source, number[node], label, gradient) for source, label, gradient in sources]
    outcome = [f"{result.item():.4g}"] if result.size == 1 else []
    end = _append(boxes, Box(["result", *outcome], RESULT, form="result"))
    if result.edge is not None:
        edges.append(Edge(number[result.edge[0]], end, _shape(result.shape), [sizes[result.edge]] if sizes else []))
    return Graph(boxes, edges)


def _leaf(where: Any) -> str:
    return "data" if where is None else "parameter" if isinstance(where, Parameter) else "leaf"


def _append(boxes: list[Box], box: Box) -> int:
    boxes.append(box)
    return len(boxes) - 1


def _shape(shape: tuple[int, ...] | None) -> str:
    return "scalar" if not shape else " x ".join(map(str, shape))


def _parameters(
    node: Node, names: dict[Any, str], sizes: dict[Any, float]
) -> tuple[dict[str, list[float]], tuple[str, ...]]:
    """A line for each of an op's parameters → the size of its gradient, where it has one; and their shapes."""
    lines: dict[str, list[float]] = {}
    own = []
    for where, shape in zip(node.inputs, node.shapes, strict=True):
        if isinstance(where, Tensor) and where in names:
            size = sizes.get(where)
            if size is None and where.grad is not None:
                size = _norm(where.grad)
            line = f"{names[where].rpartition('.')[2]}: {_shape(shape)}"
            lines.setdefault(line, []).extend([] if size is None else [size])
            own.append(_shape(shape))
    return lines, tuple(own)


def _signal_sizes(result: Tensor, nodes: list[Node]) -> dict[Any, float]:
    """The norm of the gradient of each value of the graph, and of each leaf."""
    sizes: dict[Any, float] = {}

    def measure(place: Place) -> Any:
        return lambda g: sizes.__setitem__(place, _norm(g))

    places = {where for node in nodes for where in node.inputs if type(where) is tuple} | {result.edge}
    handles = [listen(place, measure(place)) for place in places if place is not None]
    try:
        sizes.update({leaf: _norm(g) for leaf, g in gradients_of(result).items()})
    finally:
        for handle in handles:
            handle.remove()
    return sizes


def _norm(g: Tensor) -> float:
    return float(np.linalg.norm(g.array.astype(np.float64)))


def _groups(nodes: list[Node], names: dict[Any, str]) -> dict[Node, tuple[str, ...]]:
    """The modules that each node lies in, from the outermost: that of its parameters; of a node without any, those that
    what it reads last and what reads it first have in common."""
    own: dict[Node, tuple[str, ...]] = {}
    readers: dict[Node, list[Node]] = {}
    for node in nodes:
        paths = [tuple(names[w].split(".")[:-1]) for w in node.inputs if isinstance(w, Tensor) and w in names]
        if paths:
            own[node] = _common(paths)
        for where in node.inputs:
            if type(where) is tuple:
                readers.setdefault(where[0], []).append(node)
    below: dict[Node, tuple[str, ...]] = {}
    for node in nodes:
        latest = max((w[0] for w in node.inputs if type(w) is tuple), key=lambda n: n.order, default=None)
        below[node] = own.get(node, below.get(latest, ()))
    above: dict[Node, tuple[str, ...]] = {}
    for node in reversed(nodes):
        next_reader = min(readers.get(node, []), key=lambda n: n.order, default=None)
        above[node] = own.get(node, above.get(next_reader, ()))
    return {node: own.get(node, _common([below[node], above[node]])) for node in nodes}


def _common(paths: list[tuple[str, ...]]) -> tuple[str, ...]:
    if not paths:
        return ()
    shared = 0
    while all(len(p) > shared and p[shared] == paths[0][shared] for p in paths):
        shared += 1
    return paths[0][:shared]
