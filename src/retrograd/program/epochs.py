"""Whole epochs of minibatches through a compiled step: as many steps as fit into a moment go in one call."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from ..data import epoch_order
from ..kernels.spec import Array
from ..tape import state
from ..tensor import Tensor
from .containers import array_of, map_arrays
from .observe import unobserved

PATIENCE = 0.03
"""Seconds that one call may take: Ctrl-C is noticed after it."""


def run_epochs(
    step: Any,
    data: tuple[Any, ...],
    batch_size: int,
    epochs: int,
    shuffle: bool,
    seed: int,
    drop_last: bool,
    callback: Callable[[int, dict[str, Any]], Any] | None,
    progress: bool,
) -> Array:
    """CompiledStep.run()."""
    for name, value in (("batch_size", batch_size), ("epochs", epochs)):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
            raise ValueError(f"run: {name} is {value!r}, expected a whole number >= 1")
    arrays = [array_of(d) for d in data]
    if not arrays or any(a.ndim == 0 for a in arrays) or len({len(a) for a in arrays}) != 1:
        shapes = ", ".join(str(a.shape) for a in arrays) or "nothing"
        raise ValueError(f"run: expected arrays of one number of rows, got {shapes}")
    rows = len(arrays[0])
    losses: list[Array] = []
    with _bar(progress, epochs) as bar:
        for epoch in range(epochs):
            order = epoch_order(rows, seed, epoch) if shuffle else None
            start = time.perf_counter()
            made = _epoch(step, arrays, order, batch_size, drop_last)
            seconds = time.perf_counter() - start
            losses.append(made)
            info = {"losses": made, "rows_per_second": rows / seconds if seconds else 0.0}
            if bar is not None:
                bar.set_postfix(loss=f"{np.mean(made):.4g}", rows_per_s=f"{info['rows_per_second']:,.0f}")
                bar.update()
            if callback is not None and callback(epoch, info) is True:
                break
    return _joined(losses)


def _joined(losses: list[Array]) -> Array:
    return losses[0] if len(losses) == 1 else np.concatenate(losses)


def _bar(progress: bool, epochs: int) -> AbstractContextManager[Any]:
    if not progress:
        return nullcontext()
    try:
        from tqdm import tqdm
    except ImportError:
        raise ImportError("run: progress=True needs tqdm; pip install 'retrograd[train]'") from None
    return tqdm(total=epochs, unit="epoch")


def _epoch(step: Any, arrays: list[Array], order: Array | None, batch_size: int, drop_last: bool) -> Array:
    rows = len(arrays[0])
    whole, rest = divmod(rows, batch_size)
    losses = []
    if whole:
        losses.append(_steps(step, arrays, order, 0, batch_size, whole))
    if rest and not drop_last:
        losses.append(_steps(step, arrays, order, whole * batch_size, rest, 1))
    return _joined(losses) if losses else np.empty(0, np.float32)


def _steps(step: Any, arrays: list[Array], order: Array | None, first: int, size: int, count: int) -> Array:
    """`count` steps on `size` rows each, from place `first` of the order on; returns their losses."""
    made: list[Array] = []
    while count:
        calls = unobserved(step, count)
        if calls:
            made.append(_unobserved(step, arrays, order, first, size, calls))
        else:
            calls = 1
            found: list[Tensor] = []
            map_arrays(found.append, step(*map(Tensor, _batch(arrays, order, first, size))))
            _check_loss(step, found[0].size if found else 0)
            made.append(found[0].array.reshape(1))
        first += calls * size
        count -= calls
    return _joined(made)


def _check_loss(step: Any, size: int) -> None:
    if size != 1:
        raise ValueError(f"run: {step.__name__} must return its loss first, a tensor of one element")


def _batch(arrays: list[Array], order: Array | None, start: int, size: int) -> list[Array]:
    if order is None:
        return [a[start : start + size] for a in arrays]
    return [state.kernels.gather_rows(a, order[start : start + size]) for a in arrays]


def _unobserved(step: Any, arrays: list[Array], order: Array | None, first: int, size: int, count: int) -> Array:
    """_steps() of the plain program."""
    made: list[Any] = []
    plan = step.plan_of([a[:size] for a in arrays])
    _check_loss(step, plan.program.results[0].size if plan.program.results else 0)
    if hasattr(plan.loaded, "run_steps"):
        return _many(step, plan, arrays, order, first, size, count)
    for start in range(first, first + count * size, size):
        batch = _batch(arrays, order, start, size)
        results = [np.empty(o.shape, o.dtype) for o in plan.program.results]
        plan.run_into(batch, results)
        made.append(results[0].reshape(()))
        plan = plan if plan.valid() else step.plan_of(batch)
    return np.array(made, plan.program.results[0].dtype)


def _many(step: Any, plan: Any, arrays: list[Array], order: Array | None, first: int, size: int, count: int) -> Array:
    """_unobserved() where the backend runs many in one call: as many as fit into PATIENCE, by the pace before."""
    losses = np.empty(count, plan.program.results[0].dtype)
    done = 0
    while done < count:
        chunk = min(count - done, max(1, int(PATIENCE / plan.pace))) if plan.lasting else 1
        begin = first + done * size
        rows = None if order is None else order[begin : begin + chunk * size]
        start = time.perf_counter()
        plan.run_many(arrays, rows, begin, losses[done : done + chunk])
        plan.pace = max((time.perf_counter() - start) / chunk, 1e-7)
        done += chunk
        if done < count and not plan.valid():
            plan = step.plan_of([a[:size] for a in arrays])
    return losses
