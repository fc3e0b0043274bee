"""Tensors: what makes them, their dtypes, their way to NumPy and back, indexing, and random streams."""

from __future__ import annotations

import operator
import os
import subprocess
import sys
import warnings
from typing import Any

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

import retrograd as rg
from retrograd import dtypes
from retrograd.ops import random

SUPPORTED = ("bool", "uint8", "int8", "int16", "int32", "int64", "float32", "float64")


# Creation

CREATED: list[tuple[Any, np.ndarray]] = [
    (lambda: rg.zeros(2, 3), np.zeros((2, 3), "f4")),
    (lambda: rg.zeros((2, 3), dtype="int32"), np.zeros((2, 3), "i4")),
    (lambda: rg.zeros(()), np.zeros((), "f4")),
    (lambda: rg.zeros(0, 3), np.zeros((0, 3), "f4")),
    (lambda: rg.ones([2, 1], dtype=rg.float64), np.ones((2, 1))),
    (lambda: rg.full((2,), 7), np.full(2, 7)),
    (lambda: rg.full((2,), 7.0), np.full(2, 7, "f4")),
    (lambda: rg.full((2,), True), np.full(2, True)),
    (lambda: rg.full(3, 1, dtype="float64"), np.ones(3)),
    (lambda: rg.eye(2), np.eye(2, dtype="f4")),
    (lambda: rg.eye(2, 3, dtype="float64"), np.eye(2, 3)),
    (lambda: rg.arange(3), np.arange(3)),
    (lambda: rg.arange(1, 7, 2), np.arange(1, 7, 2)),
    (lambda: rg.arange(0, 1, 0.25), np.arange(0, 1, 0.25, "f4")),
    (lambda: rg.arange(3, 0, -1, dtype="float64"), np.arange(3.0, 0, -1)),
    (lambda: rg.linspace(0, 1, 5), np.linspace(0, 1, 5, dtype="f4")),
    (lambda: rg.zeros_like(rg.ones(2, dtype="float64")), np.zeros(2)),
    (lambda: rg.ones_like(rg.zeros(2), dtype="int64"), np.ones(2, "i8")),
    (lambda: rg.full_like(rg.zeros(2), 3), np.full(2, 3, "f4")),
    (lambda: rg.tensor(2), np.array(2)),
    (lambda: rg.tensor(2.0), np.array(2, "f4")),
    (lambda: rg.tensor([[1, 2], [3, 4]]), np.array([[1, 2], [3, 4]])),
    (lambda: rg.tensor([True, False]), np.array([True, False])),
    (lambda: rg.tensor([0.1, 2], dtype="float64"), np.array([0.1, 2.0])),
    (lambda: rg.tensor([rg.tensor(1.0), 2.0]), np.array([1, 2], "f4")),
    (lambda: rg.tensor([]), np.array([], "f4")),
    (lambda: rg.tensor(np.float64(1.5)), np.array(1.5)),
    (lambda: rg.tensor(range(3)), np.arange(3)),
    (lambda: rg.tensor(np.arange(3, dtype=">f4")), np.arange(3, dtype="f4")),
    (lambda: rg.empty(2, 3) * 0 == 0, np.ones((2, 3), bool)),
    (lambda: rg.empty_like(rg.ones(2)).zero_(), np.zeros(2, "f4")),
]


@pytest.mark.parametrize(("make", "expected"), CREATED)
def test_creation(make: Any, expected: np.ndarray) -> None:
    np.testing.assert_array_equal(make().numpy(), expected, strict=True)


def test_the_default_dtype() -> None:
    assert rg.get_default_dtype() == rg.float32
    try:
        rg.set_default_dtype("float64")
        made = [rg.tensor(1.0), rg.zeros(1), rg.rand(1), rg.randn(1), rg.linspace(0, 1, 2), rg.tensor([1]) / 2]
        assert {t.dtype for t in made} == {rg.float64}
    finally:
        rg.set_default_dtype("float32")


