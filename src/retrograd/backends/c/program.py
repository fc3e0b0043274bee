"""Compiled steps in C: a Program as an array of instructions for csrc/program.c, which runs a step in one call."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from ...kernels import elementary
from ...kernels.measure import BLOCK
from ..interpreter import Arrays
from ..registry import Unsupported
from .activation import ACTIVATIONS
from .measure import TERM_CODES
from .native import NULL, ffi, lib, out_of_memory, pointer

_DTYPES = {
    np.dtype(np.float32): lib.RG_F32,
    np.dtype(np.float64): lib.RG_F64,
    np.dtype(np.bool_): lib.RG_BOOL,
    np.dtype(np.int64): lib.RG_I64,
    np.dtype(np.int32): lib.RG_I32,
    np.dtype(np.uint32): lib.RG_U32,
    np.dtype(np.uint8): lib.RG_U8,
}
_LOSSES = {f"{name}_loss": getattr(lib, f"RG_{name.upper()}") for name in ("mse", "l1", "huber", "bce_with_logits")}
_OPERANDS, _NUMBERS, _AXES = 7, 6, 6
_WHOLE = ("step", "key", "offset")
"""Numbers that are whole; a step count is signed, the others are not."""


class View(NamedTuple):
    """An operand as C has it: an ir.Operand, its batch axis or None, and whether it adds up over the slices."""

    operand: Any
    row_axis: int | None = None
    summed: bool = False

    def with_axes(self, shape: tuple[int, ...], strides: tuple[int, ...], row_axis: int | None) -> View:
        return View(self.operand._replace(shape=shape, strides=strides), row_axis, self.summed)

    def transposed(self, axes: tuple[int, ...]) -> View:
        o, row = self.operand, self.row_axis
        shape, strides = tuple(o.shape[a] for a in axes), tuple(o.strides[a] for a in axes)
        return self.with_axes(shape, strides, None if row is None else axes.index(row))

    def broadcast(self, shape: tuple[int, ...], row_axis: int | None) -> View:
        o, lead = self.operand, len(shape) - len(self.operand.shape)
        strides = (0,) * lead + tuple(
            0 if n != m else s for n, m, s in zip(o.shape, shape[lead:], o.strides, strict=True)
        )
        return self.with_axes(tuple(shape), strides, row_axis)


class Encoded(NamedTuple):
    """One instruction for C: operands in the order that csrc/program.h gives, options and numbers."""

    opcode: str
    operands: tuple[View | None, ...]
    options: tuple[int, ...] = ()
    numbers: tuple[Any, ...] = ()


class Call:
    """A call of a Program on its way to C: its arguments, and how it takes part in a slice of the batch."""

    def __init__(self, instruction: Any, rules: Any) -> None:
        self.kernel = instruction.kernel
        self.arguments = instruction.arguments
        self.outputs = instruction.outputs
        self.rules = rules

    def view(self, name: str) -> View | None:
        operand = self.arguments.get(name)
        return None if operand is None else View(operand, self.rules.sliced.get(name) if self.rules else None)

    def output(self, n: int) -> View | None:
        operand = self.outputs[n] if n < len(self.outputs) else None
        if operand is None:
            return None
        sliced, summed = (self.rules.sliced, self.rules.summed) if self.rules else ({}, ())
        return View(operand, sliced.get(n), n in summed)

    def __getitem__(self, name: str) -> Any:
        return self.arguments[name]

    def get(self, name: str, default: Any) -> Any:
        return self.arguments.get(name, default)


Encoder = Callable[[Call], Iterable[Encoded]]


# What each kernel becomes


def _linear_forward(c: Call) -> Iterable[Encoded]:
    operands = (c.output(0), c.view("x"), c.view("w"), c.view("b"), c.output(1))
    activation = ACTIVATIONS[c.get("activation", "identity")]
    yield Encoded("LINEAR_FORWARD", operands, (activation,), (c.get("alpha", 0.0),))


def _linear_backward(c: Call) -> Iterable[Encoded]:
    activation = c.get("activation", "identity")
    saved = None if activation == "identity" else c.view("saved")
    operands = (c.output(0), c.output(1), c.output(2), c.view("g"), c.view("x"), c.view("w"), saved)
    options = ACTIVATIONS[activation], ACTIVATIONS[c.get("x_activation", "identity")]
    yield Encoded("LINEAR_BACKWARD", operands, options, (c.get("alpha", 0.0), c.get("x_alpha", 0.0)))


def _matmul(c: Call) -> Iterable[Encoded]:
    made, a, b = c.output(0), c.view("a"), c.view("b")
    shape = made.operand.shape
    if len(shape) > 2:
        a = a.broadcast((*shape[:-2], *a.operand.shape[-2:]), None)
        b = b.broadcast((*shape[:-2], *b.operand.shape[-2:]), None)
    yield Encoded("MATMUL", (made, a, b))


def _loss(c: Call) -> Iterable[Encoded]:
    x, target, reduction = c.view("x"), c.view("target"), c.get("reduction", "mean")
    labelled = c.kernel == "cross_entropy_loss"
    count = c.get("count", 0) or (x.operand.shape[0] if labelled else math.prod(x.operand.shape))
    losses, total = (c.output(0), None) if reduction == "none" else (None, c.output(0))
    operands = (losses, total, c.output(1), x, target)
    count = count if reduction == "mean" else 1
    if labelled:
        yield Encoded("CROSS_ENTROPY", operands, (), (count,))
    else:
        yield Encoded("POINTWISE_LOSS", operands, (_LOSSES[c.kernel],), (count, c.get("delta", 1.0)))


def _activation_forward(c: Call) -> Iterable[Encoded]:
    operands = (c.output(0), c.view("x"))
    yield Encoded("ACTIVATION_FORWARD", operands, (ACTIVATIONS[c["activation"]],), (c.get("alpha", 0.0),))


def _activation_backward(c: Call) -> Iterable[Encoded]:
    operands = (c.output(0), c.view("g"), c.view("saved"))
    yield Encoded("ACTIVATION_BACKWARD", operands, (ACTIVATIONS[c["activation"]],), (c.get("alpha", 0.0),))


def _reduction(c: Call) -> Iterable[Encoded]:
    x, axes = c.view("x"), tuple(c["axes"])
    kept = tuple(a for a in range(len(x.operand.shape)) if a not in axes)
    begin = min(axes, default=0)
    if axes != tuple(range(begin, begin + len(axes))):  # neighbours are one axis for C, others become neighbours
        x, begin = x.transposed(kept + axes), len(kept)
    numbers = (c.get("scale", 1.0),) if c.kernel == "sum" else ()
    yield Encoded(c.kernel.upper(), (c.output(0), x), (begin, begin + len(axes)), numbers)


def _along_axis(*names: str) -> Encoder:
    def encode(c: Call) -> Iterable[Encoded]:
        axis = c["axis"]
        yield Encoded(c.kernel.upper(), (c.output(0), *map(c.view, names)), (axis, axis + 1))

    return encode


def _put_along_axis(c: Call) -> Iterable[Encoded]:
    yield Encoded("PUT_ALONG_AXIS", tuple(map(c.view, ("y", "values", "indices"))), (c["axis"], c["axis"] + 1))


def _cumsum(c: Call) -> Iterable[Encoded]:
    axis, reverse = c["axis"], float(c.get("reverse", False))
    yield Encoded("CUMSUM", (c.output(0), c.view("x")), (axis, axis + 1), (reverse,))


def _vector(view: View) -> tuple[list[Encoded], View]:
    """The operand as a vector, and the copy that is due before where its elements do not lie in order."""
    operand = view.operand
    if operand.contiguous:
        return [], view.with_axes((operand.size,), (1,), None)
    copy = Constant(np.empty(operand.size, operand.dtype)).view()
    shaped = copy.with_axes(operand.shape, np.empty(operand.shape, np.int8).strides, None)
    return [Encoded("COPY", (shaped, view))], copy


def _places(shape: tuple[int, ...], key: Any) -> View:
    """Where in C order the elements stand that x[key] picks, x being of that shape."""
    places = np.arange(math.prod(shape)).reshape(shape)[key]
    return Constant(np.ascontiguousarray(places).reshape(-1)).view()


def _index(c: Call) -> Iterable[Encoded]:
    x = c.view("x")
    copied, elements = _vector(x)
    yield from copied
    yield Encoded("TAKE_ALONG_AXIS", (_vector(c.output(0))[1], elements, _places(x.operand.shape, c["key"])), (0, 1))


def _index_add(c: Call) -> Iterable[Encoded]:
    made = c.output(0)
    copied, elements = _vector(c.view("g"))
    yield from copied
    yield Encoded("ADD_ALONG_AXIS", (_vector(made)[1], elements, _places(made.operand.shape, c["key"])), (0, 1))


def _sgd(c: Call) -> Iterable[Encoded]:
    numbers = c.get("lr", 1e-3), c.get("momentum", 0.0), c.get("dampening", 0.0), c.get("weight_decay", 0.0)
    options = (bool(c.get("nesterov", False)), bool(c.get("first", False)))
    yield Encoded("SGD_UPDATE", (c.view("p"), c.view("g"), c.view("velocity")), options, numbers)


def _adam(c: Call) -> Iterable[Encoded]:
    numbers = (
        *(c.get("lr", 1e-3), c.get("beta1", 0.9), c.get("beta2", 0.999), c.get("eps", 1e-8)),
        *(c.get("weight_decay", 0.0), c.get("step", 1)),
    )
    operands = tuple(map(c.view, ("p", "g", "m", "v", "v_max")))
    yield Encoded("ADAM_UPDATE", operands, (bool(c.get("decoupled", False)),), numbers)


def _rmsprop(c: Call) -> Iterable[Encoded]:
    numbers = (
        *(c.get("lr", 1e-2), c.get("alpha", 0.99), c.get("eps", 1e-8)),
        *(c.get("weight_decay", 0.0), c.get("momentum", 0.0)),
    )
    operands = tuple(map(c.view, ("p", "g", "v", "velocity", "g_mean")))
    yield Encoded("RMSPROP_UPDATE", operands, (bool(c.get("accumulate", False)),), numbers)


def _gradient_sums(c: Call) -> Iterable[Encoded]:
    operands = (c.output(0), c.output(1), *map(c.view, ("p", "g", "before")))
    yield Encoded("GRADIENT_SUMS", operands, (c.get("block", BLOCK),))


def _update_sums(c: Call) -> Iterable[Encoded]:
    yield Encoded("UPDATE_SUMS", (c.output(0), c.view("p"), c.view("kept")), (c.get("block", BLOCK),))


def _unit_sums(c: Call) -> Iterable[Encoded]:
    yield Encoded("UNIT_SUMS", (c.output(0), c.view("x")), (TERM_CODES[c.get("term", "absolute")],))


def _dropout(c: Call) -> Iterable[Encoded]:
    yield Encoded("DROPOUT", (c.output(0), c.view("x")), (), (c["p"], c["key"], c["offset"]))


def _random_uniform(c: Call) -> Iterable[Encoded]:
    yield Encoded("RANDOM_UNIFORM", (c.output(0),), (), (c["key"], c["offset"]))


def _elementwise(*names: str) -> Encoder:
    def encode(c: Call) -> Iterable[Encoded]:
        made = c.output(0)
        operands = (v.broadcast(made.operand.shape, made.row_axis) for v in map(c.view, names))
        yield Encoded(c.kernel.upper(), (made, *operands))

    return encode


def _clamp(c: Call) -> Iterable[Encoded]:
    low, high = c.get("low", None), c.get("high", None)
    numbers = (-math.inf if low is None else low, math.inf if high is None else high)
    yield Encoded("CLAMP", (c.output(0), c.view("x")), (), numbers)


def _copy(c: Call) -> Iterable[Encoded]:
    yield Encoded("COPY", (c.output(0), c.view("x")))


def _accumulate(c: Call) -> Iterable[Encoded]:
    a, b = c.view("a"), c.view("b")
    yield Encoded("ADD", (a, a, b))


def _full(c: Call) -> Iterable[Encoded]:
    made = c.output(0).operand
    if not isinstance(c["value"], (bool, int, float)):
        raise Unsupported("full of a number that changes")
    value = Constant(np.full(1, c["value"], made.dtype))
    yield Encoded("COPY", (View(made), value.view().broadcast(made.shape, None)))


def _concatenate(c: Call) -> Iterable[Encoded]:
    made, axis, at = c.output(0), c["axis"], 0
    for operand in c["arrays"]:
        start = made.operand.offset + at * made.operand.strides[axis]
        part = made.operand._replace(offset=start, shape=operand.shape)
        at += operand.shape[axis]
        yield Encoded("COPY", (View(part, made.row_axis), View(operand, made.row_axis)))


def _part(view: View, key: Any) -> View:
    """The part of an operand that a basic key (integers, slices, None, Ellipsis) takes."""
    from ...program.ir import sliced

    parts = key if isinstance(key, tuple) else (key,)
    if any(isinstance(part, (np.ndarray, list, bool)) or hasattr(part, "buffer") for part in parts):
        raise Unsupported("assignment at an array of indices")
    return view if key is Ellipsis else View(sliced(view.operand, key))


def _assign(c: Call) -> Iterable[Encoded]:
    values = c.view("values")
    a = _part(c.view("a"), c.get("key", ...))
    if a.operand.buffer is values.operand.buffer:
        raise Unsupported("assignment to memory that is read")
    shape = values.operand.shape
    lead = max(0, len(shape) - len(a.operand.shape))  # leading axes of size 1, which assignment ignores
    values = values.with_axes(shape[lead:], values.operand.strides[lead:], values.row_axis)
    yield Encoded("COPY", (a, values.broadcast(a.operand.shape, a.row_axis)))


def _is_opcode(kernel: str) -> bool:
    return hasattr(lib, f"RG_{kernel.upper()}")


_ENCODERS: dict[str, Encoder] = {
    "linear_forward": _linear_forward,
    "linear_backward": _linear_backward,
    "matmul": _matmul,
    "activation_forward": _activation_forward,
    "activation_backward": _activation_backward,
    "sgd_update": _sgd,
    "adam_update": _adam,
    "rmsprop_update": _rmsprop,
    "gradient_sums": _gradient_sums,
    "update_sums": _update_sums,
    "unit_sums": _unit_sums,
    "dropout": _dropout,
    "random_uniform": _random_uniform,
    "clamp": _clamp,
    "copy": _copy,
    "cast": _copy,
    "accumulate": _accumulate,
    "full": _full,
    "concatenate": _concatenate,
    "assign": _assign,
    "where": _elementwise("condition", "a", "b"),
    "cumsum": _cumsum,
    "index": _index,
    "index_add": _index_add,
    "take_along_axis": _along_axis("x", "indices"),
    "add_along_axis": _along_axis("g", "indices"),
    "put_along_axis": _put_along_axis,
    "softmax": _along_axis("x"),
    "log_softmax": _along_axis("x"),
    "softmax_backward": _along_axis("g", "y"),
    "log_softmax_backward": _along_axis("g", "y"),
    **dict.fromkeys((*_LOSSES, "cross_entropy_loss"), _loss),
    **dict.fromkeys(("sum", "amax", "amin", "logsumexp", "argmax", "argmin", "any", "all"), _reduction),
    **dict.fromkeys(("negative", "absolute", "sign", "exp", "log", "sqrt", "square", "logical_not"), _elementwise("x")),
    **dict.fromkeys((name for name in (*elementary.UNARY, "erf", "erfc") if _is_opcode(name)), _elementwise("x")),
    **dict.fromkeys(filter(_is_opcode, elementary.BINARY), _elementwise("a", "b")),
    **dict.fromkeys(
        (
            *("add", "subtract", "multiply", "divide", "power", "maximum", "minimum", "logical_and", "logical_or"),
            *("equal", "not_equal", "less", "less_equal", "greater", "greater_equal"),
        ),
        _elementwise("a", "b"),
    ),
}


# The program's parts as C structs


@contextmanager
def _blaming(instruction: Any) -> Iterator[None]:
    """Says of an Unsupported which call it is about."""
    try:
        yield
    except Unsupported as reason:
        raise Unsupported(str(reason), instruction) from None


class Constant:
    """Memory that the encoding itself brings; stands for a Buffer."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array
        self.dtype = array.dtype
        self.size = array.size
        self.role = "constant"
        self.number = -1

    def view(self) -> View:
        from ...program.ir import Operand

        return View(Operand(self, 0, self.array.shape, (1,) * self.array.ndim))  # type: ignore[arg-type]


