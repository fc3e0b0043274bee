"""A graph as Mermaid text, which READMEs on GitHub and elsewhere show as a picture."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from .dot import edge_label
from .graph import OP, RESULT, VALUE, Box, Graph, Groups, grouped

_BRACKETS = {OP: ('["', '"]'), VALUE: ('(["', '"])'), RESULT: ('(["', '"])')}
_ENTITIES = {'"': "#quot;", "#": "#35;", "<": "#lt;", ">": "#gt;"}
_CLASSES = """  classDef op fill:#CFE6F5,stroke:#0072B2,color:#111
  classDef value fill:#FBF3C4,stroke:#E69F00,color:#111
  classDef result fill:#F7D9C4,stroke:#D55E00,color:#111"""


def to_mermaid(graph: Graph) -> str:
    """The graph as a Mermaid flowchart."""
    edges = []
    for edge in graph.edges:
        label = edge_label(edge, "<br/>")
        arrow = f'-->|"{label}"|' if label else "-->"
        edges.append(f"  n{edge.source} {arrow} n{edge.target}")
    return (
        "\n".join(["flowchart TD", *_inside(graph, grouped(graph), "  ", itertools.count()), *edges, _CLASSES]) + "\n"
    )


def _inside(graph: Graph, groups: Groups, indent: str, numbers: Iterator[int]) -> list[str]:
    lines = [indent + _box(n, graph.boxes[n]) for n in groups.boxes]
    for title, inner in groups.inner.items():
        lines.append(f'{indent}subgraph g{next(numbers)}["{_escaped(title)}"]')
        lines += _inside(graph, inner, indent + "  ", numbers)
        lines.append(f"{indent}end")
    return lines


def _box(n: int, box: Box) -> str:
    left, right = _BRACKETS[box.kind]
    return f"n{n}{left}{'<br/>'.join(map(_escaped, box.lines))}{right}:::{box.kind}"


def _escaped(text: str) -> str:
    return "".join(_ENTITIES.get(c, c) for c in text)
