"""Which layers of a model took part in a graph, and where: read off the tape, after the forward pass.

A layer is a module with parameters of its own. On the tape it is the nodes that take those parameters beside data, each
with the activation that follows it and nothing else reads, whether one kernel did both or two.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

from ..kernels.spec import Array, revision
from ..nn.module import Module
from ..nn.parameter import Parameter
from ..ops.activation import Activation
from ..ops.elementwise import Add, Multiply
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
        inputs: where its data came from in the graph, each place once; not the leaves.
        activation: its name; "identity" where there is none.
        activated: the activation's output or, for one whose derivative reads its input, None.
        input_shape: of the data, rows first.
    """

    output: Place
    inputs: list[Place]
    activation: str
    activated: Array | None
    input_shape: tuple[int, ...]


class Layer(NamedTuple):
    """A module with parameters of its own, and its calls in a graph, the first of the forward pass first.

    Attributes:
        shapes: of its parameters, by name.
        learning: how many of their elements ask for a gradient.
    """

    path: str
    module: Module
    parameters: dict[str, Parameter]
    shapes: dict[str, tuple[int, ...]]
    learning: int
    calls: list[Call]


def layers_of(model: Module) -> list[Layer]:
    """The model's layers in the order in which they were registered, without calls; a shared parameter belongs to the
    first."""
    found: dict[str, dict[str, Parameter]] = {}
    for name, parameter in model.named_parameters():
        path, _, own = name.rpartition(".")
        found.setdefault(path, {})[own] = parameter
    modules = dict(model.named_modules())
    return [
        Layer(
            path,
            modules[path],
            parameters,
            {name: p.shape for name, p in parameters.items()},
            sum(p.size for p in parameters.values() if p.requires_grad),
            [],
        )
        for path, parameters in found.items()
    ]


class Anatomy:
    """A model's layers in one graph after another: what was found stands while the model and the form of the graph do.

    Args:
        model: whose layers they are.
    """

    def __init__(self, model: Module) -> None:
        self._model = model
        self._revision = -1
        self._layers: list[Layer] = []
        self._numbers: dict[Any, int] = {}  # of the parameters
        self._form: list[Any] = []  # of the graph that was looked at last
        self._found: list[tuple[Layer, list[Any]]] = []  # its layers, the nodes of their calls by number

    @property
    def layers(self) -> list[Layer]:
        """All of them, as layers_of() lists them."""
        if self._revision != revision[0]:
            self._look()
        return self._layers

    @property
    def parameters(self) -> Collection[Any]:
        """The layers' parameters, in order; quick to search."""
        if self._revision != revision[0]:
            self._look()
        return self._numbers.keys()

    def _look(self) -> None:
        self._layers, self._revision = layers_of(self._model), revision[0]
        self._numbers = {p: n for n, p in enumerate(p for layer in self._layers for p in layer.parameters.values())}
        self._form = []

    def layers_in(self, results: Iterable[Tensor]) -> list[Layer]:
        """The layers with their calls in the graph of `results`, see layers_in()."""
        layers, nodes = self.layers, nodes_of(results)
        number = {node: n for n, node in enumerate(nodes)}
        form = [self._form_of(node, number) for node in nodes]
        if form != self._form:
            found = layers_in(layers, nodes)
            self._form = form
            self._found = [(layer._replace(calls=[]), [_numbered(c, number) for c in layer.calls]) for layer in found]
            return found
        return [Layer(*layer[:-1], [_placed(call, nodes) for call in calls]) for layer, calls in self._found]

    def _form_of(self, node: Node, number: dict[Node, int]) -> Any:
        """What layers_in() reads of a node, without the node."""
        sources = [(number[w[0]], w[1]) if type(w) is tuple else self._numbers.get(w) for w in node.inputs]
        return node.op, sources, node.shapes, node.arrays is FREED


def _numbered(call: Call, number: dict[Node, int]) -> Any:
    """A call that holds on to no graph."""
    (node, output), kept = call.output, call.activated is not None
    return number[node], output, [(number[n], i) for n, i in call.inputs], call.activation, kept, call.input_shape


def _placed(call: Any, nodes: list[Node]) -> Call:
    """A numbered call in another graph."""
    number, output, inputs, activation, kept, shape = call
    node = nodes[number]
    activated = node.arrays[-1] if kept else None
    return Call((node, output), [(nodes[n], i) for n, i in inputs], activation, activated, shape)


