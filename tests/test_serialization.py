"""Files of tensors: what is read is what was written, and a file is whole or not there."""

import builtins
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import retrograd as rg
from retrograd import nn, optim
from retrograd.serialization import replacing


@pytest.fixture
def path(tmp_path):
    pytest.importorskip("safetensors")
    return tmp_path / "model.safetensors"


def test_a_module_comes_back(path):
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1, dtype="float64"))
    rg.save(net, path, metadata={"epochs": "3", "name": "größer"})
    loaded = rg.load(path)
    other = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1, dtype="float64"))
    other.load_state_dict(loaded)
    for name, t in net.state_dict().items():
        assert loaded[name].dtype == t.dtype
        np.testing.assert_array_equal(other.state_dict()[name], t)
    assert rg.load_metadata(path) == {"epochs": "3", "name": "größer"}
    rg.save({}, str(path))
    assert rg.load(str(path)) == rg.load_metadata(path) == {}
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_checkpoint_comes_back(path):
    def made():
        net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
        optimizer = optim.Adam(net.parameters(), lr=0.1)
        return net, optimizer, optim.lr_scheduler.CosineAnnealingLR(optimizer, 7)

    def train(net, optimizer, schedule, steps):
        for _ in range(steps):
            loss = net(x).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        return loss.item()

    x = rg.randn(5, 3)
    first, second = made(), made()
    train(*first, 3)
    names = ("net", "optimizer", "schedule")
    more = {"epoch": 3, "best": (0.1, None, [float("inf"), True]), "order": {2: np.arange(3)}, "mean": np.float32(0.5)}
    rg.save(dict(zip(names, first, strict=True)) | more, path, metadata={"by": "me"})
    found = rg.load(path)
    for name, part in zip(names, second, strict=True):
        part.load_state_dict(found[name])
    assert train(*first, 3) == train(*second, 3)
    assert (found["epoch"], found["best"], found["mean"]) == (3, (0.1, None, [float("inf"), True]), 0.5)
    assert found["order"][2].tolist() == [0, 1, 2]
    assert rg.load_metadata(path) == {"by": "me"}
    with pytest.raises(TypeError, match="save: 'a/0' is a object, expected a tensor, array, number"):
        rg.save({"a": [object()]}, path)


@given(
    array=hnp.arrays(
        st.sampled_from([np.float32, np.float64, np.int32, np.int64, np.uint8, np.bool_]),
        hnp.array_shapes(min_dims=0, max_dims=3, min_side=0),
    ),
    swap=st.booleans(),
)
def test_any_tensor_comes_back(path, array, swap):
    array = array.T if swap else array
    rg.save({"a": array, "b": rg.tensor(array)}, path)
    for loaded in rg.load(path).values():
        assert loaded.dtype == array.dtype
        assert loaded.shape == array.shape
        np.testing.assert_array_equal(loaded, array)


def test_pytorch_reads_and_writes_the_same(path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file, save_file

    rg.save({"w": rg.tensor([[1.0, 2.0]])}, path)
    assert load_file(path)["w"].tolist() == [[1, 2]]
    save_file({"w": torch.tensor([3.0])}, path)
    assert rg.load(path)["w"].tolist() == [3]


def test_a_damaged_file_is_one_error_that_names_it(path):
    rg.save({"w": rg.ones(100)}, path)
    whole = path.read_bytes()
    for damaged in (b"", whole[:5], whole[:20], whole[:-1], b"\xff" * 500, b"PK\x03\x04 is a zip file"):
        path.write_bytes(damaged)
        for read in (rg.load, rg.load_metadata):
            with pytest.raises(ValueError, match=r"load: .*model\.safetensors is damaged or not a safetensors file"):
                read(path)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"there is no file .*model\.safetensors"):
        rg.load(path)


def test_what_cannot_be_saved_leaves_the_file_as_it_was(path):
    rg.save({"w": rg.ones(2)}, path)
    before = path.read_bytes()
    for bad, metadata in [
        ([rg.ones(2)], None),
        ({"w": [1j]}, None),
        ({(3,): rg.ones(2)}, None),
        ({"w": np.ones(2, np.complex64)}, None),
        ({"w": rg.ones(2)}, {"epochs": 3}),
    ]:
        with pytest.raises(TypeError, match=r"save: |not supported"):
            rg.save(bad, path, metadata)
    assert path.read_bytes() == before
    with pytest.raises(FileNotFoundError):
        rg.save({"w": rg.ones(2)}, path.parent / "nowhere" / "x")
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_write_that_breaks_off_leaves_nothing(tmp_path):
    target = tmp_path / "table.csv"
    target.write_text("old")

    def write_half():
        with replacing(target) as new, open(new, "w") as file:
            file.write("ha")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["table.csv"]
    with replacing(target) as new, open(new, "w") as file:
        file.write("new")
    assert target.read_text() == "new"


def test_without_safetensors_the_error_says_what_to_install(monkeypatch, tmp_path):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("safetensors"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    for name in [n for n in sys.modules if n.startswith("safetensors")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", without)
    for attempt in (lambda: rg.save({}, tmp_path / "x"), lambda: rg.load(tmp_path / "x")):
        with pytest.raises(ImportError, match=r"pip install 'retrograd\[safetensors\]'"):
            attempt()
