"""One training step of a case, as users of each library write it: same data, same initial parameters.

A `*_step` function builds the network and returns a function that makes one step on the batch and returns the loss
before the update; those that loop make LOOP steps and return their losses.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .cases import LEARNING_RATE, Case

LOOP = 100
"""Steps that the peers that loop make in one call."""

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
    step, x, y = _retrograd(case)
    return lambda: step(x, y)


def retrograd_compiled_step(case: Case) -> Step:
    """retrograd, compiled, on the backend in force."""
    import retrograd as rg

    step, x, y = _retrograd(case)
    compiled = rg.compile(step)
    return lambda: compiled(x, y)


def retrograd_run_step(case: Case) -> Step:
    """retrograd's compiled step over LOOP batches in one call, which returns their losses."""
    import retrograd as rg

    step, x, y = _retrograd(case)
    compiled = rg.compile(step)
    many_x, many_y = (np.concatenate([t.numpy()] * LOOP) for t in (x, y))
    return lambda: compiled.run(many_x, many_y, batch_size=case.batch)


def _retrograd(case: Case) -> tuple[Callable[[Any, Any], Any], Any, Any]:
    import retrograd as rg
    import retrograd.nn.functional as F
    from retrograd import nn, optim

    x, y = (rg.from_numpy(array) for array in batch(case))
    return _shared_step(case, nn, optim, F, rg.from_numpy), x, y


def torch_step(case: Case) -> Step:
    """PyTorch, eager."""
    step, x, y = _torch(case)
    return lambda: step(x, y)


def torch_compiled_step(case: Case) -> Step:
    """PyTorch's torch.compile of the whole step."""
    import torch

    step, x, y = _torch(case)
    compiled = torch.compile(step)
    return lambda: compiled(x, y)


def _torch(case: Case) -> tuple[Callable[[Any, Any], Any], Any, Any]:
    import torch
    import torch.nn.functional as F
    from torch import nn, optim

    x, y = (torch.from_numpy(array) for array in batch(case))
    return _shared_step(case, nn, optim, F, torch.from_numpy), x, y


def _shared_step(case: Case, nn: Any, optim: Any, F: Any, from_numpy: Callable[..., Any]) -> Callable[[Any, Any], Any]:
    """The step in the words that PyTorch and retrograd share."""
    layers = []
    for n_in, n_out in zip(case.widths, case.widths[1:], strict=False):
        layers += [nn.Linear(n_in, n_out), nn.ReLU() if case.activation == "relu" else nn.Tanh()]
    model = nn.Sequential(*layers[:-1])
    model.load_state_dict({name: from_numpy(array) for name, array in initial_parameters(case).items()})
    optimizer = (optim.Adam if case.optimizer == "adam" else optim.SGD)(model.parameters(), lr=LEARNING_RATE)

    def step(x: Any, y: Any) -> Any:
        loss = F.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss

    return step


def jax_step(case: Case) -> Step:
    """JAX, the step under jit, with its parameters donated."""
    import jax

    step, state, x, y = _jax(case)
    compiled = jax.jit(step, donate_argnums=0)

    def run() -> Any:
        nonlocal state
        state, loss = compiled(state, x, y)
        return loss.block_until_ready()

    return run


def jax_scan_step(case: Case) -> Step:
    """JAX, LOOP batches in one lax.scan under jit, which returns their losses."""
    import jax
    import jax.numpy as jnp

    step, state, x, y = _jax(case)
    batches = tuple(jnp.stack([a] * LOOP) for a in (x, y))
    compiled = jax.jit(lambda s, xy: jax.lax.scan(lambda c, b: step(c, *b), s, xy), donate_argnums=0)

    def run() -> Any:
        nonlocal state
        state, losses = compiled(state, batches)
        return losses.block_until_ready()

    return run


def _jax(case: Case) -> tuple[Callable[..., Any], Any, Any, Any]:
    import jax
    import jax.numpy as jnp

    x, y = (jnp.asarray(array) for array in batch(case))
    initial = {name: jnp.asarray(array) for name, array in initial_parameters(case).items()}
    count = len(case.widths) - 1
    activate = jax.nn.relu if case.activation == "relu" else jnp.tanh

    def loss_of(parameters: Any, x: Any, y: Any) -> Any:
        for i in range(count):
            x = x @ parameters[f"{2 * i}.weight"].T + parameters[f"{2 * i}.bias"]
            x = activate(x) if i < count - 1 else x
        return jnp.mean((x - y) ** 2)

    def step(state: Any, x: Any, y: Any) -> Any:
        parameters, m, v, n = state
        loss, g = jax.value_and_grad(loss_of)(parameters, x, y)
        if case.optimizer == "sgd":
            return (jax.tree.map(lambda p, g: p - LEARNING_RATE * g, parameters, g), m, v, n), loss
        n += 1
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
        rate, correction = LEARNING_RATE / (1 - 0.9**n), (1 - 0.999**n) ** -0.5
        new = jax.tree.map(lambda p, m, v: p - rate * m / (jnp.sqrt(v) * correction + 1e-8), parameters, m, v)
        return (new, m, v, n), loss

    zeros = jax.tree.map(jnp.zeros_like, initial) if case.optimizer == "adam" else {}
    return step, (initial, zeros, jax.tree.map(jnp.zeros_like, zeros), jnp.float32(0)), x, y


def sklearn_step(case: Case) -> Step:
    """scikit-learn's MLPRegressor: partial_fit of one batch.

    Its loss is half of ours times the outputs, so its learning rate and loss are scaled to ours."""
    from sklearn.neural_network import MLPRegressor

    x, y = batch(case)
    outputs = case.widths[-1]
    adam = case.optimizer == "adam"
    model = MLPRegressor(
        hidden_layer_sizes=case.widths[1:-1],
        activation=case.activation,
        solver=case.optimizer,
        alpha=0.0,
        batch_size=case.batch,
        learning_rate_init=LEARNING_RATE * (1 if adam else 2 / outputs),
        momentum=0.0,
        nesterovs_momentum=False,
        shuffle=False,
    )
    target = y.ravel() if outputs == 1 else y
    model.partial_fit(x, target)  # makes the arrays, which its optimizer holds
    initial = initial_parameters(case)
    for i, (weight, bias) in enumerate(zip(model.coefs_, model.intercepts_, strict=True)):
        weight[...] = initial[f"{2 * i}.weight"].T
        bias[...] = initial[f"{2 * i}.bias"]
    if adam:
        optimizer = model._optimizer
        optimizer.t = 0
        for moment in (*optimizer.ms, *optimizer.vs):
            moment[...] = 0

    def step() -> Any:
        model.partial_fit(x, target)
        return np.float64(2 * model.loss_)

    return step