class Source:
    """A Program encoded: `struct` is what lib.rg_program_load takes.

    Attributes:
        struct: an rg_program_source; it and all that it points to live as long as this object.
        opcodes, origins: of each instruction its opcode, and the program's that it is made of.
        scalars: the struct module's format of the program's scalars, an 8-byte slot for each.
        arrays: the memory at fixed addresses, which must live as long as a program loaded from this.

    Raises:
        Unsupported: the program has a call that C does not run.
    """

    def __init__(self, program: Any) -> None:
        self._program = program
        self._kinds = ["d"] * len(program.scalars)
        self.arrays: list[np.ndarray] = []
        self._constants: list[Constant] = []
        self._seen: dict[int, str] = {}
        segments = [self._segment(s) for s in program.segments]
        encoded = [e for calls in segments for e in calls]
        instructions = ffi.new("rg_instruction[]", max(1, len(encoded)))
        for to, (origin, e) in zip(instructions, encoded, strict=False):
            with _blaming(origin):
                self._instruction(to, e)
        slices = ffi.new("rg_segment[]", max(1, len(segments)))
        for to, s, calls in zip(slices, program.segments, segments, strict=False):
            to.instructions, to.rows, to.slice_rows = len(calls), s.rows, s.slice_rows
        buffers = self._buffers()
        self.struct = ffi.new(
            "rg_program_source *",
            {
                "buffers": buffers,
                "buffer_count": len(buffers),
                "instructions": instructions,
                "instruction_count": len(encoded),
                "segments": slices,
                "segment_count": len(segments),
                "arena_bytes": program.arena_bytes,
                "slice_bytes": program.slice_bytes,
                "input_count": len(program.inputs),
                "result_count": len(program.results),
                "scalar_count": len(program.scalars),
            },
        )
        self._parts = buffers, instructions, slices
        self.scalars = "=" + "".join(self._kinds)
        self.opcodes = [e.opcode for _, e in encoded]
        self.origins = [origin for origin, _ in encoded]

    def _segment(self, segment: Any) -> list[tuple[Any, Encoded]]:
        encoded: list[tuple[Any, Encoded]] = []
        for instruction in segment.instructions:
            encoder = _ENCODERS.get(instruction.kernel)
            if encoder is None:
                raise Unsupported(instruction.kernel, instruction)
            rules = segment.row_rules[instruction] if segment.rows else None
            with _blaming(instruction):
                encoded += ((instruction, e) for e in encoder(Call(instruction, rules)))
        return encoded

    def _buffers(self) -> Any:
        program = self._program
        inputs = {o.buffer.number: n for n, o in enumerate(program.inputs)}
        results = {o.buffer.number: n for n, o in enumerate(program.results)}
        local = {number: (b, s) for s in program.segments for number, b in s.local.items()}
        made = ffi.new("rg_buffer[]", len(program.buffers) + len(self._constants))
        for to, buffer in zip(made, (*program.buffers, *self._constants), strict=True):
            to.dtype = _DTYPES.get(buffer.dtype, lib.RG_U8)  # of another type: no call reads it, or it was refused
            to.bytes = buffer.size * buffer.dtype.itemsize
            if buffer.array is not None:
                self.arrays.append(buffer.array)
                to.place, to.where = lib.RG_FIXED, buffer.array.__array_interface__["data"][0]
            elif buffer.number in inputs:
                to.place, to.where = lib.RG_INPUT, inputs[buffer.number]
            elif buffer.number in results:
                to.place, to.where = lib.RG_RESULT, results[buffer.number]
            elif buffer.number in local:
                segment = local[buffer.number][1]
                to.place, to.where = lib.RG_SLICE, buffer.place
                to.bytes = to.bytes // segment.rows * segment.slice_rows
            elif buffer.place is not None:
                to.place, to.where = lib.RG_ARENA, buffer.place
            else:
                to.place, to.bytes = lib.RG_ARENA, 0  # no call touches it
        return made

    def _instruction(self, to: Any, encoded: Encoded) -> None:
        to.opcode = getattr(lib, f"RG_{encoded.opcode}")
        to.option[0 : len(encoded.options)] = encoded.options
        for n in range(_NUMBERS):
            to.scalar[n] = -1
        whole = {"ADAM_UPDATE": (5,), "DROPOUT": (1, 2), "RANDOM_UNIFORM": (0, 1)}.get(encoded.opcode, ())
        for n, value in enumerate(encoded.numbers):
            if hasattr(value, "number"):
                kind = "d" if n not in whole else "q" if encoded.opcode == "ADAM_UPDATE" else "Q"
                if self._seen.setdefault(value.number, kind) != kind:
                    raise Unsupported(f"scalar {value} is read as two kinds of number")
                self._kinds[value.number] = kind
                to.scalar[n] = value.number
            elif n in whole and not 0 <= value < 1 << 53:
                raise Unsupported(f"{encoded.opcode.lower()} of the whole number {value}")
            else:
                to.number[n] = value
        for n in range(_OPERANDS):
            to.operand[n].buffer = -1
        for n, view in enumerate(encoded.operands):
            if view is not None:
                self._operand(to.operand[n], view)

    def _operand(self, to: Any, view: View) -> None:
        operand = view.operand
        if operand.dtype not in _DTYPES or len(operand.shape) > _AXES:
            raise Unsupported(f"an operand of {operand.dtype} with {len(operand.shape)} axes")
        if isinstance(operand.buffer, Constant) and operand.buffer.number < 0:
            operand.buffer.number = len(self._program.buffers) + len(self._constants)
            self._constants.append(operand.buffer)
        to.buffer, to.offset, to.axes = operand.buffer.number, operand.offset, len(operand.shape)
        to.shape[0 : len(operand.shape)] = operand.shape
        to.strides[0 : len(operand.shape)] = operand.strides
        to.row_axis = -1 if view.row_axis is None else view.row_axis
        to.summed = view.summed


