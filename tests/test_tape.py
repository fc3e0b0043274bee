"""The tape: what is recorded, what the reverse sweep makes of it, and what it refuses."""

from __future__ import annotations

import copy
import gc
import pickle
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import retrograd as rg
from retrograd.ops import loss, random


def leaf(*values: float) -> rg.Tensor:
    return rg.tensor(list(values), dtype="float64", requires_grad=True)


def gradient(y: rg.Tensor, *leaves: rg.Tensor) -> list[Any]:
    for x in leaves:
        x.grad = None
    y.backward(rg.ones_like(y), retain_graph=True)
    return [None if x.grad is None else x.grad.tolist() for x in leaves]


# Graphs


def test_gradients_of_several_paths_add_up(backend: str) -> None:
    x = leaf(1, 2, 3)
    a, b = x * 2, x.exp()
    c = a * b + a
    assert np.allclose(gradient(c + x, x), [2 * np.exp([1, 2, 3]) * (1 + np.array([1, 2, 3])) + 3])


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda x: x * x, [2, 4]),
        (lambda x: x + x, [2, 2]),
        (lambda x: x - x, [0, 0]),
        (lambda x: x / x, [0, 0]),
        (lambda x: rg.maximum(x, x), [1, 1]),
        (lambda x: rg.where(x > 1, x, x), [1, 1]),
        (lambda x: rg.cat([x, x, x]).sum(), [3, 3]),
        (lambda x: x @ x, [2, 4]),
        (lambda x: loss.mse_loss(x, x), [0, 0]),
        (lambda x: rg.linear(x.reshape(1, 2), x.reshape(1, 2)), [2, 4]),
    ],
)
def test_gradients_of_one_operand_used_twice_add_up(
    function: Callable[[rg.Tensor], rg.Tensor], expected: list[float], backend: str
) -> None:
    x = leaf(1, 2)
    assert np.allclose(gradient(function(x), x), [expected])


def test_a_backward_pass_adds_to_grad() -> None:
    x = leaf(1, 2)
    (x * 3).sum().backward()
    (x * x).sum().backward()
    assert x.grad.tolist() == [5, 7]
    x.grad.zero_()
    (x * 3).sum().backward()
    assert x.grad.tolist() == [3, 3]
    x.backward(rg.tensor([1.0, 1.0], dtype="float64"))  # a leaf is its own result
    assert x.grad.tolist() == [4, 4]
    w = leaf(1, 2)
    x.grad = rg.ones(3)
    with pytest.raises(RuntimeError, match=r"grad was set to float32 of shape \(3,\), .* float64 of shape \(2,\)"):
        (w * x).sum().backward()
    assert w.grad is None


def test_dynamic_graphs() -> None:
    """Python's loops and branches, with shared weights: Newton's square root, and its derivative."""
    x = leaf(2.0)
    root, steps = x, 0
    while abs(root.item() ** 2 - 2) > 1e-14:
        root = (root + x / root) / 2
        steps += 1
    assert steps > 3
    assert np.allclose(gradient(root, x), [[0.5 / np.sqrt(2)]])


def test_shared_weights(backend: str) -> None:
    w, h = leaf(0.5, -0.3), rg.tensor([1.0, 2.0], dtype="float64")
    expected = np.zeros(2)
    for _ in range(5):
        h = (h * w).tanh()
    found = gradient(h.sum(), w)[0]

    def run(v: np.ndarray) -> float:
        state = np.array([1.0, 2.0])
        for _ in range(5):
            state = np.tanh(state * v)
        return float(state.sum())

    for i in range(2):
        step = np.eye(2)[i] * 1e-6
        expected[i] = (run(w.detach().numpy() + step) - run(w.detach().numpy() - step)) / 2e-6
    assert np.allclose(found, expected, atol=1e-9)


def test_a_chain_of_100_000_ops() -> None:
    """Forward, backward and deallocation take no recursion."""
    x = leaf(1.0)
    y = x
    for _ in range(100_000):
        y = y + 1.0
    y.backward()
    assert y.item() == 100_001
    assert x.grad.tolist() == [1]
    del y