def layers_in(layers: Iterable[Layer], nodes: list[Node]) -> list[Layer]:
    """A model's layers_of() with their calls in a graph, given by its nodes_of(), in the order of the forward pass;
    those that took no part come first."""
    layers = [Layer(*layer[:-1], []) for layer in layers]
    owner = {p: layer.path for layer in layers for p in layer.parameters.values()}
    readers: dict[Place, list[Node]] = {}
    made: dict[Node, set[Parameter]] = {}  # what is calculated from parameters alone, such as a transposed weight
    spans: dict[str, list[_Span]] = {layer.path: [] for layer in layers}
    for node in nodes:
        own: set[Parameter] = set()
        data: list[Any] = []
        shape: tuple[int, ...] | None = None
        for where, operand_shape in zip(node.inputs, node.shapes, strict=True):
            if operand_shape is None:
                continue
            if type(where) is tuple:
                readers.setdefault(where, []).append(node)
            if isinstance(where, Tensor) and where in owner:
                own.add(where)  # type: ignore[arg-type]
            elif type(where) is tuple and where[0] in made:
                own |= made[where[0]]
            else:
                data.append(where)
                shape = shape or operand_shape
        if own and shape is None:
            made[node] = own
        elif own:
            for path in {owner[p] for p in own}:
                _extend(spans[path], node, data, shape, {p for p in own if owner[p] == path})
    for layer in layers:
        for span in spans[layer.path]:
            inputs = list(dict.fromkeys(d for d in span.data if type(d) is tuple))
            layer.calls.append(_call(span.node, inputs, span.shape, readers))
    return sorted(layers, key=lambda layer: layer.calls[-1].output[0].order if layer.calls else -1)


class _Span:
    """The nodes of one call of a layer: one node, or several that take its parameters one after the other.

    Attributes:
        node: the last one; data: what they take beside parameters, from other nodes; shape: of the first of that.
        parameters: those that they take.
    """

    def __init__(self, node: Node, data: list[Any], shape: tuple[int, ...], parameters: set[Parameter]) -> None:
        self.node = node
        self.data = data
        self.shape = shape
        self.parameters = parameters


def _extend(spans: list[_Span], node: Node, data: list[Any], shape: Any, parameters: set[Parameter]) -> None:
    """Add a node to the layer's latest call, whose result it reads, or as another call of the same parameters."""
    if spans and (spans[-1].node, 0) in data and spans[-1].parameters.isdisjoint(parameters):
        span = spans[-1]
        span.data += [d for d in data if d != (span.node, 0)]
        span.parameters |= parameters
        span.node = node
    else:
        spans.append(_Span(node, data, shape, parameters))


def values_of(layers: Iterable[Layer], results: Iterable[Tensor]) -> dict[Place, Tensor]:
    """What is known of the values of a graph whose sweep is still to come: the results, what a node saved for its vjp,
    and what the layers' own nodes make of these, worked out again."""
    results = list(results)
    known = {t.edge: t for t in results if t.edge is not None}
    nodes = nodes_of(results)
    for node in nodes:
        if node.arrays is not FREED:
            for i, array in zip(node.op.saves, node.arrays, strict=True):
                place = (node, OUTPUT - i) if i < 0 else node.inputs[i]
                if type(place) is tuple:
                    known.setdefault(place, Tensor(array))
    ends = {call.output[0] for layer in layers for call in layer.calls}
    wanted = ends | {where[0] for node in ends for where in node.inputs if type(where) is tuple}
    for node in nodes:
        if node in wanted and (node, 0) not in known:
            operands = _operands(node, known)
            if operands is not None:
                made = node.op(*operands, **node.attributes)
                known[node, 0] = made[0] if type(made) is tuple else made
    return known


def _operands(node: Node, known: dict[Place, Tensor]) -> list[Tensor | None] | None:
    """What an op that only calculates was given; None where part of it is not known any more."""
    if not isinstance(node.op, (Linear, Activation, Add, Multiply)) or node.arrays is FREED:
        return None
    saved = dict(zip(node.op.saves, node.arrays, strict=True))
    operands: list[Tensor | None] = []
    for i, (where, shape) in enumerate(zip(node.inputs, node.shapes, strict=True)):
        if shape is None:
            operands.append(None)
        elif isinstance(where, Tensor):
            operands.append(where)
        elif i in saved:
            operands.append(Tensor(saved[i]))
        elif where in known:
            operands.append(known[where])
        else:
            return None
    return operands


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


def _call(node: Node, inputs: list[Place], shape: tuple[int, ...], readers: dict[Place, list[Node]]) -> Call:
    """The layer's call that starts at this node, with the activation that alone reads its result."""
    name = node.op.activation if isinstance(node.op, Linear) else "identity"
    if name == "identity":
        after = readers.get((node, 0), [])
        if len(after) == 1 and isinstance(after[0].op, Activation):
            node, name = after[0], after[0].name
    keeps_output = name != "identity" and OUTPUT in node.op.saves and node.arrays is not FREED
    return Call((node, 0), inputs, name, node.arrays[-1] if keeps_output else None, shape)
