"""The command line, from the files that it reads to those that it writes, and what it says when it cannot."""

import json
import os
import re
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import retrograd as rg
from retrograd.cli import _parser, main, predict, train
from retrograd.cli.csv_file import read_csv_inputs
from retrograd.cli.dataset import load, split
from retrograd.cli.errors import CommandError
from retrograd.cli.model import Model
from retrograd.cli.preprocess import Preprocessing
from retrograd.cli.table import Table
from retrograd.cli.target import Target, as_target

datasets = pytest.importorskip("sklearn.datasets")
pandas = pytest.importorskip("pandas")
pytest.importorskip("safetensors")
pytest.importorskip("tqdm")

FAST = ["--quiet", "--epochs", "3", "--hidden", "16"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Each test works in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def threads():
    before = rg.get_num_threads()
    yield
    rg.set_num_threads(before)


def run(*args):
    """The exit status of a command in this process."""
    return main([str(arg) for arg in args])


def write(name, text):
    with open(name, "w", encoding="utf-8", newline="") as file:
        file.write(text)
    return name


def metrics_in(name):
    return json.loads(Path(name).read_text())


def houses(rows=120, seed=0):
    """A table with numbers, texts, a bool and a constant; prices follow from it, and so does whether one is dear."""
    rng = np.random.default_rng(seed)
    area, town = rng.uniform(20, 200, rows), rng.choice(["Bonn", "Köln, Süd", 'the "Hague"'], rows)
    garden = rng.random(rows) < 0.5
    price = 3.0 * area + 100 * (town == "Bonn") + 50 * garden + rng.normal(0, 5, rows)
    return pandas.DataFrame(
        {
            "area": area,
            "town": town,
            "garden": garden,
            "floor": 1,
            "price": price,
            "dear": np.where(price > np.median(price), "yes", "no"),
        }
    )


@pytest.fixture
def houses_csv():
    houses().to_csv("houses.csv", index=False)
    return "houses.csv"


# Training


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """Backend → the metrics of a training on the digits."""
    path = tmp_path_factory.mktemp("digits") / "metrics.json"
    metrics, threads = {}, rg.get_num_threads()
    for name in rg.backends.available():
        assert run("train", "--backend", name, "--threads", 1, "--epochs", 20, "--json", path, "--quiet") == 0
        metrics[name] = metrics_in(path)
        assert metrics[name]["environment"]["backend"] == name
    rg.set_num_threads(threads)
    return metrics


def test_digits_reach_97_percent_on_held_out_rows(digits):
    for metrics in digits.values():
        assert metrics["held_out"]["accuracy"] >= 0.97
        assert metrics["rows"] == {"train": 1258, "validation": 180, "held_out": 359}


def test_backends_take_the_same_course(digits):
    epochs = 3  # more than 100 steps
    for metrics in digits.values():
        for epoch, expected in zip(metrics["history"][:epochs], digits["numpy"]["history"], strict=False):
            assert epoch["loss"] == pytest.approx(expected["loss"], rel=1e-4)


def test_regression_on_diabetes(capsys):
    frame = datasets.load_diabetes(as_frame=True).frame
    frame.to_csv("diabetes.csv", index=False)
    assert run("train", "diabetes.csv", "--target", "target", "--json", "metrics.json", "--hidden", "32") == 0
    metrics = metrics_in("metrics.json")
    assert metrics["task"] == "regression"
    assert metrics["held_out"]["r2"] > 0.35
    assert metrics["held_out"]["rmse"] < frame.target.std()
    printed = capsys.readouterr()
    assert re.search(r"held out   RMSE [\d.]+, R² 0\.\d+ on 88 rows\n", printed.out)
    assert printed.err == ""  # no progress bar where no terminal is


def test_the_same_bits_twice(houses_csv):
    command = ["train", houses_csv, "--target", "price", "--drop", "dear", "--quiet", "--epochs", 10]
    written = []
    for name in ("first", "second"):
        assert run(*command, "--out", f"{name}.safetensors", "--json", f"{name}.json") == 0
        metrics = metrics_in(f"{name}.json")
        assert metrics.pop("timings").keys() == {"training_seconds", "rows_per_second"}
        written.append((metrics, Path(f"{name}.safetensors").read_bytes()))
    assert written[0] == written[1]
    assert run(*command, "--seed", 1, "--json", "third.json") == 0
    assert metrics_in("third.json")["history"] != written[0][0]["history"]


@pytest.mark.parametrize("optimizer", train.OPTIMIZERS)
@pytest.mark.parametrize("hidden", ["none", "8", "16,8"])
def test_every_optimizer_learns(houses_csv, optimizer, hidden):
    options = ["--optimizer", optimizer, "--hidden", hidden, "--activation", "tanh", "--epochs", 5]
    assert run("train", houses_csv, "--target", "dear", "--drop", "price", "--json", "m.json", "--quiet", *options) == 0
    history = metrics_in("m.json")["history"]
    assert history[-1]["loss"] < history[0]["loss"]


def test_the_best_weights_are_kept():
    args = _parser().parse_args(["train", "--quiet", "--epochs", "40", "--patience", "3", "--hidden", "16"])
    table, target = load(None, None, None, [], [])
    rows = split(target.values, len(table), 0.2, 0.1, seed=0)
    preprocessing = Preprocessing.fit(table, rows[0], impute=False)
    model = Model.build(target, rows[0], args.hidden, args.activation, args.dropout, preprocessing)
    inputs = preprocessing(table)
    training, validation = ((inputs[part], target.values[part]) for part in rows[:2])
    history, best = train.fit(model, training, validation, args)
    assert len(history) == best + 3 < 40
    chosen = history[best - 1]
    assert train.score(model, *validation) == {"loss": chosen["val_loss"], "accuracy": chosen["val_accuracy"]}
    assert chosen["val_accuracy"] == max(epoch["val_accuracy"] for epoch in history)


def test_the_gradient_report(houses_csv, capsys):
    """Its watch changes nothing: the same weights come out."""
    assert run("train", houses_csv, "--target", "price", *FAST, "--out", "plain.safetensors") == 0
    capsys.readouterr()
    options = ["--report", "--json", "m.json", "--out", "watched.safetensors"]
    assert run("train", houses_csv, "--target", "price", *FAST, *options) == 0
    assert "verdict: healthy; 0.01 of the signal at the loss reaches 2 of 2 layers" in capsys.readouterr().out
    assert [layer["path"] for layer in metrics_in("m.json")["report"]["layers"]] == ["0", "3"]
    assert Path("plain.safetensors").read_bytes() == Path("watched.safetensors").read_bytes()


def test_without_validation_or_test_rows(houses_csv, capsys):
    options = ["--val-fraction", 0, "--test-fraction", 0, "--epochs", 2, "--json", "metrics.json"]
    assert run("train", houses_csv, "--target", "dear", *options) == 0
    metrics = metrics_in("metrics.json")
    assert metrics["held_out"] is None
    assert metrics["best_epoch"] == len(metrics["history"]) == 2
    assert "no rows, so no test" in capsys.readouterr().out


@pytest.mark.parametrize("labels", [np.array([0, 1]), np.array([-3, 7]), np.array(["a", "b"]), np.array([False, True])])
def test_npz(labels):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(100, 3)).astype(np.float32)
    y = (X[:, :1] > 0).astype(int)
    np.savez("data.npz", X=X, y=labels[y])
    assert run("train", "data.npz", *FAST, "--out", "m.safetensors", "--json", "m.json") == 0
    metrics = metrics_in("m.json")
    assert metrics["classes"] == labels.tolist()
    assert metrics["task"] == "classification"
    assert run("predict", "m.safetensors", "data.npz", "--out", "p.csv") == 0
    assert set(pandas.read_csv("p.csv").prediction) <= set(labels.tolist())


