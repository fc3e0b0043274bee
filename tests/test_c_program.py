"""Compiled steps in C: which programs it runs, what it refuses, and steps over many batches in one call."""

from __future__ import annotations

import itertools
import logging
import os
import shutil
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import retrograd as rg
import retrograd.nn.functional as F
from retrograd import nn, optim
from retrograd.kernels import elementary

if "c" not in rg.backends.available():
    pytest.skip("the C backend is not available", allow_module_level=True)

from retrograd.backends.c.native import NULL, ffi, lib
from retrograd.backends.c.program import Loaded, Source
from retrograd.program import plan

OPTIMIZERS = {
    "sgd": lambda ps: optim.SGD(ps, lr=0.05),
    "nesterov": lambda ps: optim.SGD(ps, lr=0.05, momentum=0.9, nesterov=True),
    "adam": lambda ps: optim.Adam(ps, lr=0.01, weight_decay=0.01),
    "adamw": lambda ps: optim.AdamW(ps, lr=0.01, amsgrad=True),
    "rmsprop": lambda ps: optim.RMSprop(ps, lr=0.002, momentum=0.5, centered=True),
    "adagrad": lambda ps: optim.Adagrad(ps, lr=0.02, lr_decay=0.1, initial_accumulator_value=0.1),
    "radam": lambda ps: optim.RAdam(ps, lr=0.02, betas=(0.8, 0.9), weight_decay=0.01),
    "nadam": lambda ps: optim.NAdam(ps, lr=0.01, weight_decay=0.01),
}
LOSSES = {
    "mse": F.mse_loss,
    "l1": F.l1_loss,
    "huber": F.huber_loss,
    "bce": lambda out, y: F.binary_cross_entropy_with_logits(out, F.softmax(y, 1)),
    "cross entropy": lambda out, y: F.cross_entropy(out, F.softmax(y, 1)),
    "by hand": lambda out, y: ((out - y) ** 2).mean() + 0.1 * out.abs().sum(1).mean(),
}


@pytest.fixture(autouse=True)
def in_c():
    with rg.backends.use("c"):
        yield


@pytest.fixture
def threads():
    before = rg.get_num_threads()
    yield rg.set_num_threads
    rg.set_num_threads(before)


def training(
    widths: tuple[int, ...] = (5, 8, 3), rows: int = 24, activation: Any = nn.ReLU, optimizer: str = "sgd",
    loss: str = "mse", dropout: float = 0.0, clip: bool = False, dtype: str = "float32", **options: Any,
) -> tuple[Any, rg.Tensor, rg.Tensor, nn.Module]:  # fmt: skip
    rg.manual_seed(0)
    layers: list[nn.Module] = []
    for i, (fan_in, fan_out) in enumerate(itertools.pairwise(widths)):
        layers += [activation(), nn.Dropout(dropout)] if i else []
        layers.append(nn.Linear(fan_in, fan_out, dtype=dtype))
    model = nn.Sequential(*layers)
    updates = OPTIMIZERS[optimizer](model.parameters())

    @rg.compile(**options)
    def step(x: rg.Tensor, y: rg.Tensor) -> rg.Tensor:
        updates.zero_grad()
        made = LOSSES[loss](model(x), y)
        made.backward()
        if clip:
            nn.clip_grad_norm_(model.parameters(), 0.3)
        updates.step()
        return made

    random = np.random.default_rng(0)
    x = rg.tensor(random.standard_normal((rows, widths[0])), dtype=dtype)
    return step, x, rg.tensor(random.standard_normal((rows, widths[-1])), dtype=dtype), model


def program_of(**case: Any) -> Any:
    step, x, y, _ = training(**case)
    step(x, y)
    return step.program


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh, nn.GELU])
def test_training_steps_run_in_c(optimizer: str, loss: str, activation: Any) -> None:
    case = {"optimizer": optimizer, "loss": loss, "activation": activation}
    assert isinstance(rg.backends.registry.load_program(program_of(**case)), Loaded)
    assert isinstance(rg.backends.registry.load_program(program_of(**case, dropout=0.1, clip=True)), Loaded)


