"""Derivatives of functions, in both modes and of any order; what they cost, and what they refuse."""

from __future__ import annotations

import doctest
import gc
import importlib
import pkgutil
import subprocess
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

import retrograd as rg
import retrograd.nn.functional as F
from retrograd import nn, optim
from retrograd.autograd import forward_ad
from retrograd.program.containers import map_arrays


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


# Forward mode as the function runs, against what was recorded and swept afterwards


WEIGHT = leaf(1.0, -2.0)


class Squared(rg.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: rg.Tensor) -> rg.Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx: Any, g: rg.Tensor) -> rg.Tensor:
        return g * 2 * ctx.saved_tensors[0]

    @staticmethod
    def jvp(ctx: Any, t: rg.Tensor) -> rg.Tensor:
        return t * 2 * ctx.saved_tensors[0]


def changes_in_place(x: rg.Tensor) -> rg.Tensor:
    y = x * 2
    y += x
    y[:1] *= 3
    y[1] = x.sum()
    return y * x


def swept_by_its_own_argument(x: rg.Tensor) -> rg.Tensor:
    y = x.exp() * x
    return rg.autograd.grad((y * y).sum(), x, create_graph=True)[0]


def swept_by_a_parameter(x: rg.Tensor) -> rg.Tensor:
    w = (x.detach() * 3).requires_grad_()
    return rg.autograd.grad((w * x.sin() * w).sum(), w, create_graph=True)[0]


def swept_to_its_leaves(x: rg.Tensor) -> rg.Tensor:
    w = rg.ones_like(x).requires_grad_()
    (x.exp() * w).sum().backward(create_graph=True)
    return w.grad * x


def dual(x: rg.Tensor) -> rg.Tensor:
    y = x * x
    with forward_ad.dual_level():
        made = forward_ad.unpack_dual(forward_ad.make_dual(y, x).exp() * y)
        return made.primal + made.tangent


def partly_unrecorded(x: rg.Tensor) -> rg.Tensor:
    with rg.no_grad():
        y = x * x
    return y * x + x.detach() * x.argmax() + rg.stop_gradient(x.exp())


@rg.custom_jvp
def cubed(x: rg.Tensor) -> rg.Tensor:
    return x**3


cubed.defjvp(lambda primals, tangents: (primals[0] ** 3, 3 * primals[0] ** 2 * tangents[0]))

CARRIED: dict[str, Callable[[rg.Tensor], Any]] = {
    "nothing": lambda x: x,
    "a constant": lambda x: (f64(3.0), x.sum()),
    "elementwise": lambda x: (x.exp() * x / (1 + x * x)).tanh().sum(),
    "containers": lambda x: {"a": x[0], "b": [x * x[1], x.sort()[0]]},
    "linear": lambda x: F.linear(x.reshape(1, 2), x.reshape(1, 2) * 2, x[:1], "tanh"),
    "without rows": lambda x: F.linear(x.reshape(1, 2), f64([[1.0, 2.0]]), x[:1], "relu"),
    "the bias alone": lambda x: F.linear(f64([[1.0, 2.0]]), f64([[1.0, 2.0]]), x[:1], "sigmoid"),
    "several outputs": lambda x: rg.linalg.slogdet(x.reshape(1, 2).T @ x.reshape(1, 2) + rg.eye(2, dtype="float64")),
    "in place": changes_in_place,
    "its parameters": lambda x: (x * WEIGHT).exp() * x,
    "its parameters late": lambda x: (x.exp() * x).sin() * WEIGHT,
    "its parameters beside": lambda x: ((x * x).exp(), WEIGHT * 2, x.exp() * WEIGHT),
    "swept by its own argument": swept_by_its_own_argument,
    "swept by a parameter": swept_by_a_parameter,
    "swept to its leaves": swept_to_its_leaves,
    "a gradient": lambda x: rg.grad(lambda z: ((z * x).exp() * z).sum())(x * x),
    "a pull": lambda x: rg.vjp(lambda z: z * x, x.sin())[1](x)[0],
    "a push": lambda x: rg.linearize(lambda z: z * z * x, x.sin())[1](x),
    "a jvp": lambda x: rg.jvp(lambda z: (z * x).exp() * z, (x * x,), (x,)),
    "a jvp of constants": lambda x: rg.jvp(lambda z: (z * x).exp() * z, (f64(1.0, 2.0),), (f64(3.0, 1.0),)),
    "an hvp": lambda x: rg.hvp(lambda z: ((z * x).exp() * z).sum(), x * x, x),
    "a Jacobian": lambda x: rg.jacobian(lambda z: (z * x).exp() * z, mode="forward")(x),
    "a checkpoint": lambda x: rg.checkpoint(lambda z: (z * x).exp() * WEIGHT, x * x),
    "dual tensors": dual,
    "own ops": lambda x: cubed(Squared.apply(x * x)).exp(),
    "partly unrecorded": partly_unrecorded,
    "a compiled step": lambda x: rg.compile(lambda z: (z * z).exp())(x.detach()) * x,
}


