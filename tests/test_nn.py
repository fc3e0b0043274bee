"""Layers against PyTorch's, and what a Module promises about its members, its state and its hooks."""

import copy
import math
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import retrograd as rg
import retrograd.nn.functional as F
from retrograd import nn, optim
from retrograd.kernels.memory import ALIGNMENT


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


def mlp(library=nn, dtype=rg.float64):
    return library.Sequential(
        library.Linear(5, 7, dtype=dtype),
        library.ReLU(),
        library.Linear(7, 6, bias=False, dtype=dtype),
        library.Tanh(),
        library.Linear(6, 3, dtype=dtype),
    )


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(2, 3)
        self.scale = nn.Parameter(rg.ones(3))
        self.register_buffer("mean", rg.zeros(3))
        self.register_buffer("scratch", rg.zeros(1), persistent=False)
        self.register_parameter("shift", None)
        self.tied = self.first

    def forward(self, x):
        return self.first(x) * self.scale + self.mean


# Members


def test_members_are_found_by_name_in_the_order_of_registration():
    block = Block()
    assert [n for n, _ in block.named_parameters()] == ["scale", "first.weight", "first.bias"]
    assert [n for n, _ in block.named_parameters(recurse=False)] == ["scale"]
    assert [n for n, _ in block.named_parameters(prefix="b", remove_duplicate=False)][-1] == "b.tied.bias"
    assert [n for n, _ in block.named_buffers()] == ["mean", "scratch"]
    assert [n for n, _ in block.named_modules()] == ["", "first"]
    assert [n for n, _ in block.named_children()] == ["first"]
    assert list(block.children()) == [block.first]
    assert block.shift is None
    assert list(block.state_dict()) == [
        "scale", "mean", "first.weight", "first.bias", "tied.weight", "tied.bias"
    ]  # fmt: skip


def test_members_are_replaced_removed_and_checked():
    block = Block()
    block.shift = nn.Parameter(rg.zeros(3))
    assert "shift" in dict(block.named_parameters())
    block.shift = None
    assert "shift" not in dict(block.named_parameters())
    del block.scale
    assert not hasattr(block, "scale")
    block.mean = rg.ones(3)
    assert dict(block.named_buffers())["mean"] is block.mean
    block.plain = 3
    block.plain = nn.Identity()
    assert dict(block.named_children())["plain"] is block.plain
    with pytest.raises(TypeError, match="Tensor as the module 'first'"):
        block.first = rg.zeros(1)
    with pytest.raises(TypeError, match="expected a Parameter or None"):
        block.register_parameter("w", rg.zeros(1))
    with pytest.raises(KeyError, match="already exists"):
        block.register_buffer("forward", rg.zeros(1))
    with pytest.raises(KeyError, match="without dots"):
        block.register_buffer("a.b", rg.zeros(1))
    with pytest.raises(NotImplementedError, match=r"Module defines no forward\(\)"):
        nn.Module()(1)


def test_assigning_before_init_says_so():
    class Early(nn.Module):
        def __init__(self):
            self.w = nn.Parameter(rg.ones(1))

    with pytest.raises(AttributeError, match=r"call super\(\).__init__\(\) before"):
        Early()


def test_parameter_is_a_leaf_that_asks_for_a_gradient():
    shared = rg.zeros(2)
    p = nn.Parameter(shared)
    assert p.requires_grad
    assert p.is_leaf
    assert np.shares_memory(p.array, shared.array)
    assert repr(nn.Parameter([[1.0], [2.0]])) == "Parameter([[1.],\n           [2.]], requires_grad=True)"
    assert type(p * 2) is rg.Tensor
    with pytest.raises(RuntimeError, match="Parameter: only floating"):
        nn.Parameter(rg.arange(3))
    assert not nn.Parameter(rg.arange(3), requires_grad=False).requires_grad