def test_a_wide_graph_is_walked_once() -> None:
    """Each node once, however many paths lead to it: 2**60 of them here."""
    x = leaf(1.0)
    y = x
    for _ in range(60):
        y = y + y
    assert gradient(y, x) == [[2.0**60]]


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@pytest.mark.parametrize("walked", [False, True])
@pytest.mark.parametrize("watched", [False, True])
def test_graphs_are_freed_by_reference_counting(walked: bool, watched: bool, backend: str) -> None:
    with no_garbage_collection():
        x, w = leaf(1, 2), leaf(3, 4)
        hidden = rg.linear(x.reshape(1, 2), w.reshape(1, 2), activation="relu")
        parts = rg.cat([hidden, hidden.T.exp()], dim=1)
        parts[0, 0].backward(retain_graph=True)
        y = loss.mse_loss(parts, rg.zeros_like(parts))
        if watched:
            hidden.register_hook(lambda g: g * 2)
            hidden.retain_grad()
        alive = [weakref.ref(o) for o in (hidden, hidden.grad_fn, parts, parts.grad_fn, y, y.grad_fn, parts.array)]
        if walked:
            y.backward(create_graph=True)
        x.grad = w.grad = None
        del hidden, parts, y
        assert [r() for r in alive] == [None] * len(alive)


# Recording


def test_recording_is_per_thread() -> None:
    x = leaf(1.0)
    seen: dict[str, bool] = {}
    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with rg.no_grad():
            inside.set()
            leave.wait(10)
            seen["other"] = (x * 2).requires_grad

    thread = threading.Thread(target=other)
    thread.start()
    assert inside.wait(10)
    seen["main"] = (x * 2).requires_grad
    leave.set()
    thread.join()
    assert seen == {"other": False, "main": True}