@pytest.mark.parametrize("name", CARRIED)
def test_tangents_carried_along_are_those_of_a_sweep(name: str, backend: str) -> None:
    f, x, t = CARRIED[name], f64(0.25, -0.5), f64(1.0, 2.0)

    def swept(x: rg.Tensor, t: rg.Tensor) -> tuple[Any, Any]:
        value, push = rg.linearize(f, x)
        return value, push(t)

    def carried(x: rg.Tensor, t: rg.Tensor) -> tuple[Any, Any]:
        return rg.jvp(f, (x,), (t,))

    def arrays(value: Any) -> list[rg.Tensor]:
        found: list[rg.Tensor] = []
        map_arrays(found.append, value)
        return found

    def by_all(run: Callable[..., Any]) -> list[rg.Tensor]:
        """The value and the tangent, and their derivatives by what is around."""
        made = arrays(run(x, t))
        with rg.no_grad():
            made += arrays(run(x, t))
            assert not any(y.requires_grad for y in made[len(made) // 2 :])
        made += arrays(rg.jvp(lambda x: run(x, x * t), (x,), (t,)))
        hanging = [y for y in made if y.requires_grad]
        if hanging:
            made += rg.autograd.grad(sum((y * y).sum() for y in hanging), WEIGHT, materialize_grads=True)
        given = x.detach().requires_grad_()
        total = sum((y * y).sum() for y in arrays(run(given, t)))
        return [*made, *rg.autograd.grad(total, given, materialize_grads=True)] if total.requires_grad else made

    for found, expected in zip(by_all(carried), by_all(swept), strict=True):
        close(found, expected)


def test_what_is_carried_along_is_freed_as_the_function_goes_on() -> None:
    gc.collect()
    gc.disable()
    try:
        seen: list[weakref.ref[Any]] = []

        def f(x: rg.Tensor) -> rg.Tensor:
            for _ in range(5):
                x = x.sin()
                alive = [r for r in seen if r() is not None]
                assert len(alive) <= 1  # the one that `x` was until now
                seen.append(weakref.ref(x.array))
            return x

        rg.jvp(f, (f64(1.0, 2.0),), (f64(1.0, 2.0),))
        assert [r() for r in seen] == [None] * 5
    finally:
        gc.enable()


def test_what_was_carried_along_has_no_history_afterwards() -> None:
    kept = []

    def f(x: rg.Tensor) -> rg.Tensor:
        kept.append(x.exp())
        return x

    rg.jvp(f, (f64(1.0),), (f64(1.0),))
    with pytest.raises(RuntimeError, match=r"exp ran in a function that rg\.jvp differentiated"):
        kept[0].backward()


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
    close(rg.compile(rg.hessian(f))(x), expected)


@pytest.mark.parametrize("activation", [None, "relu", "tanh", "sigmoid", "gelu"])
def test_hessian_vector_products_of_layers(backend: str, activation: str | None) -> None:
    """By all the weights and by each alone, in three ways, compiled, and with a history."""
    random = np.random.default_rng(0)
    draw = lambda *shape: rg.from_numpy(random.standard_normal(shape))  # noqa: E731
    x, y = draw(6, 3), draw(6, 2)
    weights, direction = ({"v": draw(4, 3), "b": draw(4), "w": draw(2, 4)} for _ in range(2))

    def loss(p: Any) -> rg.Tensor:
        return F.mse_loss(F.linear(F.linear(x, p["v"], p["b"], activation), p["w"]), y)

    def along(g: Any, t: Any) -> rg.Tensor:
        return sum(((g[name] * t[name]).sum() for name in g), f64(0.0).sum())

    chosen = [list(weights), *([name] for name in weights)]
    for names in chosen:
        p, t = ({name: tensors[name] for name in names} for tensors in (weights, direction))
        f = lambda p: loss(weights | p)  # noqa: E731
        product = lambda p, t: rg.hvp(f, p, t)  # noqa: B023, E731
        expected = rg.grad(lambda p: along(rg.grad(f)(p), t))(p)  # noqa: B023
        forward = rg.jvp(rg.grad(f), (p,), (t,))[1]
        recorded = rg.hvp(f, {name: q.clone().requires_grad_() for name, q in p.items()}, t)
        for found in (product(p, t), rg.compile(product)(p, t), forward, recorded):
            for name in names:
                close(found[name], expected[name])
        third = rg.grad(lambda p: along(product(p, t), t))(p)  # noqa: B023
        for name, q in rg.jvp(lambda p: rg.grad(lambda p: along(rg.grad(f)(p), t))(p), (p,), (t,))[1].items():  # noqa: B023
            close(third[name], q)


def test_floats_in_containers_are_differentiated_by() -> None:
    assert rg.grad(lambda p: p["a"] ** 2 * p["n"])({"a": 3.0, "n": 2})["a"].item() == 12


def test_a_rule_may_call_its_own_function() -> None:
    @rg.custom_vjp
    def f(x: rg.Tensor) -> rg.Tensor:
        return x**3

    def fwd(x: rg.Tensor) -> tuple[rg.Tensor, tuple[rg.Tensor, rg.Tensor]]:
        y = f(x)
        return y, (x, y)

    f.defvjp(fwd, lambda saved, g: (5 * saved[1] / saved[0] * g,))  # the rule says 5 x^2
    x = f64(2.0)
    y, g = rg.value_and_grad(f)(x)
    assert (y.item(), g.item()) == (8, 20)
    assert rg.compile(rg.grad(f))(x).item() == 20
    second = 5 * (20 / 2 - 8 / 4)  # of 5 f(x) / x, f being differentiated by its rule
    assert rg.grad(rg.grad(f))(x).item() == rg.compile(rg.grad(rg.grad(f)))(x).item() == second


def test_tangents_in_dicts_go_by_their_keys() -> None:
    def f(p: dict[str, rg.Tensor]) -> rg.Tensor:
        return p["a"] ** 2 * p["b"]

    def both(p: dict[str, rg.Tensor], v: dict[str, rg.Tensor]) -> tuple[rg.Tensor, rg.Tensor]:
        return rg.jvp(f, (p,), (v,))

    p, v = {"a": f64(2.0), "b": f64(5.0)}, {"b": f64(1.0), "a": f64(10.0)}
    for tangent in (both(p, v)[1], rg.compile(both)(p, v)[1], rg.linearize(f, p)[1](v)):
        assert tangent.item() == 204
    product = rg.hvp(f, p, v)
    assert (product["a"].item(), product["b"].item()) == (104, 40)
    _, pull = rg.vjp(lambda x: {"a": x, "b": 3 * x}, f64(1.0))
    assert pull({"b": f64(10.0), "a": f64(1.0)})[0].item() == 31


def test_wide_matrices_are_made_of_several_sweeps() -> None:
    a = np.random.default_rng(0).standard_normal((150, 70))

    def f(x: rg.Tensor) -> tuple[rg.Tensor, rg.Tensor]:
        ascending = (rg.from_numpy(a) @ x).sort()[0]
        y = ascending.clone()
        y[::2] = ascending[1::2] * 2
        y[0] = 3.0
        return y, x[:0]

    x = rg.from_numpy(np.random.default_rng(1).standard_normal(70))
    forward, reverse = (rg.jacobian(f, mode=mode)(x) for mode in ("forward", "reverse"))
    close(forward[0], reverse[0])
    assert [m.shape for m in reverse] == [(150, 70), (0, 70)]
    order = np.argsort(a @ x.numpy())
    close(forward[0][1::2], a[order][1::2])
    close(forward[0][2::2], 2 * a[order][3::2])
    close(forward[0][0], np.zeros(70))


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

    def counted(*given: Any) -> Any:
        asked.append(given[-3:])
        return backward(*given)

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
        _, tangent = forward_ad.unpack_dual(y)
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


# Checking


def test_check_grad_passes_what_is_right(backend: str) -> None:
    a = np.random.default_rng(0).standard_normal((3, 2))
    assert rg.check_grad(lambda x, w: {"y": [rg.tanh(x @ w["w"]).sum(0), (x * x).mean()]}, a.T, {"w": a}, order=2)
    assert rg.check_grad(lambda n, x: x**n, 3, 2.0, order=2, modes=("reverse",))


class WrongCube(rg.autograd.Function):
    """Right at first order, but for one element; wrong at second."""

    @staticmethod
    def forward(ctx: Any, x: rg.Tensor) -> rg.Tensor:
        ctx.save_for_backward(x)
        return x * x * x

    @staticmethod
    def backward(ctx: Any, g: rg.Tensor) -> rg.Tensor:
        (x,) = ctx.saved_tensors
        return g * rg.stop_gradient(3 * x * x + (x == 2.0).double())


def test_check_grad_reports_what_is_wrong() -> None:
    x = f64([[1.0, 3.0], [0.5, 2.0]])
    report = (
        r"check_grad: apply: 1 of 8 derivatives differ from finite differences:\n"
        r"  derivative, reverse: input 1 at \[1, 1\]: 1[0-9.]+, by finite differences 1[0-9.]+, difference [0-9.]+"
    )

    def apply(y: rg.Tensor, x: rg.Tensor) -> rg.Tensor:
        return WrongCube.apply(x) * y

    with pytest.raises(rg.GradientMismatch, match=report) as caught:
        rg.check_grad(apply, x, x, modes=("reverse",))
    (deviation,) = caught.value.deviations
    assert (deviation.input, deviation.index, deviation.mode, deviation.order) == (1, (1, 1), "reverse", 1)
    assert deviation.difference == pytest.approx(abs(deviation.found - deviation.expected))
    with pytest.raises(AssertionError, match="second derivative, reverse over reverse: input 0"):
        rg.check_grad(WrongCube.apply, f64([1.0, 3.0]), order=2, modes=("reverse",))


# Anomalies


class LogOfNothing(nn.Module):
    def forward(self, x: rg.Tensor) -> rg.Tensor:
        return rg.log(x - x)


def raises_anomaly(match: str) -> Any:
    return pytest.raises(FloatingPointError, match=match)


def test_anomalies_name_op_layer_and_line(backend: str) -> None:
    x = leaf(1.0, 0.0)
    model = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Tanh(), LogOfNothing()))
    with rg.detect_anomaly():
        (x * 2).exp().sum().backward()
        with raises_anomaly(r"forward: log of \(1, 2\) gave 2 infinite of 2, first at \[0, 0\]; in layer 1\.1 "):
            model(rg.ones(1, 2))
        with raises_anomaly(r"\(LogOfNothing\) of Sequential, at .*test_autograd.py:\d+: return rg\.log\(x - x\)"):
            model(rg.ones(1, 2))
        with raises_anomaly(
            r"multiply of \(2,\), \(\) gave 1 NaN of 2, first at \[1\]; .*; operand 0 came in with 1 NaN"
        ):
            f64(1.0, np.nan) * 2
        y = x.sqrt()  # the line at fault
        for create_graph in (False, True):
            with raises_anomaly(
                r"backward: <sqrt of \(2,\)> .*operand 0 1 infinite .*first at \[1\]; the op was at .*fault"
            ):
                y.sum().backward(retain_graph=True, create_graph=create_graph)
        with raises_anomaly("<sqrt of"):
            rg.grad(lambda x: x.sqrt().sum())(x)
        with raises_anomaly(r"forward mode: <sqrt of \(2,\)> gave the tangent of output 0 1 infinite .*first at \[1\]"):
            rg.jvp(rg.sqrt, (x.detach(),), (f64(1.0, 1.0),))
    assert x.grad.tolist() == [2 * np.exp(2), 2]
    with rg.detect_anomaly(infinite=False):
        assert rg.log(f64(0.0)).item() == -np.inf
        with raises_anomaly("log of .* 1 NaN"):
            rg.log(f64(-1.0))
    rg.log(f64(-1.0))