def test_task_overrides():
    X = np.random.default_rng(0).normal(size=(60, 2))
    np.savez("data.npz", X=X, y=np.arange(60) % 3)
    for task in ("regression", "classification"):
        assert run("train", "data.npz", *FAST, "--task", task, "--json", "m.json") == 0
        assert metrics_in("m.json")["task"] == task


# What is read


@pytest.mark.parametrize(
    ("y", "task"),
    [
        ([True, False] * 5, "classification"),
        (["a", "b"] * 5, "classification"),
        ([1, 2, 3] * 10, "classification"),
        (list(range(30)), "regression"),
        ([0.0, 1.0] * 5, "regression"),
    ],
)
def test_the_task_follows_from_the_target(y, task):
    assert as_target("file", "y", np.array(y), None).task == task


def test_csv_columns(houses_csv):
    table, target = load(houses_csv, "price", None, [], ["dear"])
    assert table.names == ("area", "garden", "floor")
    assert set(table.texts["town"]) == {"Bonn", "Köln, Süd", 'the "Hague"'}
    frame = houses()
    np.testing.assert_array_equal(table.numbers, frame[["area", "garden", "floor"]].astype(float))
    np.testing.assert_array_equal(target.values, frame.price)
    as_text, _ = load(houses_csv, "price", None, ["floor"], ["dear"])
    assert set(as_text.texts["floor"]) == {"1"}