def test_what_c_does_not_run_is_said(caplog: pytest.LogCaptureFixture) -> None:
    @rg.compile
    def step(x: rg.Tensor) -> rg.Tensor:
        return x.argsort(1)[:, -1]

    with caplog.at_level(logging.DEBUG, "retrograd"):
        assert step(rg.tensor([[1.0, 3.0, 2.0]])).tolist() == [1]
    said = "it runs in 2 pieces: programs on the backend c do without argsort"
    assert said in caplog.text
    assert said in str(step.program)


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("slice_rows", [None, 16])
@pytest.mark.parametrize(("widths", "rows"), [((17, 64, 64, 6), 203), ((4, 16, 4), 60_007)])
def test_threads_split_the_batch(
    widths: tuple[int, ...], rows: int, count: int, slice_rows: int | None, threads: Any
) -> None:
    """A long one into more parts than threads: whoever is done with its own takes others."""
    runs = []
    for n in (1, count, count):
        threads(n)
        step, x, y, model = training(widths, rows, optimizer="adam", slice_rows=slice_rows)
        losses = [step(x, y).item() for _ in range(4)]
        runs.append((losses, [p.detach().numpy().copy() for p in model.parameters()]))
    np.testing.assert_allclose(runs[1][0], runs[0][0], rtol=1e-5)
    assert runs[1][0] == runs[2][0]
    for one, some, again in zip(*(parameters for _, parameters in runs), strict=True):
        np.testing.assert_allclose(some, one, rtol=1e-3, atol=1e-5)
        assert some.tobytes() == again.tobytes()


READS = {
    "its own rows": lambda x: x,
    "part of its rows": lambda x: x[:, 1:9],
    "rows in reverse": lambda x: x.flip(0),
    "all rows": lambda x: x - x.mean(0),
    "columns as rows": lambda x: x.T,
    "rows of a part": lambda x: x[:, :32] @ x[:32],
}


