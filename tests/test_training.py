"""Whole trainings on real data: the backends follow one curve, and a run can be repeated to the bit."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits

import retrograd as rg
import retrograd.nn.functional as F
from retrograd import nn, optim

STEPS = 100


def losses(steps: int, compiled: bool = False) -> tuple[np.ndarray, bytes]:
    """The losses of a classifier of digits with dropout and Adam, and the bytes of its parameters in the end."""
    inputs, labels = load_digits(return_X_y=True)
    inputs = ((inputs - inputs.mean(0)) / (inputs.std(0) + 1e-6)).astype(np.float32)
    rg.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 10)
    )
    optimizer = optim.Adam(model.parameters())

    def step(x: rg.Tensor, y: rg.Tensor) -> rg.Tensor:
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    call = rg.compile(step) if compiled else step
    batches = rg.data.batches(inputs, labels, batch_size=64, shuffle=True, drop_last=True)
    found: list[float] = []
    while len(found) < steps:
        found += [call(x, y).item() for x, y in batches]
    return np.array(found[:steps]), b"".join(p.detach().numpy().tobytes() for p in model.parameters())


@pytest.fixture(scope="module")
def reference() -> np.ndarray:
    with rg.backends.use("numpy"):
        return losses(STEPS)[0]


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
def test_the_backends_follow_one_curve(backend: str, reference: np.ndarray, compiled: bool) -> None:
    np.testing.assert_allclose(losses(STEPS, compiled)[0], reference, rtol=1e-4)


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
def test_ten_epochs_twice_give_the_same_bits(backend: str, compiled: bool) -> None:
    first, second = losses(270, compiled), losses(270, compiled)
    np.testing.assert_array_equal(first[0], second[0])
    assert first[1] == second[1]