def test_repr_counts_parameters():
    net = nn.Sequential(nn.Linear(40, 30), nn.Sequential(nn.Dropout(0.1), nn.Linear(30, 1, bias=False)))
    assert repr(net).splitlines() == [
        "Sequential(  # 1,260 parameters",
        "  (0): Linear(in_features=40, out_features=30, bias=True)  # 1,230 parameters",
        "  (1): Sequential(  # 30 parameters",
        "    (0): Dropout(p=0.1)",
        "    (1): Linear(in_features=30, out_features=1, bias=False)  # 30 parameters",
        "  )",
        ")",
    ]
    assert repr(nn.Linear(1, 1, bias=False)).endswith("# 1 parameter")


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_are_independent(clone):
    net = mlp()
    x = rg.randn(4, 5, dtype="float64")
    y = net(x)
    copied = clone(net)
    np.testing.assert_array_equal(copied(x).detach(), y.detach())
    with rg.no_grad():
        copied[0].weight.zero_()
    assert net[0].weight.detach().numpy().any()
    assert not np.array_equal(copied(x).detach(), y.detach())
    np.testing.assert_array_equal(net(x).detach(), y.detach())


def test_the_memory_of_layers_and_their_copies_begins_cache_lines():
    net = nn.Sequential(nn.Linear(5, 7), nn.Linear(7, 3))
    for made in (net, copy.deepcopy(net), copy.deepcopy(net).double()):
        assert {p.array.ctypes.data % ALIGNMENT for p in made.parameters()} == {0}


def test_modes_gradients_and_apply_reach_all_modules():
    net = nn.Sequential(nn.Linear(2, 2), nn.ModuleDict({"d": nn.Dropout()}), nn.ModuleList([nn.Linear(2, 2)]))
    net.eval()
    assert not any(m.training for m in net.modules())
    net.train()
    assert all(m.training for m in net.modules())
    seen = []
    assert net.apply(seen.append) is net
    assert seen[-1] is net
    assert len(seen) == len(list(net.modules()))
    net.requires_grad_(False)
    assert not any(p.requires_grad for p in net.parameters())
    net.requires_grad_()
    net[0](rg.ones(1, 2)).sum().backward()
    net.zero_grad(set_to_none=False)
    assert (net[0].weight.grad.numpy() == 0).all()
    net.zero_grad()
    assert net[0].weight.grad is None


def test_to_converts_values_and_gradients():
    block = Block()
    block(rg.ones(1, 2)).sum().backward()
    assert block.double() is block
    assert {t.dtype for t in (*block.parameters(), *block.buffers())} == {rg.float64}
    assert block.scale.grad.dtype == rg.float64
    assert block.scale.requires_grad
    assert block.to("float32").scale.dtype == rg.float32
    assert block.float()(rg.ones(1, 2)).dtype == rg.float32
    for bad in ("cpu", "int64", None):
        with pytest.raises(TypeError, match="expected float32 or float64"):
            block.to(bad)


# State


def test_state_travels_to_pytorch_and_back(torch):
    theirs, ours = mlp(torch.nn, torch.float64), mlp()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    x = np.random.default_rng(0).normal(size=(4, 5))
    a, b = ours(rg.tensor(x)), theirs(torch.tensor(x))
    np.testing.assert_allclose(a.detach(), b.detach(), rtol=1e-12, atol=1e-14)
    (a * a).sum().backward()
    (b * b).sum().backward()
    for (name, p), q in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        np.testing.assert_allclose(p.grad, q.grad, rtol=1e-11, atol=1e-13, err_msg=name)
    other = mlp(torch.nn, torch.float64)
    other.load_state_dict({name: torch.from_numpy(t.numpy()) for name, t in ours.state_dict().items()})
    np.testing.assert_array_equal(other(torch.tensor(x)).detach(), b.detach())