def test_csv_dialect():
    write("data.csv", '\ufeff a , b,c\r\n\r\n1, x,"two\nlines"\r\n   \n2,y,"one ""line"""\r\n3,x,\r\n')
    table = read_csv_inputs("data.csv", ("a",), ("b", "c"))
    assert table.lines.tolist() == [3, 6, 7]
    assert table.numbers[:, 0].tolist() == [1, 2, 3]
    assert table.texts["b"].tolist() == ["x", "y", "x"]
    assert table.texts["c"].tolist() == ["two\nlines", 'one "line"', None]


def test_categories_keep_their_spelling():
    """Codes such as 01 are not made numbers, in training nor in predicting."""
    write("data.csv", "code,y\n" + "01,0.5\n1A,1.5\n" * 10)
    assert run("train", "data.csv", "--target", "y", *FAST, "--out", "m.safetensors") == 0
    assert Model.load("m.safetensors").preprocessing.categories == {"code": ["01", "1A"]}
    write("new.csv", "code\n01\n01\n")
    assert run("predict", "m.safetensors", "new.csv") == 0


def test_standardization():
    rng = np.random.default_rng(0)
    numbers = np.column_stack([rng.normal(5, 3, 50), np.full(50, 0.1), 1e9 + rng.normal(0, 1, 50)])
    numbers[3, 0] = np.nan
    texts = np.array(["a", "b", None, "a", "a"] * 10, object)
    table = Table("t", ("p", "q", "r"), numbers, {"s": texts})
    rows = np.arange(40)
    x = Preprocessing.fit(table, rows, impute=True)(table)
    assert x.dtype == np.float32
    assert x.shape == (50, 5)
    np.testing.assert_allclose(x[rows].mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(x[np.delete(rows, 3)][:, [0, 2]].std(0), 1, rtol=0.02)
    assert not x[:, 1].any()
    assert x[3, 0] == 0
    assert not x[2, 3:].any()
    assert np.unique(x[:, 3]).size == 3
    with pytest.raises(CommandError, match="row 2, column 's'"):
        Preprocessing.fit(table, rows, impute=False)(table)


@given(
    classes=st.lists(st.integers(0, 4), min_size=20, max_size=200),
    test=st.floats(0.1, 0.4),
    validation=st.floats(0.1, 0.4),
    seed=st.integers(0, 2**64 - 1),
)
def test_every_part_gets_its_share_of_every_class(classes, test, validation, seed):
    classes = np.array(classes)
    n = len(classes)
    parts = split(classes, n, test, validation, seed)
    assert sorted(np.concatenate(parts)) == list(range(n))
    assert [len(parts[2]), len(parts[1])] == [round(test * n), round(validation * n)]
    for part in parts:
        counts = np.bincount(classes[part], minlength=5)
        shares = np.bincount(classes, minlength=5) * len(part) / n
        assert (abs(counts - shares) < 2).all()
    for part, again in zip(parts, split(classes, n, test, validation, seed), strict=True):
        np.testing.assert_array_equal(part, again)


# Predicting


@pytest.mark.parametrize("target", ["price", "dear"])
def test_predictions_come_back(houses_csv, target, capsys):
    other = {"price": "dear", "dear": "price"}[target]
    assert run("train", houses_csv, "--target", target, "--drop", other, *FAST, "--out", "m.safetensors") == 0
    new = houses(seed=1)
    new[["town", "garden", "area", "floor"]].to_csv("new.csv", index=False)  # in another order, without targets
    assert run("predict", "m.safetensors", "new.csv", "--out", "p.csv") == 0
    assert "120 predictions in p.csv" in capsys.readouterr().out
    written = pandas.read_csv("p.csv")

    table, column = load(houses_csv, target, None, [], [other])
    rg.manual_seed(0)
    rows = split(column.values if column.labels else None, len(table), 0.2, 0.1, seed=0)
    preprocessing = Preprocessing.fit(table, rows[0], impute=False)
    args = _parser().parse_args(["train", *FAST])
    model = Model.build(column, rows[0], args.hidden, args.activation, args.dropout, preprocessing)
    inputs = preprocessing(table)
    train.fit(model, *((inputs[part], column.values[part]) for part in rows[:2]), args)
    expected = predict.predict(model, read_csv_inputs("new.csv", ("area", "garden", "floor"), ("town",)))
    assert written.prediction.tolist() == expected["prediction"]
    if target == "dear":
        assert written.probability.map("{:.6f}".format).tolist() == expected["probability"]
        assert written.probability.between(0.5, 1).all()


def test_predictions_to_standard_output(houses_csv, capsys):
    assert run("train", houses_csv, "--target", "price", *FAST, "--out", "m.safetensors") == 0
    capsys.readouterr()
    assert run("predict", "m.safetensors", houses_csv) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "prediction"
    assert len(lines) == 121


def test_missing_inputs_are_the_mean_if_asked(capsys):
    write("data.csv", "a,b,y\n" + "1,u,0.1\n,v,0.2\n3,,0.3\n" * 10)
    assert run("train", "data.csv", "--target", "y", *FAST) == 1
    assert "data.csv: line 3, column 'a': missing value (20 in all)" in capsys.readouterr().err
    assert run("train", "data.csv", "--target", "y", *FAST, "--missing", "mean", "--out", "m.safetensors") == 0
    write("new.csv", "a,b\n2,u\n,u\n")
    capsys.readouterr()
    assert run("predict", "m.safetensors", "new.csv") == 0
    assert len(capsys.readouterr().out.splitlines()) == 3
    assert run("predict", "m.safetensors", "new.csv", "--missing", "error") == 1
    assert "new.csv: line 3, column 'a': missing value" in capsys.readouterr().err


# Errors: one line, an exit status, and no file


def fails(capsys, status, *args):
    """Run it, see that it fails cleanly, and return what it says."""
    before = {name: Path(name).read_bytes() for name in os.listdir() if os.path.isfile(name)}
    capsys.readouterr()
    assert run(*args) == status
    printed = capsys.readouterr()
    assert printed.err.startswith("retrograd: ")
    assert printed.err.count("\n") == 1
    assert {name: Path(name).read_bytes() for name in os.listdir() if os.path.isfile(name)} == before
    return printed.err


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "COMMAND"),
        (["trian"], "invalid choice: 'trian'"),
        (["train", "--backend", "nunba"], "unknown backend 'nunba'. Available: .*numpy.*did you mean 'numba'?"),
        (["train", "--optimizer", "adm"], "unknown optimizer 'adm', expected sgd, .*; did you mean 'adam'?"),
        (["train", "--activation", "rellu"], "unknown activation 'rellu', .*did you mean 'relu'?"),
        (["train", "--task", "clustering"], "unknown task"),
        (["train", "--missing", "drop"], "unknown policy"),
        (["train", "--epochs", "0"], "--epochs: '0' is not a whole number >= 1"),
        (["train", "--epochs", "1.5"], "--epochs: '1.5' is not"),
        (["train", "--batch-size", "-1"], "--batch-size: '-1' is not"),
        (["train", "--patience", "0"], "--patience"),
        (["train", "--threads", "0"], "--threads"),
        (["train", "--seed", "-1"], "--seed"),
        (["train", "--lr", "0"], "--lr: '0' is not a positive number"),
        (["train", "--lr", "nan"], "--lr: 'nan' is not a positive number"),
        (["train", "--dropout", "1"], "--dropout"),
        (["train", "--val-fraction", "-0.1"], "--val-fraction"),
        (["train", "--val-fraction", "0.8"], "leave no rows to train on"),
        (["train", "--hidden", "64,,64"], "--hidden: '64,,64' is not a list of widths"),
        (["train", "--hidden", "0"], "--hidden"),
        (["train", "--epoch", "3"], "unrecognized arguments: --epoch"),
        (["train", "--target", "y"], "this data has none"),
        (["train", "data.parquet"], "data.parquet: expected a .csv or an .npz file"),
        (["train", "ok.csv"], "pass --target COLUMN, one of its columns: a, b, y"),
        (["train", "ok.csv", "--target", "y", "--drop", "y"], "--drop y: it is the target"),
        (["train", "--out", "x", "--json", "./x"], "must be different files"),
        (["train", "ok.csv", "--target", "y", "--json", "ok.csv"], "must be different files"),
    ],
)
def test_wrong_arguments(capsys, args, message):
    write("ok.csv", "a,b,y\n" + "1,2,3.5\n" * 10)
    said = fails(capsys, 2, *args)
    assert re.search(message, said), said


