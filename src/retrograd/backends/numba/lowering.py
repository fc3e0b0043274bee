"""From a Program's instructions to records, and the text of the function that runs them."""

from __future__ import annotations

import inspect
import itertools
import math
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ...kernels import precision
from ...kernels.spec import TABLE, Array
from ..registry import Unsupported
from . import elementwise, generated, product
from .elementwise import Loop, Number, View
from .jit import FLOATS
from .loss import _scale
from .measure import TERM_CODES

SHARED_FLOPS = 1 << 25
"""Operations of a step from which threads are worth their start."""
LEAST_ROWS = 16
"""Rows that a thread gets at least."""

_DEFAULTS = {
    name: {
        p.name: p.default
        for p in inspect.signature(kernel.reference).parameters.values()
        if p.default is not inspect.Parameter.empty
    }
    for name, kernel in TABLE.items()
}


class Call:
    """An instruction in its place.

    Attributes:
        kernel: its name; arguments: all of its parameters, defaults included; outputs.
        segment: the segment that it runs on slices in; None where it runs whole.
    """

    def __init__(self, instruction: Any, segment: Any) -> None:
        self.kernel = instruction.kernel
        self.arguments = _DEFAULTS[instruction.kernel] | instruction.arguments
        self.outputs = instruction.outputs
        self.touched = {o.buffer.number for o in (*instruction.operands(), *instruction.written())}
        self.segment = segment if segment.rows else None
        self.rules = segment.row_rules[instruction] if segment.rows else None


class Shared(NamedTuple):
    """A segment over slices of the batch that is worth several threads, each with rows and a table of its own.

    Attributes:
        number: which segment it is, counted from 1.
        rows: of the batch.
        bounds: the words that say from which row to which one it runs, the second of the two not included.
        sums: (n, 4): a sum over the slices: the word for its buffer, the bytes into that, and, for what is added to it,
            the word that has the address and the record that adds.
    """

    number: int
    rows: int
    bounds: tuple[int, int]
    sums: Array


