"""From a Program's instructions to records, and the text of the function that runs them."""

from __future__ import annotations

import inspect
import math
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ...kernels.spec import TABLE, Array
from ..registry import Unsupported
from . import elementwise, generated
from .elementwise import Loop, Number, View
from .jit import FLOATS, inlined

SHARED_FLOPS = 1 << 25
"""Operations of a step from which threads are worth their start."""
LEAST_ROWS = 16
"""Rows that a thread gets at least."""

LOWERINGS: dict[str, Callable[[Lowering, Call], None]] = {}
"""What programs may call: how a call of each kernel becomes records."""
_ENTRIES: dict[str, Any] = {}

_DEFAULTS = {
    name: {
        p.name: p.default
        for p in inspect.signature(kernel.reference).parameters.values()
        if p.default is not inspect.Parameter.empty
    }
    for name, kernel in TABLE.items()
}


def lowers(*kernels: str) -> Callable[..., Any]:
    """Make a function the lowering of calls of these kernels."""

    def register(function: Callable[[Lowering, Call], None]) -> Callable[[Lowering, Call], None]:
        LOWERINGS.update(dict.fromkeys(kernels, function))
        return function

    return register


def entry(function: Callable[..., int]) -> Any:
    """Compile an entry: what a record holds, handed to the cores; records ask for it by its name.

    It takes the dtype that it computes in, and a record (see there) with the operands, whole numbers and numbers that
    its docstring lists. Sizes named [n] are extents: two whole numbers, of which the second counts for each row of the
    slice.
    """
    compiled = _ENTRIES[function.__name__] = inlined(function)
    return compiled


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
        if in_order(view):
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

    def _record(
        self,
        call: Call,
        code: str,
        views: list[View | None],
        integers: list[int],
        numbers: list[Number],
        fails: bool = False,
        whole: bool = False,
        entry: Any = None,
    ) -> None:
        at = len(self._words)
        self._words += [generated.entry(code, entry), len(views)]
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
        """A record for the entry of that name, and the call of it.

        An operand that is absent is None; one that no slice is taken of is the same for every slice.
        """
        self.flush()
        code = f"def {name}(record, start, rows):\n    return entry({elementwise.name(dtype)}, record, start, rows)"
        self._record(call, code, views, integers, numbers, fails, entry=_ENTRIES[name])

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
        if call.kernel not in LOWERINGS:
            raise Unsupported(call.kernel)
        LOWERINGS[call.kernel](self, call)
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
        if not in_order(view):
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


def in_order(view: View) -> bool:
    step = 1
    for n, s in zip(reversed(view.shape), reversed(view.strides), strict=True):
        if n != 1 and s != step:
            return False
        step *= n
    return view.batch in (0, None)


def extent_of(view: View, axes: slice, call: Call) -> tuple[int, int]:
    """The elements along some of a view's axes, as record.extent takes them."""
    n = math.prod(view.shape[axes])
    batched = view.batch is not None and view.batch in range(len(view.shape))[axes]
    return (0, n // call.segment.rows) if batched else (n, 0)


def floating(call: Call, *views: View | None) -> np.dtype:
    """The one dtype of the views, float32 or float64."""
    dtypes = {v.dtype for v in views if v is not None}
    if len(dtypes) > 1 or not dtypes <= FLOATS:
        raise Unsupported(f"{call.kernel} of {', '.join(sorted(map(str, dtypes)))}")
    return dtypes.pop()