BROKEN = {
    "no such file": (None, "No such file or directory"),
    "empty": ("", "the file is empty"),
    "blank": ("\n \n", "the file is empty"),
    "only a header": ("a,b,y\n", "no rows after the header"),
    "no such column": ("a,b,why\n1,2,3\n", "no column 'y'; columns: a, b, why"),
    "a near column": ("a,b,y1\n1,2,3\n", "; did you mean 'y1'\\?"),
    "a row too long": ("a,b,y\n1,2,3\n\n1,2,3,4\n", "line 4 has 4 values, expected 3"),
    "a row too short": ("a,b,y\n1,2,3\n1,2\n", "line 3 has 2 values, expected 3"),
    "an open quote": ('a,b,y\n1,2,3\n1,"2,3\n', "line 3: unexpected end of data"),
    "a broken quote": ('a,b,y\n1,"2"2,3\n', "line 2: "),
    "a broken number": ("a,b,y\n1,2,3\n1,2,3\n1,2x,3\n", "line 4, column 'b': '2x' is not a number.*--categorical b"),
    "a broken target": ("a,b,y\n1,2,3\n1,2,3\n1,2,?\n", "line 4, column 'y': '\\?' is not a number"),
    "a broken row of few": ("a,b,y\n1,2,3\n1,2,3\nx,?,3\n", "line 4, column 'a': 'x' is not a number"),
    "a missing value": ("a,b,y\n1,2,.3\n,2,.4\n", "line 3, column 'a': missing value \\(1 in all\\).*--missing mean"),
    "a missing text": ("a,b,y\nu,2,.3\nv,2,.4\nNA,2,.5\n", "line 4, column 'a': missing value"),
    "a missing target": ("a,b,y\n1,2,3\n1,2,\n", "line 3, column 'y': the target has no value"),
    "infinite": ("a,b,y\n1,2,3\n1,-inf,3\n", "line 3, column 'b': -inf is not a finite float32 number"),
    "too large": ("a,b,y\n1,2,3\n1,1e200,3\n", "line 3, column 'b': 1e\\+200 is not a finite float32 number"),
    "two columns of a name": ("a,a,y\n1,2,3\n", "names column 'a' 2 times"),
    "a column without a name": (",a,y\n0,2,3\n", "column 1 of the header has no name.*index=False"),
    "semicolons": ("a;b;y\n1;2;3\n", "semicolons or tabs, expected commas"),
    "names of persons": ("a,b,y\n" + "".join(f"n{i},1,{i / 7}\n" for i in range(50)), "'a' holds 50 .*--drop a"),
    "one class": ("a,b,y\n" + "1,2,u\n" * 10, "'y' is u in every row"),
    "only the target": ("y\n" + "1.5\n2.5\n" * 10, "no columns to predict the target from"),
    "few rows": ("a,b,y\n1,2,3.5\n", "1 rows are too few to hold out"),
    "an empty column": ("a,b,y\n" + ",2,3.5\n" * 30, "line 2, column 'a': missing value"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_csv(capsys, case):
    text, message = BROKEN[case]
    if text is not None:
        write("data.csv", text)
    said = fails(capsys, 1, "train", "data.csv", "--target", "y", "--out", "m.safetensors", "--json", "m.json")
    assert said.startswith("retrograd: data.csv") or case == "few rows"
    assert re.search(message, said), said


def test_csv_that_is_no_text(capsys):
    Path("data.csv").write_bytes(b"a,y\n\xff\xfe,1\n")
    assert "data.csv: not UTF-8 text" in fails(capsys, 1, "train", "data.csv", "--target", "y")


def test_a_column_without_any_value(capsys):
    write("data.csv", "a,b,y\n" + ",2,3.5\n" * 30)
    said = fails(capsys, 1, "train", "data.csv", "--target", "y", "--missing", "mean")
    assert "column 'a' has no value in the training rows" in said


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"X": np.ones((30, 2))}, "no array 'y'; it holds X"),
        ({"y": np.ones(30)}, "no array 'X'; it holds y"),
        ({"X": np.ones(30), "y": np.ones(30)}, r"X is float64 of shape \(30,\), expected numbers of shape"),
        ({"X": np.ones((30, 2, 2)), "y": np.ones(30)}, r"X is float64 of shape \(30, 2, 2\)"),
        ({"X": np.ones((30, 2), complex), "y": np.ones(30)}, "X is complex128"),
        ({"X": np.ones((30, 2)), "y": np.ones(29)}, r"y is float64 of shape \(29,\)"),
        ({"X": np.ones((30, 2)), "y": np.array(1.0)}, r"y is float64 of shape \(\)"),
        ({"X": np.ones((30, 2)), "y": np.ones((30, 2))}, r"y is float64 of shape \(30, 2\)"),
        ({"X": np.ones((0, 2)), "y": np.ones(0)}, "no rows"),
        ({"X": np.ones((30, 0)), "y": np.ones(30)}, "no columns"),
        ({"X": np.array([[1, "a"]] * 30, object), "y": np.ones(30)}, "Object arrays cannot be loaded"),
        ({"X": np.full((30, 2), np.nan), "y": np.ones(30)}, "row 0, column 'x0': missing value"),
        ({"X": np.full((30, 2), np.inf), "y": np.ones(30)}, "row 0, column 'x0': inf is not a finite"),
        ({"X": np.ones((30, 2)), "y": np.zeros(30, int)}, "'y' is 0 in every row"),
        ({"X": np.ones((30, 2)), "y": np.full(30, np.nan)}, r"y\[0\] is nan, not a finite"),
    ],
)
def test_broken_npz(capsys, arrays, message):
    np.savez("data.npz", **arrays)
    said = fails(capsys, 1, "train", "data.npz", "--out", "m.safetensors")
    assert re.search(message, said), said


