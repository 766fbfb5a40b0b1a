"""fastnn.from_torch and MLP.to_torch: the same parameters, and outputs within rounding."""

import pickle
import sys
import threading
import warnings
from collections import OrderedDict

import networks
import numpy as np
import pytest
import rounding

import fastnn

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")

nn = torch.nn
torch.set_num_threads(1)  # for these sizes more would only wait for each other
CASES = [
    *((sizes, "tanh", "mse", None) for sizes in networks.SIZES),
    *(((3, 9, 5, 2), activation, "mse", activation) for activation in networks.ACTIVATIONS),
    *(((3, 9, 2), "gelu", loss, output) for loss, output in networks.OWN_OUTPUT.items()),
    ((3, 4, 5, 6, 2), ("relu", "identity", "sin"), "huber", None),
]


def describe(case, bias=True):
    sizes, activation, loss, output = case
    return networks.network(sizes, activation, loss, output, bias=bias)


def rows(described, dtype, n=40):
    """Rows, some of them far out, and the bound on the difference of two computations from them."""
    x = networks.data(described, n)[0] * np.logspace(-2, 1.5, n)[:, None]
    x = x.astype(np.float32).astype(float)
    bound = rounding.output(described, networks.parameters(described), x, np.finfo(dtype).eps)
    return x.astype(dtype), 2 * bound


def torch_outputs(module, x):
    with torch.no_grad():
        return module(torch.from_numpy(x)).numpy()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_there_and_back(case, bias, dtype):
    described = describe(case, bias)
    net = networks.mlp(described, dtype)
    module = net.to_torch()
    x, bound = rows(described, dtype)
    outputs = torch_outputs(module, x)
    assert outputs.dtype == dtype
    rounding.assert_within(outputs, net.predict(x), bound)
    again = fastnn.from_torch(module, loss=net.loss_function)
    assert repr(again) == repr(net)
    assert again.bias == bias
    assert np.array_equal(again.parameters, net.parameters)
    assert np.array_equal(again.predict(x), net.predict(x))


def test_a_copy_shares_nothing():
    net = fastnn.MLP([2, 3, 1], seed=0)
    module = net.to_torch()
    again = fastnn.from_torch(module)
    before = net.parameters.copy()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(0)
    assert np.array_equal(net.parameters, before)
    assert np.array_equal(again.parameters, before)
    module[0].requires_grad_(False)
    fastnn.from_torch(module)


def test_torchs_generator_is_left_alone():
    torch.manual_seed(0)
    first = torch.rand(1)
    torch.manual_seed(0)
    fastnn.MLP([2, 3, 1]).to_torch()
    assert torch.rand(1) == first


@pytest.mark.parametrize(
    ("loss", "activation", "outputs"),
    [
        ("cross_entropy", "softmax", lambda z: z.softmax(-1)),
        ("binary_cross_entropy", "sigmoid", torch.sigmoid),
        ("poisson", "exp", torch.exp),
    ],
)
def test_logits(loss, activation, outputs):
    """A network of logits, as PyTorch trains it, predicts what the loss's output activation makes of them."""
    torch.manual_seed(1)
    module = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)).double()
    net = fastnn.from_torch(module, loss=loss)
    assert net.activations[-1] == activation
    x = torch.randn(20, 4, dtype=torch.float64)
    with torch.no_grad():
        np.testing.assert_allclose(net.predict(x.numpy()), outputs(module(x)).numpy(), rtol=1e-14)
        np.testing.assert_array_equal(net.to_torch(logits=True)(x), module(x))


