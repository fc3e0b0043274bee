"""The gallery of docs/gallery.md: four small networks, one healthy and three sick, and what rg.inspect says of them.

    python docs/gallery.py

trains them, and writes docs/gallery/*.png and docs/gallery.md anew. Needs matplotlib, and Graphviz's `dot`.
"""

from __future__ import annotations

import math
import textwrap
from pathlib import Path
from typing import NamedTuple

import numpy as np

import retrograd as rg
import retrograd.nn.functional as F
from retrograd import inspect, nn, optim

HERE = Path(__file__).parent
ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}
GAINS = {"relu": 2.0, "tanh": 1.0, "sigmoid": 1.0}
"""The variance of a weight, times its inputs, that keeps the signal: He et al. 2015, Glorot and Bengio 2010."""


class Case(NamedTuple):
    """A network and how it is trained: `depth` hidden layers of 32 units; weights drawn `scale` times as large as He et
    al. or Glorot and Bengio would; by gradient descent with momentum."""

    depth: int
    activation: str
    scale: float
    lr: float


CASES = {
    "healthy": Case(8, "relu", 1.0, 0.002),
    "vanishing": Case(30, "sigmoid", 1.0, 0.01),
    "exploding": Case(12, "relu", 2.0, 1e-4),
    "dead": Case(2, "relu", 1.0, 0.1),
}
"""By the verdict that they deserve."""

WORDS = {
    "healthy": "Eight ReLU layers with He's initialization. The signal arrives at the first layer as strong as at the "
    "last, and keeps doing so while the network learns.",
    "vanishing": "Thirty sigmoid layers with Glorot's initialization. A sigmoid's slope is at most a quarter: of the "
    "signal, hardly 10⁻¹⁸ arrives at the first layer. Only the last layers ever change, and the loss stalls.",
    "exploding": "Twelve ReLU layers whose weights are drawn twice as large as they should. The signal doubles at each "
    "layer on its way back; a few steps later the weights are not numbers any more.",
    "dead": "Two ReLU layers, well initialized, and a learning rate ten times too high. The first updates throw most "
    "units to where no row activates them. They get no signal there, so they never come back.",
}


def network(case: Case) -> nn.Sequential:
    """The network of a case: (rows, 2) to (rows, 1)."""
    layers: list[nn.Module] = []
    width = 2
    for _ in range(case.depth):
        layer = nn.Linear(width, 32)
        nn.init.normal_(layer.weight, 0.0, case.scale * math.sqrt(GAINS[case.activation] / width))
        nn.init.zeros_(layer.bias)
        layers += [layer, ACTIVATIONS[case.activation]()]
        width = 32
    return nn.Sequential(*layers, nn.Linear(width, 1))


def data() -> tuple[np.ndarray, np.ndarray]:
    """256 rows of sin(a b), standardized, so that the mean alone has a loss of 1."""
    x = np.random.default_rng(0).uniform(-2, 2, (256, 2)).astype(np.float32)
    y = np.sin(x[:, :1] * x[:, 1:])
    return x, (y - y.mean()) / y.std()


def train(case: Case, steps: int, every: int, seed: int = 0) -> tuple[nn.Sequential, inspect.Watch, list[float]]:
    """The trained network, what the watch saw, and the losses."""
    rg.manual_seed(seed)
    model = network(case)
    optimizer = optim.SGD(model.parameters(), lr=case.lr, momentum=0.9)

    x, y = map(rg.tensor, data())
    losses = []
    with inspect.watch(model, every=every) as watch:
        for _ in range(steps):
            loss = F.mse_loss(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return model, watch, losses


class Residual(nn.Module):
    """x + outer(gelu(inner(x))), as in transformers and ResNets: the sum lets the signal pass as it is."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Linear(width, 2 * width)
        self.outer = nn.Linear(2 * width, width)

    def forward(self, x: rg.Tensor) -> rg.Tensor:
        return x + self.outer(F.gelu(self.inner(x)))


def drawings() -> tuple[inspect.Drawing, inspect.Drawing, inspect.Drawing]:
    """The graph of a residual network's loss, that of the thirty sigmoid layers, and a small step's program."""
    rg.manual_seed(0)
    x, y = data()
    model = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), *[Residual(32) for _ in range(12)], nn.Linear(32, 1))
    residual = inspect.draw(F.mse_loss(model(x), y), model)
    deep = network(CASES["vanishing"])
    vanishing = inspect.draw(F.mse_loss(deep(x), y), deep)
    small = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 1))
    optimizer = optim.SGD(small.parameters(), lr=0.1)

    @rg.compile
    def step(x: rg.Tensor, y: rg.Tensor) -> rg.Tensor:
        loss = F.mse_loss(small(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    step(x, y)
    return residual, vanishing, inspect.draw(step.program, small)


INTRODUCTION = """\
Each picture and table here is made by `python docs/gallery.py`. The networks learn sin(a b) from 256 points; the loss
of the mean alone is 1. The lines show how large the gradient is that arrives at each layer, the loss on the right; the
maps show the same for each layer and step; the bars show whose fault the error is, by two measures: what the weights
that are there contribute (the sum of |θ·∂L/∂θ|), and where a change would act (the squared norm of the gradient).
"""

DRAWN = """\
## The graph

`rg.inspect.draw(loss, model)` draws what was recorded: here a network of twelve residual blocks, which are alike and so
drawn once. At the edges stand the shapes of the values and the sizes of their gradients; over the twelve blocks, from
the least to the greatest: the sums let the signal pass.

![the graph of a residual network](gallery/graph.png)

`rg.inspect.draw(step.program, model)` draws a compiled step, after its passes: what is in the frame runs on slices of
the batch that stay in the cache.

![the program of a compiled step](gallery/program.png)

`to_mermaid()` gives the same as text that READMEs show as a picture. The thirty sigmoid layers:

```mermaid
{mermaid}```
"""


def main() -> None:
    """Train the networks, and write the pictures and the page."""
    pictures = HERE / "gallery"
    pictures.mkdir(exist_ok=True)
    page = ["# Four networks, and what is wrong with three of them\n", INTRODUCTION]
    for name, case in CASES.items():
        _, watch, losses = train(case, steps=200, every=5)
        inspect.figures.signal(watch).savefig(pictures / f"{name}-signal.png")
        inspect.figures.heat_map(watch).savefig(pictures / f"{name}-steps.png")
        measured = [report for report in watch.reports if math.isfinite(report.layers[0].responsibility)]
        inspect.figures.responsibility(measured[-1]).savefig(pictures / f"{name}-responsibility.png")
        outcome = f"The loss is {losses[0]:.3g} at first, and {losses[-1]:.3g} after 200 steps."
        page += [
            f"## {name.capitalize()}\n",
            textwrap.fill(f"{WORDS[name]} {outcome}", 120) + "\n",
            f"![signal along the depth](gallery/{name}-signal.png)\n",
            f"![signal by layer and step](gallery/{name}-steps.png)\n",
            f"![share of responsibility](gallery/{name}-responsibility.png)\n",
            f"```\n{watch.report()}\n```\n",
        ]
    residual, vanishing, program = drawings()
    residual.save(pictures / "graph.png")
    program.save(pictures / "program.png")
    page.append(DRAWN.format(mermaid=vanishing.to_mermaid()))
    (HERE / "gallery.md").write_text("\n".join(page))


if __name__ == "__main__":
    main()
