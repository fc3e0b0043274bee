"""NumPy's functions on tensors: what they give on arrays, recorded on the tape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import retrograd as rg
from retrograd.ops.protocol import FUNCTIONS, UFUNCS

X = np.array([[0.2, 0.9, 0.4], [0.7, 0.1, 0.6], [0.3, 0.8, 0.5]])
V = np.array([0.25, 0.75, 0.5])
SPD = X @ X.T + np.eye(3)
INDICES = np.array([[0, 2, 1], [1, 1, 0], [2, 0, 2]])

CALLS: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = [
    *[(f, (X,), kw) for f in (np.sum, np.mean, np.max, np.min, np.prod, np.var, np.std) for kw in ({}, {"axis": 0})],
    *[(f, (X, (0, 1)), {"keepdims": True}) for f in (np.sum, np.amax, np.amin, np.all, np.any, np.prod)],
    *[(f, (X, 1), {}) for f in (np.argmax, np.argmin, np.cumsum, np.cumprod, np.sort, np.argsort, np.split)],
    *[(f, (X,), {"axis": None}) for f in (np.cumsum, np.sort, np.argsort)],
    *[(f, (X,), {}) for f in (np.transpose, np.copy, np.squeeze, np.ravel, np.flip, np.fliplr, np.flipud, np.rot90)],
    *[(f, (X,), {}) for f in (np.tril, np.triu, np.diag, np.diagonal, np.trace, np.diff, np.round)],
    *[(f, (X,), {}) for f in (np.zeros_like, np.ones_like)],
    *[(f, (V,), {}) for f in (np.atleast_1d, np.atleast_2d, np.atleast_3d)],
    *[(f, ([V, V],), {}) for f in (np.hstack, np.vstack, np.dstack, np.column_stack, np.stack, np.concatenate)],
    *[(f, (V, V), {}) for f in (np.inner, np.outer, np.vdot, np.kron, np.cross, np.dot)],
    *[(f, (X, X), {}) for f in (np.dot, np.tensordot, np.inner, np.kron, np.cross)],
    *[(f, (SPD,), {}) for f in (np.linalg.inv, np.linalg.cholesky, np.linalg.det, np.linalg.slogdet, np.linalg.pinv)],
    *[(f, (SPD,), {}) for f in (np.linalg.qr, np.linalg.eigh, np.linalg.eigvalsh, np.linalg.svd, np.linalg.norm)],
    *[(f, (SPD,), {}) for f in (np.linalg.svdvals, np.linalg.diagonal, np.linalg.matrix_norm)],
    *[(f, (X, V), {}) for f in (np.linalg.matmul, np.linalg.vecdot, np.linalg.cross)],
    *[(f, (X,), {}) for f in (np.sinc, np.nan_to_num)],
    (np.concatenate, ([X, X],), {"axis": None}),
    (np.linalg.solve, (SPD, V), {}),
    (np.linalg.matrix_power, (X, 3), {}),
    (np.linalg.multi_dot, ([X, X, V],), {}),
    (np.linalg.norm, (X, 1), {"axis": 0}),
    (np.dot, (X, 2.0), {}),
    (np.full_like, (X, 2.0), {}),
    (np.clip, (X, 0.25, 0.65), {}),
    (np.where, (X > 0.5, X, 0.0), {}),
    (np.reshape, (X, (1, -1)), {}),
    (np.reshape, (X, -1), {}),
    (np.split, (X, [1]), {}),
    (np.repeat, (X, 2), {}),
    (np.repeat, (X, [1, 0, 2]), {"axis": 0}),
    (np.pad, (X, 1), {"mode": "reflect"}),
    (np.pad, (X, ((0, 1), (2, 0))), {"constant_values": 3.0}),
    (np.expand_dims, (X, (0, 2)), {}),
    (np.swapaxes, (X, 0, 1), {}),
    (np.moveaxis, (X, 0, 1), {}),
    (np.broadcast_to, (V, (2, 3)), {}),
    (np.roll, (X, 1), {}),
    (np.roll, (X, 1), {"axis": 1}),
    (np.tile, (X, (2, 1, 1)), {}),
    (np.take, (X, INDICES), {}),
    (np.take, (X, INDICES), {"axis": 1}),
    (np.take_along_axis, (X, INDICES), {"axis": 1}),
    (np.einsum, ("ij,jk->k", X, X), {}),
    (np.meshgrid, (V, V), {}),
    (np.tensordot, (X, X), {"axes": 1}),
]


def tensors(value: Any) -> Any:
    """Floating arrays as leaf tensors, in whatever holds them."""
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        return rg.tensor(value, requires_grad=True)
    return [tensors(v) for v in value] if isinstance(value, list) and isinstance(value[0], np.ndarray) else value


def assert_same(found: Any, expected: Any) -> None:
    if isinstance(expected, (tuple, list)):
        assert len(found) == len(expected)
        for f, e in zip(found, expected, strict=True):
            assert_same(f, e)
        return
    assert isinstance(found, rg.Tensor)
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-12, atol=1e-15)
    assert (found.shape, found.dtype) == (np.shape(expected), np.asarray(expected).dtype)


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call[0].__name__)
def test_functions_give_what_they_give_on_arrays(call: Any) -> None:
    function, args, kwargs = call
    assert_same(function(*map(tensors, args), **kwargs), function(*args, **kwargs))


def test_every_function_is_called() -> None:
    assert FUNCTIONS.keys() - {call[0] for call in CALLS} == {np.empty_like}


@pytest.mark.parametrize("ufunc", UFUNCS, ids=lambda ufunc: ufunc.__name__)
def test_ufuncs_give_what_they_give_on_arrays(ufunc: np.ufunc) -> None:
    if ufunc in (np.bitwise_and, np.bitwise_or, np.invert):
        return  # of booleans, as the operators; tests/test_ops.py has them
    arrays = [X, V + 0.1][: ufunc.nin]
    with np.errstate(invalid="ignore"):
        expected = ufunc(*arrays)
    found = ufunc(*map(tensors, arrays))
    assert_same(found, expected)
    assert found.requires_grad == (expected.dtype.kind == "f")
    if ufunc.nin == 2:
        assert_same(ufunc(arrays[0], tensors(arrays[1])), expected)


def test_reductions_of_ufuncs() -> None:
    x = tensors(X)
    for ufunc in (np.add, np.multiply, np.maximum, np.minimum):
        assert_same(ufunc.reduce(x), ufunc.reduce(X))
        assert_same(ufunc.reduce(x, axis=None, keepdims=True), ufunc.reduce(X, axis=None, keepdims=True))
    assert_same(np.add.accumulate(x, axis=1), np.add.accumulate(X, axis=1))


def test_the_other_operand_is_taken_beside_nan() -> None:
    a, b = (rg.tensor(v, requires_grad=True) for v in ([1.0, np.nan, 3.0], [2.0, 2.0, np.nan]))
    assert np.fmin(a, b).tolist() == [1, 2, 3]
    np.fmax(a, b).sum().backward()
    assert (a.grad.tolist(), b.grad.tolist()) == ([0, 0, 1], [1, 1, 0])


def test_gradients_flow_through_numpy() -> None:
    x = rg.tensor([0.5, 2.0], dtype="float64", requires_grad=True)
    np.sum(np.sin(x) * np.array([1.0, 3.0])).backward()
    np.testing.assert_allclose(x.grad.numpy(), np.cos([0.5, 2.0]) * [1, 3])


def test_what_has_no_derivative_says_so() -> None:
    x = rg.tensor([0.5, 2.0], requires_grad=True)
    with pytest.raises(TypeError, match=r"np\.median has no derivative here.*detach\(\)"):
        np.median(x)
    with pytest.raises(TypeError, match=r"np\.frexp has no derivative"):
        np.frexp(x)
    with pytest.raises(TypeError, match=r"np\.add\.outer has no derivative"):
        np.add.outer(x, x)
    with pytest.raises(TypeError, match=r"np\.sum: on tensors, got an unexpected keyword argument 'where'"):
        np.sum(x, where=[True, False])
    with pytest.raises(TypeError, match=r"np\.add: out= cannot take tensors"):
        np.add(x, 1.0, out=np.ones(2))
    assert np.median(x.detach()) == 1.25
    assert np.allclose(x, [0.5, 2.0])
    assert np.shape(x) == (2,)
    np.testing.assert_array_equal(np.where(x > 1)[0], [1])
