"""Optimizers and schedules step by step beside PyTorch's, and what they promise when something does not fit."""

import copy
import itertools

import numpy as np
import pytest

import retrograd as rg
from retrograd import nn, optim

SHAPES = [(4, 3), (3,), (), (0, 2)]
LATER = ["RAdam", "NAdam", "Adadelta", "Rprop"]


@pytest.fixture
def torch():
    """PyTorch, whose optimizers keep numbers (NAdam's product of momenta) in the default dtype: in double precision."""
    torch = pytest.importorskip("torch")
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield torch
    torch.set_default_dtype(before)


def combinations(**options):
    for values in itertools.product(*options.values()):
        yield dict(zip(options, values, strict=True))


CASES = [
    *(
        ("SGD", options)
        for options in combinations(
            momentum=(0.0, 0.9), dampening=(0.0, 0.5), weight_decay=(0.0, 0.1), nesterov=(False, True),
            maximize=(False, True),
        )
        if not (options["nesterov"] and (not options["momentum"] or options["dampening"]))
    ),
    *(
        (name, options)
        for name in ("Adam", "AdamW")
        for options in combinations(
            betas=((0.9, 0.999), (0.5, 0.7)), eps=(1e-8, 1e-2), weight_decay=(0.0, 0.1), amsgrad=(False, True),
            maximize=(False, True),
        )
    ),
    *(
        ("RMSprop", options)
        for options in combinations(
            alpha=(0.99, 0.5), weight_decay=(0.0, 0.1), momentum=(0.0, 0.9), centered=(False, True),
            maximize=(False, True),
        )
    ),
    *(
        ("Adagrad", options)
        for options in combinations(
            lr_decay=(0.0, 0.1), weight_decay=(0.0, 0.1), initial_accumulator_value=(0.0, 0.5), eps=(1e-10, 1e-2),
            maximize=(False, True),
        )
    ),
    *(
        (name, options)
        for name, own in (("RAdam", {}), ("NAdam", {"momentum_decay": (4e-3, 0.5)}))
        for options in combinations(
            betas=((0.9, 0.999), (0.5, 0.7)), eps=(1e-8, 1e-2), weight_decay=(0.0, 0.1),
            decoupled_weight_decay=(False, True), maximize=(False, True), **own,
        )
    ),
    *(
        ("Adadelta", options)
        for options in combinations(rho=(0.9, 0.5), eps=(1e-6, 1e-2), weight_decay=(0.0, 0.1), maximize=(False, True))
    ),
    *(
        ("Rprop", options)
        for options in combinations(
            etas=((0.5, 1.2), (0.1, 3.0)), step_sizes=((1e-6, 50), (0.02, 0.1)), maximize=(False, True),
        )
    ),
]  # fmt: skip


def starts(seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape) for shape in SHAPES]


def set_gradients(step, *sides):
    """The same gradients on each side (parameters, function that makes a tensor); the first now and then None."""
    rng = np.random.default_rng(step)
    for i, shape in enumerate(SHAPES):
        g = rng.normal(size=shape)
        for parameters, tensor in sides:
            parameters[i].grad = None if i == 0 and step % 3 == 2 else tensor(g)


def assert_equal_parameters(ours, theirs, **tolerance):
    for p, q in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(p.detach(), q.detach(), **tolerance)


def numbers(torch, state_dict):
    """A state dict of ours as PyTorch takes it."""

    def convert(value):
        return torch.tensor(value.numpy()) if isinstance(value, rg.Tensor) else value

    state = {i: {k: convert(v) for k, v in kept.items()} for i, kept in state_dict["state"].items()}
    return {"state": state, "param_groups": state_dict["param_groups"]}


# Against PyTorch