def test_anomalies_in_compiled_steps_are_found_op_by_op() -> None:
    w = leaf(1.0)

    @rg.compile
    def step(x: rg.Tensor) -> rg.Tensor:
        loss = (w * x).log().sum()
        loss.backward()
        return loss

    assert step(f64(1.0)).item() == 0
    with rg.detect_anomaly(), raises_anomaly(r"forward: log .*at .*loss = \(w \* x\)\.log"):
        step(f64(0.0))


# Own ops


class Scaled(rg.autograd.Function):
    """(x * scale, the sign of x, which is constant); the derivative reads a result."""

    @staticmethod
    def forward(ctx: Any, x: rg.Tensor, scale: float, unused: rg.Tensor) -> tuple[rg.Tensor, rg.Tensor]:
        y, s = (x * scale).exp(), rg.sign(x)
        ctx.save_for_backward(y, None)
        ctx.mark_non_differentiable(s)
        ctx.scale = scale
        return y, s

    @staticmethod
    def backward(ctx: Any, g: rg.Tensor, _: rg.Tensor) -> tuple[Any, ...]:
        y, nothing = ctx.saved_tensors
        assert nothing is None
        assert ctx.needs_input_grad == (True, False, False)
        return g * y * ctx.scale, None, None

    @staticmethod
    def jvp(ctx: Any, t: rg.Tensor, scale: None, unused: None) -> tuple[Any, Any]:
        return t * ctx.saved_tensors[0] * ctx.scale, None