def test_load_state_dict_lists_what_does_not_fit_and_changes_nothing():
    net = mlp()
    before = {name: t.numpy().copy() for name, t in net.state_dict().items()}
    given = {name: np.zeros_like(a) for name, a in before.items()}
    del given["2.weight"]
    given["0.bias"] = np.zeros(9)
    given["9.weight"] = np.zeros(1)
    with pytest.raises(RuntimeError) as error:
        net.load_state_dict(given)
    assert str(error.value).splitlines() == [
        "Error(s) in loading state_dict for Sequential:",
        '\tUnexpected key(s) in state_dict: "9.weight".',
        '\tMissing key(s) in state_dict: "2.weight".',
        "\tsize mismatch for 0.bias: copying a tensor of shape (9,) from state_dict, the shape in the module is (7,).",
    ]
    with pytest.raises(RuntimeError, match=r"size mismatch for 0\.bias"):
        net.load_state_dict(given, strict=False)
    for name, t in net.state_dict().items():
        np.testing.assert_array_equal(t, before[name])
    del given["0.bias"]
    keys = net.load_state_dict(given, strict=False)
    assert keys == (["0.bias", "2.weight"], ["9.weight"])
    assert keys.missing_keys == ["0.bias", "2.weight"]
    assert not net[0].weight.detach().numpy().any()
    np.testing.assert_array_equal(net[0].bias.detach(), before["0.bias"])


def test_load_state_dict_keeps_the_modules_dtype_and_refuses_to_round():
    net = nn.Linear(2, 1)
    net.register_buffer("count", rg.arange(2))
    state = {"weight": np.ones((1, 2)), "bias": rg.ones(1, dtype="float64"), "count": np.array([5, 6])}
    net.load_state_dict(state)
    assert net.weight.dtype == rg.float32
    with pytest.raises(RuntimeError, match="dtype mismatch for count: float64 cannot become int64"):
        net.load_state_dict({**state, "count": np.zeros(2)})


def test_a_graph_recorded_before_loading_refuses_to_run():
    net = nn.Linear(2, 1)
    x = rg.ones(1, 2, requires_grad=True)
    y = net(x).sum()
    net.load_state_dict({name: t.clone() for name, t in net.state_dict().items()})
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()


# Hooks


def test_hooks_see_and_replace_arguments_and_output():
    layer = nn.Identity()
    calls = []
    before = layer.register_forward_pre_hook(lambda m, args: calls.append("pre") or args[0] + 1.0)
    with layer.register_forward_hook(lambda m, args, output: (calls.append("post"), output * 2.0)[1]):
        assert layer(rg.tensor(1.0)).item() == 4.0
    assert calls == ["pre", "post"]
    assert layer(rg.tensor(1.0)).item() == 2.0
    before.remove()
    assert layer(rg.tensor(1.0)).item() == 1.0


# Sequential


FUSED = {
    "linear_relu": nn.ReLU(),
    "linear_leaky_relu": nn.LeakyReLU(0.2),
    "linear_tanh": nn.Tanh(),
    "linear_sigmoid": nn.Sigmoid(),
    "linear_gelu": nn.GELU(),
    "linear_gelu_tanh": nn.GELU("tanh"),
    "linear_silu": nn.SiLU(),
    "linear_softplus": nn.Softplus(2.0),
    "where": nn.LeakyReLU(-0.5),  # whose output does not tell the sign of its input
    "where ": nn.Softplus(threshold=1.0),
}


@pytest.mark.parametrize("name", FUSED)
@pytest.mark.parametrize("shape", [(4, 5), (0, 5), (5,), (2, 3, 5)])
def test_fused_equals_unfused(name, shape):
    net = nn.Sequential(nn.Linear(5, 6, dtype="float64"), FUSED[name])
    assert graph_of(net(rg.ones(1, 5, dtype="float64"))) == name.strip()
    x = rg.randn(*shape, dtype="float64", requires_grad=True)
    fused = net(x)
    (fused * fused).sum().backward()
    gradients = [t.grad.numpy().copy() for t in (x, *net.parameters())]
    x.grad = None
    net.zero_grad()
    plain = net[1](net[0](x))
    np.testing.assert_allclose(fused.detach(), plain.detach(), rtol=1e-13)
    with rg.no_grad():
        np.testing.assert_array_equal(net(x), fused.detach())
    (plain * plain).sum().backward()
    for g, t in zip(gradients, (x, *net.parameters()), strict=True):
        np.testing.assert_allclose(g, t.grad, rtol=1e-12, atol=1e-14)


def graph_of(y):
    return y.grad_fn.name


