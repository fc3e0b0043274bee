"""The measures of one step, taken with the engine's own ops: eagerly they are numbers at once; while a step is traced
they become part of its program. Both ways they end as one vector, whose parts a Layout names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..kernels.measure import TERMS
from ..kernels.spec import Array, active
from ..ops.elementwise import abs as absolute
from ..ops.elementwise import square
from ..ops.measure import gradient_sums, unit_sums, update_sums
from ..ops.rule import Op
from ..ops.shape import cat
from ..tape import RemovableHandle, no_grad, state
from ..tensor import Tensor
from .layers import Anatomy, Call, Layer, Place, values_of

ARRIVING, LEAVING, SLOPE = "arriving", "leaving", "slope"
GRADIENT, WEIGHT, PRODUCT = "gradient", "weight", "product"
PREVIOUS, AGREEMENT, UPDATE, SILENT = "previous", "agreement", "update", "silent"
VALUES, SIGNALS = WHOLE = "values", "signals"

GRADIENT_SUMS = WEIGHT, GRADIENT, PRODUCT, PREVIOUS, AGREEMENT
"""The columns of the kernel gradient_sums."""


class LayerFacts(NamedTuple):
    """What is known of a layer without measuring: its path, its module's kind, its activation, the shapes of its data
    and its result without rows (None where it took no part), its parameters, and how many of them learn."""

    path: str
    kind: str
    activation: str
    input_shape: tuple[int, ...] | None
    output_shape: tuple[int, ...] | None
    parameters: dict[str, tuple[int, ...]]
    learning: int


Use = tuple[int, str]
"""What a part of the vector is for: the number of a layer, and the measure."""


class Part(NamedTuple):
    """A part of the vector: its uses (what arrives at one layer leaves another), its shape, how many rows of SLOPE it
    sums over, and whether it holds sums over blocks, a column for each use."""

    uses: tuple[Use, ...]
    shape: tuple[int, ...]
    rows: int = 0
    sums: bool = False


class Layout:
    """What the parts of a measured vector are, in order.

    Attributes:
        layers: in the order of the forward pass.
        parts: in the order of the vector.
    """

    def __init__(self, layers: list[LayerFacts], parts: Sequence[Part]) -> None:
        self.layers = layers
        self.parts = parts


class Reading(NamedTuple):
    """The measures of one step."""

    layout: Layout
    vector: Any

    def measures(self) -> list[dict[str, Array]]:
        """For each layer, measure → its values in float64: those of several calls or parameters added up, and SLOPE
        divided by its rows."""
        flat = np.asarray(self.vector.array, np.float64)
        found: list[dict[str, Any]] = [{} for _ in self.layout.layers]
        rows: list[int] = [0] * len(found)
        start = 0
        for uses, shape, count, sums in self.layout.parts:
            size = int(np.prod(shape, dtype=np.int64))
            part = flat[start : start + size].reshape(shape)
            start += size
            columns = part.sum(0) if sums else [part] * len(uses)
            for (layer, measure), values in zip(uses, columns, strict=False):
                if measure in WHOLE:
                    found[layer].setdefault(measure, []).append(values.reshape(-1))
                else:
                    found[layer][measure] = found[layer].get(measure, 0.0) + values
                rows[layer] += count
        for measures, count in zip(found, rows, strict=True):
            if SLOPE in measures:
                measures[SLOPE] = measures[SLOPE] / count
            measures.update({m: np.concatenate(measures[m]) for m in WHOLE if m in measures})
        return found


class Probe:
    """Takes the measures of one step of a model.

    Where nothing is traced it calls the kernels without the frame of an op, and joins arrays: a measured step is to
    cost little more than what the kernels take.

    Args:
        anatomy: of the model, whose layers are measured.
        keep: whether whole activations and signals are kept, for histograms.

    Attributes:
        complete: whether the parameters and their gradients were measured.
    """

    def __init__(self, anatomy: Anatomy, keep: bool = False) -> None:
        self._anatomy = anatomy
        self._keep = keep
        self._eager = state.kernels is active
        self._layers = anatomy.layers
        self._taken: list[tuple[Part, Any]] = []
        self._outputs: dict[int, tuple[int, ...]] = {}
        self._before: list[tuple[int, Any, Any]] = []  # layer, parameter, what it was before the update
        self._handles: list[RemovableHandle] = []
        self._results: list[Tensor] = []
        self.complete = False

    @property
    def swept(self) -> bool:
        """Whether a backward pass came by."""
        return bool(self._outputs)

    def attach(self, results: Iterable[Tensor]) -> None:
        """Measure the activations of a forward pass now, and its signals when a sweep comes by; a second forward pass
        before that belongs to the same step."""
        self.detach()
        self._taken.clear()
        self._results += results
        self._layers = self._anatomy.layers_in(self._results)
        signals: dict[Place, list[Use]] = {}
        with no_grad():
            values = values_of(self._layers, self._results) if self._keep else {}
            for n, layer in enumerate(self._layers):
                for call in layer.calls:
                    self._measure_activation(n, call)
                    if call.output in values:
                        self._take(n, VALUES, _as_rows(self._values(values[call.output])))
                    signals.setdefault(call.output, []).append((n, ARRIVING))
                    for place in call.inputs:
                        signals.setdefault(place, []).append((n, LEAVING))
        for place, uses in signals.items():
            self._listen(place, tuple(uses))

    def detach(self) -> None:
        """Listen no more."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def measure_gradients(self, gradients: Mapping[Any, Tensor], previous: Mapping[Any, Tensor]) -> None:
        """Measure the parameters, their gradients, and how these agree with the previous step's."""
        self.complete = True
        with no_grad():
            for n, layer in enumerate(self._layers):
                uses = tuple([(n, measure) for measure in GRADIENT_SUMS])
                for p in layer.parameters.values():
                    if p in gradients:
                        self._measure_gradient(n, uses, p, gradients[p], previous.get(p))
                    else:
                        self._take(n, WEIGHT, self._values(square(p).sum()))
                self._measure_silence(n, layer, gradients)

    def measure_update(self) -> None:
        """Measure by how much the parameters changed since their gradients were measured."""
        for n, p, kept in self._before:
            sums = self._run(update_sums, self._values(p), kept)
            self._taken.append((Part(((n, UPDATE),), sums.shape, 0, True), sums))

    def reading(self) -> Reading:
        """What was measured."""
        self.detach()
        self._results.clear()
        facts = [self._facts(n, layer) for n, layer in enumerate(self._layers)]
        parts, values = zip(*self._taken, strict=True)
        with no_grad():
            vector = Tensor(np.concatenate(values, None)) if self._eager else cat([v.reshape(-1) for v in values])
        return Reading(Layout(facts, parts), vector)

    # Single measures

    def _values(self, x: Tensor) -> Any:
        """What is measured of a tensor: while a step is traced itself, else its array."""
        return x.array if self._eager else x

    def _run(self, op: Op, *operands: Any, **attributes: Any) -> Any:
        """What an op makes of _values()."""
        return op.forward(active, *operands, **attributes) if self._eager else op(*operands, **attributes)

    def _take(self, layer: int, measure: str, values: Any, rows: int = 0) -> None:
        self._taken.append((Part(((layer, measure),), values.shape, rows), values))

    def _measure_gradient(self, n: int, uses: tuple[Use, ...], p: Any, g: Tensor, before: Tensor | None) -> None:
        earlier = None if before is None else self._values(before)
        sums, kept = self._run(gradient_sums, self._values(p), self._values(g), earlier)
        self._taken.append((Part(uses if before is not None else uses[:3], sums.shape, 0, True), sums))
        self._before.append((n, p, kept))

    def _measure_activation(self, n: int, call: Call) -> None:
        if call.activated is not None and call.activation in TERMS:
            rows = _as_rows(call.activated if self._eager else Tensor(call.activated))
            self._take(n, SLOPE, self._run(unit_sums, rows, term=call.activation), len(rows))

    def _measure_silence(self, n: int, layer: Layer, gradients: Mapping[Any, Tensor]) -> None:
        """Where no activation was seen: the sizes of the gradients of each unit's weights."""
        weight = next((p for p in layer.parameters.values() if p.ndim == 2), None)
        if not layer.calls and weight in gradients:
            self._take(n, SILENT, self._values(absolute(gradients[weight]).sum(1)))

    def _listen(self, place: Place, uses: tuple[Use, ...]) -> None:
        def hook(g: Tensor) -> None:
            with no_grad():
                rows = _as_rows(self._values(g))
                units = self._run(unit_sums, rows, term="absolute")
                self._taken.append((Part(uses, units.shape), units))
                for layer, measure in uses:
                    if measure == ARRIVING:
                        self._outputs[layer] = g.shape
                        if self._keep:
                            self._take(layer, SIGNALS, rows)

        self._handles.append(listen(place, hook))

    def _facts(self, n: int, layer: Layer) -> LayerFacts:
        call = layer.calls[0] if layer.calls else None
        output = self._outputs.get(n)
        return LayerFacts(
            layer.path,
            type(layer.module).__name__,
            call.activation if call else "identity",
            call.input_shape[1:] if call else None,
            output[1:] if output else None,
            layer.shapes,
            layer.learning,
        )


def listen(place: Place, hook: Callable[[Tensor], Any]) -> RemovableHandle:
    """Call `hook` on the cotangent of a value of the graph when a sweep knows it."""
    node, i = place
    if node.hooks is None:
        node.hooks = {}
    return RemovableHandle(node.hooks.setdefault(i, {}), hook)


def _as_rows(x: Any) -> Any:
    return x if x.ndim == 2 else x.reshape(-1, x.shape[-1] if x.ndim else 1)
