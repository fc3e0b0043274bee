"""draw: a picture of what was recorded on the tape, or of a compiled step's program."""

from __future__ import annotations

from pathlib import Path

from ..nn.module import Module
from ..program.ir import Program
from ..tensor import Tensor
from .dot import rendered, to_dot
from .graph import Graph, folded, titled
from .mermaid import to_mermaid
from .program_graph import program_graph
from .responsibility import required
from .tape_graph import tape_graph

FORMS = ("svg", "png", "pdf", "dot", "mmd")
"""What save() writes, by the ending of the file's name."""


class Drawing:
    """What draw() returns; a notebook shows it where Graphviz's `dot` is installed.

    Attributes:
        graph: its boxes and edges, after folding.

    Example:
        >>> import retrograd as rg
        >>> x = rg.tensor([3.0, 4.0], requires_grad=True)
        >>> print(rg.inspect.draw(x.sum()).to_mermaid())
        flowchart TD
          n0(["leaf<br/>2"]):::value
          n1["sum"]:::op
          n2(["result<br/>7"]):::result
          n0 -->|"2<br/>grad 1.4e+00"| n1
          n1 -->|"scalar<br/>grad 1.0e+00"| n2
          classDef op fill:#CFE6F5,stroke:#0072B2,color:#111
          classDef value fill:#FBF3C4,stroke:#E69F00,color:#111
          classDef result fill:#F7D9C4,stroke:#D55E00,color:#111
        <BLANKLINE>
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    def to_dot(self) -> str:
        """In Graphviz's DOT language."""
        return to_dot(self.graph)

    def to_mermaid(self) -> str:
        """As a Mermaid flowchart, for READMEs."""
        return to_mermaid(self.graph)

    def to_svg(self) -> str:
        """As SVG; needs `dot`. RuntimeError without it."""
        return rendered(self.to_dot(), "svg").decode()

    def to_png(self) -> bytes:
        """As PNG, its background transparent; needs `dot`. RuntimeError without it."""
        return rendered(self.to_dot(), "png")

    def save(self, path: str | Path) -> None:
        """Write a file, of the form that its name ends in: one of FORMS.

        Raises:
            ValueError: another ending. RuntimeError: it needs `dot`, which is not installed.
        """
        form = Path(path).suffix.lower().removeprefix(".")
        if form not in FORMS:
            raise ValueError(f"draw: {str(path)!r} ends in {form!r}, expected one of {', '.join(FORMS)}")
        texts = {"dot": self.to_dot, "mmd": self.to_mermaid}
        made = texts[form]().encode() if form in texts else rendered(self.to_dot(), form)
        Path(path).write_bytes(made)

    def _repr_svg_(self) -> str | None:
        try:
            return self.to_svg()
        except RuntimeError:
            return None

    def __repr__(self) -> str:
        return f"<Drawing of {len(self.graph.boxes)} boxes and {len(self.graph.edges)} edges>"


def draw(what: Tensor | Program, model: Module | None = None, *, fold: bool = True, gradients: bool = True) -> Drawing:
    """Draw the graph that a tensor comes from, or a compiled step's program (`step.program`), after its passes.

    Args:
        what: a tensor that was recorded, such as a loss; or a program.
        model: names its parameters, and puts a frame around what belongs to each of its modules.
        fold: draw equal parts that follow one another, such as the layers of a deep network, once.
        gradients: write the size (Euclidean norm) of each value's gradient at its edge, from a sweep of its own that
            changes no `grad`; after a backward() that freed the graph only the parameters have theirs. Needs a tensor
            of one element.

    Raises:
        TypeError: it is something else, or model no Module. ValueError: nothing was recorded for the tensor.

    Example:
        >>> import retrograd as rg
        >>> w = rg.ones(3, requires_grad=True)
        >>> drawing = rg.inspect.draw((w * w).sum())
        >>> drawing
        <Drawing of 4 boxes and 3 edges>
        >>> print(drawing.to_mermaid().splitlines()[0])
        flowchart TD
    """
    if model is not None:
        required("draw", model)
    if isinstance(what, Program):
        graph = program_graph(what, model)
    elif not isinstance(what, Tensor):
        raise TypeError(f"draw: got {type(what).__name__}, expected a Tensor or a Program (step.program)")
    elif what.edge is None:
        raise ValueError(
            f"draw: nothing was recorded for the tensor of shape {what.shape}; "
            "calculate it from something that requires grad, outside no_grad()"
        )
    else:
        graph = tape_graph(what, model, gradients and what.size == 1)
    return Drawing(titled(folded(graph) if fold else graph))
