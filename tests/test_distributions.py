"""Draws from distributions: their moments, their derivatives by the parameters, and that a seed makes them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import retrograd as rg
import retrograd.nn.functional as F

N = 100_000
EULER = 0.5772156649015329
MOMENTS: dict[str, tuple[Callable[..., rg.Tensor], float, float]] = {
    "normal": (rg.normal, 1.0, 2.0),
    "uniform": (lambda *p, **kw: rg.uniform(1.0, 3.0, **kw), 2.0, 1 / np.sqrt(3)),
    "gumbel": (rg.gumbel, 1.0 + 2.0 * EULER, 2.0 * np.pi / np.sqrt(6)),
}
"""Each with parameters (1, 2): how it is drawn, its mean and its standard deviation."""


@pytest.mark.parametrize("name", MOMENTS)
def test_moments(name: str, backend: str) -> None:
    draw, mean, std = MOMENTS[name]
    x = draw(1.0, 2.0, shape=N).numpy()
    assert x.dtype == np.float32
    assert abs(x.mean() - mean) < 5 * std / np.sqrt(N)
    assert abs(x.std() / std - 1) < 0.02


def test_draws_in_place(backend: str) -> None:
    weight = rg.nn.Parameter(rg.empty(4, 6))
    with pytest.raises(RuntimeError, match=r"normal_: in-place change of a leaf .* rg\.no_grad"):
        weight.normal_()
    with rg.no_grad():
        assert weight.normal_(1.0, 2.0, generator=rg.Generator(3)) is weight
        assert weight.grad_fn is None
        again = rg.compile(lambda: rg.zeros(4, 6).normal_(1.0, 2.0, generator=rg.Generator(3)))()
    assert weight.tolist() == (rg.randn(4, 6, generator=rg.Generator(3)) * 2.0 + 1.0).tolist() == again.tolist()
    part = rg.zeros(4, 6)
    part[1:3, ::2].uniform_(-1.0, -0.5)
    assert (part == 0).sum() == 18
    assert ((part[1:3, ::2] >= -1) & (part[1:3, ::2] <= -0.5)).all()
    x = rg.ones(3, requires_grad=True)
    y = (x * 2.0).uniform_()
    y.sum().backward()
    assert x.grad.tolist() == [0, 0, 0]
    for wrong, message in ((lambda: part.normal_(std=-1), "std is -1"), (lambda: part.uniform_(1, 0), "from_ <= to")):
        with pytest.raises(ValueError, match=message):
            wrong()
    with pytest.raises(TypeError, match="normal_: a tensor of int64 cannot hold drawn numbers"):
        rg.arange(3).normal_()


def test_classes_are_drawn_by_their_probabilities(backend: str) -> None:
    weights = rg.tensor([1.0, 0.0, 3.0, 4.0])
    for draw in (rg.multinomial, rg.compile(rg.multinomial)):
        found = draw(weights, 20_000, replacement=True).numpy()
        np.testing.assert_allclose(np.bincount(found, minlength=4) / len(found), weights / 8.0, atol=0.02)
        rows = draw(rg.stack([weights, weights.flip(0)]), 3).numpy()
        assert [sorted(row) for row in rows.tolist()] == [[0, 2, 3], [0, 1, 3]]
    first = [rg.multinomial(weights, 1).item() for _ in range(4000)]
    np.testing.assert_allclose(np.bincount(first, minlength=4) / 4000, weights / 8.0, atol=0.04)
    hits = rg.bernoulli(rg.tensor([[0.0], [0.3], [1.0]]) * rg.ones(3, 20_000))
    np.testing.assert_allclose(hits.mean(1), [0.0, 0.3, 1.0], atol=0.02)
    for wrong in (lambda: rg.multinomial(weights, 4), lambda: rg.multinomial(-weights, 1), lambda: rg.bernoulli([2.0])):
        with pytest.raises(ValueError, match=r"multinomial: expected probabilities >= 0|bernoulli: p has elements"):
            wrong()


@pytest.mark.parametrize("name", ["normal", "uniform", "gumbel"])
def test_derivatives_are_those_of_noise_moved_and_scaled(name: str, backend: str) -> None:
    a = rg.tensor([[1.0], [2.0]], requires_grad=True)
    b = rg.tensor([3.0, 4.0, 5.0], requires_grad=True)
    draw = getattr(rg, name)(a, b, generator=rg.Generator(1))
    noise = getattr(rg, name)(0.0, 1.0, shape=(2, 3), generator=rg.Generator(1)).numpy()
    draw.sum().backward()
    by_a, by_b = (1 - noise, noise) if name == "uniform" else (np.ones((2, 3)), noise)
    np.testing.assert_allclose(a.grad.numpy(), by_a.sum(1, keepdims=True), rtol=1e-5)
    np.testing.assert_allclose(b.grad.numpy(), by_b.sum(0), rtol=1e-5, atol=1e-5)


def test_normal_draws_what_randn_draws() -> None:
    drawn = rg.normal(shape=(3, 5), generator=rg.Generator(3)).numpy()
    np.testing.assert_array_equal(drawn, rg.randn(3, 5, generator=rg.Generator(3)).numpy())


@pytest.mark.parametrize("name", ["normal", "uniform", "gumbel"])
def test_compiled_steps_draw_anew(name: str, backend: str) -> None:
    loc = rg.tensor(np.zeros((4, 3), np.float32), requires_grad=True)

    def step(x: rg.Tensor) -> rg.Tensor:
        loc.grad = None
        y = (getattr(rg, name)(loc, 1.0) * x).sum()
        y.backward()
        return y

    x = rg.tensor(np.random.default_rng(0).random((4, 3), np.float32))
    rg.manual_seed(5)
    eager = [step(x).item() for _ in range(2)]
    rg.manual_seed(5)
    compiled = rg.compile(step)
    np.testing.assert_allclose([compiled(x).item() for _ in range(2)], eager, rtol=1e-4)
    assert eager[0] != eager[1]


def test_gumbel_softmax(backend: str) -> None:
    p = np.array([0.1, 0.2, 0.7])
    logits = rg.tensor(np.tile(np.log(p), (20_000, 1)), requires_grad=True)
    soft = F.gumbel_softmax(logits, tau=0.5, generator=rg.Generator(2))
    hard = F.gumbel_softmax(logits, tau=0.5, hard=True, generator=rg.Generator(2))
    np.testing.assert_allclose(soft.detach().numpy().sum(1), 1, rtol=1e-12)
    np.testing.assert_allclose(hard.detach().numpy(), np.eye(3)[soft.detach().numpy().argmax(1)], atol=1e-12)
    np.testing.assert_allclose(hard.detach().numpy().mean(0), p, atol=0.02)
    weights = rg.tensor([1.0, 2.0, 3.0], dtype="float64")
    (gradient,) = rg.autograd.grad((soft * weights).sum(), [logits])
    (straight,) = rg.autograd.grad((hard * weights).sum(), [logits])
    np.testing.assert_allclose(straight.numpy(), gradient.numpy(), rtol=1e-12)
    across = F.gumbel_softmax(rg.zeros(2, 3, 4), hard=True, dim=1).numpy()
    np.testing.assert_allclose(across.sum(1), 1)


def test_one_hot() -> None:
    np.testing.assert_array_equal(F.one_hot(np.array([[2, 0]]), 3).numpy(), np.eye(3, dtype=np.int64)[[[2, 0]]])


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="normal: the scale is negative"):
        rg.normal(0.0, -1.0)
    with pytest.raises(ValueError, match=r"uniform: parameters of shape \(3,\) do not broadcast to shape \(2,\)"):
        rg.uniform(rg.zeros(3), 1.0, shape=2)
    with pytest.raises(ValueError, match="gumbel_softmax: tau is 0"):
        F.gumbel_softmax(rg.zeros(3), tau=0)
