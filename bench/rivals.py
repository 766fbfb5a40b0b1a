"""Ways to train the book's network, each a class with a name, a version, `reset()` and `run()`, the whole training.

All train on the book's four rows from the weights that NumPy's generator gives for SEED. `statement` is what is timed,
`iterations` how many it does; `weights1`, `weights2` and `output` are compared before that.
"""

import ctypes
import ctypes.util
from importlib import metadata

import numpy as np

import fastnn

X = np.array([[0, 0, 1], [0, 1, 1], [1, 0, 1], [1, 1, 1]])
Y = np.array([[0], [1], [1], [0]])
HIDDEN = 4
ITERATIONS = 1500
SEED = 0


def initial_weights():
    """Return weights1 and weights2 as the book draws them."""
    generator = np.random.RandomState(SEED)
    return generator.rand(X.shape[1], HIDDEN), generator.rand(HIDDEN, Y.shape[1])


def sigmoid(x):
    return 1.0 / (1 + np.exp(-x))


def sigmoid_derivative(a):
    return a * (1.0 - a)


class WholeTraining:
    """Timed in one piece."""

    statement = "network.run()"
    iterations = ITERATIONS


class PythonLoop:
    """Timed as a Python loop over two methods."""

    statement = "network.feedforward(); network.backprop()"
    iterations = 1

    def run(self):
        """Run the book's loop."""
        for _ in range(ITERATIONS):
            self.feedforward()
            self.backprop()


class NumPyNetwork(PythonLoop):
    """The book's class in NumPy, on the book's integer arrays."""

    name = "NumPy"
    version = np.__version__

    def __init__(self):
        self.input, self.y = X, Y
        self.reset()

    def reset(self):
        """Start over from the initial weights."""
        self.weights1, self.weights2 = initial_weights()

    def feedforward(self):
        """Compute layer1 and output."""
        self.layer1 = sigmoid(np.dot(self.input, self.weights1))
        self.output = sigmoid(np.dot(self.layer1, self.weights2))

    def backprop(self):
        """Update both weight arrays."""
        delta2 = 2 * (self.y - self.output) * sigmoid_derivative(self.output)
        delta1 = np.dot(delta2, self.weights2.T) * sigmoid_derivative(self.layer1)
        self.weights2 += np.dot(self.layer1.T, delta2)
        self.weights1 += np.dot(self.input.T, delta1)


class FastnnTrain(WholeTraining, fastnn.NeuralNetwork):
    """fastnn with its whole loop in one call, which also records the losses."""

    name = "fastnn train"
    version = fastnn.__version__

    def __init__(self):
        super().__init__(X, Y, hidden=HIDDEN)
        self.reset()

    def reset(self):
        """Start over from the initial weights."""
        self.weights1, self.weights2 = initial_weights()

    def run(self):
        """Train in one call."""
        self.train(ITERATIONS)


class FastnnMethods(PythonLoop, FastnnTrain):
    """fastnn with the book's two methods called from Python."""

    name = "fastnn methods"


class JaxNetwork(WholeTraining):
    """The whole training as one program compiled by XLA, in float64; losses are not recorded.

    Raises ImportError where JAX is not installed.
    """

    name = "JAX"

    def __init__(self):
        import jax
        import jax.numpy as jnp

        jax.config.update("jax_enable_x64", True)
        self.version = metadata.version("jax")
        self.to_device = jnp.asarray
        x, y = jnp.asarray(X, jnp.float64), jnp.asarray(Y, jnp.float64)

        def iteration(weights, _):
            weights1, weights2, _ = weights
            layer1 = jax.nn.sigmoid(x @ weights1)
            output = jax.nn.sigmoid(layer1 @ weights2)
            delta2 = 2 * (y - output) * output * (1 - output)
            delta1 = (delta2 @ weights2.T) * layer1 * (1 - layer1)
            return (weights1 + x.T @ delta1, weights2 + layer1.T @ delta2, output), None

        def training(state):
            return jax.lax.scan(iteration, state, None, length=ITERATIONS)[0]

        self.reset()
        self.compiled = jax.jit(training).lower(self.state).compile()

    def reset(self):
        """Start over from the initial weights."""
        weights = initial_weights()
        self.state = (*map(self.to_device, weights), self.to_device(np.zeros(Y.shape)))

    def run(self):
        """Run the compiled program and wait for it."""
        self.state = self.compiled(self.state)
        self.state[2].block_until_ready()

    @property
    def weights1(self):
        """First layer's weights, out of JAX."""
        return np.asarray(self.state[0])

    @property
    def weights2(self):
        """Second layer's weights, out of JAX."""
        return np.asarray(self.state[1])

    @property
    def output(self):
        """Output of the last iteration, out of JAX."""
        return np.asarray(self.state[2])


class FannConnection(ctypes.Structure):
    """FANN's `struct fann_connection` in its double build."""

    _fields_ = (("source", ctypes.c_uint), ("target", ctypes.c_uint), ("weight", ctypes.c_double))


