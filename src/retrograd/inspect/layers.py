"""Which layers of a model took part in a graph, and where: read off the tape, after the forward pass.

A layer is a module with parameters of its own. On the tape it is the nodes that take those parameters beside data, each
with the activation that follows it and nothing else reads, whether one kernel did both or two.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from ..kernels.spec import Array
from ..nn.module import Module
from ..nn.parameter import Parameter
from ..ops.activation import Activation
from ..ops.product import Linear
from ..ops.rule import OUTPUT
from ..tape import FREED, Node
from ..tensor import Tensor

Place = tuple[Node, int]
"""A value of the graph: the node that made it, and which of its outputs it is."""


class Call(NamedTuple):
    """One pass of data through a layer.

    Attributes:
        output: where its result stands, after the activation.
        inputs: where its data came from; a place, or a leaf that asks for a gradient.
        activation: its name; "identity" where there is none.
        activated: the activation's output or, for one whose derivative reads its input, None.
        input_shape: of the data, rows first.
    """

    output: Place
    inputs: list[Any]
    activation: str
    activated: Array | None
    input_shape: tuple[int, ...]


class Layer(NamedTuple):
    """A module with parameters of its own, and its calls in a graph, the first of the forward pass first."""

    path: str
    module: Module
    parameters: dict[str, Parameter]
    calls: list[Call]


def layers_of(model: Module) -> list[Layer]:
    """The model's layers in the order in which they were registered, without calls; a shared parameter belongs to the
    first."""
    found: dict[str, dict[str, Parameter]] = {}
    for name, parameter in model.named_parameters():
        path, _, own = name.rpartition(".")
        found.setdefault(path, {})[own] = parameter
    modules = dict(model.named_modules())
    return [Layer(path, modules[path], parameters, []) for path, parameters in found.items()]


def layers_in(model: Module, results: Iterable[Tensor]) -> list[Layer]:
    """The model's layers with their calls in the graph of `results`, in the order of the forward pass; those that took
    no part come first."""
    layers = layers_of(model)
    owner = {p: layer for layer in layers for p in layer.parameters.values()}
    nodes = nodes_of(results)
    readers: dict[Place, list[Node]] = {}
    made: dict[Node, list[Layer]] = {}  # what is calculated from parameters alone, such as a transposed weight
    calls: list[tuple[Layer, Node, list[Any], tuple[int, ...]]] = []
    for node in nodes:
        owners: list[Layer] = []
        data: list[Any] = []
        shape: tuple[int, ...] | None = None
        for where, operand_shape in zip(node.inputs, node.shapes, strict=True):
            if operand_shape is None:
                continue
            if type(where) is tuple:
                readers.setdefault(where, []).append(node)
            if isinstance(where, Tensor) and where in owner:
                owners.append(owner[where])  # type: ignore[index]
            elif type(where) is tuple and where[0] in made:
                owners += made[where[0]]
            else:
                data.append(where)
                shape = shape or operand_shape
        unique = list({layer.path: layer for layer in owners}.values())
        if unique and shape is None:
            made[node] = unique
        elif unique:
            calls += [(layer, node, data, shape) for layer in unique]
    for layer, node, data, shape in calls:
        layer.calls.append(_call(node, [d for d in data if d is not None], shape, readers))
    return sorted(layers, key=lambda layer: layer.calls[-1].output[0].order if layer.calls else -1)


def nodes_of(results: Iterable[Tensor]) -> list[Node]:
    """The nodes that `results` come from, in the order in which they were recorded."""
    seen: set[Node] = set()
    pending = [t.edge[0] for t in results if t.edge is not None]
    while pending:
        node = pending.pop()
        if node not in seen:
            seen.add(node)
            pending += [where[0] for where in node.inputs if type(where) is tuple]
    return sorted(seen, key=lambda node: node.order)


def _call(node: Node, data: list[Any], shape: tuple[int, ...], readers: dict[Place, list[Node]]) -> Call:
    """The layer's call that starts at this node, with the activation that alone reads its result."""
    name = node.op.activation if isinstance(node.op, Linear) else "identity"
    if name == "identity":
        after = readers.get((node, 0), [])
        if len(after) == 1 and isinstance(after[0].op, Activation):
            node, name = after[0], after[0].name
    keeps_output = name != "identity" and OUTPUT in node.op.saves and node.arrays is not FREED
    return Call((node, 0), data, name, node.arrays[-1] if keeps_output else None, shape)
