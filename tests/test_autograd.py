"""Derivatives of functions, in both modes and of any order; what they cost, and what they refuse."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

import retrograd as rg
from retrograd import nn
from retrograd.autograd import forward_ad


def f64(*values: Any) -> rg.Tensor:
    return rg.tensor(values[0] if len(values) == 1 else list(values), dtype="float64")


def leaf(*values: Any) -> rg.Tensor:
    return f64(*values).requires_grad_()


def close(found: Any, expected: Any, tolerance: float = 1e-10) -> None:
    found, expected = (t.detach().numpy() if isinstance(t, rg.Tensor) else np.asarray(t) for t in (found, expected))
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


def network(dtype: str = "float64") -> nn.Module:
    model = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 8), nn.Sigmoid(), nn.Linear(8, 1))
    return model.to(dtype)


# Derivatives of derivatives


def forward_derivative(f: Callable[[rg.Tensor], rg.Tensor]) -> Callable[[rg.Tensor], rg.Tensor]:
    return lambda x: rg.jvp(f, (x,), (rg.ones_like(x),))[1]


def derivatives_of_tanh(y: float) -> list[float]:
    """The first five at the place where tanh is y."""
    s = 1 - y * y
    return [
        s,
        -2 * y * s,
        s * (6 * y * y - 2),
        s * y * (16 - 24 * y * y),
        s * (120 * y**4 - 120 * y * y + 16),
    ]


@pytest.mark.parametrize("modes", ["rrrrr", "fffff", "rfrfr", "frfrf", "ffrrf"])
@given(x=st.floats(-3, 3))
def test_tanh_to_its_fifth_derivative(modes: str, x: float) -> None:
    """The example that HIPS autograd opens with; each derivative in the mode that the letter says."""
    f: Callable[[rg.Tensor], rg.Tensor] = rg.tanh
    for mode, expected in zip(modes, derivatives_of_tanh(float(np.tanh(x))), strict=True):
        f = rg.grad(f) if mode == "r" else forward_derivative(f)
        close(f(f64(x)), expected, 1e-9)


@pytest.mark.parametrize("inner", [rg.grad, forward_derivative])
@pytest.mark.parametrize("outer", [rg.grad, forward_derivative])
def test_derivatives_of_nested_functions_are_not_confused(inner: Any, outer: Any) -> None:
    """d/dx (x d/dy (x + y)) is 1, and d/dx (x d/dy (x y²)) at y = x is 4 x²: Siskind and Pearlmutter (2005)."""
    close(outer(lambda x: x * inner(lambda y: x + y)(f64(1.0)))(f64(1.0)), 1)
    close(outer(lambda x: x * inner(lambda y: x * y * y)(x))(f64(3.0)), 6 * 9.0)
    close(outer(lambda x: inner(lambda x: x**3)(x))(f64(2.0)), 12)


def test_all_orders_of_modes_give_one_hessian(backend: str) -> None:
    a = np.random.default_rng(0).standard_normal((4, 4))

    def f(x: rg.Tensor) -> rg.Tensor:
        return (rg.tanh(rg.from_numpy(a) @ x) * x).sum().square()

    x = f64(0.3, -0.2, 0.5, 0.1)
    expected = rg.hessian(f)(x)
    close(expected, expected.T)
    for first in ("forward", "reverse"):
        for second in ("forward", "reverse"):
            close(rg.jacobian(rg.jacobian(f, mode=first), mode=second)(x), expected)
    for v in np.eye(4):
        close(rg.hvp(f, x, rg.from_numpy(v)), expected.numpy() @ v)


def test_matrices_of_containers() -> None:
    x, p = f64(1.0, 2.0), {"w": f64([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), "b": [f64(0.0, 0.0, 1.0)]}

    def f(x: rg.Tensor, p: dict[str, Any]) -> tuple[rg.Tensor, dict[str, rg.Tensor]]:
        return p["w"] @ x + p["b"][0], {"twice": x * 2}

    for mode in ("forward", "reverse", "auto"):
        y, other = rg.jacobian(f, argnums=(0, 1), mode=mode)(x, p)
        close(y[0], p["w"])
        assert (y[1]["w"].shape, y[1]["b"][0].tolist()) == ((3, 3, 2), np.eye(3).tolist())
        close(other["twice"][0], 2 * np.eye(2))
        close(other["twice"][1]["w"], np.zeros((2, 3, 2)))
    blocks = rg.hessian(lambda x, y: (x * y).sum(), argnums=(0, 1))(x, x)
    close(blocks[0][1], np.eye(2))
    close(blocks[0][0], np.zeros((2, 2)))


# The functional face


def test_arguments_values_and_what_goes_with_them() -> None:
    def loss(params: Any, x: Any, scale: float = 1.0) -> tuple[rg.Tensor, dict[str, Any]]:
        y = params[0]["w"] * x + params[1]
        return (y * y).sum() * scale, {"y": y, "name": "loss"}

    params = ({"w": f64(2.0)}, f64(1.0))
    (value, aux), gradient = rg.value_and_grad(loss, has_aux=True)(params, np.array([1.0, 2.0]), scale=10.0)
    assert (value.item(), aux["y"].tolist(), aux["name"]) == (340, [3, 5], "loss")
    assert (gradient[0]["w"].item(), gradient[1].item()) == (260, 160)
    gradient, aux = rg.grad(loss, argnums=(1, 0), has_aux=True)(params, np.array([1.0, 2.0]))
    assert (gradient[0].tolist(), gradient[1][1].item()) == ([12, 20], 16)
    for tensor in (value, aux["y"], *gradient[:1], gradient[1][0]["w"]):
        assert (tensor.requires_grad, tensor.is_leaf) == (False, True)
    assert rg.grad(lambda x: x * x)(3.0).item() == 6
    assert rg.grad(lambda x, y: y)(f64(1.0), f64(2.0)).item() == 0  # what nothing hangs on


def test_pulls_and_pushes_can_be_used_again() -> None:
    x, y = f64(1.0, 2.0), f64(3.0, 4.0)
    f = lambda x, y: {"product": x * y, "sum": (x + y).sum()}  # noqa: E731
    value, pull = rg.vjp(f, x, y)
    assert not value["product"].requires_grad
    for scale in (1.0, 2.0):
        gx, gy = pull({"product": rg.ones_like(x) * scale, "sum": f64(scale)})
        close(gx, scale * (y.numpy() + 1))
        close(gy, scale * (x.numpy() + 1))
    value, push, aux = rg.linearize(lambda x, y: (f(x, y), "aux"), x, y, has_aux=True)
    assert aux == "aux"
    for scale in (1.0, 2.0):
        made = push(rg.ones_like(x) * scale, rg.zeros_like(y))
        close(made["product"], scale * y.numpy())
        close(made["sum"], 2 * scale)


def test_functions_know_what_is_around_them(backend: str) -> None:
    """What a function refers to beside its arguments gets its gradient where something around asks for it."""
    model, x = network(), rg.from_numpy(np.random.default_rng(0).standard_normal((5, 3)))

    def slope(x: rg.Tensor) -> rg.Tensor:
        return rg.grad(lambda x: model(x).sum())(x)

    def squared_slope() -> rg.Tensor:
        return slope(x).square().sum()

    def gradients() -> list[np.ndarray]:
        return [np.zeros(p.shape) if p.grad is None else p.grad.numpy() for p in model.parameters()]

    squared_slope().backward()
    found = gradients()
    model.zero_grad()
    tangents = [rg.tensor(np.tile(v, (5, 1))) for v in np.eye(3)]
    sum((rg.jvp(model, (x,), (t,))[1].square().sum() for t in tangents), f64(0.0)).backward()
    for a, b in zip(found, gradients(), strict=True):
        close(a, b)
    first = next(iter(model.parameters()))
    rng = np.random.default_rng(1)
    with rg.no_grad():
        direction = rg.from_numpy(rng.standard_normal(first.shape))
        values = []
        for step in (1e-5, -1e-5):
            first += direction * step
            values.append(squared_slope().item())
            first -= direction * step
        assert not slope(x).requires_grad
    close((found[0] * direction.numpy()).sum(), (values[0] - values[1]) / 2e-5, 1e-6)


def test_the_stand_ins_leave_nothing_behind() -> None:
    """Graphs of a call are freed after it; and what is around goes on as if the inputs had asked for no gradient."""
    gc.collect()
    gc.disable()
    try:
        w, x = leaf(1.0, 2.0), f64(3.0, 4.0)
        seen = []

        def f(x: rg.Tensor) -> rg.Tensor:
            y = (w * x).exp()
            seen.append(weakref.ref(y.grad_fn))
            return y.sum()

        g = rg.grad(f)(x)
        rg.jvp(f, (x,), (x,))
        rg.hvp(f, x, x)
        names: set[int] = set()
        stack = [g.grad_fn]
        while stack:
            node = stack.pop()
            for p in node.inputs:
                if isinstance(p, tuple):
                    stack.append(p[0])
                elif p is not None:
                    names.add(id(p))
        assert names == {id(w)}
        del g, node, stack, p
        assert [r() for r in seen] == [None] * len(seen)
        assert x.grad is None
    finally:
        gc.enable()


def test_stop_gradient() -> None:
    x = f64(3.0)
    assert rg.grad(lambda x: x * rg.stop_gradient({"x": x})["x"])(x).item() == 3
    assert rg.jvp(lambda x: x * rg.stop_gradient(x), (x,), (x,))[1].item() == 9


# autograd.grad


def test_only_what_leads_to_the_inputs_is_calculated(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = network(), leaf([[1.0, 2.0, 3.0]])
    asked = []
    backward = rg.kernels.linear_backward.reference

    def counted(g: Any, x: Any, w: Any, y: Any, activation: str, dx: bool, dw: bool, db: bool) -> Any:
        asked.append((dx, dw, db))
        return backward(g, x, w, y, activation, dx, dw, db)

    monkeypatch.setattr(rg.kernels.spec.active, "linear_backward", counted)
    rg.autograd.grad(model(x).sum(), x)
    assert asked == [(True, False, False)] * 3
    assert x.grad is None
    assert all(p.grad is None for p in model.parameters())


def test_gradients_by_what_ops_made() -> None:
    w = leaf(1.0, 2.0)
    h = w.exp()
    seen: list[list[float]] = []
    h.register_hook(lambda g: seen.append(g.tolist()))
    y = (h * h * w).sum()
    gh, gw, gy = rg.autograd.grad(y, [h, w, y], retain_graph=True)
    expected = 2 * h.detach().numpy() * w.detach().numpy()
    close(gh, expected)
    close(gw, expected * h.detach().numpy() + h.detach().numpy() ** 2)
    assert (gy.item(), len(seen)) == (1, 1)
    (gh,) = rg.autograd.grad(y, h)  # frees what leads to h, and leaves what h was made of
    h.backward(gh)
    close(w.grad, expected * h.detach().numpy())
    unused = leaf(1.0)
    assert rg.autograd.grad(w.sum(), [w, unused], allow_unused=True)[1] is None
    assert rg.autograd.grad(w.sum(), [w, unused], materialize_grads=True)[1].tolist() == 0


# Dual tensors


def test_dual_tensors() -> None:
    x, w = f64(1.0, 2.0), leaf(3.0, 4.0)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(x, f64(1.0, 0.0))
        y = dual * w
        primal, tangent = forward_ad.unpack_dual(y)
        close(tangent, [3, 0])
        z = (y * y).sum()
        assert forward_ad.unpack_dual(z).tangent.item() == 2 * 3 * 3
        assert forward_ad.unpack_dual(w).tangent is None
        tangent.sum().backward()
        close(w.grad, [1, 0])
        with rg.no_grad():
            assert forward_ad.unpack_dual(dual).tangent.tolist() == [1, 0]
    with forward_ad.dual_level():
        outer = forward_ad.make_dual(f64(2.0), f64(1.0))
        with forward_ad.dual_level():
            inner = forward_ad.make_dual(outer, f64(1.0))
            slope = forward_ad.unpack_dual(inner**3).tangent
        assert slope.item() == 12
        assert forward_ad.unpack_dual(slope).tangent.item() == 12
    with pytest.raises(RuntimeError, match=r"unpack_dual: .*dual_level\(\)"):
        forward_ad.unpack_dual(x)