REFUSED = [
    (lambda: rg.tensor([[1, 2], [3]]), ValueError, "tensor: the nested lists are not of one shape"),
    (lambda: rg.tensor(["a"]), TypeError, "tensor: dtype <U1 is not supported; tensors hold numbers"),
    (lambda: rg.tensor([1j]), TypeError, "tensor: dtype complex128 is not supported; .*real and imaginary"),
    (lambda: rg.tensor(np.ones(2, "f2")), TypeError, "tensor: dtype float16 is not supported; convert"),
    (lambda: rg.zeros(2, dtype="float16"), TypeError, "dtype float16 is not supported"),
    (lambda: rg.as_tensor(np.array([None])), TypeError, "as_tensor: dtype object is not supported"),
    (lambda: rg.from_numpy([1.0]), TypeError, "from_numpy: expected a NumPy array, got list"),
    (lambda: rg.from_numpy(np.ones(2, ">f8")), TypeError, "from_numpy: >f8 is not in this machine's byte order"),
    (lambda: rg.arange(1, 2, 0), ValueError, "arange: step is 0"),
    (lambda: rg.set_default_dtype("int64"), TypeError, "set_default_dtype: int64 is not float32 or float64"),
    (lambda: rg.ones(2).item(), ValueError, r"item: a tensor of shape \(2,\) has 2 elements"),
    (lambda: bool(rg.ones(0)), ValueError, r"bool: a tensor of shape \(0,\) has 0 elements.*any\(\)"),
    (lambda: float(rg.ones(2)), ValueError, "float: .*2 elements"),
    (lambda: [0][rg.ones(1)], TypeError, "only integer tensors can be an index; this one is float32"),
    (lambda: len(rg.ones(())), TypeError, "len: a tensor with no axes"),
    (lambda: list(rg.ones(())), TypeError, "iteration over a tensor with no axes"),
    (lambda: rg.manual_seed(-1), ValueError, r"manual_seed: -1 is not a whole number in \[0, 2\*\*64\)"),
    (lambda: rg.manual_seed(1.0), ValueError, "manual_seed: 1.0 is not"),
    (lambda: rg.randint(3, 3, (2,)), ValueError, "randint: expected low < high"),
]


