"""The graph of a compiled step's program, after its passes, to be drawn."""

from __future__ import annotations

from typing import Any

from ..nn.module import Module
from ..program.ir import CONSTANT, HELD, INPUT, Instruction, Operand, Program, Scalar, Segment, cost
from .graph import RESULT, VALUE, Box, Edge, Graph


def program_graph(program: Program, model: Module | None) -> Graph:
    """The program's calls; edges go from the call that wrote a buffer last to those that read it.

    Args:
        model: gives the memory of parameters and gradients their names.
    """
    names = {} if model is None else _names(model)
    boxes: list[Box] = []
    edges: list[Edge] = []
    writer: dict[int, int] = {}
    for n, operand in enumerate(program.inputs):
        writer[operand.buffer.number] = len(boxes)
        boxes.append(Box([f"input {n}", _shape(operand)], VALUE, form=("input", operand.shape)))
    step = 0
    for segment in program.segments:
        for instruction in segment.instructions:
            read = {o.buffer.number: o for o in instruction.operands()}
            this = len(boxes)
            boxes.append(Box(_lines(instruction, names), group=_group(segment), form=_form(instruction), step=step))
            step += 1
            edges += [Edge(writer[k], this, _shape(o)) for k, o in read.items() if k in writer]
            writer |= {o.buffer.number: this for o in instruction.written()}
    for n, operand in enumerate(program.results):
        if operand.buffer.number in writer:
            edges.append(Edge(writer[operand.buffer.number], len(boxes), _shape(operand)))
            boxes.append(Box([f"result {n}", _shape(operand)], RESULT, form="result"))
    return Graph(boxes, edges)


def _names(model: Module) -> dict[int, str]:
    names = {id(p.array): name for name, p in model.named_parameters()}
    grads = {id(p.grad.array): f"{name}.grad" for name, p in model.named_parameters() if p.grad is not None}
    return names | grads


def _shape(operand: Operand) -> str:
    return " x ".join(map(str, operand.shape)) if operand.shape else "scalar"


def _group(segment: Segment) -> tuple[str, ...]:
    if not segment.rows:
        return ()
    return (f"{segment.rows} rows, {segment.slice_rows} at a time",)


def _lines(instruction: Instruction, names: dict[int, str]) -> list[str]:
    """The call's kernel and activation, its operations, and the memory from outside that it reads or writes."""
    activations = [instruction.arguments.get(name, "identity") for name in ("activation", "x_activation")]
    title = ", ".join([instruction.kernel, *(a for a in activations if a != "identity")])
    held = {
        o.buffer.number: f"{names.get(id(o.buffer.array), 'memory')}: {_shape(o)}"
        for o in (*instruction.operands(), *instruction.written())
        if o.buffer.role == HELD and (id(o.buffer.array) in names or not names)
    }
    flops = cost(instruction).flops
    return [title, f"{flops:,} operation" + "s" * (flops != 1), *held.values()]


def _form(instruction: Instruction) -> str:
    def form(value: Any) -> Any:
        if isinstance(value, Operand):
            role = value.buffer.role
            return role if role not in (INPUT, HELD, CONSTANT) else "outside", value.shape, value.strides
        if isinstance(value, tuple):
            return tuple(form(v) for v in value)
        return "number" if isinstance(value, Scalar) else str(value)

    arguments = {name: form(value) for name, value in instruction.arguments.items()}
    return str((instruction.kernel, arguments, [form(o) for o in instruction.outputs]))