@pytest.mark.parametrize(("name", "options"), CASES)
def test_twenty_steps_equal_pytorchs(torch, name, options):
    ours = [rg.tensor(a, requires_grad=True) for a in starts()]
    theirs = [torch.tensor(a, requires_grad=True) for a in starts()]
    mine = getattr(optim, name)(ours, lr=0.03, **options)
    peer = getattr(torch.optim, name)(theirs, lr=0.03, **options)
    for step in range(20):
        set_gradients(step, (ours, rg.tensor), (theirs, torch.tensor))
        mine.step()
        peer.step()
    assert_equal_parameters(ours, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad", *LATER])
def test_defaults_are_pytorchs(torch, name):
    mine = getattr(optim, name)([rg.zeros(1, requires_grad=True)])
    peer = getattr(torch.optim, name)([torch.zeros(1, requires_grad=True)])
    assert mine.defaults == {option: peer.defaults[option] for option in mine.defaults}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("SGD", {"momentum": 0.9}),
        ("SGD", {}),
        ("Adam", {"amsgrad": True}),
        ("AdamW", {}),
        ("RMSprop", {"momentum": 0.5, "centered": True}),
        ("Adagrad", {"lr_decay": 0.1, "initial_accumulator_value": 0.2}),
        ("RAdam", {"betas": (0.8, 0.9)}),
        ("NAdam", {"momentum_decay": 0.1}),
        ("Adadelta", {}),
        ("Rprop", {}),
    ],
)
def test_state_travels_to_pytorch_and_back(torch, name, options):
    """Five steps there, five here, five there equal fifteen there."""
    ours = [rg.tensor(a, requires_grad=True) for a in starts()]
    theirs = [torch.tensor(a, requires_grad=True) for a in starts()]
    whole = [torch.tensor(a, requires_grad=True) for a in starts()]
    mine = getattr(optim, name)(ours, lr=0.5, **options)
    peer = getattr(torch.optim, name)(theirs, lr=0.03, **options)
    reference = getattr(torch.optim, name)(whole, lr=0.03, **options)
    for step in range(15):
        if step == 5:
            mine.load_state_dict(peer.state_dict())
            assert mine.param_groups[0]["lr"] == 0.03
            for p, q in zip(ours, theirs, strict=True):
                p.data = rg.tensor(q.detach().numpy())
        if step == 10:
            peer.load_state_dict(numbers(torch, mine.state_dict()))
            for p, q in zip(ours, theirs, strict=True):
                q.data = torch.tensor(p.detach().numpy())
        set_gradients(step, (ours, rg.tensor), (theirs, torch.tensor), (whole, torch.tensor))
        (mine if 5 <= step < 10 else peer).step()
        reference.step()
    assert_equal_parameters(theirs, whole, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", LATER)
def test_compiled_updates_are_eager_ones(backend, name):
    """One program, which follows a schedule and a state that is loaded; whole epochs are the same steps."""
    x = np.random.default_rng(0).standard_normal((24, 3))
    y = np.sin(x.sum(1, keepdims=True))

    def trained(how):
        rg.manual_seed(0)
        net = nn.Sequential(nn.Linear(3, 8, dtype="float64"), nn.Tanh(), nn.Linear(8, 1, dtype="float64"))
        opt = getattr(optim, name)(net.parameters(), lr=0.02)
        schedule = optim.lr_scheduler.ExponentialLR(opt, 0.8)

        def step(x, y):
            loss = nn.functional.mse_loss(net(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            return loss

        compiled = rg.compile(step)
        for epoch in range(4):
            if how == "run":
                compiled.run(x, y, batch_size=6)
            else:
                for i in range(0, 24, 6):
                    (compiled if how == "compiled" else step)(x[i : i + 6], y[i : i + 6])
            schedule.step()
            if epoch == 1:
                saved = copy.deepcopy(opt.state_dict())
            if epoch == 2:
                opt.load_state_dict(saved)
        if how != "eager":
            assert compiled.program.divided == ""
        return [p.detach().numpy() for p in net.parameters()]

    expected = trained("eager")
    for how in ("compiled", "run"):
        for p, e in zip(trained(how), expected, strict=True):
            np.testing.assert_allclose(p, e, rtol=1e-8, atol=1e-11)


def test_groups_have_options_of_their_own(torch):
    ours = [rg.tensor(a, requires_grad=True) for a in starts()]
    theirs = [torch.tensor(a, requires_grad=True) for a in starts()]

    def groups(p):
        return [{"params": p[:1], "lr": 0.1, "weight_decay": 0.5}, {"params": p[1]}, {"params": iter(p[2:3])}]

    mine = optim.Adam(groups(ours), lr=0.01)
    peer = torch.optim.Adam(groups(theirs), lr=0.01)
    mine.add_param_group({"params": ours[3:], "maximize": True})
    peer.add_param_group({"params": theirs[3:], "maximize": True})
    for step in range(5):
        set_gradients(step, (ours, rg.tensor), (theirs, torch.tensor))
        mine.step()
        peer.step()
    assert_equal_parameters(ours, theirs, rtol=1e-12, atol=1e-14)
    assert [g["params"] for g in mine.state_dict()["param_groups"]] == [[0], [1], [2], [3]]
    assert "weight_decay: 0.5" in repr(mine)


# The frame


def test_training_lowers_the_loss_in_float32():
    rg.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Linear(16, 1))
    x = rg.randn(64, 3)
    y = x.sum(1, keepdim=True)
    for make in (optim.SGD, optim.Adam, optim.AdamW, optim.RMSprop, optim.Adagrad):
        opt = make(net.parameters(), lr=1e-2)
        losses = []
        for _ in range(20):
            opt.zero_grad()
            loss = ((net(x) - y) ** 2).mean()
            loss.backward()
            opt.step()
            losses.append(loss.item())
        assert losses[-1] < losses[0], make


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad", *LATER])
def test_strided_parameters_and_gradients(name):
    values = np.arange(12.0).reshape(3, 4)
    plain = rg.tensor(values.T, requires_grad=True)
    base = values.copy()
    strided = rg.from_numpy(base.T)
    strided.requires_grad_()
    wide = np.linspace(0, 1, 24).reshape(3, 8)
    plain.grad, strided.grad = rg.tensor(wide[:, ::2].T), rg.from_numpy(wide[:, ::2].T)
    for p in (plain, strided):
        getattr(optim, name)([p], lr=0.1).step()
    np.testing.assert_array_equal(strided.detach(), plain.detach())
    np.testing.assert_array_equal(base.T, plain.detach())


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda p: optim.SGD(p, lr=0.1, momentum=0.5),
        lambda p: optim.Adam(p, betas=(0.5, 0.5)),
        lambda p: optim.RMSprop(p, alpha=0.5, centered=True, momentum=0.5),
        lambda p: optim.RAdam(p, betas=(0.5, 0.5)),
        lambda p: optim.NAdam(p, betas=(0.5, 0.5)),
        lambda p: optim.Adadelta(p, rho=0.5),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_state_of_a_dead_weight_ends_at_zero(backend, optimizer, dtype):
    """Halved at every step it would get among the subnormal numbers, and stay there."""
    weight = nn.Parameter(rg.ones(20, dtype=dtype))
    weight.grad = rg.zeros(20, dtype=dtype)
    made = optimizer([weight])
    made.step()
    state = [v for v in made.state[weight].values() if isinstance(v, rg.Tensor) and v.shape == (20,)]
    for mean in state:
        mean.fill_(1.5 * float(np.finfo(dtype).smallest_normal))
    made.step()
    assert state
    assert not any(mean.any() for mean in state)
    assert (weight == 1).all()


def test_nothing_changes_where_one_gradient_does_not_fit():
    good, bad = rg.ones(2, requires_grad=True), rg.ones(3, requires_grad=True)
    opt = optim.SGD([{"params": [good]}, {"params": [bad]}], lr=1.0, momentum=0.9)
    good.grad, bad.grad = rg.ones(2), rg.ones(4)
    with pytest.raises(RuntimeError, match=r"SGD: the gradient .* shape \(4,\), expected float32 of shape \(3,\)"):
        opt.step()
    bad.grad = rg.ones(3, dtype="float64")
    with pytest.raises(RuntimeError, match="gradient of a parameter is float64"):
        opt.step()
    assert good.tolist() == [1, 1]
    assert not opt.state_dict()["state"]


def test_state_of_another_dtype_is_refused():
    net = nn.Linear(2, 1)
    opt = optim.Adam(net.parameters())
    net(rg.ones(1, 2)).sum().backward()
    opt.step()
    net.double()
    with pytest.raises(RuntimeError, match="Adam: the exp_avg of a parameter is float32"):
        opt.step()


def test_read_only_memory_is_refused():
    frozen = np.ones(2)
    frozen.flags.writeable = False
    p = rg.from_numpy(frozen).requires_grad_()
    p.grad = rg.ones(2, dtype="float64")
    with pytest.raises(RuntimeError, match="read-only"):
        optim.SGD([p]).step()


def test_a_step_counts_as_a_change():
    w = rg.ones(2, requires_grad=True)
    x = rg.ones(2, requires_grad=True)
    y = (w * x).sum()
    w.grad = rg.ones(2)
    optim.SGD([w]).step()
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()


def test_closure_and_zero_grad():
    w = rg.tensor([2.0], requires_grad=True)
    opt = optim.SGD([w], lr=0.25)

    def closure():
        opt.zero_grad()
        loss = (w * w).sum()
        loss.backward()
        return loss

    with rg.no_grad():
        assert opt.step(closure).item() == 4.0
    assert w.tolist() == [1.0]
    opt.zero_grad(set_to_none=False)
    assert w.grad.tolist() == [0.0]
    opt.zero_grad()
    assert w.grad is None
    opt.step()
    assert w.tolist() == [1.0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: optim.SGD(p, lr=-1), "SGD: Invalid learning rate: -1"),
        (lambda p: optim.SGD(p, momentum=-1), "Invalid momentum value: -1"),
        (lambda p: optim.SGD(p, weight_decay=-1), "Invalid weight_decay value: -1"),
        (lambda p: optim.SGD(p, nesterov=True), "Nesterov momentum requires a momentum and zero dampening"),
        (lambda p: optim.Adam(p, betas=(0.9, 1.0)), "Invalid beta parameter at index 1: 1.0"),
        (lambda p: optim.AdamW(p, eps=-1), "AdamW: Invalid epsilon value: -1"),
        (lambda p: optim.RMSprop(p, alpha=-1), "Invalid alpha value: -1"),
        (lambda p: optim.Adagrad(p, initial_accumulator_value=-1), "Invalid initial_accumulator_value value: -1"),
        (lambda p: optim.NAdam(p, momentum_decay=-1), "NAdam: Invalid momentum_decay value: -1"),
        (lambda p: optim.RAdam(p, betas=(1.0, 0.9)), "RAdam: Invalid beta parameter at index 0: 1.0"),
        (lambda p: optim.Adadelta(p, rho=1.1), "Invalid rho value: 1.1"),
        (lambda p: optim.Rprop(p, etas=(0.5, 1.0)), "Invalid eta values: 0.5, 1.0"),
        (lambda p: optim.RMSprop([{"params": p, "lr": float("nan")}]), "Invalid learning rate: nan"),
        (lambda p: optim.SGD([]), "empty parameter list"),
        (lambda p: optim.SGD(p + p), "appear twice"),
        (lambda p: optim.SGD([{"params": p}, {"params": p}]), "more than one group"),
        (lambda p: optim.SGD([p[0] * 2]), "can't optimize a non-leaf"),
    ],
)
def test_bad_options_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make([rg.zeros(1, requires_grad=True)])