@pytest.mark.parametrize(("call", "kind", "message"), REFUSED, ids=[r[2] for r in REFUSED])
def test_what_is_refused(call: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        call()


# Dtypes


@pytest.mark.parametrize("second", SUPPORTED)
@pytest.mark.parametrize("first", SUPPORTED)
def test_promotion_agrees_with_pytorch(first: str, second: str) -> None:
    torch = pytest.importorskip("torch")
    for symbol in (operator.add, operator.mul, operator.truediv):
        found = symbol(rg.ones(2, dtype=first), rg.ones(2, dtype=second)).dtype
        expected = symbol(torch.ones(2, dtype=getattr(torch, first)), torch.ones(2, dtype=getattr(torch, second))).dtype
        assert str(found) == str(expected).removeprefix("torch."), symbol.__name__


@pytest.mark.parametrize("number", [True, 2, 2.5])
@pytest.mark.parametrize("dtype", SUPPORTED)
def test_numbers_take_the_dtype_of_the_tensor_beside_them(dtype: str, number: float) -> None:
    torch = pytest.importorskip("torch")
    for left in (False, True):
        pairs = [(rg.ones(2, dtype=dtype), number), (torch.ones(2, dtype=getattr(torch, dtype)), number)]
        for symbol in (operator.add, operator.mul, operator.truediv, operator.pow):
            if symbol is operator.pow and dtype == "bool" and number is True:
                continue  # PyTorch has a power of booleans alone
            found, expected = (symbol(b, a) if left else symbol(a, b) for a, b in pairs)
            assert str(found.dtype) == str(expected.dtype).removeprefix("torch."), symbol.__name__
            np.testing.assert_array_equal(found.numpy(), expected.numpy())


def test_conversions() -> None:
    x = rg.tensor([0.0, 1.5])
    assert [x.float().dtype, x.double().dtype, x.long().dtype, x.bool().dtype] == [
        rg.float32,
        rg.float64,
        rg.int64,
        rg.bool_,
    ]
    assert x.to("float32") is x
    assert rg.as_tensor(x) is x
    assert rg.as_tensor(x, dtype="float64").dtype == rg.float64
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert x.double().mul(1e300).float().tolist() == [0, float("inf")]
    assert rg.exp(rg.tensor([0])).dtype == rg.float32
    assert rg.sum(rg.tensor([True, True])).item() == 2
    assert dtypes.promote([np.dtype("int64"), np.dtype("float32")]) == rg.float32


# To NumPy and others


def test_memory_is_shared_where_it_can_be() -> None:
    array = np.arange(6, dtype="f4").reshape(2, 3).T
    for x in (rg.from_numpy(array), rg.as_tensor(array)):
        assert x.numpy() is array
        assert np.asarray(x) is array
    x = rg.from_numpy(array)
    x[0, 0] = 7.0
    assert array[0, 0] == 7
    array[0, 1] = 8
    assert x[0, 1].item() == 8
    assert not np.shares_memory(rg.tensor(array).numpy(), array)
    assert not np.shares_memory(rg.as_tensor(array, dtype="float64").numpy(), array)
    assert np.shares_memory(x.reshape(6, 1)[::2].T.numpy(), x.reshape(6, 1).numpy()) == x.numpy().flags.c_contiguous
    for view in (x[0], x[:, None], x.T, x.T.view(6), x.unsqueeze(0), x[1, 1:], x[0, 0], x.expand(2, 3, 2), x.detach()):
        assert np.shares_memory(view.numpy(), array)
    x[0, 0].fill_(9)
    assert array[0, 0] == 9


def test_the_array_protocol() -> None:
    x = rg.tensor([1.0, 2.0])
    assert np.array(x) is not x.numpy()
    assert np.asarray(x, dtype="float64").dtype == np.float64
    assert x.__array__(copy=True) is not x.numpy()
    with pytest.raises(ValueError, match="__array__: float32 to float64 needs a copy"):
        x.__array__("float64", copy=False)
    assert isinstance(np.ones(2) + x, rg.Tensor)
    np.testing.assert_array_equal(np.exp(np.asarray(x)), np.exp([1, 2], dtype="f4"))


def test_dlpack() -> None:
    x = rg.arange(6.0).reshape(2, 3)
    array = np.from_dlpack(x)
    assert np.shares_memory(array, x.numpy())
    assert np.shares_memory(rg.as_tensor(x).numpy(), x.numpy())
    torch = pytest.importorskip("torch")
    theirs = torch.from_dlpack(x)
    theirs[0, 0] = 5
    assert x[0, 0].item() == 5
    ours = rg.as_tensor(torch.arange(3.0))
    assert (ours.tolist(), ours.dtype) == ([0, 1, 2], rg.float32)
    assert rg.tensor(torch.ones(2, dtype=torch.int64)).dtype == rg.int64


def test_to_python() -> None:
    assert (rg.tensor(2).item(), type(rg.tensor(2).item())) == (2, int)
    assert (rg.tensor([[1.5]]).item(), type(rg.tensor([[1.5]]).item())) == (1.5, float)
    assert rg.tensor(True).item() is True
    assert (int(rg.tensor(2.7)), float(rg.tensor(2)), bool(rg.tensor(0))) == (2, 2.0, False)
    assert [0, 1, 2][rg.tensor(1)] == 1
    assert list(range(3))[rg.tensor(1) :] == [1, 2]
    x = rg.arange(6).reshape(2, 3)
    assert len(x) == 2
    assert [row.tolist() for row in x] == [[0, 1, 2], [3, 4, 5]]
    _, second = x
    assert second.tolist() == [3, 4, 5]
    assert (x.shape, x.ndim, x.size, x.nbytes, x.dtype) == ((2, 3), 2, 6, 48, rg.int64)
    assert {x: 1}[x] == 1  # by identity
    assert (x == x).all()
    assert (x == None, x != None) == (False, True)  # noqa: E711
    assert x != "a"
    assert f"{rg.tensor(2.5):.2f} {rg.tensor([1, 2])}" == "2.50 tensor([1, 2])"


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: rg.tensor([1.0, 2.5]), "tensor([1. , 2.5])"),
        (lambda: rg.tensor([1, 2]), "tensor([1, 2])"),
        (lambda: rg.tensor(True), "tensor(True)"),
        (lambda: rg.tensor([1.0], dtype="float64"), "tensor([1.], dtype=float64)"),
        (lambda: rg.ones(2, requires_grad=True), "tensor([1., 1.], requires_grad=True)"),
        (lambda: rg.ones(2, requires_grad=True) * 2, "tensor([2., 2.], grad_fn=<multiply>)"),
        (lambda: rg.ones(0, 3), "tensor([], shape=(0, 3), dtype=float32)"),
        (lambda: rg.arange(4.0).reshape(2, 2), "tensor([[0., 1.],\n        [2., 3.]])"),
    ],
)
def test_repr(make: Any, expected: str) -> None:
    assert repr(make()) == expected


