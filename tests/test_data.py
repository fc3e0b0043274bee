"""Minibatches: every row once an epoch, in an order that seed and epoch give."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import retrograd as rg
from retrograd.data import epoch_order


@given(
    rows=st.integers(0, 40),
    batch_size=st.integers(1, 45),
    shuffle=st.booleans(),
    drop_last=st.booleans(),
    seed=st.integers(0, 2**64 - 1),
)
def test_an_epoch_takes_every_row_once(rows, batch_size, shuffle, drop_last, seed):
    X = np.arange(rows * 2.0).reshape(rows, 2)
    y = np.arange(rows)
    data = rg.data.batches(X, y, batch_size=batch_size, shuffle=shuffle, seed=seed, drop_last=drop_last)
    taken = list(data)
    assert len(taken) == len(data)
    sizes = [len(x) for x, _ in taken]
    assert all(size == batch_size for size in sizes[: None if drop_last else -1])
    seen = [row for _, target in taken for row in target.tolist()]
    kept = rows - rows % batch_size if drop_last else rows
    assert len(set(seen)) == len(seen) == kept
    for x, target in taken:
        np.testing.assert_array_equal(x, X[target.numpy()])
    if not shuffle:
        assert seen == list(range(kept))


def orders(data, epochs):
    return [[row for batch in data for row in batch.tolist()] for _ in range(epochs)]


def test_shuffles_differ_by_epoch_and_seed_and_come_again():
    rows = np.arange(200)
    first = orders(rg.data.batches(rows, shuffle=True, seed=1), 3)
    assert len({tuple(order) for order in first}) == 3
    assert orders(rg.data.batches(rows, shuffle=True, seed=1), 3) == first
    assert orders(rg.data.batches(rows, shuffle=True, seed=2), 1)[0] != first[0]
    resumed = rg.data.batches(rows, shuffle=True, seed=1)
    resumed.epoch = 2
    assert orders(resumed, 1)[0] == first[2]
    np.testing.assert_array_equal(epoch_order(200, 1, 2), first[2])


def test_shuffling_draws_nothing_from_the_default_generator(backend):
    rg.manual_seed(7)
    expected = rg.rand(3).tolist()
    rg.manual_seed(7)
    order = orders(rg.data.batches(np.arange(50), shuffle=True), 1)[0]
    assert rg.rand(3).tolist() == expected
    with rg.backends.use("numpy"):
        assert orders(rg.data.batches(np.arange(50), shuffle=True), 1)[0] == order


def test_epochs_that_overlap_do_not_disturb_each_other():
    data = rg.data.batches(np.arange(6), batch_size=2)
    pairs = [(a.tolist(), b.tolist()) for a, b in zip(data, data, strict=True)]
    assert pairs == [([0, 1], [0, 1]), ([2, 3], [2, 3]), ([4, 5], [4, 5])]
    assert data.epoch == 2


@pytest.mark.parametrize("shuffle", [False, True])
def test_structure_and_dtypes_are_kept(shuffle):
    a, b = np.ones((5, 2, 3), np.float32), rg.arange(5)
    for (x, index), y in rg.data.batches((a, b), rg.ones(5, 1, dtype="float64"), batch_size=2, shuffle=shuffle):
        assert isinstance(x, rg.Tensor)
        assert x.shape[1:] == (2, 3)
        assert (x.dtype, index.dtype, y.dtype) == (rg.float32, rg.int64, rg.float64)
    (batch,) = rg.data.batches([[1.0], [2.0]])
    assert batch.dtype == rg.float32
    assert not next(iter(rg.data.batches(rg.ones(3, requires_grad=True), shuffle=shuffle))).requires_grad


def test_strided_rows_are_taken_whole(backend):
    X = np.arange(24.0).reshape(4, 6).T
    (batch,) = rg.data.batches(X, batch_size=6, shuffle=True, seed=3)
    np.testing.assert_array_equal(batch, X[epoch_order(6, 3, 0)])


def test_unshuffled_batches_share_memory():
    X = np.zeros((4, 2))
    first = next(iter(rg.data.batches(X, batch_size=2)))
    assert np.shares_memory(first.numpy(), X)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((np.zeros((3, 2)), np.zeros(4)), {}, r"one number of rows, got shapes \(3, 2\), \(4,\)"),
        (((np.zeros(3), np.zeros(2)),), {}, r"got shapes \(3,\), \(2,\)"),
        (((),), {}, "got shapes none"),
        ((), {}, "got shapes none"),
        ((np.zeros(3), np.zeros(3), 32), {}, "argument 2 has no axes.*options are named, as batch_size="),
        ((np.zeros(3), (np.zeros(3), 4.0)), {}, r"argument 1\[1\] has no axes"),
        ((np.zeros(3),), {"batch_size": 0}, "batch_size is 0"),
        ((np.zeros(3),), {"batch_size": 2.5}, r"batch_size is 2\.5"),
        ((np.zeros(3),), {"batch_size": True}, "batch_size is True"),
        ((np.zeros(3),), {"seed": -1}, "-1 is not a whole number"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        rg.data.batches(*arguments, **options)


def test_as_many_arrays_as_are_given():
    rows = np.arange(7)
    for a, b, c in rg.data.batches(rows, rows * 2, rows * 3, batch_size=3, shuffle=True):
        np.testing.assert_array_equal(a * 6, b * 3)
        np.testing.assert_array_equal(a * 3, c)


def test_text_is_refused():
    with pytest.raises(TypeError, match="not supported"):
        rg.data.batches(np.array(["a", "b"]))