def test_a_step_follows_the_number_of_threads(threads: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """How a product is split is chosen when a program is loaded."""
    loads: list[int] = []
    load = plan.load

    def counted(program: Any) -> Any:
        loads.append(rg.get_num_threads())
        return load(program)

    monkeypatch.setattr(plan, "load", counted)
    step, x = rg.compile(lambda x: rg.tanh(x)), np.zeros((2, 3), np.float32)
    for count in (1, 1, 2, 2, 1):
        threads(count)
        step(x)
    assert loads == [1, 2, 1]


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("reads", READS)
def test_shuffled_rows_are_gathered_before_they_are_read(count: int, reads: str, threads: Any) -> None:
    threads(count)
    size = 128
    X = np.random.default_rng(0).standard_normal((3 * size, size)).astype(np.float32)

    def training_step() -> Any:
        rg.manual_seed(1)
        model = nn.Sequential(nn.Linear(READS[reads](rg.tensor(X[:size])).shape[1], 64), nn.ReLU(), nn.Linear(64, size))
        optimizer = optim.SGD(model.parameters(), lr=0.05)

        @rg.compile
        def step(x: rg.Tensor) -> rg.Tensor:
            optimizer.zero_grad()
            loss = ((model(READS[reads](x)) - x) ** 2).mean()
            loss.backward()
            optimizer.step()
            return loss

        return step

    whole, one = training_step(), training_step()
    losses = whole.run(X, batch_size=size, epochs=3, shuffle=True, seed=5)
    batches = rg.data.batches(X, batch_size=size, shuffle=True, seed=5)
    np.testing.assert_array_equal(losses, [one(x).item() for _ in range(3) for x in batches])


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize("widths", [(5, 8, 3), (17, 64, 64, 6)])
def test_many_steps_are_as_many_calls(count: int, shuffled: bool, widths: tuple[int, ...], threads: Any) -> None:
    threads(count)
    rows, batch, steps = 203, 50, 4
    order = np.random.default_rng(1).permutation(rows)[: batch * steps] if shuffled else None
    one, x, y, model = training(widths, rows)
    many, _, _, same = training(widths, rows)
    numbers = np.arange(rows) if order is None else order
    expected = [
        one(x.numpy()[numbers[i : i + batch]], y.numpy()[numbers[i : i + batch]]).item()
        for i in range(3 if order is None else 0, batch * (steps - 1), batch)
    ]
    many.plan((x[:batch], y[:batch]), {}, [])
    loaded = rg.backends.registry.load_program(many.program)
    losses = np.empty(len(expected), np.float32)
    loaded.run_steps([x.numpy(), y.numpy()], order, 3, [[0.05, 0.0, 0.0, 0.0]], losses)
    np.testing.assert_array_equal(losses, np.array(expected, np.float32))
    for p, q in zip(model.parameters(), same.parameters(), strict=True):
        assert p.detach().numpy().tobytes() == q.detach().numpy().tobytes()


@pytest.mark.parametrize("count", [2, 3])
def test_steps_on_trial_give_the_same_bits(count: int, threads: Any) -> None:
    """Now and then some steps are run by one thread alone: in calls of one step at other times than in long runs."""
    threads(count)
    batch, rows, epochs = 128, 224, 350
    called, x, y, model = training((17, 64, 64, 6), rows)
    run, _, _, same = training((17, 64, 64, 6), rows)
    starts = range(0, rows, batch)
    losses = [called(x[i : i + batch], y[i : i + batch]).item() for _ in range(epochs) for i in starts]
    assert max(called.program.threads()) > 1
    assert run.run(x, y, batch_size=batch, epochs=epochs).tolist() == losses
    for p, q in zip(model.parameters(), same.parameters(), strict=True):
        assert p.detach().numpy().tobytes() == q.detach().numpy().tobytes()


def test_rows_that_are_not_there_are_refused() -> None:
    program = program_of(rows=10)
    loaded = Loaded(program)
    x, y = np.zeros((30, 5), np.float32), np.zeros((30, 3), np.float32)
    before = [b.array.copy() for b in program.buffers if b.array is not None]
    for order, first in ((np.full(20, 30), 0), (np.full(20, -1), 0), (None, 11), (None, -1)):
        with pytest.raises(ValueError, match=r"2 batches of 10 rows do not fit arrays of shapes \(30, 5\), \(30, 3\)"):
            loaded.run_steps([x, y], order, first, [[0.1, 0.0, 0.0, 0.0]], np.empty(2, np.float32))
    with pytest.raises(ValueError, match="do not fit"):
        loaded.run_steps([x[:, :4].copy(), y], None, 0, [[0.1, 0.0, 0.0, 0.0]], np.empty(2, np.float32))
    for b, array in zip((b for b in program.buffers if b.array is not None), before, strict=True):
        np.testing.assert_array_equal(b.array, array)


@pytest.mark.parametrize("widths", [(5, 3), (20, 1), (3, 40, 2)])
def test_whole_layers_have_room_for_all_rows(widths: tuple[int, ...]) -> None:
    """Without slices a layer's scratch is for the whole batch, more rows than it has outputs."""
    whole, x, y, model = training(widths, rows=300, passes=("fuse", "plan_memory", "prune"))
    sliced, _, _, same = training(widths, rows=300)
    for _ in range(3):
        assert whole(x, y).item() == pytest.approx(sliced(x, y).item(), rel=1e-5)
    for p, q in zip(model.parameters(), same.parameters(), strict=True):
        np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("isa", rg.backends.describe("c")["available"].split(", "))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("slice_rows", [None, 16])
def test_gradients_of_weights_of_few_inputs_or_outputs(slice_rows: int | None, dtype: str, isa: str) -> None:
    """Which are made in whichever order of the weights takes fewer vectors, and added up over slices; few outputs
    or inputs are summed in pairs."""
    before = lib.rg_isa()
    assert lib.rg_select_isa(isa.encode()) == NULL
    try:
        for widths in ((2, 33, 3), (3, 130, 8, 31), (4, 16, 1), (8, 32, 33, 2), (9, 40, 17, 80), (6, 26, 8, 6)):
            changes = []
            for backend in ("c", "numpy"):
                with rg.backends.use(backend):
                    step, x, y, model = training(widths, 53, nn.Tanh, dtype=dtype, slice_rows=slice_rows)
                    start = [p.detach().numpy().copy() for p in model.parameters()]
                    step(x, y)
                    changes.append([p.detach().numpy() - b for p, b in zip(model.parameters(), start, strict=True)])
            for change, expected in zip(*changes, strict=True):
                np.testing.assert_allclose(change, expected, rtol=0, atol=1e-4 * np.abs(expected).max())
    finally:
        lib.rg_select_isa(ffi.string(before))


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("rows", [1, 90, 1100])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_updates_made_with_the_gradient(optimizer: str, rows: int, count: int, threads: Any) -> None:
    """Weights beyond the cache, whose gradient nobody reads: by one vector, in one block and in several."""
    threads(count)
    x, y = (rg.tensor(np.random.default_rng(0).standard_normal((rows, n)), dtype="float32") for n in (301, 70))
    after = []
    for compiled in (True, False):
        rg.manual_seed(0)
        model = nn.Sequential(nn.Linear(301, 470), nn.ReLU(), nn.Linear(470, 70))
        updates = OPTIMIZERS[optimizer](model.parameters())
        before = [p.detach().numpy().copy() for p in model.parameters()]

        def step(model: nn.Module = model, updates: Any = updates) -> rg.Tensor:
            loss = F.mse_loss(model(x), y)
            loss.backward()
            updates.step()
            updates.zero_grad()
            return loss

        run = rg.compile(step) if compiled else step
        for _ in range(2):
            run()
        if compiled:
            kernels = [i.kernel for i in run.program.instructions]
            last = max(n for n, kernel in enumerate(kernels) if kernel == "linear_backward")
            assert kernels[last + 1].endswith("_update"), "the gradient's update does not follow it"
        after.append([p.detach().numpy() - b for p, b in zip(model.parameters(), before, strict=True)])
    for change, expected in zip(*after, strict=True):
        np.testing.assert_allclose(change, expected, rtol=0, atol=5e-3 * np.abs(expected).max())


# What is refused when it is loaded


WORKSPACE = ffi.gc(lib.rg_workspace_new(), lib.rg_workspace_free)


def complaint(source: Source) -> str:
    text = ffi.new("char[]", 256)
    loaded = lib.rg_program_load(source.struct, WORKSPACE, text, 256, ffi.new("int64_t *"))
    if loaded == NULL:
        return ffi.string(text).decode()
    lib.rg_program_free(loaded)
    return ""


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda s: setattr(s.instructions[0], "opcode", 99), "instruction 0: no opcode 99"),
        (lambda s: setattr(s.instructions[0], "opcode", -1), "no opcode -1"),
        (lambda s: setattr(s.instructions[0].operand[1], "buffer", 1000), "no buffer 1000"),
        (lambda s: setattr(s.instructions[0].operand[1], "buffer", -1), "linear_forward: operand 1 is missing"),
        (lambda s: setattr(s.instructions[0].operand[1], "axes", 7), "7 axes, expected 0 to 6"),
        (lambda s: setattr(s.instructions[0].operand[1], "offset", 1), "reaches beyond the 120 elements"),
        (lambda s: setattr(s.instructions[0].operand[1], "offset", -1), "reaches beyond"),
        (lambda s: setattr(s.instructions[0].operand[1], "offset", 2**62), "reaches beyond"),
        (lambda s: s.instructions[0].operand[1].strides.__setitem__(1, 2**62), "axis 1 has stride"),
        (lambda s: s.instructions[0].operand[1].strides.__setitem__(1, 2**40), "reaches beyond"),
        (lambda s: s.instructions[0].operand[1].shape.__setitem__(1, -3), "axis 1 has size -3"),
        (lambda s: s.instructions[0].operand[1].shape.__setitem__(1, 4), "do not fit each other"),
        (lambda s: s.instructions[0].operand[1].shape.__setitem__(0, 23), "not the batch of 24 rows"),
        (lambda s: setattr(s.instructions[0].operand[1], "row_axis", -1), "does not run on slices"),
        (lambda s: s.instructions[0].option.__setitem__(0, 77), "options do not fit"),
        (lambda s: s.instructions[s.instruction_count - 1].scalar.__setitem__(0, 4), "no scalar 4 of 4"),
        (lambda s: setattr(s.segments[0], "instructions", 500), "segment 0: 500 instructions"),
        (lambda s: setattr(s.segments[0], "slice_rows", 0), "segment 0: slices of 0 of 24 rows"),
        (lambda s: setattr(s.segments[0], "slice_rows", 25), "segment 0: slices of 25 of 24 rows"),
        (lambda s: setattr(s, "slice_bytes", 64), "of an arena of 64"),
        (lambda s: setattr(s, "input_count", 1), "no such argument"),
        (lambda s: setattr(s.buffers[0], "dtype", 50), "buffer 0: no element type 50"),
        (lambda s: setattr(s.buffers[0], "dtype", lib.RG_I64), "instruction 0, linear_forward"),
        (lambda s: setattr(s.buffers[0], "bytes", -1), "buffer 0: -1 bytes"),
        (lambda s: setattr(s.buffers[0], "place", 9), "buffer 0: no place 9"),
    ],
)
def test_a_wrong_program_is_refused(change: Any, expected: str) -> None:
    source = Source(program_of())
    assert complaint(source) == ""
    change(source.struct)
    assert expected in complaint(source)