def test_npz_that_is_none(capsys):
    np.savez_compressed("whole.npz", X=np.random.default_rng(0).normal(size=(100, 5)), y=np.ones(100))
    content = Path("whole.npz").read_bytes()
    for broken in (b"", b"not a zip file", content[:-100], content[:200] + bytes(200) + content[400:]):
        Path("data.npz").write_bytes(broken)
        assert "data.npz: not " in fails(capsys, 1, "train", "data.npz")
    with zipfile.ZipFile("data.npz", "w") as archive:
        archive.writestr("X", "text")
    assert "data.npz" in fails(capsys, 1, "train", "data.npz")


def test_outputs_are_checked_before_the_training(capsys, monkeypatch):
    monkeypatch.setattr(train, "fit", lambda *args: pytest.fail("trained"))
    os.mkdir("folder")
    for option in ("--out", "--json"):
        assert "folder: is no regular file" in fails(capsys, 1, "train", option, "folder")
        said = fails(capsys, 1, "train", option, "nowhere/m")
        assert "nowhere/m: cannot be written: No such file or directory" in said


def test_what_is_no_regular_file(capsys, houses_csv):
    """Nothing takes the place of a pipe or a device; text goes into it."""
    os.mkfifo("pipe")
    assert "pipe: is no regular file" in fails(capsys, 1, "train", houses_csv, "--target", "price", "--out", "pipe")
    reader = subprocess.Popen(["cat", "pipe"], stdout=subprocess.PIPE, text=True)
    assert run("train", houses_csv, "--target", "price", *FAST, "--json", "pipe") == 0
    assert json.loads(reader.communicate(timeout=60)[0])["target"] == "price"
    assert set(os.listdir()) == {houses_csv, "pipe"}