@pytest.mark.parametrize("loss", ["cross_entropy", "binary_cross_entropy"])
def test_training_goes_on_as_pytorchs_does(loss):
    torch.manual_seed(2)
    module = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 1 if loss.startswith("b") else 3)).double()
    net = fastnn.from_torch(module, loss=loss)
    x = torch.randn(20, 4, dtype=torch.float64)
    if loss == "cross_entropy":
        y, criterion = torch.randint(3, (20,)), nn.CrossEntropyLoss()
    else:
        y, criterion = torch.randint(2, (20, 1)).double(), nn.BCEWithLogitsLoss()
    optimizer = torch.optim.Adam(module.parameters())
    for _ in range(10):
        optimizer.zero_grad()
        criterion(module(x), y).backward()
        optimizer.step()
    net.fit(x.numpy(), y.numpy(), epochs=10, batch_size=None)
    expected = np.concatenate([p.detach().numpy().T.ravel() for p in module.parameters()])
    np.testing.assert_allclose(net.parameters, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("module", "text"),
    [
        (nn.Linear(3, 2), "MLP(3-2, identity, loss='mse', dtype=float32)"),
        (nn.Sequential(nn.Linear(3, 2), nn.Softmax(1)), "MLP(3-2, softmax, loss='cross_entropy', dtype=float32)"),
        (nn.Sequential(nn.Linear(3, 2), nn.Sigmoid()), "MLP(3-2, sigmoid, loss='mse', dtype=float32)"),
        (
            nn.Sequential(
                nn.Flatten(),
                nn.Sequential(nn.Linear(3, 4), nn.Sequential(nn.CELU()), nn.Identity(), nn.Dropout(0.0)),
                nn.Linear(4, 2),
            ),
            "MLP(3-4-2, elu-identity, loss='mse', dtype=float32)",
        ),
        (
            nn.Sequential(OrderedDict(first=nn.Linear(3, 4), second=nn.Linear(4, 2))).double(),
            "MLP(3-4-2, identity-identity, loss='mse', dtype=float64)",
        ),
    ],
    ids=["linear", "softmax", "sigmoid", "nested", "no activation"],
)
def test_what_modules_become(module, text):
    net = fastnn.from_torch(module)
    assert repr(net) == text
    x = np.random.default_rng(0).normal(size=(5, 3)).astype(net.dtype)
    np.testing.assert_allclose(net.predict(x), torch_outputs(module, x), rtol=1e-5, atol=1e-6)


def test_a_module_that_is_used_again():
    """Each time counts, and one that is None not at all."""
    torch.manual_seed(3)
    relu, dropout, sigmoid = nn.ReLU(), nn.Dropout(0.25), nn.Sigmoid()
    hidden = nn.Sequential(relu, dropout)
    cases = {
        "5-5-2, relu-relu-identity": nn.Sequential(
            nn.Linear(4, 5), relu, nn.Linear(5, 5), relu, nn.Linear(5, 2)
        ),
        "5-2, sigmoid-sigmoid": nn.Sequential(nn.Linear(4, 5), sigmoid, nn.Linear(5, 2), sigmoid),
        "5-6-2, relu-relu-identity": nn.Sequential(
            nn.Linear(4, 5), hidden, nn.Linear(5, 6), hidden, nn.Linear(6, 2)
        ).eval(),
    }  # fmt: skip
    for described, module in cases.items():
        module.register_module("absent", None)
        net = fastnn.from_torch(module)
        assert repr(net).startswith(f"MLP(4-{described}, loss='mse'")
        del module.absent  # which PyTorch cannot call
        x = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
        np.testing.assert_allclose(net.predict(x), torch_outputs(module, x), rtol=1e-5, atol=1e-6)
    assert net.dropout == 0.25


def test_arguments():
    net = fastnn.from_torch(nn.Linear(3, 2), loss=fastnn.Quantile(0.9), l2=0.5, seed=3)
    assert (net.loss_function, net.l2) == (fastnn.Quantile(0.9), 0.5)
    twin = fastnn.from_torch(net.to_torch(), loss=fastnn.Quantile(0.9), l2=0.5, seed=3)
    x = np.random.default_rng(0).normal(size=(50, 3))
    for each in (net, twin):
        each.fit(x, x[:, :2])  # the seed shuffles
    assert np.array_equal(net.parameters, twin.parameters)


def test_dropout():
    net = fastnn.MLP([3, 4, 5, 2], dropout=0.25, seed=0)
    module = net.to_torch()
    assert [type(each).__name__ for each in module] == [
        "Linear",
        "ReLU",
        "Dropout",
        "Linear",
        "ReLU",
        "Dropout",
        "Linear",
    ]
    assert not module.training  # so that its outputs are those of predict
    assert {each.p for each in module if isinstance(each, nn.Dropout)} == {0.25}
    assert fastnn.from_torch(module).dropout == 0.25
    before = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.ReLU(), nn.Linear(4, 2))
    assert fastnn.from_torch(before).dropout == 0.5


