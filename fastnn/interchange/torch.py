"""PyTorch: fastnn.from_torch reads a torch.nn.Sequential, and MLP.to_torch makes one."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

from fastnn import checks
from fastnn.extras import import_extra
from fastnn.losses import ACTIVATIONS, LOSSES, Huber, Quantile, parse_loss
from fastnn.mlp import MLP

# By the class's name in torch.nn: fastnn's name, and what the arguments must be for the functions to be the same.
# Above Softplus's threshold, 20 by default, PyTorch returns z: that is off by at most log(1 + exp(-20)) = 2.1e-9.
MODULES: dict[str, tuple[str, dict[str, tuple[Any, ...]]]] = {
    "Identity": ("identity", {}),
    "Flatten": ("identity", {"start_dim": (1,), "end_dim": (-1, 1)}),  # of rows that are flat
    "ReLU": ("relu", {}),
    "LeakyReLU": ("leaky_relu", {"negative_slope": (0.01,)}),
    "ELU": ("elu", {"alpha": (1,)}),
    "CELU": ("elu", {"alpha": (1,)}),
    "Softplus": ("softplus", {"beta": (1,), "threshold": (20, 40)}),
    "GELU": ("gelu", {"approximate": ("none",)}),
    "SiLU": ("silu", {}),
    "Sigmoid": ("sigmoid", {}),
    "Tanh": ("tanh", {}),
    "Softmax": ("softmax", {"dim": (-1, 1)}),
    "LogSoftmax": ("log_softmax", {"dim": (-1, 1)}),
}
OWN_MODULES = {"Sin": "sin", "Exp": "exp"}  # which PyTorch has only as functions
HOMOGENEOUS = ("identity", "relu", "leaky_relu")  # f(c z) = c f(z) for c >= 0: dropped before or after is the same


@dataclass
class _Layer:
    """A Linear and what follows it."""

    name: str
    linear: Any
    activation: str = "identity"
    dropout: float = 0.0


def from_torch(
    module: Any,
    *,
    loss: str | Huber | Quantile | None = None,
    l2: float = 0.0,
    seed: int | None = None,
) -> MLP:
    """Make an MLP of a PyTorch network, with the same parameters, copied, and the same dtype.

    PyTorch's networks mostly end in a Linear, and their loss takes its outputs, the logits. An MLP's outputs are what
    its loss's output activation makes of them: with ``loss="cross_entropy"`` it predicts ``softmax(module(x))``, with
    "binary_cross_entropy" ``sigmoid(module(x))`` and with "poisson" ``exp(module(x))``. With the other losses, and
    where the module ends in Softmax or Sigmoid itself, it predicts ``module(x)``, with nothing dropped.

    Parameters
    ----------
    module : torch.nn.Sequential or torch.nn.Linear
        Of Linear, which all have biases or all have none, each followed by at most one activation: ReLU,
        LeakyReLU(0.01), ELU and CELU with alpha 1, Softplus, GELU (the exact one), SiLU, Sigmoid, Tanh or Identity; the
        last one also by Softmax or LogSoftmax. Dropout must be the same after all hidden layers. Sequentials within are
        flattened, and a Flatten is no change to rows that are flat. In float32 or float64, on any device.
    loss : str, Huber or Quantile, optional
        What `MLP` will minimize when it is trained on; by default "mse", and "cross_entropy" if the module ends in
        Softmax. That of PyTorch's CrossEntropyLoss is "cross_entropy", of NLLLoss after LogSoftmax too; of BCELoss and
        BCEWithLogitsLoss "binary_cross_entropy" (for k outputs k times PyTorch's mean); of PoissonNLLLoss "poisson"; of
        L1Loss "mae" and of HuberLoss "huber".
    l2 : float, default 0.0
        Factor of the penalty on the weights, see `MLP`.
    seed : int, optional
        Of the generator that shuffles and drops in a later fit, see `MLP`.

    Returns
    -------
    MLP
        A new network. It knows nothing of an optimizer.

    Raises
    ------
    ValueError
        If a module has no counterpart, computes something of its own (by hooks, a forward of the instance or a
        ``__call__``) or shares parameters with one before it, or the loss does not go with the last one; the message
        names the module by its place in the Sequential. If a parameter is not finite.
    TypeError
        If module is not a PyTorch module, or an argument is of the wrong type.
    ImportError
        Without PyTorch.

    Examples
    --------
    >>> import fastnn, torch
    >>> module = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.Tanh(), torch.nn.Linear(16, 3))
    >>> fastnn.from_torch(module, loss="cross_entropy")
    MLP(4-16-3, tanh-softmax, loss='cross_entropy', dtype=float32)
    """
    torch = import_extra("torch", "torch", "fastnn.from_torch")
    if not isinstance(module, torch.nn.Module):
        raise TypeError(f"module must be a torch.nn.Sequential or a torch.nn.Linear; got {module!r}")
    layers = _read_layers(module, torch)
    first, last = layers[0], layers[-1]
    name = _default_loss(last) if loss is None else parse_loss(loss)[0]
    dropouts = [layer.dropout for layer in layers[:-1]]
    net = MLP(
        [first.linear.in_features, *(layer.linear.out_features for layer in layers)],
        activation=[layer.activation for layer in layers[:-1]],
        output_activation=_output_activation(last, name),
        loss=name if loss is None else loss,
        bias=first.linear.bias is not None,
        l2=l2,
        dropout=dropouts[0] if dropouts else 0.0,
        dtype=str(first.linear.weight.dtype).removeprefix("torch."),
        seed=seed,
    )
    for i, layer in enumerate(layers):
        net.weights[i] = layer.linear.weight.detach().cpu().numpy().T
        if net.bias:
            net.biases[i] = layer.linear.bias.detach().cpu().numpy()
    return net


def to_torch(net: MLP, logits: bool) -> Any:
    """Make a torch.nn.Sequential of a network; `MLP.to_torch` says what it is."""
    torch = import_extra("torch", "torch", "MLP.to_torch")
    outputs = LOSSES[parse_loss(net.loss_function)[0]].output_activations
    if checks.boolean(logits, "logits") and len(outputs) > 1:
        raise ValueError(f"logits must be False with loss {net.loss_function!r}, which is not one of logits; got True")
    net._engine.check_idle()
    dtype = getattr(torch, net.dtype.name)
    *hidden, output = net.activations
    modules = []
    for weights, biases, activation in zip(net.weights, net.biases, [*hidden, None], strict=True):
        # without initial weights, and so without a change to PyTorch's generator
        linear = torch.nn.utils.skip_init(torch.nn.Linear, *weights.shape, bias=biases is not None, dtype=dtype)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(weights.T))
            if biases is not None:
                linear.bias.copy_(torch.from_numpy(biases))
        modules.append(linear)
        if activation is not None:
            modules += _activation(activation, torch, dtype)
            modules += [torch.nn.Dropout(net.dropout)] if net.dropout else []
    if not logits:
        modules += _activation(output, torch, dtype)
    return torch.nn.Sequential(*modules).eval()


def _activation(name: str, torch: Any, dtype: Any) -> list[Any]:
    """Return the module of an activation, or none for the identity."""
    match name:
        case "identity":
            return []
        case "softplus":  # exact in float64 too
            return [torch.nn.Softplus(threshold=20 if dtype == torch.float32 else 40)]
        case "softmax":
            return [torch.nn.Softmax(dim=-1)]
        case "sin" | "exp":
            return [_own_module(name.capitalize())()]
    return [getattr(torch.nn, next(key for key, (value, _) in MODULES.items() if value == name))()]


def _read_layers(module: Any, torch: Any) -> list[_Layer]:
    """Return the layers of a module, each with what follows its Linear."""
    layers: list[_Layer] = []
    for name, each in _flatten(module, torch):
        if _is(each, torch.nn.Linear):
            _check_linear(name, each, layers, torch)
            layers.append(_Layer(name, each))
        elif _is(each, torch.nn.Dropout):
            if each.p:
                _add_dropout(name, each, layers)
        else:
            _add_activation(name, each, layers, torch)
    if not layers:
        raise ValueError(f"module must have a Linear; got {module!r}")
    _check_layers(layers)
    return layers


def _flatten(module: Any, torch: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the modules in order, each as often as it is used, and their names as named_modules has them."""
    _check_call(prefix.rstrip("."), module, torch)
    if not _is(module, torch.nn.Sequential):
        yield prefix.rstrip("."), module
        return
    for name, child in module._modules.items():  # named_children leaves out a module that comes again
        if child is not None:
            yield from _flatten(child, torch, f"{prefix}{name}.")