class FannNetwork(WholeTraining):
    """FANN's double build, plain batch training in its own C loop: the nearest equal work.

    FANN gives every layer a bias, 5 weights more than the book's 16, and keeps its outputs away from 0 and 1 when it
    takes the derivative, so its results differ. The rest is the same: sigmoid twice, the four rows, the book's initial
    weights (biases 0) and the book's step, whose factor 2 FANN leaves out and which FANN divides by the number of rows.

    Raises ImportError where libdoublefann is not installed.
    """

    name = "FANN"
    TRAIN_BATCH, ERROR_LINEAR, SIGMOID = 1, 0, 3
    FILL_ROW = ctypes.CFUNCTYPE(None, *3 * [ctypes.c_uint], *2 * [ctypes.POINTER(ctypes.c_double)])

    def __init__(self):
        path = ctypes.util.find_library("doublefann")
        if path is None:
            raise ImportError("libdoublefann is not installed")
        self.version = path.partition(".so.")[2] or "unknown"
        self.fann = ctypes.CDLL(path)
        self.declare()
        sizes = (ctypes.c_uint * 3)(X.shape[1], HIDDEN, Y.shape[1])
        self.network = self.fann.fann_create_standard_array(3, sizes)
        self.data = self.fann.fann_create_train_from_callback(*X.shape, Y.shape[1], self.FILL_ROW(fill_row))
        if not self.network or not self.data:
            raise MemoryError("FANN could not create its network")
        self.configure()
        self.reset()

    def declare(self):
        """Tell ctypes the signatures that are not all int."""
        library, pointer, unsigned = self.fann, ctypes.c_void_p, ctypes.c_uint
        library.fann_create_standard_array.restype = pointer
        library.fann_create_standard_array.argtypes = [unsigned, ctypes.POINTER(unsigned)]
        library.fann_create_train_from_callback.restype = pointer
        library.fann_create_train_from_callback.argtypes = [unsigned, unsigned, unsigned, self.FILL_ROW]
        library.fann_get_total_connections.argtypes = [pointer]
        library.fann_get_connection_array.argtypes = [pointer, ctypes.POINTER(FannConnection)]
        library.fann_set_weight_array.argtypes = [pointer, ctypes.POINTER(FannConnection), unsigned]
        library.fann_train_on_data.argtypes = [pointer, pointer, unsigned, unsigned, ctypes.c_float]
        library.fann_test_data.restype = ctypes.c_float
        library.fann_test_data.argtypes = [pointer, pointer]
        library.fann_set_learning_rate.argtypes = [pointer, ctypes.c_float]
        for choice in ("training_algorithm", "train_error_function"):
            getattr(library, f"fann_set_{choice}").argtypes = [pointer, ctypes.c_int]
        for layer in ("hidden", "output"):
            getattr(library, f"fann_set_activation_function_{layer}").argtypes = [pointer, ctypes.c_int]

    def configure(self):
        """Choose the book's activation, error and step."""
        self.fann.fann_set_training_algorithm(self.network, self.TRAIN_BATCH)
        self.fann.fann_set_train_error_function(self.network, self.ERROR_LINEAR)
        self.fann.fann_set_activation_function_hidden(self.network, self.SIGMOID)
        self.fann.fann_set_activation_function_output(self.network, self.SIGMOID)
        self.fann.fann_set_learning_rate(self.network, 2.0 * len(X))

    def reset(self):
        """Start over from the book's initial weights and biases of 0."""
        weights1, weights2 = initial_weights()
        n_inputs = X.shape[1]
        first_hidden = n_inputs + 1  # neurons are numbered through, each layer's bias last
        first_output = first_hidden + HIDDEN + 1
        count = self.fann.fann_get_total_connections(self.network)
        connections = (FannConnection * count)()
        self.fann.fann_get_connection_array(self.network, connections)
        for connection in connections:
            source, target = connection.source, connection.target
            if source in (n_inputs, first_output - 1):
                connection.weight = 0.0
            elif target < first_output:
                connection.weight = weights1[source, target - first_hidden]
            else:
                connection.weight = weights2[source - first_hidden, target - first_output]
        self.fann.fann_set_weight_array(self.network, connections, count)

    def run(self):
        """Train without reports or an early end."""
        self.fann.fann_train_on_data(self.network, self.data, ITERATIONS, 0, 0.0)

    @property
    def mean_squared_error(self):
        """Mean squared error over the four rows."""
        return self.fann.fann_test_data(self.network, self.data)


def fill_row(row, n_inputs, n_outputs, inputs, outputs):
    """Write row's inputs and targets; FANN calls it once per row."""
    for i in range(n_inputs):
        inputs[i] = X[row, i]
    for i in range(n_outputs):
        outputs[i] = Y[row, i]


KINDS = (FastnnTrain, FastnnMethods, NumPyNetwork, JaxNetwork, FannNetwork)


def available():
    """Return the networks that can be built here, and a dictionary of why the others cannot."""
    networks, missing = [], {}
    for kind in KINDS:
        try:
            networks.append(kind())
        except ImportError as error:
            missing[kind.name] = str(error)
    return networks, missing