def test_sequential_fuses_only_exact_classes_without_hooks():
    class Mine(nn.ReLU):
        def forward(self, input):
            return input * 3.0

    x = rg.ones(1, 2)
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    assert graph_of(net(x)) == "linear_relu"
    seen = []
    handle = net[0].register_forward_hook(lambda m, args, output: seen.append(output))
    assert graph_of(net(x)) == "relu"
    assert len(seen) == 1
    handle.remove()
    net[1] = Mine()
    np.testing.assert_allclose(net(x).detach(), 3 * net[0](x).detach().numpy())
    net[1] = nn.Sigmoid()
    assert graph_of(net(x)) == "linear_sigmoid"
    net[0].forward = lambda input: input
    assert net(x).grad_fn is None
    del net[0].forward
    assert graph_of(net(x)) == "linear_sigmoid"


def test_sequential_by_name_and_by_slice():
    net = nn.Sequential({"up": nn.Linear(2, 3), "act": nn.ReLU(), "down": nn.Linear(3, 1)})
    assert list(net.state_dict()) == ["up.weight", "up.bias", "down.weight", "down.bias"]
    head = net[:2]
    assert list(head.state_dict()) == ["up.weight", "up.bias"]
    assert head[0] is net.up
    assert nn.Sequential()(3) == 3
    with pytest.raises(TypeError, match="item 1 is a function, expected a Module"):
        nn.Sequential(nn.ReLU(), F.relu)
    with pytest.raises(IndexError, match="index 3 is out of range for 3 modules"):
        net[3]


operations = st.lists(
    st.tuples(st.sampled_from(["append", "insert", "set", "del", "slice", "pop", "extend"]), st.integers(-3, 3)),
    max_size=12,
)


@pytest.mark.parametrize("container", [nn.ModuleList, lambda modules: nn.Sequential(*modules)])
@given(operations=operations)
def test_rows_behave_like_lists(container, operations):
    expected = [nn.Identity() for _ in range(3)]
    row = container(expected)
    for name, i in operations:
        new = nn.Identity()
        if name == "append":
            row.append(new)
            expected.append(new)
        elif name == "insert":
            row.insert(i, new)
            expected.insert(i, new)
        elif name == "extend":
            row.extend([new, new])
            expected.extend([new, new])
        elif name == "slice":
            assert list(row[i:]) == expected[i:]
            del row[i:]
            del expected[i:]
        elif -len(expected) <= i < len(expected):
            if name == "set":
                row[i] = expected[i] = new
            elif name == "del":
                del row[i]
                del expected[i]
            else:
                assert row.pop(i) is expected.pop(i)
        else:
            with pytest.raises(IndexError):
                row[i]
        assert list(row) == expected
        assert len(row) == len(expected)


def test_module_dict_behaves_like_a_dict():
    layers = nn.ModuleDict({"a": nn.Linear(1, 1), "b": nn.ReLU()})
    assert list(layers) == ["a", "b"]
    assert "a" in layers
    assert len(layers) == 2
    assert [k for k, _ in layers.items()] == layers.keys()
    taken = layers.pop("b")
    assert isinstance(taken, nn.ReLU)
    layers["c"] = taken
    del layers["a"]
    assert layers.values() == [taken]
    with pytest.raises(KeyError):
        layers["a"]
    layers.clear()
    assert not layers.keys()


# Layers and losses


def test_linear_is_drawn_like_pytorchs():
    rg.manual_seed(3)
    layer = nn.Linear(64, 500)
    bound = 1 / 8
    for values in (layer.weight.detach().numpy(), layer.bias.detach().numpy()):
        assert np.abs(values).max() <= bound
        assert abs(values.mean()) < 4 * bound / np.sqrt(3 * values.size)
        assert abs(values.std() - bound / np.sqrt(3)) < 0.05 * bound
    rg.manual_seed(3)
    again = nn.Linear(64, 500)
    np.testing.assert_array_equal(layer.weight.detach(), again.weight.detach())
    assert nn.Linear(0, 2)(rg.ones(3, 0)).shape == (3, 2)
    with pytest.raises(ValueError, match="Linear: sizes are -1 and 2"):
        nn.Linear(-1, 2)