def scaled(x: rg.Tensor) -> rg.Tensor:
    return Scaled.apply(x, 0.5, f64(1.0))[0]


@rg.custom_vjp
def custom_reverse(x: rg.Tensor, other: dict[str, rg.Tensor]) -> rg.Tensor:
    return (x * other["scale"]).exp()


def _forward(x: rg.Tensor, other: dict[str, rg.Tensor]) -> tuple[rg.Tensor, Any]:
    y = (x * other["scale"]).exp()
    return y, (y, x, other)


custom_reverse.defvjp(
    _forward, lambda saved, g: (g * saved[0] * saved[2]["scale"], {"scale": (g * saved[0] * saved[1]).sum()})
)


@rg.custom_jvp
def custom_both(x: rg.Tensor, scale: rg.Tensor) -> tuple[rg.Tensor, rg.Tensor]:
    y = (x * scale).exp()
    return y, x * 1


def _rule(primals: Any, tangents: Any) -> Any:
    y, same = custom_both(*primals)
    return (y, same), (y * (tangents[0] * primals[1] + primals[0] * tangents[1]), tangents[0])


custom_both.defjvp(_rule)

OWN: dict[str, tuple[Callable[[rg.Tensor], rg.Tensor], tuple[str, ...]]] = {
    "Function": (scaled, ("forward", "reverse")),
    "custom_vjp": (lambda x: custom_reverse(x, {"scale": f64(0.5)}), ("reverse",)),
    "custom_jvp": (lambda x: custom_both(x, f64(0.5))[0], ("forward", "reverse")),
}


@pytest.mark.parametrize("name", OWN)
def test_own_ops(name: str, backend: str) -> None:
    own, modes = OWN[name]
    x = f64(0.3, -0.7)
    close(own(x), np.exp(0.5 * x.numpy()))
    assert rg.check_grad(own, x, order=2, modes=modes)

    def step(x: rg.Tensor) -> tuple[rg.Tensor, rg.Tensor]:
        return own(x), rg.grad(lambda x: rg.grad(lambda x: own(x).sum())(x).sum())(x)

    for found, expected in zip(rg.compile(step)(x), step(x), strict=True):
        close(found, expected)
    node = own(leaf(0.3, -0.7)).grad_fn
    assert node.name == {"Function": "Scaled", "custom_vjp": "custom_reverse", "custom_jvp": "custom_both"}[name]


def test_own_ops_by_all_their_arguments() -> None:
    x, scale = f64(0.3, -0.7), f64(0.5)
    assert rg.check_grad(lambda x, s: custom_reverse(x, {"scale": s}), x, scale, order=2, modes=("reverse",))
    assert rg.check_grad(custom_both, x, scale, order=2)
    times = rg.custom_vjp(lambda n, x: x * n, nondiff_argnums=(0,))
    times.defvjp(lambda n, x: (x * n, None), lambda n, _, g: (g * n,))
    assert rg.grad(lambda x: times(3, x).sum())(x).tolist() == [3, 3]


