"""A graph as Graphviz DOT, and through Graphviz's `dot`, where that is installed, as SVG or PNG.

The background is transparent; boxes bring their own, and what stands outside them is of a grey that shows on white and
on black. The colours are of Okabe and Ito's palette, told apart by any eye.
"""

from __future__ import annotations

import itertools
import shutil
import subprocess
from collections.abc import Iterator

from .graph import OP, RESULT, VALUE, Box, Edge, Graph, Groups, extent, grouped

_GREY = "#7A7A7A"
_STYLES = {
    OP: 'shape=box, style="filled,rounded", fillcolor="#CFE6F5", color="#0072B2"',
    VALUE: 'shape=ellipse, style=filled, fillcolor="#FBF3C4", color="#E69F00"',
    RESULT: 'shape=ellipse, style=filled, fillcolor="#F7D9C4", color="#D55E00", penwidth=2',
}
_HEAD = f"""digraph retrograd {{
  graph [bgcolor=transparent, rankdir=TB, nodesep=0.35, ranksep=0.4];
  graph [fontname="Helvetica", fontsize=12, fontcolor="{_GREY}"];
  node [fontname="Helvetica", fontsize=11, fontcolor="#111111", margin="0.12,0.06"];
  edge [fontname="Helvetica", fontsize=10, color="{_GREY}", fontcolor="{_GREY}", arrowsize=0.7];"""


def to_dot(graph: Graph) -> str:
    """The graph in the DOT language."""
    lines = [
        _HEAD,
        *_inside(graph, grouped(graph), "  ", itertools.count()),
        *(_edge(edge) for edge in graph.edges),
        "}",
    ]
    return "\n".join(lines) + "\n"


def _inside(graph: Graph, groups: Groups, indent: str, numbers: Iterator[int]) -> list[str]:
    lines = [f"{indent}n{n} [{_box(graph.boxes[n])}];" for n in groups.boxes]
    for title, inner in groups.inner.items():
        lines.append(f"{indent}subgraph cluster_{next(numbers)} {{")
        lines.append(f'{indent}  label="{_escaped(title)}"; labeljust=l; color="{_GREY}"; style=rounded;')
        lines += _inside(graph, inner, indent + "  ", numbers)
        lines.append(f"{indent}}}")
    return lines


def _box(box: Box) -> str:
    label = "\\n".join(map(_escaped, box.lines))
    return f'label="{label}", {_STYLES[box.kind]}'


def _edge(edge: Edge) -> str:
    return f'  n{edge.source} -> n{edge.target} [label=" {_escaped(edge_label(edge, chr(10)))}"];'


def edge_label(edge: Edge, newline: str) -> str:
    """The value's shape, and the size of its gradient or, of several, the least and the greatest."""
    return edge.label + extent(edge.gradients, newline, newline)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n ")


def rendered(dot: str, form: str) -> bytes:
    """What Graphviz makes of DOT text: "svg", "png" or "pdf".

    Raises:
        RuntimeError: `dot` is not installed, or fails.
    """
    program = shutil.which("dot")
    if program is None:
        raise RuntimeError(
            f"draw: Graphviz's program `dot` is not installed, and {form.upper()} needs it (apt install graphviz, "
            "brew install graphviz); to_dot() and to_mermaid() do without"
        )
    density = ["-Gdpi=110"] if form == "png" else []  # of an SVG it would be the size
    ran = subprocess.run([program, f"-T{form}", *density], input=dot.encode(), capture_output=True, check=False)
    if ran.returncode:
        raise RuntimeError(f"draw: dot failed: {ran.stderr.decode(errors='replace').strip()}")
    return ran.stdout
