"""Pass: the calls that work row by row on the batch, or sum over it, run on a slice of the batch that stays in the
cache, slice after slice; each thread has slices of its own.

Between the inputs and the weight gradients nearly every call is of that kind. What stands between two such calls and
depends on neither is moved out of the way. Loop tiling: Allen and Kennedy, Optimizing Compilers for Modern
Architectures (2001), chapter 9; here the loop is over the rows of a whole chain of layers.
"""

from __future__ import annotations

from collections.abc import Callable

from ..backends.registry import compiles
from ..kernels import elementary
from .ir import TEMPORARY, Buffer, Instruction, Operand, Program, Rows, Segment

CACHE_BYTES = 1 << 19
"""What a slice's arrays may take: a quarter of a usual second-level cache, which the weights share."""
WEIGHT_BYTES = 1 << 18
"""Above this a layer's weights do not stay in the cache beside a slice, and each product is better split by itself."""
LEAST_ROWS = 16
"""A product of fewer rows leaves the vector units waiting for the weights."""

Batched = Callable[[Operand], bool]


def tile(program: Program, slice_rows: int | None = None) -> None:
    """Cut the program into segments: those over slices of the batch, and those of calls that run whole.

    Args:
        program: changed in place: its `segments`, and the order of independent calls.
        slice_rows: the rows of a slice; by default as many as the cache holds.
    """
    batch = next((o.shape[0] for o in program.inputs if o.ndim and o.shape[0] > 1), 0)
    batched = {o.buffer.number for o in program.inputs if batch and o.ndim and o.shape[0] == batch}
    pending = list(program.instructions)
    segments: list[Segment] = []
    while pending:
        inside, before, after = _gather(pending, batch, batched)
        if before:
            segments.append(Segment(before))
        if inside:
            segments.append(Segment(list(inside), batch, 0, inside))
        pending = after
    segments = _merge(segments)
    for segment in segments:
        if segment.rows:
            segment.local = _local(segment, segments)
            segment.slice_rows = _slice_rows(segment, slice_rows)
    program.segments = segments


def _gather(
    pending: list[Instruction], batch: int, batched: set[int]
) -> tuple[dict[Instruction, Rows], list[Instruction], list[Instruction]]:
    """The next segment over the batch: its calls, those that go before it and those that go after."""
    inside: dict[Instruction, Rows] = {}
    before: list[Instruction] = []
    after: list[Instruction] = []
    sums: set[int] = set()
    for instruction in pending:
        reads = {o.buffer.number for o in instruction.operands()}
        writes = {o.buffer.number for o in instruction.written()}
        if conflict(reads, writes, after):
            after.append(instruction)
            continue
        rows = None if reads & sums or not batch else _rows(instruction, batch, batched)
        if rows is not None:
            inside[instruction] = rows
            sums |= {instruction.outputs[i].buffer.number for i in rows.summed if instruction.outputs[i]}
            batched |= {instruction.outputs[k].buffer.number for k in rows.sliced if isinstance(k, int)}
        elif conflict(reads, writes, list(inside)):
            after.append(instruction)
        else:
            before.append(instruction)
    return inside, before, after


def conflict(reads: set[int], writes: set[int], others: list[Instruction]) -> bool:
    """Whether a call with these reads and writes must not change places with one of the others."""
    for other in others:
        other_writes = {o.buffer.number for o in other.written()}
        if other_writes & (reads | writes) or writes & {o.buffer.number for o in other.operands()}:
            return True
    return False


def _merge(segments: list[Segment]) -> list[Segment]:
    merged: list[Segment] = []
    for segment in segments:
        if merged and not merged[-1].rows and not segment.rows:
            merged[-1].instructions += segment.instructions
        else:
            merged.append(segment)
    return merged


def _local(segment: Segment, segments: list[Segment]) -> dict[int, Buffer]:
    """The temporaries that live in this segment only: they need memory for a slice, not for the batch."""
    outside = {
        o.buffer.number
        for other in segments
        if other is not segment
        for i in other.instructions
        for o in (*i.operands(), *i.written())
    }
    made = [
        instruction.outputs[key].buffer
        for instruction in segment.instructions
        for key in segment.row_rules[instruction].sliced
        if isinstance(key, int)
    ]
    return {b.number: b for b in made if b.role == TEMPORARY and b.number not in outside}