def test_what_own_ops_saved_must_not_change_and_is_freed() -> None:
    x = leaf(1.0, 2.0) * 1
    y = WrongCube.apply(x)
    with rg.no_grad():
        x += 1
    with pytest.raises(RuntimeError, match=r"<WrongCube of \(2,\)> needs a tensor .* changed in place"):
        y.sum().backward()
    gc.collect()
    gc.disable()
    try:
        for own, _ in OWN.values():
            y = own(leaf(1.0, 2.0))
            rg.autograd.grad(y.sum(), y, create_graph=True)
            alive = [weakref.ref(y.grad_fn), weakref.ref(y)]
            del y
            assert [r() for r in alive] == [None, None]
    finally:
        gc.enable()


# Memory


@pytest.mark.parametrize("compiled", [False, True])
def test_checkpoints_change_nothing_but_the_memory(compiled: bool, backend: str) -> None:
    """Parameters that f refers to get their gradients, and dropout draws the same mask again."""
    x = rg.from_numpy(np.random.default_rng(0).standard_normal((6, 3)))
    found = []
    for kept in (lambda f, *args: f(*args), rg.checkpoint):
        rg.manual_seed(0)
        model = nn.Sequential(network(), nn.Dropout(0.5))
        hidden = nn.Linear(3, 3).double()

        def step(x: rg.Tensor, model: Any = model, hidden: Any = hidden, kept: Any = kept) -> rg.Tensor:
            for part in (model, hidden):
                part.zero_grad()
            h = hidden(x)
            loss = kept(lambda x, scale: (model(x + h) * scale).square().sum(), h * 2, 3.0)
            loss.backward()
            return loss

        loss = (rg.compile(step) if compiled else step)(x)
        found.append([loss, *(p.grad for part in (model, hidden) for p in part.parameters())])
    for a, b in zip(*found, strict=True):
        close(a, b)


def test_checkpoints_can_be_differentiated_again_and_keep_no_arrays() -> None:
    w = f64(0.5, -0.3)
    f = lambda x: rg.checkpoint(lambda x: (x * w).tanh().square(), x)  # noqa: E731
    assert rg.check_grad(f, f64(1.0, 2.0), order=2)
    curve = lambda run: lambda x: (lambda h: run(lambda x: (x * h).exp().sum(), x))(x.sin())  # noqa: E731
    given = f64(1.0, 2.0), f64(3.0, 4.0)
    close(rg.hvp(curve(rg.checkpoint), *given), rg.hvp(curve(lambda f, x: f(x)), *given))
    runs = []
    x = leaf(1.0, 2.0)
    y = rg.checkpoint(lambda x: runs.append(x.exp()) or runs[-1].exp(), x)
    held = weakref.ref(runs.pop().array)
    assert held() is None
    assert [a is x.array for a in y.grad_fn.arrays] == [True]
    y.sum().backward()
    assert len(runs) == 1
    with rg.no_grad():
        assert not rg.checkpoint(rg.exp, x).requires_grad


# Rows


def losses_of_a_row() -> dict[str, Callable[[Any, rg.Tensor, rg.Tensor], rg.Tensor]]:
    """Between them they call the kernels that have a rule for many rows, and some that have none."""

    def by_hand(p: list[rg.Tensor], x: rg.Tensor, y: rg.Tensor) -> rg.Tensor:
        h = rg.gelu(x @ p[0].T + p[1])
        both = rg.stack([h, h * 2])[:, ::2]
        return (both.softmax(1).T @ both).logsumexp((0, 1)) + rg.maximum(h, 0.1).max() + (p[1][1:] * h[:-1]).mean()

    def gathered(p: list[rg.Tensor], x: rg.Tensor, y: rg.Tensor) -> rg.Tensor:
        h = rg.linear(x.reshape(1, 3), p[0], p[1], activation="tanh")
        return (h[0][np.array([0, 2, 2])] * rg.cat([x[1:], p[1][:1]])).sum() + rg.cumsum(h[0], 0).square().sum()

    return {
        "by hand": by_hand,
        "gathered": gathered,
        "classes": lambda p, x, y: F.cross_entropy(rg.linear(x, p[0], p[1], activation="relu"), y),
        "numbers": lambda p, x, y: F.huber_loss(rg.linear(x, p[0], p[1]), rg.where(x[0] > 0, p[1], 1.0)) + p[0].sum(),
        "parameters alone": lambda p, x, y: p[0].square().sum(),
    }


@pytest.mark.parametrize("name", losses_of_a_row())
@pytest.mark.parametrize("compiled", [False, True])
def test_gradients_of_each_row(name: str, compiled: bool, backend: str) -> None:
    loss = losses_of_a_row()[name]
    rng = np.random.default_rng(0)
    params = [rg.from_numpy(rng.standard_normal(s)) for s in ((4, 3), (4,))]
    x, y = rg.from_numpy(rng.standard_normal((5, 3))), rg.from_numpy(rng.integers(0, 4, 5))
    batched = lambda *given: rg.per_sample_grad(loss, *given)  # noqa: E731
    found = (rg.compile(batched) if compiled else batched)(params, x, y)
    rows = [rg.grad(loss)(params, x[i], y[i]) for i in range(5)]
    for n, g in enumerate(found):
        close(g, np.stack([row[n].numpy() for row in rows]))
        assert g.numpy().flags.writeable