class Entry:
    """A loaded program's step, for callers in C: function(step) runs it and returns 0, or what failure() takes.

    Attributes:
        loaded: the program.
        function, step: whole numbers, addresses.
        addresses: where C writes those of the inputs, as such.
    """

    function = int(ffi.cast("intptr_t", ffi.addressof(lib, "rg_program_run")))

    def __init__(self, loaded: Loaded) -> None:
        self.loaded = loaded
        inputs, results, scalars = loaded.counts
        self._inputs = ffi.new("void *[]", inputs + 1)
        self._results = ffi.new("void *[]", results + 1)
        self._scalars = bytearray(8 * max(1, scalars))
        self._latest: list[Any] = [None, None, None]  # what read() and prepare() were given
        self._read: list[Any] = [None] * inputs
        numbers = ffi.cast("rg_scalar *", pointer(self._scalars))
        self.struct = ffi.new("rg_step *", [loaded.address, self._inputs, self._results, numbers])
        self.step = int(ffi.cast("intptr_t", self.struct))
        self.addresses = int(ffi.cast("intptr_t", self._inputs))

    def read(self, inputs: Arrays) -> None:
        """Have the steps read these; the list must not be changed afterwards."""
        if inputs is not self._latest[0]:
            for n, array in enumerate(inputs):
                if array is not self._read[n]:  # an address costs more than all else here
                    self._inputs[n] = pointer(array)
                    self._read[n] = array
            self._latest[0] = inputs

    def prepare(self, results: Arrays, scalars: list[Any]) -> None:
        """Have the steps write and read these; the lists must not be changed afterwards."""
        if results is not self._latest[1]:
            for n, array in enumerate(results):
                self._results[n] = pointer(array)
            self._latest[1] = results
        if scalars is not self._latest[2]:
            self.loaded.pack(self._scalars, 0, *scalars)
            self._latest[2] = scalars

    def failure(self, failed: int) -> Exception:
        """What a step that returned this raises."""
        return self.loaded.failure(failed)