PAIRS = [
    ("ReLU", {}),
    ("ReLU", {"inplace": True}),
    ("LeakyReLU", {"negative_slope": 0.2}),
    ("LeakyReLU", {"inplace": True}),
    ("Tanh", {}),
    ("Sigmoid", {}),
    ("GELU", {}),
    ("ELU", {"alpha": 1.5}),
    ("ELU", {"inplace": True}),
    ("LogSigmoid", {}),
    ("GELU", {"approximate": "tanh"}),
    ("SiLU", {}),
    ("SiLU", {"inplace": True}),
    ("Softplus", {"beta": 2.0, "threshold": 1.0}),
    ("Softmax", {"dim": 1}),
    ("LogSoftmax", {"dim": 0}),
    ("Flatten", {}),
    ("Flatten", {"start_dim": 0, "end_dim": 1}),
    ("Identity", {}),
]


@pytest.mark.parametrize(("name", "options"), PAIRS)
def test_layers_match_pytorch(torch, name, options):
    values = np.random.default_rng(1).normal(size=(3, 4, 2))
    x, t = rg.tensor(values, requires_grad=True), torch.tensor(values, requires_grad=True)
    ours, theirs = getattr(nn, name)(**options), getattr(torch.nn, name)(**options)
    y, z = ours(x * 1.0), theirs(t * 1.0)
    np.testing.assert_allclose(y.detach(), z.detach(), rtol=1e-12, atol=1e-14)
    weights = np.arange(float(values.size)).reshape(y.shape)
    (y * rg.tensor(weights)).sum().backward()
    (z * torch.tensor(weights)).sum().backward()
    np.testing.assert_allclose(x.grad, t.grad, rtol=1e-11, atol=1e-12)
    for option in options:
        assert f"{option}=" in repr(ours)


LOSSES = [
    ("MSELoss", {}, "same"),
    ("L1Loss", {"reduction": "sum"}, "same"),
    ("HuberLoss", {"delta": 0.5}, "same"),
    ("SmoothL1Loss", {"beta": 0.5}, "same"),
    ("SmoothL1Loss", {"beta": 0.0, "reduction": "sum"}, "same"),
    ("NLLLoss", {"ignore_index": 1}, "classes"),
    ("NLLLoss", {"weight": np.array([0.5, 1.0, 2.0])}, "classes"),
    ("CrossEntropyLoss", {"label_smoothing": 0.1, "ignore_index": 1}, "classes"),
    ("CrossEntropyLoss", {"weight": np.array([0.5, 1.0, 2.0])}, "classes"),
    ("BCEWithLogitsLoss", {"pos_weight": np.array([0.5, 1.0, 2.0]), "reduction": "none"}, "probabilities"),
]