@pytest.mark.parametrize("name", losses_of_a_row())
@pytest.mark.parametrize("compiled", [False, True])
def test_gradients_of_each_row_can_be_differentiated(name: str, compiled: bool, backend: str) -> None:
    """By the parameters, by the data, and by what the loss uses beside them; in both modes, and again."""
    loss = losses_of_a_row()[name]
    rng = np.random.default_rng(0)
    params = [rg.from_numpy(rng.standard_normal(s)) for s in ((4, 3), (4,))]
    x, y = rg.from_numpy(rng.standard_normal((3, 3))), rg.from_numpy(rng.integers(0, 4, 3))
    given, moved = (params, x, f64(1.5)), ([rg.ones_like(p) for p in params], x * x, f64(-0.5))

    def at_once(params: Any, x: rg.Tensor, scale: rg.Tensor) -> Any:
        twice = scale * 2
        scaled = lambda p, x, y: loss(p, x * scale, y) * twice  # noqa: E731
        return rg.per_sample_grad(scaled, params, x, y, create_graph=True)

    def one_by_one(params: Any, x: rg.Tensor, scale: rg.Tensor) -> Any:
        scaled = lambda p, x, y: loss(p, x * scale, y) * (scale * 2)  # noqa: E731
        rows = [rg.grad(scaled)(params, x[i], y[i]) for i in range(3)]
        return [rg.stack(list(part)) for part in zip(*rows, strict=True)]

    def derivatives(gradients: Callable[..., Any]) -> list[rg.Tensor]:
        def measure(*given: Any) -> rg.Tensor:
            return sum((g.square() * g).sum() for g in gradients(*given))

        def by_all(*given: Any) -> Any:
            first = rg.grad(measure, argnums=(0, 1, 2))(*given)
            return first if compiled else (first, rg.jvp(gradients, given, moved), rg.hvp(measure, given, moved))

        found: list[rg.Tensor] = []
        map_arrays(found.append, (rg.compile(by_all) if compiled else by_all)(*given))
        return found

    for found, expected in zip(derivatives(at_once), derivatives(one_by_one), strict=True):
        close(found, expected)


def test_gradients_of_rows_draw_again_what_they_drew() -> None:
    w, x = leaf(1.0, 2.0, 3.0), rg.ones(4, 3, dtype="float64")
    rg.manual_seed(0)
    rows = rg.per_sample_grad(lambda w, x: F.dropout(w * x, 0.5).square().sum(), w, x, create_graph=True)
    rg.rand(5)
    assert 0 < np.count_nonzero(rows.detach().numpy()) < rows.size
    close(rg.autograd.grad(rows.sum(), w)[0], (rows.detach() / w.detach()).sum(0))


def test_rows_of_a_model() -> None:
    model = network()
    params = dict(model.named_parameters())
    x = rg.from_numpy(np.random.default_rng(0).standard_normal((5, 3)))
    found = rg.per_sample_grad(lambda p, x: model(x).square().sum(), params, x)
    model(x).square().sum().backward()
    for name, p in params.items():
        close(found[name].numpy().sum(0), p.grad)

    hanging = rg.per_sample_grad(lambda p, x: model(x).square().sum(), params, x, create_graph=True)
    rows = [rg.autograd.grad(model(row).square().sum(), list(params.values()), create_graph=True) for row in x]
    totals = sum(g.square().sum() for g in hanging.values()), sum(g.square().sum() for row in rows for g in row)
    for a, b in zip(*[rg.autograd.grad(total, list(params.values())) for total in totals], strict=True):
        close(a, b)
    with rg.no_grad():
        assert not rg.per_sample_grad(lambda p, x: model(x).sum(), params, x, create_graph=True)["0.bias"].requires_grad
    hanging = rg.per_sample_grad(lambda p, x: model(x).square().sum(), params, x, create_graph=True)
    with rg.no_grad():
        next(iter(params.values())).mul_(2)
    with pytest.raises(RuntimeError, match=r"per_sample_grad of .* changed in place"):
        hanging["0.bias"].sum().backward()


# What is refused


class Returns(rg.autograd.Function):
    """Gives back whatever it is given as the gradient."""

    @staticmethod
    def forward(ctx: Any, x: rg.Tensor, made: Any) -> rg.Tensor:
        ctx.made = made
        return x * 1

    @staticmethod
    def backward(ctx: Any, g: rg.Tensor) -> Any:
        return ctx.made


def returned(made: Any) -> Any:
    return rg.grad(lambda x: Returns.apply(x, made).sum())(f64(1.0, 2.0))


def custom(bwd: Any) -> Any:
    f = rg.custom_vjp(lambda x: x * 1)
    f.defvjp(lambda x: (x * 1, None), bwd)
    return rg.grad(lambda x: f(x).sum())(f64(1.0, 2.0))


def custom_forward(rule: Any) -> Any:
    f = rg.custom_jvp(lambda x: x * 1)
    f.defjvp(rule)
    return rg.grad(lambda x: f(x).sum())(f64(1.0, 2.0))


class Numpy(rg.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: rg.Tensor) -> rg.Tensor:
        return rg.from_numpy(np.sort(x.numpy()))


class Forward(rg.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: rg.Tensor) -> rg.Tensor:
        return x * 2