def _slice_rows(segment: Segment, asked: int | None) -> int:
    if asked is None:
        row_bytes = max(1, sum(b.nbytes for b in segment.local.values()) // segment.rows)
        asked = max(LEAST_ROWS, CACHE_BYTES // row_bytes // LEAST_ROWS * LEAST_ROWS)
    return min(segment.rows, asked)


# What each kernel does with rows


def _rows(instruction: Instruction, batch: int, batched: set[int]) -> Rows | None:
    """How the call takes part in slices of the batch; None where it cannot."""
    rule = _RULES.get(instruction.kernel)
    if rule is None or not compiles(instruction.kernel):
        return None
    return rule(instruction, batch, lambda o: o.buffer.number in batched)


def _leads(operand: Operand | None, batch: int) -> bool:
    """Whether the operand's first axis is a batch that can be cut: whole rows, one after the other."""
    return operand is not None and operand.ndim > 0 and operand.shape[0] == batch


def _elementwise(i: Instruction, batch: int, batched: Batched) -> Rows | None:
    operands = {name: v for name, v in i.arguments.items() if isinstance(v, Operand)}
    shape = i.outputs[0].shape if i.outputs else operands[next(iter(operands))].shape
    if not shape or shape[0] != batch or not any(batched(o) for o in operands.values()):
        return None
    sliced: dict[str | int, int] = {}
    for name, operand in operands.items():
        if operand.ndim == len(shape) and operand.shape[0] == batch:
            sliced[name] = 0
        elif batched(operand):
            return None
    if any(not _sliceable(operands[name], batched) for name in sliced if isinstance(name, str)):
        return None
    return Rows(sliced | {n: 0 for n in range(len(i.outputs))})


def _sliceable(operand: Operand, batched: Batched) -> bool:
    """Whether axis 0 of a batched operand walks the rows of its buffer; of any other it may walk as it likes."""
    return not batched(operand) or operand.strides[0] * operand.shape[0] == operand.buffer.size


def _runs_whole(weights: Operand) -> bool:
    """Whether a layer's weights are too large to be read, and their gradient added to, slice after slice."""
    return weights.size * weights.buffer.dtype.itemsize > WEIGHT_BYTES


def _linear_forward(i: Instruction, batch: int, batched: Batched) -> Rows | None:
    x, w, b = (i.arguments.get(n) for n in ("x", "w", "b"))
    if _runs_whole(w):
        return None
    if not (_leads(x, batch) and batched(x) and _sliceable(x, batched)) or batched(w) or (b is not None and batched(b)):
        return None
    return Rows({"x": 0} | {n: 0 for n, output in enumerate(i.outputs) if output})


def _linear_backward(i: Instruction, batch: int, batched: Batched) -> Rows | None:
    given = {n: i.arguments[n] for n in ("g", "x", "saved") if i.arguments.get(n) is not None}
    if _runs_whole(i.arguments["w"]):
        return None
    if not all(_leads(o, batch) and batched(o) and _sliceable(o, batched) for o in given.values()):
        return None
    if batched(i.arguments["w"]):
        return None
    return Rows(dict.fromkeys(given, 0) | ({0: 0} if i.outputs[0] else {}), tuple(n for n in (1, 2) if i.outputs[n]))


def _loss(i: Instruction, batch: int, batched: Batched) -> Rows | None:
    x, target = i.arguments["x"], i.arguments["target"]
    if not all(_leads(o, batch) and _sliceable(o, batched) for o in (x, target)) or not batched(x):
        return None
    sliced: dict[str | int, int] = {"x": 0, "target": 0}
    if i.outputs[1]:
        sliced[1] = 0
    if i.arguments["reduction"] == "none":
        return Rows(sliced | {0: 0})
    if i.arguments["reduction"] == "mean":  # of the whole batch, not of a slice
        i.arguments["count"] = batch if i.kernel == "cross_entropy_loss" else x.size
    return Rows(sliced, (0,))


def _sum(i: Instruction, batch: int, batched: Batched) -> Rows | None:
    x = i.arguments["x"]
    if not (_leads(x, batch) and batched(x) and _sliceable(x, batched)):
        return None
    return Rows({"x": 0}, (0,)) if 0 in i.arguments["axes"] else Rows({"x": 0, 0: 0})


def _unit_sums(i: Instruction, batch: int, batched: Batched) -> Rows | None:
    x = i.arguments["x"]
    return Rows({"x": 0}, (0,)) if _leads(x, batch) and batched(x) and _sliceable(x, batched) else None


def _over_axes(i: Instruction, batch: int, batched: Batched) -> Rows | None:
    x = i.arguments["x"]
    if not (_leads(x, batch) and batched(x) and _sliceable(x, batched)) or 0 in i.arguments["axes"]:
        return None
    return Rows({"x": 0, 0: 0})


def _along_axis(i: Instruction, batch: int, batched: Batched) -> Rows | None:
    return None if i.arguments["axis"] == 0 else _elementwise(i, batch, batched)


def _take_along(i: Instruction, batch: int, batched: Batched) -> Rows | None:
    x, indices = i.arguments["x"], i.arguments["indices"]
    if i.arguments["axis"] > 0:
        return _elementwise(i, batch, batched)
    rows = _leads(indices, batch) and batched(indices) and _sliceable(indices, batched) and not batched(x)
    return Rows({"indices": 0, 0: 0}) if rows else None


def _add_along(i: Instruction, batch: int, batched: Batched) -> Rows | None:
    given = [i.arguments[name] for name in ("g", "indices")]
    if i.arguments["axis"] > 0:
        return _elementwise(i, batch, batched)
    if all(_leads(o, batch) and batched(o) and _sliceable(o, batched) for o in given):
        return Rows({"g": 0, "indices": 0}, (0,))
    return None


def _dropout(i: Instruction, batch: int, batched: Batched) -> Rows | None:
    """A slice draws its own part of the words."""
    rows = _elementwise(i, batch, batched)
    return rows and Rows(rows.sliced, counted={"first": i.outputs[0].size // batch})


def _concatenate(i: Instruction, batch: int, batched: Batched) -> Rows | None:
    parts = i.arguments["arrays"]
    fits = i.arguments["axis"] > 0 and any(map(batched, parts))
    if fits and all(_leads(o, batch) and _sliceable(o, batched) for o in parts):
        return Rows({"arrays": 0, 0: 0})
    return None


def _matmul(i: Instruction, batch: int, batched: Batched) -> Rows | None:
    a, b = i.arguments["a"], i.arguments["b"]
    if a.ndim != 2 or b.ndim != 2:
        return None
    if _leads(a, batch) and batched(a) and _sliceable(a, batched) and not batched(b):
        return Rows({"a": 0, 0: 0})
    turned = a._replace(shape=a.shape[::-1], strides=a.strides[::-1])
    both = _leads(turned, batch) and _leads(b, batch) and batched(a) and batched(b)
    if both and _sliceable(turned, batched) and _sliceable(b, batched):
        return Rows({"a": 1, "b": 0}, (0,))
    return None


_ELEMENTWISE = (
    *("negative", "absolute", "sign", "exp", "log", "sqrt", "square", "clamp", "copy", "cast", "where"),
    *("add", "subtract", "multiply", "divide", "power", "maximum", "minimum", "accumulate"),
    *("equal", "not_equal", "less", "less_equal", "greater", "greater_equal"),
    *("logical_and", "logical_or", "logical_not", "activation_forward", "activation_backward"),
    *(*elementary.UNARY, *elementary.BINARY, "erf", "erfc", "lgamma", "polygamma", "sinc"),
)
_RULES: dict[str, Callable[[Instruction, int, Batched], Rows | None]] = {
    **dict.fromkeys(_ELEMENTWISE, _elementwise),
    **dict.fromkeys(("mse_loss", "l1_loss", "huber_loss", "bce_with_logits_loss", "cross_entropy_loss"), _loss),
    **dict.fromkeys(("softmax", "softmax_backward", "log_softmax", "log_softmax_backward"), _along_axis),
    **dict.fromkeys(("amax", "amin", "logsumexp", "argmax", "argmin", "any", "all"), _over_axes),
    "take_along_axis": _take_along,
    "add_along_axis": _add_along,
    "cumsum": _along_axis,
    "sum": _sum,
    "dropout": _dropout,
    "concatenate": _concatenate,
    "unit_sums": _unit_sums,
    "linear_forward": _linear_forward,
    "linear_backward": _linear_backward,
    "matmul": _matmul,
}