numbers = st.one_of(st.integers(-3, 70), st.sampled_from((2**31 - 1, -(2**31), 2**62, -(2**62), 2**63 - 1)))


@settings(max_examples=100)
@given(
    data=st.data(), case=st.sampled_from(({}, {"loss": "by hand", "clip": True}, {"optimizer": "adam", "dropout": 0.5}))
)
def test_a_corrupted_program_is_refused_or_runs(data: st.DataObject, case: dict[str, Any]) -> None:
    """Whatever is written into a program's numbers, loading it says what is wrong, or it runs within its memory."""
    program = program_of(**case, rows=20)
    source = Source(program)
    s = source.struct
    for _ in range(data.draw(st.integers(1, 3))):
        part = data.draw(st.sampled_from(("instruction", "operand", "operand", "operand", "segment", "buffer")))
        if part == "segment":
            target = s.segments[data.draw(st.integers(0, s.segment_count - 1))]
        elif part == "buffer":
            target = s.buffers[data.draw(st.integers(0, s.buffer_count - 1))]
        else:
            target = s.instructions[data.draw(st.integers(0, s.instruction_count - 1))]
            if part == "operand":
                target = target.operand[data.draw(st.integers(0, 6))]
        fields = [
            f
            for f, _ in ffi.typeof(target).fields
            if f not in ("operand", "number", "where" if part == "buffer" else "")
        ]
        field, value = data.draw(st.sampled_from(fields)), data.draw(numbers)
        try:
            if field in ("shape", "strides", "option", "scalar"):
                getattr(target, field)[data.draw(st.integers(0, 1))] = value
            elif part == "buffer" and field == "bytes":
                target.bytes = min(target.bytes, value)  # a larger one would be a lie about memory that is outside
            elif part == "buffer" and field == "place" and value in (lib.RG_FIXED, lib.RG_INPUT, lib.RG_RESULT):
                pass  # so would this be
            else:
                setattr(target, field, value)
        except OverflowError:
            pass
    text = ffi.new("char[]", 256)
    loaded = lib.rg_program_load(s, WORKSPACE, text, 256, ffi.new("int64_t *"))
    if loaded == NULL:
        assert ffi.string(text)
        return
    inputs = [np.zeros(o.shape, o.dtype) for o in program.inputs]
    results = [np.zeros(o.shape, o.dtype) for o in program.results]
    scalars = np.zeros(len(program.scalars) + 1)
    try:
        places = [ffi.new("void *[]", [ffi.from_buffer(a) for a in arrays]) for arrays in (inputs, results)]
        lib.rg_program_run(ffi.new("rg_step *", [loaded, *places, ffi.cast("rg_scalar *", ffi.from_buffer(scalars))]))
    finally:
        lib.rg_program_free(loaded)


