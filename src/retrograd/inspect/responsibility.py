"""The gradient report: whose fault the error is, layer by layer, and how far back the signal got.

Two shares of responsibility, each adding up to one over the layers:

* `responsibility`, the first-order one: the sum of |θ · ∂L/∂θ| over the layer's parameters. θ · ∂L/∂θ is by how much
  the loss would change, to first order, were θ taken away (Mozer and Smolensky 1989; Molchanov et al. 2017, section
  2.2, a Taylor expansion); normalized by the sum over the network it is the connection sensitivity of Lee, Ajanthan and
  Torr (2019).
* `gradient_share`, the share of the squared norm of the gradient: what part of the steepest descent falls to the layer.

The first asks what the weights that are there contribute to the loss, the second where a change would act. They differ
where a layer's weights are small beside its gradient, as in a last layer that starts near zero (the second is larger),
or large and nearly settled (the first is larger).
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..kernels.spec import Array
from ..nn.module import Module
from . import probe, verdict
from .layers import layers_of
from .probe import LayerFacts, Reading

Measures = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class LayerReport:
    """What a Report says of a layer. A number that was not or cannot be measured is None.

    Attributes:
        path: of the module in the model; kind: its class; activation: its name, "identity" if there is none.
        input_shape, output_shape: of its data and its result, without rows.
        parameters: name → shape; size: their elements; learning: how many of those ask for a gradient.
        arriving: the size of the signal ∂L/∂a at its result a, after the activation: the sum of |∂L/∂a| over rows and
            units, over the square root of the number of units. It adds up over rows, neither overflows nor underflows,
            and is the Euclidean norm where the units share it evenly.
        leaving: the same at its data; None at the inputs, which ask for no gradient.
        gain: leaving / arriving.
        responsibility, gradient_share: see the module's docstring.
        gradient_norm, weight_norm: Euclidean, of all its parameters.
        update_ratio: the norm of the optimizer's update over weight_norm.
        cosine: between the gradient and that of the step before.
        dead: the share of its ReLU units that no row activates; where no forward pass was watched, of its units whose
            weights have a gradient of exactly zero.
        saturated: the share of its tanh or sigmoid units without slope, see verdict.SATURATED_SLOPE.
        units: the signal at each unit of its result: the sum of |∂L/∂a| over the rows.
        part, gradient_part: of a report on some rows: their part of the batch's responsibility and gradient_share. Over
            all rows these add up to the batch's; they can be negative, where a row pulls against the batch.
        verdict: one of verdict.VERDICTS.
        activations, signals: every value, if they were asked for, for histograms; not in to_dict().

    Example:
        >>> import retrograd as rg
        >>> from retrograd import nn
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
        >>> loss = model(rg.randn(16, 4)).square().mean()
        >>> layer = rg.inspect.report(model, loss)["0"]
        >>> layer.kind, layer.activation, layer.size, layer.verdict
        ('Linear', 'relu', 40, 'healthy')
        >>> layer.arriving > 0, layer.units.shape, len(layer.worst_units(3))
        (True, (8,), 3)
    """

    path: str
    kind: str
    activation: str
    input_shape: tuple[int, ...] | None
    output_shape: tuple[int, ...] | None
    parameters: dict[str, tuple[int, ...]]
    size: int
    learning: int
    arriving: float | None
    leaving: float | None
    gain: float | None
    responsibility: float
    gradient_share: float
    gradient_norm: float | None
    weight_norm: float
    update_ratio: float | None
    cosine: float | None
    dead: float | None
    saturated: float | None
    units: Array | None
    part: float | None
    gradient_part: float | None
    verdict: str
    activations: Array | None = None
    signals: Array | None = None

    def worst_units(self, most: int = 5) -> list[tuple[int, float]]:
        """(unit, its share of the layer's signal) of the units that most of the signal is sent to."""
        total = 0.0 if self.units is None else float(self.units.sum())
        if not total:
            return []
        order = np.argsort(-self.units, kind="stable")[:most]
        return [(int(unit), float(self.units[unit] / total)) for unit in order if self.units[unit] > 0]


@dataclasses.dataclass(frozen=True)
class Report:
    """A model's gradient report; print it, or show it in a notebook.

    Attributes:
        layers: in the order of the forward pass.
        step: which step of the watched run it is of; None where there was no run.
        rows: the rows that it is of; None for the whole batch.
        share: the share of the signal at the loss that counts as reached; depth: how many layers back it reaches.
        verdict: one of verdict.VERDICTS.

    Example:
        >>> import retrograd as rg
        >>> from retrograd import nn
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
        >>> loss = model(rg.randn(16, 4)).square().mean()
        >>> report = rg.inspect.report(model, loss)
        >>> report.verdict, report.depth, [layer.path for layer in report.layers]
        ('healthy', 2, ['0', '2'])
        >>> report.advice
        'The signal reaches every layer that learns.'
        >>> list(report.to_dict())
        ['verdict', 'advice', 'depth', 'share', 'step', 'rows', 'layers']
        >>> print(str(report).splitlines()[0])
        verdict: healthy; 0.01 of the signal at the loss reaches 2 of 2 layers
    """

    layers: tuple[LayerReport, ...]
    step: int | None
    rows: tuple[int, ...] | None
    share: float
    depth: int | None
    verdict: str

    @classmethod
    def of(cls, reading: Reading, step: int | None = None, share: float = 0.01, **more: Any) -> Report:
        """The report that a reading makes."""
        return cls._of(reading.layout.layers, reading.measures(), step, share, **more)

    @classmethod
    def _of(
        cls,
        facts: Sequence[LayerFacts],
        measures: Sequence[Measures],
        step: int | None,
        share: float,
        rows: tuple[int, ...] | None = None,
        parts: Sequence[tuple[float, float]] | None = None,
    ) -> Report:
        products = _total(measures, probe.PRODUCT)
        squares = _total(measures, probe.GRADIENT)
        at_loss = next((_signal(m, probe.ARRIVING) for m in reversed(measures) if probe.ARRIVING in m), None)
        layers = tuple(
            _layer(fact, measured, products, squares, at_loss, parts[n] if parts else (None, None))
            for n, (fact, measured) in enumerate(zip(facts, measures, strict=True))
        )
        reached = verdict.depth([layer.arriving for layer in layers], share)
        return cls(layers, step, rows, share, reached, verdict.of_network([layer.verdict for layer in layers]))

    @property
    def advice(self) -> str:
        """What usually helps."""
        return verdict.ADVICE[self.verdict]

    def __getitem__(self, path: str) -> LayerReport:
        """The layer of this path."""
        for layer in self.layers:
            if layer.path == path:
                return layer
        raise KeyError(f"report: no layer {path!r}; there are {', '.join(repr(layer.path) for layer in self.layers)}")

    def to_dict(self) -> dict[str, Any]:
        """All of it as dicts, lists, strings and numbers; what is not finite is the string "inf", "-inf" or "nan"."""
        layers = [
            {
                field.name: _plain(getattr(layer, field.name))
                for field in dataclasses.fields(layer)
                if field.name not in ("activations", "signals")
            }
            for layer in self.layers
        ]
        head = {name: _plain(getattr(self, name)) for name in ("verdict", "advice", "depth", "share", "step", "rows")}
        return {**head, "layers": layers}

    def to_json(self, indent: int | None = 2) -> str:
        """to_dict() as JSON."""
        return json.dumps(self.to_dict(), indent=indent, allow_nan=False)

    def __str__(self) -> str:
        from .text import as_text

        return as_text(self)

    def _repr_html_(self) -> str:
        from .text import as_html

        return as_html(self)


def required(name: str, model: Module) -> Module:
    """The model; TypeError where it is none."""
    if not isinstance(model, Module):
        raise TypeError(f"{name}: model is a {type(model).__name__}, expected a Module")
    return model


def accepted_share(name: str, share: float) -> float:
    """What share of the signal counts as reached; ValueError where it is none."""
    if not isinstance(share, (int, float)) or not 0 < share <= 1:
        raise ValueError(f"{name}: share is {share!r}, expected a number in (0, 1]")
    return share


def learning_parameters(name: str, model: Module) -> list[Any]:
    """The model's parameters that ask for a gradient.

    Raises:
        TypeError: it is no Module. ValueError: no parameter asks for one.
    """
    found = [p for p in required(name, model).parameters() if p.requires_grad]
    if not found:
        count = sum(len(layer.parameters) for layer in layers_of(model))
        raise ValueError(
            f"{name}: none of the {count} parameters of {type(model).__name__} requires grad; "
            "nothing learns, so nothing is at fault"
        )
    return found


def _layer(
    facts: LayerFacts,
    measured: Measures,
    products: float,
    squares: float,
    at_loss: float | None,
    parts: tuple[float | None, float | None],
) -> LayerReport:
    arriving, leaving = _signal(measured, probe.ARRIVING), _signal(measured, probe.LEAVING)
    weight_norm = _root(measured.get(probe.WEIGHT)) or 0.0
    gradient_norm = _root(measured.get(probe.GRADIENT))
    update = _root(measured.get(probe.UPDATE))
    update_ratio = update / weight_norm if update is not None and weight_norm else None
    dead, saturated = _units_off(facts.activation, measured)
    return LayerReport(
        path=facts.path,
        kind=facts.kind,
        activation=facts.activation,
        input_shape=facts.input_shape,
        output_shape=facts.output_shape,
        parameters=dict(facts.parameters),
        size=sum(math.prod(shape) for shape in facts.parameters.values()),
        learning=facts.learning,
        arriving=arriving,
        leaving=leaving,
        gain=leaving / arriving if leaving is not None and arriving else None,
        responsibility=_share(measured.get(probe.PRODUCT), products),
        gradient_share=_share(measured.get(probe.GRADIENT), squares),
        gradient_norm=gradient_norm,
        weight_norm=weight_norm,
        update_ratio=update_ratio,
        cosine=_cosine(measured),
        dead=dead,
        saturated=saturated,
        units=measured.get(probe.ARRIVING),
        part=parts[0],
        gradient_part=parts[1],
        verdict=verdict.of_layer(arriving, at_loss, gradient_norm, update_ratio, dead, saturated),
        activations=measured.get(probe.VALUES),
        signals=measured.get(probe.SIGNALS),
    )


def _signal(measured: Measures, measure: str) -> float | None:
    units = measured.get(measure)
    return None if units is None else float(np.sum(units) / math.sqrt(units.size))


def _units_off(activation: str, measured: Measures) -> tuple[float | None, float | None]:
    """The shares of the units that are dead and that are saturated."""
    slope = measured.get(probe.SLOPE)
    if slope is None:
        silent = measured.get(probe.SILENT)
        return (float(np.mean(silent == 0)) if silent is not None else None), None
    if activation == "relu":
        return float(np.mean(slope == 0)), None
    return None, float(np.mean(slope < verdict.SATURATED_SLOPE))


def _cosine(measured: Measures) -> float | None:
    """Of the angle between two gradients."""
    if probe.AGREEMENT not in measured:
        return None
    now, before, both = (float(measured[m]) for m in (probe.GRADIENT, probe.PREVIOUS, probe.AGREEMENT))
    norms = math.sqrt(now) * math.sqrt(before)
    cosine = both / norms if norms else math.nan
    return min(1.0, max(-1.0, cosine)) if math.isfinite(cosine) else None


def _total(measures: Sequence[Measures], measure: str) -> float:
    return float(sum(float(m[measure]) for m in measures if measure in m))


def _share(part: Any, total: float) -> float:
    return float(part) / total if part is not None and total else 0.0


def _root(value: Any) -> float | None:
    return None if value is None else math.sqrt(float(value)) if value >= 0 else math.nan


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return [_plain(float(v)) for v in value.reshape(-1)]
    if isinstance(value, dict):
        return {key: _plain(v) for key, v in value.items()}
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