def test_divergence(capsys, houses_csv):
    write("m.safetensors", "an older model")
    options = ["--optimizer", "sgd", "--lr", "1e25", "--out", "m.safetensors", "--json", "m.json"]
    said = fails(capsys, 1, "train", houses_csv, "--target", "price", *options)
    assert "training diverged: the loss is not finite in epoch 1; try --lr 1e+24" in said


def test_interrupted(capsys, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "fit", interrupt)
    assert fails(capsys, 130, "train", "--out", "m.safetensors", "--json", "m.json") == "retrograd: interrupted\n"


def test_an_interruption_while_writing_leaves_the_old_file(capsys, monkeypatch, houses_csv):
    def interrupt(*args):
        raise KeyboardInterrupt

    write("m.json", "older metrics")
    monkeypatch.setattr(os, "replace", interrupt)
    fails(capsys, 130, "train", houses_csv, "--target", "price", *FAST, "--json", "m.json")


@pytest.mark.parametrize("package", ["pandas", "sklearn", "tqdm", "safetensors"])
def test_a_package_is_not_installed(capsys, monkeypatch, houses_csv, package):
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    data = [] if package == "sklearn" else [houses_csv, "--target", "price"]
    said = fails(capsys, 1, "train", *data, "--out", "m.safetensors")
    assert said.endswith("is not installed: pip install 'retrograd[train]'\n")
    assert run("info") == 0