class Refusal(NamedTuple):
    call: Callable[[], Any]
    kind: type[Exception]
    message: str


X = f64(1.0, 2.0)
REFUSALS = [
    Refusal(lambda: rg.grad(rg.sum)(rg.tensor([1, 2])), TypeError, r"grad: .*int64 and shape \(2,\); only floating"),
    Refusal(
        lambda: rg.grad(rg.sum)(np.ones(2, complex)),
        TypeError,
        "grad: .*complex128 .*only floating.*real and imaginary",
    ),
    Refusal(lambda: rg.grad(rg.sum)(3), TypeError, "grad: .* argument of type int; expected a floating"),
    Refusal(lambda: rg.grad(rg.exp)(X), RuntimeError, r"grad: .*returned float64 of shape \(2,\).*rg.jacobian"),
    Refusal(lambda: rg.grad(lambda x: 1.0)(X), RuntimeError, "grad: the function returned float, expected"),
    Refusal(lambda: rg.grad(rg.sum, 1)(X), TypeError, "grad: argnums 1 asks for argument 1, but .* given 1"),
    Refusal(lambda: rg.grad(rg.sum, (0, -1))(X), ValueError, r"grad: argnums \(0, -1\) names an argument twice"),
    Refusal(lambda: rg.grad(rg.sum, has_aux=True)(X), TypeError, r"grad: with has_aux .*\(value, aux\)"),
    Refusal(lambda: rg.jvp(rg.exp, X, X), TypeError, "jvp: primals are a Tensor, expected a tuple"),
    Refusal(lambda: rg.jvp(rg.exp, (X,), (X, X)), ValueError, "jvp: 2 tangents for 1 tensors"),
    Refusal(lambda: rg.jvp(rg.exp, (X,), (f64(1.0),)), ValueError, r"tangent 0 is float64 of shape \(\), .*\(2,\)"),
    Refusal(lambda: rg.vjp(rg.exp, X)[1](X.float()), ValueError, r"vjp: cotangent 0 is float32 .*expected float64"),
    Refusal(lambda: rg.jacobian(rg.exp, mode="backward"), ValueError, "jacobian: unknown mode 'backward'"),
    Refusal(lambda: rg.autograd.grad(X.sum(), X), RuntimeError, r"autograd.grad: output 0, of shape \(\), does not"),
    Refusal(lambda: rg.autograd.grad(leaf(1.0), X), RuntimeError, r"input 0, of shape \(2,\), does not require grad"),
    Refusal(lambda: rg.autograd.grad(leaf(1.0), leaf(1.0)), RuntimeError, "no output hangs on input 0.*allow_unused"),
    Refusal(lambda: rg.autograd.grad(leaf(1.0, 2.0), leaf(1.0)), RuntimeError, r"shape \(2,\) has 2 elements"),
    Refusal(lambda: rg.autograd.grad([leaf(1.0)], [leaf(1.0)], [X, X]), RuntimeError, "2 grad_outputs for 1 outputs"),
    Refusal(lambda: rg.autograd.grad("a", X), TypeError, "autograd.grad: outputs hold a str, expected tensors"),
    Refusal(lambda: returned(X), RuntimeError, "Returns.backward: returned 1 gradients for the 2 arguments"),
    Refusal(lambda: returned((X, X, X)), RuntimeError, "Returns.backward: returned 3 gradients for the 2 arguments"),
    Refusal(lambda: returned((X, X)), RuntimeError, "Returns.backward: .*argument 1, which is no tensor"),
    Refusal(
        lambda: returned((f64(1.0), None)), RuntimeError, r"Returns.backward: gradient 0 is .*\(\); expected .*\(2,\)"
    ),
    Refusal(lambda: returned((X.float(), None)), RuntimeError, "Returns.backward: gradient 0 is float32"),
    Refusal(lambda: returned((1.0, None)), RuntimeError, "Returns.backward: gradient 0 is a float"),
    Refusal(
        lambda: rg.jvp(lambda x: Returns.apply(x, None), (X,), (X,)),
        NotImplementedError,
        r"Returns.jvp: there is no rule for forward mode; .*static method jvp",
    ),
    Refusal(
        lambda: rg.grad(lambda x: Forward.apply(x).sum())(X),
        NotImplementedError,
        r"Forward.backward: there is no rule for reverse mode; .*static method backward",
    ),
    Refusal(lambda: rg.compile(Numpy.apply)(X), rg.TraceError, "compile: NumPy's reading .*np.sort"),
    Refusal(lambda: custom(lambda _, g: (g, g)), RuntimeError, "<lambda>: bwd returned 2 gradients for 1 arguments"),
    Refusal(lambda: custom(lambda _, g: (g.sum(),)), RuntimeError, r"<lambda>: bwd: gradient 0 is .*shape \(\)"),
    Refusal(
        lambda: rg.jvp(lambda x: custom_reverse(x, {"scale": f64(1.0)}), (X,), (X,)),
        NotImplementedError,
        "custom_reverse is a custom_vjp, which has no rule for forward mode; .*custom_jvp",
    ),
    Refusal(lambda: rg.grad(rg.custom_vjp(rg.sum))(X), RuntimeError, r"sum: .*without a rule; call sum.defvjp"),
    Refusal(lambda: rg.grad(rg.custom_jvp(rg.sum))(X), RuntimeError, r"sum: .*without a rule; call sum.defjvp"),
    Refusal(lambda: custom_forward(lambda p, t: t[0]), RuntimeError, r"rule returned a Tensor, expected \(value"),
    Refusal(lambda: custom_forward(lambda p, t: (X, t[0].sum())), RuntimeError, r"rule: tangent 0 is .*shape \(\)"),
    Refusal(lambda: rg.check_grad(rg.sum, 1), TypeError, "check_grad: no argument is a floating"),
    Refusal(lambda: rg.check_grad(rg.sum, X, order=3), ValueError, "check_grad: order is 3"),
    Refusal(lambda: rg.check_grad(rg.sum, X, modes=("up",)), ValueError, "check_grad: modes are"),
    Refusal(lambda: rg.per_sample_grad(rg.sum, X, X, f64(1.0)), ValueError, r"equally many rows, got \[\(2,\), \(\)\]"),
    Refusal(lambda: rg.per_sample_grad(lambda w, x: w, X, X), RuntimeError, r"per_sample_grad: .*shape \(2,\)"),
    Refusal(
        lambda: rg.grad(lambda w: rg.per_sample_grad(lambda w, x: (w * x).sum(), w, X).sum())(X),
        NotImplementedError,
        r"per_sample_grad: a tensor of shape \(2,\) has a history, .*differentiated by it.*create_graph=True",
    ),
    Refusal(
        lambda: rg.per_sample_grad(lambda w, x: w.sum() if x > 0 else w.max(), X, X),
        RuntimeError,
        r"of a value that is another one in each row.*rg.where",
    ),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.message)