def test_bad_parameters_are_refused():
    for given in (rg.zeros(2), [np.zeros(2)], [{"params": {rg.zeros(1)}}], {"params": [rg.zeros(1)]}):
        with pytest.raises(TypeError, match="SGD: param"):
            optim.SGD(given)


def test_options_are_numbers():
    for rate in (rg.tensor(0.1), "0.1"):
        with pytest.raises(TypeError, match="expected a number"):
            optim.SGD([rg.ones(1, requires_grad=True)], lr=rate)
    optimizer = optim.SGD([rg.ones(1, requires_grad=True)], lr=np.float32(0.1))
    with pytest.raises(TypeError, match="expected a number"):
        optimizer.param_groups[0]["lr"] = rg.tensor(0.1)


def test_a_state_dict_that_does_not_fit_changes_nothing():
    p, q = rg.ones(2, requires_grad=True), rg.ones(3, requires_grad=True)
    opt = optim.SGD([p, q], lr=0.5, momentum=0.9)
    p.grad, q.grad = rg.ones(2), rg.ones(3)
    opt.step()
    good = opt.state_dict()
    (group,) = good["param_groups"]
    buffer = {"momentum_buffer": rg.zeros(5)}
    for bad, message in [
        ({**good, "param_groups": [group, group]}, "different number of parameter groups: 2, expected 1"),
        ({**good, "param_groups": [{**group, "params": [0]}]}, "a parameter group of 1 parameters, expected 2"),
        ({**good, "param_groups": [{**group, "lr": -1}]}, "Invalid learning rate"),
        ({**good, "state": {0: buffer}}, r"momentum_buffer has shape \(5,\), expected \(2,\)"),
        ({**good, "state": {7: buffer}}, r"no group names: \[7\]"),
    ]:
        with pytest.raises(ValueError, match=message):
            opt.load_state_dict(bad)
    assert opt.param_groups[0]["lr"] == 0.5
    opt.load_state_dict(good)
    assert opt.state[p]["momentum_buffer"].tolist() == [1, 1]
    assert not np.shares_memory(opt.state[p]["momentum_buffer"].array, good["state"][0]["momentum_buffer"].array)