@pytest.fixture
def model(houses_csv):
    assert run("train", houses_csv, "--target", "dear", "--drop", "price", *FAST, "--out", "m.safetensors") == 0
    return "m.safetensors"


def test_broken_model_files(capsys, model, houses_csv):
    content = Path(model).read_bytes()
    for broken in (b"", b"not a model", content[:100], content[:-10], content + b"more"):
        Path("broken.safetensors").write_bytes(broken)
        said = fails(capsys, 1, "predict", "broken.safetensors", houses_csv, "--out", "p.csv")
        assert "broken.safetensors: damaged, or not a safetensors file" in said
    tensors = rg.load(model)
    del tensors["network.0.weight"]
    rg.save(tensors, "lacking.safetensors", metadata=rg.load_metadata(model))
    assert "do not fit together" in fails(capsys, 1, "predict", "lacking.safetensors", houses_csv)
    rg.save({"w": rg.ones(3)}, "other.safetensors")
    assert "not a model that" in fails(capsys, 1, "predict", "other.safetensors", houses_csv)
    assert "No such file" in fails(capsys, 1, "predict", "none.safetensors", houses_csv)
    assert "Is a directory" in fails(capsys, 1, "predict", ".", houses_csv)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("area,floor\n1,1\n", "the model needs columns that are not there: garden, town; there are: area, floor"),
        (
            "area,town,garden,floor\n50,Bonn,True,1\n50,Paris,True,1\n",
            "line 3, column 'town': 'Paris' is not a category",
        ),
        ("area,town,garden,floor\n50,Bonn,True,1\nbig,Bonn,True,1\n", "line 3, column 'area': 'big' is not a number"),
        ("area,town,garden,floor\nbig,Bonn,True,1\n", "line 2, column 'area': 'big' is not a number"),
        ("area,town,garden,floor\n50,,True,1\n", "line 2, column 'town': missing value"),
        ("area,town,garden,floor\n50,Bonn,True\n", "line 2 has 3 values, expected 4"),
        ("", "the file is empty"),
    ],
)
def test_broken_data_to_predict(capsys, model, text, message):
    write("new.csv", text)
    assert message in fails(capsys, 1, "predict", model, "new.csv", "--out", "p.csv")


