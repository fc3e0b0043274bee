"""The gradient report: its verdicts beside what training does, its sums, compiled and eager alike, its errors."""

from __future__ import annotations

import dataclasses
import importlib.util
import itertools
import json
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import retrograd as rg
import retrograd.nn.functional as F
from retrograd import inspect, nn, optim
from retrograd.inspect import figures, text, verdict
from retrograd.program.step import PASSES


def _gallery() -> ModuleType:
    """docs/gallery.py, which is no part of the package."""
    path = Path(__file__).parent.parent / "docs" / "gallery.py"
    spec = importlib.util.spec_from_file_location("gallery", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


gallery = _gallery()


def network(dtype: Any = None) -> nn.Sequential:
    """Of each kind of layer that the report tells apart, some in modules of modules."""
    return nn.Sequential(
        nn.Linear(4, 12, dtype=dtype),
        nn.ReLU(),
        nn.Dropout(0.0),
        nn.Sequential(nn.Linear(12, 12, dtype=dtype), nn.Tanh()),
        nn.Linear(12, 12, dtype=dtype),
        nn.Sigmoid(),
        nn.Linear(12, 6, bias=False, dtype=dtype),
        nn.GELU(),
        nn.Linear(6, 3, dtype=dtype),
    )


def batch(rows: int = 16, dtype: Any = np.float32) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    return generator.standard_normal((rows, 4)).astype(dtype), generator.integers(0, 3, rows)


def training(model: nn.Module, compiled: bool, clears: bool = True) -> Callable[..., rg.Tensor]:
    optimizer = optim.Adam(model.parameters(), lr=1e-2)

    def step(x: rg.Tensor, y: rg.Tensor) -> rg.Tensor:
        loss = F.cross_entropy(model(x), y)
        if clears:
            optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return rg.compile(step) if compiled else step


# Verdicts


@pytest.mark.parametrize("name", gallery.CASES)
def test_the_gallery_is_recognized(backend: str, name: str) -> None:
    _, watch, losses = gallery.train(gallery.CASES[name], steps=100, every=20)
    assert watch.report().verdict == name
    assert (losses[-1] < 0.5) == (name == "healthy")


def _drawn() -> list[Any]:
    """Twenty networks: depths, activations, scales and learning rates, drawn with a fixed seed from what trains well,
    and from what does not."""
    generator = np.random.default_rng(3)
    cases = []
    for n in range(20):
        activation = ("relu", "tanh", "sigmoid")[n % 3]
        if n % 2:
            deep = {"relu": (2, 9), "tanh": (2, 9), "sigmoid": (1, 2)}[activation]
            scale = generator.uniform(*{"relu": (0.8, 1.0), "tanh": (1.0, 1.6), "sigmoid": (2.0, 3.0)}[activation])
            lr = generator.uniform(*{"relu": (0.01, 0.02), "tanh": (0.02, 0.04), "sigmoid": (0.03, 0.08)}[activation])
            cases.append(gallery.Case(int(generator.integers(*deep)), activation, scale, lr))
        elif activation == "sigmoid" or generator.random() < 0.4:  # too deep, or weights too small
            cases.append(gallery.Case(int(generator.integers(14, 24)), activation, generator.uniform(0.2, 0.4), 0.02))
        elif generator.random() < 0.5:  # weights too large
            cases.append(gallery.Case(int(generator.integers(8, 16)), "relu", generator.uniform(2.0, 4.0), 0.01))
        else:  # learning rate too high
            cases.append(gallery.Case(int(generator.integers(2, 5)), activation, 1.0, generator.uniform(0.8, 2.0)))
    return cases


@pytest.mark.parametrize("case", _drawn(), ids=str)
def test_a_network_is_called_healthy_where_its_training_does_not_stall(backend: str, case: Any) -> None:
    _, watch, losses = gallery.train(case, steps=300, every=50)
    learned = losses[-1] < 0.5
    verdicts = [report.verdict for report in watch.reports]
    assert (verdicts[-1] == verdict.HEALTHY) == learned, f"{verdicts}, loss {losses[-1]}\n{watch.report()}"


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ((1.0, 1.0, 1.0, 1e-3, 0.0, None), "healthy"),
        ((1e-4, 1.0, 1.0, 1e-3, 0.0, None), "vanishing"),
        ((1e4, 1.0, 1.0, 1e-3, 0.0, None), "exploding"),
        ((math.nan, 1.0, 1.0, 1e-3, 0.0, None), "exploding"),
        ((1.0, 1.0, 1.0, 1.5, 0.0, None), "exploding"),
        ((1.0, 1.0, 1.0, 1e-3, 0.7, None), "dead"),
        ((1.0, 1.0, 1.0, 1e-3, None, 0.7), "saturated"),
        ((1.0, 1.0, None, None, 0.0, None), "frozen"),
        ((None, None, 0.0, None, 0.0, None), "frozen"),
    ],
)
def test_each_verdict_has_its_threshold(facts: Any, expected: str) -> None:
    assert verdict.of_layer(*facts) == expected
    assert verdict.of_network(["healthy", expected]) == (expected if expected != "frozen" else "healthy")