def test_threads_record_and_walk_their_own_graphs(backend: str) -> None:
    w = [leaf(*np.random.default_rng(i).standard_normal(50)) for i in range(4)]
    found: dict[int, Any] = {}

    def run(i: int) -> None:
        y = w[i]
        for _ in range(50):
            y = (y * w[i]).tanh() + w[i]
        found[i] = gradient(y.sum(), w[i])

    threads = [threading.Thread(target=run, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for i in range(4):
        together = found[i]
        run(i)
        assert found[i] == together


def test_switches_of_recording() -> None:
    x = leaf(1.0)

    @rg.no_grad()
    def quiet() -> rg.Tensor:
        with rg.enable_grad():
            assert (x * 1).requires_grad
        return x * 1

    assert not quiet().requires_grad
    assert quiet.__name__ == "quiet"
    for mode in (True, False):
        with rg.set_grad_enabled(mode):
            assert rg.is_grad_enabled() is mode
            assert (x * 1).requires_grad is mode
    switch = rg.no_grad()
    with switch, switch:  # one object, twice
        assert not rg.is_grad_enabled()
    assert rg.is_grad_enabled()
    with pytest.raises(KeyError), rg.no_grad():
        raise KeyError
    assert rg.is_grad_enabled()


def test_only_what_asks_for_it_gets_a_gradient() -> None:
    x, frozen = leaf(1, 2), rg.tensor([3.0, 4.0], dtype="float64")
    y = x * frozen
    assert (y.requires_grad, y.is_leaf, x.is_leaf, frozen.is_leaf) == (True, False, True, True)
    assert (frozen * 2).grad_fn is None
    assert y.grad_fn.name == "multiply"
    y.sum().backward()
    assert frozen.grad is None
    assert y.grad is None
    x.requires_grad = False
    assert not (x * 2).requires_grad


def test_discrete_results_carry_no_gradient() -> None:
    x = leaf(1, 2)
    for y in (x > 1, x == x, x.argmax(), x.to("int64"), x.all()):
        assert not y.requires_grad
        assert y.is_leaf


# Hooks


def test_hooks_on_leaves_and_results(backend: str) -> None:
    x = leaf(1, 2)
    y = x * 3
    seen = []
    y.register_hook(lambda g: seen.append(g.tolist()))
    double = y.register_hook(lambda g: g * 2)
    x.register_hook(lambda g: g + 1)
    z = (y * y).sum()
    z.backward(retain_graph=True)
    assert seen == [[6, 12]]  # once, when both paths have arrived
    assert x.grad.tolist() == [37, 73]
    double.remove()
    double.remove()
    x.grad = None
    z.backward(retain_graph=True)
    assert x.grad.tolist() == [19, 37]
    x.grad = None
    with y.register_hook(lambda g: g * 0):
        z.backward(retain_graph=True)
    assert x.grad.tolist() == [1, 1]


def test_a_hook_that_raises_changes_no_gradient() -> None:
    x, w, b = leaf(1, 2), leaf(3, 4), leaf(5, 6)
    for t in (x, w, b):
        t.grad = rg.ones_like(t)
    hidden = x * w
    hidden.retain_grad()

    def refuse(g: rg.Tensor) -> None:
        raise KeyError("refused")

    for watched in (hidden, w):
        with watched.register_hook(refuse), pytest.raises(KeyError, match="refused"):
            ((hidden + b) ** 2).sum().backward()
        assert [t.grad.tolist() for t in (x, w, b)] == [[1, 1]] * 3
        assert hidden.grad is None
        assert rg.is_grad_enabled()


def test_retain_grad(backend: str) -> None:
    x = leaf(1, 2)
    y = x * 3
    y.retain_grad()
    y.register_hook(lambda g: g * 10)  # what hooks leave is what is kept
    (y * y).sum().backward(retain_graph=True)
    assert y.grad.tolist() == [60, 120]
    assert x.grad.tolist() == [180, 360]
    y.grad.zero_()
    assert x.grad.tolist() == [180, 360]
    x.retain_grad()  # a leaf does so anyway


# Walking a graph again


def test_retain_graph() -> None:
    x = leaf(1, 2)
    y = (x.exp() * x).sum()
    y.backward(retain_graph=True)
    once = x.grad.numpy().copy()
    y.backward()
    assert np.array_equal(x.grad.numpy(), 2 * once)
    with pytest.raises(RuntimeError, match=r"graph through <\w+ of .*\(2,\)> was freed .* retain_graph=True"):
        y.backward()


def test_create_graph_makes_gradients_that_can_be_differentiated() -> None:
    x = leaf(2.0)
    y = x * x * x * x
    for expected in (4 * 2.0**3, 12 * 2.0**2, 24 * 2.0, 24.0):
        x.grad = None
        y.backward(create_graph=True)
        y = x.grad
        assert np.allclose(y.tolist(), [expected])
    assert rg.is_grad_enabled()


def test_gradients_share_no_memory(backend: str) -> None:
    """Not with each other, not with the cotangent given, not with what a graph holds."""
    for create_graph in (False, True):
        a, b, c = leaf(1, 2), leaf(3, 4), rg.zeros(2, 1, dtype="float64", requires_grad=True)
        given = rg.ones(2, dtype="float64")
        y = a + b + c.reshape(2) + a.T + rg.broadcast_to(b.sum(), (2,))
        held = []
        y.register_hook(held.append)
        y.backward(given, create_graph=create_graph)
        arrays = [t.grad.detach().numpy() for t in (a, b, c)] + [given.numpy(), *(g.detach().numpy() for g in held)]
        for i, first in enumerate(arrays[:3]):
            assert first.flags.writeable
            assert not any(np.shares_memory(first, other) for other in arrays[i + 1 :])
        leaf_itself = leaf(1, 2)
        leaf_itself.backward(given, create_graph=create_graph)
        assert not np.shares_memory(leaf_itself.grad.detach().numpy(), given.numpy())


# In place


def test_in_place_updates_of_leaves() -> None:
    w = leaf(1, 2)
    (w * w).sum().backward()
    with rg.no_grad():
        w -= 0.5 * w.grad
        w.grad.zero_()
    assert w.tolist() == [0, 0]
    assert w.grad.tolist() == [0, 0]
    assert w.is_leaf
    assert w.requires_grad


def test_in_place_ops_are_recorded() -> None:
    x, w = leaf(1, 2, 3), leaf(10, 20)
    y = x * 1
    same = y
    y += 1
    y[1:] = w
    y[0] *= 3
    y *= y
    assert y is same
    assert y.tolist() == [36, 100, 400]
    assert gradient(y, x, w) == [[36, 0, 0], [20, 40]]
    buffer = rg.zeros(4, dtype="float64")  # what requires no grad takes in what does
    for i in range(2):
        buffer[i * 2 : i * 2 + 2] = w * (i + 1)
    assert gradient(buffer, w) == [[3, 3]]


SAVED = [
    ("the operand", lambda x: (x, x.log())),
    ("the result", lambda x: (y := x.exp(), y)),
    ("through a view", lambda x: (x[1:], x.log())),
    ("what it is a view of", lambda x: (x, x[1:].log())),
    ("through detach", lambda x: (x.detach(), x.log())),
    ("the other operand", lambda x: (x, leaf(1, 2) * x)),
    ("of a layer", lambda x: (x, rg.linear(x.reshape(1, 2), rg.ones(1, 2, dtype="float64", requires_grad=True)))),
]


@pytest.mark.parametrize("case", SAVED, ids=lambda case: case[0])
def test_what_a_graph_saved_must_not_change(case: tuple[str, Callable[..., Any]]) -> None:
    x = leaf(1, 2) * 1
    changed, y = case[1](x)
    with rg.no_grad():
        changed += 1
    with pytest.raises(RuntimeError, match=r"<\w+ of .*> needs a tensor of shape \(.*\) as it was .* clone\(\)"):
        y.sum().backward()


def test_what_a_graph_did_not_save_may_change() -> None:
    x = leaf(1, 2)
    y = x * 1
    z = y + 1
    with rg.no_grad():
        y += 1
    assert gradient(z, x) == [[1, 1]]
    key = np.array([1, 1])
    taken = x[key]
    key[:] = 0  # the index is kept as it was
    assert gradient(taken, x) == [[0, 2]]


def test_views_and_recorded_changes() -> None:
    """A change that gradients flow through makes the other tensors over that memory unusable, rather than wrong."""
    x, w = leaf(1, 2), leaf(3.0)
    y = x * 1
    view, constant = y[0], y.detach()[0]
    y *= 2
    assert view.item() == 2
    with pytest.raises(RuntimeError, match=r"__imul__ changed the memory of a tensor of shape \(\) .*view again"):
        view.backward()
    assert gradient(y[0] * constant, x) == [[4, 0]]
    for base in (rg.zeros(3, dtype="float64"), leaf(0, 0, 0) * 1):
        part = base[1:]
        part += w
        assert base.tolist() == [0, 3, 3]
        with pytest.raises(RuntimeError, match=r"__iadd__ changed the memory of a tensor of shape \(3,\)"):
            (base * 2).sum().backward()
        base[1:] = part
        assert gradient(base * 2, w) == [[4]]
        assert gradient(part, w) == [[2]]
    for view in (x[0], x[:1][0]):
        with pytest.raises(RuntimeError, match=r"add_: .*view of shape \(\) of a leaf tensor of shape \(2,\)"):
            view.add_(1)
    assert x.tolist() == [1, 2]


# Copies


def test_detach_clone_and_copies() -> None:
    x = leaf(1, 2)
    x.grad = rg.ones_like(x)
    detached, cloned = x.detach(), x.clone()
    assert np.shares_memory(detached.numpy(), x.detach().numpy())
    assert not np.shares_memory(cloned.detach().numpy(), x.detach().numpy())
    assert (detached.requires_grad, cloned.requires_grad, cloned.is_leaf) == (False, True, False)
    copied = copy.deepcopy(x)
    assert (copied.tolist(), copied.grad.tolist(), copied.requires_grad) == ([1, 2], [1, 1], True)
    assert not np.shares_memory(copied.detach().numpy(), x.detach().numpy())
    assert not np.shares_memory(copied.grad.numpy(), x.grad.numpy())
    restored = pickle.loads(pickle.dumps(x))
    assert (restored.tolist(), restored.requires_grad, restored.dtype) == ([1, 2], True, rg.float64)
    shallow = copy.copy(x)
    y = x.exp() + x.log()
    with rg.no_grad():
        shallow += 1
    assert x.tolist() == [2, 3]
    with pytest.raises(RuntimeError, match="changed in place"):
        y.sum().backward()
    twice = copy.deepcopy([x, x])
    assert twice[0] is twice[1]
    for attempt in (copy.deepcopy, pickle.dumps):
        with pytest.raises(RuntimeError, match=r"only leaves .* detach\(\) .*<multiply of \(2,\), \(\)>"):
            attempt(x * 2)


# Errors: each names the op, and the shape


ERRORS: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: leaf(1, 2).backward(), RuntimeError, r"backward: .*shape \(2,\) has 2 elements.*sum\(\)"),
    (lambda: rg.ones(3).backward(), RuntimeError, r"backward: .*shape \(3,\) does not require grad"),
    (lambda: leaf(1, 2).backward(rg.ones(2)), RuntimeError, r"gradient is float32 of shape \(2,\), expected float64"),
    (lambda: leaf(1, 2).backward(np.ones(3)), RuntimeError, r"of shape \(3,\), expected float64 of shape \(2,\)"),
    (lambda: leaf(1, 2).add_(1), RuntimeError, r"add_: in-place change of a leaf .*shape \(2,\).*no_grad"),
    (lambda: leaf(1, 2).__setitem__(0, 1.0), RuntimeError, r"setitem: in-place change of a leaf .*\(2,\)"),
    (lambda: leaf(1, 2).numpy(), RuntimeError, r"numpy: .*shape \(2,\) requires grad.*detach"),
    (lambda: np.asarray(leaf(1, 2)), RuntimeError, r"numpy: .*shape \(2,\) requires grad.*detach"),
    (lambda: rg.tensor([1, 2], requires_grad=True), RuntimeError, "requires_grad: only floating.*int64"),
    (lambda: rg.tensor([True]).requires_grad_(), RuntimeError, "requires_grad: only floating.*bool"),
    (
        lambda: (leaf(1, 2) * 2).requires_grad_(False),
        RuntimeError,
        r"requires_grad: .*\(2,\) is the result of multiply",
    ),
    (lambda: rg.ones(2).register_hook(print), RuntimeError, r"register_hook: .*\(2,\) does not require grad"),
    (lambda: rg.ones(2).retain_grad(), RuntimeError, r"retain_grad: .*\(2,\) does not require grad"),
    (lambda: rg.ones(2).add_(rg.ones(3, 2)), ValueError, r"add_: .*\(3, 2\) does not fit .*\(2,\) in place"),
    (lambda: rg.tensor([1, 2]).add_(0.5), TypeError, "add_: the result is float32, which a int64 tensor"),
    (lambda: rg.ones(3).__setitem__(5, 1.0), IndexError, r"setitem: .*index 5 is out of bounds.*\(3,\)"),
    (lambda: rg.ones(3).__setitem__(slice(2), rg.ones(3)), ValueError, r"setitem: .*\(3,\).*shape is \(3,\)"),
    (lambda: leaf(1, 2)[2], IndexError, r"index: .*2 is out of bounds.*\(2,\)"),
    (lambda: leaf(1, 2)[0, 0], IndexError, r"index: too many indices.*\(2,\)"),
    (lambda: leaf(1, 2)[rg.ones(2)], IndexError, "index: an array of float32 cannot index"),
    (lambda: rg.ones(2) + rg.ones(3), ValueError, r"add: shapes \(2,\) and \(3,\) do not broadcast"),
    (lambda: rg.ones(2) + "a", TypeError, "add: cannot take a str"),
    (lambda: rg.ones(2, 3) @ rg.ones(2, 3), ValueError, r"matmul: shapes \(2, 3\) and \(2, 3\) do not fit"),
    (lambda: rg.ones(2, 3) @ rg.ones(()), ValueError, r"matmul: shapes \(2, 3\) and \(\) do not fit"),
    (lambda: rg.ones(2, 1, 3) @ rg.ones(4, 3, 2, 1).reshape(4, 2, 3, 1) @ 1, ValueError, r"matmul: .*\(\)"),
    (lambda: rg.ones(2, 2, 3) @ rg.ones(3, 3, 2), ValueError, r"matmul: leading axes of \(2, 2, 3\) and \(3, 3, 2\)"),
    (lambda: rg.linear(rg.ones(2, 3), rg.ones(4, 2)), ValueError, r"linear: input \(2, 3\) and weight \(4, 2\)"),
    (
        lambda: rg.linear(rg.ones(2, 3), rg.ones(4, 3), rg.ones(3)),
        ValueError,
        r"linear: bias .*\(3,\), expected \(4,\)",
    ),
    (
        lambda: rg.linear(rg.ones(2, 3), rg.ones(4, 3), activation="rela"),
        ValueError,
        "linear: unknown activation 'rela'",
    ),
    (lambda: rg.ones(2, 3).sum(2), IndexError, "sum: dim 2 is out of range for 2 axes"),
    (lambda: rg.ones(2, 3).mean((0, -2)), ValueError, r"mean: dim \(0, -2\) names an axis twice"),
    (lambda: rg.ones(0, 3).max(0), ValueError, r"max: there is no element .*\(0, 3\)"),
    (lambda: rg.ones(0).argmin(), ValueError, r"argmin: there is no element .*\(0,\)"),
    (lambda: rg.ones(2, 3).reshape(4), ValueError, r"reshape: 6 elements of shape \(2, 3\) do not fit into \(4,\)"),
    (lambda: rg.ones(2, 3).reshape(-1, -1), ValueError, r"reshape: 6 elements"),
    (lambda: rg.ones(2, 3).T.view(6), ValueError, r"view: strides of shape \(3, 2\)"),
    (lambda: rg.ones(2, 3).permute(0, 0), ValueError, r"permute: dims \(0, 0\) must name each .*\(2, 3\)"),
    (lambda: rg.ones(2, 3).broadcast_to((2, 2)), ValueError, r"broadcast_to: shape \(2, 3\) .*\(2, 2\)"),
    (lambda: rg.ones(2, 3).flatten(1, 0), ValueError, "flatten: start_dim 1 comes after end_dim 0"),
    (lambda: rg.cat([]), ValueError, "concatenate: expected at least one"),
    (lambda: rg.cat([rg.ones(2, 3), rg.ones(3, 2)]), ValueError, r"concatenate: shapes \[\(2, 3\), \(3, 2\)\]"),
    (lambda: rg.stack([rg.ones(2), rg.ones(3)]), ValueError, r"stack: .*\[\(2,\), \(3,\)\]"),
    (lambda: rg.ones(4).split([1, 2]), ValueError, r"split: sections \[1, 2\] must add up to the 4 .*\(4,\)"),
    (lambda: rg.ones(4).split(0), ValueError, "split: split size 0"),
    (lambda: rg.ones(4).chunk(0), ValueError, "chunk: 0 chunks"),
    (lambda: rg.where(rg.ones(2), 1.0, 0.0), TypeError, "where: condition is float32, expected bool"),
    (lambda: rg.ones(2).clamp(), ValueError, "clamp: expected min, max or both"),
    (lambda: rg.tensor([2]) ** -1, ValueError, "power: integers to a negative power"),
    (lambda: rg.ones(2).to("complex64"), TypeError, "to: dtype complex64 is not supported"),
    (lambda: rg.ones(2).gelu("tan"), ValueError, "gelu: approximate is 'tan'"),
    (lambda: rg.ones(2).softplus(0), ValueError, "softplus: beta is 0"),
    (lambda: random.dropout(rg.ones(2), 1.5), ValueError, "dropout: p is 1.5"),
    (
        lambda: loss.mse_loss(rg.ones(2), rg.ones(2, 1)),
        ValueError,
        r"mse_loss: input has shape \(2,\) and target \(2, 1\)",
    ),
    (lambda: loss.l1_loss(rg.ones(2), rg.ones(2), "avg"), ValueError, "l1_loss: unknown reduction 'avg'"),
    (lambda: loss.huber_loss(rg.ones(2), rg.ones(2), delta=0), ValueError, "huber_loss: delta is 0"),
    (
        lambda: loss.cross_entropy(rg.ones(2, 3), rg.tensor([0, 3])),
        IndexError,
        "cross_entropy_loss: class index 3 .* 0 to 2",
    ),
    (
        lambda: loss.cross_entropy(rg.ones(2, 3), rg.tensor([0])),
        ValueError,
        r"cross_entropy: input \(2, 3\) and target \(1,\)",
    ),
    (
        lambda: loss.cross_entropy(rg.ones(2, 3), rg.tensor([True, False])),
        (TypeError, ValueError),
        "cross_entropy: .*target",
    ),
]


@pytest.mark.parametrize(("call", "kind", "message"), ERRORS, ids=[e[2] for e in ERRORS])
def test_errors_name_the_op_and_the_shape(call: Callable[[], Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        call()


@pytest.mark.parametrize(
    ("replacement", "message"),
    [
        (lambda g: rg.ones(3, dtype="float64"), r"hook: returned float64 of shape \(3,\); .*shape \(2,\)"),
        (lambda g: g.to("float32"), "hook: returned float32 of shape"),
        (lambda g: 1.0, "hook: returned a float; expected None or a Tensor"),
    ],
)
def test_a_hook_must_keep_the_gradients_shape(replacement: Callable[[rg.Tensor], Any], message: str) -> None:
    x = leaf(1, 2)
    y = x * 2
    for watched in (x, y):
        with watched.register_hook(replacement), pytest.raises(RuntimeError, match=message):
            (y * 1).sum().backward()
    assert x.grad is None
