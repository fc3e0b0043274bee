"""Compiled steps that gather, scatter, draw and scan: what reinforcement learning and embeddings are made of."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import retrograd as rg
import retrograd.nn.functional as F
from retrograd import nn, optim

ROWS, ACTIONS = 13, 6
PLACES = np.arange(ROWS)


def chosen(q: rg.Tensor, a: rg.Tensor) -> rg.Tensor:
    return q.gather(1, a.unsqueeze(1)).squeeze(1)


def backwards(rewards: rg.Tensor, values: rg.Tensor) -> rg.Tensor:
    """A sum from each row on, as returns and advantages are calculated."""
    made, following = rg.zeros(ROWS), rg.zeros(())
    for i in reversed(range(ROWS)):
        following = rewards[i] + 0.9 * following - 0.1 * values[i]
        made[i] = following
    return made


LOSSES: dict[str, Callable[..., rg.Tensor]] = {
    "gather": lambda m, x, a, y: (chosen(m(x), a) - y).square().mean(),
    "rows and columns": lambda m, x, a, y: (m(x)[PLACES, a] - y).square().mean(),
    "maximum of the next": lambda m, x, a, y: (chosen(m(x), a) - y - 0.9 * m(x).detach().max(1).values).square().mean(),
    "argmax of the next": lambda m, x, a, y: (chosen(m(x), a) - chosen(m(x).detach(), m(x).argmax(1))).square().mean()
    + chosen(m(x), m(x).argmin(1)).mean(),
    "policy gradient": lambda m, x, a, y: -(chosen(F.log_softmax(m(x), 1), a) * y).mean(),
    "embedding": lambda m, x, a, y: (m(x)[:, 0] + m[0].weight[a].sum(1) - y).square().mean(),
    "fixed rows": lambda m, x, a, y: (m(x)[[0, 2, 2, -1]] ** 2).sum() + m(x)[:, [1, 0, 1]].mean(),
    "noise": lambda m, x, a, y: (m(x + 0.1 * rg.randn(ROWS, 5))[:, 0] - y).square().mean(),
    "whole numbers": lambda m, x, a, y: (chosen(m(x), rg.randint(0, ACTIONS, (ROWS,))) - y).square().mean(),
    "scan": lambda m, x, a, y: (m(x).cumsum(1)[:, 2] - y).square().mean() + m(x).cumsum(0).mean(),
    "hits": lambda m, x, a, y: m(x).square().mean()
    + ((m(x).argmax(1) == a) | (a > 2) & (a != 3) | (a < -3)).to(y.dtype).mean()
    + (m(x) * (a[:, None] <= rg.tensor(PLACES[:ACTIONS]))).mean(),
    "truths": lambda m, x, a, y: (m(x)[:, 0] * (x > 0).any(1).to(y.dtype) - y * (x > -1).all(1).to(y.dtype)).mean(),
    "put": lambda m, x, a, y: (
        (m(x).scatter(1, a.unsqueeze(1), y.unsqueeze(1)) ** 2).mean()
        + (m(x).index_copy(0, a[:1], m(x)[:1] * 2.0) ** 2).mean()
        + (m(x).index_fill(1, a[:2], 0.3) * y.unsqueeze(1)).mean()
    ),
    "added": lambda m, x, a, y: (m(x).scatter_add(1, a.unsqueeze(1), y.unsqueeze(1)) ** 2).mean()
    + (m(x).index_add(0, a[:2], m(x)[:2]) ** 2).mean(),
    "labels of other rows": lambda m, x, a, y: (chosen(m(x), a[m(x).argmax(1) % ROWS]) - y).square().mean(),
    "rows one by one": lambda m, x, a, y: (m(x)[:, 0] * backwards(y, m(x)[:, 1].detach())).mean(),
    "two operands": lambda m, x, a, y: (
        rg.logaddexp(m(x)[:, 0], y) + rg.remainder(m(x)[:, 1], 0.7) + rg.floor_divide(m(x)[:, 2], -0.3) * m(x)[:, 3]
    ).mean(),
}


def step_of(loss: Callable[..., rg.Tensor]) -> tuple[nn.Sequential, Callable[..., rg.Tensor]]:
    rg.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, ACTIONS))
    optimizer = optim.SGD(model.parameters(), lr=0.05)

    def step(x: rg.Tensor, a: rg.Tensor, y: rg.Tensor) -> rg.Tensor:
        value = loss(model, x, a, y)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        return value

    return model, step


def batch() -> tuple[rg.Tensor, ...]:
    draw = np.random.default_rng(0)
    x, y = draw.standard_normal((ROWS, 5), np.float32), draw.standard_normal(ROWS, np.float32)
    return rg.from_numpy(x), rg.from_numpy(draw.integers(-5, 5, ROWS)), rg.from_numpy(y)


@pytest.mark.parametrize("slice_rows", [None, 4])
@pytest.mark.parametrize("name", LOSSES)
def test_compiled_is_eager(backend: str, name: str, slice_rows: int | None) -> None:
    eager_model, eager = step_of(LOSSES[name])
    expected = [eager(*batch()).item() for _ in range(4)]
    model, step = step_of(LOSSES[name])
    compiled = rg.compile(step, slice_rows=slice_rows)
    np.testing.assert_allclose([compiled(*batch()).item() for _ in range(4)], expected, rtol=2e-5)
    for (which, p), e in zip(model.named_parameters(), eager_model.parameters(), strict=True):
        np.testing.assert_allclose(p.array, e.array, rtol=2e-4, atol=1e-5, err_msg=which)
    if backend == "c":
        assert type(compiled._latest.loaded).__name__ == "Loaded", "the interpreter runs it"


@st.composite
def keys(draw: Any) -> tuple[tuple[int, ...], tuple[Any, ...]]:
    """A shape, and a key with at least one array of indices."""
    shape = tuple(draw(st.lists(st.integers(1, 5), min_size=1, max_size=4)))
    lengths = draw(st.sampled_from([(3,), (2, 3), (1,), (2, 1)]))
    parts: list[Any] = []
    for size in shape[: draw(st.integers(1, len(shape)))]:
        kind = draw(st.sampled_from(["array", "array", "slice", "int"]))
        if kind == "array":
            count = draw(st.sampled_from([lengths, lengths[-1:]]))
            indices = st.integers(-size, size - 1)
            parts.append(np.array([draw(indices) for _ in range(int(np.prod(count)))]).reshape(count))
        else:
            parts.append(slice(None, None, draw(st.sampled_from([1, 2, -1]))) if kind == "slice" else size - 1)
        if draw(st.integers(0, 5)) == 0:
            parts.append(None)
    if not any(isinstance(p, np.ndarray) for p in parts):
        parts[0] = np.array([0, -1])
    if draw(st.booleans()):
        parts.insert(draw(st.integers(0, len(parts))), Ellipsis)
    return shape, tuple(parts)


@given(keys())
def test_arrays_without_values_index_as_numpy_does(backend: str, case: tuple[Any, Any]) -> None:
    shape, parts = case
    numbers = np.random.default_rng(0).standard_normal(shape)
    x = rg.tensor(numbers, requires_grad=True)
    arrays = [p for p in parts if isinstance(p, np.ndarray)]
    try:
        expected = numbers[parts]
    except IndexError:  # with an Ellipsis the indices fell on other axes
        return

    def step(*indices: rg.Tensor) -> rg.Tensor:
        given_now = iter(indices)
        y = x[tuple(next(given_now) if isinstance(p, np.ndarray) else p for p in parts)]
        x.grad = None
        (y * y).sum().backward()
        return y

    step(*map(rg.tensor, arrays))
    gradient = x.grad.numpy().copy()
    np.testing.assert_array_equal(rg.compile(step)(*map(rg.tensor, arrays)).numpy(), expected)
    np.testing.assert_allclose(x.grad.numpy(), gradient)


@pytest.mark.parametrize("name", ["nonzero", "unique"])
def test_what_decides_a_shape_is_not_calculated_in_the_step(name: str) -> None:
    x = rg.tensor([2.0, 0.0, 3.0])
    with pytest.raises(RuntimeError, match=rf"{name}: the shape of the result depends on .* rg\.(where|sort)\(\)"):
        rg.compile(lambda y: getattr(y, name)())(x)
    count = rg.compile(lambda y: y * getattr(x, name)().shape[0])  # of x, which is known, it is looked at
    y = rg.ones(1)
    before = count(y).item()
    x[0] = 0.0
    assert count(y).item() == before - 1


CLASSES: dict[str, Callable[..., rg.Tensor]] = {
    "classes": lambda m, x, a, y: F.cross_entropy(m(x), a),
    "weighted classes": lambda m, x, a, y: F.cross_entropy(m(x), a, weight=m[2].bias.detach().exp()),
    "smoothed classes": lambda m, x, a, y: F.cross_entropy(m(x), a, ignore_index=2, label_smoothing=0.1),
    "log-probabilities": lambda m, x, a, y: F.nll_loss(F.log_softmax(m(x), 1), a),
}
OUT_OF_RANGE = [("gather", ACTIONS), *((name, index) for name in CLASSES for index in (-1, ACTIONS))]


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("name", "index"), OUT_OF_RANGE)
def test_an_index_out_of_range_updates_nothing(backend: str, name: str, index: int, many: bool, threads: int) -> None:
    rg.set_num_threads(threads)
    model, step = step_of((LOSSES | CLASSES)[name])
    compiled = rg.compile(step)
    x, a, y = batch()
    a = rg.tensor(a.numpy() % ACTIONS)
    compiled(x, a, y)
    before = [p.array.copy() for p in model.parameters()]
    wrong = rg.tensor(np.where(PLACES == 7, index, a.numpy()))
    call = functools.partial(compiled.run, batch_size=ROWS) if many else compiled
    with pytest.raises(IndexError, match=rf"({index}|{ACTIONS}|row 7) is out of (range|bounds)"):
        call(x, wrong, y)
    for p, b in zip(model.parameters(), before, strict=True):
        np.testing.assert_array_equal(p.array, b)
    assert np.isfinite(compiled(x, a, y).item())


ON_WHOLE_NUMBERS: dict[str, Callable[..., Any]] = {
    "arithmetic": lambda i, j, t: [i + j, i - j, i * j, i * 3 - 1, i + t, i * t],
    "signs": lambda i, j, t: [-i, i.abs(), i.sign(), i.square()],
    "quotients": lambda i, j, t: [i // 3, i % 3, j // (i - i[0, 0] - 1), j % (i - i[0, 0] - 1), j // (t - i * 0)],
    "choices": lambda i, j, t: [
        rg.maximum(i, j), rg.minimum(i, j), i.clamp(0, 3), rg.where(t, i, j), rg.where(i > j, t, ~t), rg.where(t, i, 0)
    ],
    "truths": lambda i, j, t: [
        i == j, i < j, i >= 0, t != i, rg.logical_and(i, j), rg.logical_or(i, t), rg.logical_not(i), i.to("bool") & t
    ],
    "sums": lambda i, j, t: [i.sum(), i.sum(1), j.sum(0), t.sum(), t.sum(0), (i > j).sum(1), (t * i).sum((0, 1))],
    "layouts": lambda i, j, t: [i.T + 1, (i[::-1] * j[:, ::2][:, :1]).sum(0), i[:1] - j, i.T.sum(0)],
    "numbers": lambda i, j, t: [rg.full((3,), 7, dtype=i.dtype) + i[0, :1], rg.zeros_like(i) + 2, rg.arange(4) * i],
}  # fmt: skip


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8])
@pytest.mark.parametrize("name", ON_WHOLE_NUMBERS)
def test_whole_numbers_are_calculated_as_numpy_does(backend: str, name: str, dtype: Any) -> None:
    draw, most = np.random.default_rng(0), np.iinfo(dtype)
    i = draw.integers(0 if most.min == 0 else -5, 6, (11, 4)).astype(dtype)
    i[:2] = [[most.max, most.min, 0, 1], [most.min, most.max - 1, 2, most.max // 2 + 1]]
    arrays = i, draw.permuted(i), draw.random(i.shape) < 0.5
    with rg.backends.use("numpy"), np.errstate(all="ignore"):
        expected = ON_WHOLE_NUMBERS[name](*map(rg.from_numpy, arrays))
    step = rg.compile(ON_WHOLE_NUMBERS[name], slice_rows=4)
    for made, reference in zip(step(*arrays), expected, strict=True):
        assert made.dtype == reference.dtype
        np.testing.assert_array_equal(made.numpy(), reference.numpy())
    assert step.program.divided == ""


def test_a_counter_of_batches_is_part_of_the_program(backend: str) -> None:
    rg.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 8, bias=False), nn.BatchNorm1d(8), nn.ReLU(), nn.BatchNorm1d(8, momentum=None))
    optimizer = optim.SGD(model.parameters(), lr=0.05)

    @rg.compile
    def step(x: rg.Tensor) -> tuple[rg.Tensor, rg.Tensor]:
        out = model(x)
        loss = out.square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss, (out > 0).sum()

    x = np.random.default_rng(0).standard_normal((ROWS, 5), np.float32)
    counts = [step(x)[1].item() for _ in range(3)]
    assert step.program.divided == ""
    assert all(0 < count < ROWS * 8 for count in counts)
    assert [model[1].num_batches_tracked.item(), model[3].num_batches_tracked.item()] == [3, 3]