class Doubled(nn.Linear):
    """A subclass that computes something else."""

    def forward(self, x):
        return 2 * super().forward(x)


def hooked():
    module = nn.Sequential(nn.Linear(3, 2))
    module[0].register_forward_hook(lambda module, arguments, output: 2 * output)
    return module


class DoubledCall(nn.Sequential):
    """A subclass that computes something else when it is called."""

    def __call__(self, x):
        return 2 * super().__call__(x)


def with_forward(module):
    module.forward = lambda x: 2 * x
    return module


def tied():
    one, other = nn.Linear(3, 3), nn.Linear(3, 3)
    other.weight = one.weight
    return nn.Sequential(one, nn.ReLU(), other)


def twice(shared):
    return nn.Sequential(shared, nn.ReLU(), shared)


@pytest.mark.parametrize(
    ("module", "match"),
    [
        (with_forward(nn.Sequential(nn.Linear(3, 3))), r"module itself.*a forward of its own"),
        (nn.Sequential(nn.Linear(3, 3), with_forward(nn.ReLU())), r"module 1, ReLU\(\).*a forward of its own"),
        (DoubledCall(nn.Linear(3, 3)), r"module itself.*DoubledCall has a __call__ of its own"),
        (nn.Sequential(DoubledCall(nn.Linear(3, 3))), r"module 0.*DoubledCall has a __call__"),
        (twice(nn.Linear(3, 3)), r"module 2, Linear.*it shares parameters with 0, and"),
        (tied(), r"module 2, Linear.*it shares parameters with 0, and"),
        (nn.Sequential(nn.Linear(3, 3, device="meta")), r"module 0, Linear.*on the meta device"),
        (nn.Sequential(nn.Linear(3, 4), nn.Dropout(1.0), nn.Linear(4, 1)), r"module 1, Dropout.*below 1.*got 1.0"),
        (nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)), r"module 1, BatchNorm1d\(4.*an MLP takes Linear, Dropout"),
        (nn.Sequential(nn.Conv1d(1, 1, 1)), r"module 0, Conv1d\(1"),
        (nn.Sequential(nn.Linear(3, 4), nn.GELU("tanh")), r"module 1.*approximate must be 'none'; got 'tanh'"),
        (nn.Sequential(nn.Linear(3, 4), nn.LeakyReLU(0.2)), r"module 1.*negative_slope must be 0.01; got 0.2"),
        (nn.Sequential(nn.Linear(3, 4), nn.ELU(0.5)), r"module 1.*alpha must be 1; got 0.5"),
        (nn.Sequential(nn.Linear(3, 4), nn.Softplus(2)), r"beta must be 1; got 2"),
        (nn.Sequential(nn.Linear(3, 4), nn.Softplus(threshold=3)), r"threshold must be 20 or 40; got 3"),
        (nn.Sequential(nn.Linear(3, 4), nn.Softmax(dim=0)), r"dim must be -1 or 1; got 0"),
        (nn.Sequential(nn.Flatten(2), nn.Linear(3, 4)), r"start_dim must be 1; got 2"),
        (nn.Sequential(nn.ReLU(), nn.Linear(3, 4)), r"module 0, ReLU\(\).*before the first Linear"),
        (nn.Sequential(nn.Linear(3, 4), nn.Sequential(nn.ReLU(), nn.Tanh())), r"module 1.1, Tanh\(\).*activation alr"),
        (nn.Sequential(nn.Dropout(), nn.Linear(3, 4)), r"module 0, Dropout.*not inputs"),
        (nn.Sequential(nn.Linear(3, 4), nn.Dropout()), r"module 0.*a Dropout follows it"),
        (nn.Sequential(nn.Linear(3, 4), nn.Dropout(), nn.Dropout(), nn.Linear(4, 1)), r"module 2.*another Dropout"),
        (nn.Sequential(nn.Linear(3, 4), nn.Dropout(), nn.Tanh(), nn.Linear(4, 1)), r"module 2.*after the Dropout"),
        (nn.Sequential(nn.Linear(1, 1), nn.Dropout(), nn.Linear(1, 1), nn.Linear(1, 1)), r"module 2.*0.0 is dropped"),
        (nn.Sequential(nn.Linear(3, 4), nn.Softmax(-1), nn.Linear(4, 1)), r"module 0.*softmax after it is"),
        (nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 1, bias=False)), r"module 1.*have a bias or none"),
        (nn.Sequential(nn.Linear(3, 4), nn.Linear(5, 1)), r"module 1.*follows a Linear with 4 outputs"),
        (nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 1).double()), r"module 1.*float64 where the first"),
        (nn.Linear(3, 4).half(), r"module itself.*its dtype is torch.float16.*use .float\(\)"),
        (nn.Sequential(nn.Linear(3, 4), Doubled(4, 2)), r"module 1, Doubled"),
        (hooked(), r"module 0.*hooks"),
        (nn.Sequential(nn.Tanh()), r"module 0.*before the first Linear"),
        (nn.Sequential(), "module must have a Linear"),
    ],
)  # fmt: skip
def test_what_cannot_be_taken(module, match):
    with pytest.raises(ValueError, match=match):
        fastnn.from_torch(module)