@pytest.mark.parametrize(("name", "options", "target"), LOSSES)
def test_losses_match_pytorch(torch, name, options, target):
    rng = np.random.default_rng(2)
    values = rng.normal(size=(5, 3))
    targets = {"same": rng.normal(size=(5, 3)), "classes": rng.integers(0, 3, 5), "probabilities": rng.random((5, 3))}
    ours = getattr(nn, name)(**{k: rg.tensor(v) if isinstance(v, np.ndarray) else v for k, v in options.items()})
    theirs = getattr(torch.nn, name)(
        **{k: torch.tensor(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
    )
    assert list(ours.state_dict()) == list(theirs.state_dict())
    x, t = rg.tensor(values, requires_grad=True), torch.tensor(values, requires_grad=True)
    y, z = ours(x, rg.tensor(targets[target])), theirs(t, torch.tensor(targets[target]))
    np.testing.assert_allclose(y.detach(), z.detach(), rtol=1e-12)
    y.sum().backward()
    z.sum().backward()
    np.testing.assert_allclose(x.grad, t.grad, rtol=1e-11, atol=1e-14)


NORMALIZING = {
    "LayerNorm": (lambda nn: nn.LayerNorm(6), (5, 6)),
    "LayerNorm of two axes, no bias": (lambda nn: nn.LayerNorm((3, 6), bias=False), (5, 3, 6)),
    "LayerNorm, plain": (lambda nn: nn.LayerNorm([6], eps=0.1, elementwise_affine=False), (2, 5, 6)),
    "RMSNorm": (lambda nn: nn.RMSNorm(6), (5, 6)),
    "RMSNorm of two axes, plain": (lambda nn: nn.RMSNorm([3, 6], eps=0.1, elementwise_affine=False), (5, 3, 6)),
    "GroupNorm": (lambda nn: nn.GroupNorm(3, 6), (5, 6)),
    "GroupNorm of series, plain": (lambda nn: nn.GroupNorm(2, 4, affine=False), (5, 4, 6)),
    "BatchNorm1d": (lambda nn: nn.BatchNorm1d(6), (5, 6)),
    "BatchNorm1d of series": (lambda nn: nn.BatchNorm1d(3, momentum=0.3), (5, 3, 6)),
    "BatchNorm1d, the mean of all batches": (lambda nn: nn.BatchNorm1d(6, momentum=None), (5, 6)),
    "BatchNorm1d without running numbers": (lambda nn: nn.BatchNorm1d(6, track_running_stats=False), (5, 6)),
    "BatchNorm1d, plain": (lambda nn: nn.BatchNorm1d(6, affine=False), (5, 6)),
}


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("name", NORMALIZING)
def test_normalizing_layers_train_as_pytorchs(backend: str, torch: Any, name: str, compiled: bool) -> None:
    make, shape = NORMALIZING[name]
    rng = np.random.default_rng(3)
    ours, theirs = nn.Sequential(make(nn), nn.Linear(6, 2)).double(), torch.nn.Sequential(make(torch.nn)).double()
    theirs.append(torch.nn.Linear(6, 2).double())
    ours.load_state_dict(theirs.state_dict())
    optimizers = optim.SGD(ours.parameters(), lr=0.1), torch.optim.SGD(theirs.parameters(), lr=0.1)

    def step(net: Any, optimizer: Any, x: Any) -> Any:
        loss = (net(x) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    mine = (rg.compile if compiled else lambda f: f)(lambda x: step(ours, optimizers[0], x))
    for _ in range(4):
        x = rng.normal(2.0, 3.0, shape)
        loss = step(theirs, optimizers[1], torch.tensor(x))
        np.testing.assert_allclose(mine(rg.tensor(x)).item(), loss.item(), rtol=1e-10)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for key, value in theirs.state_dict().items():
        np.testing.assert_allclose(ours.state_dict()[key], value, rtol=1e-10, atol=1e-12, err_msg=key)
    few = rng.normal(size=(2 if "without" in name else 1, *shape[1:]))
    expected = theirs.eval()(torch.tensor(few)).detach()
    np.testing.assert_allclose(ours.eval()(rg.tensor(few)).detach(), expected, rtol=1e-10, atol=1e-12)


def test_normalizing_layers_refuse_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match=r"layer_norm: input has shape \(2, 3\), expected its last axes to be \(4,\)"):
        nn.LayerNorm(4)(rg.ones(2, 3))
    with pytest.raises(ValueError, match=r"BatchNorm1d: input has shape \(2, 3\), expected \(rows, 4\)"):
        nn.BatchNorm1d(4)(rg.ones(2, 3))
    with pytest.raises(ValueError, match="more than 1 value a feature"):
        nn.BatchNorm1d(4)(rg.ones(1, 4))


def test_an_embedding_is_rows_of_its_table(backend: str) -> None:
    layer, at = nn.Embedding(5, 3), np.array([[0, 2], [2, 4]])
    np.testing.assert_array_equal(layer(at).detach(), layer.weight.detach().numpy()[at])
    np.testing.assert_array_equal(rg.compile(layer)(at), layer(at).detach())
    layer(at).sum().backward()
    np.testing.assert_array_equal(layer.weight.grad[:, 0], [1, 0, 2, 0, 1])
    with pytest.raises(IndexError, match="embedding: index 5 is out of range for 5"):
        layer(np.array([5]))
    padded = nn.Embedding(5, 3, padding_idx=-3)
    assert not padded.weight[2].any()
    assert padded.padding_idx == 2
    table = padded.weight.detach().numpy()
    for call in (padded, rg.compile(padded)):
        np.testing.assert_array_equal(call(at).detach(), table[at])
    padded(np.array([[0, 2], [-3, 4]])).sum().backward()
    np.testing.assert_array_equal(padded.weight.grad[:, 0], [1, 0, 0, 0, 1])
    with pytest.raises(IndexError, match="Embedding: padding_idx 5 is out of range for 5 rows"):
        nn.Embedding(5, 3, padding_idx=5)


def test_parameters_in_lists_and_dicts(torch: Any) -> None:
    def made(nn: Any, library: Any) -> Any:
        net = nn.Module()
        net.weights = nn.ParameterList([library.ones(2), nn.Parameter(library.zeros(3))])
        net.weights.append(library.ones(1)).extend([library.zeros(4)])
        net.weights[-1] = nn.Parameter(library.ones(5))
        net.named = nn.ParameterDict({"a": library.ones(2)})
        net.named["b"] = nn.Parameter(library.zeros(1))
        net.named.update({"a": library.zeros(6), "c": library.ones(2)})
        del net.named["c"]
        return net

    ours, theirs = made(nn, rg), made(torch.nn, torch)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert [p.shape for p in ours.parameters()] == [tuple(p.shape) for p in theirs.parameters()]
    assert [p.numel() for p in ours.weights] == [2, 3, 1, 5]
    assert (len(ours.named), list(ours.named), "c" in ours.named, ours.named["b"].shape) == (2, ["a", "b"], False, (1,))
    with pytest.raises(KeyError, match="c"):
        del ours.named["c"]


def test_parameters_as_a_vector() -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    vector = nn.utils.parameters_to_vector(net.parameters())
    assert vector.shape == (13,)
    nn.utils.vector_to_parameters(vector.detach() * 2.0, net.parameters())
    np.testing.assert_array_equal(nn.utils.parameters_to_vector(net.parameters()).detach(), vector.detach() * 2.0)
    with pytest.raises(ValueError, match=r"vec has shape \(12,\), expected \(13,\)"):
        nn.utils.vector_to_parameters(vector[1:], net.parameters())


def test_options_out_of_range_are_refused_when_the_layer_is_made():
    with pytest.raises(ValueError, match="MSELoss"):
        nn.MSELoss("average")
    with pytest.raises(ValueError, match="smooth_l1_loss: beta is -1"):
        nn.SmoothL1Loss(beta=-1.0)(rg.ones(1), rg.ones(1))
    with pytest.raises(ValueError, match="HuberLoss: delta"):
        nn.HuberLoss(delta=0)
    with pytest.raises(ValueError, match="label_smoothing"):
        nn.CrossEntropyLoss(label_smoothing=2)
    with pytest.raises(ValueError, match="Dropout: p"):
        nn.Dropout(1.5)


def test_dropout_acts_in_training_only():
    layer = nn.Dropout(0.25)
    x = rg.ones(10_000)
    y = layer(x).numpy()
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / 0.75)}
    assert abs((y == 0).mean() - 0.25) < 0.02
    assert not np.array_equal(layer(x).numpy(), y)
    layer.eval()
    np.testing.assert_array_equal(layer(x), x)
    shared = rg.ones(100)
    nn.Dropout(0.5, inplace=True)(shared)
    assert (shared.numpy() == 0).any()