# Schedules

SCHEDULES = [
    ("StepLR", {"step_size": 3, "gamma": 0.5}),
    ("MultiStepLR", {"milestones": [2, 5, 5, 9], "gamma": 0.3}),
    ("ExponentialLR", {"gamma": 0.9}),
    ("LinearLR", {"start_factor": 0.2, "end_factor": 0.8, "total_iters": 7}),
    ("LinearLR", {}),
    ("ConstantLR", {"factor": 0.25, "total_iters": 3}),
    ("PolynomialLR", {"total_iters": 9, "power": 2.0}),
    (
        "SequentialLR",
        {
            "schedulers": [("LinearLR", {}), ("CosineAnnealingLR", {"T_max": 6}), ("StepLR", {"step_size": 2})],
            "milestones": [4, 11],
        },
    ),
    ("CosineAnnealingLR", {"T_max": 6, "eta_min": 0.01}),
    ("CosineAnnealingLR", {"T_max": 1}),
    ("CosineAnnealingWarmRestarts", {"T_0": 3}),
    ("CosineAnnealingWarmRestarts", {"T_0": 2, "T_mult": 3, "eta_min": 0.01}),
    ("LambdaLR", {"lr_lambda": lambda epoch: 0.95**epoch}),
    ("LambdaLR", {"lr_lambda": [lambda epoch: 0.95**epoch, lambda epoch: 1 / (epoch + 1)]}),
    ("OneCycleLR", {"max_lr": 0.3, "total_steps": 24, "cycle_momentum": True}),
    ("OneCycleLR", {"max_lr": [0.3, 0.1], "epochs": 4, "steps_per_epoch": 6, "anneal_strategy": "linear"}),
    ("OneCycleLR", {"max_lr": 0.3, "total_steps": 24, "three_phase": True, "cycle_momentum": False}),
]