FUNCTIONS = {name: (1, function) for name, (function, _) in elementary.UNARY.items()} | {
    name: (2, elementary.BINARY[name][0]) for name in ("atan2", "hypot", "fmod", "copysign")
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_elementary_functions_run_in_c(name, dtype):
    operands, reference = FUNCTIONS[name]
    given = [np.random.default_rng(n).uniform(-3, 3, (37, 5)).astype(dtype) for n in range(operands)]
    step = rg.compile(lambda *tensors: getattr(rg, name)(*tensors) * 1.0)
    with rg.no_grad():
        made = step(*given).numpy()
    assert isinstance(step._latest.loaded, Loaded)
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(made, reference(*given), rtol=8 * np.finfo(dtype).eps)


COUNTER = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
static long calls;
long allocations(void) { return calls; }
#define COUNTED(type, name, parameters, ...) \\
    type name parameters { calls++; return ((type(*) parameters)dlsym(RTLD_NEXT, #name))(__VA_ARGS__); }
COUNTED(void *, malloc, (size_t n), n)
COUNTED(void *, realloc, (void *p, size_t n), p, n)
COUNTED(void *, aligned_alloc, (size_t a, size_t n), a, n)
"""

MEMORY = """
import ctypes, resource
import numpy as np, retrograd as rg
from retrograd import nn, optim
from retrograd.backends.c.native import lib
import retrograd.nn.functional as F

rg.backends.use("c")
rg.set_num_threads(2)
model = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 16), nn.Tanh(), nn.Linear(16, 4))
optimizer = optim.Adam(model.parameters())

@rg.compile
def step(x, y):
    loss = F.mse_loss(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

small, large = (np.random.default_rng(0).standard_normal((n, 4), np.float32) for n in (10_000, 1_000_000))
step(small, small)
before = peak()
step(large, large)
print(peak() - before)
step(small, small)
entry = step.plan((small, small), {}, []).entry(None)
entry.read([small, small])
allocations = ctypes.CDLL(None).allocations
before = allocations()
for _ in range(100):
    lib.rg_program_run(entry.struct)
print(allocations() - before)
"""


@pytest.mark.skipif(sys.platform != "linux" or not shutil.which("gcc"), reason="counts the calls of malloc with gcc")
def test_memory_does_not_grow_with_the_batch_and_a_step_allocates_nothing(tmp_path):
    counter = tmp_path / "counter.so"
    (tmp_path / "counter.c").write_text(COUNTER)
    subprocess.run(["gcc", "-shared", "-fPIC", tmp_path / "counter.c", "-o", counter, "-ldl"], check=True, timeout=60)
    run = subprocess.run(
        [sys.executable, "-c", MEMORY],
        env=os.environ | {"LD_PRELOAD": str(counter)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    peak, allocations = map(int, run.stdout.split())
    assert peak <= 2048, f"a batch of a million rows took {peak} KiB beyond its inputs"
    assert allocations == 0, f"a hundred steps allocated {allocations} times"