# Indexing


@given(data=st.data())
@settings(max_examples=60)
def test_indexing_agrees_with_numpy(data: st.DataObject) -> None:
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=4, max_side=5))
    key = data.draw(
        st.one_of(
            hnp.basic_indices(shape, allow_newaxis=True),
            hnp.integer_array_indices(shape, result_shape=hnp.array_shapes(max_dims=2, max_side=4)),
            hnp.arrays(bool, shape),
            hnp.arrays(bool, shape[:1]),
            st.lists(st.integers(-shape[0], shape[0] - 1), max_size=4),
            st.tuples(st.lists(st.integers(-shape[0], shape[0] - 1), max_size=4), st.just(...), st.none()),
        )
    )
    array = np.arange(np.prod(shape), dtype="f4").reshape(shape)
    plain = np.array(key, dtype=int) if isinstance(key, list) else key
    if isinstance(key, tuple) and key and isinstance(key[0], list):
        plain = (np.array(key[0], dtype=int), *key[1:])
    expected = array[plain]
    x = rg.tensor(array)
    np.testing.assert_array_equal(x[key].numpy(), expected, strict=False)
    assert (x[key].shape, x[key].dtype) == (np.shape(expected), rg.float32)
    tensors = rg.tensor(plain) if isinstance(plain, np.ndarray) else plain
    np.testing.assert_array_equal(x[tensors].numpy(), expected)
    values = -np.ones_like(expected) * np.arange(max(1, np.size(expected)))[: np.size(expected)].reshape(
        np.shape(expected)
    )
    distinct = np.unique(np.arange(array.size).reshape(shape)[plain]).size == np.size(expected)
    for value in (values, 3.0) if distinct else (3.0,):
        array[plain] = value
        x[key] = rg.tensor(value) if isinstance(value, np.ndarray) else value
        np.testing.assert_array_equal(x.numpy(), array)


# Random streams


def test_philox_known_answer(backend: str) -> None:
    """Random123's vector for ten rounds of philox4x32: counter 0, key 0."""
    words = rg.kernels.random_bits(4, 0, 0)
    assert [f"{w:08x}" for w in words] == ["6627e8d5", "e169c58d", "bc57ac4c", "9b00dbd8"]


def test_a_stream_is_one_stream_however_it_is_cut(backend: str) -> None:
    whole = rg.kernels.random_bits(100, 7, 2**33 - 3)
    for n in (1, 3, 4, 5, 90):
        np.testing.assert_array_equal(rg.kernels.random_bits(n, 7, 2**33 - 3), whole[:n])
        np.testing.assert_array_equal(rg.kernels.random_bits(n, 7, 2**33 - 1), whole[8 : 8 + n])
    assert not np.array_equal(rg.kernels.random_bits(100, 8, 2**33 - 3), whole)


DRAWS = {
    "rand": lambda g: rg.rand(3, 5, generator=g),
    "rand float64": lambda g: rg.rand(7, dtype="float64", generator=g),
    "randn": lambda g: rg.randn(5, generator=g),
    "randint": lambda g: rg.randint(-3, 9, (11,), generator=g),
    "randperm": lambda g: rg.randperm(17, generator=g),
    "dropout": lambda g: random.dropout(rg.ones(33), 0.3, generator=g),
}


@pytest.mark.parametrize("name", DRAWS)
def test_streams_are_the_same_on_every_backend_and_every_time(name: str, backend: str) -> None:
    draw = DRAWS[name]
    with rg.backends.use("numpy"):
        g = rg.Generator(11)
        expected = [draw(g).numpy() for _ in range(3)]
    assert not np.array_equal(expected[0], expected[1])
    g = rg.Generator(11)
    for e in expected:
        np.testing.assert_array_equal(draw(g).numpy(), e, strict=True)
    rg.manual_seed(11)
    state = rg.default_generator.get_state()
    for e in expected:
        np.testing.assert_array_equal(draw(None).numpy(), e)
    rg.default_generator.set_state(state)
    np.testing.assert_array_equal(draw(None).numpy(), expected[0])