def optimizers(torch, name="SGD"):
    p = [[rg.zeros(1, requires_grad=True)], [rg.zeros(1, requires_grad=True)]]
    q = [[torch.zeros(1, requires_grad=True)], [torch.zeros(1, requires_grad=True)]]
    options = {"momentum": 0.9} if name == "SGD" else {}
    return (
        getattr(optim, name)([{"params": p[0]}, {"params": p[1], "lr": 0.05}], lr=0.2, **options),
        getattr(torch.optim, name)([{"params": q[0]}, {"params": q[1], "lr": 0.05}], lr=0.2, **options),
    )


def scheduled(library, name, optimizer, options):
    if "schedulers" in options:
        parts = [scheduled(library, n, optimizer, o) for n, o in options["schedulers"]]
        options = {**options, "schedulers": parts}
    return getattr(library.lr_scheduler, name)(optimizer, **options)


def options_of(optimizer):
    return [
        [group["lr"], group["momentum"] if "momentum" in group else group["betas"][0]]
        for group in optimizer.param_groups
    ]


@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
@pytest.mark.parametrize(("name", "options"), SCHEDULES)
def test_schedules_equal_pytorchs(torch, name, options, optimizer):
    mine, peer = optimizers(torch, optimizer)
    ours, theirs = scheduled(optim, name, mine, options), scheduled(torch.optim, name, peer, options)
    for _ in range(24):
        np.testing.assert_allclose(options_of(mine), options_of(peer), rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(ours.get_last_lr(), theirs.get_last_lr(), rtol=1e-12, atol=1e-15)
        mine.step()
        peer.step()
        ours.step()
        theirs.step()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"mode": "max", "threshold": 0.1},
        {"patience": 1, "cooldown": 2, "factor": 0.5},
        {"patience": 0, "threshold": 0.2, "threshold_mode": "abs", "min_lr": [0.01, 0.02]},
        {"mode": "max", "patience": 2, "threshold_mode": "abs", "eps": 1e-3},
    ],
)
def test_reduce_on_plateau_equals_pytorchs(torch, options):
    mine, peer = optimizers(torch)
    ours = optim.lr_scheduler.ReduceLROnPlateau(mine, **options)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(peer, **options)
    rng = np.random.default_rng(5)
    for i, metric in enumerate([*rng.normal(size=30), *np.full(20, 0.3), float("nan")]):
        ours.step(rg.tensor(metric) if i % 2 else metric)
        theirs.step(metric)
        np.testing.assert_allclose(options_of(mine), options_of(peer), rtol=1e-12)
        assert ours.get_last_lr() == [group["lr"] for group in mine.param_groups]


