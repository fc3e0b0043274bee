"""Pictures of the tape's graph and of programs: what stands in them, what is folded, and that Graphviz takes them."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import retrograd as rg
import retrograd.nn.functional as F
from retrograd import inspect, nn, optim
from retrograd.inspect.graph import OP, Box, Edge, Graph, folded, grouped
from retrograd.inspect.mermaid import to_mermaid

needs_dot = pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")


class Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Linear(width, 2 * width)
        self.outer = nn.Linear(2 * width, width)

    def forward(self, x: rg.Tensor) -> rg.Tensor:
        return x + self.outer(F.gelu(self.inner(x)))


def model(blocks: int = 6) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(4, 8), nn.ReLU(), nn.Sequential(*[Residual(8) for _ in range(blocks)]), nn.Linear(8, 3)
    )


def loss_of(network: nn.Module) -> rg.Tensor:
    return F.cross_entropy(network(rg.randn(5, 4)), rg.randint(0, 3, (5,)))


def test_values_parameters_and_gradients_stand_in_the_graph() -> None:
    network = model(1)
    loss = loss_of(network)
    graph = inspect.draw(loss, network, fold=False).graph
    texts = {line for box in graph.boxes for line in box.lines}
    assert {"linear_relu", "gelu", "add", "cross_entropy_loss", f"{loss.item():.4g}"} <= texts
    assert {"0: Linear", "2.0.inner: Linear", "2.0.outer: Linear"} <= texts
    assert any(line.startswith("weight: 16 x 8, grad ") for line in texts)
    assert {"5 x 4", "5 x 8", "5 x 16", "5 x 3", "5", "scalar"} == {edge.label for edge in graph.edges}
    assert all(p.grad is None for p in network.parameters())
    loss.backward()  # the drawing left the graph as it was


def test_edges_carry_the_norm_of_the_gradient() -> None:
    x = rg.tensor([3.0, 4.0], requires_grad=True)
    graph = inspect.draw((x * 2.0).square().sum()).graph
    sizes = {(graph.boxes[e.source].lines[0], e.label): e.gradients for e in graph.edges}
    assert sizes["leaf", "2"] == pytest.approx([8 * 5.0])  # 8 x
    assert sizes["multiply", "2"] == pytest.approx([4 * 5.0])  # 2 (2 x)
    assert sizes["sum", "scalar"] == [1.0]
    assert not any(e.gradients for e in inspect.draw((x * 2.0).sum(), gradients=False).graph.edges)


def test_after_a_backward_that_freed_the_graph_parameters_show_their_gradients() -> None:
    network = model(1)
    loss = loss_of(network)
    loss.backward()
    graph = inspect.draw(loss, network).graph
    assert not any(edge.gradients for edge in graph.edges)
    expected = np.linalg.norm(network[0].weight.grad.numpy())
    assert any(f"weight: 8 x 4, grad {expected:.1e}" in box.lines for box in graph.boxes)


@pytest.mark.parametrize("blocks", [3, 6, 40])
def test_repeated_structure_is_folded(blocks: int) -> None:
    network = model(blocks)
    loss = loss_of(network)
    drawing = inspect.draw(loss, network)
    assert len(drawing.graph.boxes) == 10
    assert {str(title) for box in drawing.graph.boxes for title in box.group} == {
        "2: Sequential",
        f"{blocks} times",
        "2.0: Residual",
    }
    inner = next(e for e in drawing.graph.edges if "gelu" in drawing.graph.boxes[e.target].lines)
    assert len(inner.gradients) == blocks
    weights = [network[2][n].inner.weight for n in range(blocks)]
    norms = [float(np.linalg.norm(g)) for g in rg.autograd.grad(loss, weights, retain_graph=True)]
    box = next(box for box in drawing.graph.boxes if "2.0.inner: Linear" in box.lines)
    assert f"weight: 16 x 8, grad {min(norms):.1e} to {max(norms):.1e}" in box.lines
    assert len(inspect.draw(loss, network, fold=False).graph.boxes) == 6 + 4 * blocks


def test_a_single_layer_that_repeats_has_a_frame() -> None:
    network = nn.Sequential(*[m for _ in range(5) for m in (nn.Linear(4, 4), nn.Sigmoid())])
    graph = inspect.draw(network(rg.randn(2, 4)).sum(), network).graph
    boxes = graph.boxes
    entering = next(edge for edge in graph.edges if "2: Linear" in boxes[edge.target].lines)
    assert len(entering.gradients) == 4
    layers = [(box.lines[0], [str(title) for title in box.group]) for box in boxes if "linear_sigmoid" in box.lines]
    assert layers == [("0: Linear", []), ("2: Linear", ["4 times"])]


def test_only_equal_runs_are_folded() -> None:
    """Of x a a a b c b c b c d, three a and three pairs."""
    forms = "xaaabcbcbcd"
    graph = Graph(
        [Box([form], OP, form=form, step=n) for n, form in enumerate(forms)],
        [Edge(n, n + 1, "v") for n in range(len(forms) - 1)],
    )
    made = folded(graph)
    assert [box.lines[0] for box in made.boxes] == ["x", "a", "b", "c", "d"]
    assert [[str(title) for title in box.group] for box in made.boxes] == [[], *[["3 times"]] * 3, []]
    a, b, c = (made.boxes[n].group[0] for n in (1, 2, 3))
    assert a is not b
    assert b is c
    assert len(grouped(made).inner) == 2
    assert {(e.source, e.target) for e in made.edges} == {(0, 1), (1, 2), (2, 3), (3, 4)}


def test_a_program_is_drawn_after_its_passes() -> None:
    network = nn.Sequential(*[m for _ in range(5) for m in (nn.Linear(8, 8), nn.Tanh())], nn.Linear(8, 1))
    optimizer = optim.SGD(network.parameters(), lr=0.1)

    @rg.compile
    def step(x: rg.Tensor, y: rg.Tensor) -> rg.Tensor:
        loss = F.mse_loss(network(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    step(rg.randn(32, 8), rg.randn(32, 1))
    whole = inspect.draw(step.program, network, fold=False).graph
    assert sum(box.step is not None for box in whole.boxes) == len(step.program.instructions)
    text = inspect.draw(step.program, network).to_dot()
    for part in ("linear_forward, tanh", "linear_backward, tanh", "sgd_update", "0.weight: 8 x 8", "32 rows", "times"):
        assert part in text
    assert len(inspect.draw(step.program, network).graph.boxes) < len(whole.boxes)


@needs_dot
def test_graphviz_and_mermaid(tmp_path: Path) -> None:
    network = model()
    drawing = inspect.draw(loss_of(network), network)
    for name in ("graph.svg", "graph.png", "graph.pdf", "graph.dot", "graph.mmd"):
        drawing.save(tmp_path / name)
    svg = (tmp_path / "graph.svg").read_text()
    assert "6 times" in svg
    assert "2.0.inner: Linear" in svg
    assert svg == drawing._repr_svg_()
    assert 100 < int(re.search(r'<svg width="(\d+)pt"', svg)[1]) < 500  # letters of 11 points, whatever a PNG has
    assert (tmp_path / "graph.png").read_bytes().startswith(b"\x89PNG")
    mermaid = (tmp_path / "graph.mmd").read_text()
    assert mermaid.startswith("flowchart TD\n")
    assert mermaid.count("subgraph") == len(re.findall(r"\n +end", mermaid)) == 3
    defined = set(re.findall(r"^ +(n\d+)[\[(]", mermaid, re.MULTILINE))
    assert set(re.findall(r"n\d+", " ".join(re.findall(r"^ +n\d+ -->.*$", mermaid, re.MULTILINE)))) <= defined


def test_mermaid_escapes_what_it_would_read() -> None:
    graph = Graph([Box(['<lambda> "f" #1']), Box(["b"], group=("a <b>",))], [Edge(0, 1, "2 x 3", [1.0])])
    text = to_mermaid(graph)
    assert 'n0["#lt;lambda#gt; #quot;f#quot; #35;1"]:::op' in text
    assert 'subgraph g0["a #lt;b#gt;"]' in text
    assert 'n0 -->|"2 x 3<br/>grad 1.0e+00"| n1' in text


def test_errors_name_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    network = model(1)
    drawing = inspect.draw(loss_of(network), network)
    with pytest.raises(TypeError, match="got Sequential, expected a Tensor"):
        inspect.draw(network)
    with pytest.raises(ValueError, match="nothing was recorded"):
        inspect.draw(rg.zeros(2))
    with pytest.raises(ValueError, match="expected one of svg, png"):
        drawing.save(tmp_path / "graph.bmp")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(RuntimeError, match="`dot` is not installed"):
        drawing.to_svg()
    assert drawing._repr_svg_() is None
    assert drawing.to_dot().startswith("digraph")