def test_moments(backend: str) -> None:
    """Within five standard errors."""
    n = 200_000
    for x, mean, std in (
        (rg.rand(n), 0.5, 12**-0.5),
        (rg.rand(n, dtype="float64"), 0.5, 12**-0.5),
        (rg.randn(n), 0, 1),
        (rg.randint(0, 10, n), 4.5, 8.25**0.5),
        (random.dropout(rg.ones(n), 0.25), 1, (1 / 3) ** 0.5),
    ):
        values = x.numpy().astype("f8")
        assert abs(values.mean() - mean) < 5 * std / n**0.5
        assert abs(values.std() - std) < 10 * std / n**0.5
        assert abs(np.corrcoef(values[1:], values[:-1])[0, 1]) < 5 / n**0.5
    uniform = rg.rand(n).numpy()
    assert uniform.min() >= 0
    assert uniform.max() < 1
    tails = np.abs(rg.randn(n).numpy()) > 2
    assert abs(tails.mean() - 0.0455) < 5 * (0.0455 / n) ** 0.5
    assert sorted(rg.randperm(100).tolist()) == list(range(100))


def test_an_unseeded_generator_differs() -> None:
    assert rg.Generator().seed != rg.Generator().seed


# Threads, in the environment


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"RETROGRAD_NUM_THREADS": "3"}, "3"),
        ({"OMP_NUM_THREADS": "2"}, "2"),
        ({"OMP_NUM_THREADS": "2,4"}, "2"),
        ({"RETROGRAD_NUM_THREADS": "1", "OMP_NUM_THREADS": "5"}, "1"),
        ({"RETROGRAD_NUM_THREADS": "many"}, "RETROGRAD_NUM_THREADS='many': expected a whole number >= 1"),
        ({"RETROGRAD_NUM_THREADS": "0"}, "RETROGRAD_NUM_THREADS='0': expected a whole number >= 1"),
    ],
)
def test_threads_from_the_environment(environment: dict[str, str], expected: str) -> None:
    clean = {k: v for k, v in os.environ.items() if k not in ("RETROGRAD_NUM_THREADS", "OMP_NUM_THREADS")}
    run = subprocess.run(
        [sys.executable, "-c", "import retrograd as rg; print(rg.get_num_threads())"],
        env=clean | environment | {"RETROGRAD_BACKEND": "numpy"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert expected in (run.stdout.strip() or run.stderr)


def misaligned(values: Any) -> np.ndarray:
    """A contiguous array whose elements do not lie at multiples of their size."""
    values = np.asarray(values)
    return np.frombuffer(b" " + values.tobytes(), values.dtype, offset=1).reshape(values.shape)


def called_before(step: Any) -> Any:
    """The step, after a call with other memory: what follows is recognized by its form."""

    def again(given: np.ndarray) -> rg.Tensor:
        step(np.zeros(given.shape, given.dtype))
        made = step(given)
        assert all(a.flags.aligned for a in step._latest_call.inputs)
        return made

    return again


@pytest.mark.parametrize(
    "enter",
    [
        rg.tensor,
        rg.as_tensor,
        lambda a: rg.zeros(2, dtype=rg.float64) + a,
        lambda a: rg.Tensor(rg.kernels.add(a, 0.0 * a)),
        rg.compile(lambda a: a.clone()),
        called_before(rg.compile(lambda a: a + 0.0)),
    ],
)
def test_elements_at_odd_addresses_are_copied_where_they_enter(enter: Any, backend: str) -> None:
    given = misaligned([1.0, 2.0])
    assert not given.flags.aligned
    made = enter(given)
    assert made.array.flags.aligned
    np.testing.assert_array_equal(made.numpy(), [1.0, 2.0])


def test_memory_at_odd_addresses_is_not_shared() -> None:
    with pytest.raises(ValueError, match="odd addresses; use as_tensor"):
        rg.from_numpy(misaligned([1.0, 2.0]))
    with pytest.raises(ValueError, match="sgd_update: p is changed in place"):
        rg.kernels.sgd_update(misaligned([1.0]), np.ones(1), None, 0.1)
