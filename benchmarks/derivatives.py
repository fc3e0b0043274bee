"""What derivatives of functions cost, as multiples of what they are derivatives of.

A derivative along a direction, `rg.jvp`, beside the forward pass, by the input and by the weights; a Hessian-vector
product, `rg.hvp`, beside the gradient, by the weights. The forward pass is the plain call of the function, of which
nothing is recorded; beside it stand eager passes that are, as of parameters in training.

The arithmetic sets bounds to the first two, `forward_passes`: x @ w is one product, and its tangent tx @ w + x @ tw
takes another one for each operand that has a tangent. The value and both terms are a product of polynomials modulo
e^2, for which three products are the fewest (Winograd, Mathematical Systems Theory 10, 1977). The rest of a pass,
activations, memory and Python, does not come as often, which can make a ratio smaller.

python -m benchmarks.derivatives            the ratios of all networks, a row each, beside the bounds
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from . import BACKENDS, use_backend
from .cases import CASES, Case
from .timing import best_in_turn
from .workload import batch, initial_parameters

NETWORKS = {
    "house": CASES["house"],
    "rl": CASES["rl"],
    "wide": Case((256, 256, 256, 256), 128),
    "pinn": Case((2, 32, 32, 32, 32, 1), 512, "tanh"),
}
MODES = ("eager", "compiled")


def calls(case: Case, mode: str) -> dict[str, Callable[[], Any]]:
    """The functions to time, by name; those of one kind take the same arguments."""
    import retrograd as rg
    import retrograd.nn.functional as F

    x, y = (rg.from_numpy(array) for array in batch(case))
    parameters = {name: rg.from_numpy(array) for name, array in initial_parameters(case).items()}
    trained = {name: p.clone().requires_grad_() for name, p in parameters.items()}
    direction = {name: rg.ones_like(p) for name, p in parameters.items()}
    along = rg.ones_like(x)
    last = len(case.widths) - 2

    def predict(p: Any, x: Any) -> Any:
        for i in range(last + 1):
            x = F.linear(x, p[f"{2 * i}.weight"], p[f"{2 * i}.bias"], case.activation if i < last else None)
        return x

    def loss(p: Any) -> Any:
        return F.mse_loss(predict(p, x), y)

    functions: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
        "forward by input": (lambda x: predict(parameters, x), (x,)),
        "forward by weights": (lambda p: predict(p, x), (parameters,)),
        "forward recorded": (lambda x: predict(trained, x), (x,)),
        "jvp by input": (lambda x, t: rg.jvp(lambda x: predict(parameters, x), (x,), (t,)), (x, along)),
        "jvp by weights": (lambda p, v: rg.jvp(lambda p: predict(p, x), (p,), (v,)), (parameters, direction)),
        "gradient": (rg.grad(loss), (parameters,)),
        "hvp": (lambda p, v: rg.hvp(loss, p, v), (parameters, direction)),
    }
    made = {n: (rg.compile(f) if mode == "compiled" else f, given) for n, (f, given) in functions.items()}
    return {name: lambda f=f, given=given: f(*given) for name, (f, given) in made.items()}


def forward_passes(case: Case) -> tuple[float, float]:
    """How many forward passes' products a derivative along a direction takes, by the input and by the weights: there
    the first layer's input has no tangent."""
    sizes = [n_in * n_out for n_in, n_out in itertools.pairwise(case.widths)]
    return 2.0, (2 * sizes[0] + 3 * sum(sizes[1:])) / sum(sizes)


def ratios(case: Case, mode: str, rounds: int = 50) -> dict[str, float]:
    """How many forward passes, or gradients, each derivative takes."""
    functions = calls(case, mode)
    seconds = best_in_turn(functions, rounds)
    return {
        "jvp by input": seconds["jvp by input"] / seconds["forward by input"],
        "jvp by weights": seconds["jvp by weights"] / seconds["forward by weights"],
        "of recorded passes": seconds["jvp by weights"] / seconds["forward recorded"],
        "hvp": seconds["hvp"] / seconds["gradient"],
    }


class Derivative:
    params = (list(NETWORKS), list(MODES), BACKENDS)
    param_names = ("network", "mode", "backend")

    def setup(self, network, mode, backend):
        use_backend(backend)
        self.case = NETWORKS[network]
        self.calls = calls(self.case, mode)
        self.calls["hvp"]()  # here the Numba backend compiles

    def time_hvp(self, network, mode, backend):
        self.calls["hvp"]()

    def track_jvp_by_input_in_forward_passes(self, network, mode, backend):
        return ratios(self.case, mode)["jvp by input"]

    def track_jvp_by_weights_in_forward_passes(self, network, mode, backend):
        return ratios(self.case, mode)["jvp by weights"]

    def track_hvp_in_gradients(self, network, mode, backend):
        return ratios(self.case, mode)["hvp"]

    track_jvp_by_input_in_forward_passes.unit = "ratio"
    track_jvp_by_weights_in_forward_passes.unit = "ratio"
    track_hvp_in_gradients.unit = "ratio"


if __name__ == "__main__":
    columns = ("jvp by input", "products", "jvp by weights", "products", "of recorded passes", "hvp")
    print(f"{'network':8s} {'mode':8s}", *columns, sep="  ")
    for name, case in NETWORKS.items():
        by_input, by_weights = forward_passes(case)
        for mode in MODES:
            found = ratios(case, mode)
            recorded = found["of recorded passes"] if mode == "eager" else None
            row = (found["jvp by input"], by_input, found["jvp by weights"], by_weights, recorded, found["hvp"])
            cells = [
                f"{'' if value is None else format(value, '.2f'):>{len(column)}s}"
                for column, value in zip(columns, row, strict=True)
            ]
            print(f"{name:8s} {mode:8s}", *cells, sep="  ")
