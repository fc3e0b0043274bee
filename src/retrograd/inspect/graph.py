"""A graph to be drawn: boxes in nested groups, edges between them; and the folding of what repeats."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Sequence

OP, VALUE, RESULT = "op", "value", "result"
"""What a box can stand for: a call, a value from outside, what comes out."""


class Repeats(str):
    """The title of a group that stands for several; two of the same text are two groups."""

    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other


@dataclasses.dataclass
class Box:
    """A box.

    Attributes:
        lines: its text, the first line the most important.
        kind: OP, VALUE or RESULT.
        group: the titles of the groups that it lies in, the outermost first.
        form: two boxes of equal form, with equal edges, are drawn alike.
        step: its place in the order of calls, or None for what is no call.
        gradients: line → the sizes of the gradient of the parameter that it names; several where it stands for several.
    """

    lines: list[str]
    kind: str = OP
    group: tuple[str, ...] = ()
    form: Hashable = None
    step: int | None = None
    gradients: dict[str, list[float]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Edge:
    """A value that goes from one box, by its number, to another.

    Attributes:
        label: the value's shape.
        gradients: the sizes of its gradient; several where repeated structure was folded.
    """

    source: int
    target: int
    label: str = ""
    gradients: list[float] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Graph:
    """Boxes, and edges between their numbers."""

    boxes: list[Box]
    edges: list[Edge]


@dataclasses.dataclass
class Groups:
    """The numbers of the boxes that lie directly in a group, and the groups in it by title."""

    boxes: list[int]
    inner: dict[str, Groups]


LEAST_REPEATS = 3
LONGEST_PERIOD = 64
NEAR = 8


def extent(gradients: Sequence[float], before: str, between: str) -> str:
    """Their size or, of several, the least and the greatest; nothing of none."""
    if not gradients:
        return ""
    low, high = (f"{size:.1e}" for size in (min(gradients), max(gradients)))
    return f"{before}grad {low}" + (f"{between}to {high}" if high != low else "")


def titled(graph: Graph) -> Graph:
    """The graph with the sizes of gradients at their lines, and the title of each group of one box in the box itself;
    one that repeats keeps its frame."""
    sizes: dict[tuple[str, ...], int] = {}
    for box in graph.boxes:
        for depth in range(1, len(box.group) + 1):
            sizes[box.group[:depth]] = sizes.get(box.group[:depth], 0) + 1
    boxes = []
    for box in graph.boxes:
        depth = len(box.group)
        while depth and sizes[box.group[:depth]] == 1 and not isinstance(box.group[depth - 1], Repeats):
            depth -= 1
        lone = box.group[depth:]
        lines = [line + extent(box.gradients.get(line, ()), ", ", " ") for line in box.lines]
        boxes.append(dataclasses.replace(box, lines=[*lone[-1:], *lines], group=box.group[:depth]))
    return Graph(boxes, graph.edges)


def folded(graph: Graph) -> Graph:
    """The graph with each run of LEAST_REPEATS or more equal parts, one after the other, drawn once.

    Calls are compared in their order: a run has period k where each call equals the one k before it, in form and in
    where its operands come from: how many calls back, of near ones, or what made them, of far ones, for those of a
    backward pass lie farther back with each layer. What goes from one repeat to the next is not drawn; its gradients
    count at the edge that enters the first.
    """
    calls = sorted((n for n, box in enumerate(graph.boxes) if box.step is not None), key=lambda n: graph.boxes[n].step)
    place = {n: i for i, n in enumerate(calls)}
    into: dict[int, list[Edge]] = {n: [] for n in calls}
    for edge in graph.edges:
        if edge.target in into:
            into[edge.target].append(edge)
    tokens = [_token(graph, n, place, into[n]) for n in calls]
    stands_for: dict[int, int] = {}
    runs: list[tuple[list[int], list[int], int]] = []
    start = 0
    while start < len(calls):
        period, repeats = _run(tokens, start)
        if repeats < LEAST_REPEATS:
            start += 1
            continue
        first = calls[start : start + period]
        for i in range(period, period * repeats):
            stands_for[calls[start + i]] = calls[start + i % period]
        runs.append((first, calls[start + period : start + 2 * period], repeats))
        start += period * repeats
    return _merged(graph, stands_for, runs)


def _token(graph: Graph, n: int, place: dict[int, int], edges: list[Edge]) -> Hashable:
    box = graph.boxes[n]
    origins = []
    for edge in edges:
        back = place[n] - place[edge.source] if edge.source in place else NEAR + 1
        origins.append((back if back <= NEAR else graph.boxes[edge.source].form, edge.label))
    return box.form, tuple(origins)


def _run(tokens: Sequence[Hashable], start: int) -> tuple[int, int]:
    """(period, repeats) of the longest run that begins here, the shortest period first."""
    best = (1, 1)
    for period in range(1, min(LONGEST_PERIOD, (len(tokens) - start) // LEAST_REPEATS) + 1):
        end = start + period
        while end < len(tokens) and tokens[end] == tokens[end - period]:
            end += 1
        repeats = (end - start) // period
        if repeats >= LEAST_REPEATS and period * repeats > best[0] * best[1]:
            best = (period, repeats)
    return best


def _merged(graph: Graph, stands_for: dict[int, int], runs: list[tuple[list[int], list[int], int]]) -> Graph:
    boxes = [dataclasses.replace(b, gradients={k: [*v] for k, v in b.gradients.items()}) for b in graph.boxes]
    for n, drawn_for in stands_for.items():
        for line, norms in graph.boxes[n].gradients.items():
            boxes[drawn_for].gradients.setdefault(line, []).extend(norms)
    for first, second, repeats in runs:
        shared = _shared([boxes[n].group for n in (*first, *second)])
        frame = Repeats(f"{repeats} times")
        for n in first:
            group = boxes[n].group
            boxes[n].group = (*group[:shared], frame, *group[shared:])
    drawn = set(stands_for.values())
    merged: dict[tuple[int, int, str], Edge] = {}
    carried: list[Edge] = []
    used: set[int] = set()
    for edge in graph.edges:
        source, target = stands_for.get(edge.source, edge.source), stands_for.get(edge.target, edge.target)
        if edge.target in stands_for and graph.boxes[edge.source].step is None:
            continue  # data of a repeat: drawn at the first
        if source in drawn and target in drawn and not _forward(boxes, source, target):
            carried.append(dataclasses.replace(edge, target=target))  # from one repeat to the next
            continue
        found = merged.setdefault((source, target, edge.label), Edge(source, target, edge.label))
        found.gradients += edge.gradients
        used |= {source, target}
    for edge in carried:
        for entry in merged.values():
            if (entry.target, entry.label) == (edge.target, edge.label) and not _together(boxes, entry):
                entry.gradients += edge.gradients
    kept = [n for n in range(len(boxes)) if n not in stands_for and (n in used or boxes[n].step is not None)]
    number = {n: i for i, n in enumerate(kept)}
    edges = [dataclasses.replace(e, source=number[e.source], target=number[e.target]) for e in merged.values()]
    return Graph([boxes[n] for n in kept], edges)


def _together(boxes: list[Box], edge: Edge) -> bool:
    """Whether the edge stays inside what repeats."""
    frames = [[t for t in boxes[n].group if isinstance(t, Repeats)] for n in (edge.source, edge.target)]
    return bool(frames[0]) and frames[0] == frames[1]


def _forward(boxes: list[Box], source: int, target: int) -> bool:
    a, b = boxes[source].step, boxes[target].step
    return a is None or b is None or a < b


def _shared(groups: list[tuple[str, ...]]) -> int:
    """How many outer groups all of them have in common."""
    shared = 0
    for titles in zip(*groups):  # noqa: B905
        if len(set(titles)) > 1:
            break
        shared += 1
    return shared


def grouped(graph: Graph) -> Groups:
    """The numbers of the boxes, group by group."""
    outermost = Groups([], {})
    for n, box in enumerate(graph.boxes):
        groups = outermost
        for title in box.group:
            groups = groups.inner.setdefault(title, Groups([], {}))
        groups.boxes.append(n)
    return outermost
