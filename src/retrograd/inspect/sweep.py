"""report: one backward pass, of a batch or of some of its rows, as a Report."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..kernels.spec import Array
from ..nn.module import Module
from ..tape import RemovableHandle
from ..tensor import Tensor
from .history import watched
from .layers import Anatomy, Layer, nodes_of
from .probe import Probe, Reading, listen
from .responsibility import Report, accepted_share, learning_parameters


def report(
    model: Module,
    loss: Tensor | None = None,
    *,
    rows: int | Sequence[int] | None = None,
    share: float = 0.01,
    histograms: bool = False,
) -> Report:
    """Whose fault the error is: the gradient report of a model.

    After a backward pass, `report(model)` reads the gradients that the parameters have: shares of responsibility,
    norms, units that nothing was sent to. What the signal was on its way is gone by then, unless the pass was watched
    (see watch()). `report(model, loss)` sends a signal of its own through the graph, which must still be there: before
    backward(), or after backward(retain_graph=True). It changes no `grad`.

    Args:
        model: whose layers to report on.
        loss: of one element, calculated with the model.
        rows: report on what these rows of the batch contribute, counted from 0 along the first axis: on the part of the
            signal that starts at their results. The rows' reports add up to the batch's, see LayerReport.part.
        share: what share of the signal at the loss counts as reached, for Report.depth.
        histograms: keep every activation and signal, for figures.histograms(); needs the loss.

    Raises:
        TypeError: model is no Module, or loss no Tensor.
        ValueError: no parameter requires grad, the loss does not come from the model, rows without a loss, or share is
            not in (0, 1].
        IndexError: a row that the batch does not have.
        RuntimeError: no gradient yet, or the loss's graph was freed.

    Example:
        >>> import retrograd as rg
        >>> from retrograd import nn
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
        >>> loss = model(rg.randn(16, 4)).square().mean()
        >>> whole = rg.inspect.report(model, loss)
        >>> whole.verdict, whole.depth
        ('healthy', 2)
        >>> round(sum(layer.responsibility for layer in whole.layers), 6)
        1.0
        >>> rg.inspect.report(model, loss, rows=3).layers[0].units.shape
        (8,)
    """
    learning_parameters("report", model)
    accepted_share("report", share)
    if loss is None:
        if rows is not None or histograms:
            raise ValueError("report: rows and histograms need the loss: report(model, loss, …) before its backward()")
        return watched(model) or _of_gradients(model, share)
    if not isinstance(loss, Tensor):
        raise TypeError(f"report: loss is a {type(loss).__name__}, expected a Tensor of one element")
    anatomy = Anatomy(model)
    layers = anatomy.layers_in([loss])
    if not any(layer.calls for layer in layers):
        raise ValueError(f"report: the loss does not come from the parameters of this {type(model).__name__}")
    if rows is None:
        return Report.of(_measured(loss, histograms, anatomy, [])[0], None, share)
    chosen = _chosen(rows, layers)
    _, batch = _measured(loss, False, anatomy, [])
    reading, gradients = _measured(loss, histograms, anatomy, _mask(layers, chosen))
    numbers = tuple(int(row) for row in chosen)
    return Report.of(reading, None, share, rows=numbers, parts=_parts(layers, gradients, batch))


def _of_gradients(model: Module, share: float) -> Report:
    gradients = {p: p.grad for p in model.parameters() if p.grad is not None}
    if not gradients:
        raise RuntimeError(
            f"report: no parameter of this {type(model).__name__} has a gradient; call loss.backward() first, "
            "or give the loss: report(model, loss)"
        )
    probe = Probe(Anatomy(model))
    probe.measure_gradients(gradients, {})
    return Report.of(probe.reading(), None, share)


def _measured(
    loss: Tensor, histograms: bool, anatomy: Anatomy, masks: list[RemovableHandle]
) -> tuple[Reading, dict[Tensor, Tensor]]:
    """A sweep's reading, and its gradients; the masks, which see the signal first, are removed."""
    probe = Probe(anatomy, histograms)
    try:
        probe.attach([loss])
        gradients = gradients_of(loss)
    finally:
        probe.detach()
        for mask in masks:
            mask.remove()
    probe.measure_gradients(gradients, {})
    return probe.reading(), gradients


def gradients_of(loss: Tensor) -> dict[Tensor, Tensor]:
    """The gradient of each leaf that the loss comes from; no leaf keeps it."""
    leaves = {where for node in nodes_of([loss]) for where in node.inputs if isinstance(where, Tensor)}
    before = {leaf: leaf.grad for leaf in leaves}
    try:
        for leaf in leaves:
            leaf.grad = None
        loss.backward(retain_graph=True)
        return {leaf: leaf.grad for leaf in leaves if leaf.grad is not None}
    finally:
        for leaf, grad in before.items():
            leaf.grad = grad


def _batch(layers: list[Layer]) -> int:
    """The rows of the last layer's data."""
    shape = layers[-1].calls[-1].input_shape
    return shape[0] if shape else 0


def _chosen(rows: int | Sequence[int], layers: list[Layer]) -> Array:
    chosen = np.unique(np.atleast_1d(np.asarray(rows)))
    batch = _batch(layers)
    if chosen.size == 0 or chosen.dtype.kind not in "iu":
        raise ValueError(f"report: rows is {rows!r}, expected the numbers of some rows")
    if chosen[0] < 0 or chosen[-1] >= batch:
        raise IndexError(f"report: rows {chosen.tolist()} are not all in a batch of {batch} rows, 0 to {batch - 1}")
    return chosen


def _mask(layers: list[Layer], rows: Array) -> list[RemovableHandle]:
    """Let only the signal of these rows into the layers."""
    batch = _batch(layers)
    others = np.setdiff1d(np.arange(batch), rows)

    def mask(g: Tensor) -> Tensor | None:
        if not g.ndim or len(g) != batch:
            return None
        kept = g.array.copy()
        kept[others] = 0
        return Tensor(kept)

    return [listen(call.output, mask) for layer in layers for call in layer.calls]


def _parts(
    layers: list[Layer], gradients: dict[Tensor, Tensor], batch: dict[Tensor, Tensor]
) -> list[tuple[float, float]]:
    """For each layer, the rows' part of the batch's first-order responsibility and of its squared gradient norm."""
    parts = np.zeros((len(layers), 2))
    totals = np.zeros(2)
    for n, layer in enumerate(layers):
        for p in layer.parameters.values():
            if p not in batch:
                continue
            whole = batch[p].array.astype(np.float64)
            some = gradients[p].array if p in gradients else np.zeros(p.shape)
            product = whole * p.array
            parts[n] += np.sum(np.sign(product) * some * p.array), np.sum(whole * some)
            totals += np.sum(np.abs(product)), np.sum(whole * whole)
    return [tuple(row) for row in parts / np.where(totals > 0, totals, 1)]  # type: ignore[misc]
