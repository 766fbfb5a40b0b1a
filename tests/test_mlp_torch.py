"""MLP and the reference against PyTorch, in float64: losses, gradients, the optimizers' trajectories, schedules."""

import warnings

import networks
import numpy as np
import pytest
import reference_mlp as reference

import fastnn

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")

torch.set_num_threads(1)  # for these sizes more would only wait for each other
ACTIVATIONS = {
    "identity": torch.nn.Identity,
    "sigmoid": torch.nn.Sigmoid,
    "tanh": torch.nn.Tanh,
    "relu": torch.nn.ReLU,
    "leaky_relu": torch.nn.LeakyReLU,
    "elu": torch.nn.ELU,
    "softplus": torch.nn.Softplus,
    "gelu": torch.nn.GELU,
    "silu": torch.nn.SiLU,
    "sin": lambda: torch.sin,
}
# of the pre-activations z; poisson without PyTorch's constant term, which is off by default
LOSSES = {
    "sse": lambda k: torch.nn.MSELoss(reduction="sum"),
    "mse": lambda k: torch.nn.MSELoss(),
    "mae": lambda k: torch.nn.L1Loss(),
    "huber": lambda k: torch.nn.HuberLoss(delta=1.0),
    "quantile": lambda k: lambda z, y: torch.maximum(0.25 * (y - z), -0.75 * (y - z)).mean(),
    "poisson": lambda k: torch.nn.PoissonNLLLoss(log_input=True),
    "binary_cross_entropy": lambda k: lambda z, y: k * torch.nn.functional.binary_cross_entropy_with_logits(z, y),
    "cross_entropy": lambda k: torch.nn.CrossEntropyLoss(),
}
RATE = 2.0**-6
OPTIMIZERS = {
    "SGD": (
        lambda: fastnn.SGD(RATE),
        reference.SGD,
        lambda p: torch.optim.SGD(p, lr=RATE),
    ),
    "momentum": (
        lambda: fastnn.SGD(RATE, momentum=0.9),
        lambda: reference.SGD(0.9),
        lambda p: torch.optim.SGD(p, lr=RATE, momentum=0.9),
    ),
    "nesterov": (
        lambda: fastnn.SGD(RATE, momentum=0.9, nesterov=True),
        lambda: reference.SGD(0.9, True),
        lambda p: torch.optim.SGD(p, lr=RATE, momentum=0.9, nesterov=True),
    ),
    "RMSProp": (
        lambda: fastnn.RMSProp(RATE),
        reference.RMSProp,
        lambda p: torch.optim.RMSprop(p, lr=RATE),
    ),
    "Adam": (
        lambda: fastnn.Adam(RATE),
        reference.Adam,
        lambda p: torch.optim.Adam(p, lr=RATE),
    ),
    "AdamW": (
        lambda: fastnn.AdamW(RATE),
        lambda: reference.Adam(weight_decay=0.01),
        lambda p: torch.optim.AdamW(p, lr=RATE),
    ),
}


class Model:
    """PyTorch's network with the described one's parameters."""

    def __init__(self, described):
        self.layers = []
        for weights, biases in reference.layers(described, networks.parameters(described)):
            layer = torch.nn.Linear(*weights.shape, bias=described.bias, dtype=torch.float64)
            with torch.no_grad():
                layer.weight.copy_(torch.from_numpy(weights.T))
                if described.bias:
                    layer.bias.copy_(torch.from_numpy(biases))
            self.layers.append(layer)
        own = described.loss in networks.OWN_OUTPUT  # these losses take the pre-activations
        names = (*described.activations[:-1], "identity" if own else described.activations[-1])
        self.activations = [ACTIVATIONS[name]() for name in names]
        self.loss = LOSSES[described.loss](described.sizes[-1])

    def __call__(self, x):
        for layer, activation in zip(self.layers, self.activations, strict=True):
            x = activation(layer(x))
        return x

    def parameters(self):
        return [p for layer in self.layers for p in layer.parameters()]

    @staticmethod
    def flat(tensors):
        return np.concatenate([t.detach().numpy().T.ravel() for t in tensors])


def describe(sizes, activation, loss, **options):
    return networks.network(sizes, activation, loss, parameter=0.25 if loss == "quantile" else None, **options)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_loss_and_gradients(loss, activation):
    """rtol: sums of a few dozen terms in another order."""
    output = activation if loss in networks.FREE_LOSSES else None
    described = describe((4, 9, 5, 3), activation, loss, output=output)
    x, y, _ = networks.data(described, 20)
    model, net = Model(described), networks.mlp(described)
    inputs = torch.from_numpy(x).requires_grad_()
    value = model.loss(model(inputs), torch.from_numpy(y))
    value.backward()
    gradient, dx = Model.flat([p.grad for p in model.parameters()]), inputs.grad.numpy()
    parameters = networks.parameters(described)
    found = [
        (reference.objective(described, parameters, x, y), *reference.gradients(described, parameters, x, y)),
        (*net.loss_and_gradient(x, y), net.input_gradient(x, y)),
    ]
    for who, (got, got_gradient, got_dx) in zip(("reference", "fastnn"), found, strict=True):
        assert got == pytest.approx(value.item(), rel=1e-14), who
        np.testing.assert_allclose(got_gradient, gradient, rtol=0, atol=1e-14 * np.abs(gradient).max(), err_msg=who)
        np.testing.assert_allclose(got_dx, dx, rtol=0, atol=1e-14 * np.abs(dx).max(), err_msg=who)