@pytest.mark.parametrize(
    ("last", "loss", "match"),
    [
        (
            nn.Softmax(-1),
            "mse",
            "with loss 'mse' the module must end in one of.*got softmax; pass loss='cross_entropy'",
        ),
        (nn.LogSoftmax(-1), None, "with loss 'mse'.*got log_softmax; pass loss='cross_entropy'"),
        (nn.Tanh(), "cross_entropy", "with loss 'cross_entropy' the module must end in logits or softmax; got tanh$"),
        (nn.Softmax(-1), "binary_cross_entropy", "in logits or sigmoid; got softmax"),
        (nn.Identity(), "nonsense", "loss must be one of"),
    ],
)
def test_losses_that_do_not_go_with_the_end(last, loss, match):
    with pytest.raises(ValueError, match=match):
        fastnn.from_torch(nn.Sequential(nn.Linear(3, 2), last), loss=loss)


def test_parameters_that_are_not_finite():
    module = nn.Linear(3, 2)
    with torch.no_grad():
        module.weight[0, 1] = float("nan")
    with pytest.raises(ValueError, match=r"weights\[0\] must be finite"):
        fastnn.from_torch(module)


def test_wrong_types():
    with pytest.raises(TypeError, match=r"module must be a torch.nn.Sequential or a torch.nn.Linear; got 3"):
        fastnn.from_torch(3)
    net = fastnn.MLP([3, 2], loss="cross_entropy")
    with pytest.raises(TypeError, match="logits must be True or False; got 1"):
        net.to_torch(logits=1)
    with pytest.raises(ValueError, match="logits must be False with loss 'mse'"):
        fastnn.MLP([3, 2]).to_torch(logits=True)


def test_the_modules_of_our_own():
    module = fastnn.MLP([2, 3, 1], activation="sin", loss="poisson", seed=0).to_torch()
    x = torch.ones(1, 2)
    assert pickle.loads(pickle.dumps(module))(x) == module(x)
    assert torch.export.export(module, (x,)).module()(x) == module(x)
    assert repr(fastnn.from_torch(module)) == "MLP(2-3-1, sin-exp, loss='poisson', dtype=float32)"
    from fastnn.interchange import torch as ours

    assert isinstance(module[1], ours.Sin)
    with pytest.raises(AttributeError, match="has no attribute 'Nonsense'"):
        ours.Nonsense  # noqa: B018 - the access is the test


def test_while_another_thread_trains():
    net = fastnn.MLP([2, 3, 1])
    other = threading.Thread(target=net._engine.acquire)
    other.start()
    other.join()
    with pytest.raises(RuntimeError, match="in use by another thread"):
        net.to_torch()


def test_without_pytorch(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match=r'^MLP.to_torch needs PyTorch; run: pip install "fastnn-cpu\[torch\]"$'):
        fastnn.MLP([2, 1]).to_torch()
    with pytest.raises(ImportError, match=r"^fastnn.from_torch needs PyTorch"):
        fastnn.from_torch(None)