# Numbers


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
def test_a_watch_measures_what_numpy_measures(backend: str, compiled: bool) -> None:
    """One hidden layer by hand, in float64, at the second step."""
    rg.manual_seed(1)
    model = nn.Sequential(nn.Linear(4, 5, dtype=rg.float64), nn.ReLU(), nn.Linear(5, 2, dtype=rg.float64))
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    x, t = np.random.default_rng(0).standard_normal((7, 4)), np.random.default_rng(1).standard_normal((7, 2))

    def step(x: rg.Tensor, t: rg.Tensor) -> rg.Tensor:
        loss = F.mse_loss(model(x), t)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    call = rg.compile(step) if compiled else step

    def by_hand() -> tuple[list[np.ndarray], dict[str, Any]]:
        w1, b1, w2, b2 = (p.detach().numpy().copy() for p in model.parameters())
        h = np.maximum(x @ w1.T + b1, 0)
        d = 2 * (h @ w2.T + b2 - t) / t.size
        g = d @ w2
        m = g * (h > 0)
        grads = [m.T @ x, m.sum(0), d.T @ h, d.sum(0)]
        weights = [w1, b1, w2, b2]
        size = [np.abs(w * g).sum() for w, g in zip(weights, grads, strict=True)]
        square = [np.square(g).sum() for g in grads]
        return grads, {
            "arriving": np.abs(g).sum() / math.sqrt(5),
            "gain": np.abs(g).sum() / math.sqrt(5) / (np.abs(d).sum() / math.sqrt(2)),
            "responsibility": sum(size[:2]) / sum(size),
            "gradient_share": sum(square[:2]) / sum(square),
            "gradient_norm": math.sqrt(sum(square[:2])),
            "weight_norm": math.sqrt(np.square(w1).sum() + np.square(b1).sum()),
            "update_ratio": 0.1 * math.sqrt(sum(square[:2]) / (np.square(w1).sum() + np.square(b1).sum())),
            "dead": np.mean(~(h > 0).any(0)),
        }

    with inspect.watch(model, every=1) as watch:
        first, _ = by_hand()
        call(rg.tensor(x, dtype=rg.float64), rg.tensor(t, dtype=rg.float64))
        second, expected = by_hand()
        call(rg.tensor(x, dtype=rg.float64), rg.tensor(t, dtype=rg.float64))
    a, b = (np.concatenate([g.ravel() for g in grads[:2]]) for grads in (first, second))
    layer, last = watch.report().layers
    found = {name: getattr(last if name == "gain" else layer, name) for name in expected}
    assert found == pytest.approx(expected, rel=1e-9)
    assert layer.cosine == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b), rel=1e-9)
    assert watch.reports[0].layers[0].cosine is None


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("way", ["compiled", "run", "adding gradients up", "of two sizes"])
def test_compiled_equals_eager(backend: str, way: str, every: int) -> None:
    x, y = batch(64)
    last_row = [16 * (n % 4 + 1) for n in range(8)]
    if way == "of two sizes":
        last_row = [11 if n in (2, 5, 9) else 16 for n in range(13)]
    watches = []
    for compiled in (False, True):
        rg.manual_seed(5)
        model = network()
        step = training(model, compiled, clears=way != "adding gradients up")
        with inspect.watch(model, every=every) as watch:
            if compiled and way == "run":
                step.run(x, y, batch_size=16, epochs=2)
            else:
                for end in last_row:
                    step(rg.tensor(x[max(0, end - 16) : end]), rg.tensor(y[max(0, end - 16) : end]))
        watches.append(watch)
    eager, traced = watches
    assert eager.steps == traced.steps == list(range(0, len(last_row), every))
    for ours, theirs in zip(eager.reports, traced.reports, strict=True):
        assert ours.verdict == theirs.verdict
        for a, b in zip(ours.layers, theirs.layers, strict=True):
            assert (a.path, a.input_shape, a.output_shape) == (b.path, b.input_shape, b.output_shape)
            for name in (*inspect.events.SCALARS, "units"):
                u, v = getattr(a, name), getattr(b, name)
                assert (u is None) == (v is None), f"{a.path} {name}: {u} and {v}"
                if u is not None:
                    np.testing.assert_allclose(u, v, rtol=2e-4, atol=1e-7, err_msg=f"{a.path} {name}")