def _check_call(name: str, module: Any, torch: Any) -> None:
    """Refuse a module that does not do what its class's forward does when it is called."""
    if module._forward_hooks or module._forward_pre_hooks:
        _refuse(name, module, "it has hooks, which may change what it computes")
    if "forward" in vars(module):
        _refuse(name, module, "it has a forward of its own, which may compute anything")
    if type(module).__call__ is not torch.nn.Module.__call__:
        _refuse(name, module, f"{type(module).__name__} has a __call__ of its own, which may compute anything")


def _is(module: Any, cls: Any) -> bool:
    """Whether a module computes what the class does, and not what a subclass made of it."""
    return isinstance(module, cls) and type(module).forward is cls.forward


def _refuse(name: str, module: Any, why: str) -> NoReturn:
    text = " ".join(repr(module).split())
    raise ValueError(f"module {name or 'itself'}, {text}, cannot be taken: {why}")


def _check_linear(name: str, linear: Any, layers: list[_Layer], torch: Any) -> None:
    if any(parameter.is_meta for parameter in linear.parameters()):
        _refuse(name, linear, "its parameters are on the meta device, and so have no values")
    dtypes = {parameter.dtype for parameter in linear.parameters()}
    if not dtypes <= {torch.float32, torch.float64}:
        _refuse(name, linear, f"its dtype is {linear.weight.dtype}, and fastnn has float32 and float64; use .float()")
    first = layers[0].linear if layers else linear
    if dtypes != {first.weight.dtype}:
        _refuse(name, linear, f"it has {linear.weight.dtype} where the first Linear has {first.weight.dtype}")
    if (linear.bias is None) != (first.bias is None):
        _refuse(name, linear, "either all Linear modules have a bias or none; a bias of zeros would do")
    if layers and layers[-1].linear.out_features != linear.in_features:
        _refuse(name, linear, f"it follows a Linear with {layers[-1].linear.out_features} outputs")
    for layer in layers:
        if {*map(id, layer.linear.parameters())} & {*map(id, linear.parameters())}:
            text = (
                f"it shares parameters with {layer.name}, and an MLP's layers have their own; copy.deepcopy makes them"
            )
            _refuse(name, linear, text)