class Lowering:
    """The table of a program, and the text that runs it.

    Attributes:
        table: 64-bit words (see record); source: the text.
        scalars_at: the word where the program's scalars start; scalar_format: how they are laid out, for struct.
        kept: the memory that the table points into.
        checks: the records that may fail, by their place: the kernel.
        segments: how many; shared: those of them that threads may share.
    """

    def __init__(self, program: Any) -> None:
        self._program = program
        self._words: list[int] = [0]
        self._slots: dict[int, int] = {}
        self._extra: list[tuple[int, int]] = []  # memory that only records know of: where its address goes, bytes
        self._scratch: int | None = None
        self._scratch_bytes = 0
        self._lines: list[str] = []
        self._loops: dict[str, None] = {}
        self._depth = 1
        self._loop: Loop | None = None
        self._loop_calls: list[Call] = []
        self.kept: list[Any] = [program]
        self.checks: dict[int, str] = {}
        self._buffers: dict[int, Any] = {}  # by the word that holds its address
        self._regions: dict[int, tuple[Any, int, int]] = {}  # where the memory lies that a word holds the address of
        self._sums: list[tuple[View, View]] = []  # of the call that is lowered: what to add the second to
        self._added: list[tuple[int, int, int, int]] = []  # of the segment: Shared.sums
        self._first = ""  # the word where a segment's first row stands
        for operand in program.inputs:  # one may be memory that the step holds
            self._regions[self._argument(operand.buffer)] = ("outside", 0, 1 << 64)
        for operand in program.results:
            slot = self._argument(operand.buffer)
            self._regions[slot] = (slot, 0, operand.buffer.nbytes)
        self.scalars_at = len(self._words)
        self._words += [0] * len(program.scalars)
        self._formats = ["d"] * len(program.scalars)
        self._touched: dict[int, int] = {}  # how many calls read or write each buffer
        for instruction in program.instructions:
            for number in {o.buffer.number for o in (*instruction.operands(), *instruction.written())}:
                self._touched[number] = self._touched.get(number, 0) + 1
        self._local = {number for segment in program.segments for number in segment.local}
        self._arena = self._memory(program.arena_bytes)
        self._slices = self._memory(program.slice_bytes)
        self.segments = len(program.segments)
        self.shared: list[Shared] = []
        self._worth_threads = program.cost().flops >= SHARED_FLOPS
        self._shares = False  # whether the segment is worth threads
        for number, segment in enumerate(program.segments, 1):
            self._lower_segment(segment, number)
        body = "\n".join(["def step(table, segment, rows):", *self._lines, "    return 0"])
        self._words[0] = generated.entry(body)
        self.source = "\n\n\n".join([*self._loops, body])
        self.scalar_format = "=" + "".join(self._formats)
        if self._scratch is not None:
            self._extra.append((self._scratch, self._scratch_bytes))
        self.table = np.array(self._words, np.int64)
        self._own_memory(self.table)

    def _own_memory(self, table: Array) -> None:
        for word, nbytes in self._extra:
            table[word] = self._memory(nbytes)

    def another_table(self) -> Array:
        """A copy of the table for another thread: with memory of its own for slices and for their sums."""
        table = self.table.copy()
        self._own_memory(table)
        moved = self._memory(self._program.slice_bytes) - self._slices
        for word, (region, _, _) in self._regions.items():
            if region == "slices":
                table[word] += moved
        for segment in self.shared:
            for word in {target for target, *_ in segment.sums.tolist()}:
                table[word] = self._memory(self._buffers[word].nbytes)
        return table

    # Memory and words

    def _memory(self, nbytes: int) -> int:
        """The address of so much zeroed memory, which stays."""
        memory = np.zeros(nbytes + 64, np.uint8)
        self.kept.append(memory)
        return -(-memory.ctypes.data // 64) * 64

    def _word(self, value: int) -> int:
        self._words.append(value)
        return len(self._words) - 1

    def _argument(self, buffer: Any) -> int:
        """The word that a run writes the address of an argument's buffer to."""
        slot = self._slots[buffer.number] = self._word(0)
        self._buffers[slot] = buffer
        return slot

    def _slot(self, buffer: Any) -> int:
        """The word that holds the address of a buffer."""
        if buffer.number in self._slots:
            return self._slots[buffer.number]
        if buffer.array is not None:
            address = start = buffer.array.ctypes.data
            region = "outside"
        elif buffer.number in self._local:
            address, start, region = self._slices + buffer.place, buffer.place, "slices"
        else:
            address, start, region = self._arena + buffer.place, buffer.place, "arena"
        slot = self._slots[buffer.number] = self._word(address)
        self._buffers[slot] = buffer
        self._regions[slot] = (region, start, start + buffer.nbytes)
        return slot

    def view(self, call: Call, operand: Any, key: str | int) -> View:
        """An operand of a call; the key is its parameter's name, or which output it is."""
        if operand.size == 0:
            raise Unsupported(f"{call.kernel} of no elements")
        batch = call.rules.sliced.get(key) if call.rules else None
        item = operand.dtype.itemsize
        advance = 0 if batch is None or operand.buffer.number in self._local else operand.strides[batch] * item
        slot = self._slot(operand.buffer)
        return View(slot, operand.offset * item, advance, operand.dtype, operand.shape, operand.strides, batch)

    def temporary(self, view: View, call: Call) -> View:
        """Memory for what the view shows, a slice of it where the call runs on slices; contiguous."""
        strides = tuple(math.prod(view.shape[i + 1 :]) for i in range(len(view.shape)))
        made = View(self._word(0), 0, 0, view.dtype, view.shape, strides, view.batch)
        nbytes = self._nbytes(view, call)
        self._extra.append((made.slot, nbytes))
        self._regions[made.slot] = (made.slot, 0, nbytes)
        return made

    def constant(self, array: Array) -> View:
        """Memory that holds these numbers."""
        self.kept.append(array)
        return View(self._word(array.ctypes.data), 0, 0, array.dtype, array.shape, (1,), None)

    def _nbytes(self, view: View, call: Call) -> int:
        nbytes = math.prod(view.shape) * view.dtype.itemsize
        return nbytes if view.batch is None else nbytes // call.segment.rows * call.segment.slice_rows

    def rows(self, view: View, call: Call) -> int:
        """How many rows of it a call works on at a time, at most; 1 where it has no axes."""
        return math.prod(view.shape[:1]) if view.batch is None else call.segment.slice_rows

    def scratch(self, dtype: np.dtype, *sizes: int) -> list[View]:
        """Memory that a call alone uses, for so many elements each."""
        if self._scratch is None:
            self._scratch = self._word(0)
        views, at = [], 0
        for size in sizes:
            views.append(View(self._scratch, at, 0, dtype, (size,), (1,), None))
            at += -(-size * dtype.itemsize // 64) * 64
        self._scratch_bytes = max(self._scratch_bytes, at)
        return views

    def contiguous(self, view: View, call: Call) -> View:
        """The view itself where its elements, those of a slice's rows, stand in C order; else a copy."""
        if _contiguous(view):
            return view
        if view.batch not in (0, None):
            raise Unsupported(f"{call.kernel} of rows that do not lie one after the other")
        copy = self.temporary(view, call)
        self.append(call, elementwise.statement("copy", {"x": view}, copy))
        self.flush()
        return copy

    def number(self, value: Any) -> Number:
        """A floating-point number that a record can point to: of the trace, or of each call."""
        if hasattr(value, "number"):
            return Number(self.scalars_at + value.number)
        return Number(self._word(_word_of(float(value))))

    def bits(self, value: Any) -> Number:
        """The same for a whole number in [0, 2**64)."""
        if hasattr(value, "number"):
            self._formats[value.number] = "Q"
            return Number(self.scalars_at + value.number)
        return Number(self._word(value - (value >> 63 << 64)))

    # Text

    def record(
        self,
        call: Call,
        code: str,
        views: list[View | None],
        integers: list[int],
        numbers: list[Number] = [],  # noqa: B006
        fails: bool = False,
    ) -> None:
        """A record that the code (the text of an entry) runs, and the call of it.

        An operand that is absent is None; one that no slice is taken of is the same for every slice.
        """
        self.flush()
        self._record(call, code, views, integers, numbers, fails)

    def _record(
        self,
        call: Call,
        code: str,
        views: list[View | None],
        integers: list[int],
        numbers: list[Number],
        fails: bool = False,
        whole: bool = False,
    ) -> None:
        at = len(self._words)
        self._words += [generated.entry(code), len(views)]
        for view in views:
            self._words += (0, 0, 0) if view is None else (view.slot - at, view.offset, view.advance)
        self._words += integers
        self._words += [n.word - at for n in numbers]
        slice_of = "0, 1" if whole or call.segment is None else "first, count"
        if fails:
            self.checks[at] = call.kernel
            self.line(f"failed = call(table, {at}, {slice_of})  # {call.kernel}")
            self.line(f"if failed: return {at} + (failed << 32)")
        else:
            self.line(f"call(table, {at}, {slice_of})  # {call.kernel}")

    def line(self, text: str) -> None:
        self._lines.append("    " * self._depth + text)

    def entry(
        self,
        call: Call,
        name: str,
        dtype: np.dtype,
        views: list[View | None],
        integers: list[int],
        numbers: list[Number] = [],  # noqa: B006
        fails: bool = False,
    ) -> None:
        """A record for one of `entries`, by its name."""
        arguments = f"{elementwise.name(dtype)}, record, start, rows"
        code = f"def {name}(record, start, rows):\n    return entries.{name}({arguments})"
        self.record(call, code, views, integers, numbers, fails)

    # Elementwise

    def append(self, call: Call, statement: elementwise.Statement) -> None:
        """An elementwise call, into the loop before it where that is possible."""
        batch = call.segment.rows if call.segment else 0
        shape = statement.target.shape
        if self._loop is not None and not self._fits(statement, shape, batch):
            self.flush()
        if self._loop is None:
            self._loop = Loop(shape, batch)
        self._loop.statements.append(statement)
        self._loop_calls.append(call)

    def _fits(self, statement: elementwise.Statement, shape: tuple[int, ...], batch: int) -> bool:
        """Whether the statement may run in the loop: no element of an operand is another one of a target."""
        loop = self._loop
        if (loop.shape, loop.batch) != (shape, batch):
            return False
        reads = [v for s in loop.statements for v in s.views.values()]
        writes = [s.target for s in loop.statements]
        own = [*statement.views.values(), statement.target]
        return not any(
            self.overlap(a, b)
            for a, b in [*((a, b) for a in writes for b in own), *((a, statement.target) for a in reads)]
        )

    def overlap(self, a: View, b: View) -> bool:
        """Whether the two may share memory otherwise than element by element."""
        (region, start, stop), (other, other_start, other_stop) = self._regions[a.slot], self._regions[b.slot]
        if region != other or start >= other_stop or other_start >= stop:
            return False
        # memory that is used again, for the same shape, once nothing needs what was there
        return start != other_start or a._replace(slot=b.slot) != b

    def flush(self) -> None:
        """End the loop that is open."""
        if self._loop is None:
            return
        loop, calls = self._loop, self._loop_calls
        self._loop, self._loop_calls = None, []
        text, views, integers, numbers = loop.entry(self._stored(loop, calls))
        self._loops[text] = None
        self._record(calls[0], text, views, integers, numbers)

    def _stored(self, loop: Loop, calls: list[Call]) -> list[View]:
        """The targets that something outside the loop reads."""
        inside: dict[int, int] = {}
        for call in dict.fromkeys(calls):
            for number in call.touched:
                inside[number] = inside.get(number, 0) + 1
        stored = []
        for target in dict.fromkeys(s.target for s in loop.statements):
            buffer = self._buffers.get(target.slot)
            passing = buffer is not None and buffer.role == "temporary"
            if not (passing and inside.get(buffer.number) == self._touched[buffer.number]):
                stored.append(target)
        return stored

    # The program

    def _lower_segment(self, segment: Any, number: int) -> None:
        self.line(f"if segment == 0 or segment == {number}:")
        self._depth = 2
        self._added = []
        self._shares = self._worth_threads and segment.rows >= 2 * LEAST_ROWS
        if segment.rows:
            first, stop, most = self._word(0), self._word(segment.rows), self._word(segment.slice_rows)
            self._first = f"table[{first}]"
            self.line(f"for first in range({self._first}, table[{stop}], table[{most}]):")
            self._depth = 3
            self.line(f"count = min(table[{most}], table[{stop}] - first)")
        for instruction in segment.instructions:
            try:
                self._lower(Call(instruction, segment))
            except Unsupported as reason:
                raise Unsupported(str(reason), instruction) from None
        self.flush()
        self._depth = 1
        if segment.rows and self._shares:
            sums = np.array(self._added, np.int64).reshape(-1, 4)
            self.shared.append(Shared(number, segment.rows, (first, stop), sums))

    def _lower(self, call: Call) -> None:
        if call.kernel in elementwise.KERNELS:
            _elementwise(self, call)
        elif call.kernel in _LOWERINGS:
            _LOWERINGS[call.kernel](self, call)
        else:
            raise Unsupported(call.kernel)
        for target, part in self._sums:
            self._add(call, target, part)
        self._sums = []

    def given(self, call: Call, name: str) -> View:
        """An argument that is an array."""
        return self.view(call, call.arguments[name], name)

    def plain(self, call: Call, name: str) -> View:
        """The same, contiguous."""
        return self.contiguous(self.given(call, name), call)

    def made(self, call: Call, n: int = 0) -> View:
        """Where an output goes; what sums over slices is added to what the slices before it gave."""
        view = self.view(call, call.outputs[n], n)
        if not _contiguous(view):
            raise Unsupported(f"{call.kernel} into memory that is not contiguous")
        if call.rules is None or n not in call.rules.summed:
            return view
        if call.segment.slice_rows >= call.segment.rows and not self._shares:
            return view
        self.flush()
        part, either = self.temporary(view, call), self._word(0)
        offset = self._word(view.offset)
        self.line(
            f"table[{either}] = table[{view.slot}] + table[{offset}] if first == {self._first} else table[{part.slot}]"
        )
        self._sums.append((view, part))
        return part._replace(slot=either)

    def _add(self, call: Call, target: View, part: View) -> None:
        loop = Loop(target.shape, 0)
        loop.statements.append(elementwise.statement("accumulate", {"a": target, "b": part}, target))
        text, views, integers, numbers = loop.entry([target])
        self._loops[text] = None
        self._added.append((target.slot, target.offset, part.slot, len(self._words)))
        self.line(f"if first > {self._first}:")
        self._depth += 1
        self._record(call, text, list(views), integers, numbers, whole=True)
        self._depth -= 1


def _word_of(value: float) -> int:
    return struct.unpack("=q", struct.pack("=d", value))[0]


def _contiguous(view: View) -> bool:
    step = 1
    for n, s in zip(reversed(view.shape), reversed(view.strides), strict=True):
        if n != 1 and s != step:
            return False
        step *= n
    return view.batch in (0, None)


def _extent(view: View, axes: slice, call: Call) -> tuple[int, int]:
    """The elements along some of a view's axes, as record.extent takes them."""
    n = math.prod(view.shape[axes])
    batched = view.batch is not None and view.batch in range(len(view.shape))[axes]
    return (0, n // call.segment.rows) if batched else (n, 0)


# One function a kernel


def _elementwise(low: Lowering, call: Call) -> None:
    kernel, arguments = call.kernel, dict(call.arguments)
    for name, value in call.arguments.items():
        if hasattr(value, "buffer"):
            arguments[name] = low.view(call, value, name)
        elif name in ("low", "high", "alpha", "value") and value is not None:
            arguments[name] = low.number(value)
    if kernel == "accumulate":
        target = arguments["a"]
    elif kernel == "assign":
        target = _at_key(arguments.pop("a"), arguments["key"])
        if _same_memory(low, target, arguments["values"]):
            raise Unsupported("an assignment of values to memory that they lie in")
    else:
        target = low.view(call, call.outputs[0], 0)
    if kernel == "power":
        arguments["exponent"] = _whole_constant(call.arguments["b"])
    low.append(call, elementwise.statement(kernel, arguments, target))


def _same_memory(low: Lowering, target: View, values: View) -> bool:
    return target != values and low.overlap(target, values)


def _at_key(view: View, key: Any) -> View:
    """The part of a view that a basic key (integers, slices, None, Ellipsis) takes."""
    parts = key if isinstance(key, tuple) else (key,)
    if any(isinstance(part, (np.ndarray, list, bool)) for part in parts):
        raise Unsupported("an assignment by an array of indices")
    item = view.dtype.itemsize
    memory = np.lib.stride_tricks.as_strided(np.empty(0, view.dtype), view.shape, [s * item for s in view.strides])
    taken = memory[key if Ellipsis in parts else (*parts, ...)]
    offset = taken.__array_interface__["data"][0] - memory.__array_interface__["data"][0]
    return view._replace(
        offset=view.offset + offset, shape=taken.shape, strides=tuple(s // item for s in taken.strides)
    )


def _whole_constant(operand: Any) -> int | None:
    """A small whole number that the operand always is, else None."""
    buffer = operand.buffer
    if buffer.role != "constant" or operand.size != 1:
        return None
    value = float(buffer.array.reshape(-1)[operand.offset])
    return int(value) if value in (1, 2, 3, 4) else None


PRODUCTS = ("linear_forward", "linear_backward", "matmul")


def _floating(call: Call, *views: View | None) -> np.dtype:
    """The one dtype of the views, float32 or float64."""
    dtypes = {v.dtype for v in views if v is not None}
    if len(dtypes) > 1 or not dtypes <= FLOATS:
        raise Unsupported(f"{call.kernel} of {', '.join(sorted(map(str, dtypes)))}")
    dtype = dtypes.pop()
    if call.kernel in PRODUCTS and precision.rounds(dtype):
        raise Unsupported(f"{call.kernel} of numbers rounded to bfloat16")
    return dtype


def _scratch_size(k: int, size: int, dtype: np.dtype) -> int:
    return product.scratch_size.py_func(k, size, dtype.itemsize)


def _linear_forward(low: Lowering, call: Call) -> None:
    x, w = low.given(call, "x"), low.given(call, "w")
    b = None if call.arguments["b"] is None else low.plain(call, "b")
    y, *kept = [low.made(call, n) for n, output in enumerate(call.outputs) if output is not None]
    z = kept[0] if kept else y
    integers = [*_extent(x, slice(0, 1), call), x.shape[1], w.shape[0], *x.strides, *w.strides, int(b is not None)]
    dtype = _floating(call, x, w, b)
    scratch = low.scratch(dtype, _scratch_size(x.shape[1], low.rows(x, call) * x.shape[1], dtype))
    low.entry(call, "linear_forward", dtype, [x, w, b, z, *scratch], integers)
    if kept or call.arguments["activation"] != "identity":
        _activation(low, call, "activation_forward", y, x=z)


def _activation(low: Lowering, call: Call, kernel: str, target: View, whose: str = "", **views: View) -> None:
    """A layer's activation, or what its derivative makes of a cotangent, in a loop of its own or with others."""
    alpha = low.number(call.arguments.get(f"{whose}alpha", 0.0))
    arguments = {**views, "activation": call.arguments[f"{whose}activation"], "alpha": alpha}
    low.append(call, elementwise.statement(kernel, arguments, target))


def _linear_backward(low: Lowering, call: Call) -> None:
    g, x, w = low.plain(call, "g"), low.given(call, "x"), low.given(call, "w")
    if call.arguments["activation"] != "identity":
        d = low.temporary(g, call)
        _activation(low, call, "activation_backward", d, g=g, saved=low.given(call, "saved"))
        g = d
    results = [None if o is None else low.made(call, n) for n, o in enumerate(call.outputs)]
    wanted = [int(r is not None) for r in results]
    integers = [*_extent(x, slice(0, 1), call), x.shape[1], w.shape[0], *x.strides, *w.strides, *wanted, 1]
    dtype = _floating(call, g, x, w)
    rows, columns = low.rows(g, call), g.shape[1]
    scratch = low.scratch(dtype, _scratch_size(max(rows, columns), rows * columns, dtype))
    low.entry(call, "linear_backward", dtype, [g, x, w, *results, *scratch], integers)
    if results[0] is not None and call.arguments["x_activation"] != "identity":
        _activation(low, call, "activation_backward", results[0], "x_", g=results[0], saved=x)


def _matmul(low: Lowering, call: Call) -> None:
    a, b, c = low.given(call, "a"), low.given(call, "b"), low.made(call)
    lead = c.shape[:-2]
    count, steps = 1, [0, 0, 0]
    if lead:
        count = math.prod(lead)
        steps = [_step(call, v, lead) for v in (a, b, c)]
    integers = [count, *_extent(a, slice(-2, -1), call), *_extent(a, slice(-1, None), call), b.shape[-1]]
    integers += [*a.strides[-2:], *b.strides[-2:], *steps]
    dtype = _floating(call, a, b)
    scratch = low.scratch(dtype, _scratch_size(a.shape[-1], math.prod(a.shape[-2:]), dtype))
    low.entry(call, "matmul", dtype, [a, b, c, *scratch], integers)


def _step(call: Call, view: View, lead: tuple[int, ...]) -> int:
    """By how many elements the matrices of a stack lie apart, all by the same."""
    own = view.shape[:-2]
    strides = [0] * (len(lead) - len(own)) + [s if n > 1 else 0 for n, s in zip(own, view.strides[:-2], strict=True)]
    steps = [(n, s) for n, s in zip(lead, strides, strict=True) if n > 1]
    if any(outer != inner * n for (_, outer), (n, inner) in itertools.pairwise(steps)):
        raise Unsupported("matmul of stacks of matrices that do not lie evenly apart")
    return steps[-1][1] if steps else 0


def _loss_operands(low: Lowering, call: Call) -> tuple[View, View, View, View, Number]:
    """x, target, the loss, its gradient, and what they are multiplied by."""
    if call.arguments["reduction"] == "none":
        raise Unsupported(f"{call.kernel} without a reduction")
    x, target = low.plain(call, "x"), low.plain(call, "target")
    rows = x.shape[0] if call.kernel == "cross_entropy_loss" else math.prod(x.shape)
    scale = low.number(_scale(call.arguments["reduction"], call.arguments["count"] or rows))
    loss = low.made(call, 0)
    if call.outputs[1]:
        dx = low.made(call, 1)
    else:
        (dx,) = low.scratch(x.dtype, low.rows(x, call) * math.prod(x.shape[1:]))
    return x, target, loss, dx, scale


def _pointwise_loss(low: Lowering, call: Call) -> None:
    *views, scale = _loss_operands(low, call)
    numbers = [scale]
    if call.kernel == "huber_loss":
        numbers.append(low.number(call.arguments["delta"]))
    low.entry(call, call.kernel, _floating(call, *views), views, [*_extent(views[0], slice(None), call)], numbers)


def _cross_entropy(low: Lowering, call: Call) -> None:
    *views, scale = _loss_operands(low, call)
    x, target = views[:2]
    name = "cross_entropy_of_probabilities" if target.dtype.kind == "f" else "cross_entropy_of_indices"
    integers = [*_extent(x, slice(0, 1), call), x.shape[1]]
    low.entry(call, name, _floating(call, x), views, integers, [scale], fails=target.dtype.kind != "f")


def _whole(value: Any) -> int:
    """An attribute that chooses between two ways; it must not change between calls."""
    if hasattr(value, "number"):
        raise Unsupported("a setting that is read at each call")
    return int(value)


def _update(
    low: Lowering, call: Call, name: str, states: tuple[str, ...], whole: tuple[str, ...], numbers: str
) -> None:
    arrays = ["p", "g", *(s for s in states if call.arguments[s] is not None)]
    views = [low.plain(call, a) if a == "g" else low.given(call, a) for a in arrays]
    if not all(map(_contiguous, views)):
        raise Unsupported(f"{call.kernel} of memory that is not contiguous")
    integers = [math.prod(views[0].shape), *(_whole(call.arguments[w]) for w in whole)]
    dtype = _floating(call, *views)
    low.entry(call, name, dtype, views, integers, [low.number(call.arguments[n]) for n in numbers.split()])


def _sgd(low: Lowering, call: Call) -> None:
    if call.arguments["velocity"] is None:
        _update(low, call, "sgd", (), (), "lr weight_decay")
    else:
        numbers = "lr weight_decay momentum dampening"
        _update(low, call, "sgd_with_momentum", ("velocity",), ("nesterov", "first"), numbers)


def _adam(low: Lowering, call: Call) -> None:
    name = "adam" if call.arguments["v_max"] is None else "amsgrad"
    numbers = "lr beta1 beta2 eps weight_decay step"
    _update(low, call, name, ("m", "v", "v_max"), ("decoupled",), numbers)


def _rmsprop(low: Lowering, call: Call) -> None:
    name = "rmsprop" if call.arguments["g_mean"] is None else "centered_rmsprop"
    name += "" if call.arguments["velocity"] is None else "_with_momentum"
    _update(low, call, name, ("v", "velocity", "g_mean"), ("accumulate",), "lr alpha eps weight_decay momentum")


def _sums(low: Lowering, call: Call, name: str, given: tuple[str, ...]) -> None:
    views = [low.plain(call, a) for a in given]
    made = [low.made(call, n) for n in range(len(call.outputs))]
    integers = [math.prod(views[0].shape), call.arguments["block"]]
    low.entry(call, name, _floating(call, *views), [*views, *made], integers)


def _gradient_sums(low: Lowering, call: Call) -> None:
    if call.arguments["before"] is None:
        _sums(low, call, "gradient_sums", ("p", "g"))
    else:
        _sums(low, call, "gradient_sums_with_before", ("p", "g", "before"))


def _update_sums(low: Lowering, call: Call) -> None:
    _sums(low, call, "update_sums", ("p", "kept"))


def _unit_sums(low: Lowering, call: Call) -> None:
    x = low.plain(call, "x")
    integers = [*_extent(x, slice(0, 1), call), x.shape[1], TERM_CODES[call.arguments["term"]]]
    low.entry(call, "unit_sums", _floating(call, x), [x, low.made(call)], integers)


def _reduction(low: Lowering, call: Call, name: str = "") -> None:
    x, axes = low.given(call, "x"), tuple(call.arguments["axes"])
    if axes and axes[-1] - axes[0] >= len(axes):  # they are not neighbours: those that are reduced go last
        if x.batch in axes:
            raise Unsupported(f"{call.kernel} over axes {axes}")
        order = [a for a in range(len(x.shape)) if a not in axes] + list(axes)
        x = x._replace(shape=tuple(x.shape[a] for a in order), strides=tuple(x.strides[a] for a in order))
        axes = tuple(range(len(x.shape) - len(axes), len(x.shape)))
    x, y = low.contiguous(x, call), low.made(call)
    start, stop = (axes[0], axes[-1] + 1) if axes else (len(x.shape), len(x.shape))
    before, along = slice(0, start), slice(start, stop)
    after = math.prod(x.shape[stop:])
    integers = [*_extent(x, before, call), *_extent(x, along, call), after]
    numbers: list[Any] = []
    if call.kernel == "sum":
        name, numbers = ("sum", [low.number(call.arguments["scale"])]) if x.dtype.kind == "f" else ("count", [])
    elif call.kernel == "logsumexp" and after != 1:
        raise Unsupported("logsumexp over axes that are not the last")
    dtype = x.dtype if name == "count" else _floating(call, x)
    low.entry(call, name or call.kernel, dtype, [x, y], integers, numbers)


def _softmax(low: Lowering, call: Call) -> None:
    names = ("g", "y") if call.kernel.endswith("backward") else ("x",)
    views = [low.plain(call, name) for name in names]
    shape = views[0].shape
    if call.arguments["axis"] != len(shape) - 1:
        raise Unsupported(f"{call.kernel} along an axis that is not the last")
    integers = [*_extent(views[0], slice(0, -1), call), shape[-1]]
    low.entry(call, call.kernel, _floating(call, *views), [*views, low.made(call)], integers)


def _draw(low: Lowering, call: Call) -> None:
    y = low.made(call)
    name = {"float32": "uniform_single", "float64": "uniform_double", "uint32": "random_bits"}[y.dtype.name]
    numbers = [low.bits(call.arguments[name]) for name in ("key", "offset")]
    low.entry(call, name, y.dtype, [y], [math.prod(y.shape)], numbers)


def _dropout(low: Lowering, call: Call) -> None:
    p = call.arguments["p"]
    if p == 1:
        raise Unsupported("dropout of everything")
    x, y = low.plain(call, "x"), low.made(call)
    numbers = [low.bits(call.arguments[name]) for name in ("key", "offset")]
    numbers += [low.bits(int(p * 2.0**32)), low.number(1 / (1 - p))]
    low.entry(call, "dropout", _floating(call, x), [x, y], [*_extent(y, slice(None), call)], numbers)


def _rows(low: Lowering, call: Call) -> None:
    """Whole rows, by one axis of indices that are the same at each call or an operand."""
    adds = call.kernel == "index_add"
    source = low.plain(call, "g" if adds else "x")
    key = call.arguments["rows" if call.kernel == "gather_rows" else "key"]
    if hasattr(key, "buffer"):
        indices = low.plain(call, "rows")
        indices = indices._replace(shape=(math.prod(indices.shape),), strides=(1,))
    elif isinstance(key, np.ndarray) and key.dtype.kind == "i" and key.ndim == 1 and key.size:
        indices = low.constant(key.astype(np.int64))
    else:
        raise Unsupported(f"{call.kernel} by a key that is not one array of integers")
    y = low.made(call)
    of = y if adds else source  # what the indices are of
    integers = [of.shape[0], indices.shape[0], math.prod(of.shape[1:])]
    dtype = _floating(call, source) if adds else source.dtype
    name = "scatter_rows_add" if adds else "gather_rows"
    low.entry(call, name, dtype, [source, indices, y], integers, fails=True)


def _index_add(low: Lowering, call: Call) -> None:
    key = call.arguments["key"]
    if isinstance(key, np.ndarray):
        _rows(low, call)
        return
    y = low.made(call)
    part = _at_key(y, key)
    low.append(call, elementwise.statement("full", {"value": low.number(0.0)}, y))
    g = low.given(call, "g")
    low.append(call, elementwise.statement("copy", {"x": g}, part))


def _concatenate(low: Lowering, call: Call) -> None:
    axis, y, at = call.arguments["axis"], low.made(call), 0
    low.flush()  # the parts are copied in loops of their own, which read them in memory
    for operand in call.arguments["arrays"]:
        x = low.view(call, operand, "arrays")
        offset = y.offset + at * y.strides[axis] * y.dtype.itemsize
        low.append(call, elementwise.statement("copy", {"x": x}, y._replace(offset=offset, shape=x.shape)))
        at += x.shape[axis]


_LOWERINGS: dict[str, Callable[[Lowering, Call], None]] = {
    "linear_forward": _linear_forward,
    "linear_backward": _linear_backward,
    "matmul": _matmul,
    **dict.fromkeys(("mse_loss", "l1_loss", "huber_loss", "bce_with_logits_loss"), _pointwise_loss),
    "cross_entropy_loss": _cross_entropy,
    "sgd_update": _sgd,
    "adam_update": _adam,
    "rmsprop_update": _rmsprop,
    "gradient_sums": _gradient_sums,
    "update_sums": _update_sums,
    "unit_sums": _unit_sums,
    **dict.fromkeys(("sum", "amax", "amin", "argmax", "argmin", "logsumexp"), _reduction),
    **dict.fromkeys(("softmax", "log_softmax", "softmax_backward", "log_softmax_backward"), _softmax),
    **dict.fromkeys(("random_bits", "random_uniform"), _draw),
    "dropout": _dropout,
    **dict.fromkeys(("index", "gather_rows"), _rows),
    "index_add": _index_add,
    "concatenate": _concatenate,
}

COMPILED = elementwise.KERNELS | _LOWERINGS.keys()
"""The kernels that programs may call."""