@pytest.mark.parametrize("output", ["exp", "sigmoid", "softmax"])
def test_outputs_and_jacobian(output):
    loss = {name: loss for loss, name in networks.OWN_OUTPUT.items()}[output]
    described = describe((4, 9, 3), "tanh", loss)
    x, _, _ = networks.data(described, 6)
    model, net = Model(described), networks.mlp(described)
    model.activations[-1] = {"exp": torch.exp, "sigmoid": torch.sigmoid, "softmax": lambda z: z.softmax(-1)}[output]
    np.testing.assert_allclose(net.predict(x), model(torch.from_numpy(x)).detach().numpy(), rtol=1e-14)
    expected = [torch.autograd.functional.jacobian(model, row).numpy() for row in torch.from_numpy(x)]
    np.testing.assert_allclose(net.jacobian(x), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("loss", LOSSES)
def test_trajectories(optimizer, loss):
    """Four epochs of three batches, the last of them smaller."""
    ours, references, theirs = OPTIMIZERS[optimizer]
    for activation in ("relu", "tanh", "gelu"):
        described = describe((4, 9, 5, 3), activation, loss)
        x, y, _ = networks.data(described, 20)
        model, net = Model(described), networks.mlp(described)
        stepper, losses = theirs(model.parameters()), []
        for _ in range(4):
            total = 0
            for start in range(0, 20, 8):
                rows = slice(start, start + 8)
                stepper.zero_grad()
                value = model.loss(model(torch.from_numpy(x[rows])), torch.from_numpy(y[rows]))
                value.backward()
                stepper.step()
                total += value.item() * len(x[rows])
            losses.append(total / 20)
        history = net.fit(x, y, epochs=4, batch_size=8, optimizer=ours(), shuffle=False)
        orders = [np.arange(20)] * 4
        fit = reference.fit(described, networks.parameters(described), x, y, references(), orders, RATE, 8)
        expected = Model.flat(model.parameters())
        # steps divided by the root of a small mean square amplify rounding by the inverse of the gradient
        found = {"reference": (fit.parameters, fit.loss), "fastnn": (net.parameters, history.loss)}
        for who, (parameters, found_losses) in found.items():
            np.testing.assert_allclose(parameters, expected, rtol=0, atol=1e-11, err_msg=f"{who}, {activation}")
            np.testing.assert_allclose(found_losses, losses, rtol=1e-11, err_msg=f"{who}, {activation}")


@pytest.mark.parametrize("max_norm", [0.125, 1e3])
def test_clipping(max_norm):
    described = describe((4, 9, 3), "tanh", "sse")
    x, y, _ = networks.data(described, 20)
    model, net = Model(described), networks.mlp(described)
    stepper = torch.optim.SGD(model.parameters(), lr=RATE)
    for _ in range(5):
        stepper.zero_grad()
        model.loss(model(torch.from_numpy(x)), torch.from_numpy(y)).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)
        stepper.step()
    net.fit(x, y, epochs=5, batch_size=None, shuffle=False, optimizer=fastnn.SGD(RATE, clip_norm=max_norm))
    # PyTorch adds 1e-6 to the norm
    np.testing.assert_allclose(
        net.parameters, Model.flat(model.parameters()), rtol=0, atol=1e-6 if max_norm < 1 else 1e-13
    )


@pytest.mark.parametrize("name", ["StepDecay", "ExponentialDecay", "CosineDecay"])
def test_schedules(name):
    stepper = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    ours, theirs = {
        "StepDecay": (fastnn.StepDecay(0.5, 0.25, 3), torch.optim.lr_scheduler.StepLR(stepper, 3, 0.25)),
        "ExponentialDecay": (fastnn.ExponentialDecay(0.5, 0.75), torch.optim.lr_scheduler.ExponentialLR(stepper, 0.75)),
        "CosineDecay": (
            fastnn.CosineDecay(0.5, 10, 0.125),
            torch.optim.lr_scheduler.CosineAnnealingLR(stepper, 10, 0.125),
        ),
    }[name]
    for epoch in range(10):
        assert float(ours(epoch)) == pytest.approx(stepper.param_groups[0]["lr"], rel=1e-12)
        stepper.step()
        theirs.step()