def test_other_errors_of_predict(capsys, model, houses_csv):
    assert "would replace" in fails(capsys, 2, "predict", model, houses_csv, "--out", houses_csv)
    assert "cannot be written" in fails(capsys, 1, "predict", model, houses_csv, "--out", "nowhere/p.csv")
    np.savez("data.npz", X=np.ones((3, 4)))
    assert "the model takes a .csv, for it was trained on named columns" in fails(
        capsys, 1, "predict", model, "data.npz"
    )
    np.savez("train.npz", X=np.random.default_rng(0).normal(size=(50, 3)), y=np.arange(50) % 2)
    assert run("train", "train.npz", *FAST, "--out", "n.safetensors") == 0
    assert "X has shape (3, 4), the model takes 3 columns" in fails(capsys, 1, "predict", "n.safetensors", "data.npz")


# As a process of its own


def command(*args, **options):
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options
    return subprocess.Popen([sys.executable, "-m", "retrograd", *map(str, args)], **options)


def test_info_in_a_process():
    process = command("info")
    out, err = process.communicate()
    assert process.returncode == 0
    assert err == ""
    assert rg.__version__ in out
    for name in rg.backends.MODULES:
        assert re.search(rf"^ *\*? {name} ", out, re.MULTILINE)
    assert str(rg.get_num_threads()) in re.search("^threads .*", out, re.MULTILINE)[0]


@pytest.mark.skipif("c" not in rg.backends.available(), reason="the C backend is not built")
def test_info_measures_the_machine(capsys):
    assert run("info", "--measure", "--threads", 2) == 0
    rows = re.findall(r"^  (.*?)  +([\d.]+) +([\d.]+) (GFLOP/s|GB/s)$", capsys.readouterr().out, re.MULTILINE)
    assert len({row[0] for row in rows}) == 8
    assert all(float(one) > 0 and float(two) > 0 for _, one, two, _ in rows)


def test_where_threads_come_from():
    out, _ = command("info", env=os.environ | {"RETROGRAD_NUM_THREADS": "1"}).communicate()
    assert "1 (from RETROGRAD_NUM_THREADS)" in out


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("RETROGRAD_BACKEND", "nunba", "unknown backend 'nunba'. Available: "),
        ("RETROGRAD_NUM_THREADS", "two", "RETROGRAD_NUM_THREADS='two': expected a whole number >= 1"),
    ],
)
def test_an_environment_that_cannot_be_followed(variable, value, message):
    process = command("info", env=os.environ | {variable: value})
    out, err = process.communicate()
    assert (process.returncode, out) == (1, "")
    assert err.startswith(f"retrograd: {message}")
    assert err.count("\n") == 1


def test_control_c():
    process = command("train", "--epochs", 10**6, "--patience", 10**6, "--out", "m.safetensors")
    try:
        for line in process.stdout:
            if line.startswith("backend"):
                break
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, err) == (130, "retrograd: interrupted\n")
    assert os.listdir() == []


def test_a_reader_that_leaves(houses_csv):
    houses(20_000).to_csv("many.csv", index=False)
    assert run("train", houses_csv, "--target", "price", "--drop", "dear", *FAST, "--out", "m.safetensors") == 0
    with command("predict", "m.safetensors", "many.csv") as process:
        assert process.stdout.readline() == "prediction\n"
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141


def test_target_of_a_regression_must_be_numbers():
    with pytest.raises(CommandError, match="must be numbers, 'y' holds 'a'"):
        as_target("file", "y", np.array(["a", "b"]), "regression")
    with pytest.raises(CommandError, match=r"must be classes, 'y' holds 0\.5"):
        as_target("file", "y", np.array([1.0, 0.5]), "classification")
    whole = as_target("file", "y", np.array([1.0, 0.0] * 5), "classification")
    assert isinstance(whole, Target)
    assert whole.labels == [0, 1]