def test_eager_and_compiled_steps_under_one_watch() -> None:
    """Two forward passes in one step, a step without a backward pass, gradients that are cleared outside the step."""
    model = network()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    x, y = (rg.tensor(a) for a in batch())

    @rg.compile
    def predict(x: rg.Tensor) -> rg.Tensor:
        return model(x)

    @rg.compile
    def gradients(x: rg.Tensor, y: rg.Tensor) -> rg.Tensor:
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        return loss

    with inspect.watch(model, every=2) as watch:
        for _ in range(3):
            loss = F.cross_entropy(model(x), y) + F.cross_entropy(model(x * 2.0), y)
            optimizer.zero_grad()
            loss.backward()
            predict(x)
            optimizer.step()
        for _ in range(3):
            optimizer.zero_grad()
            gradients(x, y)
        predict(x)
    assert watch.steps == [0, 2, 0, 2]
    eager, compiled = watch.reports[1], watch.reports[3]
    assert eager["0"].update_ratio > 0
    assert eager["0"].cosine is not None
    assert compiled["0"].update_ratio is None
    assert compiled["0"].cosine is None
    for report in watch.reports:
        assert report.verdict == "healthy"
        assert sum(layer.responsibility for layer in report.layers) == pytest.approx(1)
    assert len(gradients.program.instructions) > 0


def test_watching_changes_no_result_and_costs_no_program_between() -> None:
    x, y = batch(32)
    weights = []
    for every in (0, 2):
        rg.manual_seed(2)
        model = network()
        step = training(model, True)
        if every:
            with inspect.watch(model, every=every):
                for _ in range(5):
                    step(rg.tensor(x), rg.tensor(y))
            calls = len(step.program.instructions)
        else:
            for _ in range(5):
                step(rg.tensor(x), rg.tensor(y))
            plain = len(step.program.instructions)
        weights.append(np.concatenate([p.detach().numpy().ravel() for p in model.parameters()]))
    np.testing.assert_array_equal(*weights)
    assert calls == plain