def _add_dropout(name: str, module: Any, layers: list[_Layer]) -> None:
    if not layers:
        _refuse(name, module, "an MLP drops outputs of its hidden layers, not inputs")
    if layers[-1].dropout:
        _refuse(name, module, "another Dropout comes before it")
    if module.p >= 1:
        _refuse(name, module, f"its p must be below 1, for else no output is left; got {module.p!r}")
    layers[-1].dropout = float(module.p)


def _add_activation(name: str, module: Any, layers: list[_Layer], torch: Any) -> None:
    """Give the last layer the activation that a module is."""
    classes = {key: getattr(torch.nn, key) for key in MODULES} | {key: _own_module(key) for key in OWN_MODULES}
    kind = next((key for key, cls in classes.items() if _is(module, cls)), None)
    if kind is None:
        _refuse(name, module, f"an MLP takes Linear, Dropout, {', '.join(MODULES)} and Sequentials of them")
    activation, arguments = MODULES[kind] if kind in MODULES else (OWN_MODULES[kind], {})
    for argument, values in arguments.items():
        if getattr(module, argument) not in values:
            expected = " or ".join(map(repr, values))
            _refuse(name, module, f"its {argument} must be {expected}; got {getattr(module, argument)!r}")
    if activation == "identity":
        return
    if not layers:
        _refuse(name, module, "it comes before the first Linear")
    layer = layers[-1]
    if layer.activation != "identity":
        _refuse(name, module, f"the Linear {layer.name} has an activation already, {layer.activation}")
    if layer.dropout and activation not in HOMOGENEOUS:
        _refuse(name, module, "it comes after the Dropout, and an MLP drops what comes out of the activation")
    layer.activation = activation


def _check_layers(layers: list[_Layer]) -> None:
    """Refuse what only all layers together show."""
    *hidden, last = layers
    for layer in hidden:
        if layer.activation not in ACTIVATIONS:
            _refuse(layer.name, layer.linear, f"{layer.activation} after it is for the last layer alone")
        if layer.dropout != hidden[0].dropout:
            text = (
                f"{layer.dropout} is dropped after it, and {hidden[0].dropout} after the first; an MLP has one dropout"
            )
            _refuse(layer.name, layer.linear, text)
    if last.dropout:
        _refuse(last.name, last.linear, "a Dropout follows it, and an MLP drops outputs of its hidden layers alone")


def _default_loss(last: _Layer) -> str:
    """Return the loss for a network that ends so: that whose own output it has, or mse."""
    return {"softmax": "cross_entropy", "exp": "poisson"}.get(last.activation, "mse")


def _output_activation(last: _Layer, loss: str) -> str:
    """Return the output activation of the network, if the loss takes what the module ends in."""
    outputs = LOSSES[loss].output_activations
    if last.activation in outputs:
        return last.activation
    if len(outputs) == 1 and (
        last.activation == "identity" or (last.activation, *outputs) == ("log_softmax", "softmax")
    ):
        return outputs[0]
    expected = f"in logits or {outputs[0]}" if len(outputs) == 1 else f"in one of {', '.join(outputs)}"
    hint = {"log_softmax": "cross_entropy", "softmax": "cross_entropy", "exp": "poisson"}.get(last.activation)
    advice = f"; pass loss={hint!r}" if hint and hint != loss else ""
    raise ValueError(f"with loss {loss!r} the module must end {expected}; got {last.activation}{advice}")


def __getattr__(name: str) -> Any:
    """Define Sin or Exp when it is first asked for, here or by pickle: its base class is PyTorch's (PEP 562)."""
    if name not in OWN_MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    torch = import_extra("torch", "torch", f"{__name__}.{name}")
    function = getattr(torch, OWN_MODULES[name])

    def forward(self: Any, z: Any) -> Any:
        return function(z)

    members = {"__module__": __name__, "__doc__": f"torch.{OWN_MODULES[name]} as a module.", "forward": forward}
    cls = globals()[name] = type(name, (torch.nn.Module,), members)
    return cls


def _own_module(name: str) -> Any:
    return getattr(sys.modules[__name__], name)
