"""One training step of a case, as users of each library write it: same data, same initial parameters.

A `*_step` function builds the network and returns a function that makes one step on the batch and returns the loss
before the update, with an item() that gives it as a float.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .cases import LEARNING_RATE, Case

Step = Callable[[], Any]
Parameters = dict[str, np.ndarray]


def batch(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Inputs (batch, first width) and targets (batch, last width), float32."""
    draw = np.random.default_rng(0)
    shapes = ((case.batch, case.widths[0]), (case.batch, case.widths[-1]))
    x, y = (draw.standard_normal(shape, np.float32) for shape in shapes)
    return x, y


def initial_parameters(case: Case) -> Parameters:
    """Weights and biases by the names that nn.Sequential of layers and activations gives them, float32."""
    draw = np.random.default_rng(1)
    parameters = {}
    for i, (n_in, n_out) in enumerate(zip(case.widths, case.widths[1:], strict=False)):
        bound = n_in**-0.5
        parameters[f"{2 * i}.weight"] = draw.uniform(-bound, bound, (n_out, n_in)).astype(np.float32)
        parameters[f"{2 * i}.bias"] = draw.uniform(-bound, bound, n_out).astype(np.float32)
    return parameters


def numpy_step(case: Case) -> Step:
    """NumPy by hand: the shortest step that makes no needless copy, weights stored (in_features, out_features)."""
    x, y = batch(case)
    initial = initial_parameters(case)
    layers = range(len(case.widths) - 1)
    weights = [np.ascontiguousarray(initial[f"{2 * i}.weight"].T) for i in layers]
    biases = [initial[f"{2 * i}.bias"] for i in layers]
    update = _numpy_adam() if case.optimizer == "adam" else _numpy_sgd

    def step() -> float:
        outputs = [x]
        for i in layers:
            z = outputs[-1] @ weights[i]
            z += biases[i]
            if i < layers[-1]:
                np.maximum(z, 0, out=z) if case.activation == "relu" else np.tanh(z, out=z)
            outputs.append(z)
        d = outputs.pop()
        d -= y
        loss = np.vdot(d, d) / d.size
        d *= 2 / d.size
        gradients = []
        for i in reversed(layers):
            a = outputs.pop()
            gradients += [(weights[i], a.T @ d), (biases[i], d.sum(0))]
            if i:
                d = d @ weights[i].T
                d *= a > 0 if case.activation == "relu" else 1 - a * a
        update(gradients)
        return loss

    return step


Gradients = list[tuple[np.ndarray, np.ndarray]]


def _numpy_sgd(gradients: Gradients) -> None:
    for p, g in gradients:
        g *= LEARNING_RATE
        p -= g


def _numpy_adam() -> Callable[[Gradients], None]:
    moments: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    steps = 0

    def update(gradients: Gradients) -> None:
        nonlocal steps
        steps += 1
        rate = LEARNING_RATE / (1 - 0.9**steps)
        correction = (1 - 0.999**steps) ** -0.5
        for p, g in gradients:
            m, v = moments.setdefault(id(p), (np.zeros_like(p), np.zeros_like(p)))
            m += 0.1 * (g - m)
            v += 0.001 * (g * g - v)
            p -= rate * m / (np.sqrt(v) * correction + 1e-8)

    return update


def retrograd_step(case: Case) -> Step:
    """retrograd, eager, on the backend in force."""
    import retrograd as rg
    import retrograd.nn.functional as F
    from retrograd import nn, optim

    x, y = (rg.from_numpy(array) for array in batch(case))
    return _eager_step(case, nn, optim, F, rg.from_numpy, x, y)


def torch_step(case: Case) -> Step:
    """PyTorch, eager."""
    import torch
    import torch.nn.functional as F
    from torch import nn, optim

    x, y = (torch.from_numpy(array) for array in batch(case))
    return _eager_step(case, nn, optim, F, torch.from_numpy, x, y)


def _eager_step(case: Case, nn: Any, optim: Any, F: Any, from_numpy: Callable[..., Any], x: Any, y: Any) -> Step:
    """The step in the words that PyTorch and retrograd share."""
    layers = []
    for n_in, n_out in zip(case.widths, case.widths[1:], strict=False):
        layers += [nn.Linear(n_in, n_out), nn.ReLU() if case.activation == "relu" else nn.Tanh()]
    model = nn.Sequential(*layers[:-1])
    model.load_state_dict({name: from_numpy(array) for name, array in initial_parameters(case).items()})
    optimizer = (optim.Adam if case.optimizer == "adam" else optim.SGD)(model.parameters(), lr=LEARNING_RATE)

    def step() -> Any:
        loss = F.mse_loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return step