# Initial values


@pytest.mark.parametrize("shape", [(40, 60), (8, 5, 3, 3)])
def test_init_scales_match_pytorch(torch, shape):
    torch.manual_seed(0)
    calls = [
        ("xavier_uniform_", {"gain": 2.0}),
        ("xavier_normal_", {}),
        ("kaiming_uniform_", {"a": 0.3}),
        ("kaiming_normal_", {"mode": "fan_out", "nonlinearity": "relu"}),
        ("uniform_", {"a": -2.0, "b": 3.0}),
        ("normal_", {"mean": 1.0, "std": 0.5}),
    ]
    for name, options in calls:
        ours = np.concatenate([getattr(nn.init, name)(rg.zeros(shape), **options).numpy() for _ in range(8)])
        theirs = np.concatenate([getattr(torch.nn.init, name)(torch.zeros(shape), **options) for _ in range(8)])
        assert abs(ours.mean() - theirs.mean()) < 0.1 * theirs.std(), name
        assert abs(ours.std() / theirs.std() - 1) < 0.05, name
        assert np.abs(ours).max() <= 1.3 * np.abs(theirs).max(), name


def test_init_of_parameters_needs_no_block_and_counts_as_a_change():
    layer = nn.Linear(3, 2)
    x = rg.ones(1, 3, requires_grad=True)
    y = layer(x).sum()
    assert nn.init.constant_(layer.weight, 0.5) is layer.weight
    assert (layer.weight.detach().numpy() == 0.5).all()
    assert layer.weight.requires_grad
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()
    assert nn.init.zeros_(rg.ones(2)).tolist() == [0, 0]
    assert nn.init.ones_(rg.zeros(2)).tolist() == [1, 1]
    np.testing.assert_array_equal(nn.init.eye_(rg.zeros(2, 3)), np.eye(2, 3))


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 2, 3), (0, 3)])
def test_orthogonal(shape):
    w = nn.init.orthogonal_(rg.zeros(shape, dtype="float64"), gain=2.0).numpy().reshape(shape[0], math.prod(shape[1:]))
    small = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
    np.testing.assert_allclose(small, 4 * np.eye(len(small)), atol=1e-12)