def test_calls_that_run_together_share_no_memory() -> None:
    """Threads take the measures of all parameters at one time, each its share."""
    model = nn.Sequential(*[nn.Linear(64, 64) for _ in range(3)])
    step = training(model, True)
    with inspect.watch(model):
        step(rg.ones(32, 64), rg.zeros(32, dtype=rg.int64))
    made = [i.outputs for i in step.program.instructions if i.kernel in ("gradient_sums", "update_sums")]
    places = sorted((o.buffer.place, o.buffer.place + o.nbytes) for outputs in made for o in outputs)
    assert len(places) == 18
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(places))


@pytest.mark.parametrize(
    ("optimizer", "options"),
    [
        ("SGD", {}),
        ("SGD", {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
        ("Adam", {"amsgrad": True, "weight_decay": 0.1}),
        ("AdamW", {}),
        ("RMSprop", {"momentum": 0.9, "centered": True, "weight_decay": 0.1}),
        ("Adagrad", {"lr_decay": 0.1}),
        ("NAdam", {"weight_decay": 0.1}),
        ("Adadelta", {"weight_decay": 0.1}),
    ],
    ids=str,
)
def test_an_update_and_its_measures_in_one_pass_have_the_bits_of_three(
    backend: str, optimizer: str, options: dict[str, Any]
) -> None:
    """The pass `advance` brings them together; without it each runs by itself."""

    def measured(passes: tuple[str, ...]) -> Any:
        rg.manual_seed(4)
        model = nn.Sequential(nn.Linear(70, 90), nn.Tanh(), nn.Linear(90, 3))
        updates = getattr(optim, optimizer)(model.parameters(), lr=1e-2, **options)

        @rg.compile(passes=passes)
        def step(x: rg.Tensor, y: rg.Tensor) -> None:
            updates.zero_grad()
            F.cross_entropy(model(x), y).backward()
            updates.step()

        with inspect.watch(model, every=2) as watch:
            for n in range(5):
                step(np.random.default_rng(n).standard_normal((9, 70)).astype(np.float32), np.arange(9) % 3)
        return [p.detach().numpy().tobytes() for p in model.parameters()], [r.to_json() for r in watch.reports]

    threads = rg.get_num_threads()
    try:
        for count in (1, 2):
            rg.set_num_threads(count)
            assert measured(PASSES) == measured(tuple(name for name in PASSES if name != "advance"))
    finally:
        rg.set_num_threads(threads)


def test_a_second_watch_makes_no_second_program(monkeypatch: pytest.MonkeyPatch) -> None:
    traces: list[Any] = []
    trace = rg.program.step.CompiledStep._trace
    monkeypatch.setattr(rg.program.step.CompiledStep, "_trace", lambda *a: traces.append(a) or trace(*a))
    model = network()
    step, (x, y) = training(model, True), batch(32)
    for made in (2, 0, 0):  # an observed program and one for the calls between
        traces.clear()
        with inspect.watch(model, every=2) as watch:
            for _ in range(5):
                step(x, y)
        assert watch.steps == [0, 2, 4]
        assert len(traces) == made
    assert watch.reports[1].layers[0].cosine is not None


@given(rows=st.integers(1, 6), seed=st.integers(0, 99))
def test_shares_add_up_and_rows_add_up_to_the_batch(rows: int, seed: int) -> None:
    rg.manual_seed(seed)
    model = network(rg.float64)
    x, y = batch(rows, np.float64)
    loss = F.cross_entropy(model(rg.tensor(x, dtype=rg.float64)), rg.tensor(y))
    whole = inspect.report(model, loss)
    single = [inspect.report(model, loss, rows=row) for row in range(rows)]
    for report in (whole, *single):
        for name in ("responsibility", "gradient_share"):
            assert sum(getattr(layer, name) for layer in report.layers) == pytest.approx(1)
    for layers in zip(whole.layers, *(report.layers for report in single), strict=True):
        batch_layer, *rows_layers = layers
        assert sum(layer.part for layer in rows_layers) == pytest.approx(batch_layer.responsibility, abs=1e-12)
        assert sum(layer.gradient_part for layer in rows_layers) == pytest.approx(batch_layer.gradient_share, abs=1e-12)
        assert sum(layer.arriving for layer in rows_layers) == pytest.approx(batch_layer.arriving)
        np.testing.assert_allclose(sum(layer.units for layer in rows_layers), batch_layer.units)
    assert all(p.grad is None for p in model.parameters())


def test_layers_are_found_however_they_are_written() -> None:
    """Weights transposed by hand, a layer called twice, a parameter shared, and one that takes no part."""

    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.unused = nn.Linear(3, 3)
            self.twice = nn.Linear(3, 3)
            self.hand = nn.Parameter(rg.randn(3, 2))
            self.tied = nn.Linear(2, 2)
            self.tied_again = nn.Linear(2, 2)
            self.tied_again.weight = self.tied.weight

        def forward(self, x: rg.Tensor) -> rg.Tensor:
            x = self.twice(rg.relu(self.twice(x)))
            return self.tied_again(self.tied(rg.tanh(x @ self.hand)))

    model = Odd()
    loss = model(rg.randn(5, 3)).square().mean()
    report = inspect.report(model, loss)
    assert {layer.path for layer in report.layers} == {"unused", "twice", "", "tied", "tied_again"}
    assert report["unused"].verdict == "frozen"
    assert report["unused"].arriving is None
    assert report[""].activation == "tanh"
    assert report[""].output_shape == (2,)
    assert sum(layer.responsibility for layer in report.layers) == pytest.approx(1)


@pytest.mark.parametrize("way", ["report", "eager", "compiled"])
def test_histograms_have_the_values_and_signals_of_every_layer(backend: str, way: str) -> None:
    """Without an activation, with one whose derivative reads its input, in several ops, and the last one."""
    model = nn.Sequential(
        nn.Linear(4, 6), nn.Linear(6, 5), nn.GELU(), nn.Linear(5, 5), nn.LayerNorm(5), nn.ReLU(), nn.Linear(5, 3)
    )
    x, y = batch(8)
    expected, value, path = {}, rg.tensor(x), ""
    for name, module in model.named_children():
        value = module(value)
        path = name if list(module.parameters()) else path  # an activation belongs to the layer before it
        expected[path] = value.detach().numpy().ravel()
    if way == "report":
        report = inspect.report(model, F.cross_entropy(model(rg.tensor(x)), rg.tensor(y)), histograms=True)
    else:
        with inspect.watch(model, histograms=True) as watch:
            training(model, way == "compiled")(rg.tensor(x), rg.tensor(y))
        report = watch.report()
    for layer in report.layers:
        np.testing.assert_allclose(layer.activations, expected[layer.path], rtol=1e-5, atol=1e-6)
        assert layer.signals.size == layer.activations.size
        assert layer.units.sum() == pytest.approx(np.abs(layer.signals).sum(), rel=1e-5)
    assert report["4"].dead is not None
    assert report["4"].saturated is None


def test_a_report_after_backward_reads_the_gradients() -> None:
    model = network()
    x, y = batch()
    F.cross_entropy(model(rg.tensor(x)), rg.tensor(y)).backward()
    plain = inspect.report(model)
    assert plain.depth is None
    assert sum(layer.responsibility for layer in plain.layers) == pytest.approx(1)
    with inspect.watch(model, every=1):
        F.cross_entropy(model(rg.tensor(x)), rg.tensor(y)).backward()
        assert inspect.report(model).depth is not None  # the watch saw the signal


# Forms


def test_a_report_is_text_json_and_html() -> None:
    model = network()
    x, y = batch()
    loss = F.cross_entropy(model(rg.tensor(x)), rg.tensor(y))
    for report in (inspect.report(model, loss), inspect.report(model, loss, rows=[1, 3])):
        assert max(map(len, str(report).splitlines())) <= 100
        assert json.loads(report.to_json()) == json.loads(json.dumps(report.to_dict()))
        shown = report._repr_html_()
        assert shown.startswith("<div>")
        assert all(layer.path in shown for layer in report.layers)
    assert "the largest parts of the signal go to units" in str(report)
    with rg.no_grad():
        model[0].weight[0, 0] = math.inf
    broken = inspect.report(model, F.cross_entropy(model(rg.tensor(x)), rg.tensor(y)))
    assert broken.verdict == "exploding"
    assert max(map(len, str(broken).splitlines())) <= 100
    json.loads(broken.to_json())


def test_thirty_layers_with_long_names_fit_100_columns() -> None:
    blocks = nn.Sequential(*[nn.Sequential(nn.Linear(512, 512), nn.Sigmoid()) for _ in range(30)])
    model = nn.ModuleDict({"encoder_of_the_source_sentence": blocks})
    report = inspect.report(model, blocks(rg.randn(2, 512)).square().mean(), rows=[1])
    lines = str(report).splitlines()
    assert max(map(len, lines)) == 100
    assert {line.split()[0][-4:] for line in lines[3:33]} == {f".{n}.0"[-4:] for n in range(30)}
    part = sum(layer.part for layer in report.layers)
    assert f"These rows have {part:.2%} of the batch's fault" in " ".join(lines)


def watched(histograms: bool = False) -> inspect.Watch:
    model = network()
    step = training(model, True)
    x, y = batch()
    with inspect.watch(model, every=2, histograms=histograms) as watch:
        for _ in range(4):
            step(rg.tensor(x), rg.tensor(y))
    return watch


def test_figures_are_drawn(tmp_path: Path) -> None:
    watch = watched(histograms=True)
    assert watch.report().layers[0].activations.shape == (16 * 12,)
    figures = {
        "responsibility": inspect.figures.responsibility(watch.report()),
        "signal": inspect.figures.signal(watch),
        "steps": inspect.figures.heat_map(watch),
        "histograms": inspect.figures.histograms(watch.report()),
    }
    for name, figure in figures.items():
        figure.savefig(tmp_path / f"{name}.png")
        assert (tmp_path / f"{name}.png").stat().st_size > 5000
    with pytest.raises(ValueError, match="histograms=True"):
        inspect.figures.histograms(watched().report())
    many = [dataclasses.replace(watch.report(), step=step) for step in range(20)]
    shown = [text.get_text() for text in inspect.figures.signal(many).axes[0].get_legend().get_texts()]
    assert (shown[0], shown[-1]) == ("0", "19")


@pytest.mark.parametrize("what", [figures._BLUE, figures._VERMILION, figures._GREY, *text._COLOURS.values()])
def test_colours_show_on_white_and_on_black(what: str) -> None:
    """WCAG 2.1's contrast: 3 for what is no text."""
    rgb = np.array([int(what[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    luminance = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]
    assert 1.05 / (luminance + 0.05) > 3
    assert (luminance + 0.05) / 0.0556 > 3  # of #0d1117, GitHub's


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_reads_the_events(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    watch = watched(histograms=True)
    inspect.write_events(watch, tmp_path)
    events = accumulator.EventAccumulator(str(tmp_path))
    events.Reload()
    scalars = events.Scalars("responsibility/0")
    assert [event.step for event in scalars] == watch.steps
    expected = [report["0"].responsibility for report in watch.reports]
    assert [event.value for event in scalars] == pytest.approx(expected, rel=1e-6)
    assert all(abs(event.wall_time - time.time()) < 600 for event in scalars)
    assert events.Histograms("signals/0")[0].histogram_value.num == 16 * 12


# Depth as a choice


def test_stopping_at_a_layer_shortens_the_backward_pass() -> None:
    model = network()
    step = training(model, True)
    x, y = (rg.tensor(a) for a in batch())
    step(x, y)
    whole = step.program.cost()
    before = {name: p.detach().numpy().copy() for name, p in model.named_parameters()}
    with inspect.stop_at(model, "4") as stop:
        assert stop.frozen == ["0", "3.0"]
        step(x, y)
        stopped = step.program.cost()
        report = inspect.report(model, F.cross_entropy(model(x), y))
        assert [layer.path for layer in report.layers if layer.verdict == "frozen"] == stop.frozen
    changed = [name for name, p in model.named_parameters() if not np.array_equal(p.detach().numpy(), before[name])]
    assert changed == ["4.weight", "4.bias", "6.weight", "8.weight", "8.bias"]
    assert stopped.flops < 0.8 * whole.flops
    assert stopped.bytes < whole.bytes
    step(x, y)
    assert step.program.cost() == whole
    with pytest.raises(KeyError, match=r"'3\.0'"):
        inspect.stop_at(model, "nine")


def test_thawing_goes_from_the_top_down() -> None:
    model = network()
    step = training(model, True)
    x, y = (rg.tensor(a) for a in batch())
    thaw, flops, learning = inspect.Thaw(model, more=2), [], []
    for _ in range(3):
        step(x, y)
        flops.append(step.program.cost().flops)
        learning.append(thaw.learning)
        thaw.step()
    assert learning == [["8"], ["4", "6", "8"], ["0", "3.0", "4", "6", "8"]]
    assert flops == sorted(set(flops))


# Errors


def test_errors_say_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    model = network()
    x, y = (rg.tensor(a) for a in batch())
    loss = F.cross_entropy(model(x), y)
    with pytest.raises(RuntimeError, match=r"call loss\.backward\(\) first"):
        inspect.report(model)
    with pytest.raises(ValueError, match="need the loss"):
        inspect.report(model, rows=1)
    with pytest.raises(IndexError, match="batch of 16 rows"):
        inspect.report(model, loss, rows=[3, 16])
    with pytest.raises(ValueError, match="does not come from"):
        inspect.report(network(), loss)
    with pytest.raises(TypeError, match="expected a Module"):
        inspect.report(loss)
    with pytest.raises(ValueError, match="every is 0"):
        inspect.watch(model, every=0)
    for call in (inspect.stop_at, inspect.Thaw, lambda *a: inspect.draw(loss, *a)):
        with pytest.raises(TypeError, match="model is a str, expected a Module"):
            call("model", *["0"] * (call is inspect.stop_at))
    for call in (inspect.report, inspect.watch):
        for share in (0, 2, math.nan, "half"):
            with pytest.raises(ValueError, match=rf"share is {share!r}, expected a number in \(0, 1\]"):
                call(model, share=share)
    for first in (0, 1.5, "1"):
        with pytest.raises(ValueError, match="expected whole numbers"):
            inspect.Thaw(model, first)
    for draw in (figures.signal, figures.heat_map, figures.responsibility, figures.histograms, inspect.write_events):
        with pytest.raises(TypeError, match=rf"{draw.__name__}: got a list|{draw.__name__}: got a str"):
            draw(*[[1]] if draw is not inspect.write_events else ("watch", "nowhere"))
    with inspect.watch(model) as watch, pytest.raises(RuntimeError, match="no step was measured"):
        watch.report()
    loss.backward()
    with pytest.raises(RuntimeError, match="freed by an earlier backward"):
        inspect.report(model, loss)
    model.requires_grad_(False)
    for call in (inspect.report, inspect.watch):
        with pytest.raises(ValueError, match="none of the 9 parameters of Sequential requires grad"):
            call(model)
    watch = watched()
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"retrograd\[inspect\]"):
        inspect.figures.signal(watch)
    monkeypatch.setitem(sys.modules, "tensorboard.summary.writer.event_file_writer", None)
    with pytest.raises(ImportError, match=r"retrograd\[tensorboard\]"):
        inspect.write_events(watch, "nowhere")