class Loaded:
    """A program that C runs, one call at a time.

    Args:
        program: after its passes (a retrograd.program.Program).

    Raises:
        Unsupported: the program has a call that C does not run.
    """

    def __init__(self, program: Any) -> None:
        source = Source(program)
        complaint = ffi.new("char[]", 256)
        self._workspace = program.workspace.get("c") or ffi.gc(lib.rg_workspace_new(), lib.rg_workspace_free)
        program.workspace["c"] = self._workspace
        refused = ffi.new("int64_t *")
        loaded = lib.rg_program_load(source.struct, self._workspace, complaint, 256, refused)
        if loaded == NULL:
            instruction = source.origins[refused[0]] if refused[0] >= 0 else None
            raise Unsupported(ffi.string(complaint).decode(), instruction)
        self.address = ffi.gc(loaded, lib.rg_program_free)
        self.pack = struct.Struct(source.scalars).pack_into
        self.counts = len(program.inputs), len(program.results), len(program.scalars)
        self._arrays = source.arrays
        self._opcodes = source.opcodes
        self._segments = len(program.segments)
        self._batch = program.inputs[0].shape[0] if program.inputs and program.inputs[0].shape else 0
        self._entry = self.entry()
        self._spare = [np.empty(o.shape, o.dtype) for o in program.results]
        self._data = ffi.new("void *[]", max(1, len(program.inputs)))
        self._row_bytes = ffi.new("int64_t[]", max(1, len(program.inputs)))
        self._spares = ffi.new("void *[]", [pointer(r) for r in self._spare] or [NULL])
        self._epoch = ffi.new(
            "rg_epoch *",
            {"data": self._data, "row_bytes": self._row_bytes, "results": self._spares, "batch": self._batch},
        )

    def run(self, inputs: Arrays, results: Arrays, scalars: list[Any]) -> None:
        """One step: see Interpreter.run. The lists must not be changed afterwards."""
        entry = self._entry
        entry.read(inputs)
        entry.prepare(results, scalars)
        if failed := lib.rg_program_run(entry.struct):
            raise self.failure(failed)

    def entry(self) -> Entry:
        """An entry of its own."""
        return Entry(self)

    def failure(self, failed: int) -> Exception:
        """What a step that returned this raises."""
        if failed == -1:
            return out_of_memory("a compiled step")
        fault = lib.rg_program_fault(self.address)
        return IndexError(
            f"compiled step: {self._opcodes[fault.instruction].lower()}: index {fault.index} is out of range for "
            f"{fault.size} elements; the step was not completed, nothing was updated"
        )

    def threads(self) -> list[int]:
        """How many threads share the batch of each segment."""
        return [lib.rg_program_threads(self.address, n) for n in range(self._segments)]

    def run_steps(
        self, arrays: Arrays, order: np.ndarray | None, first: int, scalars: list[list[Any]], losses: np.ndarray
    ) -> None:
        """Many steps, on batches of rows of `arrays`, in one call.

        Args:
            arrays: the data for each of the step's arguments: C contiguous, of their dtypes and shapes but for the
                first axis, which is the batch in an argument and has all rows here.
            order: int64, 1-d, contiguous; the rows of the first batch, of the second and so on. None: those from row
                `first` on, in order.
            first: not read where order is given.
            scalars: the values of program.scalars for each step, or of all steps in one list.
            losses: 1-d, of the dtype of the first result, which has one element; filled with that of each step.

        Raises:
            ValueError: a row is not in the arrays, or the arrays do not fit the program; no step is done.
        """
        width = 8 * len(scalars[0])
        table = bytearray(max(8, width * len(scalars)))
        for n, row in enumerate(scalars):
            self.pack(table, n * width, *row)
        for n, array in enumerate(arrays):
            self._data[n], self._row_bytes[n] = pointer(array), array.nbytes // max(1, len(array))
        epoch = self._epoch
        epoch.rows = min(map(len, arrays), default=0)
        epoch.order = NULL if order is None else ffi.cast("int64_t *", pointer(order))
        epoch.first, epoch.steps = first, len(losses)
        epoch.scalars = ffi.cast("rg_scalar *", pointer(table))
        epoch.scalars_step = len(scalars[0]) if len(scalars) > 1 else 0
        epoch.losses = ffi.cast("void *", pointer(losses))
        done = lib.rg_program_run_steps(self.address, epoch)
        if done in (-1, -3):
            raise self.failure(done)
        if done < 0:
            shapes = ", ".join(str(a.shape) for a in arrays)
            raise ValueError(
                f"compiled steps: {len(losses)} batches of {self._batch} rows do not fit arrays of shapes {shapes}, "
                "or a row's number is not in them"
            )


COMPILED = _ENCODERS.keys()
"""The kernels that programs may call."""