def test_errors_say_what_is_possible(refusal: Refusal) -> None:
    with pytest.raises(refusal.kind, match=refusal.message):
        refusal.call()
    assert rg.is_grad_enabled()


def test_an_op_without_a_forward_rule_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    op = type(rg.exp(leaf(1.0)).grad_fn.op)
    monkeypatch.setattr(op, "jvp", rg.ops.rule.Op.jvp)
    with pytest.raises(NotImplementedError, match=r"jvp: exp has no rule for forward mode; reverse mode .* has"):
        rg.jvp(rg.exp, (X,), (X,))


# In compiled steps


def test_derivatives_in_compiled_steps(backend: str) -> None:
    """Everything at once, as in a physics-informed network: the same curve, compiled or not."""
    x = rg.from_numpy(np.random.default_rng(0).standard_normal((5, 3)))
    curves = []
    for compiled in (False, True):
        rg.manual_seed(0)
        model = network()
        optimizer = optim.Adam(model.parameters(), lr=1e-2)

        def step(x: rg.Tensor, model: Any = model, optimizer: Any = optimizer) -> rg.Tensor:
            slope, bend = rg.jvp(rg.grad(lambda x: model(x).sum()), (x,), (rg.ones_like(x),))
            given = x.detach().requires_grad_()
            (again,) = rg.autograd.grad(model(given).sum(), given, create_graph=True)
            loss = (bend.sum(1) - slope[:, 0]).square().mean() + (again * slope).mean() + model(x).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss

        run = rg.compile(step) if compiled else step
        curves.append([run(x).item() for _ in range(5)])
    close(curves[1], curves[0], 1e-9)
    assert curves[0][-1] < curves[0][0]


# Documentation


def modules() -> list[str]:
    return sorted(m.name for m in pkgutil.walk_packages(rg.__path__, "retrograd.") if "__main__" not in m.name)


@pytest.mark.parametrize("name", modules())
def test_examples_in_docstrings(name: str) -> None:
    failed, _ = doctest.testmod(importlib.import_module(name))
    assert not failed


@pytest.mark.parametrize("name", ["heat", "burgers"])
def test_examples_run(name: str) -> None:
    """A few steps, eager and compiled, along one curve; the accuracy after thousands is for the example itself."""
    script = Path(__file__).parent.parent / "examples" / f"{name}.py"
    printed = []
    for options in ([], ["--eager"]):
        command = [sys.executable, str(script), "--steps", "10", *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        printed.append([line.split()[3] for line in done.stdout.splitlines() if line.startswith("step")])
    assert len(printed[0]) == 10
    np.testing.assert_allclose(np.array(printed[0], float), np.array(printed[1], float), rtol=1e-2)


@pytest.mark.parametrize("derivative", ["grad", "jvp", "linearize", "autograd.grad", "hessian"])
def test_a_view_whose_memory_was_changed_has_no_derivative(derivative: str) -> None:
    """A wrong one, zero, was what those that follow only what leads to the inputs would give."""

    def f(x: rg.Tensor) -> rg.Tensor:
        doubled = x * 2.0
        view = doubled[:2]
        doubled.mul_(3.0)
        return (view * view).sum()

    x = rg.ones(3, requires_grad=True)
    with pytest.raises(RuntimeError, match=r"mul_ changed the memory of a tensor of shape \(2,\) in place"):
        {
            "grad": lambda: rg.grad(f)(x),
            "jvp": lambda: rg.jvp(f, (x,), (rg.ones(3),)),
            "linearize": lambda: rg.linearize(f, x),
            "autograd.grad": lambda: rg.autograd.grad(f(x), [x], allow_unused=True),
            "hessian": lambda: rg.hessian(f)(x),
        }[derivative]()