def test_init_gains_and_errors(torch):
    for name, param in [("linear", None), ("tanh", None), ("relu", None), ("leaky_relu", 0.2), ("selu", None)]:
        assert nn.init.calculate_gain(name, param) == torch.nn.init.calculate_gain(name, param)
    with pytest.raises(ValueError, match="unknown nonlinearity 'swish'"):
        nn.init.calculate_gain("swish")
    for function in (nn.init.xavier_uniform_, nn.init.kaiming_normal_, nn.init.orthogonal_, nn.init.eye_):
        with pytest.raises(ValueError, match=r"shape \(3,\)"):
            function(rg.zeros(3))
    with pytest.raises(ValueError, match="mode is 'fan'"):
        nn.init.kaiming_uniform_(rg.zeros(2, 2), mode="fan")


# Clipping


@pytest.mark.parametrize("norm_type", [2, 1.0, 3.0, float("inf")])
@pytest.mark.parametrize("max_norm", [0.1, 1e6])
def test_clip_grad_norm_matches_pytorch(torch, norm_type, max_norm):
    rng = np.random.default_rng(3)
    gradients = [rng.normal(size=(3, 2)), rng.normal(size=4)]
    ours = [nn.Parameter(rg.zeros(g.shape, dtype="float64")) for g in gradients] + [nn.Parameter(rg.zeros(1))]
    theirs = [torch.nn.Parameter(torch.zeros(g.shape, dtype=torch.float64)) for g in gradients]
    for p, q, g in zip(ours[:2], theirs, gradients, strict=True):
        p.grad, q.grad = rg.tensor(g), torch.tensor(g)
    total = nn.clip_grad_norm_(ours, max_norm, norm_type)
    expected = torch.nn.utils.clip_grad_norm_(theirs, max_norm, norm_type)
    np.testing.assert_allclose(total, expected, rtol=1e-12)
    for p, q in zip(ours[:2], theirs, strict=True):
        np.testing.assert_allclose(p.grad, q.grad, rtol=1e-12)


def test_clipping_edges():
    p = nn.Parameter(rg.zeros(3))
    assert nn.clip_grad_norm_(p, 1.0).item() == 0.0
    p.grad = rg.tensor([float("nan"), 1.0, -4.0])
    with pytest.raises(RuntimeError, match=r"total norm of order 2\.0 is nan"):
        nn.clip_grad_norm_([p], 1.0, error_if_nonfinite=True)
    assert p.grad.tolist()[1:] == [1.0, -4.0]
    p.grad = rg.tensor([0.5, 3.0, -4.0])
    nn.clip_grad_value_([p], 2)
    assert p.grad.tolist() == [0.5, 2.0, -2.0]