@pytest.mark.parametrize(("name", "options"), SCHEDULES)
def test_schedules_go_on_from_their_state(torch, name, options):
    def made():
        opt = optimizers(torch)[0]
        return opt, scheduled(optim, name, opt, options)

    (opt, schedule), (resumed_opt, resumed) = made(), made()
    for _ in range(5):
        schedule.step()
    resumed_opt.load_state_dict(opt.state_dict())
    resumed.load_state_dict(schedule.state_dict())
    assert "optimizer" not in schedule.state_dict()
    for _ in range(5):
        schedule.step()
        resumed.step()
        assert options_of(opt) == options_of(resumed_opt)
        assert schedule.last_epoch == resumed.last_epoch


def test_schedules_resume_by_epoch():
    p = rg.zeros(1, requires_grad=True)
    opt = optim.SGD([p], lr=1.0)
    with pytest.raises(KeyError, match="initial_lr"):
        optim.lr_scheduler.LambdaLR(opt, lambda epoch: epoch, last_epoch=3)
    optim.lr_scheduler.LambdaLR(opt, lambda epoch: 1.0)
    optim.lr_scheduler.LambdaLR(opt, lambda epoch: epoch, last_epoch=3)
    assert opt.param_groups[0]["lr"] == 4.0


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("StepLR", {"step_size": 0}, "step_size is 0"),
        ("ConstantLR", {"factor": 0.0}, "factor is 0"),
        ("SequentialLR", {"schedulers": [], "milestones": [1]}, "1 milestones for 0 schedulers"),
        ("LinearLR", {"start_factor": 0}, "start_factor is 0"),
        ("LinearLR", {"end_factor": 2}, "end_factor is 2"),
        ("LambdaLR", {"lr_lambda": [abs, abs]}, "2 values for 1 parameter groups"),
        ("OneCycleLR", {"max_lr": 1.0}, "expected total_steps, or epochs and steps_per_epoch"),
        ("OneCycleLR", {"max_lr": 1.0, "total_steps": 0}, "0 steps"),
        ("OneCycleLR", {"max_lr": 1.0, "total_steps": 5, "pct_start": 2.0}, "pct_start is 2.0"),
        ("OneCycleLR", {"max_lr": 1.0, "total_steps": 5, "anneal_strategy": "exp"}, "anneal_strategy is 'exp'"),
        ("ReduceLROnPlateau", {"factor": 1.0}, "factor is 1.0"),
        ("ReduceLROnPlateau", {"mode": "least"}, "mode is 'least'"),
        ("ReduceLROnPlateau", {"threshold_mode": "x"}, "threshold_mode is 'x'"),
    ],
)
def test_bad_schedules_are_refused(name, options, message):
    opt = optim.SGD([rg.zeros(1, requires_grad=True)])
    make = getattr(optim.lr_scheduler, name)
    with pytest.raises(ValueError, match=message):
        make(opt, **options)


def test_only_optimizers_are_scheduled():
    for make in (lambda: optim.lr_scheduler.StepLR(3, 1), lambda: optim.lr_scheduler.ReduceLROnPlateau(3)):
        with pytest.raises(TypeError, match="int is not an Optimizer"):
            make()


def test_one_cycle_ends():
    opt = optim.SGD([rg.zeros(1, requires_grad=True)])
    schedule = optim.lr_scheduler.OneCycleLR(opt, 1.0, total_steps=2)
    schedule.step()
    schedule.step()
    with pytest.raises(ValueError, match="tried to step 3 times; the cycle has 2 steps"):
        schedule.step()
